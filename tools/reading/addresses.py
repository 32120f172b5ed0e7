"""Postal addresses as whole stretches, over several lines too, and what is missing from those that were cut.

The parsers there are read English only (pyap, usaddress) or weigh hundreds of megabytes (deepparse, libpostal).
An address has anchors that every country prints: a house number beside a street, a postcode beside a town. What
stands between and around them belongs to it."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import cast

from babel import Locale, UnknownLocaleError

from tools.reading.spans import Span, folded, longest

#: Nobody's street has longer words; without a bound a word without end takes a second to read.
_WORD = r"[^\W\d_][\w.'’´-]{0,40}"
_NAME = rf"{_WORD}(?:[ -]{_WORD})"
#: Digits and letters of a house: 5, 5a, 12-14, 3/2, 7 bis.
_HOUSE = (
    r"\d{1,4}(?:\s?[a-zA-Z](?![\w]))?(?:\s?(?:bis|ter)\b)?(?:\s?[-–/+]\s?\d{1,4}[a-zA-Z]?(?!\w))?"
)
#: Words that end a street's name and have its number behind them: "Hauptstraße 5", "Keizersgracht 12".
_ENDING = (
    r"(?:\w{0,30}(?:stra(?:ß|ss)e|str\.?)|\w{1,30}(?:gasse|allee|chaussee|promenade|weg|platz|ring|damm|ufer|steig|hof|markt|straat|laan|plein|"
    r"gracht|kade|dijk))"
)
#: Words that begin a street's name: "rue de la Paix", "Calle Mayor".
_OPENING = (
    r"(?:rue|chemin|all[eé]e|quai|impasse|avenue|boulevard|place|calle|c/|avenida|avda\.?|plaza|paseo|carrer|via|viale|piazza|corso|"
    r"vicolo|rua|travessa|pra[cç]a|largo|ulica|ul\.?|aleja)"
)
#: Words that end a street's name whose number stands in front: "10 Downing Street".
_ENGLISH = (
    r"(?:street|st\.?|road|rd\.?|lane|ln\.?|avenue|ave\.?|drive|dr\.?|court|ct\.?|close|crescent|boulevard|blvd\.?|way|terrace|square|"
    r"sq\.?|gardens|grove|place|pl\.?|parkway|pkwy\.?|highway|hwy\.?)"
)
_STREETLIKE = re.compile(rf"(?<!\w)(?:{_ENDING}|{_OPENING}|{_ENGLISH})(?!\w)", re.I)
_PART = rf"(?:{_WORD}|\d{{1,2}}\.)"
_FIRST = rf"(?P<street>(?:{_PART}[ ]+){{0,4}}?{_WORD}\s+(?:nr\.?\s*)?{_HOUSE})"
_NUMBERED = (
    rf"(?P<street>\d{{1,5}}\s?[a-zA-Z]?(?:\s(?:bis|ter))?,?\s+(?:{_WORD}[ ]+){{0,5}}?{_WORD})"
)
_BOX = r"(?P<street>(?:packstation|postfach|p\.?\s?o\.?\s?box|bo[iî]te postale|bp|apartado(?: de correos)?|casella postale|postbus)\s*(?:nr\.?\s*)?\d{1,6})"
#: Postcodes by how they look; the country decides between those that look alike.
_CODES: dict[str, str] = {
    "GB": r"[A-Za-z]{1,2}\d[A-Za-z\d]?\s?\d[A-Za-z]{2}",
    "NL": r"\d{4}\s?[A-Z]{2}",
    "PT": r"\d{4}-\d{3}",
    "PL": r"\d{2}-\d{3}",
    "CA": r"[A-Za-z]\d[A-Za-z]\s?\d[A-Za-z]\d",
    "US": r"\d{5}(?:-\d{4})?",
    "DE": r"\d{5}",
    "AT": r"\d{4}",
}
_PREFIX = r"(?:(?:D|A|CH|F|E|I|NL|B|L|PL|P|DK|S|DE|AT|FR|ES|IT)[- ])?"
_TOWN = r"(?P<town>(?:(?:St|Ste|S|Bad)\.?[ ])?[^\W\d_][\w'’´-]{0,40}(?:[ -](?:an?|am|im|in|ob|bei|sur|sous|de|del|della|di|da|do|la|le|les|the|der|den|upon|on|i\.|a\.)(?=[ -])){0,3}(?:[ -][A-ZÄÖÜÉ(][\w.'’´()/-]*){0,3})"
_STATE = r"(?:,?\s+(?P<state>[A-Z]{2}))?"
#: Between street and postcode: at most two short parts, as "Apt 4" and "3. OG".
_BETWEEN = r"(?:[ \t]*[,;\n]\s*[^,;\n]{1,40}?){0,2}?[ \t]*(?:,|;|\n|·|\||/(?=\s))?\s*(?:in[ \t]+)?"
#: In front of an address and no part of it.
_LEAD = re.compile(
    r"^(?:.*(?<![\w])(?:to|nach|at|an|in|is|are|ist|lautet|wohne|live|now|auf|zu|address|adresse|anschrift|adress|dirección|direccion|indirizzo|"
    r"adres|morada|endereço|à|vers|est|es|è|para|a|al|naar|op|it|und|and|jetzt|bitte|please|from|von|für|for|ship|send|deliver|"
    r"umgezogen|verschicken|liefern|schicken|Adresse|Anschrift|Address)(?:\s+|:\s*)(?:(?:der|die|das|den|the|my|meine?|new|neue)\s+)*|.*[:!?;]\s*)(?=\S)",
    re.S,
)
_EXTRA_LINE = re.compile(
    r"^(?:c/o|co/|z\.?\s?hd\.?|attn\.?|att\.?|zu händen|chez|p/a|apt\.?|apartment|flat|unit|suite|floor|building|etage|\d+\.\s?(?:og|stock)|"
    r"hinterhaus|postnummer|kundennummer|firma|fa\.|company|hotel|gate|room|zimmer|bei|care of|wohnung|appt\.?|appartement|piso|puerta|int\.?|scala|bus)\b|"
    r".*\b(?:gmbh|ag|kg|ohg|ug|e\.?k\.?|ltd\.?|limited|inc\.?|llc|plc|s\.?a\.?r?\.?l?\.?|s\.?p\.?a\.?|b\.?v\.?|n\.?v\.?|e\.?v\.?)\.?$", re.I
)  # fmt: skip


#: "20457 Hamburg, c/o Velox GmbH": said at last, and part of it all the same.
_EXTRA_BEHIND = re.compile(
    r"[ \t]*[,;\n][ \t]*(?P<extra>(?i:c/o|postnummer|attn\.?|z\.?\s?hd\.?)\s+[A-ZÄÖÜ\d][^,;\n.!?\s]*(?: [A-ZÄÖÜ&\d][^,;\n.!?\s]*){0,3})"
)


@dataclass(frozen=True)
class Address:
    """A postal address and its parts; ``missing`` names what a letter could not do without."""

    whole: str  #: In one line.
    street: str = ""
    postcode: str = ""
    town: str = ""
    state: str = ""
    country: str = ""  #: ISO code where the country was said.
    country_said: str = ""  #: As it was said.
    extra: tuple[str, ...] = ()  #: Name, company, "c/o", floor: the lines beside the street.

    @property
    def missing(self) -> tuple[str, ...]:
        parts = {"street": self.street, "postcode": self.postcode, "town": self.town}
        return tuple(name for name, said in parts.items() if not said)

    @property
    def complete(self) -> bool:
        return not self.missing


def addresses(
    text: str, languages: Sequence[str], region: str | None = None
) -> list[Span[Address]]:
    """Every address in the text; one that lacks a part has it among ``missing`` and says so."""
    found = [*_with_postcode(text, languages, region), *_streets_alone(text)]
    return longest(found)


# --- anchors ------------------------------------------------------------------------------------


def _with_postcode(
    text: str, languages: Sequence[str], region: str | None
) -> Iterator[Span[Address]]:
    for pattern in (_postcode_first(region), *_POSTCODE_LAST):
        for m in pattern.finditer(text):
            yield from _around(text, m, languages)


@lru_cache
def _postcode_first(region: str | None) -> re.Pattern[str]:
    """ "48157 Münster", "1012 AB Amsterdam", "1100-038 Lisboa"."""
    home = [_CODES["DE"]] if region in (None, "DE") else [_CODES.get(region or "", _CODES["DE"])]
    codes = "|".join(
        dict.fromkeys(
            [
                _CODES["NL"],
                _CODES["PT"],
                _CODES["PL"],
                *home,
                _CODES["DE"],
                r"\d{3}\s\d{2}",
                _CODES["AT"],
            ]
        )
    )
    return re.compile(rf"(?<![\w#-]){_PREFIX}(?P<code>{codes})(?![\w-])[ \t]+{_TOWN}")


#: "London SW1A 2AA", "Springfield, IL 62704", "Springfield, Illinois 62704", "New York, 10001".
_POSTCODE_LAST = tuple(
    re.compile(rf"{before}{_TOWN}{state},?\s+(?P<code>{code})(?![\w-])")
    for before, state, code in (
        (r"(?<![\w])", r"(?:,?\s+(?P<state>[A-Z]{2}))?\s*", f"{_CODES['GB']}|{_CODES['CA']}"),
        (r"(?<![\w])", r",?\s+(?P<state>[A-Z]{2})", _CODES["US"]),
        (r"(?<=[,\n]\s)", r",\s+(?P<state>[A-Z][a-z]+(?:\s[A-Z][a-z]+)?)", _CODES["US"]),
        (r"(?<=[,\n]\s)", r"(?P<state>),", _CODES["US"]),
    )
)


def _around(text: str, m: re.Match[str], languages: Sequence[str]) -> Iterator[Span[Address]]:
    """The address whose postcode and town ``m`` has found, unless they are something else."""
    groups = m.groupdict()
    code, state, anchor_start = groups["code"], groups.get("state") or "", m.start()
    town = groups["town"].rstrip(" ,.-")
    street = _street_before(text, anchor_start)
    capital = town[:1].isupper()
    if street is None and not (capital and len(code) > 4 and _led_to(text, m)):
        return
    if re.fullmatch(r"(?:19|20)\d\d", code) and not re.search(r"[,\n]\s*$", text[:anchor_start]):
        return  # a year
    if folded(town) in _countries(tuple(languages)) or _SENTENCE_WORDS.fullmatch(town):
        return
    town = town.split(" ")[0] if not capital else _without_sentence(town)
    end = max(m.end("code"), m.start("town") + len(town))
    country, said, end = _country_behind(text, end, languages)
    behind_it = _EXTRA_BEHIND.match(text, end)
    if behind_it is not None:
        end = behind_it.end()
    start = street.start if street else anchor_start
    extra, start = _lines_before(text, start)
    between = tuple(
        part.strip() for part in re.split(r"[,;\n]", text[street.end : anchor_start]) if part.strip()
    ) if street else ()  # fmt: skip
    whole = _one_line(text[start:end])
    value = Address(
        whole=whole,
        street=street.text if street else "",
        postcode=code,
        town=town,
        state=state,
        country=country,
        country_said=said,
        extra=(*extra, *between, *((behind_it["extra"].strip(),) if behind_it else ())),
    )
    yield _span(text, start, end, value)


def _led_to(text: str, m: re.Match[str]) -> bool:
    """Digits and a word are a postcode and a town behind "to" or a comma, or where they are all that is said."""
    before = text[: m.start()]
    return (not before.strip() and not text[m.end() :].strip(" .!\n")) or bool(
        re.search(r"(?:\b(?:in|nach|to|at|à|en|naar|a|em|aus|from)\s+|[,\n]\s*)$", before)
    )


def _without_sentence(town: str) -> str:
    """ "Münster Please": what begins the next sentence is no part of the town's name."""
    words = town.split(" ")
    while len(words) > 1 and _SENTENCE_WORDS.fullmatch(words[-1]):
        words.pop()
    return " ".join(words)


