"""The part of tracing that imports Langfuse and OpenTelemetry: loaded in a thread, only with keys."""

from __future__ import annotations

import base64
import json
import logging
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from langfuse import Langfuse, propagate_attributes
from langfuse.langchain import CallbackHandler
from opentelemetry.exporter.otlp.proto.http import Compression
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import OTELResourceDetector, Resource
from opentelemetry.sdk.trace import Event, ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult
from opentelemetry.trace import Status

from tools.privacy import mask_pii

log = logging.getLogger(__name__)

CLOUD = "https://cloud.langfuse.com"

#: One attempt to send a batch; it happens in a thread, so this only bounds how long spans are kept.
EXPORT_SECONDS = 5.0

#: Fields whose value is personal whatever it looks like.
PERSONAL = frozenset({"email", "phone", "delivery_address", "address", "sent_to"})

#: Tokens, milliseconds and cents stay below this; the numbers of phones and cards do not.
LONGEST_COUNT = 10**8

#: Attributes that Langfuse computes with and that hold no text of ours.
STRUCTURE = frozenset(
    {
        "langfuse.observation.type",
        "langfuse.observation.level",
        "langfuse.observation.usage_details",
        "langfuse.observation.cost_details",
        "langfuse.observation.completion_start_time",
        "langfuse.observation.model.name",
        "langfuse.environment",
        "langfuse.release",
        "session.id",
    }
)


class Connection:
    """A Langfuse client whose spans are masked on their way out and never touch the process's own OTel."""

    def __init__(
        self,
        *,
        public_key: str | None,
        secret_key: str | None,
        base_url: str | None = None,
        environment: str | None = None,
        release: str | None = None,
        otlp: str | None = None,
    ) -> None:
        # It says a line for every batch it cannot send; MaskingExporter says it once.
        logging.getLogger("opentelemetry.exporter.otlp").setLevel(logging.CRITICAL)
        url = (base_url or CLOUD).rstrip("/")
        targets: list[SpanExporter] = []
        if public_key and secret_key:
            targets.append(_to_langfuse(url, public_key, secret_key))
        if otlp:
            # Headers and certificates by OpenTelemetry's own variables.
            targets.append(
                OTLPSpanExporter(
                    endpoint=f"{otlp.rstrip('/')}/v1/traces",
                    timeout=EXPORT_SECONDS,
                    compression=Compression.Gzip,
                )
            )
        # The SDK wants a key to tell its clients apart, also where nothing goes to Langfuse.
        public_key, secret_key = public_key or f"otlp-{otlp}", secret_key or "none"
        self._public_key = public_key
        self._exporter = MaskingExporter(targets, otlp if len(targets) == 1 and otlp else url)
        named = {
            "service.name": "signalbox",
            "service.version": release,
            "langfuse.environment": environment,
            "langfuse.release": release,
        }
        self._provider = TracerProvider(
            # What OTEL_SERVICE_NAME and OTEL_RESOURCE_ATTRIBUTES say comes first.
            resource=Resource.create({k: v for k, v in named.items() if v}).merge(
                OTELResourceDetector().detect()
            ),
            # At exit it would wait for a server that hangs; `close` is called instead, and is bounded.
            shutdown_on_exit=False,
        )
        self.client = Langfuse(
            public_key=public_key,
            secret_key=secret_key,
            base_url=url,
            environment=environment,
            release=release,
            span_exporter=self._exporter,
            tracer_provider=self._provider,
            flush_interval=1,
        )

    @property
    def taken(self) -> bool:
        """Did the server take the last batch?"""
        return not self._exporter.failing

    @contextmanager
    def turn(
        self, turn_id: str, thread: str, customer_id: str, input: Any
    ) -> Generator[tuple[Any, CallbackHandler, str]]:
        """The turn's root span, a callback handler for its graph, and the trace id."""
        trace_id = self.client.create_trace_id(seed=turn_id)
        handler = CallbackHandler(public_key=self._public_key)
        # In the task itself, not in a worker thread: otherwise spans of a node's calls miss their node.
        handler.run_inline = True
        with (
            self.client.start_as_current_observation(
                name="turn",
                as_type="agent",
                input=input,
                metadata={"turn": turn_id},
                trace_context={"trace_id": trace_id},
            ) as observation,
            propagate_attributes(session_id=thread, user_id=customer_id, trace_name="turn"),
        ):
            yield observation, handler, trace_id

    def close(self) -> None:
        """Send what is left; may take as long as the server does."""
        self.client.shutdown()
        self._provider.shutdown()


