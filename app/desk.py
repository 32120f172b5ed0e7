"""What the outside (HTTP, terminal, evals) may ask of a running Signalbox."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Mapping
from datetime import datetime
from typing import TYPE_CHECKING, Any, Literal, Protocol

from pydantic import JsonValue

from app.drift_watch import Drift
from app.economics import Economics, TurnUse
from app.models.metering import Meter
from app.privacy import Erased
from app.release_watch import ReleaseState
from app.spending import Budgets
from app.stores.access import AccessStore
from app.stores.actions import LedgerAction
from app.stores.actions import State as LedgerState
from app.stores.answers import CachedAnswer
from app.stores.decisions import LoggedDecision, Wanted
from app.stores.reviews import Item
from app.stores.turns import Note
from app.stores.waiting import Waiting
from graphs.state import Answer
from tools.decisions import Aftermath
from tools.records import RecordView
from tools.values import Approval, Customer, Outcome, Record, Ticket, Unsettled

if TYPE_CHECKING:
    from app.knowledge.library import Library

EventName = Literal[
    "ack", "route", "tool", "token", "approval_required", "handoff", "final", "error"
]


class Event(Record):
    """One typed event of a turn, as it goes over SSE."""

    event: EventName
    data: dict[str, JsonValue]


class Message(Record):
    """One message of a thread's history."""

    id: str
    role: Literal["customer", "agent", "operator"]
    text: str
    at: datetime | None = None
    citations: tuple[dict[str, JsonValue], ...] = ()
    meta: dict[str, JsonValue] = {}
    turn: str | None = None  #: The customer's turn that it answers, by which it can be rated.
    good: bool | None = None  #: Whether the customer said that it helped.


class ThreadSummary(Record):
    id: str
    title: str
    created_at: datetime
    handed_off: bool = False
    claimed: bool = False  #: A colleague has taken it.


class HandOff(Record):
    """A conversation that a person has, or should have."""

    thread: str
    customer: str  #: Their id.
    name: str
    title: str
    handed_off_at: datetime
    #: Since when the customer waits for a person's word; None: they have it, and it is their turn.
    waits_since: datetime | None
    claimed_by: str | None  #: The operator who has taken it.
    summary: str
    last: Message | None  #: Of the customer or a colleague.

    @property
    def since(self) -> datetime:
        return self.waits_since or self.handed_off_at


class Tried(Record):
    """What the agent took one message for, and what came of it."""

    at: datetime
    turn: str
    said: str  #: Masked.
    understood: str
    sure: bool
    probability: float
    tier: str
    outcome: Aftermath | None


class Case(Record):
    """Everything that whoever takes a conversation over has to see."""

    thread: str
    title: str
    created_at: datetime
    handed_off: bool
    handed_off_at: datetime | None
    waits_since: datetime | None
    claimed_by: str | None
    opens_at: datetime | None  #: Out of hours: when the business opens again.
    summary: str
    customer: Customer | None
    messages: tuple[Message, ...]  #: All of them.
    notes: tuple[Note, ...]
    records: tuple[RecordView, ...] | None  #: None: the books cannot be read right now.
    tried: tuple[Tried, ...]
    actions: tuple[LedgerAction, ...]
    approvals: tuple[Approval, ...]  #: What waits for a reviewer.
    tickets: tuple[Ticket, ...]
    usage: tuple[TurnUse, ...]  #: What each turn asked of which model, newest first.


class ThreadNotFound(Exception):
    """There is no such thread for this customer."""


class TurnNotFound(Exception):
    """There is no answer to a turn of this id in the conversation."""


class ApprovalNotFound(Exception):
    """There is no approval with this id."""


class ApprovalDecided(Exception):
    """This approval was already decided or has expired; nothing was changed."""

    def __init__(self, approval: Approval) -> None:
        super().__init__(self.__doc__)
        self.approval = approval


class AlreadyVoted(Exception):
    """You have approved this already; another person has to agree."""

    def __init__(self, approval: Approval) -> None:
        super().__init__(self.__doc__)
        self.approval = approval


class TwinApproved(Exception):
    """This customer's same request was approved already. Reject this one, or edit it if another is meant."""

    def __init__(self, approval: Approval) -> None:
        super().__init__(self.__doc__)
        self.approval = approval


class RoleNotAccepted(Exception):
    """The rules ask for an admin's approval; yours would not count. You may reject it."""


class OwnEdit(Exception):
    """You wrote these arguments yourself; where several persons are asked for, others have to approve them."""


class EditInvalid(ValueError):
    """The edited arguments are not valid for this operation."""


class IntentUnknown(ValueError):
    """There is no intent of this name."""


class EffectNotFound(Exception):
    """There is no unsettled effect of this action."""


