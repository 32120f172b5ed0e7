"""The operator's side: approvals, decisions, hand-offs."""

from __future__ import annotations

from typing import Annotated, Literal

from fastapi import APIRouter, Query

from app.auth import DeskDep, OperatorDep
from app.routes.threads import ThreadId
from app.wire import Approvals, DecisionRequest, ReleaseRequest, Rows
from graphs.state import Answer
from tools.domain import Approval

router = APIRouter(prefix="/v1", tags=["operator"])

Status = Literal["pending", "approved", "rejected", "expired", "executed", "all"]
Limit = Annotated[int, Query(ge=1, le=500)]


@router.get("/approvals")
async def approvals(
    _: OperatorDep, desk: DeskDep, status: Status = "pending", limit: Limit = 50
) -> Approvals:
    """Actions that wait for a person, with their exact arguments; or earlier ones, by status."""
    wanted = None if status == "all" else status
    return Approvals(approvals=await desk.approvals(wanted, limit=limit))


@router.post("/approvals/{approval}")
async def decide(
    approval: ThreadId, body: DecisionRequest, operator: OperatorDep, desk: DeskDep
) -> Approval:
    """Approve, edit or reject; the first answer counts, a later one changes nothing (409)."""
    answer = Answer(
        decision=body.decision, reviewer=operator.name, note=body.note, arguments=body.arguments
    )
    return await desk.decide(approval, answer)


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
