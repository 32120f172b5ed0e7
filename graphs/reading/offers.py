"""What was asked and offered: which fields a question is about, and which of the offered values a reply picks.

An offered value is no value until the customer picks it."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from pydantic import JsonValue

from graphs.reading import evidence
from graphs.reading.fields import Field, stem, stems, words_of
from graphs.reading.numbers import LANGUAGES
from graphs.reading.spans import Span
from tools.reading.negation import negated
from tools.reading.references import Reference, references

_ILLUSTRATION = re.compile(
    r"\b(?:for example|e\.g\.|such as|looks? like|for instance|like this|example)\b[^.?!\n]*", re.I
)
_ITEM = re.compile(r"(?:^|\s)\(?\d{1,2}[.)]\s+|\n+|;|,\s+or\s+|\s+or\s+", re.I)
_ASKS = re.compile(r"[^.!?\n]*(?:[.!]\s*)?\?|[^.!?\n]*:\s*$")
_DULL_TITLE = {
    "id",
    "ids",
    "number",
    "no",
    "code",
    "key",
    "is",
    "the",
    "of",
    "last",
    "first",
    "new",
    "to",
    "at",
    "on",
    "in",
    "four",
}


def asked_by(question: str, fields: Sequence[Field]) -> frozenset[str]:
    """The fields that the last question of a message is about."""
    for one in fields:
        if one.question and one.question in question:
            return frozenset({one.name})
    ends = [m[0] for m in _ASKS.finditer(question) if m[0].strip()]
    if not ends:
        return frozenset()
    last = ends[-1]
    asked = stems(last)
    named = [f for f in fields if _title(f) & asked]
    offering = [f for f in fields if f.choices and _mentions(f, last) >= 2]
    if named or offering:
        best = max((len(_title(f) & asked) for f in named), default=0)
        return frozenset(
            f.name for f in [*named, *offering] if f in offering or len(_title(f) & asked) == best
        )
    # The shop's own questions are recognised word by word; what else is asked there is a yes or no.
    other = [f for f in fields if not f.question]
    scores = {f.name: len((f.cues | _KIND_CUES.get(f.kind, frozenset())) & asked) for f in other}
    best = max(scores.values(), default=0)
    return frozenset(name for name, score in scores.items() if score == best and best > 0)


_KIND_CUES: Mapping[str, frozenset[str]] = {
    "date": stems("day date when"),
    "moment": stems("when time"),
    "time": stems("when time"),
    "name": stems("name"),
}


def _title(one: Field) -> frozenset[str]:
    own = words_of(one.name.rpartition(".")[2])
    weight = [w for w in own if w not in _DULL_TITLE] or own
    found = {stem(w) for w in weight}
    if one.kind == "choice" and "reason" in found:
        found |= {"why"}
    if "color" in found:
        found |= {"colour"}
    return frozenset(found)


def _mentions(one: Field, text: str) -> int:
    return len({str(s.value) for s in evidence.options_in(one, text)})


@dataclass(frozen=True)
class Offer:
    """A value that the assistant named, and the words it stood among."""

    value: JsonValue
    words: frozenset[str]


def offered(
    text: str, fields: Sequence[Field], spans_of: Callable[[Field, str], Sequence[Span]]
) -> dict[str, list[Offer]]:
    """For each field the values a message offers, in order; what it shows as an example is none."""
    plain = _ILLUSTRATION.sub(" ", text)
    items = [part for part in _ITEM.split(plain) if part and part.strip()]
    found: dict[str, list[Offer]] = {}
    for one in fields:
        offers: list[Offer] = []
        for item in items:
            spans = spans_of(one, item)
            around = stems(item) if len(spans) == 1 else frozenset[str]()
            offers += [Offer(s.value, around) for s in spans if s.value is not None]
        seen: dict[str, Offer] = {}
        for offer in offers:
            seen.setdefault(repr(offer.value), offer)
        if seen:
            found[one.name] = list(seen.values())
    return found


_NOBODY = re.compile(r"\b(?:neither|none|nothing|keine[rsn]?|nichts)\b", re.I)
_COMMON = stems(
    "the a an one please i want it is to for in on of and or with my that this order number yes no you have by at"
)


def picked(
    offers: Sequence[Offer], listed: Sequence[Offer], text: str, current: JsonValue
) -> JsonValue:
    """The offered value a reply picks; None when it picks none.

    ``offers`` were in the last message, ``listed`` in the last one that named several."""
    if _NOBODY.search(text):
        return None
    pointed = _pointed(text, len(offers))
    if any(one.kind == "other" for one in pointed) and len(listed) > 1:
        named = current if current is not None else (offers[0].value if len(offers) == 1 else None)
        rest = [o for o in listed if o.value != named]
        return rest[0].value if len(rest) == 1 else None
    if not offers:
        return None
    if named := [o for o in offers if (d := re.sub(r"\D", "", str(o.value))) and _says(d, text)]:
        return named[0].value if len(named) == 1 else None
    places = [one.place for one in pointed if one.place is not None]
    if len(offers) > 1 and places:
        at = places[0] - 1 if places[0] > 0 else places[0]
        return offers[at].value if -len(offers) <= at < len(offers) else None
    if len(offers) == 1:
        return offers[0].value if current is None and evidence.said_yes(text) else None
    said = stems(text) - _COMMON
    distinctive = [
        (o, o.words - frozenset().union(*(p.words for p in offers if p is not o))) for o in offers
    ]
    fitting = [o for o, words in distinctive if words & said]
    return fitting[0].value if len(fitting) == 1 and len(text.split()) <= 12 else None


def _pointed(text: str, offered: int) -> list[Reference]:
    """What in the reply points into the list; a name that merely holds such a word points nowhere."""
    found = negated(references(text, LANGUAGES, offered=offered), text)
    return [one.value for one in found if one.value is not None and not one.negated]


def _says(digits: str, text: str) -> bool:
    """Does the reply hold the number of an offered record, however it is written?"""
    return len(digits) >= 4 and re.search(rf"(?<!\d){digits}(?!\d)", text) is not None


_EARLIER = re.compile(
    r"\b(?:first|old|previous|original|former|earlier|initial)\s+(?P<what>\w+)", re.I
)


def earlier(one: Field, text: str, said: Sequence[JsonValue]) -> JsonValue:
    """The value the customer gave before the present one, where the reply goes back to it."""
    m = _EARLIER.search(text)
    if m is None or len(said) < 2 or stem(m["what"]) not in (_title(one) | one.cues):
        return None
    return said[0] if m[0].casefold().startswith(("first", "orig", "init")) else said[-2]


__all__ = ["Offer", "asked_by", "earlier", "offered", "picked"]
