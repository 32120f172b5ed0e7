"""Numbers, number words and ordinals in a text, and what parts of a whole are meant."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Protocol, cast

import text_to_num
from price_parser.parser import parse_number

from tools.reading.spans import AnySpan, Span, behind, folded, outside

#: The languages that the number words are known of.
WORDED = ("en", "de", "fr", "es", "it", "nl", "pt")
DIGITS = r"\d{1,3}(?:[.,'’ \u00a0\u202f]\d{3})+(?:[.,]\d{1,2})?(?!\d)|\d+(?:[.,]\d{1,2})?(?!\d)"
_TOKEN = re.compile(r"[^\W\d_]+(?:['’][^\W\d_]+)?|\d+|[^\w\s]|\s+|_")
#: "1) the mat 2) the stove": numbers of a list.
_LIST_MARK = re.compile(r"\s?\)")
_IN_DIGITS = re.compile(rf"(?<![\w#.,/:+@-])(?:{DIGITS})(?!(?!x\b)[\w#/:@%]|[.,-]\d|-\w)")
#: "one" and its like stand for things more often than for a number.
_ARTICLES = frozenset(
    [
        "one",
        "ein",
        "eine",
        "einen",
        "einem",
        "einer",
        "un",
        "une",
        "uno",
        "una",
        "um",
        "uma",
        "een",
        "a",
        "an",
    ]
)


@dataclass(frozen=True)
class Quantity:
    """How many are meant: a count, of how many, of what; or all, both, the rest."""

    count: int | None = None
    of: int | None = None
    whole: str = ""  #: ``all``, ``both``, ``rest``, ``half``; "" where a count is said.
    noun: str = ""  #: The word behind the number.


class _Occurrence(Protocol):
    """What is used of text2num's findings, whose types are compiled away."""

    start: int
    end: int
    value: float
    is_ordinal: bool


@dataclass(frozen=True)
class _Token:
    word: str

    def text(self) -> str:
        return self.word

    def nt_separated(self, previous: _Token) -> bool:
        return False

    def not_a_number_part(self) -> bool:
        return self.word.isdigit()


def number_word(word: str, languages: Sequence[str]) -> int | None:
    """The whole number that digits or a word stand for in any of the languages."""
    if word.isdecimal():
        return int(word)
    for language in languages:
        if language in WORDED:
            try:
                return int(cast("int", text_to_num.text2num(word, language)))
            except ValueError:
                continue
    return None


def worded(text: str, languages: Sequence[str], *, ordinal: bool) -> list[Span[int]]:
    """Every number written as a word, or every ordinal: of one place the first language's reading."""
    tokens = list(_TOKEN.finditer(text))
    found: list[Span[int]] = []
    for language in languages:
        if language not in WORDED:
            continue
        said = [_Token(m[0]) for m in tokens]
        for one in cast("list[_Occurrence]", text_to_num.find_numbers(said, language, threshold=0)):
            start, end = tokens[one.start].start(), tokens[one.end - 1].end()
            word = text[start:end]
            if (
                one.is_ordinal is ordinal
                and one.value == int(one.value)
                and not re.search(r"\d", word)
            ):
                span = Span(start, end, word, "number", int(one.value))
                found += outside([span], found)
    return sorted(found, key=lambda s: s.start)


def numeral(digits: str) -> Decimal | None:
    """The number that digits with separators stand for: 1.250,75 and 1,250.75 are the same."""
    return parse_number(re.sub(r"['’\u00a0\u202f]", " ", digits))


def numbers(text: str, languages: Sequence[str]) -> list[Span[Decimal]]:
    """Every number in digits or words; digits inside a code, a date or a telephone number are none."""
    found: list[Span[Decimal]] = []
    for m in _IN_DIGITS.finditer(text):
        if (value := numeral(m[0])) is not None and not _no_count(text, m):
            found.append(Span(m.start(), m.end(), m[0], "number", value))
    for one in worded(text, languages, ordinal=False):
        if one.value is not None and not _stands_for_a_thing(one, text):
            found.append(Span(one.start, one.end, one.text, "number", Decimal(one.value)))
    return sorted(found, key=lambda s: s.start)


def _no_count(text: str, m: re.Match[str]) -> bool:
    """Is it the mark of a list, or begins with a nought as no count does?"""
    opened = text.rfind("(", 0, m.start()) > text.rfind(")", 0, m.start())
    marks = _LIST_MARK.match(text, m.end()) is not None and not opened
    return marks or re.match(r"0\d", m[0]) is not None


def _stands_for_a_thing(one: AnySpan, text: str) -> bool:
    """ "the red one", "ein Zelt": a pronoun or an article, unless something is counted with it."""
    said = folded(one.text)
    if said not in _ARTICLES:
        return False
    plain = folded(text)
    if _OF.match(plain, one.end) or behind(_ONLY, plain, one.start):
        return False
    counted = said == "one" and _COUNTED.match(plain, one.end)
    return not counted or behind(_DETERMINER, plain, one.start) is not None


