"""What in a text speaks for one of a closed set of values; without evidence there is no value."""

from __future__ import annotations

import re
from collections.abc import Sequence

from graphs.reading.fields import Field, Option, stem, stems, words_of
from graphs.reading.spans import Span

#: A negation reaches over a few words of its own clause: "it is not really damaged".
_NEGATED = re.compile(
    r"(?:\b(?:not|no|never|without|neither|nor|nothing|none|hardly|isn'?t|wasn'?t|aren'?t|ain'?t|don'?t|doesn'?t|didn'?t|"
    r"won'?t|can'?t|haven'?t|hasn'?t|instead of|rather than)\b|n['’]t\b)(?P<between>[^.,;:!?]*)$",
    re.I,
)
_TURNS = re.compile(r"\b(?:but|because|since|as|and|so|yet|however|only)\b", re.I)
#: "not only damaged but late" denies nothing.
_NOT_ONLY = re.compile(r"\bnot (?:only|just)\b[^.,;:!?]*$", re.I)
_AFTERWARDS = re.compile(
    r"^\s*(?:is|was|are|were)?\s*(?:n['’]t|not)\s+(?:needed|wanted|necessary|the (?:problem|reason|case))|"
    r"^\s*(?:is|was|works|looks|seems)\s+(?:fine|ok(?:ay)?|good|great|perfect)|^\s*:?\s*(?:off|no|false)\b",
    re.I,
)
_REACH = 4  #: Words between a negation and what it denies.


def denied(text: str, start: int, end: int) -> bool:
    """Does the text deny what ``text[start:end]`` says?"""
    before, after = text[:start], text[end:]
    if _AFTERWARDS.match(after):
        return True
    m = _NEGATED.search(before)
    if m is None or _NOT_ONLY.search(before):
        return False
    between = m["between"]
    return len(between.split()) <= _REACH and not _TURNS.search(between)


def phrase_spans(phrase: str, text: str) -> list[tuple[int, int]]:
    """Where the words of a phrase stand together in the text, whatever their endings."""
    wanted = [stem(w) for w in re.findall(r"[\w'’%]+", phrase.casefold())]
    if not wanted:
        return []
    said = [
        (stem(m[0].replace("’", "'")), m.start(), m.end())
        for m in re.finditer(r"[\w'’%]+", text.casefold())
    ]
    return [
        (said[at][1], said[at + len(wanted) - 1][2])
        for at in range(len(said) - len(wanted) + 1)
        if all(said[at + i][0] == w for i, w in enumerate(wanted))
    ]


def options_in(field: Field, text: str) -> list[Span]:
    """The options whose words or declared synonyms the text says and does not deny."""
    found: list[Span] = []
    for option in field.choices:
        for saying in option.sayings:
            for start, end in phrase_spans(saying, text):
                if len(saying) == 1 and not _letter_alone(text, start, end, field):
                    continue
                if not denied(text, start, end):
                    found.append(Span(option.value, start, end))
    return _longest(found)


_COMMON = stems(
    "item order product account thing amount time date payment card customer request requested other by of the a an "
    "any no not is was on in to for with"
)


def heads_in(field: Field, text: str, *, asked: bool) -> list[Span]:
    """Options said in part: by their last word of weight ("green" for "forest green"), or turned round
    ("I don't need it any longer" for "no longer needed"). One-word options where a related word is said."""
    found: list[Span] = []
    others = {o.value: _weights(o) for o in field.choices}
    for option in field.choices:
        weights = others[option.value]
        shared = {w for v, ws in others.items() if v != option.value for w in ws}
        if not weights or (weights[-1] in shared):
            continue
        negative = bool(re.match(r"(?:no|not|never)\b", option.sayings[0]))
        for m in re.finditer(r"[\w'’]+", text):
            if not _related(stem(m[0]), weights[-1]) or (len(weights) > 2 and not asked):
                continue
            if denied(text, m.start(), m.end()) is negative:
                found.append(Span(option.value, m.start(), m.end()))
    return found


def _weights(option: Option) -> list[str]:
    """The words of an option that say something, by their stems."""
    said = (stem(w) for w in re.findall(r"[\w']+", option.sayings[0]))
    return [w for w in said if w not in _COMMON and len(w) > 3]


