"""What goes over HTTP: requests with their limits, replies with their fields."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Literal, cast

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, JsonValue, model_validator

from app.desk import Event, HandOff, Message, ThreadSummary
from app.stores.actions import LedgerAction
from app.stores.answers import CachedAnswer
from app.stores.decisions import LoggedDecision
from app.stores.reviews import Item
from graphs.action import question
from graphs.state import in_our_words
from tools.decisions import Aftermath, Decision
from tools.values import Approval, Customer, Ticket, Unsettled


def storable(text: str) -> str:
    """Text that both databases can hold; raises ValueError for half a character."""
    try:
        text.encode()
    except UnicodeEncodeError:
        raise ValueError("is not valid Unicode text") from None
    # PostgreSQL stores every character but this one.
    return text.replace("\x00", "")


Text = Annotated[str, AfterValidator(storable)]
Name = Annotated[str, Field(min_length=1, max_length=128, pattern=r"^[\w.:@-]+$")]


class Request(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class LoginRequest(Request):
    customer: Name


class ChatRequest(Request):
    """One message. An empty one is allowed: what to say to it is the agent's matter."""

    text: Text
    thread: Name | None = None

    @model_validator(mode="before")
    @classmethod
    def _message_is_text(cls, data: Any) -> Any:
        if not isinstance(data, dict):
            return data
        fields = cast(dict[str, Any], data).copy()
        if "message" in fields:
            if "text" in fields:
                raise ValueError("send either text or message, not both")
            fields["text"] = fields.pop("message")
        return fields


class DecisionRequest(Request):
    """A reviewer's answer to an approval; also in the words of LangChain's agent inbox or HITL middleware."""

    decision: Literal["approve", "reject", "edit"]
    note: Annotated[Text, Field(max_length=2000)] | None = None
    arguments: dict[str, JsonValue] | None = None
    operation: Name | None = None

    @model_validator(mode="before")
    @classmethod
    def _from_other_clients(cls, data: Any) -> Any:
        return in_our_words(data)

    @model_validator(mode="after")
    def _arguments_belong_to_an_edit(self) -> DecisionRequest:
        if (self.arguments is not None) != (self.decision == "edit"):
            raise ValueError("arguments are sent with the decision edit, and only with it")
        return self


class ReleaseRequest(Request):
    """What the person says to the customer when the bot takes over again."""

    message: Annotated[Text, Field(max_length=4000)] | None = None


class ClaimRequest(Request):
    """Take a conversation; ``over`` another operator's claim where that is meant."""

    over: bool = False


class OperatorWords(Request):
    """What an operator says to the customer, or notes for the others."""

    text: Annotated[Text, Field(min_length=1, max_length=4000)]


class Session(BaseModel):
    token: str
    token_type: Literal["bearer"] = "bearer"
    expires_in: int
    customer: Customer


class LoggedIn(BaseModel):
    """The customer of this session, or nobody."""

    customer: Customer | None


class DemoCustomer(BaseModel):
    id: str
    name: str
    segment: str


class ThreadOpened(BaseModel):
    id: str


class Rating(BaseModel):
    """What a customer thinks of an answer."""

    turn: Name
    good: bool
    comment: Annotated[Text, Field(max_length=2000)] = ""


class PendingApproval(BaseModel):
    """What the customer may know of an action that waits: not the reviewer's side of it."""

    id: str
    operation: str
    label: str
    effects: tuple[str, ...]
    requested_at: datetime
    expires_at: datetime


class Thread(BaseModel):
    """A thread with its history."""

    id: str
    title: str = ""
    handed_off: bool = False
    claimed: bool = False  #: A colleague has taken it.
    opens_at: datetime | None = None  #: Handed off out of hours: when somebody is there again.
    messages: list[Message]
    pending: list[PendingApproval] = []


class Threads(BaseModel):
    threads: list[ThreadSummary]


class ShownApproval(Approval):
    """An approval, and what LangChain's agent inbox shows of an interrupt."""

    votes_needed: int
    action_request: dict[str, JsonValue]
    config: dict[str, bool]
    description: str


