"""The arguments of an operation as a reader sees them, from any JSON schema."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal, cast

from pydantic import JsonValue

Kind = Literal[
    "record", "choice", "flag", "integer", "number", "date", "moment", "time", "email", "phone",
    "url", "code", "name", "place", "address", "text", "unknown",
]  # fmt: skip


@dataclass(frozen=True)
class Option:
    """One value of a closed set, and the words that stand for it."""

    value: JsonValue
    sayings: tuple[str, ...]  #: The value in words first, then what the schema declares.
    meaning: str = ""  #: Its description, for the encoder.


@dataclass(frozen=True)
class Field:
    """One argument: what kind of value it takes, within which bounds, and the words that point to it."""

    name: str  #: Dotted for a property of a nested object.
    kind: Kind
    question: str = ""
    description: str = ""
    required: bool = False
    record: str | None = (
        None  #: Kind of the customer's own records whose number it is, as the domain declares it.
    )
    form: str = ""  #: An example of such a number, where the domain gives one.
    choices: tuple[Option, ...] = ()
    low: float | None = None
    high: float | None = None
    open_ends: tuple[bool, bool] = (False, False)  #: Whether low and high are themselves excluded.
    length: tuple[int, int | None] = (0, None)
    pattern: str | None = None
    shapes: tuple[str, ...] = ()  #: Patterns made of the examples a schema gives.
    hash_first: bool = False  #: Written with a leading # that people leave out.
    many: bool = False  #: A list of such values.
    cues: frozenset[str] = field(default=frozenset())
    side: Literal["from", "to", ""] = ""  #: Which end of "from A to B" it is.
    past: bool = False  #: A day that lies behind the customer: a birthday, a purchase.

    @property
    def copied(self) -> bool:
        """Taken over word for word."""
        return self.kind in ("text", "address")

    @property
    def options(self) -> tuple[str, ...]:
        return tuple(str(one.value) for one in self.choices)

    @property
    def integer(self) -> tuple[int, int] | None:
        """Bounds, if it is a whole number."""
        if self.kind != "integer":
            return None
        return int(self.low if self.low is not None else 1), int(
            self.high if self.high is not None else 99
        )

    @property
    def title(self) -> str:
        return " ".join(words_of(self.name.rpartition(".")[2]))


# --- words --------------------------------------------------------------------------------------

#: Words of names and descriptions that point to no field.
_SAY_LITTLE = """
a an and any are as at be beginning by careful current customer customers date day e eg first for
from g given has have id ids if in is it its last must name new no not number of on optional or
please should string such symbol that the there this time to user value was what whether which who
whom will with
"""
_STOP = frozenset(_SAY_LITTLE.split())
#: Words that ask for or name the same thing.
_FAMILIES = (
    {"guest", "people", "person", "adult", "party", "pax", "size", "seat"},
    {"color", "colour"},
    {"zip", "postcode", "postal", "zipcode"},
    {"phone", "telephone", "mobile", "cell"},
    {"email", "mail"},
    {"retry", "time", "attempt", "again"},
    {"percent", "%", "threshold"},
    {"licence", "license"},
    {"birth", "birthday", "born", "dob"},
    {"reason", "why"},
    {"amount", "much"},
    {"street", "address1"},
    {"departure", "leave", "leav", "depart"},
    {"arrival", "arrive", "arriv", "checkin"},
)


def stem(word: str) -> str:
    """A word without its ending, roughly: enough to see that "guests" asks for guest."""
    folded = word.casefold()
    if folded == "ids":
        return "id"
    for ending, least in (("ies", 5), ("ing", 6), ("ed", 5), ("es", 5), ("s", 4)):
        if folded.endswith(ending) and len(folded) >= least and not folded.endswith("ss"):
            cut = folded[: -len(ending)] + ("y" if ending == "ies" else "")
            doubled = ending in ("ing", "ed") and cut[-1] == cut[-2] and cut[-1] not in "sz"
            return cut[:-1] if doubled else cut  # travelling, cancelled
    return folded


def words_of(name: str) -> list[str]:
    """The words of an identifier: ``checkInDate`` and ``check_in_date`` are the same."""
    spaced = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", " ", name)
    return [w.casefold() for w in re.split(r"[\s_\-.]+", spaced) if w]


def stems(text: str) -> frozenset[str]:
    return frozenset(stem(w) for w in re.findall(r"[\w%']+", text.casefold()))


def _cues(name: str, description: str) -> frozenset[str]:
    own = {stem(w) for w in words_of(name)}
    # The first sentence says what it is; the rest is advice and examples.
    said = re.split(r"(?<=\w)\.(?:\s|$)|,? such as|,? e\.g\.|\(", description)[0]
    told = {stem(w) for w in re.findall(r"[\w%]+", said) if w.casefold() not in _STOP}
    # Where a name is made of words that say little, they are all there is: "user_id" is asked for by its user.
    kept = ({w for w in own if w not in _STOP} or own) | told
    for family in _FAMILIES:
        if kept & family:
            kept |= family
    return frozenset(kept)


# --- from a JSON schema -------------------------------------------------------------------------

_FROM = {
    "from",
    "start",
    "begin",
    "origin",
    "departure",
    "source",
    "since",
    "pickup",
    "arrive",
    "in",
}
_TO = {
    "to",
    "end",
    "until",
    "destination",
    "target",
    "expire",
    "expires",
    "dropoff",
    "depart",
    "out",
    "leave",
    "finish",
}
_PAST = re.compile(
    r"birth|born|purchas|bought|placed|charged|paid|deliver(?:ed|y_date)|receiv|happened|occurred|incident|issued|"
    r"last_|previous|invoice_date|order(?:ed)?_(?:on|date)|since",
    re.I,
)
_FORMATS: Mapping[str, Kind] = {
    "date": "date", "date-time": "moment", "datetime": "moment", "time": "time", "email": "email",
    "idn-email": "email", "uri": "url", "url": "url", "iri": "url", "uri-reference": "url", "phone": "phone",
    "tel": "phone", "phone-number": "phone", "e164": "phone",
}  # fmt: skip
_BY_NAME: tuple[tuple[re.Pattern[str], Kind], ...] = (
    (re.compile(r"(?:^|_)e?mails?(?:_address(?:es)?)?$"), "email"),
    (re.compile(r"(?:^|_)(?:phone|mobile|telephone|cell)(?:_?(?:number|no))?$"), "phone"),
    (re.compile(r"^(?:(?:\w+_)?(?:delivery|shipping|billing|postal|mailing|home)_)?address$"), "address"),
    (re.compile(r"(?:^|_)(?:url|uri|website|webpage|link)$"), "url"),
    (re.compile(r"(?:^|_)(?:date|birthday|dob)(?:_|$)|_(?:on|date|day)$|^(?:day|date|date_of_birth)$"), "date"),
    (re.compile(r"^(?:first|last|full|given|family|sur|middle)_?name$|^surname$|^(?:customer|guest|contact|recipient|driver|account_holder)?_?name$"), "name"),
    (re.compile(r"^(?:street|address_?(?:line)?_?[12]|city|town|state|province|zip|zip_?code|postcode|postal_code|country)$"), "place"),
    (re.compile(r"(?:^|_)(?:id|ids|number|no|code|key|sku|reference|ref|serial|imei|iban|pin)$"), "code"),
)  # fmt: skip
_PLACES = next(one for one in _BY_NAME if one[1] == "place")
_EXAMPLE = re.compile(
    r"(?:such as|e\.g\.|for example|like|example:?)\s*((?:['\"`][^'\"`]+['\"`](?:\s*(?:,|or|and)\s*)*)+)",
    re.I,
)
_QUOTED = re.compile(r"['\"`]([^'\"`]+)['\"`]")
_ONE_OF = re.compile(
    r"\b(?:either|one of|must be|should be|can be)\b[^'\"`]{0,20}((?:['\"`][^'\"`]+['\"`](?:\s*(?:,|/|or|and)\s*)*){2,})",
    re.I,
)


def fields_of(schema: Mapping[str, Any]) -> list[Field]:
    """The fields of an object schema in its order; nested objects by dotted names."""
    return list(_fields(schema, schema, "", required_here=True))


def _fields(
    schema: Mapping[str, Any], root: Mapping[str, Any], prefix: str, *, required_here: bool
) -> Iterator[Field]:
    required = cast("Sequence[str]", schema.get("required") or ())
    properties = cast("Mapping[str, Any]", schema.get("properties") or {})
    for name, declared in properties.items():
        shape = _plain(declared, root)
        needed = required_here and name in required
        if shape.get("x-from-record") or shape.get("x-part"):
            continue
        nested = shape.get("type") == "object" and shape.get("properties")
        if nested and prefix.count(".") < _DEEPEST:
            yield from _fields(shape, root, f"{prefix}{name}.", required_here=needed)
        else:
            yield field_of(f"{prefix}{name}", shape, root, required=needed)


#: Schemas may contain themselves; nobody says a value that lies deeper.
_DEEPEST = 4


def _plain(declared: Any, root: Mapping[str, Any], depth: int = 0) -> dict[str, Any]:
    """A property's schema with references followed and the null alternative dropped."""
    if not isinstance(declared, Mapping) or depth > _DEEPEST:
        return {}
    shape = dict(cast("Mapping[str, Any]", declared))
    for _ in range(_DEEPEST):
        reference: Any = shape.pop("$ref", None)
        if not isinstance(reference, str) or not reference.startswith("#/"):
            break
        shape = {**_resolved(reference, root), **shape}
    for key in ("anyOf", "oneOf", "allOf"):
        given = cast("Sequence[Any]", shape.get(key) or ())
        parts = [_plain(p, root, depth + 1) for p in given]
        parts = [p for p in parts if p.get("type") != "null"]
        if len(parts) == 1 or (key == "allOf" and parts):
            shape = {**{k: v for p in parts for k, v in p.items()}, **shape}
            shape.pop(key)
        elif parts:
            shape[key] = parts
    kind: Any = shape.get("type")
    if isinstance(kind, list):
        shape["type"] = next((k for k in cast("list[str]", kind) if k != "null"), "string")
    return shape


