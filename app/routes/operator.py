"""The operator's side: approvals, decisions, reviews, drift, hand-offs."""

from __future__ import annotations

import logging
from datetime import UTC, datetime
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Path, Query, Request
from pydantic import AfterValidator, BeforeValidator

from app.auth import AccessDep, Operator, OperatorDep, SessionsDep
from app.contract import also
from app.desk import Case
from app.drift_watch import Drift
from app.economics import Economics
from app.privacy import Erased
from app.problems import Problem
from app.routes.rooms import ApprovalRoomDep, InboxDep, PrivacyDep, ViewsDep
from app.routes.threads import ThreadId
from app.stores.actions import State as LedgerState
from app.stores.answers import CachedAnswer
from app.stores.decisions import Wanted
from app.stores.reviews import Item
from app.wire import (
    Approvals,
    CachedAnswers,
    ClaimRequest,
    DecisionPage,
    DecisionRequest,
    HandOffs,
    LabelRequest,
    LedgerActions,
    OperatorWords,
    ReleaseRequest,
    Reviews,
    SampleRequest,
    SettleRequest,
    ShownApproval,
    SignedIn,
    Tickets,
    UnsettledEffects,
    shown_approval,
    shown_decision,
    storable,
)
from graphs.state import Answer
from tools.decisions import Aftermath
from tools.domain import Profile
from tools.values import Lane, Outcome, Tier

log = logging.getLogger(__name__)

router = APIRouter(prefix="/v1", tags=["operator"])

Status = Literal[
    "pending",
    "approved",
    "rejected",
    "expired",
    "withdrawn",
    "started",
    "executed",
    "failed",
    "all",
]
#: Of a conversation that is not there, waits for nobody, or is somebody else's.
_CLAIMED = also(404, 409)
Limit = Annotated[int, Query(ge=1, le=500)]
#: The largest id either database counts to.
MOST_ID = 2**63 - 1


def _utc(moment: datetime | None) -> datetime | None:
    """The moment in UTC, where it was said without an offset too."""
    if moment is None:
        return None
    try:
        return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
    except OverflowError as error:
        raise ValueError("lies outside the years 1 to 9999 in UTC") from error


Word = Annotated[str, AfterValidator(storable)] | None


def _written(moment: object) -> object:
    """A number would be read as seconds since 1970, which nobody is told of."""
    if isinstance(moment, str) and moment.replace(".", "", 1).lstrip("+-").isdigit():
        raise ValueError("is written as ISO 8601, not as a number")
    return moment


Moment = Annotated[datetime | None, BeforeValidator(_written), AfterValidator(_utc)]


@router.get("/economics")
async def economics(
    views: ViewsDep,
    operator: OperatorDep,
    days: Annotated[float, Query(gt=0, le=3660, description="So many days back from now.")] = 30,
) -> Economics:
    """What turns asked of models, what that cost by lane, customer, business and model, and what came of it: the share of
    turns that asked a large model, of those that went to a person, the cost of a resolved task, and the same with a large
    model for everything; budgets; and what this process asked since its start."""
    return await views.economics(days, tenant=operator.tenant)


@router.get("/approvals")
async def approvals(
    operator: OperatorDep, room: ApprovalRoomDep, status: Status = "pending", limit: Limit = 50
) -> Approvals:
    """Actions that wait for a person, with their exact arguments; or earlier ones, by status."""
    wanted = None if status == "all" else status
    found = await room.listed(wanted, limit=limit, tenant=operator.tenant)
    return Approvals(approvals=[shown_approval(each) for each in found])


@router.post("/approvals/{approval}", responses=also(404, 409))
async def decide(
    approval: ThreadId, body: DecisionRequest, operator: OperatorDep, room: ApprovalRoomDep
) -> ShownApproval:
    """Approve, edit or reject. The first no ends it; so does the last yes the rules ask for. A later answer
    changes nothing (409), nor does an edit that cannot be carried out (422) or an answer in no known form (400)."""
    answer = Answer(
        decision=body.decision,
        reviewer=operator.name,
        role=operator.role,
        note=body.note,
        arguments=body.arguments,
        operation=body.operation,
    )
    return shown_approval(await room.decide(approval, answer, tenant=operator.tenant))


@router.get("/unsettled")
async def unsettled(operator: OperatorDep, room: ApprovalRoomDep) -> UnsettledEffects:
    """Effects whose outcome nobody knows: asked of another system, and not known to have happened."""
    return UnsettledEffects(unsettled=await room.unsettled(tenant=operator.tenant))


