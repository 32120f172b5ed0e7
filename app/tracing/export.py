"""Where spans go: masked on their way out, in the thread that sends them, in the form each target reads."""

from __future__ import annotations

import base64
import json
import logging
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import requests
from opentelemetry.exporter.otlp.proto.http import Compression
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import OTELResourceDetector, Resource
from opentelemetry.sdk.trace import Event, ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import (
    BatchSpanProcessor,
    ConsoleSpanExporter,
    SpanExporter,
    SpanExportResult,
)
from opentelemetry.trace import Status, StatusCode
from requests.auth import AuthBase

from app.tracing import Targets
from app.tracing.budget import clipped, told
from app.tracing.conventions import RATING, ROOM
from tools.privacy import mask_pii

log = logging.getLogger(__name__)

CLOUD = "https://cloud.langfuse.com"

#: One attempt to send a batch to Langfuse; it happens in a thread, so this only bounds how long spans are kept.
EXPORT_SECONDS = 5.0

#: Fields whose value is personal whatever it looks like.
PERSONAL = frozenset({"email", "phone", "delivery_address", "address", "sent_to"})

#: Tokens, milliseconds and cents stay below this; the numbers of phones and cards do not.
LONGEST_COUNT = 10**8

#: Attributes that are names of ours, of the standard's or of a model's, and hold no text of anybody's.
STRUCTURE = frozenset(
    {
        "session.id",
        "gen_ai.conversation.id",
        "gen_ai.operation.name",
        "gen_ai.provider.name",
        "gen_ai.request.model",
        "gen_ai.response.model",
        "gen_ai.tool.call.id",
        "gen_ai.agent.name",
        "gen_ai.agent.version",
        "http.request.method",
        "http.route",
        "signalbox.turn",
        "signalbox.action",
        "signalbox.version",
        "signalbox.prompt_version",
    }
)

#: A prompt's name and the hash of its content -> the version by which Langfuse knows it.
PromptLinks = dict[tuple[str, str], tuple[str, int]]


@dataclass
class Exporting:
    """A provider with its exporters."""

    provider: TracerProvider
    exporters: Sequence[MaskingExporter]
    links: PromptLinks = field(default_factory=PromptLinks)

    @property
    def failing(self) -> bool:
        return any(each.failing for each in self.exporters)

    def close(self) -> None:
        """Send what is left; may take as long as the slowest target does."""
        self.provider.shutdown()


def disabled() -> bool:
    """Does OpenTelemetry's own variable switch everything off?"""
    return os.environ.get("OTEL_SDK_DISABLED", "").strip().lower() == "true"


def exporting(targets: Targets) -> Exporting | None:
    """The provider for these targets; None where none of them is left."""
    # It says a line for every batch it cannot send; MaskingExporter says it once.
    logging.getLogger("opentelemetry.exporter.otlp").setLevel(logging.CRITICAL)
    links = PromptLinks()
    exporters: list[MaskingExporter] = []
    if (collector := _to_collector(targets)) is not None:
        exporters.append(MaskingExporter(collector, _collector_named(targets)))
    if targets.langfuse:
        url = (targets.langfuse_url or CLOUD).rstrip("/")
        form = LangfuseForm(targets, links)
        exporters.append(MaskingExporter(_to_langfuse(url, targets), f"Langfuse at {url}", form))
    if not exporters:
        return None
    provider = TracerProvider(
        resource=_resource(targets),
        # At exit it would wait for a server that hangs; `close` is called instead, and is bounded.
        shutdown_on_exit=False,
    )
    for each in exporters:
        provider.add_span_processor(BatchSpanProcessor(each))
    return Exporting(provider, exporters, links)


def _resource(targets: Targets) -> Resource:
    named = {
        "service.name": "signalbox",
        "service.version": targets.release,
        "deployment.environment.name": targets.environment,
        "langfuse.environment": targets.environment,
        "langfuse.release": targets.release,
    }
    # What OTEL_SERVICE_NAME and OTEL_RESOURCE_ATTRIBUTES say comes first.
    return Resource.create({k: v for k, v in named.items() if v}).merge(
        OTELResourceDetector().detect()
    )


