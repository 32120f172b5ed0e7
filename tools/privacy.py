"""Finds and masks personal data in free text; the shop's own numbers (orders, invoices, ...) stay."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass

from tools.values import Span

_SEPARATED_DIGITS = r"\d(?:[ -]?\d)"
_STREET_DE = r"(?:stra(?:ß|ss)e|str\.|weg|gasse|platz|allee|ufer|damm|ring)"
_STREET_EN = (
    r"(?:Street|St|Road|Rd|Avenue|Ave|Lane|Ln|Drive|Dr|Boulevard|Blvd|Way|Court|Ct|Square|Sq"
    r"|Terrace|Close|Crescent|Place|Pl|Parkway|Pkwy|Highway|Hwy)"
)


@dataclass(frozen=True)
class Rule:
    """A kind of personal data, its shape, and how much of a match really is one (0: nothing)."""

    kind: str
    shape: re.Pattern[str]
    confirmed: Callable[[str], int] = len


def find_pii(text: str) -> list[Span]:
    """Where personal data stands in a text, in order and without overlaps."""
    found: list[Span] = []
    for rule in RULES:
        for match in rule.shape.finditer(text):
            start, end = match.start(), match.start() + rule.confirmed(match.group())
            if start < end and not any(s.start < end and start < s.end for s in found):
                found.append(Span(kind=rule.kind, start=start, end=end))
    return sorted(found, key=lambda span: span.start)


def mask_pii(text: str) -> str:
    """The text with personal data replaced by its kind: ``[email]``, ``[card]``, ..."""
    pieces: list[str] = []
    position = 0
    for span in find_pii(text):
        pieces += text[position : span.start], f"[{span.kind}]"
        position = span.end
    return "".join((*pieces, text[position:]))


def _luhn(text: str) -> int:
    digits = [int(each) for each in text if each.isdigit()]
    doubled = [sum(divmod(2 * each, 10)) for each in digits[-2::-2]]
    return len(text) if (sum(digits[-1::-2]) + sum(doubled)) % 10 == 0 else 0


def _iban(text: str) -> int:
    # Written in groups, a match may run on into the following words: shorten until the check fits.
    cut = len(text)
    while cut > 0:
        compact = text[:cut].replace(" ", "").upper()
        if len(compact) < 15:
            return 0
        number = "".join(str(int(each, 36)) for each in compact[4:] + compact[:4])
        if int(number) % 97 == 1:
            return cut
        cut = text.rfind(" ", 0, cut)
    return 0


#: E.164's 15 and an extension; the tracking numbers of parcels are longer.
MOST_PHONE_DIGITS = 19


def _phone(text: str) -> int:
    if _FRACTION.fullmatch(text):
        return 0
    digits = sum(each.isdigit() for each in text)
    return len(text) if 7 <= digits <= MOST_PHONE_DIGITS and not _DATE.search(text) else 0


#: A probability, not a number to call.
_FRACTION = re.compile(r"0\.\d+")

_DATE = re.compile(
    r"(?:19|20)\d\d[-./](?:0?[1-9]|1[0-2])[-./]\d|\d{1,2}[-./]\d{1,2}[-./](?:19|20)\d\d"
)

# Earlier rules win where matches overlap. Every repetition is bounded: the text comes from strangers.
RULES = (
    Rule(
        "email",
        re.compile(r"(?<![\w.+-])[\w.+%-]{1,64}@(?:[\w-]{1,63}\.){1,5}[^\W\d_]{2,24}(?![\w-])"),
    ),
    Rule(
        "iban",
        re.compile(
            r"(?<!\w)[a-z]{2}\d{2}(?: ?[a-z\d]{4}){2,7}(?: ?[a-z\d]{1,3})?(?!\w)", re.IGNORECASE
        ),
        _iban,
    ),
    Rule(
        "card", re.compile(rf"(?<![\w+-])(?<!\d[.,]){_SEPARATED_DIGITS}{{11,18}}(?![\w-])"), _luhn
    ),
    # Written with a country or area code: +49 30 5550, 0043 1 ..., 030 ..., (0)30.
    Rule(
        "phone",
        re.compile(
            r"(?<![\w.,/-])(?:\+|00|0|\(\+?\d)\d{0,4}(?:[ ./()-]{0,2}\d{1,10}){2,6}"
            r"(?: ?x\d{1,6})?(?!\w|-\d)"
        ),
        _phone,
    ),
    # Written in groups or as one long run: (311) 905-4466, 60-56-85-91, 212.555.0100, 5550104477.
    Rule(
        "phone",
        re.compile(
            r"(?<![\w.,/-])(?:(?:\(\d{2,4}\) ?|\d{2,4}[ -])\d{2,4}(?:[ -]\d{2,5}){1,3}"
            r"|\d{3}[ -]\d{4}|\d{3}\.\d{3}\.\d{4}|\d{9,11})(?: ?x\d{1,6})?(?!\w|-\d)"
        ),
        _phone,
    ),
    Rule(
        "address",
        re.compile(
            rf"(?<!\w)(?:[A-ZÄÖÜ][\w-]{{0,30}}{_STREET_DE}"
            rf"|(?:[A-ZÄÖÜ][\w-]{{1,25}} ){{1,3}}{_STREET_DE.replace('(?:', '(?:(?i:', 1)}))"
            r" \d{1,4} ?[a-z]?(?!\w)(?:,? \d{5} [A-ZÄÖÜ][\w-]{1,30})?"
        ),
    ),
    Rule(
        "address",
        re.compile(
            rf"(?<!\w)\d{{1,5}}[A-Za-z]? (?:[A-Z][\w'-]{{1,25}}\.? ){{1,4}}{_STREET_EN}(?!\w)\.?"
            r"(?:,? (?:Apt|Suite|Unit|Flat)\.? ?\w{1,6})?"
            r"(?:,? [A-Z][\w-]{1,30}){0,2}(?:,? \d{4,5}(?!\w))?"
        ),
    ),
)
