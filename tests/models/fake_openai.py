"""A small HTTP server that speaks OpenAI's chat completions, including errors; behaviour by model name."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Generator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

_ERRORS = {"broken": 500, "locked": 401, "unknown": 404, "strict": 400}


class FakeOpenAI:
    """What it was asked, and the pieces it answers with."""

    def __init__(self, base_url: str) -> None:
        self.base_url = base_url
        self.requests: list[dict[str, Any]] = []
        self.pieces = ["Hello", " there."]


class _Handler(BaseHTTPRequestHandler):
    fake: FakeOpenAI

    def log_message(self, format: str, *args: Any) -> None:
        """Stay quiet."""

    def do_POST(self) -> None:
        asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.fake.requests.append(asked)
        model = asked["model"]
        if model in _ERRORS:
            body = json.dumps({"error": {"message": f"{model} it is", "type": "x"}}).encode()
            self.send_response(_ERRORS[model])
            self.send_header("Content-Type", "application/json")
            self.end_headers()
            self.wfile.write(body)
            return
        if model == "slow":
            time.sleep(3)
        finish = "length" if model == "truncated" else "stop"
        self.send_response(200)
        stream = asked.get("stream")
        kind = "text/event-stream" if stream else "application/json"
        self.send_header("Content-Type", kind)
        self.end_headers()
        about: dict[str, Any] = {"id": "c1", "created": 1, "model": model}
        if not stream:
            message = {"role": "assistant", "content": "".join(self.fake.pieces)}
            choice = {"index": 0, "message": message, "finish_reason": finish}
            usage = {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2}
            answer = {**about, "object": "chat.completion", "choices": [choice], "usage": usage}
            self.wfile.write(json.dumps(answer).encode())
            return
        about["object"] = "chat.completion.chunk"
        deltas: list[tuple[dict[str, Any], str | None]] = [
            ({"content": piece}, None) for piece in self.fake.pieces
        ]
        for delta, reason in [*deltas, ({}, finish)]:
            chunk = {**about, "choices": [{"index": 0, "delta": delta, "finish_reason": reason}]}
            self.wfile.write(b"data: " + json.dumps(chunk).encode() + b"\n\n")
            self.wfile.flush()
            if model == "dying":
                return
        if (asked.get("stream_options") or {}).get("include_usage"):
            cached = {"cached_tokens": 4}
            used = {"prompt_tokens": 12, "completion_tokens": 3, "total_tokens": 15}
            chunk = {**about, "choices": [], "usage": {**used, "prompt_tokens_details": cached}}
            self.wfile.write(b"data: " + json.dumps(chunk).encode() + b"\n\n")
        self.wfile.write(b"data: [DONE]\n\n")


@contextmanager
def fake_openai() -> Generator[FakeOpenAI]:
    """Run the server on a free loopback port."""
    handler = type("Handler", (_Handler,), {})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.daemon_threads = True
    fake = FakeOpenAI(f"http://127.0.0.1:{server.server_port}/v1")
    handler.fake = fake
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    try:
        yield fake
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
