"""Everything a graph may use, handed in by the composition root."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from typing import Any, Protocol

from graphs.understanding.grounding import Part
from prompts.replies import Replies
from tools.cases import Advice
from tools.hours import Hours
from tools.intents import Intent, Intents
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
    Requests,
    SmallModel,
)
from tools.reading import ValueReader
from tools.records import Lexicon, RecordView
from tools.values import Action, Approval, Clock, Customer, Lane, Operation, Outcome, Reviewer


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


@dataclass(frozen=True)
class Thresholds:
    """Below these a decision is handed on: encoder to small model, small model to the fallback."""

    #: The lines of a deployment's own router, from what a wrong decision costs in a lane and what a question does.
    lanes: Mapping[Lane, float] = field(default_factory=dict[Lane, float])
    small: float = 0.5
    frustration: float = 0.5
    furious: float = 0.99  #: So sure must the head be to escalate what is plainly something else.
    several: float = 0.85
    evaluator: float = 0.5
    outcome: float = 0.45  #: The head that reads what a step's result means.
    write: float = (
        0.2  #: The chance of a write from which on an undeclared operation counts as one.
    )
    consequence: float = 0.8  #: From here on the class of such a write is believed.
    incident: float = 0.6  #: From here on a message is taken for an incident.
    incident_named: float = 0.25  #: The same where the domain's own words for one are in it.
    #: From here on a message, or a text that was looked up, counts as orders to the agent; above 1 the rules alone tell.
    order_said: float = 2.0
    order_read: float = 2.0
    #: From here on an intent is believed, by what being wrong costs: a look-up is tried sooner than a write.
    read: float = 0.3
    answer: float = 0.3
    case: float = 0.3
    wish: float = 0.4  #: A write; it is confirmed before it happens.
    proposal: float = 0.3  #: And nothing is proposed below this, whatever was named.
    talk: float = 0.4

    def floor(self, intent: Intent, operations: Mapping[str, Operation]) -> float:
        """The probability from which on this intent is believed."""
        if intent.lane in self.lanes:
            return self.lanes[intent.lane]
        if intent.case is not None or intent.role in ("waiting", "withdraw"):
            return self.case
        if intent.lane == "operation":
            operation = operations.get(intent.operation or "")
            return self.wish if operation is not None and operation.writes else self.read
        return self.answer if intent.lane == "answer" else self.talk


class Cases(Protocol):
    """A business's problems and incidents, and what its rules allow."""

    @property
    def ticket_operation(self) -> str: ...
    def incident_in(self, text: str) -> str | None: ...
    def certain_in(self, text: str) -> str | None: ...
    def incident(self, name: str, language: str) -> Advice: ...
    def reason_for(self, case: str, options: Sequence[str]) -> str | None: ...
    def advise(
        self,
        name: str,
        *,
        record: RecordView | None,
        others: Sequence[RecordView],
        parts: Sequence[Part],
        customer: Customer,
        today: date,
        language: str,
    ) -> Advice: ...
    def asides_to(self, quoted: str) -> bool: ...
    def beside(
        self,
        quoted: str,
        *,
        record: RecordView | None,
        others: Sequence[RecordView],
        customer: Customer,
        today: date,
        language: str,
    ) -> Advice | None: ...


class Actions(Protocol):
    """The way into the action graph; nothing else may run a write."""

    async def propose(self, action: Action, context: Context) -> Outcome: ...
    async def withdraw(self, action_id: str, context: Context) -> tuple[Approval, bool]: ...


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
    requests: Requests | None = None  #: None: the same request twice is two.
    answers: AnswerCache | None = None  #: None: every question is answered anew.
    #: Which model and prompt write answers; an answer of another is not given again.
    writer: str = ""
    clock: Clock = field(default_factory=Clock)
    replies: Replies = field(
        default_factory=Replies
    )  #: What is said without a model, in every language.
    limits: Limits = field(default_factory=Limits)
    thresholds: Thresholds = field(default_factory=Thresholds)
    policy: Policy = field(default_factory=NoRules)
    #: Whose answers a resume carries, where it comes without the desk (Studio); nobody's by default.
    reviewer: Reviewer | None = None
    #: False where the small model was trained on other intents than these.
    second_opinion: bool = True
    #: True where a real large model is configured: it chooses where the small tiers are not sure.
    large_decides: bool = False
    reader: ValueReader = field(default_factory=ValueReader)  #: Values from words.
    lexicon: Lexicon = field(default_factory=Lexicon)  #: What the business calls its records.
    cases: Cases | None = None  #: Problems, and what its rules allow; None: it declares none.
    language: str = "en"  #: Where a customer's own cannot be told.
    overheard: Overheard | None = None  #: None: no candidate listens to this turn.

    hours: Hours | None = None  #: When people are there; None: nothing is said of it.

    def opens(self, at: datetime | None = None) -> datetime | None:
        """When somebody is there again, seen from now or from ``at``; None while somebody is."""
        return None if self.hours is None else self.hours.opens(at or self.clock.now())
