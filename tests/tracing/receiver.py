"""A local OTLP endpoint, a collector's or Langfuse's, that decodes what it is sent, and Langfuse's own API."""

from __future__ import annotations

import asyncio
import gzip
import json
import threading
import time
from collections.abc import AsyncGenerator, Callable, Generator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span as WireSpan

from app.tracing import Targets, Tracing, tracing

SpanKind: Any = WireSpan.SpanKind


#: Where Langfuse takes spans, and where a collector does.
LANGFUSE, COLLECTOR = "/api/public/otel/v1/traces", "/v1/traces"


@dataclass(frozen=True)
class Span:
    name: str
    id: str
    parent: str
    trace: str
    attributes: dict[str, Any]
    status: str
    events: list[dict[str, Any]]
    kind: str
    scope: str
    resource: dict[str, Any]
    links: list[str]
    size: int  #: In bytes, before compression.
    to: str  #: The path it was sent to.

    @property
    def type(self) -> str:
        return self.attributes["langfuse.observation.type"]


@dataclass
class Receiver:
    """What arrived, and how the server behaves."""

    url: str
    status: int = 200
    hang: threading.Event | None = None
    spans: list[Span] = field(default_factory=list)
    bodies: list[bytes] = field(default_factory=list)
    headers: list[dict[str, str]] = field(default_factory=list)
    paths: list[str] = field(default_factory=list)
    asked: list[tuple[str, str, Any]] = field(default_factory=list)
    answers: dict[str, Callable[[str, Any], tuple[int, Any]]] = field(default_factory=dict)

    @property
    def collected(self) -> list[Span]:
        return [span for span in self.spans if span.to == COLLECTOR]

    @property
    def in_langfuse(self) -> list[Span]:
        return [span for span in self.spans if span.to == LANGFUSE]

    def wait(self, count: int, seconds: float = 15) -> list[Span]:
        deadline = time.monotonic() + seconds
        while len(self.spans) < count and time.monotonic() < deadline:
            time.sleep(0.02)
        assert len(self.spans) >= count, [span.name for span in self.spans]
        return self.spans

    def tree(self, trace: str, at: str = LANGFUSE) -> dict[str, list[str]]:
        """Span name -> names of its children, for one trace as one target has it."""
        mine = [span for span in self.spans if span.trace == trace and span.to == at]
        names = {span.id: span.name for span in mine}
        tree: dict[str, list[str]] = {}
        for span in mine:
            tree.setdefault(names.get(span.parent, ""), []).append(span.name)
        return {parent: sorted(children) for parent, children in tree.items()}


def decode(body: bytes, to: str) -> list[Span]:
    request = ExportTraceServiceRequest()
    request.ParseFromString(body)
    return [
        Span(
            name=span.name,
            id=span.span_id.hex(),
            parent=span.parent_span_id.hex(),
            trace=span.trace_id.hex(),
            attributes=_values(span.attributes),
            status=span.status.message,
            events=[{"name": event.name} | _values(event.attributes) for event in span.events],
            kind=SpanKind.Name(span.kind).removeprefix("SPAN_KIND_"),
            scope=scope.scope.name,
            resource=_values(resource.resource.attributes),
            links=[link.trace_id.hex() for link in span.links],
            size=span.ByteSize(),
            to=to,
        )
        for resource in request.resource_spans
        for scope in resource.scope_spans
        for span in scope.spans
    ]


def _values(attributes: Any) -> dict[str, Any]:
    return {each.key: _value(each.value) for each in attributes}


def _value(value: Any) -> Any:
    kind = value.WhichOneof("value")
    if kind == "array_value":
        return [_value(each) for each in value.array_value.values]
    return getattr(value, kind)


@contextmanager
def receiving() -> Generator[Receiver]:
    receiver: Receiver

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            if receiver.hang is not None:
                receiver.hang.wait()
            if self.path not in (LANGFUSE, COLLECTOR):
                return self._answer(json.loads(body or b"null"))
            receiver.headers.append({name.lower(): value for name, value in self.headers.items()})
            receiver.paths.append(self.path)
            if receiver.status == 200:
                if self.headers["content-encoding"] == "gzip":
                    body = gzip.decompress(body)
                receiver.bodies.append(body)
                receiver.spans += decode(body, self.path)
            self.send_response(receiver.status)
            self.send_header("content-length", "0")
            self.end_headers()

        def do_GET(self) -> None:
            self._answer(None)

        def _answer(self, sent: Any) -> None:
            """What Langfuse's own API was asked, answered by what a test says of the path."""
            receiver.asked.append((self.command, self.path, sent))
            path = self.path.split("?")[0]
            found = next(
                (f for start, f in receiver.answers.items() if path.startswith(start)), None
            )
            status, told = found(self.path, sent) if found is not None else (404, {"error": "none"})
            shown = json.dumps(told).encode()
            self.send_response(status)
            self.send_header("content-type", "application/json")
            self.send_header("content-length", str(len(shown)))
            self.end_headers()
            self.wfile.write(shown)

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


async def flushed(traces: Tracing) -> None:
    """Everything is sent, however busy the machine is; closing alone waits three seconds."""
    if traces.provider is not None:
        await asyncio.to_thread(traces.provider.force_flush, 30_000)


@asynccontextmanager
async def sending(targets: Targets, prices: Any = None) -> AsyncGenerator[Tracing]:
    """Tracing whose spans have all arrived when the block is left."""
    async with tracing(targets, prices) as traces:
        yield traces
        await flushed(traces)
