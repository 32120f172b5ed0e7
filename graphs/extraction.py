"""From words to typed arguments: what rules can find, what the model may choose from, what is refused.

A value that does not occur in the customer's words is never taken, whoever proposes it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, cast, get_args

from pydantic import JsonValue, ValidationError
from pydantic.fields import FieldInfo

from graphs.state import Pending
from tools.domain import Operation
from tools.numbers import PREFIXES, means_newest, normalise_number

_NUMBER = re.compile(
    r"(?<![\w.,])(?:(?P<prefix>[A-Za-z]{1,3})[\s\-_#.:]*)?#?(?P<digits>\d{3,9})(?![\w]|[.,]\d)"
)
_BEFORE = re.compile(
    r"(order|invoice|bill|refund|subscription|plan)s?\W*(?:number|no\.?|nr\.?|id)?\W*$", re.I
)
_NEWEST_KIND = re.compile(
    r"\b(?:last|latest|newest|recent)\s+(order|invoice|bill|refund|subscription|plan)", re.I
)
_KIND_WORDS = {"bill": "invoice", "plan": "subscription"}
#: "refund 10482" asks for money back for an order; "refund no. 30112" names a refund.
_REFUND_THIS = re.compile(r"\brefund\W*$", re.I)
_ORDINALS = {
    "first": 0,
    "1st": 0,
    "second": 1,
    "2nd": 1,
    "third": 2,
    "3rd": 2,
    "fourth": 3,
    "last": -1,
}
_QUANTITIES = {"one": 1, "a": 1, "two": 2, "three": 3, "four": 4, "five": 5, "six": 6}
#: Stands for the newest record; the operation looks up which one that is.
NEWEST = "last"
_QUANTITY = re.compile(r"\b(\d{1,2}|one|two|three|four|five|six|a)\b(?:\s+months?)?", re.I)


@dataclass(frozen=True)
class Field:
    """One argument as the extractor sees it."""

    name: str
    question: str
    required: bool
    record: str | None  #: Kind of record it numbers.
    copied: bool  #: Taken over word for word.
    options: tuple[str, ...]  #: Closed set of values, if it has one.
    integer: tuple[int, int] | None  #: Bounds, if it is a whole number.


def fields(operation: Operation) -> list[Field]:
    """The arguments a customer can give, in order; those the preview fills are not asked for."""
    return [
        _field(name, info)
        for name, info in operation.arguments.model_fields.items()
        if not _extra(info).get("x-from-record")
    ]


def _extra(info: FieldInfo) -> dict[str, Any]:
    extra = info.json_schema_extra
    return cast("dict[str, Any]", extra) if isinstance(extra, dict) else {}


def _field(name: str, info: FieldInfo) -> Field:
    extra = _extra(info)
    record = extra.get("x-record")
    options = tuple(str(v) for v in _literals(info.annotation))
    whole = _has_type(info.annotation, int)
    return Field(
        name=name,
        question=info.description or f"What is the {name.replace('_', ' ')}?",
        required=info.is_required(),
        record=record if isinstance(record, str) else None,
        copied=bool(extra.get("x-copy")) and record is None and not whole and not options,
        options=options,
        integer=_bounds(info) if whole else None,
    )


def _literals(annotation: Any) -> list[Any]:
    found: list[Any] = []
    for part in get_args(annotation):
        if isinstance(part, str | int | float):
            found.append(part)
        elif part is not type(None):
            found += _literals(part)
    return found


def _has_type(annotation: Any, kind: type) -> bool:
    return annotation is kind or any(_has_type(a, kind) for a in get_args(annotation))


def _bounds(info: FieldInfo) -> tuple[int, int]:
    low, high = 1, 99
    for meta in info.metadata:
        low = int(getattr(meta, "ge", low) or low)
        high = int(getattr(meta, "le", high) or high)
    return low, high


# --- what rules can find ------------------------------------------------------------------------


def numbers(kind: str, text: str) -> tuple[list[str], list[str]]:
    """Record numbers of this kind in the text: those that say so, and bare ones that may be."""
    certain: list[str] = []
    possible: list[str] = []
    prefixes = {prefix.casefold(): name for name, prefix in PREFIXES.items()}
    for match in _NUMBER.finditer(text):
        number = normalise_number(kind, match["digits"])
        if number is None:
            continue
        said = prefixes.get((match["prefix"] or "").casefold())
        said_before = text[: match.start("digits")]
        if (
            said is None
            and (before := _BEFORE.search(said_before))
            and not _REFUND_THIS.search(said_before)
        ):
            word = before[1].casefold()
            said = _KIND_WORDS.get(word, word)
        if said == kind:
            certain.append(number)
        elif said is None and len(match["digits"]) >= 4 and not match["digits"].startswith("0"):
            possible.append(number)
    return list(dict.fromkeys(certain)), list(dict.fromkeys(possible))


def newest_of(text: str) -> str | None:
    """The kind of record the customer calls their newest; "" when they do not say which, None when none."""
    if not means_newest(text):
        return None
    kind = _NEWEST_KIND.search(text)
    return "" if kind is None else _KIND_WORDS.get(kind[1].casefold(), kind[1].casefold())


def named(field: Field, text: str) -> bool:
    """Does the text hold a number that says itself that it is of this field's kind?"""
    return field.record is not None and bool(numbers(field.record, text)[0])


