"""One message read by rules: every field whose value has a form, with what was ambiguous or out of bounds."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from pydantic import JsonValue

from graphs.reading import evidence, patterns, values
from graphs.reading.dates import When, days, moments, times
from graphs.reading.fields import Field, stem, stems
from graphs.reading.numbers import currencies, numbers, prices
from graphs.reading.spans import Span, changed_from, distinct, free, meant, repaired_at


@dataclass
class Reading:
    """What one message says."""

    values: dict[str, JsonValue] = field(default_factory=dict[str, JsonValue])
    refused: dict[str, str] = field(default_factory=dict[str, str])
    #: Fields for which the message holds several values and does not say which: no model may choose.
    unsettled: set[str] = field(default_factory=set[str])
    claimed: list[tuple[int, int]] = field(default_factory=list[tuple[int, int]])
    #: Where options were said: no names or towns, though their words may stand inside an amount.
    worded: list[tuple[int, int]] = field(default_factory=list[tuple[int, int]])

    def take(self, one: Field, spans: Sequence[Span]) -> None:
        """One span's value, or all of them where the field is a list."""
        usable = [s for s in spans if s.value is not None]
        if not usable:
            if spans:
                self.refused[one.name] = spans[0].why
            return
        for span in usable:
            if why := out_of_bounds(one, span.value):
                self.refused[one.name] = why
                return
        listed: list[JsonValue] = [s.value for s in distinct(usable)]
        self.values[one.name] = listed if one.many else usable[0].value
        (self.worded if one.choices else self.claimed).extend((s.start, s.end) for s in spans)

    def claim(self, spans: Iterable[Span]) -> None:
        self.claimed += [(s.start, s.end) for s in spans]


def read(
    fields: Sequence[Field],
    text: str,
    when: When,
    *,
    asked: frozenset[str] = frozenset(),
    own: Mapping[str, Sequence[Span]] | None = None,
) -> Reading:
    """What rules find in one message. ``asked``: the fields the last question was about.

    ``own`` holds the places of the shop's own record numbers, by field."""
    found = Reading()
    by_kind: Callable[..., list[Field]] = lambda *kinds: [f for f in fields if f.kind in kinds]  # noqa: E731
    for one in fields:
        if own and (spans := own.get(one.name)):
            found.claim(spans)
    _assign(found, by_kind("url"), values.urls(text), text, asked)
    found.claim(values.urls(text))
    _assign(found, by_kind("email"), free(values.emails(text), found.claimed), text, asked)
    found.claim(values.emails(text))
    for one in by_kind("code"):
        _assign(found, [one], free(_certain(values.codes(one, text)), found.claimed), text, asked)
    homes = values.whole_addresses(text, when)
    _assign(found, by_kind("address"), homes, text, asked)
    elsewhere = Reading(claimed=[(s.start, s.end) for s in homes])
    _read_times(found, elsewhere, by_kind("date", "moment", "time"), text, when, asked)
    calls = by_kind("phone")
    asked_for = any(one.name in asked or one.cues & stems(text) for one in calls)
    _assign(
        found,
        calls,
        free(values.phones(text, when.region, asked=asked_for), found.claimed),
        text,
        asked,
    )
    _read_choices(found, by_kind("choice"), text, when, asked)
    _read_names(found, by_kind("name"), text, asked)
    _read_places(found, by_kind("place"), text, when, asked)
    _read_bare_codes(found, [f for f in by_kind("code") if f.name not in found.values], text, asked)
    _read_numbers(found, by_kind("integer", "number"), text, when, asked)
    for one in by_kind("flag"):
        span = evidence.flag_in(one, text)
        yes = evidence.said_yes(text) if asked == frozenset((one.name,)) else None
        if span is not None:
            found.values[one.name] = span.value
        elif yes is not None:
            found.values[one.name] = yes
    for one in by_kind("text", "name", "place"):
        if one.name not in found.values and (span := _labelled(one, text)) is not None:
            found.take(one, [span])
    return found


