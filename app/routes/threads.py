"""A customer's conversations."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Path, Request

from app.auth import CustomerDep
from app.contract import also
from app.metrics import Metrics
from app.routes.rooms import ApprovalRoomDep, TurnRoomDep
from app.wire import Rating, Thread, ThreadOpened, Threads, pending_approval

router = APIRouter(prefix="/v1", tags=["threads"])

ThreadId = Annotated[str, Path(min_length=1, max_length=128, pattern=r"^[\w.:@-]+$")]


@router.get("/threads")
async def threads(customer: CustomerDep, room: TurnRoomDep) -> Threads:
    """The customer's threads, newest first."""
    return Threads(threads=await room.threads(customer))


@router.post("/threads", status_code=201)
async def open_thread(customer: CustomerDep, room: TurnRoomDep) -> ThreadOpened:
    """Begin a new thread."""
    return ThreadOpened(id=await room.open_thread(customer))


@router.get("/threads/{thread}", responses=also(404))
async def thread_history(
    thread: ThreadId, customer: CustomerDep, room: TurnRoomDep, approvals: ApprovalRoomDep
) -> Thread:
    """A thread's messages, and which of its actions wait for a person."""
    messages = await room.history(customer, thread)
    summary = next((each for each in await room.threads(customer) if each.id == thread), None)
    pending = [
        pending_approval(approval)
        for approval in await approvals.listed("pending", limit=200, tenant=customer.tenant)
        if approval.action.thread == thread and approval.action.customer.id == customer.id
    ]
    handed_off = summary.handed_off if summary else False
    return Thread(
        id=thread,
        title=summary.title if summary else "",
        handed_off=handed_off,
        claimed=summary.claimed if summary else False,
        opens_at=room.opens(customer) if handed_off else None,
        messages=messages,
        pending=pending,
    )


@router.post("/threads/{thread}/ratings", status_code=204, responses=also(404))
async def rate(
    thread: ThreadId, body: Rating, customer: CustomerDep, room: TurnRoomDep, request: Request
) -> None:
    """Say whether the answer to a turn helped; said again, the last word counts."""
    await room.rate(customer, thread, body.turn, good=body.good, comment=body.comment)
    metrics: Metrics = request.app.state.metrics
    metrics.rated(good=body.good)
