"""A small HTTP server that speaks Ollama's documented API, including its errors; behaviour by model name."""

from __future__ import annotations

import hashlib
import json
import math
import threading
import time
from collections.abc import Generator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


class FakeOllama:
    """What it was asked, what it was given, and what it says next."""

    def __init__(self, host: str) -> None:
        self.host = host
        self.requests: list[tuple[str, dict[str, Any]]] = []
        self.blobs: dict[str, int] = {}
        self.tokens: list[dict[str, float]] = [{"order": 0.75, "account": 0.25}]
        self.text: str | None = None

    @property
    def last(self) -> dict[str, Any]:
        return self.requests[-1][1]

    def logprobs(self) -> list[dict[str, Any]]:
        result: list[dict[str, Any]] = []
        for considered in self.tokens:
            alternatives = [
                {"token": token, "logprob": math.log(share), "bytes": list(token.encode())}
                for token, share in sorted(considered.items(), key=lambda item: -item[1])
            ]
            result.append({**alternatives[0], "top_logprobs": alternatives})
        return result

    def written(self) -> str:
        return (
            self.text
            if self.text is not None
            else "".join(max(t, key=t.__getitem__) for t in self.tokens)
        )


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    fake: FakeOllama

    def log_message(self, format: str, *args: Any) -> None:
        """Stay quiet."""

    def _body(self) -> bytes:
        if self.headers.get("Transfer-Encoding") != "chunked":
            return self.rfile.read(int(self.headers.get("Content-Length", 0)))
        parts: list[bytes] = []
        while size := int(self.rfile.readline(), 16):
            parts.append(self.rfile.read(size))
            self.rfile.readline()
        self.rfile.readline()
        return b"".join(parts)

    def _send(self, status: int, body: bytes, kind: str = "application/json") -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        # Whoever asked may be gone by now, as a test that ends is.
        with suppress(ConnectionError):
            self.end_headers()
            self.wfile.write(body)

    def do_POST(self) -> None:
        body = self._body()
        if self.path.startswith("/api/blobs/"):
            digest = "sha256:" + hashlib.sha256(body).hexdigest()
            if digest != self.path.removeprefix("/api/blobs/"):
                return self._send(400, b'{"error":"digest mismatch"}')
            self.fake.blobs[digest] = len(body)
            return self._send(201, b"")
        asked = json.loads(body)
        self.fake.requests.append((self.path, asked))
        if self.path == "/api/create":
            return self._create(asked)
        model = asked["model"]
        if model == "missing":
            return self._send(404, b'{"error":"model \'missing\' not found"}')
        if model == "broken":
            return self._send(500, b'{"error":"llama runner process has terminated"}')
        if model == "strict":
            return self._send(400, b'{"error":"invalid JSON schema in format"}')
        if model == "foreign":
            return self._send(200, b"<html>It works!</html>", "text/html")
        if model == "slow":
            time.sleep(4)
        answer: dict[str, Any] = {
            "model": model,
            "created_at": "2026-11-22T10:00:00.000000Z",
            "done": True,
            "done_reason": {"truncated": "length", "loading": "load"}.get(model, "stop"),
            "total_duration": 1,
            "prompt_eval_count": 20,
            "eval_count": len(self.fake.tokens),
        }
        text = "" if model == "loading" else self.fake.written()
        if asked.get("logprobs") and model != "old":
            answer["logprobs"] = self.fake.logprobs()
        if self.path == "/api/chat":
            answer["message"] = {"role": "assistant", "content": text}
        else:
            answer["response"] = text
        return self._send(200, json.dumps(answer).encode())

    def _create(self, asked: dict[str, Any]) -> None:
        unknown = [d for d in asked["files"].values() if d not in self.fake.blobs]
        if unknown:
            return self._send(400, json.dumps({"error": f"blob {unknown[0]} not found"}).encode())
        lines = [
            {"status": "parsing GGUF"},
            {"status": "creating layers", "total": 10, "completed": 5},
            {"status": "success"},
        ]
        text = "".join(json.dumps(line) + "\n" for line in lines)
        return self._send(200, text.encode(), "application/x-ndjson")


@contextmanager
def fake_ollama() -> Generator[FakeOllama]:
    """Run the server on a free loopback port."""
    handler = type("Handler", (_Handler,), {})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.daemon_threads = True
    fake = FakeOllama(f"http://127.0.0.1:{server.server_port}")
    handler.fake = fake
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    try:
        yield fake
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
