"""From words to typed arguments: what rules can find, what the model may choose from, what is refused.

A value that does not occur in the customer's words is never taken, whoever proposes it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import Any

from pydantic import BaseModel, JsonValue, ValidationError

from graphs import replies
from graphs.reading import evidence, turns
from graphs.reading.dates import When
from graphs.reading.fields import Field, fields_of, stems
from graphs.reading.numbers import LANGUAGES
from graphs.reading.numbers import numbers as spoken_numbers
from graphs.reading.own_numbers import newest_of, number_spans, values_of
from graphs.reading.spans import Span, free, meant
from graphs.reading.values import part_of_place
from graphs.reading.words import EMPTY, is_opener
from graphs.state import Pending
from tools.numbers import means_newest, normalise_number
from tools.ports import Encoder, Filled, PortError, SmallModel
from tools.reading.addresses import addresses
from tools.reading.contacts import emails, runs
from tools.reading.negation import negated
from tools.reading.references import references
from tools.values import Operation

#: Stands for the newest record; the operation looks up which one that is.
NEWEST = "last"


def fields(operation: Operation) -> list[Field]:
    """The arguments a customer can give, in order; those the preview fills are not asked for."""
    return list(_fields_of(operation.arguments))


@cache
def _fields_of(arguments: type[BaseModel]) -> tuple[Field, ...]:
    schema = arguments.model_json_schema()
    for declared in schema.get("properties", {}).values():
        # In the shop's own operations a description is the question that asks for the field.
        declared["x-question"] = declared.get("description", "")
    return tuple(fields_of(schema))


# --- what rules can find ------------------------------------------------------------------------


def numbers(kind: str, text: str, form: str = "") -> tuple[list[str], list[str]]:
    """Record numbers of this kind in the text: those that say so, and bare ones that may be."""
    spans = number_spans(kind, text, form)
    return values_of(spans, certain=True), values_of(spans, certain=False)


def _numbers_in(one: Field, text: str) -> list[str]:
    certain, possible = numbers(one.record or "", text, one.form)
    return [*certain, *possible]


def named(one: Field, text: str) -> bool:
    """Does the text hold a number that says itself that it is of this field's kind?"""
    return one.record is not None and bool(numbers(one.record, text, one.form)[0])


def says_option(one: Field, text: str) -> bool:
    """Does the text say one of the field's options?"""
    return bool(one.choices) and bool(evidence.options_in(one, text))


def quantity(text: str, bounds: tuple[int, int]) -> int | None:
    """The first small whole number within the bounds, in digits or as a word."""
    return next((n for n in _quantities(text) if bounds[0] <= n <= bounds[1]), None)


def _quantities(text: str) -> list[int]:
    """Whole numbers in digits or words; "a month" is one month, and "one" alone is a number."""
    found = [s for s in spoken_numbers(text, LANGUAGES) if isinstance(s.value, int)]
    found += [
        Span(1, m.start(), m.end()) for m in _ONE_OF.finditer(text) if free([Span(1, *m.span())], ((s.start, s.end) for s in found))
    ]  # fmt: skip
    return [int(str(s.value)) for s in sorted(found, key=lambda s: s.start)]


_ONE_OF = re.compile(
    r"\b(?:an?|one|ein|eine[nm]?)\s+(?:month|monat|week|woche|day|tag|year|jahr)\b|^\s*(?:one|eins?|einen|eine)\b(?=\W*$)",
    re.I,
)


def picked(pending: Pending, text: str) -> dict[str, JsonValue] | None:
    """Which of the offered records the customer means, by number or by place in the list."""
    folded = text.casefold()
    for candidate in pending.candidates:
        for value in candidate.values():
            digits = re.sub(r"\D", "", str(value))
            if digits and re.search(rf"(?<!\d){digits}(?!\d)", folded):
                return candidate
    pointed = [
        one.value
        for one in negated(references(text, LANGUAGES, offered=len(pending.candidates)), text)
        if not one.negated and one.value is not None and one.value.place is not None
    ]
    if len(pointed) == 1 and (place := pointed[0].place) is not None:
        at = place - 1 if place > 0 else place
        if -len(pending.candidates) <= at < len(pending.candidates):
            return pending.candidates[at]
    return None