@dataclass(frozen=True)
class _Street:
    start: int
    end: int
    text: str


def _street_before(text: str, stop: int) -> _Street | None:
    """The street that ends where the postcode and town begin, with at most two short parts between."""
    for pattern in (_BOX_BEFORE, _FIRST_BEFORE, _NUMBERED_BEFORE):
        for m in pattern.finditer(text, max(0, stop - _WIDEST), stop):
            start, end = m.span("street")
            lead = _LEAD.match(text[start:end]) if pattern is _FIRST_BEFORE else None
            if lead is not None and re.search(r"[^\W\d_]", text[start + lead.end() : end]):
                start += lead.end()
            said = text[start:end]
            if _EXTRA_LINE.match(said):
                continue  # "Flat 3" is a part of a house
            if pattern is _NUMBERED_BEFORE and not _is_street(said, text[end:stop]):
                continue
            return _Street(start, end, said)
    return None


#: As many characters as a street and what stands between it and the town may have.
_WIDEST = 160
_BOX_BEFORE, _FIRST_BEFORE, _NUMBERED_BEFORE = (
    re.compile(rf"(?<![\w/]){pattern}{_BETWEEN}$", re.I) for pattern in (_BOX, _FIRST, _NUMBERED)
)


def _is_street(said: str, then: str) -> bool:
    """A number and words are a street by one of its words, or where a break follows: no "2 tents for"."""
    if _STREETLIKE.search(said):
        return True
    return re.search(r"[,;\n]", then) is not None and not re.match(r"\d+\s?\w?,", said)


