"""`signalbox chat`: a conversation in the terminal, with an agent here or behind a URL."""

from __future__ import annotations

import getpass
import json
import re
import uuid
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any, Protocol

import httpx
from anyio.from_thread import start_blocking_portal
from rich.console import Console
from rich.text import Text

from app.config import Settings, load_keys
from app.desk import AlreadyVoted, ApprovalDecided, ApprovalNotFound, Desk, Event, Message
from graphs.state import Answer
from tools.values import Customer

Progress = Callable[[str, int, int], None]


class Refused(Exception):
    """The agent did not take what was asked."""


class Line(Protocol):
    """A customer's line to the agent, on one thread."""

    @property
    def name(self) -> str: ...
    def turn(self, text: str) -> AsyncIterator[Event]: ...
    async def history(self) -> list[Message]: ...
    async def decide(self, approval: str, decision: str) -> str:
        """Answer an approval as an operator; its new state."""
        ...


class LocalLine:
    """To the agent in this process."""

    def __init__(self, desk: Desk, customer: Customer, thread: str) -> None:
        self._desk, self._customer, self._thread = desk, customer, thread
        self.name = customer.name

    def turn(self, text: str) -> AsyncIterator[Event]:
        return self._desk.turns.play(self._customer, self._thread, text, key=uuid.uuid4().hex)

    async def history(self) -> list[Message]:
        return await self._desk.turns.history(self._customer, self._thread)

    async def decide(self, approval: str, decision: str) -> str:
        # Whoever runs the agent on their own books may do there what an admin may.
        answer = Answer.model_validate(
            {"decision": decision, "reviewer": getpass.getuser(), "role": "admin"}
        )
        try:
            return (await self._desk.approvals.decide(approval, answer)).status
        except (ApprovalNotFound, ApprovalDecided, AlreadyVoted) as error:
            raise Refused(type(error).__doc__) from error


class RemoteLine:
    """To a server, over its own HTTP interface."""

    def __init__(self, client: httpx.AsyncClient, thread: str, name: str, key: str) -> None:
        self._client, self._thread, self._key = client, thread, key
        self.name = name

    async def turn(self, text: str) -> AsyncIterator[Event]:
        headers = {"Accept": "text/event-stream", "Idempotency-Key": uuid.uuid4().hex}
        body = {"text": text, "thread": self._thread}
        async with self._client.stream("POST", "/v1/chat", json=body, headers=headers) as response:
            if response.is_error:
                await response.aread()
                raise Refused(_detail(response))
            name = ""
            async for line in response.aiter_lines():
                if line.startswith("event: "):
                    name = line.removeprefix("event: ")
                elif line.startswith("data: "):
                    data = json.loads(line.removeprefix("data: "))
                    yield Event.model_validate({"event": name, "data": data})

    async def history(self) -> list[Message]:
        thread = await _asked(self._client.get(f"/v1/threads/{self._thread}"))
        return [Message.model_validate(each) for each in thread["messages"]]

    async def decide(self, approval: str, decision: str) -> str:
        decided = await _asked(
            self._client.post(
                f"/v1/approvals/{approval}",
                json={"decision": decision},
                headers={"X-API-Key": self._key},
            )
        )
        return str(decided["status"])


def _formatted(words: str) -> Text:
    """The agent's text with its bold words; nothing in it is a style of ours."""
    text = Text()
    for number, piece in enumerate(re.split(r"\*\*([^*\n]+)\*\*", words)):
        text.append(piece, "bold" if number % 2 else "")
    return text


def _detail(response: httpx.Response) -> str:
    try:
        return str(response.json()["detail"])
    except (ValueError, KeyError, TypeError):
        return f"The server answered {response.status_code}."


async def _asked(request: Any) -> Any:
    response: httpx.Response = await request
    if response.is_error:
        raise Refused(_detail(response))
    return response.json()


@asynccontextmanager
async def _local(settings: Settings, customer_id: str, progress: Progress) -> AsyncGenerator[Line]:
    from app.wiring import wiring

    progress("Loading the models", 0, 0)
    async with wiring(settings, progress) as desk:
        progress("Loading the models", 1, 1)
        customer = await desk.sign_in.customer(customer_id)
        assert customer is not None
        yield LocalLine(desk, customer, await desk.turns.open_thread(customer))


@asynccontextmanager
async def _remote(url: str, customer_id: str, key: str) -> AsyncGenerator[Line]:
    timeout = httpx.Timeout(10, read=180)
    async with httpx.AsyncClient(base_url=url, timeout=timeout) as client:
        session = await _asked(client.post("/v1/login", json={"customer": customer_id}))
        client.cookies.clear()
        client.headers["Authorization"] = f"Bearer {session['token']}"
        thread = (await _asked(client.post("/v1/threads")))["id"]
        yield RemoteLine(client, thread, session["customer"]["name"], key)


