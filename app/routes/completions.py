"""OpenAI's chat completions: clients that others wrote talk to the agent with a customer's token.

Only the customer's newest message is played. What a client sends as history finds the conversation, and is
not believed: what was said and decided is what our own thread holds.
"""

from __future__ import annotations

import asyncio
import json
import logging
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Depends, Header, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, StreamingResponse
from fastapi.routing import APIRoute
from pydantic import BaseModel, ConfigDict, Field, JsonValue, field_validator

from app.auth import CustomerDep, counted_turn, spend
from app.desk import Event, KeyConflict, KeyInFlight, Message, ThreadNotFound, TurnRoom
from app.models.large import LlmCalls, counting_calls
from app.problems import Problem
from app.routes.chat import KEEPALIVE_SECONDS, STREAMED, turns_of
from app.routes.rooms import TurnRoomDep
from app.turns import RunningTurn, Turns
from app.wire import storable
from prompts.replies import render
from tools.ports import PortError
from tools.values import Customer

log = logging.getLogger(__name__)

MODEL = "signalbox"
#: Where a client says which conversation this is; Open WebUI sends the second when it forwards its headers.
HEADERS = ("x-conversation-id", "x-openwebui-chat-id")
NAMES = ("conversation", "conversation_id", "thread_id", "chat_id")
#: In so many of the customer's newest threads the client's history is looked for.
LOOKED_AT = 10
CHUNK_WORDS = 4


def failed(status: int, message: str, headers: Mapping[str, str] | None = None) -> JSONResponse:
    """An error as OpenAI's clients read it."""
    kinds = {
        401: ("authentication_error", "invalid_api_key"),
        403: ("permission_error", None),
        404: ("invalid_request_error", "not_found"),
        409: ("invalid_request_error", "conflict"),
        429: ("rate_limit_error", "rate_limit_exceeded"),
    }
    stock = ("server_error", None) if status >= 500 else ("invalid_request_error", None)
    kind, code = kinds.get(status, stock)
    error = {"message": message, "type": kind, "param": None, "code": code}
    return JSONResponse({"error": error}, status, headers=dict(headers or {}))


class InTheirShape(APIRoute):
    """A route whose errors are OpenAI's."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        inner = super().get_route_handler()

        async def handled(request: Request) -> Response:
            try:
                return await inner(request)
            except Problem as error:
                return failed(error.status, error.detail, error.headers)
            except RequestValidationError as error:
                first = error.errors()[0]
                where = ".".join(str(part) for part in first["loc"] if part != "body") or "body"
                return failed(400, f"{where}: {str(first['msg']).removeprefix('Value error, ')}")
            except ThreadNotFound as error:
                return failed(404, str(error.__doc__))
            except (KeyConflict, KeyInFlight) as error:
                return failed(409, str(error.__doc__), {"Retry-After": "2"})
            except PortError:
                return failed(503, "A part this needs cannot be reached right now.")

        return handled


router = APIRouter(prefix="/v1", tags=["openai"], route_class=InTheirShape)


class Said(BaseModel):
    """One message of the client's history."""

    model_config = ConfigDict(extra="ignore")
    role: Literal["system", "developer", "user", "assistant", "tool", "function"]
    content: str | list[dict[str, JsonValue]] | None = None

    @property
    def text(self) -> str:
        if not isinstance(self.content, list):
            return storable(self.content or "")
        parts = [each.get("text") for each in self.content if each.get("type") == "text"]
        return storable("\n".join(part for part in parts if isinstance(part, str)))

    @property
    def attachments(self) -> bool:
        return isinstance(self.content, list) and any(
            each.get("type") != "text" for each in self.content
        )


class StreamOptions(BaseModel):
    model_config = ConfigDict(extra="ignore")
    include_usage: bool = False


class CompletionRequest(BaseModel):
    """What of OpenAI's request means something here; sampling options are left alone."""

    model_config = ConfigDict(extra="ignore")
    model: str = MODEL
    messages: list[Said] = Field(min_length=1)
    stream: bool = False
    stream_options: StreamOptions | None = None
    n: int | None = Field(default=None, le=1)
    user: Annotated[str, Field(max_length=200)] | None = None
    metadata: dict[str, JsonValue] | None = None

    @field_validator("messages")
    @classmethod
    def _ends_with_the_customer(cls, messages: list[Said]) -> list[Said]:
        if messages[-1].role != "user":
            raise ValueError("the last message has to be the user's")
        return messages