def _streets_alone(text: str) -> Iterator[Span[Address]]:
    """Streets with a number and no postcode beside them: an address that was cut, or the first half of one."""
    ending = (
        rf"(?<![\w])(?P<street>(?:{_WORD}[ ]+|\d{{1,2}}\.\s){{0,2}}?{_ENDING}\s+{_HOUSE})(?![\w])"
    )
    opening = (
        rf"(?<![\w])(?P<street>{_OPENING}[ ]+(?:{_WORD}[ ]+){{0,3}}?{_WORD},?\s+{_HOUSE})(?![\w])"
    )
    numbered = rf"(?<![\w])(?P<street>\d{{1,5}}\s?[a-zA-Z]?,?\s+(?:(?:[A-Z][\w.'’-]*[ ]+){{1,3}}(?i:{_ENGLISH})|(?i:{_OPENING})(?:[ ]+(?:de|des|du|della|di|la|le|[A-Z][\w.'’-]*)){{1,4}}))(?![\w])"
    forms = ((rf"(?<![\w]){_BOX}", re.I), (ending, re.I), (opening, re.I), (numbered, re.NOFLAG))
    for pattern, flags in forms:
        for m in re.finditer(pattern, text, flags):
            start, end = m.start("street"), m.end("street")
            lead = _LEAD.match(text[start:end])
            if lead is not None and re.search(r"[^\W\d_]{3}", text[start + lead.end() : end]):
                start += lead.end()
            extra, begin = _lines_before(text, start)
            value = Address(_one_line(text[begin:end]), text[start:end], extra=extra)
            yield _span(text, begin, end, value)