class EffectSettled(Exception):
    """This is settled by now, or being looked up at this moment; nothing was changed."""

    def __init__(self, outcome: Outcome) -> None:
        super().__init__(self.__doc__)
        self.outcome = outcome


class NotHandedOff(Exception):
    """Nobody waits for a person in this conversation; the agent answers it."""


class ClaimedByAnother(Exception):
    """Another operator has taken this conversation; nothing was sent."""

    def __init__(self, operator: str) -> None:
        super().__init__(f"{operator} has taken this conversation; nothing was sent.")
        self.operator = operator


class KeyConflict(Exception):
    """This Idempotency-Key was already used for another message."""


class KeyInFlight(Exception):
    """Your message is still being worked on. Please ask for the answer again in a moment."""


class SignInRoom(Protocol):
    """Which customer asks."""

    async def customer(self, customer_id: str) -> Customer | None: ...

    async def demo_customers(self) -> list[Customer]: ...

    async def may_try(self, customer_id: str) -> bool:
        """Whether a session of ours may be for this customer: anybody where the domain has no login of its
        own, and only its demo customers where it has."""
        ...

    async def identified(self, token: str) -> Customer | None:
        """The customer of a token of the company's own login. None where the domain has no such login, or
        the token is a demo session; raises NotKnown for one that is not valid."""
        ...


class TurnRoom(Protocol):
    """A customer's conversations. Of a conversation that is not theirs, ThreadNotFound is raised."""

    async def open_thread(self, customer: Customer, *, key: str | None = None) -> str:
        """A new thread; for a ``key`` that opened one before, that one, so that a retry finds its turn."""
        ...

    async def threads(self, customer: Customer) -> list[ThreadSummary]: ...

    def opens(self, customer: Customer) -> datetime | None:
        """When the business's people are there again; None while they are, or where no hours are known."""
        ...

    def play(
        self, customer: Customer, thread: str, text: str, *, key: str | None = None
    ) -> AsyncIterator[Event]:
        """Play one turn. The last event is always ``final`` or ``error``.

        With the same ``key`` again, the stored events are replayed without running anything; while it is
        being played, here or in another process, its answer is waited for.
        Raises ThreadNotFound, KeyConflict or KeyInFlight before the first event."""
        ...

    async def history(self, customer: Customer, thread: str) -> list[Message]: ...

    async def rate(
        self, customer: Customer, thread: str, turn: str, *, good: bool, comment: str = ""
    ) -> None:
        """Keep what the customer thinks of an answer. Raises ThreadNotFound or TurnNotFound."""
        ...


class ApprovalRoom(Protocol):
    """What waits for a reviewer's answer or an operator's word.

    ``tenant`` is the one whose they may see and decide; None: everybody's. What is another
    tenant's is not there for them."""

    async def listed(
        self, status: str | None = "pending", limit: int = 50, *, tenant: str | None = None
    ) -> list[Approval]: ...

    async def decide(
        self, action_id: str, answer: Answer, *, tenant: str | None = None
    ) -> Approval:
        """Record a reviewer's answer; once it is decided, run or drop the action and tell the thread.

        Raises ApprovalNotFound, ApprovalDecided, AlreadyVoted, TwinApproved, RoleNotAccepted,
        OwnEdit or EditInvalid."""
        ...

    async def unsettled(self, *, tenant: str | None = None) -> list[Unsettled]:
        """Effects in another system whose outcome nobody knows yet, oldest first."""
        ...

    async def settle(
        self,
        action_id: str,
        operator: str,
        *,
        happened: bool,
        note: str | None = None,
        tenant: str | None = None,
    ) -> Outcome:
        """Settle one by a person's word and tell the customer's thread.

        Raises EffectNotFound or EffectSettled."""
        ...


class InboxRoom(Protocol):
    """The people's side of the conversations; ``tenant`` as for approvals."""

    async def hand_offs(self, *, tenant: str | None = None) -> list[HandOff]:
        """Conversations that a person has, or should have: who waits longest comes first."""
        ...

    async def case(self, thread: str, *, tenant: str | None = None) -> Case:
        """Everything about one conversation. Raises ThreadNotFound."""
        ...

    async def claim(
        self, thread: str, operator: str, *, over: bool = False, tenant: str | None = None
    ) -> None:
        """Take a conversation that waits for a person, ``over`` another's claim where that is meant. Raises
        NotHandedOff or ClaimedByAnother."""
        ...

    async def leave(self, thread: str, operator: str, *, tenant: str | None = None) -> None:
        """Leave a conversation to the others. Raises NotHandedOff or ClaimedByAnother."""
        ...

    async def reply(
        self, thread: str, operator: str, text: str, *, tenant: str | None = None
    ) -> None:
        """Say something to the customer as a person, and keep the conversation. Raises NotHandedOff or
        ClaimedByAnother."""
        ...

    async def note(
        self, thread: str, operator: str, text: str, *, tenant: str | None = None
    ) -> None:
        """Write something down for the other operators; the customer never sees it."""
        ...

    async def release(
        self,
        thread: str,
        operator: str,
        text: str | None = None,
        *,
        tenant: str | None = None,
    ) -> None:
        """Give a conversation back to the agent, with a last word. Raises NotHandedOff or
        ClaimedByAnother."""
        ...


