"""Which language a message is in, where it says so clearly.

eldc was chosen of four detectors by 200 short messages in eight languages (tests/tools/reading/messages.py):
99 % right, 0.05 ms a message, 1 ms and under 20 MB to load; py3langid 98.5 % for 90 MB and 0.8 s, langidentify
97 % for 87 MB and 1.8 s, lingua 96 % for 210 MB (87 % in its small mode)."""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import lru_cache
from typing import Protocol, cast

import eldc

#: The languages that are told apart; a message in another one reads as none of them.
LANGUAGES = ("en", "de", "fr", "es", "it", "nl", "pt", "pl")
#: How far the first language must be ahead of the second; below it the thread's language stays.
#: At 0.08 the detector answers 188 of the 200 messages and is right on all of them.
AHEAD = 0.08
#: The least that one or two words must be like their language: "pls cancel" is like none.
LIKE = 0.72
#: As many characters as tell a language; what follows is in the same one.
ENOUGH = 400
#: Greetings that are all a message says, too short for the detector. Dutch has "hallo" too; "hi" is everybody's.
GREETINGS = dict.fromkeys(
    ("hallo", "hallöchen", "moin", "moinsen", "servus", "tach", "grüezi"), "de"
)
#: No words of a language: addresses, numbers of records, amounts.
_NO_WORDS = re.compile(r"\S*[@\d/_]\S*|\b[A-Z]{2,}\b")


def detected(text: str, languages: Sequence[str] = LANGUAGES) -> str | None:
    """The language's ISO code; None for what is short or could be several."""
    words = _NO_WORDS.sub(" ", text[:ENOUGH])
    alone = re.findall(r"[^\W\d_]+", words.casefold())
    if len(alone) == 1 and (greeted := GREETINGS.get(alone[0])) in languages:
        return greeted
    if sum(char.isalpha() for char in words) < 4 or _only_names(words):
        return None
    scores = sorted(_detector(tuple(languages)).detect_details(words).scores.items(), key=_score)
    if not scores:
        return None
    best = scores[-1]
    second = scores[-2][1] if len(scores) > 1 else 0.0
    sure = best[1] >= (LIKE if len(words.split()) < 3 else 0.0)
    return best[0] if sure and best[1] - second >= AHEAD else None


class _Result(Protocol):
    scores: dict[str, float]


class _Detector(Protocol):
    """What is used of eldc, whose types are compiled away."""

    def detect_details(self, text: str) -> _Result: ...
    def set_languages(self, codes: list[str]) -> list[str]: ...
    def set_scores(self, n: bool) -> None: ...


def _only_names(text: str) -> bool:
    """Several words, and every one with a capital: a name or an address is of no language."""
    words = re.findall(r"[^\W\d_]+", text)
    return len(words) > 1 and all(word[0].isupper() for word in words)


def _score(item: tuple[str, float]) -> float:
    return item[1]


@lru_cache
def _detector(languages: tuple[str, ...]) -> _Detector:
    eldc.init()
    made = cast("_Detector", eldc.instance())
    made.set_languages(list(languages))
    made.set_scores(True)
    return made
