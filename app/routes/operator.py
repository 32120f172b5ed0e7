"""The operator's side: approvals, decisions, hand-offs."""

from __future__ import annotations

from typing import Annotated, Literal

from fastapi import APIRouter, Query

from app.auth import DeskDep, OperatorDep
from app.routes.threads import ThreadId
from app.wire import (
    Approvals,
    DecisionRequest,
    ReleaseRequest,
    Rows,
    ShownApproval,
    UnsettledEffects,
    VouchRequest,
    shown_approval,
)
from graphs.state import Answer
from tools.domain import Outcome

router = APIRouter(prefix="/v1", tags=["operator"])

Status = Literal["pending", "approved", "rejected", "expired", "executed", "all"]
Limit = Annotated[int, Query(ge=1, le=500)]


@router.get("/approvals")
async def approvals(
    _: OperatorDep, desk: DeskDep, status: Status = "pending", limit: Limit = 50
) -> Approvals:
    """Actions that wait for a person, with their exact arguments; or earlier ones, by status."""
    wanted = None if status == "all" else status
    found = await desk.approvals(wanted, limit=limit)
    return Approvals(approvals=[shown_approval(each) for each in found])


@router.post("/approvals/{approval}")
async def decide(
    approval: ThreadId, body: DecisionRequest, operator: OperatorDep, desk: DeskDep
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
    return shown_approval(await desk.decide(approval, answer))


@router.get("/unsettled")
async def unsettled(_: OperatorDep, desk: DeskDep) -> UnsettledEffects:
    """Payments nobody can vouch for: asked of the payment service, and not known to have happened."""
    return UnsettledEffects(unsettled=await desk.unsettled())


@router.post("/unsettled/{action}")
async def vouch(
    action: ThreadId, body: VouchRequest, operator: OperatorDep, desk: DeskDep
) -> Outcome:
    """It happened, or it did not: the first word counts (409 afterwards), and the customer is told."""
    return await desk.vouch(action, operator.name, happened=body.happened, note=body.note)


@router.get("/decisions")
async def decisions(
    _: OperatorDep,
    desk: DeskDep,
    thread: str | None = None,
    turn: str | None = None,
    role: str | None = None,
    limit: Limit = 50,
) -> Rows:
    """What the models decided, newest first: chosen option, probability, tier, version."""
    filters = {"thread": thread, "turn": turn, "role": role}
    given = {name: value for name, value in filters.items() if value is not None}
    rows = [dict(row) for row in await desk.decisions(limit=limit, **given)]
    return Rows(items=[row | row.pop("decision", {}) for row in rows])


@router.get("/handoffs")
async def hand_offs(_: OperatorDep, desk: DeskDep) -> Rows:
    """Threads a person has to take over."""
    return Rows(items=[dict(row) for row in await desk.hand_offs()])


@router.post("/threads/{thread}/release", status_code=204)
async def release(
    thread: ThreadId, operator: OperatorDep, desk: DeskDep, body: ReleaseRequest | None = None
) -> None:
    """Give a handed-off thread back to the bot, with a last word from the person."""
    await desk.release(thread, operator.name, body.message if body else None)