def out_of_bounds(one: Field, value: JsonValue) -> str:
    """Why a value is outside what the schema allows; "" when it is not."""
    if isinstance(value, bool):
        return ""
    if isinstance(value, int | float):
        low_open, high_open = one.open_ends
        if one.kind == "integer" and value != int(value):
            return f"{value} is not a whole number"
        if one.low is not None and (value < one.low or (low_open and value == one.low)):
            return f"{value:g} is less than the least, {one.low:g}"
        if one.high is not None and (value > one.high or (high_open and value == one.high)):
            return f"{value:g} is more than the most, {one.high:g}"
    if isinstance(value, str):
        least, most = one.length
        if len(value) < least or (most is not None and len(value) > most):
            return f"has {len(value)} characters"
        if one.pattern is not None and not one.choices and not patterns.fits(one.pattern, value):
            return f"is not of the form {one.pattern}"
    return ""


# --- which span for which field -----------------------------------------------------------------

_WANTS = re.compile(
    r"\b(?:need|want|prefer|take|rather|like|get|into?|for|to|as|better)\s+(?:(?:an?|the|my|size)\s+)*$",
    re.I,
)
_HAD = re.compile(
    r"\b(?:have|has|had|got|bought|ordered|was|currently|from|booked)\s+(?:(?:an?|the|my|size)\s+)*$",
    re.I,
)
_BEGINS = re.compile(
    r"\b(?:from|starting|since|beginning|between|arriv\w+|check(?:ing)?[ -]?in|out of|start\w*)\s+(?:(?:the|my|our|on)\s+)*$",
    re.I,
)
_ENDS = re.compile(
    r"(?:\b(?:to|until|till|through|into|leav\w+|check(?:ing)?[ -]?out|ends?|up to)\s+(?:(?:the|my|our|on)\s+)*|[-–]\s*)$",
    re.I,
)


def cued(one: Field, span: Span, text: str) -> int:
    """How much the words around a span point to the field."""
    before, after = text[: span.start], text[span.end :]
    before = re.split(r"[.;!?\n]", before)[-1]
    near = {stem(w) for w in re.findall(r"[\w']+", before)[-4:]}
    near |= {stem(w) for w in re.findall(r"[\w%']+", re.split(r"[.,;!?\n]", after)[0])[:2]}
    score = 2 * min(len(one.cues & near), 2)
    # Of "line L1 of account A2" each word speaks for the code right behind it.
    score += any(stem(w) in one.cues for w in re.findall(r"[\w']+", before)[-1:])
    side = "from" if _BEGINS.search(before) else "to" if _ENDS.search(before) else ""
    if one.side and side:
        score += 5 if side == one.side else -5
    return score


def _assign(
    found: Reading, group: Sequence[Field], spans: Sequence[Span], text: str, asked: frozenset[str]
) -> None:
    """Give each field of one kind its span; a field with several equally good ones stays open."""
    open_fields = [f for f in group if f.name not in found.values]
    if not open_fields or not spans:
        return
    if len(open_fields) == 1:
        _settle(found, open_fields[0], spans, text)
        return
    left, rest = list(open_fields), meant(spans, text)
    pairs = sorted(
        ((cued(f, s, text), -i, -s.start, f, s) for i, f in enumerate(left) for s in rest),
        key=lambda pair: pair[:3],
        reverse=True,
    )
    for score, _, _, one, span in pairs:
        if score > 0 and one in left and span in rest:
            left.remove(one)
            rest.remove(span)
            more = [s for s in rest if one.many and all(cued(o, s, text) <= 0 for o in left)]
            found.take(one, [span, *more])
            rest = [s for s in rest if s not in more]
    if not rest or not left:
        return
    wanted = [f for f in left if f.name in asked] or left
    if len(wanted) == 1 and all(cued(wanted[0], s, text) >= 0 for s in rest):
        if wanted[0].name in asked or len(open_fields) == len(group) or wanted[0].required:
            _settle(found, wanted[0], rest, text)
    elif len(rest) == len(wanted) and {f.side for f in wanted} == {"from", "to"}:
        for one, span in zip(sorted(wanted, key=lambda f: f.side), rest, strict=False):
            found.take(one, [span])
    elif len(rest) == 1:
        # One value that any of several fields could take: the first required one that speaks of it.
        needed = [f for f in wanted if f.required and f.side != "to"]
        if len(needed) == 1:
            found.take(needed[0], rest)


