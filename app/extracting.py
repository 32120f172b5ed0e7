"""The extractor used alone: a conversation and any operation's JSON schema in, arguments out."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, time
from typing import Any, cast
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from graphs.extraction import Read, fields, missing, read_turn, valid
from graphs.reading.dates import When
from graphs.reading.dialogue import collect, nested
from graphs.reading.fields import Field, fields_of
from tools.ports import Encoder, SmallModel
from tools.values import Operation

#: Where people write the month before the day; everywhere else the day comes first.
_MONTH_FIRST = {"US", "PH", "PW", "FM", "MH", "GU"}
_PYTHON_TYPES = {
    "str": "string", "string": "string", "int": "integer", "integer": "integer", "float": "number",
    "number": "number", "bool": "boolean", "boolean": "boolean",
}  # fmt: skip


@dataclass(frozen=True)
class Target:
    """The operation whose arguments are wanted: one of the shop's own, or one known from its schema only."""

    name: str
    fields: tuple[Field, ...]
    own: Operation | None = None


def target_of(given: str | Mapping[str, Any], operations: Mapping[str, Operation]) -> Target:
    """What ``operation`` names or describes; a ValueError says what is wrong with it."""
    if isinstance(given, str):
        own = operations.get(given)
        if own is None:
            known = ", ".join(operations)
            raise ValueError(f"operation: {given!r} is not one of {known}; give its schema instead")
        return Target(given, tuple(fields(own)), own)
    function: Any = given.get("function", given)
    if not isinstance(function, Mapping):
        raise ValueError("operation: is neither a name nor a description")
    described = cast("Mapping[str, Any]", function)
    name = described.get("name")
    if not isinstance(name, str) or not name.strip():
        raise ValueError("operation: needs a name")
    schema: Any = {}
    for key in ("inputSchema", "input_schema", "parameters"):
        schema = described.get(key) or schema
    if isinstance(schema, list):
        schema = _listed(cast("list[Any]", schema), str(described.get("description") or ""))
    if not isinstance(schema, Mapping):
        raise ValueError("operation.parameters: is neither a JSON schema nor a list of parameters")
    try:
        return Target(name, tuple(fields_of(cast("Mapping[str, Any]", schema))))
    except (AttributeError, KeyError, TypeError) as error:
        raise ValueError(f"operation.parameters: is no JSON schema ({error})") from error


def _listed(parameters: Sequence[Any], docstring: str) -> dict[str, Any]:
    """The JSON schema of ``[{"name", "type": "List[str]", "required"}]``, described by a docstring's Args."""
    told = dict(
        re.findall(r"^[ \t]+(\w+)(?: \([^)]*\))?:[ \t]*(.+(?:\n\s{8,}.+)*)", docstring, re.M)
    )
    properties: dict[str, Any] = {}
    required: list[str] = []
    for one in parameters:
        if not isinstance(one, Mapping) or not isinstance(one.get("name"), str):
            raise ValueError("operation.parameters: every entry of the list needs a name")
        entry = cast("Mapping[str, Any]", one)
        name = str(entry["name"])
        said = re.sub(r"\s+", " ", str(entry.get("description") or told.get(name, "")))
        properties[name] = {**_typed(str(entry.get("type") or "str")), "description": said}
        properties[name] |= {k: entry[k] for k in ("enum", "format", "pattern") if k in entry}
        if entry.get("required", True):
            required.append(name)
    return {"type": "object", "properties": properties, "required": required}


def _typed(python: str) -> dict[str, Any]:
    inner = re.fullmatch(r"(?:typing\.)?(?:List|list|Sequence)\[(.+)\]", python.strip())
    if inner:
        return {"type": "array", "items": _typed(inner[1])}
    optional = re.fullmatch(r"Optional\[(.+)\]|(.+?)\s*\|\s*None", python.strip())
    if optional:
        return _typed(optional[1] or optional[2])
    return {"type": _PYTHON_TYPES.get(python.strip(), "string")}


def seen_from(today: str | None, timezone: str | None, locale: str | None, now: datetime) -> When:
    """The customer's place in time: their day, their time zone where it is known, their order of day and month."""
    try:
        zone = ZoneInfo(timezone) if timezone else None
    except (ZoneInfoNotFoundError, ValueError) as error:
        raise ValueError(
            f"timezone: {timezone!r} is no time zone, such as Europe/Berlin"
        ) from error
    moment = now.astimezone(zone) if zone is not None else now
    if today is not None:
        moment = _given(today, zone)
    language, country = _locale(locale)
    return When(
        moment if zone is not None else moment.replace(tzinfo=None),
        _day_first(language, country),
        tuple(dict.fromkeys((language or "en", "en", "de"))),
        country or None,
    )


def _given(today: str, zone: ZoneInfo | None) -> datetime:
    try:
        if len(today) <= 10:
            return datetime.combine(date.fromisoformat(today), time(12), tzinfo=zone)
        moment = datetime.fromisoformat(today)
    except ValueError as error:
        raise ValueError(
            f"today: {today!r} is no day, such as 2026-11-20, and no moment"
        ) from error
    if moment.tzinfo is None:
        return moment.replace(tzinfo=zone)
    return moment.astimezone(zone) if zone is not None else moment


def _locale(locale: str | None) -> tuple[str, str]:
    """Language and country of ``de-AT``, ``de_AT.UTF-8`` or ``de``."""
    language, _, country = re.sub(r"[.@].*", "", locale or "").replace("_", "-").partition("-")
    return language.casefold(), country.upper()


def _day_first(language: str, country: str) -> bool | None:
    if country:
        return country not in _MONTH_FIRST
    return None if language in ("", "en") else True


async def extracted(
    target: Target,
    said: Sequence[tuple[bool, str]],
    when: When,
    *,
    small: SmallModel | None,
    encoder: Encoder | None,
    records: Any = None,
) -> dict[str, Any]:
    """The arguments after everything that was said, what is still missing, and what was refused and why.

    ``small`` or ``encoder`` None: without what they would add."""

    async def read(text: str, asked: frozenset[str]) -> Read:
        wanted = target.fields
        own = target.own is not None
        return await read_turn(
            small, encoder, target.name, wanted, text, when, asked=asked, trained=own
        )

    found = await collect(target.fields, said, when, read, records=records)
    values, refused = found.values, found.refused
    if target.own is not None:
        values, refused = valid(target.own, values, refused)
    answer = {
        "arguments": nested(values),
        "missing": lacking(target, values),
        "refused": {n: why for n, why in refused.items() if n not in values},
    }
    return {**answer, "degraded": True} if found.degraded else answer


def lacking(target: Target, values: Mapping[str, Any]) -> list[str]:
    """Everything that is still needed; of several that would each do, all are named."""
    if target.own is not None:
        lack = missing(target.own, values)
        if lack is not None and not lack[0]:
            return [f.name for f in target.fields if f.name not in values]
    return [f.name for f in target.fields if f.required and f.name not in values]
