"""Values every package speaks in: customers, operations, actions, verdicts, outcomes.

Nothing here does I/O. Values that live in graph state are pydantic models, so that a strict
checkpoint serializer can restore them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from decimal import Decimal
from enum import StrEnum
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, JsonValue, SerializeAsAny

Lane = Literal["direct", "operation", "answer", "agent", "escalate"]
Tier = Literal["rule", "encoder", "small", "large", "human"]
ReviewerRole = Literal["agent", "admin"]
#: Who set an action's arguments: the customer, or a reviewer who edited them.
Actor = Literal["customer", "agent", "admin"]


class Consequence(StrEnum):
    """How bad it is if an operation runs twice or by mistake, mildest first."""

    SAFE = "safe"  #: Reads only; may run any number of times.
    RETRY_SAFE = "retry_safe"  #: Writes, but a key makes a retry harmless.
    RETRY_UNSAFE = "retry_unsafe"  #: Writes, and a blind retry may do it twice: never retried.
    IRREVERSIBLE = "irreversible"  #: Cannot be undone; a person approves it first.
    UNKNOWN = "unknown"  #: Nobody declared it: judged by the LLM once, then by a person.


class Record(BaseModel):
    """A value with named fields that is never changed in place."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Customer(Record):
    """Who is asking. Comes from the signed session, never from a model or an argument."""

    id: str
    tenant: str = "northfell"
    name: str
    email: str = ""
    phone: str | None = None
    segment: Literal["consumer", "business"] = "consumer"
    since: date = date(1970, 1, 1)  #: Where nobody says, somebody whom the business has long known.
    #: What else the domain's login or its customer operation says; rules and templates may ask about it.
    facts: dict[str, JsonValue] = {}


# --- operations --------------------------------------------------------------------------------


class Arguments(BaseModel):
    """Typed arguments of an operation; a field's description is its question to the customer."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Instead(Record):
    """What may be asked for in place of something refused: an offer, never done unasked."""

    operation: str
    arguments: dict[str, JsonValue] = {}


class Preview(Record):
    """What an operation would touch and do, worked out without doing it."""

    #: Labels of the records that match; a write needs exactly one.
    candidates: tuple[str, ...] = ()
    #: Arguments that pick each candidate.
    candidate_arguments: tuple[dict[str, JsonValue], ...] = ()
    record: str | None = None  #: The one record's label.
    record_state: str | None = None
    #: Arguments completed from the record (for example the amount).
    arguments: dict[str, JsonValue] = {}
    consequence: Consequence  #: Declared class, raised where the record's state asks for it.
    effects: tuple[str, ...] = ()  #: Plain sentences for the customer and the reviewer.
    refusal: str | None = None  #: Why it cannot be done at all, as a sentence for the customer.
    instead: Instead | None = None  #: With a refusal: what its sentence offers.


class EffectRequest(Record):
    """What another system is asked to do, written down before it is asked."""

    reference: str  #: The action's id: what it can be looked up by afterwards.

    def answered(self, content: JsonValue) -> EffectRequest:
        """The same with what the other system said, for whoever books it."""
        known = "answer" in type(self).model_fields
        return self.model_copy(update={"answer": content}) if known else self


class PaymentOrder(EffectRequest):
    """Money to be moved by the payment service: written down before it is asked."""

    kind: Literal["refund", "charge"]
    amount: Decimal
    currency: str = "EUR"
    method: str
    details: dict[str, JsonValue] = {}  #: What booking the answer needs to know.


class Payment(Record):
    """Money that the payment service has moved."""

    number: str
    kind: Literal["refund", "charge"]
    reference: str
    amount: Decimal
    currency: str = "EUR"

    def settles(self, order: PaymentOrder) -> bool:
        """Whether this is the payment that was ordered, to the cent."""
        return (self.kind, self.reference, self.amount, self.currency) == (
            order.kind,
            order.reference,
            order.amount,
            order.currency,
        )


@dataclass(frozen=True)
class OutsideEffect:
    """How a write runs whose effect lives in another system: ask, book the answer, or take it back."""

    #: Check the rules as of now and reserve in our own books; may raise OperationFailed.
    begin: Callable[[Any, Any, str], Any]
    #: Book what the other system did. It is done, so no rule may refuse it any more.
    finish: Callable[[Any, Any], BaseModel]
    #: Give the reservation back: the other system did nothing.
    undo: Callable[[Any, Any], None]
    #: Which of the outside systems it is asked of.
    system: str = "payments"
    #: Where the records live there too: the preview, read before any transaction of ours begins. What it
    #: returns, ``begin`` is given in place of our own books.
    look: Callable[[Customer, Any], Any] | None = None


@dataclass(frozen=True)
class Operation:
    """A capability with typed arguments and a declared consequence class."""

    name: str
    title: str
    summary: str
    arguments: type[Arguments]
    result: type[BaseModel]
    consequence: Consequence
    preview: Callable[[Any, Any], Preview]
    run: Callable[[Any, Any], BaseModel]
    example: str
    confirm: bool = False
    method: str | None = None  #: HTTP method, where the operation is somebody's API.
    #: Where the effect lives when that system is configured; None: in the books, by ``run``.
    outside: OutsideEffect | None = None
    #: Its preview takes arguments that are still incomplete, and says what is refused whatever the rest will be.
    foresees: bool = False
    #: What it is called in other languages, by their code.
    titles: Mapping[str, str] = field(default_factory=dict[str, str])

    @property
    def writes(self) -> bool:
        return self.consequence is not Consequence.SAFE


class OperationFailed(Exception):
    """The operation could not be carried out."""

    def __init__(self, message: str | None = None) -> None:
        super().__init__(message or self.__doc__)


class RecordNotFound(OperationFailed):
    """There is no such record on this customer's account."""


