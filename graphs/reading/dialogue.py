"""A conversation read turn by turn: later words win, a correction touches its own field, offers wait to be picked."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, cast

from pydantic import JsonValue

from graphs.reading import evidence, values
from graphs.reading.dates import When, days, moments, times
from graphs.reading.fields import Field
from graphs.reading.offers import Offer, asked_by, earlier, offered, picked
from graphs.reading.own_numbers import number_spans
from graphs.reading.records import Known, known, pointed_at
from graphs.reading.spans import Span
from graphs.reading.turns import corrects, reply_itself


class Heard(Protocol):
    """What one message gave."""

    @property
    def taken(self) -> dict[str, JsonValue]: ...
    @property
    def refused(self) -> dict[str, str]: ...
    @property
    def error(self) -> str: ...


#: Reads one message of the customer, given the fields the last question was about.
ReadTurn = Callable[[str, frozenset[str]], Awaitable[Heard]]


@dataclass
class Collected:
    """The arguments after a conversation, by dotted field names."""

    values: dict[str, JsonValue] = field(default_factory=dict[str, JsonValue])
    refused: dict[str, str] = field(default_factory=dict[str, str])
    degraded: bool = False
    history: dict[str, list[JsonValue]] = field(default_factory=dict[str, list[JsonValue]])
    #: What the records gave; the customer's own words replace it.
    from_records: set[str] = field(default_factory=set[str])

    def take(self, name: str, value: JsonValue) -> None:
        self.values[name] = value
        self.from_records.discard(name)
        self.refused.pop(name, None)
        self.history.setdefault(name, []).append(value)


_MORE = re.compile(r"^\s*(?:and\b|also\b|plus\b)|\b(?:also|too|as well|in addition|add)\b", re.I)
_GUARDED = ("text", "place", "name", "address")


async def collect(
    fields: Sequence[Field],
    said: Sequence[tuple[bool, str]],
    when: When,
    read: ReadTurn,
    *,
    records: Any = None,
) -> Collected:
    """Read ``said``, pairs of (by the customer, text) oldest first."""
    found = Collected()
    on_file = known(records) if records else []
    asked: frozenset[str] = frozenset()
    offers: dict[str, list[Offer]] = {}
    listed: dict[str, list[Offer]] = {}
    for by_customer, text in said:
        if not by_customer:
            asked = asked_by(text, fields)
            offers = offered(text, fields, lambda one, item: _spans(one, item, when))
            listed |= {name: many for name, many in offers.items() if len(many) > 1}
            continue
        await _hear(found, fields, text, asked, offers, listed, on_file, read)
        asked, offers = frozenset(), {}
    return found


async def _hear(
    found: Collected,
    fields: Sequence[Field],
    text: str,
    asked: frozenset[str],
    offers: dict[str, list[Offer]],
    listed: dict[str, list[Offer]],
    on_file: Sequence[Known],
    read: ReadTurn,
) -> None:
    heard = await read(text, asked)
    found.degraded = found.degraded or bool(heard.error)
    by_name = {one.name: one for one in fields}
    chosen: set[str] = set()
    for one in fields:
        current = found.values.get(one.name)
        back = earlier(one, text, found.history.get(one.name, ()))
        value = back if back is not None else None
        if value is None and one.name not in heard.taken:
            value = picked(offers.get(one.name, ()), listed.get(one.name, ()), text, current)
        if value is not None:
            found.take(one.name, [value] if one.many else value)
            chosen.add(one.name)
    # A whole address, and not just a town that was mentioned.
    whole = sum(by_name[name].kind == "place" for name in heard.taken) > 2
    for name, value in heard.taken.items():
        one = by_name[name]
        if name in chosen or not (whole or _may_replace(found, one, text, asked)):
            continue
        held = found.values.get(name)
        if one.many and isinstance(held, list) and isinstance(value, list) and _MORE.search(text):
            value = [*held, *(v for v in value if v not in held)]
        found.take(name, value)
        chosen.add(name)
    for one in fields:
        if one.name in found.values and one.name not in found.from_records:
            continue
        if pointed := pointed_at(one, text, on_file, [*found.values.values()]):
            found.take(one.name, pointed if one.many else pointed[0])
            found.from_records.add(one.name)
    if len(asked) == 1 and (name := next(iter(asked))) not in chosen:
        one = by_name[name]
        itself = reply_itself(one, text) if one.kind in ("text", "place", "name") else None
        if itself is not None and not (one.name in found.values and not corrects(text)):
            found.take(name, itself.value)
    found.refused |= {
        n: why for n, why in heard.refused.items() if n not in found.values or n in asked
    }
    found.refused = {n: why for n, why in found.refused.items() if n not in heard.taken}


def _may_replace(found: Collected, one: Field, text: str, asked: frozenset[str]) -> bool:
    """Free text that was given stays, unless it is asked for again or the message corrects something."""
    return (
        one.kind not in _GUARDED
        or one.name not in found.values
        or one.name in found.from_records
        or one.name in asked
        or corrects(text)
    )


def _spans(one: Field, text: str, when: When) -> list[Span]:
    """What a message of the assistant names for a field."""
    match one.kind:
        case "record":
            return number_spans(one.record or "", text, one.form)
        case "code":
            return [s for s in values.codes(one, text) if s.certain]
        case "date":
            return days(text, when, past=one.past)
        case "moment":
            return [s for s in moments(text, when) if s.value is not None]
        case "time":
            return times(text)
        case "email":
            return values.emails(text)
        case "phone":
            return values.phones(text, when.region)
        case "choice":
            return evidence.options_in(one, text)
        case _:
            return []


def nested(flat: dict[str, JsonValue]) -> dict[str, JsonValue]:
    """Dotted names as objects again; a name whose dot means something else is left as it is."""
    made: dict[str, Any] = {}
    for name, value in flat.items():
        *above, last = name.split(".")
        node: dict[str, Any] | None = made
        for part in above:
            inner: Any = node.setdefault(part, {}) if node is not None else None
            node = cast("dict[str, Any]", inner) if isinstance(inner, dict) else None
        if node is not None:
            node[last] = value
        else:
            made[name] = value
    return made


__all__ = ["Collected", "collect", "nested"]
