"""Everything a graph may use, handed in by the composition root."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from tools.intents import Intents
from tools.policy import NoRules, Policy
from tools.ports import (
    AnswerCache,
    Approvals,
    Audit,
    Backend,
    DecisionLog,
    Encoder,
    Knowledge,
    LargeModel,
    Ledger,
    SmallModel,
)
from tools.privacy import mask_pii
from tools.values import Action, Clock, Customer, Lane, Operation, Outcome, Reviewer


@dataclass(frozen=True)
class Limits:
    """Bounds on one turn."""

    message_chars: int = 4000
    plan_steps: int = 10
    kept_chunks: int = 4
    retrieved_chunks: int = 15
    misses_before_hand_off: int = 2
    reply_chars: int = 2400
    #: Ask the consequence head about operations with a declared class too; it may only raise it.
    class_declared: bool = False
    personal_to_large: bool = True  #: False where the large model is hosted by somebody else.


@dataclass(frozen=True)
class Thresholds:
    """Below these a decision is handed on: encoder to small model, small model to the fallback."""

    encoder: float = 0.75
    #: Where a lane has a line of its own, from what a wrong decision costs there and what a question does.
    lanes: Mapping[Lane, float] = field(default_factory=dict[Lane, float])
    small: float = 0.5
    guess: float = 0.4  #: From here on the encoder's guess is taken when no tier is sure.
    frustration: float = 0.5
    furious: float = 0.99  #: So sure must the head be to escalate what is plainly something else.
    several: float = 0.5
    evaluator: float = 0.5
    outcome: float = 0.45  #: The head that reads what a step's result means.
    write: float = (
        0.2  #: The chance of a write from which on an undeclared operation counts as one.
    )
    consequence: float = 0.8  #: From here on the class of such a write is believed.

    def sure(self, tier: str, lane: Lane | None) -> float:
        """The probability from which on a tier's decision for the lane is believed."""
        if tier != "encoder":
            return self.small
        return self.encoder if lane is None else self.lanes.get(lane, self.encoder)


class Actions(Protocol):
    """The way into the action graph; nothing else may run a write."""

    async def propose(self, action: Action, context: Context) -> Outcome: ...


#: A decision on an input it holds, to be made in another runtime.
Again = Callable[[Any], Awaitable[object]]


@dataclass
class Overheard:
    """What a turn decided, kept while it is played for a candidate that decides the same afterwards."""

    again: list[tuple[str, Again]] = field(default_factory=list[tuple[str, Again]])
    #: Role and input -> what was chosen, in the words that the log masks.
    chosen: dict[tuple[str, str], str] = field(default_factory=dict[tuple[str, str], str])


@dataclass(frozen=True)
class Context:
    """The customer and the ports. The customer comes from the signed session, never from a model."""

    customer: Customer
    operations: Mapping[str, Operation]
    intents: Intents
    encoder: Encoder
    small: SmallModel
    large: LargeModel
    knowledge: Knowledge
    backend: Backend
    ledger: Ledger
    approvals: Approvals
    decisions: DecisionLog
    actions: Actions
    thread: str = ""
    audit: Audit | None = None
    answers: AnswerCache | None = None  #: None: every question is answered anew.
    #: Which model and prompt write answers; an answer of another is not given again.
    writer: str = ""
    clock: Clock = field(default_factory=Clock)
    limits: Limits = field(default_factory=Limits)
    thresholds: Thresholds = field(default_factory=Thresholds)
    policy: Policy = field(default_factory=NoRules)
    #: Whose answers a resume carries, where it comes without the desk (Studio); nobody's by default.
    reviewer: Reviewer | None = None
    #: False where the small model was trained on other intents than these.
    second_opinion: bool = True
    overheard: Overheard | None = None  #: None: no candidate listens to this turn.

    def for_large(self, text: str) -> str:
        """The text as the large model may read it: masked where that is somebody else's."""
        return text if self.limits.personal_to_large else mask_pii(text)
