"""A small HTTP server that speaks OpenAI's chat completions, including errors; behaviour by model name."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Generator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

_ERRORS = {"broken": 500, "locked": 401, "unknown": 404, "strict": 400, "busy": 429, "tired": 503}
#: What an error says: nothing that a customer may read.
SECRET = "sk-leak-TESTKEY of organization org-SECRET at /srv/llm/secret.py"
#: Bodies that come with status 200 and are no answer, and of which kind they say they are.
GARBAGE: dict[str, tuple[str, bytes]] = {
    "html": ("text/html", b"<html><body>Sign in to the gateway</body></html>"),
    "html named json": ("application/json", b"<html>"),
    "bad utf-8": ("text/event-stream", b'data: {"id": "\xff\xfe\x80"}\n\n'),
    "not json": ("text/event-stream", b"data: {what\n\n"),
    "no choices": (
        "text/event-stream",
        b'data: {"id": "c", "object": "chat.completion.chunk"}\n\n',
    ),
    "null choices": ("text/event-stream", b'data: {"id": "c", "choices": null}\n\n'),
    "empty choices": ("text/event-stream", b'data: {"id": "c", "choices": []}\n\n'),
    "a number": ("text/event-stream", b"data: 42\n\n"),
    "a list": ("text/event-stream", b"data: [1]\n\n"),
    "text for delta": ("text/event-stream", b'data: {"choices": [{"index": 0, "delta": "x"}]}\n\n'),
    "nothing": ("text/event-stream", b""),
    "only done": ("text/event-stream", b"data: [DONE]\n\n"),
    "deep": ("text/event-stream", b"data: " + b"[" * 100_000 + b"\n\n"),
    "an error": ("text/event-stream", b'data: {"error": {"message": "sk-leak-TESTKEY"}}\n\n'),
}


class FakeOpenAI:
    """What it was asked, and the pieces it answers with."""

    def __init__(self, base_url: str) -> None:
        self.base_url = base_url
        self.requests: list[dict[str, Any]] = []
        #: What the silent models wait for; set when the server stops.
        self.goes_on = threading.Event()
        self.pieces = ["Hello", " there."]
        self.sent = 0  #: Pieces of an endless reply.
        #: Says the whole answer to a request, in place of the pieces.
        self.script: Callable[[dict[str, Any]], str] | None = None

    def said_to(self, asked: dict[str, Any]) -> list[str]:
        """What a request is answered with, piece by piece."""
        return self.pieces if self.script is None else [self.script(asked)]


class _Handler(BaseHTTPRequestHandler):
    fake: FakeOpenAI

    def log_message(self, format: str, *args: Any) -> None:
        """Stay quiet."""

    def do_POST(self) -> None:
        asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.fake.requests.append(asked)
        model = asked["model"]
        if model in _ERRORS:
            body = json.dumps({"error": {"message": SECRET, "type": "x"}}).encode()
            self.send_response(_ERRORS[model])
            if model in ("busy", "tired"):
                self.send_header("Retry-After", "20")
            self.send_header("Content-Type", "application/json")
            self.end_headers()
            self.wfile.write(body)
            return
        if model in GARBAGE:
            kind, body = GARBAGE[model]
            self.send_response(200)
            self.send_header("Content-Type", kind)
            self.end_headers()
            self.wfile.write(body)
            return
        if model == "slow":
            self.fake.goes_on.wait()
        finish = {"truncated": "length", "filtered": "content_filter"}.get(model, "stop")
        self.send_response(200)
        stream = asked.get("stream")
        kind = "text/event-stream" if stream else "application/json"
        self.send_header("Content-Type", kind)
        self.end_headers()
        about: dict[str, Any] = {"id": "c1", "created": 1, "model": model}
        if not stream:
            message = {"role": "assistant", "content": "".join(self.fake.said_to(asked))}
            choice = {"index": 0, "message": message, "finish_reason": finish}
            usage = {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2}
            answer = {**about, "object": "chat.completion", "choices": [choice], "usage": usage}
            self.wfile.write(json.dumps(answer).encode())
            return
        about["object"] = "chat.completion.chunk"
        deltas: list[tuple[dict[str, Any], str | None]] = [
            ({"content": piece}, None) for piece in self.fake.said_to(asked)
        ]
        for delta, reason in [*deltas, ({}, finish)]:
            chunk = {**about, "choices": [{"index": 0, "delta": delta, "finish_reason": reason}]}
            self.wfile.write(b"data: " + json.dumps(chunk).encode() + b"\n\n")
            self.wfile.flush()
            if model == "dying":
                return
            if model == "stalling":
                self.fake.goes_on.wait()
            while model == "endless":
                try:
                    self.wfile.write(b"data: " + json.dumps(chunk).encode() + b"\n\n")
                    self.fake.sent += 1
                except OSError:
                    return
        if (asked.get("stream_options") or {}).get("include_usage"):
            cached = {"cached_tokens": 4}
            used = {"prompt_tokens": 12, "completion_tokens": 3, "total_tokens": 15}
            chunk = {**about, "choices": [], "usage": {**used, "prompt_tokens_details": cached}}
            self.wfile.write(b"data: " + json.dumps(chunk).encode() + b"\n\n")
        self.wfile.write(b"data: [DONE]\n\n")


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that leaves is no news: the tests see what it left with."""


@contextmanager
def fake_openai() -> Generator[FakeOpenAI]:
    """Run the server on a free loopback port."""
    handler = type("Handler", (_Handler,), {})
    server = _Server(("127.0.0.1", 0), handler)
    fake = FakeOpenAI(f"http://127.0.0.1:{server.server_port}/v1")
    handler.fake = fake
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    try:
        yield fake
    finally:
        fake.goes_on.set()
        server.shutdown()
        thread.join()
        server.server_close()
