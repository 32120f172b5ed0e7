"""The clauses of a message: what may be a wish of its own, what is forbidden, what holds only under a condition."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from graphs.understanding.words import folded, tokens

#: A clause shorter than this is no wish of its own.
_SHORTEST = 2
#: So many clauses are read for themselves; a longer message is read as a whole and by its first ones.
MOST = 8

_ENUMERATED = re.compile(r"(?:(?<=\s)|^)\(?(?:\d{1,2}|[a-h])[.)]\s+(?=\S)", re.MULTILINE)
_COUNTED = re.compile(
    r"(?:^|[,.;:]\s*|\band\s+|\bund\s+)(?:first(?:ly)?|second(?:ly)?|third(?:ly)?|erstens|zweitens|drittens)[,:]?\s+"
    r"(?!(?:one|time|order|item|and|of|class)\b)(?=\S)",
    re.IGNORECASE,
)
#: "Gartenstr. 5" is no end of a sentence.
_SENTENCE = re.compile(
    r"(?<=[.!?…])(?<![sS]tr\.)(?<!\b[nN]r\.)[\"')\]]*\s+(?=\S)|\n{1,}|;\s+|\s+[-–—]\s+|\s/\s"
)
#: Words that join one wish to the next, in the languages that are read; what begins the next one stays with it.
_JOINED = re.compile(
    r",?\s+(?:(?:oh\s+)?and\s+(?=(?:also|then|can|could|please|pls|would|do|does|is|are|what|when|where|how|send|tell|"
    r"cancel|change|refund|give|i|my|if)\b)|(?:also|plus|oh\s+and|then(?:\s+please)?|ausserdem|außerdem|sowie)\b\s+|"
    r"und\s+(?=(?:auch|dann|bitte|können|kann|wann|wo|was|wie|schicken|ich|noch)\b)|"
    r"et\s+(?=(?:aussi|puis|pouvez|quand|combien)\b)|y\s+(?=(?:también|además|cuándo|cómo|puede\w*)\b)|"
    r"e\s+(?=(?:anche|poi|quando|quanto)\b)|en\s+(?=(?:ook|dan|wanneer)\b))(?=\S)",
    re.IGNORECASE,
)
_COMMA = re.compile(r",\s+(?=(?:and|but|also|und|aber|mais|pero|ma|maar)\b)", re.IGNORECASE)
_CONDITION = re.compile(
    r"\b(?:if|unless|in case|as long as|falls|wenn|sofern|solange|si|sauf si|en caso|se|als|mits)\b"
)
_LATER = re.compile(
    r"\b(?:by|until|before|till|bis|avant|d'ici|antes|hasta|entro|voor)\s+"
    r"(?:tomorrow|monday|tuesday|wednesday|thursday|friday|saturday|sunday|then|next|the|end|morgen|montag|dienstag|"
    r"mittwoch|donnerstag|freitag|samstag|sonntag|demain|manana|domani|\d)"
)
_NEGATED = re.compile(
    r"\b(?:don'?t|do not|dont|not|never|no longer|nicht|kein\w*|nie|ne|pas|no|non|niet|geen|without|ohne|instead of|"
    r"statt|stop)\b"
)


@dataclass(frozen=True)
class Clause:
    """A stretch of a message that may be a wish of its own."""

    text: str
    conditional: bool = False  #: Holds only if something else does.
    later: bool = False  #: The condition is about a day to come, so nothing is to be done now.


def split(text: str, verbs: Sequence[str] = ()) -> list[Clause]:
    """The clauses in order; a message that is one wish is one clause. ``verbs``: beginnings of the words that name
    a change, so that "cancel it, refund it" is two wishes without a word between them."""
    counted = _COUNTED.split(text)
    parts = counted if len(counted) > 2 else _numbered(text)
    for pattern in (_ENUMERATED, _SENTENCE, _JOINED, _COMMA):
        parts = [piece for part in parts for piece in pattern.split(part)]
    parts = [piece for part in parts for piece in _commands(part, verbs)]
    kept: list[str] = []
    for part in (piece.strip(" ,;:-\n\t") for piece in parts):
        if not part:
            continue
        if kept and (len(tokens(part)) < _SHORTEST or _ONE_MORE.search(folded(part))):
            kept[-1] = f"{kept[-1]} {part}"
        else:
            kept.append(part)
    return [_clause(part) for part in kept[:MOST]] or [_clause(text)]


#: A clause that wants another one says nothing without the thing before it: "lost my spoon. can you send one more?".
_ONE_MORE = re.compile(
    r"\b(?:one more|another one|a (?:new|second|fresh) one|noch (?:ein(?:e[nmrs]?|s)?|mal ein(?:e[nmrs]?|s)?)|ein(?:e[nm]?)? "
    r"neue[nrs]?)(?![\w'-]|\s+(?!please|pls|bitte|too|auch|schick|send|bekomm|haben|kauf|bestell)[^\W\d_])"
)

_WISH = (
    r"(?=(?:when|where|what|how|which|is|are|can|could|do|does|did|send|cancel|change|tell|refund|show|please|i|my|wann|wo|was|"
    r"wie|welche\w*|ist|kann|konnen|bitte|schick\w*|ich|mein\w*)\b)"
)
_NUMBERED = re.compile(
    rf"(?:^|(?<=[\s.,:;]))1\s+{_WISH}(.+?)\s2\s+{_WISH}(.+?)(?:\s3\s+{_WISH}(.+))?$", re.I | re.S
)


def _numbered(text: str) -> list[str]:
    """The wishes that are counted by nothing but numbers: "1 when does it come 2 send me the invoice"."""
    found = _NUMBERED.search(text)
    return [part for part in found.groups() if part] if found is not None else [text]


_TAKEN_BACK = re.compile(
    r"^.+?[\s,.;:!–—-]+(?:(?:oh|no|wait|actually|sorry|nein|ach|halt)[\s,.!]+)*(?:(?:scratch|strike|forget|ignore|scrap) (?:that|"
    r"it|this)|vergiss (?:das|es)|vergessen sie (?:das|es)|streich(?:en sie)? das)[\s,.;:!–—-]+(?:und |and |just |please |"
    r"bitte |rather |lieber )*(?P<left>\S.*)$",
    re.IGNORECASE | re.DOTALL,
)
_ALL_TAKEN_BACK = re.compile(
    r"(?:[\s,.;:!–—-]+(?:oh|no|wait|sorry|actually|i mean|or|ach|nein|halt|quatsch|ich meine)\b)+[\s,.;:!–—-]+"
    r"(?:(?:please |bitte )?(?:don'?t|do not|doch nicht|lieber nicht)(?: do (?:it|that))?)[\s.!]*$"
    r"|[,.;:!–—-]+\s*(?:(?:oh|no|wait|sorry|actually|ach|nein)[\s,.]+)*(?:never ?mind|forget (?:it|that)|scratch that|doch nicht|"
    r"vergiss es|vergessen sie es|lass(?:en sie)? es)[\s.!]*$",
    re.IGNORECASE,
)


def standing(text: str) -> str:
    """What is left of a message whose beginning is taken back in the same breath: "cancel it. scratch that, ..."."""
    taken = _TAKEN_BACK.match(text)
    return taken["left"] if taken is not None and len(tokens(taken["left"])) > _SHORTEST else text


def all_taken_back(text: str) -> bool:
    """Whether a message ends with taking back all that it asked for: "cancel it, I mean don't"."""
    found = _ALL_TAKEN_BACK.search(text)
    return found is not None and bool(tokens(text[: found.start()]))


_POLITE = frozenset({"please", "pls", "plz", "then", "and", "bitte", "dann", "und"})


def _commands(text: str, verbs: Sequence[str]) -> list[str]:
    """The commands in a row: a stretch that begins with one of the verbs, after a stretch that names one too."""
    stretches = re.split(r"(,\s+)", text)
    parts = stretches[:1]
    for comma, stretch in zip(stretches[1::2], stretches[2::2], strict=True):
        said = tokens(stretch)
        while said and said[0] in _POLITE:
            said = said[1:]
        starts = any(mentions(said[: len(tokens(verb))], [verb]) for verb in verbs)
        if starts and mentions(tokens(parts[-1]), verbs):
            parts.append(stretch)
        else:
            parts[-1] += comma + stretch
    return parts


def _clause(text: str) -> Clause:
    plain = folded(text)
    conditional = _CONDITION.search(plain) is not None
    return Clause(text, conditional, conditional and _LATER.search(plain) is not None)


def conditional(text: str) -> Clause:
    """The whole message as one clause."""
    return _clause(text)


#: Between the halves of a verb that stand around a thing: "take * out".
AROUND = " * "


def mentions(said: Sequence[str], verbs: Sequence[str]) -> bool:
    """Whether one of the words that name a change is among the said words."""
    line = _line(said)
    for verb in verbs:
        first, gap, last = verb.partition(AROUND)
        if gap:
            if _apart(said, first, last):
                return True
            continue
        wanted = tokens(verb)
        if not _may_be_in(line, wanted):
            continue
        for at in range(len(said) - len(wanted) + 1):
            if all(said[at + n].startswith(word) for n, word in enumerate(wanted)):
                return True
    return False


#: So many words may stand between the halves of a verb: "take the foam mat out"; and none of these.
_BETWEEN = 5
_ENDS_IT = frozenset({"i", "we", "and", "who", "of", "is", "am", "are", "ich", "wir", "und"})


def _apart(said: Sequence[str], first: str, last: str) -> bool:
    """Whether both halves of a verb are said, with a thing between them; both as they stand."""
    for at, word in enumerate(said):
        behind = said[at + 1 : at + 2 + _BETWEEN]
        if word == first and last in behind[1:]:
            return not {*behind[: behind.index(last)]} & _ENDS_IT
    return False


def forbids(text: str, verbs: tuple[str, ...]) -> bool:
    """Whether the words forbid what the verbs name: "don't cancel", "nicht stornieren", "no refund please"."""
    # A no before a comma, or before a "wait", is an answer of its own: "no, cancel the other one".
    stretches = re.split(r"[,;:.!?]+", _HANG_ON.sub(",", text))
    return any(
        _forbids(tokens(stretch), verbs) and _ONLY_THAT.match(folded(after).strip()) is None
        for stretch, after in zip(stretches, [*stretches[1:], ""], strict=True)
    )


_HANG_ON = re.compile(
    r"\b(?:no|nein|nee|non)[, ]+(?:wait|hang on|hold on|stop|warte\w*|moment|halt|attend\w*)\b",
    re.IGNORECASE,
)
#: What is forbidden of one thing is wanted of another: "don't cancel the internet, only the mobile".
_ONLY_THAT = re.compile(
    r"(?:but )?(?:only|sondern(?: nur)?|nur)(?: bitte)? (?:the|my|das|den|die|mein\w*)\b(?! (?:one )?(?:way|thing))"
)


def _line(said: Sequence[str]) -> str:
    return " " + " ".join(said)


def _may_be_in(line: str, wanted: Sequence[str]) -> bool:
    """Does a word of the line begin as the first of the wanted ones? Asked first: a message may have a thousand words."""
    return not wanted or f" {wanted[0]}" in line


def _forbids(said: Sequence[str], verbs: tuple[str, ...]) -> bool:
    line = _line(said)
    for verb in verbs:
        wanted = tokens(verb)
        if not _may_be_in(line, wanted):
            continue
        for at in range(len(said) - len(wanted) + 1):
            if all(said[at + n].startswith(word) for n, word in enumerate(wanted)):
                before = " ".join(said[max(at - 4, 0) : at])
                after = " ".join(said[at + len(wanted) : at + len(wanted) + 3])
                if _NEGATED.search(before) or re.match(
                    r"(?:nothing|nichts|rien|nada|niente)\b", after
                ):
                    return True
                if re.search(r"\bnicht\b", after) and not re.search(r"\bnicht nur\b", after):
                    return True
    return False