@router.post("/unsettled/{action}", responses=also(404, 409))
async def settle(
    action: ThreadId, body: SettleRequest, operator: OperatorDep, room: ApprovalRoomDep
) -> Outcome:
    """It happened, or it did not: the first word counts (409 afterwards), and the customer is told."""
    return await room.settle(
        action, operator.name, happened=body.happened, note=body.note, tenant=operator.tenant
    )


OfCustomer = Annotated[
    str,
    Query(min_length=1, max_length=128, description="The customer's id."),
    AfterValidator(storable),
]


OfOne = Annotated[str, Path(min_length=1, max_length=128), AfterValidator(storable)]


@router.get("/actions")
async def actions(
    operator: OperatorDep,
    views: ViewsDep,
    customer: OfCustomer,
    thread: Word = None,
    state: LedgerState | None = None,
) -> LedgerActions:
    """What the ledger has of a customer, newest first: `succeeded` was executed."""
    return LedgerActions(
        actions=await views.done(customer, thread=thread, state=state, tenant=operator.tenant)
    )


@router.get("/tickets")
async def tickets(operator: OperatorDep, views: ViewsDep, customer: OfCustomer) -> Tickets:
    """A customer's tickets and hand-offs, newest first."""
    return Tickets(tickets=await views.tickets(customer, tenant=operator.tenant))


@router.delete("/customers/{customer}/sessions", status_code=204)
async def end_sessions(
    customer: OfOne,
    operator: OperatorDep,
    access: AccessDep,
    sessions: SessionsDep,
) -> None:
    """End all sessions of a customer that began before now: their tokens count no more."""
    if operator.tenant is not None:
        raise Problem(403, "Only operators who work for all tenants may end sessions.")
    log.info("%s ends the sessions of a customer", operator.name)
    await access.end_all(customer, sessions.seconds)


def _tenant(request: Request, operator: Operator) -> str:
    """Whose customers these are: the operator's tenant's, or the business's."""
    profile: Profile = request.app.state.profile
    return operator.tenant or profile.tenant


def _admin(operator: Operator) -> None:
    if operator.role != "admin":
        raise Problem(403, "Only an admin may read or erase all of a customer's words.")


@router.get("/customers/{customer}/words", responses=also(404))
async def export_words(
    customer: OfOne, operator: OperatorDep, privacy: PrivacyDep, request: Request
) -> dict[str, Any]:
    """Everything that is kept of a customer's words, by kind: conversations, notes, decisions, actions, approvals,
    tickets, audit. For an admin."""
    _admin(operator)
    log.info("%s exports the words of a customer", operator.name)
    return await privacy.export(_tenant(request, operator), customer)


@router.delete("/customers/{customer}/words", responses=also(404, 409))
async def erase_words(
    customer: OfOne, operator: OperatorDep, privacy: PrivacyDep, request: Request
) -> Erased:
    """Erase a customer's words everywhere; keys, digests and what was sold stay. A second time erases what came since.
    While a write is unsettled, an approval waits or an outcome is not told it is 409, and `open` says what to do. For
    an admin."""
    _admin(operator)
    return await privacy.erase(_tenant(request, operator), customer, operator.name)


@router.get("/decisions")
async def decisions(
    operator: OperatorDep,
    views: ViewsDep,
    thread: Word = None,
    turn: Word = None,
    role: Word = None,
    chosen: Annotated[
        Word, Query(description="The option that was chosen; a router's is an intent.")
    ] = None,
    lane: Annotated[
        Lane | None, Query(description="Of routers' decisions that settled a turn.")
    ] = None,
    tier: Tier | None = None,
    abstained: bool | None = None,
    outcome: Aftermath | None = None,
    below: Annotated[
        float | None, Query(ge=0, le=1, description="Only less probable choices than this.")
    ] = None,
    since: Annotated[Moment, Query(description="ISO 8601; without an offset, UTC.")] = None,
    until: Annotated[Moment, Query(description="Not included.")] = None,
    before: Annotated[
        int | None, Query(ge=1, le=MOST_ID, description="`next` of the page before this one.")
    ] = None,
    limit: Limit = 50,
) -> DecisionPage:
    """What the models decided, newest first, and what came of it."""
    wanted = Wanted(
        tenant=operator.tenant,
        thread=thread,
        turn=turn,
        role=role,
        chosen=chosen,
        lane=lane,
        tier=tier,
        abstained=abstained,
        outcome=outcome,
        probability_below=below,
        since=since,
        until=until,
    )
    found = await views.decisions(wanted, limit=limit, before=before)
    return DecisionPage(
        items=[shown_decision(each) for each in found],
        next=found[-1].id if len(found) == limit else None,
    )


@router.get("/drift")
async def drift(operator: OperatorDep, views: ViewsDep) -> Drift:
    """Whether the newest traffic is like the reference, by count and by time."""
    return await views.drift_now(tenant=operator.tenant)