def _settle(found: Reading, one: Field, spans: Sequence[Span], text: str) -> None:
    """One field, all spans of its kind: all for a list, else the only one, else the one the words point to."""
    kept = meant(spans, text)
    if not kept:
        return
    if one.many:
        found.take(one, kept)
        return
    values_of = distinct(kept)
    if len(values_of) > 1:
        # "from 10 to 40": the new value, unless the field is itself a beginning.
        new = [s for s in values_of if not changed_from(text, s.start)]
        if one.side != "from" and len(new) == 1:
            values_of = new
    if len(values_of) > 1:
        ranked = sorted(values_of, key=lambda s: _preference(one, s, text), reverse=True)
        if _preference(one, ranked[0], text) == _preference(one, ranked[1], text):
            found.unsettled.add(one.name)
            return
        values_of = ranked[:1]
    found.take(one, values_of)


def _preference(one: Field, span: Span, text: str) -> int:
    before = text[: span.start]
    verb = 1 if _WANTS.search(before) else -1 if _HAD.search(before) else 0
    return cued(one, span, text) + verb


def _certain(spans: Iterable[Span]) -> list[Span]:
    return [s for s in spans if s.certain]


# --- by kind ------------------------------------------------------------------------------------


def _read_times(
    found: Reading,
    elsewhere: Reading,
    group: Sequence[Field],
    text: str,
    when: When,
    asked: frozenset[str],
) -> None:
    for past in (True, False):
        of_kind = [f for f in group if f.past is past]
        dates = [f for f in of_kind if f.kind == "date"]
        taken = [*found.claimed, *elsewhere.claimed]
        _assign(found, dates, free(days(text, when, past=past), taken), text, asked)
        moment = [f for f in of_kind if f.kind == "moment"]
        _assign(found, moment, free(moments(text, when, past=past), taken), text, asked)
    _assign(found, [f for f in group if f.kind == "time"], times(text, when.languages), text, asked)
    found.claim(days(text, when))
    found.claim(times(text, when.languages))


def _read_names(found: Reading, group: Sequence[Field], text: str, asked: frozenset[str]) -> None:
    if not group:
        return
    people = [f for f in group if _of_a_person(f)]
    spans = values.names(text, asked=any(f.name in asked for f in people))
    for one in people:
        if spans and (part := values.part_of_name(one, str(spans[0].value))) is not None:
            found.take(one, [Span(part, spans[0].start, spans[0].end)])


def _of_a_person(one: Field) -> bool:
    return not re.search(
        r"\b(?:shop|company|merchant|product|city|hotel|store|event)\b", one.description, re.I
    )


def _read_places(
    found: Reading, group: Sequence[Field], text: str, when: When, asked: frozenset[str]
) -> None:
    if not group:
        return
    parts = values.places(text, when)
    for one in group:
        span = parts.get(values.part_of_place(one))
        if span is not None and free([span], [*found.claimed, *found.worded]):
            found.take(one, [span])


def _read_bare_codes(
    found: Reading, group: Sequence[Field], text: str, asked: frozenset[str]
) -> None:
    """Identifiers of digits alone: those the words point to first, then the only ones left."""
    for one in sorted(group, key=lambda f: f.name not in asked):
        spans = free(values.codes(one, text), found.claimed)
        spans = [
            s
            for s in spans
            if one.pattern or one.shapes or cued(one, s, text) > 0 or one.name in asked
        ]
        pointed = [s for s in spans if cued(one, s, text) > 0]
        alone = len(group) == 1 or one.shapes or one.name in asked
        if pointed or alone:
            _settle(found, one, pointed if pointed and not one.many else spans, text)


