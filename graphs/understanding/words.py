"""Words as they are compared: folded, and alike in spite of endings, compounds and typing slips."""

from __future__ import annotations

import itertools
import re
import unicodedata
from collections.abc import Iterable, Sequence
from functools import lru_cache

from rapidfuzz import fuzz

_WORD = re.compile(r"[^\W_]+(?:['’][^\W_]+)?", re.UNICODE)
#: Words shorter than this must be written exactly; longer ones may hold a slip.
_EXACT_BELOW = 6
_ALIKE = 88.0
#: A compound may hold a word of at least so many letters ("Zeltbestellung").
_INSIDE = 4
#: A number of so many digits is written in groups.
_LONG = 7
_ENDINGS = ("es", "en", "er", "s", "n", "e")


@lru_cache(maxsize=4096)
def folded(text: str) -> str:
    """Lower case without accents, so that "Stöcke" and "stocke" are one spelling."""
    plain = unicodedata.normalize("NFKD", text.replace("ß", "ss").casefold())
    return "".join(char for char in plain if not unicodedata.combining(char))


@lru_cache(maxsize=4096)
def tokens(text: str) -> tuple[str, ...]:
    """The folded words of a text, in order."""
    return tuple(_WORD.findall(folded(text)))


@lru_cache(maxsize=8192)
def root(word: str) -> str:
    """The word without a regular plural or case ending."""
    for ending in _ENDINGS:
        if word.endswith(ending) and len(word) - len(ending) >= 3:
            return word[: -len(ending)]
    return word


@lru_cache(maxsize=65536)
def alike(said: str, name: str, *, compounds: bool = True) -> bool:
    """Whether a written word is meant for a name's word; ``compounds``: also as a part of a longer word."""
    if said == name or root(said) == root(name):
        return True
    if (
        compounds
        and len(name) >= _INSIDE
        and len(said) >= len(name) + 3
        and _in_compound(said, name)
    ):
        return True
    return min(len(said), len(name)) >= _EXACT_BELOW and fuzz.ratio(said, name) >= _ALIKE


def _in_compound(said: str, name: str) -> bool:
    """A German compound begins or ends with the word; English ones are written apart."""
    return len(said) > len(name) + 2 and (said.startswith(name) or said.endswith(name))


def found(name: str, said: Sequence[str], *, slips: bool = True) -> tuple[int, int] | None:
    """Where the words of ``name`` stand in a row among the said words: first and past the last."""
    wanted = tokens(name)
    if not wanted:
        return None
    same = alike if slips else _equal
    for start in range(len(said) - len(wanted) + 1):
        if all(same(said[start + n], word) for n, word in enumerate(wanted)):
            return start, start + len(wanted)
    return None


#: A compound begins with a word of at least so many letters ("Internetvertrag"), and has so many more.
_BEGINS, _MORE = 6, 5


def _equal(said: str, name: str) -> bool:
    return said == name or (
        len(name) >= _BEGINS and len(said) >= len(name) + _MORE and said.startswith(name)
    )


def numbers_joined(said: Sequence[str]) -> tuple[str, ...]:
    """Long numbers that were written in groups, each as one: "0151 1000014"."""
    runs = ("".join(group) for digits, group in itertools.groupby(said, key=str.isdigit) if digits)
    return tuple(run for run in runs if len(run) >= _LONG and run not in said)


def any_found(names: Iterable[str], said: Sequence[str], *, slips: bool = True) -> bool:
    """Whether one of the names is said; ``slips``: also with another ending or a typing slip."""
    return any(found(name, said, slips=slips) is not None for name in names)


@lru_cache(maxsize=512)
def word_places(text: str) -> tuple[tuple[int, int], ...]:
    """Each of the folded words of a text: its number, and where it begins in the folded text."""
    return tuple((n, one.start()) for n, one in enumerate(_WORD.finditer(folded(text))))