def quantity(text: str, bounds: tuple[int, int]) -> int | None:
    """The first small whole number within the bounds, in digits or as a word."""
    return next((n for n in _quantities(text) if bounds[0] <= n <= bounds[1]), None)


def _quantities(text: str) -> list[int]:
    found: list[int] = []
    for match in _QUANTITY.finditer(text):
        word = match[1].casefold()
        if word != "a" or "month" in match[0].casefold():
            found.append(int(word) if word.isdigit() else _QUANTITIES[word])
    return found


def picked(pending: Pending, text: str) -> dict[str, JsonValue] | None:
    """Which of the offered records the customer means, by number or by place in the list."""
    folded = text.casefold()
    for candidate in pending.candidates:
        for value in candidate.values():
            digits = re.sub(r"\D", "", str(value))
            if digits and re.search(rf"(?<!\d){digits}(?!\d)", folded):
                return candidate
    for word, place in _ORDINALS.items():
        if re.search(rf"\b{word}\b", folded) and -len(pending.candidates) <= place < len(
            pending.candidates
        ):
            return pending.candidates[place]
    if (digit := re.fullmatch(r"\s*(\d)\s*\.?\s*", folded)) and 0 < int(digit[1]) <= len(
        pending.candidates
    ):
        return pending.candidates[int(digit[1]) - 1]
    return None


def fits(pending: Pending, text: str, operations: Mapping[str, Operation]) -> bool:
    """Does the text hold a value for what was asked? Decides between an answer and a change of subject."""
    if pending.stage == "choice":
        return picked(pending, text) is not None
    operation = operations.get(pending.about or pending.operation)
    if operation is None:
        return False
    wanted = [f for f in fields(operation) if pending.field is None or f.name == pending.field]
    for field in wanted:
        if field.record is not None and any(numbers(field.record, text)):
            return True
        if field.integer is not None and quantity(text, field.integer) is not None:
            return True
        if any(option.replace("_", " ") in text.casefold() for option in field.options):
            return True
        if field.name == "address" and looks_like_address(text):
            return True
        if field.name in ("email", "phone") and re.search(r"\S+@\S+\.\S+|\+?\d[\d\s/-]{6,}", text):
            return True
    return False


def looks_like_address(text: str) -> bool:
    """A house number together with a postcode or a street word."""
    return bool(
        re.search(r"\b\d{4,5}\b", text) and re.search(r"[A-Za-zäöüß.]{3,}\s*\d+", text)
    ) or bool(
        re.search(r"\d", text)
        and re.search(
            r"\b(?:\w*(?:straße|strasse|gasse|weg|platz)|str|street|road|lane|avenue)\b", text, re.I
        )
    )


# --- what the model may choose from -------------------------------------------------------------


def schema_for(operation: Operation, wanted: list[Field], text: str) -> dict[str, Any]:
    """JSON schema of the wanted fields, narrowed to values the text can support; null is always allowed."""
    properties: dict[str, Any] = {}
    for field in wanted:
        if field.record is not None:
            certain, possible = numbers(field.record, text)
            properties[field.name] = {"enum": [*dict.fromkeys([*certain, *possible]), None]}
        elif field.options:
            properties[field.name] = {"enum": [*field.options, None]}
        elif field.integer is not None:
            low, high = field.integer
            properties[field.name] = {"type": ["integer", "null"], "minimum": low, "maximum": high}
        else:
            properties[field.name] = {"type": ["string", "null"], "x-copy": True}
    return {
        "type": "object",
        "title": operation.name,
        "properties": properties,
        "required": list(properties),
        "additionalProperties": False,
    }


