"""Values with a form of their own: addresses to write to, numbers to call, identifiers, names, places."""

from __future__ import annotations

import re
from collections.abc import Iterator

from graphs.reading.dates import When
from graphs.reading.fields import Field
from graphs.reading.patterns import Form
from graphs.reading.spans import Span, free
from graphs.reading.words import is_opener
from tools.reading import contacts
from tools.reading.addresses import addresses, countries_in
from tools.reading.calendars import LANGUAGES, words_of
from tools.reading.spans import folded

_URL = re.compile(r"\bhttps?://[^\s<>\"'`]+|\bwww\.[^\s<>\"'`]+", re.I)
_TOKEN = re.compile(r"(?<![\w@#-])#?[A-Za-z0-9](?:[A-Za-z0-9_-]*[A-Za-z0-9])?(?![\w@-])")


def emails(text: str) -> list[Span]:
    """Every e-mail address; one that cannot be one says why."""
    return [Span(one.value, one.start, one.end, one.why) for one in contacts.emails(text)]


def urls(text: str) -> list[Span]:
    found: list[Span] = []
    for m in _URL.finditer(text):
        url = m[0].rstrip(".,;:!?)")
        found.append(Span(url, m.start(), m.start() + len(url)))
    return found


def phones(text: str, region: str | None = None, *, asked: bool = False) -> list[Span]:
    """Every telephone number as it was written. Where one was asked for, a fragment of one says what it is."""
    whole = [Span(one.text.strip(), one.start, one.end) for one in contacts.phones(text, region)]
    if region is None:
        # With its country's code a number can be told to be whole; without one it cannot.
        unsure = [
            Span(one.text.strip(), one.start, one.end)
            for one in contacts.runs(text)
            if not one.text.startswith(("+", "00"))
        ]
        whole += free(unsure, ((one.start, one.end) for one in whole))
    if asked and not whole:
        return [Span(None, o.start, o.end, o.why) for o in contacts.fragments(text, region)]
    return whole


def codes(field: Field, text: str) -> list[Span]:
    """Identifiers of the form the field declares or shows by example; without one, tokens with a digit."""
    if field.pattern is not None:
        return list(_by_pattern(field, text))
    if field.shapes:
        found: list[Span] = []
        for shape in field.shapes:
            found += _by_shape(field, shape, text)
        return found
    return [
        Span(m[0].lstrip("#"), m.start(), m.end(), certain=False)
        for m in _TOKEN.finditer(text)
        if sum(c.isdigit() for c in m[0]) >= 3
        or (re.search(r"\d", m[0]) and re.search(r"[A-Za-z]\W*\d", m[0]))
    ]


def _by_pattern(field: Field, text: str) -> Iterator[Span]:
    assert field.pattern is not None
    form = Form(field.pattern)
    for m in re.finditer(r"[^\s,;:!?()\"'“”]+", text):
        token = m[0].rstrip(".")
        plain = token.lstrip("#")
        ways = (token, token.upper(), token.lower(), plain, f"#{token}", plain.upper())
        value = form.first_of(ways)
        if value is not None:
            yield Span(value, m.start(), m.start() + len(token), certain=not token.isdigit())


def _by_shape(field: Field, shape: str, text: str) -> Iterator[Span]:
    for m in re.finditer(rf"(?<![\w#@-])#?(?P<core>{shape})(?![\w@]|-\w)", text, re.I):
        core = m["core"]
        if re.match(r"[A-Z]", shape) and core[:1].islower():
            core = core.upper() if core.islower() else core[:1].upper() + core[1:]
        value = f"#{core}" if field.hash_first else core
        yield Span(value, m.start(), m.end(), certain=not core.isdigit())


# --- names --------------------------------------------------------------------------------------

_CAPITAL = r"[A-ZÀ-ÖØ-Þ][\w'’-]+"
_FULL = rf"{_CAPITAL}(?:\s+(?:(?:van|von|de|der|da|del|la|bin|al)\s+)*{_CAPITAL}){{0,3}}"
_INTRODUCED = (
    r"my (?:full |first )?name(?:['’]?s| is)|name(?:['’]?s| is| of)|name:|i am|i['’]m|this is|it['’]s|call me|under|holder is|"
    r"speaking is|ich heiße|ich bin|mein name ist|je m['’]appelle|me llamo|mi chiamo|ik heet|chamo-me"
)
_NAMED = re.compile(rf"\b(?i:{_INTRODUCED})\s+(?P<name>{_FULL})")
_NAMED_LOWER = re.compile(
    r"\bmy (?:full |first )?name(?:['’]?s| is)\s+(?P<name>[a-zà-ÿ'-]+(?:\s+[a-zà-ÿ'-]+){0,2}?)(?=\s*(?:$|[.,;!?]|\band\b|\bfrom\b|\bzip\b|\bwith\b|\bi\b))",
    re.I,
)
_GREETING = r"(?i:hi|hello|hey|hallo|sure|yes|ja|ok|okay|it['’]s)"
_LEADING = re.compile(
    rf"^\s*(?:{_GREETING}[,!.]?\s+)?(?P<name>{_CAPITAL}\s+{_FULL})(?=\s*(?:[,.;]|$))"
)
_REPLY = re.compile(rf"^\s*(?:{_GREETING}[,!.]?\s+)?(?P<name>{_FULL})")