def _resolved(reference: str, root: Mapping[str, Any]) -> dict[str, Any]:
    node: Any = root
    for part in reference.removeprefix("#/").split("/"):
        node = cast("Mapping[str, Any]", node).get(part) if isinstance(node, Mapping) else None
    return dict(cast("Mapping[str, Any]", node)) if isinstance(node, Mapping) else {}


def field_of(
    name: str, shape: Mapping[str, Any], root: Mapping[str, Any], *, required: bool
) -> Field:
    """One property as a field; a list by what it lists."""
    own = name.rpartition(".")[2]
    description = str(shape.get("description") or shape.get("title") or "")
    if shape.get("type") == "array":
        items = _plain(shape.get("items") or {"type": "string"}, root)
        one = field_of(name, {"description": description, **items}, root, required=required)
        if one.kind == "unknown" or items.get("type") in ("array", "object"):
            return Field(name=name, kind="unknown", description=description, required=required)
        return replace(one, many=True)
    choices = tuple(_choices(shape, description))
    snake = "_".join(words_of(own))
    parts = words_of(own)
    low, high, open_ends = _bounds(shape)
    examples = _examples(shape, description)
    shapes = tuple(dict.fromkeys(shape_of(e) for e in examples if _code_like(e)))
    return Field(
        name=name,
        kind=_kind(shape, snake, description, choices, shapes),
        question=str(shape.get("x-question") or (description if description.endswith("?") else "")),
        description=description,
        required=required,
        record=shape.get("x-record") or None,
        form=str(shape.get("x-record-form") or ""),
        choices=choices,
        low=low,
        high=high,
        open_ends=open_ends,
        length=(int(_number(shape, "minLength") or 0), _whole(_number(shape, "maxLength"))),
        pattern=str(shape["pattern"]) if shape.get("pattern") else None,
        shapes=shapes,
        hash_first=any(e.startswith("#") for e in examples),
        cues=_cues(own, description),
        side="from" if set(parts) & _FROM else "to" if set(parts) & _TO else "",
        past=bool(_PAST.search(snake) or re.search(r"\bbirth|\bpurchase|\bwas (?:charged|bought)", description)),
    )  # fmt: skip