class Approvals(BaseModel):
    approvals: list[ShownApproval]


class SettleRequest(BaseModel):
    """A person's word on an effect that no lookup could settle."""

    model_config = ConfigDict(extra="forbid")
    happened: bool
    note: str | None = Field(default=None, max_length=2000)


class UnsettledEffects(BaseModel):
    unsettled: list[Unsettled]


class LedgerActions(BaseModel):
    """What the ledger has of one customer, newest first."""

    actions: list[LedgerAction]


class Tickets(BaseModel):
    """What was written down for one customer, newest first."""

    tickets: list[Ticket]


class ShownDecision(Decision):
    """A decision with where it belongs, and what came of it."""

    id: int
    at: datetime
    tenant: str
    thread: str
    turn: str
    input: str
    outcome: Aftermath | None
    outcome_detail: str
    outcome_at: datetime | None


class DecisionPage(BaseModel):
    """Decisions, newest first; ``next`` goes into ``before`` for the page after this one."""

    items: list[ShownDecision]
    next: int | None


class SampleRequest(Request):
    n: int = Field(default=100, ge=1, le=1000)
    days: float = Field(default=7, gt=0, le=366)


class LabelRequest(Request):
    """The intent that would have been right; null: it cannot be told."""

    label: Name | None


class Reviews(BaseModel):
    items: list[Item]
    intents: list[str]


class CachedAnswers(BaseModel):
    """Those served most first; those that were withdrawn last."""

    items: list[CachedAnswer]


class HandOffs(BaseModel):
    """Who waits longest comes first."""

    items: list[HandOff]


class SignedIn(BaseModel):
    """Whose key came with the request."""

    name: str
    role: str
    tenant: str | None


class ChatReply(BaseModel):
    """A whole turn in one JSON document."""

    thread: str
    turn: str | None
    reply: str
    route: dict[str, JsonValue]
    approvals: list[dict[str, JsonValue]]
    citations: list[dict[str, JsonValue]]
    handed_off: bool
    llm_calls: int
    events: list[Event]


def pending_approval(approval: Approval) -> PendingApproval:
    action = approval.action
    return PendingApproval(
        id=approval.id,
        operation=action.operation,
        label=action.label,
        effects=action.effects,
        requested_at=approval.requested_at,
        expires_at=approval.expires_at,
    )


def shown_approval(approval: Approval) -> ShownApproval:
    asked = question({"action": approval.action, "verdict": approval.verdict, "approval": approval})
    return ShownApproval(
        **{name: getattr(approval, name) for name in Approval.model_fields},
        votes_needed=approval.verdict.votes_needed,
        action_request=asked["action_request"],
        config=asked["config"],
        description=asked["description"],
    )


def shown_decision(logged: LoggedDecision) -> ShownDecision:
    where = logged.model_dump(exclude={"decision"})
    return ShownDecision(**where, **logged.decision.model_dump())


def chat_reply(thread: str, events: list[Event]) -> ChatReply:
    """The turn's events folded into one reply; the last one is ``final``."""
    last: dict[str, JsonValue] = events[-1].data
    routes = [event.data for event in events if event.event == "route"]
    citations = last.get("citations")
    calls = last.get("llm_calls")
    return ChatReply(
        thread=thread,
        turn=_text(last.get("turn")) or None,
        reply=_text(last.get("text")) or _text(last.get("reply")),
        route=routes[-1] if routes else {},
        approvals=[event.data for event in events if event.event == "approval_required"],
        citations=[each for each in citations if isinstance(each, dict)]
        if isinstance(citations, list)
        else [],
        handed_off=any(event.event == "handoff" for event in events)
        or last.get("handed_off") is True,
        llm_calls=calls if isinstance(calls, int) else 0,
        # Tokens are the reply once more, in pieces.
        events=[event for event in events if event.event != "token"],
    )


def _text(value: JsonValue) -> str:
    return value if isinstance(value, str) else ""
