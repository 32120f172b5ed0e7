"""The outside world, as the graphs see it. Adapters live in ``app/``; ``tools/memory.py`` has one of each."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import AbstractAsyncContextManager
from datetime import date, datetime
from typing import Any, Literal, Protocol, runtime_checkable

from pydantic import BaseModel, ConfigDict, JsonValue

from tools.decisions import Decision
from tools.records import RecordView
from tools.values import (
    Action,
    Approval,
    Attempt,
    AuditEntry,
    Customer,
    Operation,
    Outcome,
    Payment,
    PaymentOrder,
    ReviewerRole,
    Standing,
    Verdict,
)


class PortError(Exception):
    """A dependency did not do its part. Subclasses say how; the graph draws a fallback for each."""

    def __init__(self, message: str | None = None) -> None:
        super().__init__(message or self.__doc__)


class ModelUnavailable(PortError):
    """The model server is down, restarting, or does not answer in time."""


class ModelOutputInvalid(PortError):
    """The model answered, but not in the form that was asked for."""


class BackendUnavailable(PortError):
    """The shop's backend or a store cannot be reached."""


class NotSent(BackendUnavailable):
    """Another system could not be reached, so nothing was asked of it."""


class Declined(PortError):
    """This was declined, so nothing was changed."""


class Uncertain(PortError):
    """Another system was asked, and nobody knows whether it did it."""


class PaymentNotSent(NotSent):
    """The payment service could not be reached, so nothing was asked of it."""


class PaymentRefused(Declined):
    """The payment was declined, so nothing was changed."""


class PaymentUncertain(Uncertain):
    """The payment service was asked, and nobody knows whether it did it."""


# --- models ------------------------------------------------------------------------------------


class Choice(BaseModel):
    """One option out of a closed set, with the probability of each (they sum to 1)."""

    model_config = ConfigDict(frozen=True)
    option: str
    probabilities: dict[str, float]
    model: str
    version: str  #: Digest of adapter or prompt.
    adapter: str = ""  #: Digest of the adapter or head, where one answered.
    tier: Literal["encoder", "small", "large"] = "small"
    ms: float


class Filled(BaseModel):
    """A JSON object that satisfies the schema that was asked for."""

    model_config = ConfigDict(frozen=True)
    values: dict[str, JsonValue]
    model: str
    version: str
    adapter: str = ""  #: Digest of the adapter, where one answered.
    probability: float = (
        1.0  #: Product of the chosen tokens' probabilities, where the server tells.
    )
    ms: float


@runtime_checkable
class SmallModel(Protocol):
    """A small language model behind the roles. Every method may raise PortError's model subclasses."""

    async def choose(self, role: str, input: str, options: Sequence[str]) -> Choice: ...

    async def fill(self, role: str, input: str, schema: dict[str, Any]) -> Filled:
        """Fill ``schema``. A string property with ``"x-copy": true`` may only be null or a run of words
        that occurs in ``input``; one with ``enum`` only one of its values."""
        ...

    async def write(self, role: str, input: str, *, max_tokens: int = 80) -> str: ...


class Passage(BaseModel):
    """A piece of retrieved text with where it came from."""

    model_config = ConfigDict(frozen=True)
    id: str
    text: str
    title: str  #: Document title > section path.
    source: str  #: File or URL.
    updated: date | None = None
    language: str = "en"  #: In which it is written.
    score: float = 0.0
    sentences: tuple[str, ...] = ()  #: What the pruner kept, in document order.
    helps: tuple[float, ...] = ()  #: How likely each kept sentence answers the question.
    #: Of each kept sentence the place, among the kept, of the one it cannot be read without; -1: none.
    needs: tuple[int, ...] = ()


@runtime_checkable
class LargeModel(Protocol):
    """The large model: plans and synthesizes, and is called only where a lane needs it."""

    def write(
        self,
        role: str,
        system: str,
        user: str,
        *,
        quotes: Sequence[str] = (),
        bare: str = "",
        max_tokens: int = 400,
    ) -> AsyncIterator[str]:
        """Stream a reply. ``bare`` is the task in few words, for a model too small for the whole prompt.
        An embedded model that cannot be trusted to paraphrase may only use ``quotes``
        (complete cited sentences, best first), where they are given; a real LLM ignores them."""
        ...

    async def fill(
        self,
        role: str,
        system: str,
        user: str,
        schema: dict[str, Any],
        *,
        bare: str = "",
        narrow: dict[str, Any] | None = None,
    ) -> Filled:
        """Fill ``schema``. For a model too small for the whole task there are ``bare``, the input without
        instructions, and ``narrow``, a schema that leaves fewer ways to go wrong."""
        ...