def _kind(
    shape: Mapping[str, Any],
    snake: str,
    description: str,
    choices: Sequence[Option],
    shapes: Sequence[str],
) -> Kind:
    if shape.get("x-record"):
        return "record"
    if choices:
        return "choice"
    match shape.get("type"):
        case "boolean":
            return "flag"
        case "integer":
            return "integer"
        case "number":
            return "number"
        case "object" | "array":
            return "unknown"
        case _:
            pass
    if found := _FORMATS.get(str(shape.get("format") or "").casefold()):
        return found
    if shape.get("x-copy"):
        return _by_name(snake, (*_BY_NAME[:3], _PLACES)) or "text"
    if re.search(r"YYYY-MM-DD", description):
        return "date"
    if shape.get("pattern") or shapes:
        by_name = _by_name(snake, _BY_NAME)
        return by_name if by_name in ("place", "email", "phone", "url") else "code"
    return _by_name(snake, _BY_NAME) or "text"


def _by_name(snake: str, names: Sequence[tuple[re.Pattern[str], Kind]]) -> Kind | None:
    return next((kind for pattern, kind in names if pattern.search(snake)), None)


def _choices(shape: Mapping[str, Any], description: str) -> Iterator[Option]:
    declared = cast("Mapping[str, Any]", shape.get("x-synonyms") or {})
    meanings: Any = (
        shape.get("x-enum-descriptions")
        or shape.get("x-enumDescriptions")
        or shape.get("enumDescriptions")
        or {}
    )
    values = cast("list[Any]", shape.get("enum") or [])
    if isinstance(meanings, list):
        meanings = dict(zip(map(str, values), cast("list[Any]", meanings), strict=False))
    told = cast("Mapping[str, Any]", meanings)
    for value in values:
        if value is not None:
            said = (str(s) for s in declared.get(str(value), ()))
            meaning = str(told.get(str(value), ""))
            yield Option(value, (spoken(value), *said, *_phrases(meaning)), meaning)
    for one in cast("Sequence[Mapping[str, Any]]", shape.get("oneOf") or shape.get("anyOf") or ()):
        if "const" in one:
            title = (str(one["title"]),) if one.get("title") else ()
            meaning = str(one.get("description") or "")
            yield Option(one["const"], (spoken(one["const"]), *title, *_phrases(meaning)), meaning)
    if (
        not values
        and shape.get("type", "string") == "string"
        and (m := _ONE_OF.search(description))
    ):
        for value in _QUOTED.findall(m[1]):
            yield Option(value, (spoken(value),))