def names(text: str, *, asked: bool) -> list[Span]:
    """Names of people: after words that introduce one, at the beginning, or as the reply to a question for it."""
    patterns = [_NAMED, _NAMED_LOWER, _LEADING, *([_REPLY] if asked else [])]
    for pattern in patterns:
        for m in pattern.finditer(text):
            said = m["name"]
            if not is_opener(said.split()[0]) and not _of_a_calendar(said.split()[0]):
                shown = said if pattern is not _NAMED_LOWER or not said.islower() else said.title()
                return [Span(shown, m.start("name"), m.end("name"))]
    return []


def _of_a_calendar(word: str) -> bool:
    said = folded(word)
    return any(said in words.days or said in words.months for words in map(words_of, LANGUAGES[:2]))


def part_of_name(field: Field, full: str) -> str | None:
    """The part of a full name that a field asks for."""
    own = field.name.rpartition(".")[2].casefold().replace("_", "")
    first, *rest = full.split()
    if own in ("firstname", "givenname"):
        return first
    if own in ("lastname", "surname", "familyname"):
        return " ".join(rest) or None
    if own == "middlename":
        return " ".join(rest[:-1]) or None
    return full


# --- places -------------------------------------------------------------------------------------

_IN_PLACE = re.compile(
    rf"\b(?:in|to|at|of|near|for|nach|aus|bei|à|en|naar)\s+(?P<city>{_CAPITAL}(?:\s+{_CAPITAL}){{0,2}})"
)
#: A town in small letters is told by what is done there: "i'm moving to berlin on 1 feb".
_MOVING_TO = re.compile(
    r"\b(?:mov(?:e|ing)|relocat\w+|zieh\w*|umzieh\w*|umzug)\b[^.?!\n]{0,40}?\b(?:to|nach)\s+(?P<city>[^\W\d_]{3,})(?=\s+(?:on|by|in|at|am|im|ab|zum)\b|\s*[,.;]|\s*$)",
    re.I,
)
_NO_TOWN = frozenset(
    ("the", "another", "other", "new", "our", "his", "her", "this", "that", "flat", "house", "place", "home", "somewhere", "abroad", "country", "hause", "wohnung", "ausland")
)  # fmt: skip
_POSTCODE = re.compile(r"(?<![\w#$€£.,/-])\d{5}(?:-\d{4})?(?![\w%]|[.,/-]\d)")


def whole_addresses(text: str, when: When) -> list[Span]:
    """Every address in one line; one that lacks its street, postcode or town says so."""
    return [
        Span(one.value.whole if one.value.complete else None, one.start, one.end, one.why)
        for one in addresses(text, when.languages, when.region)
        if one.value is not None
    ]


def places(text: str, when: When) -> dict[str, Span]:
    """The parts of an address the text gives: street, unit, city, state, zip, country."""
    found: dict[str, Span] = {}
    for one in addresses(text, when.languages, when.region):
        if one.value is None:
            continue
        said = one.value
        parts = {
            "street": said.street, "zip": said.postcode, "city": said.town, "state": said.state,
            "country": said.country_said, "unit": _unit(said.extra, text, one.start),
        }  # fmt: skip
        for part, words in parts.items():
            if words and (at := text.find(words, one.start)) >= 0:
                found.setdefault(part, Span(words, at, at + len(words)))
    for m in _POSTCODE.finditer(text):
        found.setdefault("zip", Span(m[0], m.start(), m.end(), certain=False))
    for m in _IN_PLACE.finditer(text):
        first = m["city"].split()[0]
        if not is_opener(first) and not _of_a_calendar(first):
            found.setdefault("city", Span(m["city"], m.start("city"), m.end("city"), certain=False))
    for m in _MOVING_TO.finditer(text):
        town = m["city"]
        if folded(town) not in _NO_TOWN and not _of_a_calendar(town):
            shown = town.title() if town.islower() else town
            found.setdefault("city", Span(shown, m.start("city"), m.end("city"), certain=False))
    if country := countries_in(text, when.languages):
        found.setdefault("country", Span(country[0].text, country[0].start, country[0].end))
    return found


def _unit(extra: tuple[str, ...], text: str, start: int) -> str:
    """The flat, floor or "c/o" among what stands beside the street; a person's name is none."""
    units = (part for part in extra if re.search(r"\d|^c/o", part, re.I))
    return next((part for part in units if part in text[start:]), "")


def part_of_place(field: Field) -> str:
    """Which part of an address a field asks for."""
    own = field.name.rpartition(".")[2].casefold().replace("_", "")
    if own.startswith(("address2", "addressline2")):
        return "unit"
    if own.startswith(("address1", "addressline1", "street")):
        return "street"
    if own.startswith(("zip", "post")):
        return "zip"
    return {"town": "city", "province": "state"}.get(own, own)