class ViewRoom(Protocol):
    """What operators look at; ``tenant`` as for approvals."""

    async def done(
        self,
        customer_id: str,
        *,
        thread: str | None = None,
        state: LedgerState | None = None,
        tenant: str | None = None,
    ) -> list[LedgerAction]:
        """What the ledger has of a customer, newest first."""
        ...

    async def tickets(self, customer_id: str, *, tenant: str | None = None) -> list[Ticket]:
        """What was written down for a customer, newest first."""
        ...

    async def decisions(
        self, wanted: Wanted, *, limit: int = 50, before: int | None = None
    ) -> list[LoggedDecision]:
        """Decisions newest first; ``before`` is the id of the last one already seen."""
        ...

    async def reviews(self, *, tenant: str | None, limit: int = 50) -> list[Item]:
        """Sampled decisions that wait for a label, oldest sample first."""
        ...

    async def draw_reviews(self, n: int, *, days: float, tenant: str | None) -> list[Item]:
        """Sample ``n`` messages of the last ``days`` for people to label."""
        ...

    async def label(
        self, sample: str, decision: int, label: str | None, *, operator: str, tenant: str | None
    ) -> Item:
        """Keep what was right; no label: the operator cannot tell. Raises ReviewNotFound, IntentUnknown."""
        ...

    def intents(self) -> list[str]:
        """The intents a message can be labelled with."""
        ...

    async def drift_now(self, *, tenant: str | None) -> Drift:
        """The last look at everybody's traffic, or a look at one tenant's."""
        ...

    def release_state(self) -> ReleaseState:
        """Which release decides in this process, and why a newer one does not."""
        ...

    async def waiting(self) -> Waiting:
        """What waits for people, and since when."""
        ...

    async def economics(self, days: float, *, tenant: str | None = None) -> Economics:
        """What the last days' turns asked of models, what it cost and what came of it."""
        ...

    async def spent_today(self) -> float:
        """What large models cost since midnight UTC, of all replicas."""
        ...

    async def answers(self, *, tenant: str | None, limit: int = 200) -> list[CachedAnswer]:
        """Answers that are given again, those served most first, and those that were withdrawn."""
        ...

    async def withdraw(self, answer: str, operator: str, *, tenant: str | None) -> CachedAnswer:
        """Let an answer be given no more, until its articles change. Raises AnswerNotFound."""
        ...

    def counts(self) -> Mapping[str, int]:
        """What this process counted of its shadow: offered, compared, dropped, failed."""
        ...


class PrivacyRoom(Protocol):
    """A customer's own words."""

    async def export(self, tenant: str, customer: str) -> dict[str, JsonValue]:
        """Everything that is kept of a customer's words, by kind. Raises NothingKept."""
        ...

    async def erase(self, tenant: str, customer: str, by: str) -> Erased:
        """Erase a customer's words everywhere. Raises StillOpen, and then nothing was erased."""
        ...


class Desk(Protocol):
    """The running agent, room by room; whoever needs something takes the room. ``app.wiring.wiring(settings)``
    yields one."""

    @property
    def sign_in(self) -> SignInRoom: ...
    @property
    def turns(self) -> TurnRoom: ...
    @property
    def approvals(self) -> ApprovalRoom: ...
    @property
    def inbox(self) -> InboxRoom: ...
    @property
    def views(self) -> ViewRoom: ...
    @property
    def privacy(self) -> PrivacyRoom: ...
    @property
    def access(self) -> AccessStore:
        """Who may act as an operator, and which sessions were ended."""
        ...

    @property
    def library(self) -> Library | None:
        """The knowledge base, for those who keep it; None: this desk has none that can be changed."""
        ...

    @property
    def meter(self) -> Meter:
        """What the large model's calls of this process used."""
        ...

    @property
    def budgets(self) -> Budgets:
        """What may be spent on large models."""
        ...

    def health(self) -> Awaitable[Mapping[str, Any]]:
        """Per dependency: ``ok``, ``degraded`` or ``down`` with a reason; never raises."""
        ...

    def info(self) -> Awaitable[Mapping[str, Any]]:
        """Roles, models, digests, URLs, and what is embedded or off."""
        ...