def _span(text: str, start: int, end: int, value: Address) -> Span[Address]:
    why = f"lacks {' and '.join(value.missing)}" if value.missing else ""
    return Span(start, end, text[start:end], "address", value, why=why)


# --- what stands around -------------------------------------------------------------------------


def _lines_before(text: str, start: int) -> tuple[tuple[str, ...], int]:
    """Name, company and "c/o" in front of the street, and where they begin."""
    kept: list[str] = []
    while len(kept) < 4:
        m = _PART_BEFORE.search(text, max(0, start - 120), start)
        if m is None:
            break
        part, begin = m["part"], m.start("part")
        stripped = part.lstrip()
        begin += len(part) - len(stripped)
        if (
            named := re.search(
                r"(?<![\w/])(?:c/o|attn\.?|z\.?\s?hd\.?|p/a|firma|packstation|(?:flat|apt\.?|apartment|unit|suite)(?=\s\d))\s.*$",
                stripped,
                re.I,
            )
        ) is not None:
            begin, stripped = begin + named.start(), named[0]
        elif not (
            _EXTRA_LINE.match(stripped) or _is_name(stripped, alone=_is_line(text, begin, m))
        ):
            trimmed = _name_behind_lead(stripped)
            if trimmed is None:
                break
            begin, stripped = begin + trimmed, stripped[trimmed:]
            kept.insert(0, stripped.strip())
            start = begin
            break
        kept.insert(0, stripped.strip())
        start = begin
    return tuple(kept), start