_UNITS = stems(
    "days weeks months years hours minutes euros dollars pounds eur usd gbp cents people persons guests adults "
    "children nights seats items pieces times percent % kg km miles o'clock pm am"
)
#: The same units in other languages; fields speak English.
_ELSEWHERE = {
    word: unit
    for unit, words in {
        "months": "mois mes meses mese mesi maand maanden monat monate monaten monats",
        "days": "jour jours dia dias día días giorno giorni dag dagen tag tage tagen",
        "weeks": "semaine semaines semana semanas settimana settimane weken woche wochen",
        "years": "ans année années año años anno anni jaar jahr jahre jahren",
    }.items()
    for word in words.split()
}


def _unit(word: str) -> str:
    """The stem of a word behind a number, a unit as English has it."""
    return stem(_ELSEWHERE.get(word.casefold(), word))


_NAMED_NUMBER = stems(
    "order item room card number plan invoice ticket size gate flight pin zip code version"
)
_FOR_SOME = re.compile(
    r"\b(?:for|we are|we['’]re|we['’]ll be|there are|there['’]ll be|party of|table of|of us)\s+$",
    re.I,
)
_MONEY = re.compile(r"amount|price|total|sum|cost|fee|money|value|budget|charge", re.I)
_MAKE_IT = re.compile(r"\b(?:make (?:it|that)|just|only|instead|rather|actually|now)\b", re.I)


def _read_numbers(
    found: Reading, group: Sequence[Field], text: str, when: When, asked: frozenset[str]
) -> None:
    if not group:
        return
    money = free(prices(text, when.languages), found.claimed)
    plain = free(numbers(text, when.languages), found.claimed)
    for one in group:
        if one.name in found.values:
            continue
        if money and _MONEY.search(one.name):
            cents = bool(re.search(r"\bcents?\b|minor unit|pence", one.description))
            _settle(found, one, [_in_cents(s) if cents else s for s in money], text)
            continue
        loose = [s for s in plain if free([s], ((m.start, m.end) for m in money))]
        with_unit = [s for s in [*loose, *_one_of_unit(one, text)] if _unit_of(one, s, text)]
        if not with_unit and len(group) == len(loose) == 1 and not _foreign(one, loose[0], text):
            with_unit = [s for s in loose if cued(one, s, text) > 0]
        if with_unit:
            _settle(found, one, with_unit, text)
            continue
        bare = [s for s in loose if not _foreign(one, s, text) and not out_of_bounds(one, s.value)]
        if _MONEY.search(one.name):  # "That extra one" is no sum.
            bare = [s for s in bare if text[s.start].isdigit()]
        sole = len(group) == 1
        if bare and (
            asked == frozenset((one.name,))
            or (one.name in asked and sole)
            or (sole and _sole(one, text))
        ):
            _settle(found, one, bare, text)


def _in_cents(span: Span) -> Span:
    assert isinstance(span.value, int | float)
    return Span(round(span.value * 100), span.start, span.end)


def _sole(one: Field, text: str) -> bool:
    """May a number without a unit be this field's, the only number that is wanted?"""
    return bool(_MONEY.search(one.name) or _MAKE_IT.search(text)) or len(text.split()) <= 3


def _unit_of(one: Field, span: Span, text: str) -> bool:
    """Does the word behind, or the one before, name the field: "two months", "size 44"?"""
    after = re.findall(r"[\w%']+", re.split(r"[,;!?\n]|\.\s", text[span.end :])[0])[:2]
    before = re.findall(r"[\w']+", re.split(r"[.,;!?\n]", text[: span.start])[-1])[-2:]
    if after and _unit(after[0]) in one.cues:
        return True
    if after and _unit(after[0]) in _UNITS:
        return False
    if "guest" in one.cues and _FOR_SOME.search(text[: span.start]):
        return True
    if len(after) > 1 and stem(after[1]) in one.cues and stem(after[0]) not in _UNITS:
        return True
    return any(stem(w) in one.cues for w in before[-1:])


