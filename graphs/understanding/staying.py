"""Words that are said only to say that what they name stays as it is: "leave the internet alone, cancel the mobile"."""

from __future__ import annotations

import re
from functools import lru_cache

from graphs.understanding.words import folded, word_places

#: What is said of one thing ends here. A point between digits or in an abbreviation does no harm: it ends a stretch early.
_ENDS = re.compile(
    r"[,;:!?()\n–—]|\.(?=\s|$)|\s-\s|\b(?=(?:but|and|only|just|aber|und|sondern|nur|lediglich|dafur|stattdessen|mais|et|"
    r"pero)\b)"
)
_THING = r"(?:(?:the|my|our|that|this|der|die|das|den|dem|mein\w*|unser\w*)\s+)"
#: Whatever else such a stretch names stays.
_STAYS = re.compile(
    rf"^(?:please |bitte )?(?:leave|lass\w*)(?: sie| mir| uns)? {_THING}|\bleave (?:\S+ ){{1,4}}?(?:alone|as|be|running|active|on|untouched|out)\b|"
    r"\bkeep(?:ing)? (?!\w+ing\b)|\bstill (?:need|want|use)\b|"
    r"\b(?:stays?|remains?|should stay|to stay)(?: \w+)?(?: (?:as (?:it|they) (?:is|are)|active|put|on|untouched))?$|"
    r"\b(?:untouched|unchanged)\b|\bbehalt\w*\b|\bbleib\w*(?: (?:bitte|auch|aber|so|aktiv|bestehen|erhalten|wie es ist|wie er ist|"
    r"dabei|unberuhrt|unverandert|natur\w*))*$|\b(?:weiterlaufen|weiterbestehen|lauft weiter|lass\w* (?:wir|sie|ich))\b|"
    r"\b(?:in ruhe|unangetastet|unberuhrt)\b|\b(?:is|are) (?:fine|ok|okay|safe|still here)$|\b(?:ist|sind) (?:noch da|in ordnung|ok|okay|sicher)$|\bbrauch\w* ich (?:noch|weiter\w*)\b"
)
#: Such a stretch says of none of its things that they stay: "I don't want to keep the mobile".
_NOT_KEPT = re.compile(
    r"\b(?:not|don'?t|dont|no longer|won'?t|nicht|kein\w*)\b.*\b(?:keep|stay|need|use|want|behalt|bleib|brauch)\w*|"
    r"\b(?:behalten|bleiben)\b.*\bnicht\b"
)
_CHANGES = (
    r"(?:cancel|terminat|end|stop|block|unblock|touch|chang|mov|clos|los|switch|delet|remov|kill|affect|kundig|sperr|anfass|"
    r"ander|verschieb|stornier|absag|beend|wechsel|abschalt|beruhr|verlier)\w*"
)
#: What follows is not meant: "not the mobile", "instead of the internet", "don't block the eSIM".
_NOT_THIS = re.compile(
    rf"(?<!\w)(?:(?:not|nicht|except(?: for)?|apart from|instead of|rather than|other than|ausser|bis auf|statt|anstatt|anstelle von)\s+"
    rf"(?:(?:for|on|of|about|fur|bei|von|mit|um|auf)\s+)?(?:the one (?:for|on|with|of)\s+)?{_THING}?"
    rf"|(?:don'?t|dont|do not|never|without|please not)\s+(?:(?:want|wish|like|mean|have)\s+(?:you\s+)?to\s+)?{_CHANGES}\s+{_THING}?)"
)
#: A "not" before these names no thing.
_NOT_SO = re.compile(r"^(?:only|just|nur|yet|mehr|sure|working|anymore|so|even|at|a|to)\b")
#: What stands right before it is not meant: "das Internet nicht", "das Internet nicht kündigen".
_NOT_BEFORE = re.compile(
    rf"(\S+)\s+(?:aber\s+|bitte\s+|auf keinen fall\s+)*(?:nicht|not)(?:\s+(?:mit)?{_CHANGES})?$"
)
#: So many words after a "not" belong to it.
_REACH = 3


@lru_cache(maxsize=512)
def staying(text: str) -> frozenset[int]:
    """The places among a text's words that are named only to say that they stay, or that they are not meant."""
    plain, found = folded(text), set[int]()
    words = word_places(text)
    start = 0
    for end in (*(one.start() for one in _ENDS.finditer(plain)), len(plain)):
        found |= _in_stretch(
            plain[start:end], [(n, at - start) for n, at in words if start <= at < end]
        )
        start = end
    return frozenset(found)


def _in_stretch(stretch: str, words: list[tuple[int, int]]) -> set[int]:
    said = stretch.strip(" ,;:.!?()-–—\n")
    if _STAYS.search(said) and not _NOT_KEPT.search(said):
        return {n for n, _ in words}
    found: set[int] = set()
    for one in _NOT_THIS.finditer(stretch):
        if _NOT_SO.match(stretch[one.end() :]) is None:
            found |= {*[n for n, at in words if at >= one.end()][:_REACH]}
    ends = stretch.rstrip(" ,;:.!?()")
    if (before := _NOT_BEFORE.search(ends)) is not None:
        found |= {n for n, at in words if before.start(1) <= at < before.end(1)}
    return found