class NotAllowed(OperationFailed):
    """The shop's rules do not allow this for the record's present state."""


# --- actions and the gate ----------------------------------------------------------------------


class Action(Record):
    """One concrete operation call, named by what it is."""

    id: str
    tenant: str
    customer: Customer
    thread: str
    turn: str
    operation: str
    arguments: dict[str, JsonValue]
    key: str  #: Idempotency key: tenant, customer, operation, arguments, request.
    fingerprint: str  #: Digest of the normalised arguments.
    proposed_at: datetime
    label: str = ""  #: The record it touches, for people.
    effects: tuple[str, ...] = ()
    actor: Actor = "customer"  #: Who set the arguments.
    editor: str = ""  #: The reviewer by name, where one edited them.
    #: Of the conversation: what is said of the action, to the customer and to reviewers, is said in it.
    language: str = ""


class Verdict(Record):
    """What the gate decided about an action, and why."""

    consequence: Consequence
    declared: Consequence
    judged: Consequence | None = None  #: What a model said; may only raise.
    probability: float | None = None  #: The small model's, calibrated, where it was asked.
    attempt: int = 1
    settle_first: bool = (
        False  #: An earlier try may have taken effect: it is looked up, nothing is run.
    )
    needs_approval: bool = False
    reason: str
    tier: Tier = "rule"
    refusal: str | None = None  #: The business rules say no: the customer's sentence.
    approvers: int = 0  #: Different persons who have to approve it, where approval is needed.
    reviewer: ReviewerRole = "agent"  #: The least role whose approval counts.
    rules: tuple[str, ...] = ()  #: Business rules that held.
    policy: str = ""  #: Version of those rules.

    @property
    def votes_needed(self) -> int:
        return max(1, self.approvers)


class Reviewer(Record):
    """Who answers questions; comes from the operator's key, never from what was sent."""

    name: str
    role: ReviewerRole = "agent"


class Vote(Record):
    """One reviewer's answer to a question."""

    reviewer: str
    role: ReviewerRole = "agent"
    approve: bool
    note: str | None = None
    at: datetime


class Twin(Record):
    """Another question about the same request of the same customer: only one of them can be approved."""

    id: str
    thread: str
    status: str


class Approval(Record):
    """A reviewer's question and its answer."""

    id: str
    action: Action
    verdict: Verdict
    #: ``started``: begun, and not known yet what came of it.
    #: ``withdrawn``: the customer took it back before it was decided.
    status: Literal[
        "pending", "approved", "rejected", "expired", "withdrawn", "started", "executed", "failed"
    ]
    requested_at: datetime
    expires_at: datetime
    reviewer: str | None = None  #: Who decided it; with several persons, the last one.
    note: str | None = None
    decided_at: datetime | None = None
    votes: tuple[Vote, ...] = ()  #: Every answer so far, oldest first.
    #: Of one that waits: those that ask for the same and wait too, or were approved while it waited.
    twins: tuple[Twin, ...] = ()

    def may_approve(self, reviewer: str, role: ReviewerRole) -> bool:
        """Whether this person's yes would count: of a role that is asked for, not yet given, and not to their
        own edit where several persons are asked for."""
        return (
            accepts(self.verdict.reviewer, role)
            and not self.is_own_edit(reviewer)
            and all(person_named(v.reviewer) != person_named(reviewer) for v in self.votes)
        )

    def is_own_edit(self, reviewer: str, needed: int = 1) -> bool:
        """Whether several persons have to approve what this one wrote: then they are others."""
        several = max(needed, self.verdict.votes_needed) > 1
        editor = person_named(self.action.editor)
        return several and bool(editor) and editor == person_named(reviewer)

    @property
    def approved_twin(self) -> Twin | None:
        """The one that was approved in this one's place."""
        return next((twin for twin in self.twins if twin.status != "pending"), None)

    def approved_by(self, needed: int = 1, least: ReviewerRole = "agent") -> bool:
        """Whether the yeses suffice for the verdict, and for what the rules ask for by now."""
        given = {
            person_named(v.reviewer)
            for v in self.votes
            if v.approve
            and accepts(self.verdict.reviewer, v.role)
            and accepts(least, v.role)
            and not self.is_own_edit(v.reviewer, needed)
        }
        refused = any(not v.approve for v in self.votes)
        return not refused and len(given) >= max(needed, self.verdict.votes_needed)