def fits(pending: Pending, text: str, operations: Mapping[str, Operation]) -> bool:
    """Does the text hold a value for what was asked? Decides between an answer and a change of subject."""
    if pending.stage == "choice":
        return picked(pending, text) is not None
    operation = operations.get(pending.about or pending.operation)
    if operation is None:
        return False
    wanted = [f for f in fields(operation) if pending.field is None or f.name == pending.field]
    for one in wanted:
        if one.record is not None and _numbers_in(one, text):
            return True
        if one.integer is not None and quantity(text, one.integer) is not None:
            return True
        if any(option.replace("_", " ") in text.casefold() for option in one.options):
            return True
        if one.kind == "address" and looks_like_address(text):
            return True
        if one.kind in ("email", "phone") and (emails(text) or runs(text)):
            return True
    return False


def other_values(
    operation: Operation, given: Mapping[str, JsonValue], text: str, when: When
) -> dict[str, JsonValue]:
    """What the words say instead of values that were given: "no wait, tuesday", "hm no, 5 is enough"; a day on which
    somebody cannot is none."""
    if _CANNOT.search(text):
        return {}
    wanted = [f for f in fields(operation) if f.record is None and not f.copied and f.name in given]
    said = _ANSWER.sub("", text)
    # "Not 20, 5": what the no is said of ends where the next begins.
    for words in dict.fromkeys((said, said.rpartition(", ")[2])):
        found = by_rules(wanted, words, when)
        taken, _ = valid(operation, found.values, found.refused)
        if other := {n: v for n, v in taken.items() if n in given and str(given[n]) != str(v)}:
            return other
    return {}


#: The no that a message begins with answers; it denies nothing of what follows.
_ANSWER = re.compile(
    r"^(?:\W*(?:h+m+|oh|ok(?:ay)?|well|ach|na|uh|wait|sorry|no|nope|nah|nein|nee|ne|halt|actually)\b[\s,.!]*)+",
    re.I,
)
_CANNOT = re.compile(
    r"\b(?:away|busy|abroad|not (?:at )?(?:here|home|there|in|possible)|can'?t|cannot|can not|(?:is|'s|are) (?:no good|bad)|"
    r"(?:does|do|will|would)(?:n'?t| not) (?:work|suit)|won'?t (?:work|suit)|nicht (?:da|hier|zu ?hause|möglich)|"
    r"keine zeit|geht nicht|passt nicht|kann (?:ich )?nicht|verreist|unterwegs)\b",
    re.I,
)


def looks_like_address(text: str) -> bool:
    """Does the text hold an address, or the half of one?"""
    return bool(addresses(text, LANGUAGES))


# --- what the model may choose from -------------------------------------------------------------


def schema_for(name: str, wanted: Sequence[Field], text: str) -> dict[str, Any]:
    """JSON schema of the wanted fields, narrowed to values the text can support; null is always allowed."""
    properties: dict[str, Any] = {}
    for one in wanted:
        if one.record is not None:
            properties[one.name] = {"enum": [*dict.fromkeys(_numbers_in(one, text)), None]}
        elif one.choices:
            properties[one.name] = {"enum": [*one.options, None]}
        elif (bounds := one.integer) is not None:
            low, high = bounds
            properties[one.name] = {"type": ["integer", "null"], "minimum": low, "maximum": high}
        else:
            properties[one.name] = {"type": ["string", "null"], "x-copy": True}
    return {
        "type": "object",
        "title": name,
        "properties": properties,
        "required": list(properties),
        "additionalProperties": False,
    }


def prompt_for(name: str, wanted: Sequence[Field], text: str) -> str:
    """The extractor's input, exactly as its adapter was trained."""
    return f"operation: {name}\nfields: {', '.join(f.name for f in wanted)}\nmessage: {text}"


def by_rules(
    wanted: Sequence[Field], text: str, when: When, *, asked: frozenset[str] = frozenset()
) -> turns.Reading:
    """Everything no model is needed for."""
    own = {f.name: number_spans(f.record, text, f.form) for f in wanted if f.record is not None}
    found = turns.read(wanted, text, when, asked=asked, own=own)
    for one in wanted:
        if one.record is not None:
            _read_number(found, one, own[one.name], wanted, text, one.name in asked)
    return found


