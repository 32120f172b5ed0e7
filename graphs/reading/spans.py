"""A value and the place in a text that says it, and which of several places counts."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from pydantic import JsonValue

from tools.reading.negation import is_negated, is_ruled_out


@dataclass(frozen=True)
class Span:
    """A value that ``text[start:end]`` says; ``why`` is set where the value cannot be used."""

    value: JsonValue
    start: int
    end: int
    why: str = ""
    certain: bool = True  #: Says itself what it is, as ``SB-10482`` does and ``10482`` does not.


#: What takes back what was just said: "SB-10482, no sorry, SB-10488".
_REPAIR = re.compile(
    r"\b(?:no,? (?:sorry|wait)|sorry|i meant?|rather|actually|correction|scratch that|"
    r"make (?:it|that)|or rather|wait|entschuldigung|ich meinte?|vielmehr|doch lieber|halt|moment)\b|"
    r"[,.;!-]\s*(?:no|nein)\b|^\s*(?:no|nein|nope)\s*[,.;!-]",
    re.I,
)
#: Of somebody else: "my sister's order is".
_SOMEBODY_ELSES = re.compile(
    r"\b(?:sister|brother|mother|father|mum|mom|dad|wife|husband|partner|friend|neighbou?r|"
    r"colleague|boss|roommate|flatmate|son|daughter)(?:'s|’s)\b[^.,;!?]*$",
    re.I,
)
_OLD_TO_NEW = re.compile(r"\bfrom\s+(?:the\s+|my\s+)?$", re.I)


def repaired_at(text: str) -> int:
    """Where the last correction in the text begins; -1 when there is none."""
    return max((match.start() for match in _REPAIR.finditer(text)), default=-1)


def excluded(text: str, start: int) -> bool:
    """Is what begins at ``start`` named only to say that it is not meant?"""
    return is_negated(text, start)


def changed_from(text: str, start: int) -> bool:
    """Does "from" stand before it: the old value of "from 10 to 40", or a beginning?"""
    return _OLD_TO_NEW.search(text[:start]) is not None


def meant(spans: Sequence[Span], text: str) -> list[Span]:
    """The spans that are left after what the text itself takes back, excludes or says of somebody else."""
    kept = [one for one in spans if not (excluded(text, one.start) or is_ruled_out(text, one.end))]
    own = [one for one in kept if not _SOMEBODY_ELSES.search(text[: one.start])]
    kept = own or kept
    repair = repaired_at(text)
    after = [one for one in kept if one.start > repair]
    if repair >= 0 and after and len(after) < len(kept):
        kept = after
    return kept


def distinct(spans: Iterable[Span]) -> list[Span]:
    """The first span of each value."""
    seen: dict[str, Span] = {}
    for one in spans:
        seen.setdefault(repr(one.value), one)
    return list(seen.values())


def free(spans: Iterable[Span], taken: Iterable[tuple[int, int]]) -> list[Span]:
    """The spans that no taken stretch of text overlaps."""
    blocked = list(taken)
    return [
        one
        for one in spans
        if not any(one.start < end and start < one.end for start, end in blocked)
    ]
