"""The business's own record numbers in a customer's words."""

from __future__ import annotations

import re
from collections.abc import Iterable
from datetime import date
from functools import lru_cache

from graphs.reading.spans import Span
from tools.numbers import CALLED, FIRST_NUMBERS, means_newest, normalise_number, number_for
from tools.reading import records
from tools.reading.addresses import addresses
from tools.reading.contacts import emails, runs
from tools.reading.dates import dates
from tools.reading.money import amounts
from tools.reading.spans import REACH, AnySpan, folded

_LANGUAGES = ("en", "de")
#: Where a day's words stand is the same whenever it is read.
_ANY_DAY = date(2000, 1, 1)
_FORMS = tuple(number_for(kind, first) for kind, first in FIRST_NUMBERS.items())
#: What a record is called, longest first: "subscription" before "sub".
_KINDS = {word: kind for kind, words in CALLED.items() for word in words}
_WORD = rf"(?P<word>{'|'.join(sorted(_KINDS, key=len, reverse=True))})"
_BEFORE = re.compile(rf"\b{_WORD}\w{{0,2}}\W*(?:number|nummer|no\.?|nr\.?|id)?\W*$")
_NEWEST_KIND = re.compile(rf"\b(?:last|latest|newest|recent|letzte\w*|neueste\w*)\s+{_WORD}")
#: "refund 10482" asks for money back for an order; "refund no. 30112" names a refund.
_REFUND_THIS = re.compile(r"\brefund\W*$")


def number_spans(kind: str, text: str, form: str = "") -> list[Span]:
    """Record numbers of this kind and where they stand; ``certain`` ones say that they are of the kind.

    ``form``: an example of such a number, for a kind that is none of the shop's."""
    if kind not in CALLED:
        return _of_form(form, text)
    read = records.record_numbers(
        text,
        (),
        words=tuple(_KINDS),
        forms=_FORMS,
        claimed=_something_else(text),
        all_known=False,
    )
    found: list[Span] = []
    for one in read.foreign:
        said = str(one.value)
        if not said.isdigit():
            if (number := normalise_number(kind, said)) is not None:
                found.append(Span(number, one.start, one.end))
            continue
        number = normalise_number(kind, said)
        before = folded(text[max(0, one.start - REACH) : one.start])
        called = _BEFORE.search(before)
        named = _KINDS[called["word"]] if called and not _REFUND_THIS.search(before) else None
        if number is None or said.startswith("0") or named not in (None, kind):
            continue
        found.append(Span(number, one.start, one.end, certain=named == kind))
    return found


def _of_form(form: str, text: str) -> list[Span]:
    """Numbers that are written like the example, letters and all."""
    if not form:
        return []
    read = records.record_numbers(
        text, (), forms=(form,), claimed=_something_else(text), all_known=False
    )
    found = [(str(one.value), one) for one in read.foreign]
    return [Span(value, one.start, one.end) for value, one in found if not value.isdigit()]


@lru_cache(maxsize=64)
def _something_else(text: str) -> tuple[AnySpan, ...]:
    """Stretches whose digits are no record's: addresses, days, amounts, telephone numbers, mail."""
    longer = [one for one in runs(text) if one.text.startswith(("+", "0", "("))]
    days = dates(text, _ANY_DAY, _LANGUAGES)
    return (*addresses(text, _LANGUAGES), *emails(text), *longer, *days, *amounts(text, _LANGUAGES))


def values_of(spans: Iterable[Span], *, certain: bool) -> list[str]:
    """The numbers themselves, each once."""
    return list(dict.fromkeys(str(s.value) for s in spans if s.certain is certain))


def newest_of(text: str) -> str | None:
    """The kind of record the customer calls their newest; "" when they do not say which, None when none."""
    if not means_newest(text):
        return None
    kind = _NEWEST_KIND.search(folded(text))
    return "" if kind is None else _KINDS[kind["word"]]