@runtime_checkable
class Encoder(Protocol):
    """Sentence embeddings, and the classifier heads trained on them, in this process in milliseconds."""

    async def embed(self, texts: Sequence[str]) -> list[list[float]]:
        """Unit vectors of 384 floats, one a text."""
        ...

    async def classify(self, head: str, text: str, *, before: str = "") -> Choice:
        """Run one trained head (``intent``, ``frustration``, ``complexity``, ``incident``); tier is ``encoder``.

        ``before``: what the agent said before the message, for heads that read a turn in its place."""
        ...


# --- knowledge ---------------------------------------------------------------------------------


@runtime_checkable
class Knowledge(Protocol):
    """What the shop has written down."""

    async def retrieve(
        self,
        query: str,
        *,
        limit: int = 15,
        audience: str = "public",
        tenant: str | None = None,
        language: str | None = None,
    ) -> list[Passage]:
        """The ``limit`` best chunks by fused dense and sparse rank, best first: what everybody may read,
        and what only this tenant's customers may; of one language's articles, or of all."""
        ...

    async def prune(
        self, query: str, passages: Sequence[Passage], *, keep: int = 4
    ) -> list[Passage]:
        """The chunks worth reading (at most ``keep``), each with its kept ``sentences``, in document
        order; empty when nothing scores above the floor."""
        ...

    async def nearest(
        self,
        question: str,
        *,
        limit: int,
        tenant: str | None = None,
        language: str | None = None,
    ) -> list[Passage]:
        """The sentences nearest to a question in any language, with their chunks: each passage's chosen
        ``sentences`` with their nearness in ``helps``; of one language's articles, or of all. Empty while they
        cannot be searched yet."""
        ...

    @property
    def version(self) -> str:
        """Changes whenever the indexed text changes."""
        ...

    @property
    def pruned_by(self) -> str:
        """Who prunes now: the cross-encoder's name, or what stands in for it and why."""
        ...

    @property
    def pruner_digest(self) -> str:
        """Of the adapter of whoever prunes now; empty where there is none."""
        ...


class KnownAnswer(BaseModel):
    """An answer that was given before, to a question that asks for the same."""

    model_config = ConfigDict(frozen=True)
    question: str  #: What was asked then.
    text: str
    passages: tuple[Passage, ...]
    how: Literal["exact", "semantic"]
    nearness: float = 1.0  #: Cosine of the two questions.


@runtime_checkable
class AnswerCache(Protocol):
    """Answers to questions that are not about one customer. ``scope`` is everything an answer depends on
    beside the question (tenant, audience, knowledge version, day, writer): nothing is shared between two."""

    async def find(self, question: str, scope: tuple[str, ...]) -> KnownAnswer | None: ...
    async def keep(
        self, question: str, scope: tuple[str, ...], text: str, passages: Sequence[Passage]
    ) -> None: ...


# --- the business ------------------------------------------------------------------------------


@runtime_checkable
class Backend(Protocol):
    """Runs operations on the shop's books."""

    async def preview(self, customer: Customer, operation: Operation, arguments: Any) -> Any:
        """The operation's Preview; reads only. May raise OperationFailed or BackendUnavailable."""
        ...

    async def read(self, customer: Customer, operation: Operation, arguments: Any) -> BaseModel:
        """Run a ``safe`` operation. A write raises ValueError: writes go through the ledger."""
        ...

    async def records(self, customer: Customer) -> tuple[RecordView, ...]:
        """Everything on the customer's account, newest first within a kind. May raise BackendUnavailable."""
        ...


@runtime_checkable
class Ledger(Protocol):
    """At most one effect for one key, whatever crashes, retries or double clicks happen."""

    async def execute(self, action: Action, operation: Operation, verdict: Verdict) -> Outcome:
        """Run the action's write once, its effect and the ledger row in one transaction.

        Same key and fingerprint again: the stored outcome, ``replayed``. Same key, other fingerprint:
        ``blocked``. In flight elsewhere: ``blocked``. An irreversible verdict without a matching approval
        in the approvals store: ``blocked``."""
        ...

    async def find(self, tenant: str, operation: str, key: str) -> Outcome | None: ...

    async def attempt(self, action: Action) -> Attempt:
        """Which try of this very action would begin now, and what came of the ones before."""
        ...

    async def reconcile(self, action: Action, operation: Operation) -> Outcome:
        """Settle an unknown outcome by the operation's own lookup, or leave it to a person.

        A write is sent again only under a key that the other system still honours."""
        ...


