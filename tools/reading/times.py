"""Times of day as people say them, in English and German; a clock's figures in every language."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from datetime import time

from tools.reading.numbers import number_word
from tools.reading.spans import Span, folded, longest

_CLOCK = re.compile(
    r"(?<![\w.:])(?P<h>[01]?\d|2[0-4])(?:[:.h](?P<min>[0-5]\d))?(?::[0-5]\d)?\s*(?:(?P<half>[ap])\.?\s?m\b\.?|(?P<uhr>uhr)\b)|"
    r"(?<![\w.:])(?P<h24>[01]?\d|2[0-3])[:h](?P<min24>[0-5]\d)(?::[0-5]\d)?(?![\w:]|\s*[ap]\.?\s?m\b)"
)
_WORDY = re.compile(
    r"\b(?P<part>half past|quarter past|quarter to|viertel nach|viertel vor|halb)\s+(?P<h>[^\W_]+)\b|"
    r"\b(?P<noon>noon|midday|mittags?)\b|\b(?P<midnight>midnight|mitternacht)\b|\b(?P<oclock>[^\W_]+)\s*o['’]?clock\b"
)
_LATE = re.compile(r"\b(?:evening|afternoon|tonight|night|abends?|nachmittags?|heute nacht)\b")
#: Minutes after the hour that is named, by the words in front of it.
_PARTS = {
    "half past": 30,
    "quarter past": 15,
    "quarter to": -15,
    "viertel nach": 15,
    "viertel vor": -15,
    "halb": -30,
}


def times(text: str, languages: Sequence[str] = ("en", "de")) -> list[Span[time]]:
    """Every time of day the text names; "half past seven" is in the evening only if the text says so."""
    plain = folded(text)
    return longest([*_figures(text, plain), *_worded(text, plain, languages)])


def _figures(text: str, plain: str) -> Iterator[Span[time]]:
    for m in _CLOCK.finditer(plain):
        if m["h24"] is not None:
            yield _span(text, m, int(m["h24"]), int(m["min24"]))
            continue
        hour = int(m["h"])
        if m["half"] and not 1 <= hour <= 12:
            continue
        if m["half"]:
            hour = hour % 12 + (12 if m["half"] == "p" else 0)
        yield _span(text, m, hour % 24, int(m["min"] or 0))


def _worded(text: str, plain: str, languages: Sequence[str]) -> Iterator[Span[time]]:
    late = 12 if _LATE.search(plain) else 0
    for m in _WORDY.finditer(plain):
        if m["noon"] or m["midnight"]:
            yield _span(text, m, 12 if m["noon"] else 0, 0)
            continue
        group = "h" if m["h"] else "oclock"
        hour = number_word(text[m.start(group) : m.end(group)], languages)
        if hour is None or not 1 <= hour <= 12:
            continue
        minutes = 60 * (hour + (late if hour < 12 else 0)) + _PARTS.get(m["part"] or "", 0)
        yield _span(text, m, minutes // 60 % 24, minutes % 60)


def _span(text: str, m: re.Match[str], hour: int, minute: int) -> Span[time]:
    return Span(m.start(), m.end(), text[m.start() : m.end()], "time", time(hour, minute))
