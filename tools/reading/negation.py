"""Values that were said and are not meant: "10 714, not 10 741"."""

from __future__ import annotations

import itertools
import re
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from tools.reading.spans import S, Span, folded

_NOT = (
    r"not|isn'?t|wasn'?t|never|nor|without|except(?: for)?|but not|instead of|rather than|other than|nicht|kein[e]?[nrsm]?|"
    r"statt|anstatt|anstelle von|au(?:ss|ß)er|ohne|pas|sauf|au lieu d[eu]|plutot que|salvo|en (?:lugar|vez) de|invece (?:di|del)|"
    r"tranne|niet|geen|behalve|in plaats van|nao|exceto|em vez de"
)
#: Between the negation and its value only what belongs to the value: "not the order 10741", where an article says
#: that the word is a noun; "I did not get 10741" takes nothing back.
_NEGATED = re.compile(
    rf"(?<![\w])(?:{_NOT})\s+(?:(?:for|on|of|to|in|at|from|with|am|im|vom|an|auf|in|fur|a|de)\s+)?"
    r"(?:(?:(?:the|my|an?|der|die|das|den|dem|meine?[nrm]?|le|la|les|ma|mon|el|los|las|mi|il|lo|i|gli|het|de|mijn|o|os|as)\s+|l')"
    r"(?:[^\W\d_]+\s+)?)?(?:(?:number|no\.?|nummer|nr\.?|num[eé]ro|#)\s*)?$"
)
#: All that stands between a value and the one that takes its place in the same breath: "10501. no wait sorry, 10496".
CORRECTED = re.compile(
    r"[\s.,;:!?()–—-]*(?:(?:oh|ah|ach|aeh|eh|no|nope|wait|sorry|hang on|hold on|scratch that|make that|actually|rather|i mean(?:t)?|"
    r"nein|ne|nee|halt|stopp?|moment|quatsch|pardon|ich mein(?:e|te)?|vielmehr|besser gesagt|non|je veux dire|perdon|digo|"
    r"quiero decir|scusa|anzi|ik bedoel)[\s.,;:!?–—-]+)+(?:it'?s\s+|(?:the|die|la|de)\s+)?(?:(?:order|number|nr\.?|bestellung)\s+)?#?",
    re.IGNORECASE,
)
#: What rules out the value before it: "Wednesday doesn't work", "übermorgen kann ich doch nicht".
_RULED_OUT = re.compile(
    r"\s+(?:(?:i|we|she|he|they) (?:can'?t|cannot|can not|won'?t|am not|are not|aren'?t|is not|isn'?t|don'?t)\b|"
    r"(?:does not|doesn'?t|won'?t|will not|cannot|can'?t) (?:\w+ )?(?:work|suit|fit|do|be)\b|(?:is|are) (?:no good|not possible|out)\b|"
    r"(?:kann|konnen|bin|sind|geht|passt|klappt|habe|haben) (?:\w+ ){0,3}(?:nicht|keine zeit)\b)"
)
#: How far back a negation is looked for.
_REACH = 80
#: "no, 10741": with a comma the no is an answer, and what follows is meant. Spanish and Italian say "no" for not.
_NO = re.compile(r"(?<![\w])(?:no|non)\s+(?:(?:el|la|los|las|il|lo|i|gli|le|l')\s*)?$")


def replaced(spans: list[S], text: str) -> list[S]:
    """The same spans, marked where the next one of their kind takes their place in the same breath."""
    following = [*spans[1:], None]
    return [
        replace(one, negated=True)
        if after is not None
        and not after.negated
        and CORRECTED.fullmatch(folded(text[one.end : after.start]))
        else one
        for one, after in zip(spans, following, strict=False)
    ]


def without_replaced(spans: Sequence[Span[Any]], text: str) -> str:
    """The text without the values that were corrected in the same breath, and without the words that say so."""
    for one, after in reversed([*itertools.pairwise(spans)]):
        if one.negated and CORRECTED.fullmatch(folded(text[one.end : after.start])):
            text = text[: one.start] + text[after.start :]
    return text


def negated(
    spans: list[S], text: str, languages: tuple[str, ...] = (), *, words: tuple[str, ...] = ()
) -> list[S]:
    """The same spans, marked where the words before take them back."""
    return [
        replace(one, negated=True) if is_negated(text, one.start, languages, words=words) else one
        for one in spans
    ]


def is_ruled_out(text: str, end: int) -> bool:
    """Do the words behind a value that ends at ``end`` say that it will not do?"""
    return _RULED_OUT.match(folded(text[end : end + _REACH])) is not None


def is_negated(
    text: str, start: int, languages: tuple[str, ...] = (), *, words: tuple[str, ...] = ()
) -> bool:
    """Is what begins at ``start`` named only to say that it is not meant? ``words`` may stand in between."""
    before = folded(text[max(0, start - _REACH) : start])
    for word in words:
        before = re.sub(rf"(?<!\w){re.escape(folded(word))}\w{{0,2}}\s+$", "", before)
    if _NEGATED.search(before):
        return True
    return bool({"es", "it"} & set(languages)) and _NO.search(before) is not None
