"""Amounts of money and percentages, with the currency that signs, codes and words beside a number name."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from decimal import Decimal
from functools import lru_cache

from babel import Locale, UnknownLocaleError
from babel.numbers import get_currency_name, get_currency_symbol

from tools.reading.numbers import DIGITS, numeral, worded
from tools.reading.spans import Span, folded, longest

#: Currencies that are looked for by name; every other one by its three letters only.
NAMED = (
    "EUR",
    "USD",
    "GBP",
    "CHF",
    "PLN",
    "CZK",
    "SEK",
    "NOK",
    "DKK",
    "HUF",
    "JPY",
    "CAD",
    "AUD",
    "BRL",
)
#: What no dictionary of currencies lists.
_COLLOQUIAL = {"bucks": "USD", "dollars": "USD", "dollar": "USD", "quid": "GBP", "pounds": "GBP", "pound": "GBP",
               "franken": "CHF", "francs": "CHF", "euros": "EUR", "eur": "EUR", "kr": "SEK", "us$": "USD"}  # fmt: skip
_PERCENT = r"%|percent|per cent|prozent|pour ?cent|por ?ciento|por ?cento|per ?cento|procent"


@dataclass(frozen=True)
class Amount:
    """A sum in a currency, or a share in percent."""

    value: Decimal
    currency: str | None = None
    percent: bool = False


def amounts(text: str, languages: Sequence[str], currency: str | None = None) -> list[Span[Amount]]:
    """Every number with a currency or a percent sign beside it.

    ``currency`` is the one a dollar or crown without its country means where several are possible."""
    plain = folded(text)
    words = _words(tuple(languages))
    found = [
        *_beside(text, plain, languages, words, currency),
        *_percents(text, plain, languages),
    ]
    return longest(found)


def _beside(
    text: str, plain: str, languages: Sequence[str], words: dict[str, str], home: str | None
) -> Iterator[Span[Amount]]:
    mark = "|".join(re.escape(w) for w in sorted(words, key=len, reverse=True))
    before = re.compile(rf"(?<![^\W\d_])(?P<mark>{mark})\.?[\s:]?(?P<n>{DIGITS})(?![\w]|[.,]\d)")
    after = re.compile(
        rf"(?<![\w#.,/:+-])(?P<n>{DIGITS})(?:,-|,–)?\s?-?(?P<mark>{mark})(?![^\W\d_])"
    )
    for pattern in (before, after):
        for m in pattern.finditer(plain):
            value = numeral(m["n"])
            if value is not None:
                yield _amount(text, m.start(), m.end(), value, words[m["mark"]], home)
    behind = re.compile(rf"\s(?P<mark>{mark})(?![^\W\d_])")
    for one in worded(text, languages, ordinal=False):
        if one.value is not None and (m := behind.match(plain, one.end)):
            yield _amount(text, one.start, m.end(), Decimal(one.value), words[m["mark"]], home)


def _percents(text: str, plain: str, languages: Sequence[str]) -> Iterator[Span[Amount]]:
    for m in re.finditer(rf"(?<![\w.,])(?P<n>{DIGITS})\s?(?:{_PERCENT})", plain):
        if (value := numeral(m["n"])) is not None:
            yield Span(
                m.start(), m.end(), text[m.start() : m.end()], "amount", Amount(value, percent=True)
            )
    for one in worded(text, languages, ordinal=False):
        if one.value is not None and (
            m := re.compile(rf"\s(?:{_PERCENT})\b").match(plain, one.end)
        ):
            value = Amount(Decimal(one.value), percent=True)
            yield Span(one.start, m.end(), text[one.start : m.end()], "amount", value)


def _amount(
    text: str, start: int, end: int, value: Decimal, code: str, home: str | None
) -> Span[Amount]:
    # "$" and "kr" are several countries'; the desk's own is meant where it is one of them.
    if home is not None and code in _SHARED and home in _SHARED[code]:
        code = home
    return Span(start, end, text[start:end], "amount", Amount(value, code))


_SHARED = {"USD": ("USD", "CAD", "AUD"), "SEK": ("SEK", "NOK", "DKK")}


@lru_cache
def _words(languages: tuple[str, ...]) -> dict[str, str]:
    """What names a currency: its sign, its code, its name in each language in one and many."""
    found: dict[str, str] = {code.lower(): code for code in NAMED}
    for language in languages:
        try:
            locale = Locale.parse(language)
        except (UnknownLocaleError, ValueError):
            continue
        for code in NAMED:
            found.setdefault(get_currency_symbol(code, locale).lower(), code)
            for count in (1, 2):
                found.setdefault(folded(get_currency_name(code, count, locale)), code)
    return {
        **{k.lower(): v for k, v in found.items()},
        "€": "EUR",
        "$": "USD",
        "£": "GBP",
        "¥": "JPY",
        **_COLLOQUIAL,
    }
