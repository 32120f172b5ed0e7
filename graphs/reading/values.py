"""Values with a form of their own: addresses to write to, numbers to call, identifiers, names, places."""

from __future__ import annotations

import re
from collections.abc import Iterator

from graphs.reading.fields import Field
from graphs.reading.patterns import Form
from graphs.reading.spans import Span

_EMAIL = re.compile(r"[\w.+%-]+@[\w-]+(?:\.[\w-]+)+")
_URL = re.compile(r"\bhttps?://[^\s<>\"'`]+|\bwww\.[^\s<>\"'`]+", re.I)
_PHONE = re.compile(r"(?<![\w#@./-])(?:\+|00)?\(?\d(?:[\s()/.-]{0,2}\d){6,14}(?![\w@]|[.-]\d)")
_TOKEN = re.compile(r"(?<![\w@#-])#?[A-Za-z0-9](?:[A-Za-z0-9_-]*[A-Za-z0-9])?(?![\w@-])")


def emails(text: str) -> list[Span]:
    return [Span(m[0], m.start(), m.end()) for m in _EMAIL.finditer(text)]


def urls(text: str) -> list[Span]:
    found: list[Span] = []
    for m in _URL.finditer(text):
        url = m[0].rstrip(".,;:!?)")
        found.append(Span(url, m.start(), m.start() + len(url)))
    return found


def phones(text: str) -> list[Span]:
    return [Span(m[0].strip(), m.start(), m.end()) for m in _PHONE.finditer(text)]


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
_NAMED = re.compile(
    rf"\b(?:(?i:my (?:full |first )?name(?:['’]?s| is)|name(?:['’]?s| is| of)|name:|i am|i['’]m|this is|it['’]s|call me|"
    rf"under|holder is|speaking is))\s+(?P<name>{_FULL})"
)
_NAMED_LOWER = re.compile(
    r"\bmy (?:full |first )?name(?:['’]?s| is)\s+(?P<name>[a-zà-ÿ'-]+(?:\s+[a-zà-ÿ'-]+){0,2}?)(?=\s*(?:$|[.,;!?]|\band\b|\bfrom\b|\bzip\b|\bwith\b|\bi\b))",
    re.I,
)
_LEADING = re.compile(
    rf"^\s*(?:(?i:hi|hello|hey|sure|yes|ok|okay)[,!.]?\s+)?(?P<name>{_CAPITAL}\s+{_FULL})(?=\s*(?:[,.;]|$))"
)
_REPLY = re.compile(rf"^\s*(?:(?i:it['’]s|sure|yes|ok|okay)[,!.]?\s+)?(?P<name>{_FULL})")
_NO_NAME = frozenset(
    [
        "Hi",
        "Hello",
        "Hey",
        "The",
        "I",
        "My",
        "Please",
        "Thanks",
        "Thank",
        "Sure",
        "Yes",
        "No",
        "Not",
        "Order",
        "Zip",
        "Monday",
        "Tuesday",
        "Wednesday",
        "Thursday",
        "Friday",
        "Saturday",
        "Sunday",
        "January",
        "February",
        "March",
        "April",
        "May",
        "June",
        "July",
        "August",
        "September",
        "October",
        "November",
        "December",
        "Can",
        "Could",
        "Would",
        "What",
        "Where",
        "When",
        "Why",
        "How",
        "It",
        "This",
        "That",
        "There",
        "Card",
        "Refund",
        "Cancel",
        "Return",
        "Exchange",
    ]
)


def names(text: str, *, asked: bool) -> list[Span]:
    """Names of people: after words that introduce one, at the beginning, or as the reply to a question for it."""
    patterns = [_NAMED, _NAMED_LOWER, _LEADING, *([_REPLY] if asked else [])]
    for pattern in patterns:
        for m in pattern.finditer(text):
            said = m["name"]
            if said.split()[0] not in _NO_NAME:
                shown = said if pattern is not _NAMED_LOWER or not said.islower() else said.title()
                return [Span(shown, m.start("name"), m.end("name"))]
    return []


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

_UNIT = r"(?:apt\.?|apartment|suite|unit|floor|flat|ste\.?|#)\s*\w+"
_US_ADDRESS = re.compile(
    rf"(?<![\w#-])(?P<street>\d+\w?\s+[^\W\d][^,;?!\n\d]*?)(?:,?\s+(?P<unit>{_UNIT}))?,\s*(?P<city>[^\d,]+?),\s*(?P<state>[A-Z]{{2}}|[A-Z][a-z]+(?: [A-Z][a-z]+)?)\b,?\s*"
    rf"(?P<zip>\d{{5}}(?:-\d{{4}})?)(?:,\s*(?P<country>[A-Z][\w.]+(?: [A-Z]\w+)?))?",
    re.I,
)
_STREET = re.compile(
    r"\b(?P<street>\d+\w?\s+(?:[A-Z][\w'-]+\s+){1,3}(?:Street|St|Avenue|Ave|Road|Rd|Lane|Ln|Drive|Dr|Boulevard|Blvd|Way|Court|Ct|Highway|Place|Square))\b"
)
_IN_PLACE = re.compile(
    rf"\b(?:in|to|at|of|near|for)\s+(?P<city>{_CAPITAL}(?:\s+{_CAPITAL}){{0,2}})"
)
_ZIP = re.compile(r"(?<![\w#$€£.,/-])\d{5}(?:-\d{4})?(?![\w%]|[.,/-]\d)")
_COUNTRY = re.compile(
    r"\b(?:USA|United States|US|UK|United Kingdom|Germany|France|Spain|Italy|Austria|Switzerland|Canada|Netherlands|Belgium|Portugal|Ireland|Poland)\b"
)


def places(text: str) -> dict[str, Span]:
    """The parts of an address the text gives: street, unit, city, state, zip, country."""
    if m := _US_ADDRESS.search(text):
        return {
            part: Span(m[part].strip(), m.start(part), m.end(part))
            for part in ("street", "unit", "city", "state", "zip", "country")
            if m[part]
        }
    found: dict[str, Span] = {}
    if m := _STREET.search(text):
        found["street"] = Span(m["street"], m.start("street"), m.end("street"))
    for m in _ZIP.finditer(text):
        found["zip"] = Span(m[0], m.start(), m.end(), certain=False)
    if m := _COUNTRY.search(text):
        found["country"] = Span(m[0], m.start(), m.end())
    for m in _IN_PLACE.finditer(text):
        if m["city"].split()[0] not in _NO_NAME and not _STREET.match(m["city"]):
            found.setdefault("city", Span(m["city"], m.start("city"), m.end("city"), certain=False))
    return found


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
