"""Whether a sentence says what the sentence of its source says, or the opposite, another figure or another day: rules for
the languages that the articles are in."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from tools.ports import Passage
from tools.sentences import split

#: So much of a clause's words a source's sentence has that is about the same.
_ABOUT = 0.5
#: What is nearly as near is as good.
_CLOSE = 0.1
_ANSWER = re.compile(r"^\s*(?P<said>no|nope|nein|yes|ja|doch)\b[,:.!]?\s+", re.IGNORECASE)
_NOT = re.compile(
    r"\b(?:not|(?<!at )no|never|cannot|without|neither|nor|nothing|nobody|none|nicht|kein\w*|nie|niemals|ohne|weder|niemand)\b|n['’]t\b",
    re.IGNORECASE,
)
#: A limit in a source: what lies beyond it is denied.
_ONLY = re.compile(
    r"\b(?:only|except|unless|solely|exclusively|nur|au(?:ß|ss)er|ausgenommen|ausschlie(?:ß|ss)lich)\b",
    re.IGNORECASE,
)
#: Where one claim ends and another begins, or its reason.
_JOINS = re.compile(
    r",?\s+(?:because|since|if|when|but|and\s+so|so\s+that|which|as\s+well\s+as|weil|denn|wenn|aber|sondern|damit)\s+|[;:,]\s+",
    re.IGNORECASE,
)
#: Where a source's own reason or condition begins: a denial before it is not one of what stands behind it.
_REASONS = re.compile(
    r"[;:]\s+|,?\s+(?:because|since|if|when|but|so\s+that|weil|denn|wenn|aber|sondern|damit)\s+",
    re.IGNORECASE,
)
_OPENING = re.compile(r"^\s*(?:without|ohne)\s+\w+\s*,\s*", re.IGNORECASE)
_WORD = re.compile(r"[^\W\d_]+(?:['’][^\W\d_]+)*|\d+(?:[.,]\d+)*")
_EMPTY = frozenset(
    """a an the this that these those is are was were be been being to of in on for with as at by from it its or and but if then so
    not no can could may might will would should must do does did has have had you your i we our they their them he she here there what
    which who when where how more most also such any some all than into about up over only other yes cannot never nor neither
    der die das ein eine einen einem einer eines den dem des und oder aber ist sind war wird werden kann können darf dürfen muss müssen
    sie ihr ihre ihren ihrem wir uns unser unsere ich es er man im am zum zur mit von für auf an in aus bei nach bis auch nicht kein
    keine keinen nie nur ja nein als wie wenn dass sich hat haben zu so""".split()  # noqa: SIM905 - as words, not as a list
)
_ENDINGS = ("ings", "ing", "ies", "ied", "ed", "es", "en", "er", "em", "et", "s", "e", "n", "t")
_NUMBERS = {
    word: str(number)
    for number, words in enumerate(
        (
            "one ein eine",
            "two zwei",
            "three drei",
            "four vier",
            "five fünf",
            "six sechs",
            "seven sieben",
            "eight acht",
            "nine neun",
            "ten zehn",
        ),
        1,
    )
    for word in words.split()
    if word not in ("ein", "eine", "one")
}
_UNIT = re.compile(r"(\d+(?:[.,]\d+)*)\s+([^\W\d_]{2,})")
_MONTHS = {
    name: number
    for number, names in enumerate(
        (
            "january januar", "february februar", "march märz", "april", "may mai", "june juni", "july juli", "august",
            "september", "october oktober", "november", "december dezember",
        ),
        1,
    )
    for name in names.split()
}  # fmt: skip
_DAY = re.compile(rf"\b(\d{{1,2}})\.?\s+({'|'.join(_MONTHS)})(?:\s+(\d{{4}}))?\b", re.IGNORECASE)
_ISO = re.compile(r"\b(\d{4})-(\d\d)-(\d\d)\b")


@dataclass(frozen=True)
class _Said:
    """A sentence of a source, or a clause of a reply."""

    text: str
    words: frozenset[str]
    denies: bool


def opposite(sentence: str, passages: Sequence[Passage]) -> str:
    """Whether a clause affirms what the source sentence nearest to it denies."""
    sources = [
        _said(part) for p in passages for each in split(p.text) for part in _REASONS.split(each)
    ]
    for clause in _clauses(sentence):
        named = [word for word in clause.words if not word[0].isdigit()]
        if clause.denies or _ONLY.search(clause.text) or len(named) < 2:
            continue
        near = _nearest(clause, sources)
        if (
            near
            and all(one.denies or _ONLY.search(one.text) for one in near)
            and any(one.denies for one in near)
        ):
            return f"says the opposite of its source: {clause.text.strip()[:80]}"
    return ""


def other_figure(sentence: str, passages: Sequence[Passage]) -> str:
    """Whether a sentence has another figure than the source sentence that it restates."""
    sources = [_said(each) for p in passages for each in split(p.text)]
    whole = _said(_ANSWER.sub("", sentence))
    plain = _Said(whole.text, frozenset(w for w in whole.words if not w[0].isdigit()), False)
    own = _figures(sentence)
    if not own or len(plain.words) < 3:
        return ""
    near = _nearest(plain, sources)
    theirs = {figure for one in near for figure in _figures(one.text) | _ones(one.text)}
    if near and theirs and not own & theirs:
        return f"figure not in its source: {', '.join(sorted(own))}"
    return ""


def other_unit(sentence: str, passages: Sequence[Passage]) -> str:
    """Whether a figure that no source has stands where the sources have another one of the same unit."""
    text = " ".join(p.text for p in passages)
    known = _figures(text)
    theirs = {(_stem(unit.casefold()), _plain(number)) for number, unit in _UNIT.findall(text)}
    for number, unit in _UNIT.findall(sentence):
        same = {figure for kind, figure in theirs if kind == _stem(unit.casefold())}
        if same and _plain(number) not in known and not same & _figures(sentence):
            return f"figure not in its source: {number} {unit}"
    return ""


def other_day(sentence: str, passages: Sequence[Passage]) -> str:
    """Whether a day is said with its year that no source has."""
    text = " ".join(f"{p.title} {p.text}" for p in passages)
    known = {(int(d), int(m), int(y)) for y, m, d in _ISO.findall(text)}
    known |= {day for day in _days(text) if day[2]}
    for day in _days(sentence):
        if day[2] and day not in known:
            return f"day not in its source: {day[0]}.{day[1]}.{day[2]}"
    return ""


def affirms_alone(sentence: str, passages: Sequence[Passage]) -> str:
    """Whether a yes says again what was asked, with hardly a word of its source."""
    answered = _ANSWER.match(sentence)
    if answered is None or answered["said"].casefold() not in ("yes", "ja", "doch"):
        return ""
    words = _said(sentence[answered.end() :]).words
    known = {w for p in passages for w in _said(f"{p.title} {p.text}").words}
    if len(words) >= 3 and len(words & known) / len(words) < 0.5:
        return f"not supported by its source: {sentence[:80]}"
    return ""


def _clauses(sentence: str) -> Iterator[_Said]:
    bare = _OPENING.sub("", _ANSWER.sub("", sentence))
    denied, start = False, 0
    for joint in [*_JOINS.finditer(bare), None]:
        part = bare[start : joint.start() if joint else len(bare)]
        clause = _said(part)
        # What is listed behind a denial is denied with it.
        denied = clause.denies or denied
        if part.strip():
            yield replace(clause, denies=denied)
        if joint is not None:
            start = joint.end()
            denied = denied and joint.group().strip() == ","


def _nearest(clause: _Said, sources: Sequence[_Said]) -> list[_Said]:
    """The source sentences about the same, all that are as near as the nearest."""
    shares = [(len(clause.words & one.words) / max(len(clause.words), 1), one) for one in sources]
    best = max((share for share, _ in shares), default=0.0)
    if best < _ABOUT:
        return []
    return [one for share, one in shares if share >= best - _CLOSE]


def _said(text: str) -> _Said:
    words = (w.group().casefold() for w in _WORD.finditer(text))
    return _Said(
        text, frozenset(_stem(w) for w in words if w not in _EMPTY), bool(_NOT.search(text))
    )


def _stem(word: str) -> str:
    for ending in _ENDINGS:
        if word.endswith(ending) and len(word) - len(ending) >= 3:
            return word[: len(word) - len(ending)]
    return word


def _figures(text: str) -> set[str]:
    words = (w.group().casefold() for w in _WORD.finditer(text))
    return {
        _plain(w) if w[0].isdigit() else _NUMBERS[w]
        for w in words
        if w[0].isdigit() or w in _NUMBERS
    }


def _ones(text: str) -> set[str]:
    # A source that says "one" counts; a reply that does mostly means "a".
    return {"1"} if re.search(r"\b(?:one|eine?[nr]?)\b", text, re.IGNORECASE) else set()


def _plain(number: str) -> str:
    return re.sub(r"[.,]", "", number)


def _days(text: str) -> set[tuple[int, int, int]]:
    return {(int(d), _MONTHS[m.casefold()], int(y or 0)) for d, m, y in _DAY.findall(text)}