def _to_collector(targets: Targets) -> SpanExporter | None:
    """The exporter that OpenTelemetry's variables describe: address, headers, time-out, certificates."""
    kind = os.environ.get("OTEL_TRACES_EXPORTER", "otlp").strip().lower() or "otlp"
    if kind == "console":
        return ConsoleSpanExporter()
    address = targets.otlp_traces or (targets.otlp and f"{targets.otlp.rstrip('/')}/v1/traces")
    if kind == "none" or not address:
        return None
    if kind != "otlp":
        log.warning("OTEL_TRACES_EXPORTER=%s is not known here (otlp, console, none)", kind)
        return None
    protocol = os.environ.get("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL") or os.environ.get(
        "OTEL_EXPORTER_OTLP_PROTOCOL", "http/protobuf"
    )
    if protocol != "http/protobuf":
        log.warning("OTEL_EXPORTER_OTLP_PROTOCOL=%s: traces go by http/protobuf", protocol)
    return OTLPSpanExporter(endpoint=address, compression=_compression())


def _compression() -> Compression | None:
    # The standard's default is none; a deployment that says nothing is better off with gzip.
    names = ("OTEL_EXPORTER_OTLP_TRACES_COMPRESSION", "OTEL_EXPORTER_OTLP_COMPRESSION")
    return None if any(os.environ.get(name) for name in names) else Compression.Gzip


def _collector_named(targets: Targets) -> str:
    return f"the collector at {targets.otlp_traces or targets.otlp}"


class OnlyLangfuse(AuthBase):
    """Our key for Langfuse; the headers of OTEL_EXPORTER_OTLP_HEADERS are the collector's alone."""

    def __init__(self, targets: Targets) -> None:
        pair = f"{targets.public_key}:{targets.secret_key}".encode()
        self._headers = {
            "authorization": f"Basic {base64.b64encode(pair).decode()}",
            "x-langfuse-public-key": str(targets.public_key),
            "x-langfuse-ingestion-version": "4",
        }
        self._kept = {"content-type", "content-encoding", "content-length", "user-agent", "host"}

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        for name in [*request.headers]:
            if name.lower() not in self._kept:
                del request.headers[name]
        request.headers.update(self._headers)
        return request


def _to_langfuse(url: str, targets: Targets) -> SpanExporter:
    session = requests.Session()
    session.auth = OnlyLangfuse(targets)
    session.trust_env = True
    return OTLPSpanExporter(
        endpoint=f"{url}/api/public/otel/v1/traces",
        timeout=EXPORT_SECONDS,
        compression=Compression.Gzip,
        session=session,
    )


class Form:
    """How a target reads a span; a collector reads the conventions as they are."""

    def shown(self, span: ReadableSpan) -> ReadableSpan | None:
        return span


#: Where Langfuse has a field, of each of our kinds and texts.
_TYPES = {
    "invoke_agent": "agent",
    "chat": "generation",
    "classify": "generation",
    "embeddings": "embedding",
    "execute_tool": "tool",
    "retrieval": "retriever",
    "invoke_workflow": "chain",
}
_INPUTS = (
    "gen_ai.input.messages",
    "gen_ai.tool.call.arguments",
    "gen_ai.retrieval.query.text",
    "signalbox.input",
)
_OUTPUTS = (
    "gen_ai.output.messages",
    "gen_ai.tool.call.result",
    "gen_ai.retrieval.documents",
    "signalbox.output",
)
#: What Langfuse has no use for, because it stands in a field of its own.
_MOVED = {
    *_INPUTS,
    *_OUTPUTS,
    "gen_ai.system_instructions",
    "gen_ai.operation.name",
    "gen_ai.agent.name",
    "gen_ai.agent.version",
    "gen_ai.conversation.id",
    "gen_ai.tool.name",
    "gen_ai.tool.type",
    "gen_ai.data_source.id",
    "gen_ai.workflow.name",
    "gen_ai.request.model",
    "gen_ai.response.model",
    "gen_ai.response.time_to_first_chunk",
    "gen_ai.usage.input_tokens",
    "gen_ai.usage.output_tokens",
    "gen_ai.usage.cache_read.input_tokens",
    "gen_ai.prompt.name",
    "signalbox.prompt_version",
    "signalbox.name",
    "signalbox.tags",
    "signalbox.cost",
    "signalbox.currency",
    "signalbox.kind",
}