@runtime_checkable
class Payments(Protocol):
    """The payment service. Synchronous, as ``Shop`` is: adapters of the ledger run it in a thread."""

    def keyed(self, since: datetime) -> bool:
        """Whether a payment first sent at ``since`` may be sent again under its key without harm."""
        ...

    def absent(self, since: datetime) -> bool:
        """Whether a payment sent at ``since`` and not listed by now was certainly not made."""
        ...

    def ready(self) -> None:
        """Raises PaymentNotSent when there is no use in asking now."""
        ...

    def pay(self, order: PaymentOrder, key: str) -> Payment:
        """Move the money. Raises PaymentNotSent, PaymentRefused or PaymentUncertain."""
        ...

    def find(self, reference: str) -> list[Payment]:
        """What was paid under a reference. Raises BackendUnavailable when it cannot tell."""
        ...


@runtime_checkable
class Audit(Protocol):
    """Who or what decided, and what happened: only ever added to."""

    async def record(self, *entries: AuditEntry) -> None:
        """Add entries of what has no transaction of its own."""
        ...


@runtime_checkable
class Approvals(Protocol):
    """The reviewers' questions. The store, not the graph, says what was approved."""

    async def request(self, action: Action, verdict: Verdict) -> Approval:
        """Store the question; the same action id again returns the stored one."""
        ...

    async def decide(
        self,
        action_id: str,
        *,
        approve: bool,
        reviewer: str,
        role: ReviewerRole = "agent",
        note: str | None = None,
    ) -> tuple[Approval, bool]:
        """Give one reviewer's vote on a pending question. It is approved once as many different reviewers
        as its verdict asks for said yes, and rejected by the first no.

        The flag is False when nothing changed: decided already, expired, this reviewer has said yes before,
        or an approval by a role the verdict does not accept. Raises KeyError for an unknown id."""
        ...

    async def replace(
        self,
        action_id: str,
        successor: Action,
        *,
        reviewer: str,
        role: ReviewerRole = "agent",
        note: str | None = None,
    ) -> tuple[Approval, bool]:
        """Close a pending question because a reviewer changed its arguments, and write down in the same
        moment which action takes its place: a crash may come before that one is at the gate.

        The flag is False when it was not pending any more. Raises KeyError for an unknown id."""
        ...

    async def withdraw(self, action_id: str, customer: Customer) -> tuple[Approval, bool]:
        """The customer takes an action back while it waits: it can never be approved or run after this.

        The flag is False when it was decided or had expired before. Raises KeyError for an unknown id, and
        for another customer's."""
        ...

    async def waiting(self, customer: Customer) -> list[Approval]:
        """What of this customer's waits for a person, newest first: each with its action's operation, label
        and effects, and when it was asked."""
        ...

    async def get(self, action_id: str) -> Approval | None: ...
    async def pending(self, *, limit: int = 50) -> list[Approval]: ...


@runtime_checkable
class Requests(Protocol):
    """What customers have asked for and nobody has settled: the same request is known again, whichever
    conversation it comes from."""

    async def ask(self, action: Action, request: str) -> Standing | None:
        """Where the same request stands, of another turn, or this one after its yes in another conversation;
        None where there is none, and then this one is written down: it waits for the customer's yes."""
        ...

    async def begin(self, action: Action, request: str) -> Standing | None:
        """The yes is said: from here on ledger and approvals know of it. Where the same one stands that
        waits for a person or is being carried out already; None where there is none."""
        ...

    async def standing(self, action: Action) -> Standing | None:
        """The same as another action that waits for a person or is being carried out."""
        ...

    async def drop(self, customer: Customer, request: str) -> None:
        """The customer does not want it any more."""
        ...


# --- records of what happened ------------------------------------------------------------------


@runtime_checkable
class DecisionLog(Protocol):
    async def record(
        self, *, tenant: str, thread: str, turn: str, input: str, decisions: Sequence[Decision]
    ) -> None:
        """Store decisions, input masked, before they take effect."""
        ...


class Observation(Protocol):
    def update(self, **attributes: JsonValue) -> None: ...


@runtime_checkable
class Tracer(Protocol):
    """Spans for reviewers. An adapter never raises into a turn and never makes one wait."""

    def span(
        self,
        name: str,
        kind: Literal["agent", "generation", "tool", "guardrail", "retriever", "evaluator", "span"],
        **attributes: JsonValue,
    ) -> AbstractAsyncContextManager[Observation]: ...