def _is_line(text: str, begin: int, m: re.Match[str]) -> bool:
    return m["sep"] == "\n" and (begin == 0 or text[:begin].rstrip(" \t").endswith("\n"))


_PART_BEFORE = re.compile(r"(?P<part>[^,;\n:]+?)[ \t]*(?P<sep>,|;|\n)\s*$")
_SENTENCE_WORDS = re.compile(
    r"\b(?:please|bitte|thanks|danke|hello|hi|hallo|dear|liebe[rs]?|yes|no|ja|nein|ok|okay|sorry|the|my|meine?|is|ist|send|ship|change|new|neue)\b",
    re.I,
)


def _is_name(part: str, *, alone: bool) -> bool:
    """Two to five words with capitals, or anything short on a line of its own that is no sentence."""
    words = part.split()
    if (
        not words
        or len(words) > 6
        or _SENTENCE_WORDS.search(part)
        or re.search(r"[.!?:]$", part.strip())
    ):
        return False
    capitals = sum(word[:1].isupper() for word in words)
    if not alone:
        return 2 <= len(words) <= 4 and capitals == len(words)
    return capitals >= max(1, len(words) - 2)


def _name_behind_lead(part: str) -> int | None:
    """ "send it to Anna Müller": where the name begins."""
    m = re.search(
        r"(?<![\w])(?:to|an|für|for|à|a|para|aan)\s+(?P<name>(?:[A-ZÄÖÜÉ][\w.'’-]+\s*){2,4})$", part
    )
    return m.start("name") if m else None


def _country_behind(text: str, end: int, languages: Sequence[str]) -> tuple[str, str, int]:
    """The country behind the town as its ISO code, as it was said, and where it ends."""
    m = re.match(r"[ \t]*(?:,|\n|\(|-)[ \t]*(?P<name>[^\W\d_][\w.'’ -]{1,30})", text[end:])
    if m is None:
        return "", "", end
    names = _countries(tuple(languages))
    words = m["name"].split(" ")
    for count in range(len(words), 0, -1):
        said = " ".join(words[:count]).rstrip(" .,-")
        if (code := names.get(folded(said))) is not None:
            return code, said, end + m.start("name") + len(said)
    return "", "", end


@lru_cache
def _countries(languages: tuple[str, ...]) -> dict[str, str]:
    found = {
        "uk": "GB",
        "england": "GB",
        "scotland": "GB",
        "wales": "GB",
        "usa": "US",
        "us": "US",
        "holland": "NL",
    }
    for language in dict.fromkeys((*languages, "en")):
        try:
            territories = cast("dict[str, str]", Locale.parse(language).territories)
        except (UnknownLocaleError, ValueError):
            continue
        found |= {folded(name): code for code, name in territories.items() if code.isalpha()}
    return found


def countries_in(text: str, languages: Sequence[str]) -> list[Span[str]]:
    """The countries a text names with a capital, as ISO codes; the longest name of a place wins."""
    names = _countries(tuple(languages))
    found: list[Span[str]] = []
    for m in re.finditer(
        r"(?<!\w)[A-ZÄÖÜÉÎØ][\w.'’-]*(?: (?:of |and |der )?[A-Z][\w.'’-]*){0,3}", text
    ):
        words = m[0].split(" ")
        for count in range(len(words), 0, -1):
            said = " ".join(words[:count]).rstrip(".,")
            if len(said) > 1 and (code := names.get(folded(said))) is not None and len(code) == 2:
                found.append(Span(m.start(), m.start() + len(said), said, "country", code))
                break
    return found


def _one_line(said: str) -> str:
    return re.sub(r"\s*,\s*,\s*", ", ", re.sub(r"[ \t]*\n\s*", ", ", said.strip())).replace(
        ",,", ","
    )
