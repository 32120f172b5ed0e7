"""Numbers, amounts of money and currencies as a field's values."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal

from graphs.reading.spans import Span
from tools.reading import money
from tools.reading import numbers as read

#: In which numbers are understood where nobody says otherwise.
LANGUAGES = ("en", "de")


def numbers(text: str, languages: Sequence[str] = LANGUAGES) -> list[Span]:
    """Every number, in digits or words; whole ones as integers."""
    return [
        Span(plain(one.value), one.start, one.end)
        for one in read.numbers(text, languages)
        if one.value is not None
    ]


def prices(text: str, languages: Sequence[str] = LANGUAGES) -> list[Span]:
    """Every number with a currency: its value, and the stretch with the currency's sign."""
    return [
        Span(plain(one.value.value), one.start, one.end)
        for one in money.amounts(text, languages)
        if one.value is not None and not one.value.percent
    ]


def currencies(text: str, languages: Sequence[str] = LANGUAGES) -> list[Span]:
    """The currencies of the amounts, as ISO codes."""
    return [
        Span(one.value.currency, one.start, one.end)
        for one in money.amounts(text, languages)
        if one.value is not None and one.value.currency is not None
    ]


def plain(value: Decimal) -> int | float:
    return int(value) if value == int(value) else float(value)
