"""What a large model was asked and what it replied, and a server that says it again.

An exchange is found by a digest of the role and of what the request is about; the rules it was written under have a
digest of their own. So a reply is never played to a prompt it was not written for: whoever asks is told to record again."""

from __future__ import annotations

import hashlib
import json
import threading
import time
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Literal, cast

from pydantic import BaseModel, ConfigDict

import prompts

#: Roles that write; those that fill in a form name themselves in its schema.
_WRITERS = ("synthesizer", "escalation")
Kind = Literal["figure", "exclusion", "other customer", "link", "promise", "invented"]


class Wrong(BaseModel):
    """A reply that must not reach the customer, and the words of it that would have to be read."""

    model_config = ConfigDict(extra="forbid")
    kind: Kind
    reply: str
    says: str


class Exchange(BaseModel):
    """One request and its reply; ``wrong`` are replies to it that are wrong on purpose."""

    model_config = ConfigDict(extra="forbid")
    key: str
    prompt: str
    role: str
    scenario: str
    request: str  #: Without the rules, which the prompt's file has.
    options: list[str] = []  #: What a form let choose from.
    reply: str = ""
    wrong: list[Wrong] = []


@dataclass(frozen=True)
class Request:
    """What a server was asked, as far as it decides the reply."""

    role: str
    system: str
    user: str
    options: tuple[str, ...]

    @property
    def key(self) -> str:
        return _digest(self.role, self.user, *self.options)

    @property
    def again(self) -> bool:
        """Whether an earlier reply to it was refused."""
        return "<refused>" in self.user and "<refused>\nnothing\n" not in self.user

    @property
    def prompt(self) -> str:
        return _digest(self.role, self.system)


def request_of(body: Mapping[str, Any]) -> Request:
    """The request of a chat completion's body."""
    said = {str(m["role"]): str(m["content"]) for m in body["messages"]}
    system, user = said.get("system", ""), said.get("user", "")
    asked: dict[str, Any] = body.get("response_format") or {}
    form = asked.get("json_schema")
    if form is None:
        return Request(_writer_of(system), system, user, ())
    return Request(str(form["name"]), system, user, tuple(_enums(form["schema"])))


def _writer_of(system: str) -> str:
    for name in _WRITERS:
        if system.startswith(prompts.load(name).text.strip().partition("$")[0]):
            return name
    return "unknown"


def _enums(schema: Any) -> Generator[str]:
    if isinstance(schema, dict):
        for name, value in cast("dict[str, Any]", schema).items():
            if name == "enum":
                yield from map(str, value)
            else:
                yield from _enums(value)
    elif isinstance(schema, list):
        for each in cast("list[Any]", schema):
            yield from _enums(each)


def _digest(*parts: str) -> str:
    same = json.dumps([" ".join(part.split()) for part in parts])
    return hashlib.sha256(same.encode()).hexdigest()[:16]


def read(file: Path) -> list[Exchange]:
    """The exchanges of a file, which may not be there."""
    if not file.exists():
        return []
    lines = file.read_text("utf-8").splitlines()
    return [Exchange.model_validate_json(line) for line in lines if line.strip()]


def write(file: Path, exchanges: list[Exchange]) -> None:
    """Keep them in their order of scenarios, a line each."""
    lines = [each.model_dump_json(exclude_defaults=True) for each in exchanges]
    file.write_text("".join(f"{line}\n" for line in lines), "utf-8")


@dataclass
class Asked:
    """A request of a turn, and what was said to it."""

    request: Request
    exchange: Exchange | None
    reply: str