def _phrases(meaning: str) -> list[str]:
    """The parts of a description that say enough to be looked for word by word: "no sound"."""
    parts = (p.strip() for p in re.split(r"[,;.()]|\bor\b", meaning))
    return [p for p in parts if 2 <= len(p.split()) <= 6]


def spoken(value: Any) -> str:
    """A value as somebody would say it: ``not_as_described`` is "not as described"."""
    text = str(value)
    return text.casefold() if len(text) <= 3 else " ".join(words_of(text))


def _whole(value: float | None) -> int | None:
    return None if value is None else int(value)


def _number(shape: Mapping[str, Any], key: str) -> float | None:
    value = shape.get(key)
    if value is not None and not isinstance(value, int | float):
        raise TypeError(f"{key} is {value!r}")
    return value


def _bounds(shape: Mapping[str, Any]) -> tuple[float | None, float | None, tuple[bool, bool]]:
    low, high = _number(shape, "minimum"), _number(shape, "maximum")
    below, above = shape.get("exclusiveMinimum"), shape.get("exclusiveMaximum")
    if isinstance(below, int | float) and not isinstance(below, bool):
        low = below
    if isinstance(above, int | float) and not isinstance(above, bool):
        high = above
    return low, high, (below not in (None, False), above not in (None, False))


# --- examples -----------------------------------------------------------------------------------


def _examples(shape: Mapping[str, Any], description: str) -> list[str]:
    given = [str(e) for e in cast("Sequence[Any]", shape.get("examples") or ())]
    if "example" in shape:
        given.append(str(shape["example"]))
    for m in _EXAMPLE.finditer(description):
        given += _QUOTED.findall(m[1])
    return given


def _code_like(example: str) -> bool:
    return bool(re.search(r"\d", example)) and not re.search(r"\s|@|://", example)


def shape_of(example: str) -> str:
    """A pattern for values that look like the example: 'PO-0000' stands for PO- and four digits."""
    parts = re.findall(r"[A-Za-z]+|\d+|[^A-Za-z\d]", example.removeprefix("#"))
    mixed = _mixed(parts)
    made: list[str] = []
    for place, part in enumerate(parts):
        if mixed is not None and place >= mixed:
            break
        if part.isdigit():
            made.append(rf"\d{{{len(part)}}}")
        elif part.isalpha():
            # What comes first names the kind; letters further on vary from value to value.
            named = place == 0 and (part.isupper() or len(part) <= 3)
            case = "[A-Z]" if part.isupper() else "[a-z]"
            size = f"{{{len(part)}}}" if part.isupper() else "+"
            made.append(re.escape(part) if named else case + size)
        else:
            made.append(re.escape(part))
    if mixed is not None:
        made.append(r"[A-Za-z0-9]{6,}")
    return "".join(made)


def _mixed(parts: Sequence[str]) -> int | None:
    """Where letters and digits begin to follow each other without a pattern, as in a random key."""
    runs = [
        place
        for place in range(len(parts) - 2)
        if all(p.isalnum() for p in parts[place : place + 3])
    ]
    return runs[0] if runs else None


__all__ = [
    "Field",
    "Kind",
    "Option",
    "field_of",
    "fields_of",
    "shape_of",
    "spoken",
    "stem",
    "stems",
    "words_of",
]
