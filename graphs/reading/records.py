"""The customer's own records: which of their values the customer's words point to."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

from pydantic import JsonValue

from graphs.reading.fields import Field, stem, stems, words_of

_ON_FILE = re.compile(
    r"\b(?:on (?:file|record|my account|the account)|usual|saved|registered|default|existing|stored|you (?:already )?have|"
    r"(?:my|our) (?:only|current|account))\b",
    re.I,
)
_DULL = stems(
    "the a an my our your of for with to and or in on at it is was that this one order item items please i want cancel return "
    "exchange from need do not don't any more money put back number card id as be me by email phone name no new all "
    "true false none address"
)


@dataclass(frozen=True)
class Known:
    """One value of a record, what it is called, and the words of the record around it."""

    value: str
    name: frozenset[str]  #: Stems of its key, and of the keys above it.
    key: tuple[str, ...]
    path: tuple[str, ...]
    context: frozenset[str]


def known(records: Any) -> list[Known]:
    """Every value of the records, with what can be said to point to it."""
    return list(_walk(records, ()))


def _walk(node: Any, path: tuple[str, ...]) -> Iterator[Known]:
    if isinstance(node, Mapping):
        fields = cast("Mapping[str, Any]", node)
        words = _words(fields)
        for key, value in fields.items():
            if isinstance(value, Mapping) and re.search(r"\d", key):
                # {"credit_card_12": {...}}: the key is the record's id.
                context = _words(cast("Any", value)) | stems(key.replace("_", " "))
                yield _known(key, (*path, "id"), context)
            if isinstance(value, Mapping | list):
                if isinstance(value, list) and all(not isinstance(v, Mapping | list) for v in cast("list[Any]", value)):
                    for one in cast("list[Any]", value):
                        yield _known(str(one), (*path, key), frozenset())
                else:
                    yield from _walk(value, (*path, key))
            elif value is not None:
                yield _known(str(value), (*path, key), words)
    elif isinstance(node, list):
        for one in cast("list[Any]", node):
            yield from _walk(one, path)


def _known(value: str, path: tuple[str, ...], context: frozenset[str]) -> Known:
    key = tuple(stem(w) for w in words_of(path[-1]))
    above = {stem(w) for part in path for w in words_of(part)}
    return Known(value, frozenset(above), key, path, context - stems(value))


def _words(node: Any) -> frozenset[str]:
    """The words of everything in a record."""
    if isinstance(node, Mapping):
        found: frozenset[str] = frozenset()
        for value in cast("Mapping[str, Any]", node).values():
            found |= _words(value)
        return found
    if isinstance(node, list):
        found = frozenset()
        for value in cast("Sequence[Any]", node):
            found |= _words(value)
        return found
    spaced = str(node).replace("_", " ").replace("-", " ")
    return stems(spaced) | stems(str(node))


def candidates(field: Field, everything: Sequence[Known]) -> list[Known]:
    """The values that are of the field's kind, by what they are called."""
    own = tuple(stem(w) for w in words_of(field.name.rpartition(".")[2]))
    exact = [one for one in everything if one.key == own]
    if exact:
        return exact
    if len(own) > 1 and own[-1] == "id":
        return [one for one in everything if one.key == ("id",) and set(own[:-1]) <= one.name]
    if field.kind in ("email", "phone"):
        return [one for one in everything if one.key and one.key[-1] in (field.kind, "mail", "number") and field.kind in one.name]
    return []


def pointed_at(field: Field, text: str, everything: Sequence[Known]) -> list[JsonValue]:
    """The values of the field's kind that the text means: by a word only their record has, or as what is on file."""
    offered = candidates(field, everything)
    if not offered:
        return []
    said = stems(text.replace("-", " ")) | stems(text)
    said -= _DULL
    scores = {one.value: len((one.context - _DULL) & said) for one in offered}
    best = max(scores.values())
    winners = [value for value, score in scores.items() if score == best]
    if best and len(winners) == 1:
        return [winners[0]]
    if best and field.many:
        return []
    names_it = bool((field.cues | {field.kind}) & stems(text)) or any(
        part in stems(text) for one in offered for part in one.name
    )
    if len(scores) == 1 and _ON_FILE.search(text) and names_it:
        return [offered[0].value]
    return []