@dataclass
class RecordedModel:
    """Replies from a recording; what is not in it is kept for whoever records."""

    exchanges: list[Exchange]
    scenario: str = ""
    asked: list[Asked] = field(default_factory=list[Asked])
    unanswered: dict[str, Exchange] = field(default_factory=dict[str, Exchange])
    stale: set[str] = field(default_factory=set[str])
    #: Says another reply to a request, for as long as it is set.
    instead: Callable[[Request], str | None] = lambda request: None
    url: str = ""

    def reply(self, request: Request) -> str | None:
        """What is said; None: nobody has written it."""
        if (said := self.instead(request)) is not None:
            self.asked.append(Asked(request, None, said))
            return said
        found = self._found(request)
        if found is None and request.again:
            # What was refused is said again: nobody has written another reply.
            found = next((e.exchange for e in self.asked if e.request.role == request.role), None)
        elif found is None:
            self._unanswered(request)
        self.asked.append(Asked(request, found, found.reply if found is not None else ""))
        return found.reply if found is not None else None

    def _found(self, request: Request) -> Exchange | None:
        for each in self.exchanges:
            if each.key == request.key and each.prompt == request.prompt and each.reply:
                return each
        return None

    def _unanswered(self, request: Request) -> None:
        another = [
            e for e in self.exchanges if e.scenario == self.scenario and e.role == request.role
        ]
        if another and self.first_of(request.role):
            self.stale.add(
                f"{self.scenario}: its {request.role} was recorded for another prompt: record again"
            )
        self.unanswered.setdefault(
            request.key,
            Exchange(
                key=request.key,
                prompt=request.prompt,
                role=request.role,
                scenario=self.scenario,
                request=request.user,
                options=list(request.options),
            ),
        )

    def first_of(self, role: str) -> bool:
        """Whether this role was not asked yet since the turn began."""
        return all(each.request.role != role for each in self.asked)


@contextmanager
def serving(model: RecordedModel) -> Generator[RecordedModel]:
    """The model behind an address of its own that speaks OpenAI's chat completions."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, format: str, *args: Any) -> None:
            """Stay quiet."""

        def do_GET(self) -> None:
            self._json(200, {"object": "list", "data": [{"id": "recorded", "object": "model"}]})

        def do_POST(self) -> None:
            length = int(self.headers.get("content-length", 0))
            body = json.loads(self.rfile.read(length))
            text = model.reply(request_of(body))
            if text is None:
                # Refused, not broken: nothing of it may open a circuit.
                self._json(400, {"error": {"message": "nobody has written a reply to this"}})
                return
            self._stream(body, text)

        def _json(self, status: int, body: object) -> None:
            data = json.dumps(body).encode()
            self.send_response(status)
            self.send_header("content-type", "application/json")
            self.send_header("content-length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def _stream(self, body: Mapping[str, Any], text: str) -> None:
            self.send_response(200)
            self.send_header("content-type", "text/event-stream")
            self.send_header("connection", "close")
            self.end_headers()
            head: dict[str, Any] = {
                "id": "recorded",
                "created": int(time.time()),
                "model": body["model"],
            }
            head["object"] = "chat.completion.chunk"
            pieces = [text[at : at + 24] for at in range(0, len(text), 24)]
            for piece in pieces:
                delta = {"role": "assistant", "content": piece}
                self._event(head | {"choices": [{"index": 0, "delta": delta}]})
            end: dict[str, Any] = {"index": 0, "delta": {}, "finish_reason": "stop"}
            self._event(head | {"choices": [end]})
            said = "".join(str(m["content"]) for m in body["messages"])
            used = {"prompt_tokens": tokens_of(said), "completion_tokens": tokens_of(text)}
            last: dict[str, Any] = {"choices": [], "usage": used}
            used["total_tokens"] = sum(used.values())
            self._event(head | last)
            self.wfile.write(b"data: [DONE]\n\n")
            self.close_connection = True

        def _event(self, data: object) -> None:
            self.wfile.write(b"data: " + json.dumps(data).encode() + b"\n\n")
            self.wfile.flush()

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    model.url = f"http://127.0.0.1:{server.server_address[1]}/v1"
    try:
        yield model
    finally:
        server.shutdown()
        server.server_close()


def tokens_of(text: str) -> int:
    """About how many tokens a text is: four for three words."""
    return len(text.split()) * 4 // 3