def _to_langfuse(url: str, public_key: str, secret_key: str) -> SpanExporter:
    token = base64.b64encode(f"{public_key}:{secret_key}".encode()).decode()
    return OTLPSpanExporter(
        endpoint=f"{url}/api/public/otel/v1/traces",
        headers={
            "Authorization": f"Basic {token}",
            "x-langfuse-public-key": public_key,
            "x-langfuse-ingestion-version": "4",
        },
        timeout=EXPORT_SECONDS,
        compression=Compression.Gzip,
    )


def conventions(attributes: Mapping[str, Any]) -> dict[str, Any]:
    """OpenTelemetry's names for what a generation says in Langfuse's."""
    if attributes.get("langfuse.observation.type") != "generation":
        return {}
    model = attributes.get("langfuse.observation.model.name")
    named: dict[str, Any] = {"gen_ai.operation.name": "chat"}
    return named | ({"gen_ai.request.model": model} if model else {})


class MaskingExporter(SpanExporter):
    """Masks personal data in everything a span carries, in the thread that sends it.

    The SDK's own mask functions leave out exception events and the status text."""

    def __init__(
        self,
        targets: Sequence[SpanExporter],
        url: str,
        mask: Callable[[str], str] = mask_pii,
    ) -> None:
        self._targets = targets
        self._url = url
        self._mask = mask
        self.failing = False

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        masked = [self._masked(span) for span in spans]
        results = [target.export(masked) for target in self._targets]
        failing = any(each is not SpanExportResult.SUCCESS for each in results)
        result = SpanExportResult.FAILURE if failing else SpanExportResult.SUCCESS
        if failing and not self.failing:
            log.warning("Langfuse at %s does not take traces; turns go on without", self._url)
        elif self.failing and not failing:
            log.info("Langfuse at %s takes traces again", self._url)
        self.failing = failing
        return result

    def shutdown(self) -> None:
        for target in self._targets:
            target.shutdown()

    def force_flush(self, timeout_millis: int = 30_000) -> bool:
        return all([target.force_flush(timeout_millis) for target in self._targets])

    def _masked(self, span: ReadableSpan) -> ReadableSpan:
        return ReadableSpan(
            name=self._mask(span.name),
            context=span.context,
            parent=span.parent,
            resource=span.resource,
            attributes=self._attributes(span.attributes) | conventions(span.attributes or {}),
            events=[
                Event(event.name, self._attributes(event.attributes), event.timestamp)
                for event in span.events
            ],
            links=span.links,
            kind=span.kind,
            status=Status(span.status.status_code, self._text(span.status.description)),
            start_time=span.start_time,
            end_time=span.end_time,
            instrumentation_scope=span.instrumentation_scope,
        )

    def _attributes(self, attributes: Mapping[str, Any] | None) -> dict[str, Any]:
        return {
            key: value if key in STRUCTURE else self._attribute(value)
            for key, value in (attributes or {}).items()
        }

    def _attribute(self, value: Any) -> Any:
        if isinstance(value, str):
            return self._json_or_text(value)
        if isinstance(value, Sequence):
            return [self._attribute(each) for each in value]  # pyright: ignore[reportUnknownVariableType]
        return value

    def _json_or_text(self, value: str) -> str:
        # Inputs, outputs and metadata are JSON in a string, a bare number too; what is none is text.
        try:
            read = json.loads(value)
        except json.JSONDecodeError:
            return self._mask(value)
        return json.dumps(self._leaves(read), ensure_ascii=False)

    def _leaves(self, value: Any) -> Any:
        if isinstance(value, str):
            return self._mask(value)
        if isinstance(value, int) and abs(value) >= LONGEST_COUNT:
            # No count is as long; a customer's whole message may be a card's number.
            masked = self._mask(str(value))
            return masked if masked != str(value) else value
        if isinstance(value, list):
            return [self._leaves(each) for each in value]  # pyright: ignore[reportUnknownVariableType]
        if isinstance(value, dict):
            return self._fields(value)  # pyright: ignore[reportUnknownArgumentType]
        return value

    def _fields(self, fields: dict[str, Any]) -> dict[str, Any]:
        # A customer's record; the name of a tool or a node is not a person's.
        personal = PERSONAL | {"name"} if "email" in fields else PERSONAL
        return {
            key: f"[{key}]" if key in personal and isinstance(value, str) else self._leaves(value)
            for key, value in fields.items()
        }

    def _text(self, text: str | None) -> str | None:
        return None if text is None else self._mask(text)
