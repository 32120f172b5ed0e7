"""A local stand-in for Langfuse's OTLP endpoint that decodes what it is sent."""

from __future__ import annotations

import gzip
import threading
import time
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest


@dataclass(frozen=True)
class Span:
    name: str
    id: str
    parent: str
    trace: str
    attributes: dict[str, Any]
    status: str
    events: list[dict[str, Any]]

    @property
    def kind(self) -> str:
        return self.attributes["langfuse.observation.type"]


@dataclass
class Receiver:
    """What arrived, and how the server behaves."""

    url: str
    status: int = 200
    hang: threading.Event | None = None
    spans: list[Span] = field(default_factory=list)
    bodies: list[bytes] = field(default_factory=list)
    authorizations: list[str] = field(default_factory=list)
    paths: list[str] = field(default_factory=list)

    def wait(self, count: int, seconds: float = 15) -> list[Span]:
        deadline = time.monotonic() + seconds
        while len(self.spans) < count and time.monotonic() < deadline:
            time.sleep(0.02)
        assert len(self.spans) >= count, [span.name for span in self.spans]
        return self.spans

    def tree(self, trace: str) -> dict[str, list[str]]:
        """Span name (in start order of arrival) -> names of its children, for one trace."""
        mine = [span for span in self.spans if span.trace == trace]
        names = {span.id: span.name for span in mine}
        tree: dict[str, list[str]] = {}
        for span in mine:
            tree.setdefault(names.get(span.parent, ""), []).append(span.name)
        return {parent: sorted(children) for parent, children in tree.items()}


def decode(body: bytes) -> list[Span]:
    request = ExportTraceServiceRequest()
    request.ParseFromString(gzip.decompress(body))
    return [
        Span(
            name=span.name,
            id=span.span_id.hex(),
            parent=span.parent_span_id.hex(),
            trace=span.trace_id.hex(),
            attributes={each.key: each.value.string_value for each in span.attributes},
            status=span.status.message,
            events=[
                {each.key: each.value.string_value for each in event.attributes}
                for event in span.events
            ],
        )
        for resource in request.resource_spans
        for scope in resource.scope_spans
        for span in scope.spans
    ]


@contextmanager
def receiving() -> Generator[Receiver]:
    receiver: Receiver

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            if receiver.hang is not None:
                receiver.hang.wait(30)
            receiver.authorizations.append(self.headers["authorization"])
            receiver.paths.append(self.path)
            if receiver.status == 200:
                receiver.bodies.append(gzip.decompress(body))
                receiver.spans += decode(body)
            self.send_response(receiver.status)
            self.send_header("content-length", "0")
            self.end_headers()

        def log_message(self, format: str, *args: Any) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.daemon_threads = True
        server.block_on_close = False
        receiver = Receiver(f"http://127.0.0.1:{server.server_port}")
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            yield receiver
        finally:
            if receiver.hang is not None:
                receiver.hang.set()
            server.shutdown()
