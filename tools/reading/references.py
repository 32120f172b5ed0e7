"""What points at something said or shown before: "the second one", "die andere", "both", "neither"."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from tools.reading.numbers import worded
from tools.reading.spans import AnySpan, Span, behind, folded, outside

ReferenceKind = Literal[
    "ordinal", "last", "newest", "oldest", "other", "both", "all", "neither", "same"
]


@dataclass(frozen=True)
class Reference:
    """A place in a list, or what stands to it in another way; ``place`` counts from 1, from the end below 0."""

    kind: ReferenceKind
    place: int | None = None
    noun: str = ""  #: The word behind: "the second *order*".


#: In all languages that are read; what is not in the message's own language is not in its words either.
_WORDS: dict[ReferenceKind, str] = {
    "neither": r"neither(?: (?:one|of them|of those|of these))?|none of (?:them|those|these)|keine[rsn]? (?:von|der) (?:beiden|denen|ihnen)|"
    r"weder noch|keins? von beiden|keine[rs]? davon|aucune? des deux|ni l'un[e]? ni l'autre|ninguno de los dos|ninguna de las dos|"
    r"nessuno dei due|nessuna delle due|geen van beide|nenhum dos dois|nenhuma das duas",
    "both": r"both(?: of (?:them|those|these))?|(?:alle |die )?beiden?|beides|tous les deux|toutes les deux|les deux|ambos|ambas|los dos|"
    r"las dos|entrambi|entrambe|tutti e due|tutte e due|allebei|os dois|as duas",
    "all": r"all(?: (?:of (?:them|those|these)|three|four|five))|every one of them|alle (?:drei|vier|funf|davon|von denen)|tous les trois|"
    r"toutes|todos ellos|todas ellas|tutti loro|alle drie|todos eles",
    "other": r"(?:the |my )?other (?:one|ones)|the other|(?:der|die|das|den|dem) anderen?|l'autre|el otro|la otra|l'altro|l'altra|de andere|"
    r"het andere|o outro|a outra",
    "same": r"the same(?: one)?|der ?selbe|die ?selbe|das ?selbe|den ?selben|le meme|la meme|el mismo|la misma|lo stesso|la stessa|"
    r"dezelfde|hetzelfde|o mesmo|a mesma",
    "newest": r"(?:my |the )?(?:newest|latest|most recent|just placed)(?: one)?|(?:der |die |das |meine |meiner |den )?(?:neueste|jungste|aktuellste)[nrsm]?|"
    r"(?:le |la )?plus recente?|(?:el |la )?mas reciente|(?:il |la )?piu recente|(?:de )?nieuwste|(?:o |a )?mais recente",
    "oldest": r"(?:my |the )?(?:oldest|earliest)(?: one)?|(?:der |die |das |meine |den )?(?:alteste|fruheste)[nrsm]?|(?:le |la )plus ancienne?|"
    r"(?:el |la )mas antigu[oa]|(?:de )?oudste",
    "last": r"(?:my|the|your) last(?: (?:one|but one|two))?|(?:der|die|das|den|meine[nrsm]?|zu) ?letzte[nrsm]?|(?:ma |la |mon |le )derniere?|"
    r"(?:mi |el |la )ultim[oa]|(?:il mio |la mia |l'|il |la )ultim[oa]|(?:mijn |de |het )laatste|(?:o |a )(?:meu |minha )?ultim[oa]",
}  # fmt: skip
_PATTERNS: dict[ReferenceKind, re.Pattern[str]] = {
    kind: re.compile(
        rf"(?<![\w]){words}(?![\w])" if "|" not in words else rf"(?<![\w])(?:{words})(?![\w])"
    )
    for kind, words in _WORDS.items()
}
#: Behind these "last" and "the other" belong to a date: dates are read before.
_FIGURE = re.compile(
    r"(?<![\w.,])(?P<n>\d{1,2})(?:st|nd|rd|th|ste|de|eme|ere|er|º|ª|°|e|\.(?=\s+[^\W\d]|$))(?![\w])"
)
_OPTION = re.compile(
    r"(?<![\w])(?:option|number|no\.|nr\.?|nummer|numero|punkt|position|choice|#)\s?(?P<n>\d{1,2})(?![\w.,]?\d)"
)
_ALONE = re.compile(r"\s*#?(?P<n>\d{1,2})\s*[.)]?\s*")
_PAIR = re.compile(
    r"\b(?:the (?:(?P<first>former)|latter)|(?:der|die|das|den) (?:(?P<erste>erstere)|letztere)[nrsm]?)\b"
)
#: "a second", "first of all", "at first": no place in a list.
_NO_PLACE = re.compile(
    r"(?:^|\s)(?:a|an|one|every|per|this|at|for the|for|just a|zum|furs|fur das|erst|au|en|al|alla|eine[nr]?|un|una|une|the very)\s+$"
)
_NO_PLACE_BEHIND = re.compile(
    r"\s*(?:of all|time|name|place|mal\b|hand|thing|things|class|aid|floor|half|once\b|ly\b)"
)
_FROM_THE_END = re.compile(r"\s+(?:to last|from the (?:end|bottom)|last)\b")
#: Words that are an ordinal and, far oftener, something else.
_NEVER = frozenset({"erst", "half", "halb", "meio", "quarter", "quarto"})
_NOUN = re.compile(r"\s+(?P<noun>[^\W\d_]+(?:-[^\W\d_]+)*)")


def references(
    text: str, languages: Sequence[str], claimed: Iterable[AnySpan] = (), *, offered: int = 0
) -> list[Span[Reference]]:
    """Everything in a text that points into a list.

    ``offered``: how many were offered last; a bare "2" answers such an offer and nothing else."""
    plain = folded(text)
    found: list[Span[Reference]] = []
    taken = list(claimed)
    for kind, pattern in _PATTERNS.items():
        for m in pattern.finditer(plain):
            one = _reference(text, m.start(), m.end(), kind, -1 if kind == "last" else None)
            if kind == "last" and "but one" in m[0]:
                one = _reference(text, m.start(), m.end(), "ordinal", -2)
            found += outside([one], [*taken, *found])
    for m in _PAIR.finditer(plain):
        place = 1 if m["first"] or m["erste"] else -1
        found += outside([_reference(text, m.start(), m.end(), "ordinal", place)], [*taken, *found])
    for one in _ordinals(text, plain, languages):
        found += outside([one], [*taken, *found])
    if offered and (m := _ALONE.fullmatch(plain)) and 0 < int(m["n"]) <= offered:
        found = [_reference(text, m.start("n"), m.end("n"), "ordinal", int(m["n"]))]
    return sorted(found, key=lambda s: s.start)


def _ordinals(text: str, plain: str, languages: Sequence[str]) -> Iterator[Span[Reference]]:
    for one in worded(text, languages, ordinal=True):
        said = folded(one.text)
        if (
            said in _NEVER
            or behind(_NO_PLACE, plain, one.start)
            or _NO_PLACE_BEHIND.match(plain, one.end)
        ):
            continue
        if one.value is not None and 0 < one.value < 100:
            place = -one.value if _FROM_THE_END.match(plain, one.end) else one.value
            yield _reference(text, one.start, one.end, "ordinal", place)
    for pattern in (_FIGURE, _OPTION):
        for m in pattern.finditer(plain):
            group = "de" if m.groupdict().get("de") else "n"
            if int(m[group]) > 0:
                yield _reference(text, m.start(group), m.end(), "ordinal", int(m[group]))


def _reference(
    text: str, start: int, end: int, kind: ReferenceKind, place: int | None
) -> Span[Reference]:
    noun = m["noun"] if (m := _NOUN.match(text, end)) else ""
    if folded(noun) in ("one", "ones", "bitte", "please", "und", "and"):
        noun = ""
    return Span(start, end, text[start:end], "reference", Reference(kind, place, noun))