class LangfuseForm(Form):
    """Langfuse's own attributes, made of the conventions'. A turn is its trace's root there: the request that
    brought it, and everything that is not of a turn, is the collector's."""

    def __init__(self, targets: Targets, links: PromptLinks) -> None:
        self._environment, self._release, self._links = targets.environment, targets.release, links

    def shown(self, span: ReadableSpan) -> ReadableSpan | None:
        scope = span.instrumentation_scope
        if scope is None or scope.name != "signalbox":
            return None
        said: dict[str, Any] = dict(span.attributes or {})
        if said.get("signalbox.name") == RATING:
            return None  # There it is a score.
        operation = said.get("gen_ai.operation.name")
        kind = said.get("signalbox.kind") or _TYPES.get(str(operation), "span")
        name = str(said.get("signalbox.name") or span.name)
        shown: dict[str, Any] = {
            key: said[key] for key in ("session.id", "user.id") if key in said
        } | {"langfuse.observation.type": kind, "langfuse.trace.name": "turn"}
        if self._environment:
            shown["langfuse.environment"] = self._environment
        if self._release:
            shown["langfuse.release"] = self._release
        if "signalbox.tags" in said:
            shown["langfuse.trace.tags"] = said["signalbox.tags"]
        shown |= _texts(said) | self._model(said, span) | self._prompt(said)
        if span.status.status_code is StatusCode.ERROR:
            shown["langfuse.observation.level"] = "ERROR"
            shown["langfuse.observation.status_message"] = span.status.description or ""
        for key, value in said.items():
            if key not in _MOVED and key not in shown:
                plain = json.dumps(value) if isinstance(value, float | bool) else value
                shown["langfuse.observation.metadata." + key.removeprefix("signalbox.")] = plain
        root = name == "turn" and operation == "invoke_agent"
        return _copied(span, name=name, attributes=shown, parent=None if root else span.parent)

    def _model(self, said: Mapping[str, Any], span: ReadableSpan) -> dict[str, Any]:
        shown: dict[str, Any] = {}
        if (model := said.get("gen_ai.request.model")) is not None:
            shown["langfuse.observation.model.name"] = model
        read, written, cached = (
            said.get(f"gen_ai.usage.{name}")
            for name in ("input_tokens", "output_tokens", "cache_read.input_tokens")
        )
        if read is not None:
            # Langfuse adds the kinds up: what came from the cache is not among the rest.
            usage = {"input": read - (cached or 0), "output": written}
            usage |= {"cache_read_input_tokens": cached} if cached else {}
            shown["langfuse.observation.usage_details"] = json.dumps(usage)
        if (cost := said.get("signalbox.cost")) is not None:
            shown["langfuse.observation.cost_details"] = json.dumps({"total": cost})
        first = said.get("gen_ai.response.time_to_first_chunk")
        if first is not None and span.start_time is not None:
            at = datetime.fromtimestamp(span.start_time / 1e9 + float(first), UTC)
            shown["langfuse.observation.completion_start_time"] = at.isoformat()
        return shown

    def _prompt(self, said: Mapping[str, Any]) -> dict[str, Any]:
        name, version = said.get("gen_ai.prompt.name"), said.get("signalbox.prompt_version")
        if name is None:
            return {}
        link = self._links.get((str(name), str(version)))
        said_of = {
            "langfuse.observation.metadata.prompt": str(name),
            "langfuse.observation.metadata.prompt_version": str(version),
        }
        if link is None:
            return said_of
        return said_of | {
            "langfuse.observation.prompt.name": link[0],
            "langfuse.observation.prompt.version": link[1],
        }