def _one_of_unit(one: Field, text: str) -> list[Span]:
    """ "a month" is one month where months are asked for."""
    return [
        Span(1, m.start(), m.end(1))
        for m in re.finditer(r"\b(an?)\s+(\w+)", text, re.I)
        if stem(m[2]) in one.cues and stem(m[2]) in _UNITS
    ]


def _foreign(one: Field, span: Span, text: str) -> bool:
    """Is the number one of something else: "10 days", "order 10482"?"""
    after = re.findall(r"[\w%']+", text[span.end :])[:1]
    before = re.findall(r"[\w']+", text[: span.start])[-1:]
    return any(_unit(w) in _UNITS - one.cues for w in after) or any(
        stem(w) in _NAMED_NUMBER - one.cues for w in before
    )


def _read_choices(
    found: Reading, group: Sequence[Field], text: str, when: When, asked: frozenset[str]
) -> None:
    alike: dict[tuple[str, ...], list[Field]] = {}
    for one in group:
        alike.setdefault(one.options, []).append(one)
    for same in alike.values():
        spans = evidence.options_in(same[0], text)
        codes = set(same[0].options)
        spans += [s for s in currencies(text, when.languages) if str(s.value) in codes]
        if not spans:
            spans = evidence.heads_in(same[0], text, asked=any(f.name in asked for f in same))
        if len(same) > 1:
            _assign(found, same, distinct(spans), text, asked)
        else:
            _settle(found, same[0], spans, text)


#: Letters with digits, long runs of digits, or capitals: no word and no count.
_CODE_LIKE = re.compile(r"(?=.*\d)(?=.*[A-Za-z])[\w./-]{2,}|\d{4,}|[A-Z]{5,}")

# --- free text ----------------------------------------------------------------------------------


def _labelled(one: Field, text: str) -> Span | None:
    """A value behind the field's own name: "city: Dover", "change the city to Denver", "the name is Okafor"."""
    title = re.escape(one.title).replace(r"\ ", r"[\s_-]")
    if one.question or not one.title:
        return None  # The shop's own free text has commas; the model copies it.
    for m in re.finditer(
        rf"\b{title}\s+(?:(?:number|no\.?|id|is|#)\s*)*(?P<value>[\w./-]*\w)", text, re.I
    ):
        if _CODE_LIKE.fullmatch(m["value"]):
            return Span(m["value"], m.start("value"), m.end("value"))
    m = re.search(
        rf"\b{title}\s*(?:(?:is|should be|to)\b|[:=])\s*(?P<value>[^\s,.;!?\n][^,.;!?\n]*?)(?=\s*(?:$|[,;!?\n]|\.(?:\s|$)|\band\b))",
        text,
        re.I,
    )
    if m is None or re.match(
        r"(?:what|not|be|the same|wrong|different|missing|like)\b", m["value"], re.I
    ):
        return None
    return Span(m["value"].strip(), m.start("value"), m.end("value"))


_LEAD_IN = re.compile(
    r"^\s*(?:(?:it['’]?s|it is|that['’]?s|that would be|about|sure|yes|ok|okay|well|hm+|oh|please|because)[,:]?\s+)+",
    re.I,
)
_EVASION = re.compile(
    r"^\s*(?:no|yes|hm+|let me|i don['’]?t|i do not|not sure|why|what|which|how|where|when|wait|just a|one moment|never ?mind|"
    r"i can['’]?t|none|you know|forget|neither|sorry)\b|\?\s*$",
    re.I,
)


def reply_itself(one: Field, text: str) -> Span | None:
    """The whole reply as the value of the one free-text field that was asked for; None where it evades."""
    if _EVASION.search(text) or not text.strip():
        return None
    lead = _LEAD_IN.match(text)
    start = lead.end() if lead else len(text) - len(text.lstrip())
    value = text[start:].strip(" .,;:!?\n")
    return Span(value, start, start + len(value)) if value else None


def corrects(text: str) -> bool:
    """Does the message take something back?"""
    return repaired_at(text) >= 0


__all__ = ["Reading", "corrects", "out_of_bounds", "read", "reply_itself"]