def _read_number(
    found: turns.Reading,
    one: Field,
    spans: Sequence[Span],
    wanted: Sequence[Field],
    text: str,
    asked: bool,
) -> None:
    """A record number that cannot be anything else; of several that say what they are, none is guessed."""
    certain = list(dict.fromkeys(s.value for s in meant([s for s in spans if s.certain], text)))
    loose = [s for s in spans if not s.certain]
    possible = list(dict.fromkeys(s.value for s in meant(loose, text)))
    others = any(f.record is not None and f.name in found.values for f in wanted)
    free_text = any(f.copied or f.kind == "integer" for f in wanted)
    sure = not free_text or asked or turns.corrects(text)
    if len(certain) == 1:
        found.values[one.name] = certain[0]
    elif len(certain) > 1:
        found.unsettled.add(one.name)
    elif len(possible) == 1 and sure and not others:
        found.values[one.name] = possible[0]
    elif not possible and not others and newest_of(text) in (one.record, ""):
        found.values[one.name] = NEWEST


def for_the_model(
    name: str, wanted: Sequence[Field], found: turns.Reading, text: str
) -> list[Field]:
    """The fields that only a model can read out of what the rules left of the message."""
    left = list(text)
    for start, end in found.claimed:
        left[start:end] = " " * (end - start)
    words = re.findall(r"[\w'’]+", "".join(left))
    said = {w.casefold() for w in words}
    # A town is written with a capital; the words sentences begin with are no towns.
    capitals = any(w[:1].isupper() and not is_opener(w) for w in words)
    if not said - EMPTY - set(name.casefold().split("_")):
        return []
    return [
        f
        for f in wanted
        if f.name not in found.values
        and f.name not in found.unsettled
        and (
            f.copied
            or (_is_town(f) and capitals)
            or (f.record is not None and _numbers_in(f, text))
        )
    ]


def _is_town(one: Field) -> bool:
    return one.kind == "place" and part_of_place(one) == "city"


#: Words behind which a customer says what a matter is about.
_ABOUT = re.compile(
    r"\b(?:about|because|regarding|concerning|as|since|saying|says|that|reason|subject)\b", re.I
)


def _worth_asking(one: Field, text: str, asked: frozenset[str]) -> bool:
    """May an adapter that never saw the field read it? What somebody has to say only where they begin to."""
    if one.required or one.name in asked or one.record is not None:
        return True
    if _is_town(one) or _SENTENCES.search(one.name):
        return one.copied and _ABOUT.search(text) is not None
    return _spoken_of(one, text) or re.search(r"(?<=\w )[A-ZÄÖÜ]\w", text) is not None


def _spoken_of(one: Field, text: str) -> bool:
    """Does the customer say what the field is called?"""
    return bool(one.cues & stems(text))


def _any_odd_word(one: Field, value: JsonValue, text: str, asked: frozenset[str]) -> bool:
    """A free string that need not be given, was not asked for and is not spoken of: only a name may be one."""
    return (
        one.copied
        and not (one.required or one.name in asked or _spoken_of(one, text))
        and not str(value)[:1].isupper()
    )


# --- reading one message ------------------------------------------------------------------------


@dataclass(frozen=True)
class Read:
    """What one message gives: values that may be used, why others may not, and who was asked."""

    taken: dict[str, JsonValue]
    refused: dict[str, str] = field(default_factory=dict[str, str])
    filled: Filled | None = None
    #: Options that a clause came close enough to, with the cosine.
    nearest: dict[str, float] = field(default_factory=dict[str, float])
    error: str = ""  #: Why the small model did not answer; only rules could read then.