def _related(said: str, wanted: str) -> bool:
    """The same stem, or long words with the same beginning: "injured" and "injury"."""
    if said == wanted:
        return True
    same = next(
        (i for i, (a, b) in enumerate(zip(said, wanted, strict=False)) if a != b),
        min(len(said), len(wanted)),
    )
    return same >= 5 and same >= 0.75 * max(len(said), len(wanted))


def _letter_alone(text: str, start: int, end: int, field: Field) -> bool:
    """A one-letter option is meant only where it stands as a capital or beside the field's name: size L. A digit is
    meant wherever it stands alone."""
    said = text[start:end]
    return (said.isupper() or said.isdigit()) and not re.match(r"['’]", text[end:])


def _longest(spans: Sequence[Span]) -> list[Span]:
    """Without spans that lie within a longer one: "no longer needed" is no "needed"."""
    return [
        one
        for one in sorted(spans, key=lambda s: (s.start, -s.end))
        if not any(
            o.start <= one.start and one.end <= o.end and (o.end - o.start) > (one.end - one.start)
            for o in spans
        )
    ]


_DULL = {
    "is",
    "has",
    "have",
    "want",
    "wants",
    "with",
    "be",
    "whether",
    "should",
    "send",
    "enable",
    "include",
    "get",
    "the",
    "allow",
    "needs",
    "add",
    "use",
}
_ON = re.compile(r"\b(?:switch(?:ed)?|turn(?:ed)?)\s+(?P<way>on|off)\b", re.I)
_QUESTION = re.compile(
    r"\b(?:is|are|does|do|did|was|has|have|can|could|will|what|which|how)\b[^.!?]*\?", re.I
)


def flag_in(field: Field, text: str) -> Span | None:
    """Whether the text says yes or no to what a boolean field is named after; None when it says neither."""
    words = [w for w in words_of(field.name.rpartition(".")[2]) if w not in _DULL]
    phrase = " ".join(words)
    found: Span | None = None
    for start, end in phrase_spans(phrase, text):
        if _asked_about(text, start):
            continue
        found = Span(not denied(text, start, end), start, end)
    for start, end in (
        s for w in ("in", "un", "non", "de") for s in phrase_spans(w + phrase, text)
    ):
        found = Span(denied(text, start, end), start, end)
    if found is None and phrase in ("active", "enabled") and (m := _ON.search(text)):
        found = Span(m["way"].casefold() == "on", m.start(), m.end())
    return found


def _asked_about(text: str, start: int) -> bool:
    """Is it in a question about how things are? "can I have breakfast?" is a wish, "is breakfast included?" is not."""
    return any(
        m.start() <= start < m.end()
        and re.match(r"(?:is|are|does|was|what|which|how)\b", m[0], re.I)
        for m in _QUESTION.finditer(text)
    )


_YES = re.compile(
    r"^\s*(?:yes|yeah|yep|yup|sure|ok(?:ay)?|please do|of course|correct|right|exactly|that'?s (?:it|right|the one)|affirmative|absolutely)\b",
    re.I,
)
_NO = re.compile(r"^\s*(?:no|nope|nah|not? thanks?|never|don'?t)\b", re.I)


def said_yes(text: str) -> bool | None:
    """True for a yes at the beginning, False for a no, None for neither."""
    if _YES.search(text):
        return True
    return False if _NO.search(text) else None


def clauses(text: str) -> list[str]:
    """The parts of a text a meaning can be in, without those that deny something."""
    parts = re.split(r"[.;!?\n,]+|\b(?:and|but|because|since|so)\b", text)
    return [p.strip() for p in parts if len(p.split()) >= 2 and not _NEGATION_IN.search(p)]


_NEGATION_IN = re.compile(r"\b(?:not|never|without|isn'?t|wasn'?t)\b", re.I)


def meaning_of(option: Option, field: Field) -> list[str]:
    """What the encoder compares a clause with."""
    said = [s for s in option.sayings if len(s) > 2]
    return [*said, option.meaning] if option.meaning else said


__all__ = [
    "clauses",
    "denied",
    "flag_in",
    "heads_in",
    "meaning_of",
    "options_in",
    "phrase_spans",
    "said_yes",
]