def prompt_for(operation: Operation, wanted: list[Field], text: str) -> str:
    """The extractor's input, exactly as its adapter was trained."""
    return (
        f"operation: {operation.name}\nfields: {', '.join(f.name for f in wanted)}\nmessage: {text}"
    )


def by_rules(operation: Operation, wanted: list[Field], text: str) -> dict[str, JsonValue]:
    """Values no model is needed for: record numbers that cannot be anything else."""
    found: dict[str, JsonValue] = {}
    for field in wanted:
        if field.record is None:
            continue
        certain, possible = numbers(field.record, text)
        free_text = any(f.copied or f.integer for f in wanted if f.record is None)
        if len(certain) == 1:
            found[field.name] = certain[0]
        elif not certain and len(possible) == 1 and not free_text and not found:
            found[field.name] = possible[0]
        elif not certain and not possible and not found and newest_of(text) in (field.record, ""):
            found[field.name] = NEWEST
    return found


def needs_model(wanted: list[Field], found: Mapping[str, JsonValue], text: str) -> bool:
    """Is there anything left in the text that only a model can read?"""
    for field in wanted:
        if field.name in found:
            continue
        if field.record is None:
            return True
        if any(numbers(field.record, text)):
            return True
    return False


# --- what is taken ------------------------------------------------------------------------------


def checked(
    operation: Operation, proposed: Mapping[str, JsonValue], text: str
) -> tuple[dict[str, JsonValue], dict[str, str]]:
    """The proposed values that may be used, and why each other one may not."""
    taken: dict[str, JsonValue] = {}
    refused: dict[str, str] = {}
    known = {f.name: f for f in fields(operation)}
    for name, value in proposed.items():
        field = known.get(name)
        if value is None or field is None:
            continue
        if field.record is not None and value == NEWEST and means_newest(text):
            taken[name] = value
        elif field.copied and not occurs(str(value), text):
            refused[name] = "is not in the customer's words"
        elif (field.integer is not None and value not in _quantities(text)) or (
            field.record is not None
            and normalise_number(field.record, str(value)) not in _all(field, text)
        ):
            refused[name] = "is not a number the customer wrote"
        else:
            taken[name] = value.strip(" .,;:!?") if isinstance(value, str) else value
    for name, reason in invalid(operation, taken).items():
        refused[name] = reason
        taken.pop(name, None)
    return taken, refused


def invalid(operation: Operation, arguments: Mapping[str, JsonValue]) -> dict[str, str]:
    """Fields whose values the operation's own model refuses (absent ones do not count)."""
    try:
        operation.arguments.model_validate(dict(arguments))
    except ValidationError as error:
        return {
            str(problem["loc"][0]): problem["msg"]
            for problem in error.errors()
            if problem["loc"] and problem["type"] != "missing"
        }
    return {}


def missing(operation: Operation, arguments: Mapping[str, JsonValue]) -> tuple[str, str] | None:
    """The first thing still needed, as (field, question); field is "" where any of several would do."""
    questions = {f.name: f.question for f in fields(operation)}
    try:
        operation.arguments.model_validate(dict(arguments))
    except ValidationError as error:
        for problem in error.errors():
            # A model that wants any one of several fields says so without naming one.
            if problem["type"] == "missing" and problem["loc"]:
                name = str(problem["loc"][0])
                return name, questions[name]
        names = [name for name in questions if name not in arguments]
        return "", questions[names[0]] if names else str(error.errors()[0]["msg"])
    return None


def occurs(value: str, text: str) -> bool:
    def fold(s: str) -> str:
        return " ".join(re.sub(r"[^\w@+]+", " ", s.casefold()).split())

    return bool(fold(value)) and f" {fold(value)} " in f" {fold(text)} "


def _all(field: Field, text: str) -> list[str]:
    assert field.record is not None
    certain, possible = numbers(field.record, text)
    return [*certain, *possible]