async def read_turn(
    small: SmallModel | None,
    encoder: Encoder | None,
    name: str,
    wanted: Sequence[Field],
    text: str,
    when: When,
    *,
    asked: frozenset[str] = frozenset(),
    trained: bool = True,
) -> Read:
    """Read one message: rules, then the model for free text, then the encoder for closed sets.

    ``trained``: the adapter knows the operation, and its prompt names all of its fields."""
    found = by_rules(wanted, text, when, asked=asked)
    if not trained:
        _take_the_reply(found, wanted, text, asked)
    taken, refused = dict(found.values), dict(found.refused)
    filled, error = None, ""
    open_fields = for_the_model(name, wanted, found, text)
    if not trained:
        open_fields = [f for f in open_fields if _worth_asking(f, text, asked)]
    if small is not None and open_fields:
        shown = list(wanted) if trained else open_fields
        try:
            filled = await small.fill(
                "extractor", prompt_for(name, shown, text), schema_for(name, shown, text)
            )
        except PortError as failure:
            error = str(failure)
        else:
            names = {f.name for f in open_fields}
            proposed = {k: v for k, v in filled.values.items() if k in names}
            accepted, why = supported(open_fields, proposed, text, found.claimed)
            if not trained:
                odd = [
                    f.name
                    for f in open_fields
                    if f.name in accepted and _any_odd_word(f, accepted[f.name], text, asked)
                ]
                why |= {name: "was not spoken of" for name in odd}
                accepted = {name: value for name, value in accepted.items() if name not in odd}
            taken, refused = {**accepted, **taken}, {**why, **refused}
    nearest: dict[str, float] = {}
    if encoder is not None:
        for one in wanted:
            if one.choices and one.name not in taken and one.name not in found.unsettled:
                likeness, value = await nearest_option(encoder, one, text)
                if value is not None:
                    taken[one.name], nearest[one.name] = value, likeness
    return Read(taken, refused, filled, nearest, error)


def _take_the_reply(
    found: turns.Reading, wanted: Sequence[Field], text: str, asked: frozenset[str]
) -> None:
    """A short reply to the question for one free-text field is its value; no model need read it."""
    one = next(
        (f for f in wanted if asked == frozenset((f.name,)) and (f.copied or _is_town(f))), None
    )
    if one is None or one.name in found.values or len(text.split()) > 8 or turns.corrects(text):
        return
    if (reply := turns.reply_itself(one, text)) is not None and free([reply], found.claimed):
        found.take(one, [reply])


#: From this cosine on a clause says what an option means, when the next option is this much further away.
#: Against the refund reasons' synonyms, 3 of 392 messages about other things came as near (at 0.55: 14).
LIKE, AHEAD = 0.65, 0.08


async def nearest_option(encoder: Encoder, one: Field, text: str) -> tuple[float, JsonValue]:
    """The option whose meaning a clause of the text comes close to, with its cosine; None where none does
    clearly."""
    ranked = await option_likeness(encoder, one, text)
    if not ranked:
        return 0.0, None
    likeness, value, _ = ranked[0]
    second = ranked[1][0] if len(ranked) > 1 else 0.0
    return likeness, value if likeness >= LIKE and likeness - second >= AHEAD else None


async def option_likeness(
    encoder: Encoder, one: Field, text: str
) -> list[tuple[float, JsonValue, str]]:
    """Each option with its cosine to the nearest clause, and that clause; nearest first."""
    parts = evidence.clauses(text)
    meanings = [(o.value, m) for o in one.choices for m in evidence.meaning_of(o, one)]
    if not parts or not meanings:
        return []
    try:
        vectors = await encoder.embed([*parts, *(m for _, m in meanings)])
    except PortError:
        return []
    said, meant_by = vectors[: len(parts)], vectors[len(parts) :]
    best: dict[str, tuple[float, JsonValue, str]] = {}
    for (value, _), vector in zip(meanings, meant_by, strict=True):
        for part, heard in zip(parts, said, strict=True):
            likeness = sum(a * b for a, b in zip(heard, vector, strict=True))
            if likeness > best.get(repr(value), (-1.0,))[0]:
                best[repr(value)] = (likeness, value, part)
    return sorted(best.values(), key=lambda found: -found[0])


# --- what is taken ------------------------------------------------------------------------------


def supported(
    wanted: Sequence[Field],
    proposed: Mapping[str, JsonValue],
    text: str,
    claimed: Sequence[tuple[int, int]] = (),
) -> tuple[dict[str, JsonValue], dict[str, str]]:
    """The proposed values that the text bears out, and why each other one may not be used."""
    taken: dict[str, JsonValue] = {}
    refused: dict[str, str] = {}
    known = {f.name: f for f in wanted}
    for name, value in proposed.items():
        one = known.get(name)
        if value is None or one is None:
            continue
        if isinstance(value, str) and (one.copied or _is_town(one)):
            value = without_others(one, value, text, claimed)
        if why := _unsupported(one, value, text) or turns.out_of_bounds(one, value):
            refused[name] = why
        else:
            taken[name] = value.strip(" .,;:!?") if isinstance(value, str) else value
    for name in [n for n in taken if known[n].record is not None]:
        if _stands_only_in(
            str(taken[name]), known[name], [v for n, v in taken.items() if n != name]
        ):
            refused[name] = "is part of another value"
            del taken[name]
    return taken, refused