@router.get("/models")
async def models(customer: CustomerDep) -> dict[str, Any]:
    """The one model there is: the agent."""
    return {"object": "list", "data": [_model()]}


@router.get("/models/{name}")
async def model(name: str, customer: CustomerDep) -> dict[str, Any]:
    _must_be_ours(name)
    return _model()


def _model() -> dict[str, Any]:
    return {"id": MODEL, "object": "model", "created": 1767225600, "owned_by": "signalbox"}


def _must_be_ours(name: str) -> None:
    if name != MODEL:
        raise Problem(404, f"The model {name!r} does not exist; there is {MODEL!r}.")


@router.post("/chat/completions", response_model=None, responses=STREAMED)
async def complete(
    request: Request,
    body: CompletionRequest,
    customer: CustomerDep,
    room: TurnRoomDep,
    turns: Annotated[Turns, Depends(turns_of)],
    idempotency_key: Annotated[
        str | None, Header(min_length=1, max_length=200, pattern=r"^[\x21-\x7e]+$")
    ] = None,
) -> JSONResponse | StreamingResponse:
    """Play the newest message as one turn; confirmations and approvals are asked for and told in words."""
    _must_be_ours(body.model)
    said = body.messages[-1]
    if _housekeeping(body):
        nothing = Completion(f"chatcmpl-{time.time_ns():x}", [], None, None, LlmCalls())
        return JSONResponse(await nothing.whole(), headers={"Cache-Control": "no-store"})
    await counted_turn(request, customer, None)
    thread = await _thread(request, body, customer, room)
    await spend(request, "thread", thread)
    heading = [*await _news(room, customer, thread)]
    if said.attachments:
        heading.append(render("attachments_refused"))
    with counting_calls() as calls:
        running = (
            None
            if said.attachments and not said.text.strip()
            else turns.start(customer, thread, said.text, key=idempotency_key)
        )
    first = await running.first() if running is not None else None
    played = Completion(f"chatcmpl-{thread}-{time.time_ns():x}", heading, running, first, calls)
    headers = {"X-Conversation-Id": thread, "Cache-Control": "no-store"}
    if body.stream:
        usage = body.stream_options is not None and body.stream_options.include_usage
        return StreamingResponse(
            played.stream(usage=usage), media_type="text/event-stream", headers=headers
        )
    return JSONResponse(await played.whole(), headers=headers)


def _housekeeping(body: CompletionRequest) -> bool:
    """Whether the client asks for itself: Open WebUI has a title, tags and likely next messages made by the same
    model, from the whole chat. No customer said that, so it is no turn, and the answer is empty."""
    text = body.messages[0].text
    alone = len(body.messages) == 1 and not body.stream
    return alone and text.lstrip().startswith("### Task:") and "<chat_history>" in text


# --- which conversation ----------------------------------------------------------------------------


async def _thread(
    request: Request, body: CompletionRequest, customer: Customer, room: TurnRoom
) -> str:
    """The conversation that header, metadata, history or user name; else a new one."""
    named = [request.headers.get(name) for name in HEADERS]
    named += [value for name in NAMES if isinstance(value := (body.metadata or {}).get(name), str)]
    own = {each.id for each in await room.threads(customer)}
    for conversation in filter(None, named):
        if conversation in own:
            return conversation
        return await room.open_thread(customer, key=f"openai:{storable(conversation)[:200]}")
    earlier = body.messages[:-1]
    if any(each.role == "assistant" for each in earlier):
        found = await _said_before(earlier, customer, room)
        if found is not None:
            return found
    if body.user:
        return await room.open_thread(customer, key=f"openai-user:{storable(body.user)}")
    return await room.open_thread(customer)


async def _said_before(earlier: Sequence[Said], customer: Customer, room: TurnRoom) -> str | None:
    """The thread in which we said what the client says we said last."""
    last = next(each.text for each in reversed(earlier) if each.role == "assistant").strip()
    for each in (await room.threads(customer))[:LOOKED_AT]:
        ours = [m for m in await room.history(customer, each.id) if m.role != "customer"]
        if ours and (text := ours[-1].text.strip()) and text in last:
            return each.id
    return None