@router.get("/reviews")
async def reviews(operator: OperatorDep, views: ViewsDep, limit: Limit = 50) -> Reviews:
    """Sampled messages that wait for somebody to say what they mean, and the intents to choose from."""
    waiting = await views.reviews(tenant=operator.tenant, limit=limit)
    return Reviews(items=waiting, intents=views.intents())


@router.post("/reviews")
async def draw_reviews(body: SampleRequest, operator: OperatorDep, views: ViewsDep) -> Reviews:
    """Draw a stratified sample of what was routed during the last days."""
    drawn = await views.draw_reviews(body.n, days=body.days, tenant=operator.tenant)
    return Reviews(items=drawn, intents=views.intents())


@router.post("/reviews/{sample}/{decision}", responses=also(404))
async def label(
    sample: ThreadId,
    decision: Annotated[int, Path(ge=1, le=MOST_ID)],
    body: LabelRequest,
    operator: OperatorDep,
    views: ViewsDep,
) -> Item:
    """What was right, or null: cannot be told. The last word counts."""
    return await views.label(
        sample, decision, body.label, operator=operator.name, tenant=operator.tenant
    )


@router.get("/answers")
async def answers(operator: OperatorDep, views: ViewsDep, limit: Limit = 200) -> CachedAnswers:
    """Answers that are given again to whoever asks the same: today's, those served most first, then those that were
    withdrawn; `holds` says whether the articles of one are still what they were."""
    return CachedAnswers(items=await views.answers(tenant=operator.tenant, limit=limit))


@router.delete("/answers/{answer}", responses=also(404))
async def withdraw(answer: ThreadId, operator: OperatorDep, views: ViewsDep) -> CachedAnswer:
    """Withdraw an answer: no replica gives it again, nor keeps another to the same question or in the same words, until
    an article it was written from changes. Twice is as good as once."""
    return await views.withdraw(answer, operator.name, tenant=operator.tenant)


@router.get("/operator")
async def signed_in(operator: OperatorDep) -> SignedIn:
    """Whose key this is, and what it may decide."""
    return SignedIn(name=operator.name, role=operator.role, tenant=operator.tenant)


@router.get("/handoffs")
async def hand_offs(operator: OperatorDep, inbox: InboxDep) -> HandOffs:
    """Conversations that a person has, or should have; who waits longest comes first."""
    return HandOffs(items=await inbox.hand_offs(tenant=operator.tenant))


@router.get("/threads/{thread}/case", responses=also(404))
async def case(thread: ThreadId, operator: OperatorDep, inbox: InboxDep) -> Case:
    """Everything about one conversation: customer, records, transcript, notes, what was tried and done."""
    return await inbox.case(thread, tenant=operator.tenant)


@router.post("/threads/{thread}/claim", status_code=204, responses=_CLAIMED)
async def claim(
    thread: ThreadId, operator: OperatorDep, inbox: InboxDep, body: ClaimRequest | None = None
) -> None:
    """Take a conversation that waits for a person; 409 when somebody has, or when nobody waits there."""
    over = body.over if body else False
    await inbox.claim(thread, operator.name, over=over, tenant=operator.tenant)


@router.delete("/threads/{thread}/claim", status_code=204, responses=_CLAIMED)
async def leave(thread: ThreadId, operator: OperatorDep, inbox: InboxDep) -> None:
    """Leave a conversation to the others; it goes on waiting for a person."""
    await inbox.leave(thread, operator.name, tenant=operator.tenant)


@router.post("/threads/{thread}/reply", status_code=204, responses=_CLAIMED)
async def reply(
    thread: ThreadId, body: OperatorWords, operator: OperatorDep, inbox: InboxDep
) -> None:
    """Answer the customer as a person, as often as it takes; the conversation stays with the people. Whoever
    answers has taken it; 409 when somebody else has."""
    await inbox.reply(thread, operator.name, body.text, tenant=operator.tenant)


@router.post("/threads/{thread}/notes", status_code=204, responses=_CLAIMED)
async def note(
    thread: ThreadId, body: OperatorWords, operator: OperatorDep, inbox: InboxDep
) -> None:
    """Write something down for the other operators; the customer never sees it."""
    await inbox.note(thread, operator.name, body.text, tenant=operator.tenant)


@router.post("/threads/{thread}/release", status_code=204, responses=_CLAIMED)
async def release(
    thread: ThreadId, operator: OperatorDep, inbox: InboxDep, body: ReleaseRequest | None = None
) -> None:
    """Give a handed-off thread back to the bot, with a last word from the person; 409 when it has it."""
    message = body.message if body else None
    await inbox.release(thread, operator.name, message, tenant=operator.tenant)