def _unsupported(one: Field, value: JsonValue, text: str) -> str:
    """Why the text does not bear a value out; "" when it does."""
    if one.record is not None:
        if value == NEWEST and means_newest(text):
            return ""
        said = _numbers_in(one, text)
        number = normalise_number(one.record, str(value))
        return "" if number in said else "is not a number the customer wrote"
    if one.choices:
        meant_by = [s.value for s in evidence.options_in(one, text)]
        return "" if value in meant_by else "is not what the customer said"
    if one.integer is not None:
        return "" if value in _quantities(text) else "is not a number the customer wrote"
    if not occurs(str(value), text):
        return "is not in the customer's words"
    if one.kind == "address":
        return _cut(str(value))
    if not {w.casefold() for w in re.findall(r"\w{2,}", str(value))} - EMPTY:
        return "says nothing"
    return (
        "" if one.question or _plausible(one, str(value)) else "is not this field's kind of value"
    )


def _cut(value: str) -> str:
    """What an address lacks; "" where it is whole. One of a form that nobody here knows needs two parts."""
    found = addresses(value, LANGUAGES)
    if any(span.value is not None and span.value.complete for span in found):
        return ""
    if found:
        return found[0].why
    return "" if re.search(r"\d.*[,\n]|[,\n].*\d", value, re.S) else "is no whole address"


def without_others(one: Field, value: str, text: str, claimed: Sequence[tuple[int, int]]) -> str:
    """A copied run up to where another field's value begins; an address keeps its numbers."""
    start = text.find(value)
    if start < 0 or (one.copied and looks_like_address(value)):
        return value
    cut = min((s for s, e in claimed if start < e and s < start + len(value)), default=None)
    return value if cut is None else text[start : max(cut, start)].strip(" ,;:-")


#: Fields that hold what somebody has to say, and not a name for something.
_SENTENCES = re.compile(
    r"topic|subject|summary|description|message|note|comment|body|detail|reason|feedback|content|request|"
    r"instruction|text|query|question|answer|explanation|expression|report",
    re.I,
)
_CLAUSE_WORDS = re.compile(
    r"\b(?:i|you|we|he|she|they|it|is|are|was|were|have|has|had|took|want|need|please|not|but|never|can|could|call)\b",
    re.I,
)


def _plausible(one: Field, value: str) -> bool:
    """Can a run of words that an untrained field was given be a name for something?"""
    if _SENTENCES.search(one.name):
        return True
    if _is_town(one):
        return value[:1].isupper() and not re.search(r"\d", value)
    return len(value.split()) <= 6 and not _CLAUSE_WORDS.search(value)


def _stands_only_in(number: str, one: Field, others: Sequence[JsonValue]) -> bool:
    """Is a record number nothing but the digits of a value that was copied, as a postcode is?"""
    return any(number in _numbers_in(one, str(v)) for v in others if isinstance(v, str))


def checked(
    operation: Operation, proposed: Mapping[str, JsonValue], text: str
) -> tuple[dict[str, JsonValue], dict[str, str]]:
    """The proposed values that may be used, and why each other one may not."""
    return valid(operation, *supported(fields(operation), proposed, text))


def valid(
    operation: Operation, values: Mapping[str, JsonValue], refused: Mapping[str, str]
) -> tuple[dict[str, JsonValue], dict[str, str]]:
    """The values that the operation's own model takes; the others join those already refused."""
    wrong = invalid(operation, values)
    taken = {name: value for name, value in values.items() if name not in wrong}
    return taken, {**{n: why for n, why in refused.items() if n not in taken}, **wrong}


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
                return name, replies.question(operation, name, questions[name])
        names = [name for name in questions if name not in arguments]
        if not names:
            return "", str(error.errors()[0]["msg"])
        return "", replies.question(operation, names[0], questions[names[0]])
    return None


def occurs(value: str, text: str) -> bool:
    def fold(s: str) -> str:
        return " ".join(re.sub(r"[^\w@+]+", " ", s.casefold()).split())

    return bool(fold(value)) and f" {fold(value)} " in f" {fold(text)} "