def talk(
    settings: Settings,
    console: Console,
    customer: str,
    *,
    url: str | None,
    key: str | None,
    progress: Progress,
) -> str | None:
    """Read and answer until the end of input; returns why it could not, if so."""
    if url:
        operator = key or next(iter(load_keys(settings).operators.values()))
        opened = _remote(url, customer, operator)
    else:
        opened = _local(settings, customer, progress)
    # The loop runs in another thread, so that Ctrl+C and Ctrl+D work while this one reads a line.
    with start_blocking_portal() as portal:
        try:
            with portal.wrap_async_context_manager(opened) as line:
                conversation = Conversation(line, console)
                console.print(
                    f"You are [bold]{line.name}[/]. /approve ID, /reject ID (as an operator), /quit"
                )
                while (text := _read(console)) is not None:
                    portal.call(conversation.say, text)
        except Refused as error:
            return str(error)
        except httpx.UnsupportedProtocol:
            return f"{url} is no address; write it as http://127.0.0.1:8080."
        except httpx.HTTPError:
            return f"{url} cannot be reached. Is `signalbox serve` running there?"
    return None


def _read(console: Console) -> str | None:
    try:
        text = console.input("\n[bold cyan]you[/] ")
    except (EOFError, KeyboardInterrupt):
        console.print()
        return None
    return None if text.strip() in {"/quit", "/exit"} else text


class Conversation:
    """What is printed, and what has been printed already."""

    def __init__(self, line: Line, console: Console) -> None:
        self._line = line
        self._console = console
        self._pending: list[str] = []
        self._shown: set[str] = set()

    async def say(self, text: str) -> None:
        """One line of input: a command, or a message and its turn."""
        try:
            if text.startswith(("/approve", "/reject")):
                await self._decide(*text.split(maxsplit=1))
            elif text.startswith("/"):
                self._print("There are /approve ID, /reject ID and /quit.", "dim")
                return
            else:
                await self._news()
                await self._turn(text)
        except Refused as error:
            self._print(str(error), "red")
        except httpx.HTTPError as error:
            self._print(f"The server did not answer ({type(error).__name__}).", "red")

    async def _decide(self, command: str, approval: str = "") -> None:
        if not approval and len(self._pending) != 1:
            waiting = ", ".join(self._pending) or "none"
            self._print(f"Which one? Waiting in this conversation: {waiting}.", "yellow")
            return
        approval = approval.strip() or self._pending[0]
        state = await self._line.decide(approval, command.removeprefix("/"))
        if approval in self._pending:
            self._pending.remove(approval)
        self._print(f"{approval}: {state}", "yellow")
        await self._news()

    async def _news(self) -> None:
        """What entered the thread between two turns: outcomes, and what a colleague wrote."""
        for message in await self._line.history():
            if message.id not in self._shown and message.role != "customer":
                self._console.print(Text(message.role, "bold magenta"), _formatted(message.text))
            self._shown.add(message.id)

    async def _turn(self, text: str) -> None:
        streamed = ""
        async for event in self._line.turn(text):
            data = event.data
            match event.event:
                case "route":
                    parts = [data.get(name) for name in ("lane", "intent", "tier", "probability")]
                    self._print(" · ".join(str(part) for part in parts if part is not None), "dim")
                case "ack":
                    self._print(str(data.get("text", "")), "dim")
                case "tool":
                    parts = [data.get(name) for name in ("title", "record", "status")]
                    self._print("→ " + " · ".join(str(part) for part in parts if part), "dim")
                case "token":
                    piece = str(data.get("text", ""))
                    streamed += piece
                    self._console.print(Text(piece), end="", soft_wrap=True)
                case "approval_required":
                    self._ask(data)
                case "handoff":
                    self._print("handed over to a person", "yellow")
                case "error":
                    self._print(str(data.get("text", "The turn failed.")), "red")
                case "final":
                    self._end(data, streamed)
        for message in await self._line.history():
            self._shown.add(message.id)

    def _ask(self, data: dict[str, Any]) -> None:
        self._pending.append(str(data["id"]))
        self._print(f"waiting for approval {data['id']}: {data.get('record', '')}", "yellow")
        for effect in data.get("effects", ()):
            self._print(f"  - {effect}", "yellow")

    def _end(self, data: dict[str, Any], streamed: str) -> None:
        text = str(data.get("text", ""))
        if streamed:
            self._console.print()
        # The check may have had a better draft made than the one that was streamed.
        if text.strip() != streamed.strip():
            self._console.print(_formatted(text))
        for each in data.get("citations", ()):
            self._print(f"[{each['n']}] {each['title']} ({each['source']})", "dim")
        calls = data.get("llm_calls", 0)
        self._print(f"{calls} LLM call{'' if calls == 1 else 's'}", "dim")

    def _print(self, text: str, style: str) -> None:
        self._console.print(Text(text, style))