class Standing(Record):
    """Where a request stands that the customer has made before and that is not settled."""

    #: It waits for the customer's yes; for a person's; or it is being carried out.
    stage: Literal["asked", "waiting", "running"]
    request: str  #: What names it; the same request has the same key.
    thread: str  #: The conversation it was made in first.
    label: str = ""
    effects: tuple[str, ...] = ()


def replaced_by(successor: Action) -> str:
    """The note on a question that a reviewer's edit closed."""
    return f"Replaced by {successor.id}"


def accepts(least: ReviewerRole, role: ReviewerRole) -> bool:
    return role == "admin" or least == "agent"


def person_named(reviewer: str) -> str:
    """One spelling a person, so that nobody is two by writing the name differently."""
    return " ".join(reviewer.split()).casefold()


#: The reason of an outcome that is none yet: another process is working on this very action.
IN_FLIGHT = "This request is already being worked on. Please give it a moment."


class Outcome(Record):
    """What came of an action."""

    status: Literal["executed", "pending", "blocked", "rejected", "expired", "failed", "unknown"]
    action_id: str
    operation: str
    label: str = ""
    result: dict[str, JsonValue] = {}
    reason: str = ""  #: A sentence a customer may read.
    replayed: bool = False
    recorded: bool = (
        True  #: False where something was down: what the stores say later is still news.
    )

    @property
    def settled(self) -> bool:
        """Nothing more will be heard of it: who was told this was told everything."""
        return self.recorded and self.status not in ("pending", "unknown")


class Attempt(Record):
    """Which try of an action is about to begin, and what the ledger knows of the ones before."""

    number: int = 1
    outcome: Outcome | None = None  #: What this very action came to already.
    unknown: bool = (
        False  #: An earlier try may have taken effect in another system; nobody knows yet.
    )


class Unsettled(Record):
    """An effect whose outcome nobody knows: it may have happened, and it is not tried again blindly."""

    action: Action
    order: SerializeAsAny[EffectRequest]
    since: datetime
    looked_at: datetime | None = None
    found: str = ""  #: What the last look at the other system came to.


class Ticket(Record):
    """What was written down for a customer, for a person to take up."""

    number: str  #: ``T-70013``
    subject: str
    body: str
    opened_on: date
    kind: Literal["ticket", "hand_off"] = "ticket"
    record: str | None = None  #: Number of what it is about.
    case: str | None = None  #: The problem, as the domain's cases name it.


class AuditEntry(Record):
    """One fact about who or what decided, or what happened; what goes into the audit chain."""

    tenant: str
    kind: Literal[
        "proposal",
        "verdict",
        "approval_requested",
        "approval_vote",
        "approval_decided",
        "approval_expired",
        "approval_withdrawn",
        "effect",
        "reconciliation",
        "delivery",
        "hand_off",
        "release",
        "erasure",
        "answer_withdrawn",
    ]
    actor: str  #: ``customer:ID``, ``operator:NAME``, ``model:NAME`` or ``signalbox``.
    action: str = ""
    thread: str = ""
    turn: str = ""
    #: The facts, with model, prompt and policy versions where they apply.
    facts: dict[str, JsonValue] = {}


class Span(Record):
    """A stretch of masked personal data or a flagged passage: what kind, not the text."""

    kind: str
    start: int
    end: int


def now() -> datetime:
    return datetime.now(UTC)


@dataclass(frozen=True)
class Clock:
    """The time as a dependency, so that relative dates and leases are testable."""

    now: Callable[[], datetime] = field(default=now)

    def today(self) -> date:
        return self.now().date()