async def _news(room: TurnRoom, customer: Customer, thread: str) -> list[str]:
    """What came into the thread since the last reply: outcomes, and what a colleague wrote."""
    history = await room.history(customer, thread)
    asked = [place for place, message in enumerate(history) if message.role == "customer"]
    since: Sequence[Message] = history[asked[-1] + 1 :] if asked else history
    # The first is the reply itself, which the client has.
    return [message.text for message in since[1:] if message.text]


# --- one answer ------------------------------------------------------------------------------------


@dataclass
class Completion:
    """One turn on its way into OpenAI's form."""

    id: str
    heading: Sequence[str]  #: What is said before the reply.
    running: RunningTurn | None  #: None: there was nothing to play.
    first: Event | None
    calls: LlmCalls

    async def whole(self) -> dict[str, Any]:
        events = [] if self.first is None else [self.first]
        if self.running is not None:
            events += [event async for event in self.running.rest()]
        if events and events[-1].event == "error":
            raise Problem(503, _words(events[-1]), headers={"Retry-After": "5"})
        message = {"role": "assistant", "content": self._text(events)}
        choice = {"index": 0, "message": message, "logprobs": None, "finish_reason": "stop"}
        return {**self._about("chat.completion"), "choices": [choice], "usage": self._usage()}

    async def stream(self, *, usage: bool) -> AsyncIterator[bytes]:
        """The checked reply in pieces: a draft that did not pass cannot be taken back from this form."""
        yield self._chunk({"role": "assistant", "content": ""})
        events = [] if self.first is None else [self.first]
        while self.running is not None:
            try:
                event = await self.running.next(KEEPALIVE_SECONDS)
            except TimeoutError:
                yield b": still working\n\n"
                continue
            except Exception:
                # The status line is long gone, so the stream itself has to say it.
                log.exception("a turn failed while a client waited for it")
                said = {"message": "Something went wrong on our side.", "type": "server_error"}
                yield _data({"error": said})
                return
            if event is None:
                break
            events.append(event)
        if events and events[-1].event == "error":
            error = {"message": _words(events[-1]), "type": "server_error", "code": None}
            yield _data({"error": error})
            return
        words = self._text(events).split(" ")
        for start in range(0, len(words), CHUNK_WORDS):
            piece = " ".join(words[start : start + CHUNK_WORDS])
            yield self._chunk({"content": piece if not start else f" {piece}"})
            await asyncio.sleep(0)
        yield self._chunk({}, finish="stop")
        if usage:
            about = self._about("chat.completion.chunk")
            yield _data({**about, "choices": [], "usage": self._usage()})
        yield b"data: [DONE]\n\n"

    def _text(self, events: Sequence[Event]) -> str:
        said = [*self.heading]
        if events:
            last = events[-1]
            silent = last.data.get("silent") is True
            said.append(render("with_a_colleague") if silent else _words(last))
            if sources := _sources(last.data.get("citations")):
                said.append(sources)
        return "\n\n".join(part for part in said if part)

    def _about(self, kind: str) -> dict[str, Any]:
        return {"id": self.id, "object": kind, "created": int(time.time()), "model": MODEL}

    def _chunk(self, delta: dict[str, str], finish: str | None = None) -> bytes:
        choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish}
        return _data({**self._about("chat.completion.chunk"), "choices": [choice]})

    def _usage(self) -> dict[str, Any]:
        """Tokens of the large model; a turn that small models settled has none."""
        used = self.calls.usage
        return {
            "prompt_tokens": used.read,
            "completion_tokens": used.written,
            "total_tokens": used.read + used.written,
            "prompt_tokens_details": {"cached_tokens": used.cached},
        }


def _words(event: Event) -> str:
    text = event.data.get("text")
    return text if isinstance(text, str) else ""


def _sources(citations: JsonValue) -> str:
    listed = citations if isinstance(citations, list) else []
    lines = [
        f"[{each.get('n')}] {each.get('title')} ({each.get('source')})"
        for each in listed
        if isinstance(each, dict)
    ]
    return "\n".join(lines)


def _data(chunk: dict[str, Any]) -> bytes:
    return b"data: " + json.dumps(chunk, ensure_ascii=False).encode() + b"\n\n"