def _texts(said: Mapping[str, Any]) -> dict[str, Any]:
    """Input and output as Langfuse shows them: the text alone where there is one."""
    shown: dict[str, Any] = {}
    for field_, names in (("input", _INPUTS), ("output", _OUTPUTS)):
        for name in names:
            if name in said:
                shown[f"langfuse.observation.{field_}"] = _bare(str(said[name]))
    if "gen_ai.system_instructions" in said:
        shown["langfuse.observation.input"] = json.dumps(
            {
                "system": _bare(str(said["gen_ai.system_instructions"])),
                "user": shown.get("langfuse.observation.input", ""),
            },
            ensure_ascii=False,
        )
    return shown


def _bare(text: str) -> str:
    """The content of a single message, else the JSON as it is."""
    try:
        read: Any = json.loads(text)
    except ValueError:
        return text
    match read:
        case [{"parts": [{"content": str(content)}]}]:
            return content
        case [{"type": "text", "content": str(content)}]:
            return content
        case _:
            return text


def _copied(span: ReadableSpan, **changed: Any) -> ReadableSpan:
    fields: dict[str, Any] = {
        "name": span.name,
        "context": span.context,
        "parent": span.parent,
        "resource": span.resource,
        "attributes": span.attributes,
        "events": span.events,
        "links": span.links,
        "kind": span.kind,
        "status": span.status,
        "start_time": span.start_time,
        "end_time": span.end_time,
        "instrumentation_scope": span.instrumentation_scope,
    }
    return ReadableSpan(**{**fields, **changed})


class MaskingExporter(SpanExporter):
    """Masks personal data in everything a span carries, leaf by leaf, and gives it the target's form."""

    def __init__(
        self,
        target: SpanExporter,
        named: str,
        form: Form | None = None,
        mask: Callable[[str], str] = mask_pii,
    ) -> None:
        self._target = target
        self._named = named
        self._form = form or Form()
        self._mask = mask
        self.failing = False

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        shown = [out for span in spans if (out := self._form.shown(self._masked(span))) is not None]
        result = self._target.export(shown) if shown else SpanExportResult.SUCCESS
        failing = result is not SpanExportResult.SUCCESS
        if failing and not self.failing:
            log.warning("%s does not take traces; turns go on without", self._named)
        elif self.failing and not failing:
            log.info("%s takes traces again", self._named)
        self.failing = failing
        return result

    def shutdown(self) -> None:
        self._target.shutdown()

    def force_flush(self, timeout_millis: int = 30_000) -> bool:
        return self._target.force_flush(timeout_millis)

    def _masked(self, span: ReadableSpan) -> ReadableSpan:
        return _copied(
            span,
            name=self._mask(span.name),
            attributes=self._attributes(span.attributes),
            events=[
                Event(event.name, self._attributes(event.attributes), event.timestamp)
                for event in span.events
            ],
            status=Status(span.status.status_code, self._text(span.status.description)),
        )

    def _attributes(self, attributes: Mapping[str, Any] | None) -> dict[str, Any]:
        given = attributes or {}
        masked = {
            key: value if key in STRUCTURE else self._attribute(value)
            for key, value in given.items()
            if not key.startswith(ROOM)
        }
        for key, room in given.items():
            name = key.removeprefix(ROOM)
            if key.startswith(ROOM) and isinstance(text := masked.get(name), str):
                masked[name] = clipped(text, int(room))
        return masked

    def _attribute(self, value: Any) -> Any:
        if isinstance(value, str):
            return self._json_or_text(value)
        if isinstance(value, Sequence):
            return [self._attribute(each) for each in value]  # pyright: ignore[reportUnknownVariableType]
        return value

    def _json_or_text(self, value: str) -> str:
        # Messages, arguments and results are JSON in a string, a bare number too; what is none is text.
        try:
            read = json.loads(value)
        except json.JSONDecodeError:
            return told(value, self._mask)
        return json.dumps(self._leaves(read), ensure_ascii=False)

    def _leaves(self, value: Any) -> Any:
        if isinstance(value, str):
            return told(value, self._mask)
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
