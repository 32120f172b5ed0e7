"""A customer's conversations."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Path, Request

from app.auth import CustomerDep, DeskDep
from app.contract import also
from app.metrics import Metrics
from app.wire import Rating, Thread, ThreadOpened, Threads, pending_approval

router = APIRouter(prefix="/v1", tags=["threads"])

ThreadId = Annotated[str, Path(min_length=1, max_length=128, pattern=r"^[\w.:@-]+$")]


@router.get("/threads")
async def threads(customer: CustomerDep, desk: DeskDep) -> Threads:
    """The customer's threads, newest first."""
    return Threads(threads=await desk.threads(customer))


@router.post("/threads", status_code=201)
async def open_thread(customer: CustomerDep, desk: DeskDep) -> ThreadOpened:
    """Begin a new thread."""
    return ThreadOpened(id=await desk.open_thread(customer))


@router.get("/threads/{thread}", responses=also(404))
async def thread_history(thread: ThreadId, customer: CustomerDep, desk: DeskDep) -> Thread:
    """A thread's messages, and which of its actions wait for a person."""
    messages = await desk.history(customer, thread)
    summary = next((each for each in await desk.threads(customer) if each.id == thread), None)
    pending = [
        pending_approval(approval)
        for approval in await desk.approvals("pending", limit=200, tenant=customer.tenant)
        if approval.action.thread == thread and approval.action.customer.id == customer.id
    ]
    handed_off = summary.handed_off if summary else False
    return Thread(
        id=thread,
        title=summary.title if summary else "",
        handed_off=handed_off,
        claimed=summary.claimed if summary else False,
        opens_at=desk.opens(customer) if handed_off else None,
        messages=messages,
        pending=pending,
    )


@router.post("/threads/{thread}/ratings", status_code=204, responses=also(404))
async def rate(
    thread: ThreadId, body: Rating, customer: CustomerDep, desk: DeskDep, request: Request
) -> None:
    """Say whether the answer to a turn helped; said again, the last word counts."""
    await desk.rate(customer, thread, body.turn, good=body.good, comment=body.comment)
    metrics: Metrics = request.app.state.metrics
    metrics.rated(good=body.good)
