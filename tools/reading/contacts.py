"""E-mail addresses and telephone numbers, whole or not at all."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

import phonenumbers
from email_validator import EmailNotValidError, validate_email

from tools.reading.spans import Span

#: Everything around an "@" that is no white space; what of it is an address says the validator.
_AROUND_AT = re.compile(
    r"(?<!\S)[<(\[\"„“]?(?:mailto:)?(?P<mail>[^\s@<>()\[\],;:\"„“]+@[^\s@<>()\[\],;:\"„“]+)", re.I
)
_DIGITS = re.compile(r"(?<![\w@.#-])\+?\(?\d[\d ()/.–-]{2,}\d(?![\w@])")
_EDGES = ".,;:!?'’\"*"


def emails(text: str) -> list[Span[str]]:
    """Every e-mail address, as it was written; one that cannot be an address has no value and says why."""
    found: list[Span[str]] = []
    for m in _AROUND_AT.finditer(text):
        said = m["mail"].rstrip(_EDGES)
        start = m.start("mail") + len(said) - len(said := said.lstrip(_EDGES))
        try:
            validate_email(said, check_deliverability=False, allow_smtputf8=True)
        except EmailNotValidError as error:
            why = f"{said} is no e-mail address: {error}"
            found.append(Span(start, start + len(said), said, "email", None, why=why))
        else:
            found.append(Span(start, start + len(said), said, "email", said))
    return found


@dataclass(frozen=True)
class Phone:
    """A telephone number: as it was written, and as it is dialled from anywhere."""

    said: str
    e164: str


def phones(text: str, region: str | None) -> list[Span[Phone]]:
    """Every telephone number that is whole in its country; ``region`` is the country of those without a code."""
    matches = phonenumbers.PhoneNumberMatcher(text, region or "ZZ", phonenumbers.Leniency.VALID)
    return [
        Span(m.start, m.end, m.raw_string, "phone", Phone(m.raw_string, _e164(m.number)))
        for m in matches
        if not _is_part(text, m.start, m.end)
    ]


def runs(text: str) -> list[Span[Phone]]:
    """Runs of as many digits as a telephone number has, for where the country is not known."""
    found = [
        Span(m.start(), m.end(), m[0], "phone", Phone(m[0], ""))
        for m in _DIGITS.finditer(text)
        if 7 <= sum(char.isdigit() for char in m[0]) <= 15
    ]
    return found


def _e164(number: phonenumbers.PhoneNumber) -> str:
    return phonenumbers.format_number(number, phonenumbers.PhoneNumberFormat.E164)


def _is_part(text: str, start: int, end: int) -> bool:
    """Do letters or an "@" touch it? Then it is part of a code or an address."""
    return bool(
        re.search(r"[^\W\d_][-_.]?$|[@#]$", text[max(0, start - 2) : start])
        or re.match(r"[\w@]", text[end : end + 1])
    )


def fragments(text: str, region: str | None) -> Iterator[Span[Phone]]:
    """Runs of digits that are too short or too long for a telephone number, for where one was asked for."""
    whole = phones(text, region)
    for m in _DIGITS.finditer(text):
        if not any(p.start < m.end() and m.start() < p.end for p in whole):
            why = f"{m[0]} is no whole telephone number"
            yield Span(m.start(), m.end(), m[0], "phone", None, why=why)