#: "just one", "nur eins": with these it is a number whatever follows.
_ONLY = re.compile(
    r"\b(?:just|only|make (?:it|that)|nur|bloss|lieber|seulement|solo|soltanto|slechts|alleen|so)\s+$"
)
#: "one month": a thing is counted. "one with", "one is": it is meant.
_COUNTED = re.compile(
    r"\s+(?!(?:with|ending|that|which|who|is|was|has|had|i|we|you|please|from|in|on|for|and|or|to|but|as|at|of|more|day|another|thing|instead|already|elsewhere|then|too|"
    r"only|now|again|back|here|there|pls|yet|though|because|while|when|if|but|would|will|can|should|does|came|arrived|broke|got)\b)[^\W\d_]{3,}"
)
_DETERMINER = re.compile(
    r"\b(?:the|this|that|which|other|another|any|every|each|last|first|second|new|old|no|next|right|wrong|some)\s+$"
)
_OF = re.compile(
    r"\s+(?:[^\W\d_]+\s+)?(?:of (?:the|my|these|those|them)|von (?:den|meinen|diesen)|der|meiner|dieser|"
    r"des|de (?:los|las|mis)|dei|delle|degli|van de|dos|das)\b"
)
_WHOLE = {
    "all": r"all(?: of (?:it|them|the)\b)?|everything|every single one|the (?:whole|entire|complete) (?:order|lot|thing)|"
    r"alle[sn]?|samtliche|die ganze|komplett|tou[st]e?s?|todo[s]?|toda[s]?|tutt[ieoa]|alles|helemaal|tudo|tout",
    "both": r"both|(?:alle )?beiden?|beides|les deux|toutes? les deux|tous les deux|amb[oa]s|los dos|las dos|"
    r"entramb[ie]|tutti e due|tutte e due|allebei|os dois|as duas",
    "rest": r"(?:the )?(?:rest|remaining|remainder|others)|(?:der|den|die) (?:rest|ubrigen|restlichen|anderen)|"
    r"le reste|les autres|el resto|los demas|las demas|il resto|gli altri|le altre|de rest|o resto|os outros",
    "half": r"half(?: of)?|(?:die )?halfte|la moitie|la mitad|la meta|de helft|a metade",
}  # fmt: skip
_WHOLES = {name: re.compile(rf"\b(?:{words})\b") for name, words in _WHOLE.items()}
#: "all right", "alles klar", "not at all", "above all": nothing is counted.
_NO_WHOLE = re.compile(
    r"(?:all|alles|tout|todo|tutto|tudo)\s+(?:right|good|fine|set|day|night|the (?:best|time|way)|klar|gut|gute|"
    r"bien|bem|bene|d'accord|ok)\b"
)
_BEFORE_NO_WHOLE = re.compile(
    r"\b(?:at|after|above|that's|thats|that is|for|war|das war|c'est|es|e|was|surtout|pas du)\s+$"
)
_OF_COUNT = re.compile(
    r"\s+(?:of|von|der|des|de|dei|delle|degli|dos|das|van)\s+(?:(?:the|my|these|those|den|meinen|diesen|les|mes|"
    r"los|las|mis|de|mijn|meus)\s+)?"
)
_NOUN = re.compile(r"\s*(?:x|×|pcs?\.?|pieces?|stuck|stk\.?)?\s*([^\W\d_]+(?:-[^\W\d_]+)*)?")


def quantities(
    text: str, languages: Sequence[str], claimed: Iterable[AnySpan] = ()
) -> list[Span[Quantity]]:
    """What part of a whole is meant: "2 of the 6", "zwei der Zelte", "both", "the rest"."""
    plain = folded(text)
    found: list[Span[Quantity]] = list(_wholes(text, plain))
    counted = [
        n for n in outside(numbers(text, languages), [*claimed, *found]) if _countable(n.value)
    ]
    skip: set[int] = set()
    for place, one in enumerate(counted):
        if place in skip or one.value is None:
            continue
        count, end, of, noun_at = int(one.value), one.end, None, one.end
        if (m := _OF_COUNT.match(plain, end)) is not None:
            noun_at = m.end()
            follow = counted[place + 1] if place + 1 < len(counted) else None
            if follow is not None and follow.start == m.end() and follow.value is not None:
                of, end, noun_at = int(follow.value), follow.end, follow.end
                skip.add(place + 1)
        named = _NOUN.match(text, noun_at)
        noun = named[1] or "" if named else ""
        value = Quantity(count, of, noun=noun)
        found.append(Span(one.start, end, text[one.start : end], "quantity", value))
    return sorted(found, key=lambda s: s.start)


def _countable(value: Decimal | None) -> bool:
    return value is not None and value == int(value) and 0 < value < 1000


def _wholes(text: str, plain: str) -> Iterator[Span[Quantity]]:
    taken: list[AnySpan] = []
    for name in ("both", "rest", "half", "all"):
        for m in _WHOLES[name].finditer(plain):
            if _NO_WHOLE.match(plain, m.start()) or behind(_BEFORE_NO_WHOLE, plain, m.start()):
                continue
            one = Span(
                m.start(),
                m.end(),
                text[m.start() : m.end()],
                "quantity",
                Quantity(2 if name == "both" else None, whole=name),
            )
            if outside([one], taken):
                taken.append(one)
                yield one
