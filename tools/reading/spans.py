"""What a reader found: where it stands in the text, what it says, and what it stands for."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

V = TypeVar("V")


@dataclass(frozen=True)
class Span(Generic[V]):
    """A stretch of the text and its value; without a value, ``why`` says what is wrong with it."""

    start: int
    end: int
    text: str
    kind: str
    value: V | None
    why: str = ""
    negated: bool = False  #: "not 10741": said, and not meant.
    certain: bool = True  #: It says itself what it is; otherwise its neighbours decide.


AnySpan = Span[Any]
S = TypeVar("S", bound=AnySpan)


def outside(spans: Iterable[S], claimed: Iterable[AnySpan | tuple[int, int]]) -> list[S]:
    """The spans that share no character with what is claimed already."""
    taken = [(c[0], c[1]) if isinstance(c, tuple) else (c.start, c.end) for c in claimed]
    return [s for s in spans if not any(s.start < end and start < s.end for start, end in taken)]


def longest(spans: Iterable[S]) -> list[S]:
    """Of spans that overlap the longest, in the order of the text."""
    kept: list[S] = []
    for one in sorted(spans, key=lambda s: (s.start - s.end, s.start)):
        if outside([one], kept):
            kept.append(one)
    return sorted(kept, key=lambda s: s.start)


#: How far in front of a value the words that belong to it may begin.
REACH = 60


def behind(pattern: re.Pattern[str], text: str, place: int) -> re.Match[str] | None:
    """What the pattern, which ends in ``$``, finds right in front of a place."""
    return pattern.search(text, max(0, place - REACH), place)


def folded(text: str) -> str:
    """Lower case without accents, character for character, so that places stay what they are."""
    return "".join(_plain(char) for char in text)


def _plain(char: str) -> str:
    lowered = unicodedata.normalize("NFD", char)[0].lower()
    return lowered if len(lowered) == 1 else char


def distinct(spans: Sequence[S]) -> list[S]:
    """The first span of each value."""
    found: dict[str, S] = {}
    for one in spans:
        found.setdefault(repr(one.value), one)
    return list(found.values())
