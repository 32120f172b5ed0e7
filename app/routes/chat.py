"""One message in, one turn out: as a JSON document or as a stream of typed events."""

from __future__ import annotations

import json
import logging
from collections.abc import AsyncIterator
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Header, Request
from fastapi.responses import StreamingResponse
from fastapi.sse import KEEPALIVE_COMMENT, format_sse_event

from app.auth import CustomerDep, counted_turn
from app.contract import also
from app.desk import Event
from app.problems import Problem
from app.routes.rooms import TurnRoomDep
from app.turns import RunningTurn, Turns
from app.wire import ChatReply, ChatRequest, chat_reply

log = logging.getLogger(__name__)

router = APIRouter(prefix="/v1", tags=["chat"])

#: Proxies close connections on which nothing happens for a minute or less.
KEEPALIVE_SECONDS = 15.0

STREAMED: dict[int | str, dict[str, Any]] = {
    200: {
        "description": "The turn: JSON, or as a stream its events as they happen.",
        "content": {"text/event-stream": {"schema": {"type": "string"}}},
    }
}


def turns_of(request: Request) -> Turns:
    turns: Turns = request.state.turns
    return turns


@router.post("/chat", response_model=ChatReply, responses=STREAMED | also(404, 409))
async def chat(
    request: Request,
    body: ChatRequest,
    customer: CustomerDep,
    room: TurnRoomDep,
    turns: Annotated[Turns, Depends(turns_of)],
    accept: Annotated[str, Header()] = "",
    idempotency_key: Annotated[
        str | None, Header(min_length=1, max_length=200, pattern=r"^[\x21-\x7e]+$")
    ] = None,
) -> ChatReply | StreamingResponse:
    """Play one turn. With the same `Idempotency-Key` again, the first reply is returned; with another
    message 422; while it is being played its answer is waited for, and after half a minute 409, without one where keys are required 400."""
    if idempotency_key is None and request.app.state.require_keys:
        raise Problem(400, "This needs an Idempotency-Key header: a new one for each message.")
    await counted_turn(request, customer, body.thread)
    thread = body.thread or await room.open_thread(customer, key=idempotency_key)
    running = turns.start(customer, thread, body.text, key=idempotency_key)
    first = await running.first()
    if "text/event-stream" in accept.lower():
        return StreamingResponse(
            _stream(running, first, thread),
            media_type="text/event-stream",
            headers={"Cache-Control": "no-cache", "X-Accel-Buffering": "no"},
        )
    events = [first]
    async for event in running.rest():
        events.append(event)
    last = events[-1]
    if last.data.get("elsewhere"):
        raise Problem(409, _reason(last), thread=thread, headers={"Retry-After": "5"})
    if last.event == "error":
        raise Problem(503, _reason(last), thread=thread, headers={"Retry-After": "5"})
    return chat_reply(thread, events)


def _reason(event: Event) -> str:
    for name in ("text", "detail", "message"):
        value = event.data.get(name)
        if isinstance(value, str) and value:
            return value
    return "The agent could not finish this turn. Nothing was lost; please try again."


async def _stream(running: RunningTurn, first: Event, thread: str) -> AsyncIterator[bytes]:
    yield _sse(first, thread, 0)
    number = 0
    while True:
        try:
            event = await running.next(KEEPALIVE_SECONDS)
        except TimeoutError:
            yield KEEPALIVE_COMMENT
            continue
        except Exception:
            # The status line is long gone, so the stream itself has to say it.
            log.exception("a turn failed while its events were being sent")
            failed = Event(
                event="error",
                data={"text": "Something went wrong on our side. Please try again in a moment."},
            )
            yield _sse(failed, thread, number + 1)
            return
        if event is None:
            return
        number += 1
        yield _sse(event, thread, number)


def _sse(event: Event, thread: str, number: int) -> bytes:
    data = json.dumps({"thread": thread} | event.data, ensure_ascii=False, default=str)
    return format_sse_event(event=event.event, data_str=data, id=str(number))
