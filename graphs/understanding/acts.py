"""What a turn asks for, one act a wish: chosen among the candidates that the domain and the customer's records allow."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from pydantic import BaseModel, ConfigDict

from graphs.understanding.clauses import Clause, forbids
from graphs.understanding.grounding import Grounds
from graphs.understanding.staying import staying
from graphs.understanding.words import any_found, folded, tokens
from tools.intents import Intent, Intents

#: The numbers of records that a stretch of words names.
Numbers = Callable[[str], Sequence[str]]
Kind = Literal["operation", "case", "answer", "direct", "person", "waiting", "withdraw"]


class Act(BaseModel):
    """One wish of a turn, with what it is about."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    intent: str
    probability: float
    text: str  #: The customer's words for it.
    grounds: Grounds = Grounds()
    conditional: bool = False  #: To be done only if something holds that nobody has looked at yet.
    later: bool = False  #: Its condition is about a day to come.
    reason: str = ""  #: The problem that was told with the wish, as an intent.
    beside: bool = False  #: A rule that is told beside a record, where one is near.
    agreed: bool = False  #: The customer was asked whether this is what is meant, and picked it.


@dataclass(frozen=True)
class Read:
    """A clause with what the heads make of it."""

    clause: Clause
    chances: Mapping[str, float]

    @property
    def best(self) -> str:
        return max(self.chances, key=self.chances.__getitem__)

    @property
    def chance(self) -> float:
        return self.chances[self.best]


#: A clause says a wish of its own from here on; below, it belongs to the one before.
_OWN_WISH = 0.45
#: A question beside a problem is one of its own from here on.
_OWN_QUESTION = 0.75
#: So many wishes are dealt with in one turn; what is beyond is named as open.
MOST_ACTS = 4


def wishes(
    whole: Read,
    parts: Sequence[Read],
    several: float,
    intents: Intents,
    floor: float,
    *,
    called: Sequence[str] = (),
    numbers: Numbers = lambda text: re.findall(r"\d+", text),
) -> list[Read]:
    """The wishes of a message: the message as one, or its clauses where it holds several. ``called``: what the
    business's records are called, for a clause that wants one by its name alone; ``numbers``: those of records
    that a clause names, which the number of a house is not."""
    if len(parts) < 2 or (
        several < floor and not (several >= HINTED and _distinct(parts, intents))
    ):
        return [whole]
    kept: list[Read] = []
    for part in parts:
        intent = intents.get(part.best)
        if part.chance < _OWN_WISH or intent.role in _SAYS_NOTHING:
            continue
        if len(staying(part.clause.text)) == len(tokens(part.clause.text)):
            continue  # "The internet stays as it is" wants nothing.
        if kept and _belong_together(kept[-1], part, intents, numbers):
            kept[-1] = _joined(kept[-1], part, intents)
        elif all(part.best != one.best for one in kept) or _names_another(part, kept, numbers):
            kept.append(part)
    concrete = [one for one in kept if intents.get(one.best).role not in _MERELY]
    told = any(intents.get(one.best).case is not None for one in concrete)
    # What to do and what it costs is part of what is said to a problem.
    clear = [
        one
        for one in concrete
        if not (
            told
            and (
                intents.get(one.best).lane in ("answer", "direct")
                or _describes(one, intents, called)
            )
            and (one.chance < _OWN_QUESTION or _describes(one, intents, called))
        )
    ]
    chosen = clear or concrete or kept
    return chosen[:MOST_ACTS] if len(chosen) > 1 else [whole]


#: Clauses that are surely different wishes make a message several where the head for that only hints at it.
HINTED, _SURELY = 0.4, 0.55
#: A message that means nothing surely as a whole is read by its clauses too.
UNSURE = 0.5


_NAMES_A_WISH = re.compile(
    r"\b(?:show|send|tell|give|list|check|look|need|want|like|where|when|what|how|which|status|track|"
    r"zeig\w*|schick\w*|sag\w*|gib|brauch\w*|will|mochte|wo|wann|was|wie|welche\w*)\b"
)


def _describes(one: Read, intents: Intents, called: Sequence[str]) -> bool:
    """Whether a short clause beside a problem only says more of it: "bought last year"."""
    wish = intents.get(one.best)
    plain = folded(one.clause.text)
    return (
        wish.case is None
        and wish.lane == "operation"
        and not wish.verbs
        and "?" not in plain
        and _NAMES_A_WISH.search(plain) is None
        and not any_found(called, tokens(one.clause.text), slips=False)
    )


def _distinct(parts: Sequence[Read], intents: Intents) -> bool:
    sure = {
        part.best
        for part in parts
        if part.chance >= _SURELY and intents.get(part.best).role is None
    }
    return len(sure) > 1


#: Roles of clauses that go with whatever else a message says.
_SAYS_NOTHING = frozenset({"courtesy", "affirm", "deny", "help", "out_of_scope", "leave"})
_MERELY = frozenset({"complaint", "bot"})


def _belong_together(one: Read, other: Read, intents: Intents, numbers: Numbers) -> bool:
    """A problem and the wish that follows from it are one act; so are a question and its second half."""
    first, second = intents.get(one.best), intents.get(other.best)
    if first.name == second.name:
        return not _counts(one, other, numbers)
    return _solves(first, second) or _solves(second, first)


def _solves(wish: Intent, problem: Intent) -> bool:
    """Whether what is wanted is an answer to the problem: money back, a new piece, an exchange."""
    return problem.problem and wish.remedy


def _counts(one: Read, other: Read, numbers: Numbers) -> bool:
    """The same wish for two records: "refund SB-1, and refund SB-2 too"."""
    return bool(numbers(one.clause.text) and numbers(other.clause.text))


def _names_another(part: Read, kept: Sequence[Read], numbers: Numbers) -> bool:
    return any(_counts(one, part, numbers) for one in kept)


def _joined(one: Read, other: Read, intents: Intents) -> Read:
    """Two clauses as one wish: the remedy where there is one."""
    first, second = intents.get(one.best), intents.get(other.best)
    lead = other if second.remedy and not first.remedy else one
    clause = Clause(
        f"{one.clause.text} {other.clause.text}",
        one.clause.conditional or other.clause.conditional,
        one.clause.later or other.clause.later,
    )
    return Read(clause, lead.chances)


def problem_in(chances: Mapping[str, float], intents: Intents, wish: str) -> str:
    """The problem told with a remedy that is wanted, where one is likely enough to be the reason."""
    if not intents.get(wish).remedy:
        return ""
    told = {name: p for name, p in chances.items() if intents.get(name).problem}
    best = max(told, key=told.__getitem__, default="")
    return best if best and told[best] >= 0.05 else ""


def allowed(chances: Mapping[str, float], text: str, intents: Intents) -> dict[str, float]:
    """The chances without what the words forbid: "don't cancel it" asks for anything but that."""
    kept = {
        name: chance
        for name, chance in chances.items()
        if not (intents.get(name).verbs and forbids(text, intents.get(name).verbs))
    }
    return dealt_out(kept, chances)


def dealt_out(weighed: Mapping[str, float], chances: Mapping[str, float]) -> dict[str, float]:
    """Weighed chances with as much in all as before: what belongs to none of the intents is not theirs now."""
    total = sum(weighed.values())
    if total <= 0:
        return dict(chances)
    share = math.fsum(chances.values()) / total
    return {name: chance * share for name, chance in weighed.items()}


def one_each(act: Act, grounds: Grounds) -> tuple[Act, ...]:
    return tuple(
        act.model_copy(
            update={"grounds": grounds.model_copy(update={"records": (record,), "together": False})}
        )
        for record in grounds.records
    )
