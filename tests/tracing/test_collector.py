"""What a collector gets: OpenTelemetry's conventions attribute by attribute, its variables, and the web's requests."""

from __future__ import annotations

import json
import pkgutil
from collections.abc import AsyncIterator, Generator, Sequence
from contextlib import asynccontextmanager
from importlib import import_module
from pathlib import Path
from typing import Any

import httpx
import pytest
from langgraph.checkpoint.memory import InMemorySaver
from opentelemetry.semconv import _incubating, attributes

from app.config import Settings, prepare_environment
from app.desk import Event
from app.main import create_app
from app.tracing import Targets, Tracing
from app.tracing.targets import tracing_of
from tests.app.conftest import log_in, over
from tests.app.fake_desk import FakeDesk
from tests.tracing.receiver import Receiver, Span, flushed, receiving, sending
from tests.tracing.test_tracing import PRICES, play
from tools.values import Customer

CALLER = "4bf92f3577b34da6a3ce929d0e0e4736"


@pytest.fixture
def receiver() -> Generator[Receiver]:
    with receiving() as receiver:
        yield receiver


@pytest.fixture(autouse=True)
def no_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    import os

    for name in os.environ:
        if name.startswith(("OTEL_", "LANGFUSE_")):
            monkeypatch.delenv(name)


def settings(tmp_path: Path, **more: Any) -> Settings:
    return Settings(  # pyright: ignore[reportCallIssue]
        _env_file=None, data_dir=tmp_path / "data", secret="a secret for the tests", **more
    )


# --- the conventions ------------------------------------------------------------------------------


def registry() -> set[str]:
    """Every attribute that the installed version of the conventions knows, without those it took back."""
    modules = [
        import_module(f"{package.__name__}.{each.name}")
        for package in (attributes, import_module(f"{_incubating.__name__}.attributes"))
        for each in pkgutil.iter_modules(package.__path__)
    ]
    taken_back = {"gen_ai.system", "gen_ai.prompt", "gen_ai.completion"}
    taken_back |= {"gen_ai.usage.prompt_tokens", "gen_ai.usage.completion_tokens"}
    return {
        value for module in modules for value in vars(module).values() if isinstance(value, str)
    } - taken_back


#: Of each operation: the span's name, its kind, and each attribute's type or value.
CHAT: dict[str, Any] = {
    "gen_ai.operation.name": "chat",
    "gen_ai.input.messages": str,
    "gen_ai.output.messages": str,
    "gen_ai.request.model": str,
    "gen_ai.response.model": str,
    "gen_ai.usage.input_tokens": int,
    "gen_ai.usage.output_tokens": int,
    "gen_ai.usage.cache_read.input_tokens": int,
}
EXPECTED: dict[str, tuple[str, str, dict[str, Any]]] = {
    "turn": (
        "invoke_agent signalbox",
        "INTERNAL",
        {
            "gen_ai.operation.name": "invoke_agent",
            "gen_ai.agent.name": "signalbox",
            "gen_ai.agent.version": "0.9",
            "gen_ai.conversation.id": "t1",
            "gen_ai.input.messages": str,
            "gen_ai.output.messages": str,
        },
    ),
    "support": (
        "invoke_workflow support",
        "INTERNAL",
        {"gen_ai.operation.name": "invoke_workflow", "gen_ai.workflow.name": "support"},
    ),
    "router": ("chat scripted", "CLIENT", CHAT | {"gen_ai.provider.name": "llama.cpp"}),
    "synthesizer": (
        "chat gpt-5-mini",
        "CLIENT",
        CHAT
        | {
            "gen_ai.provider.name": "openai",
            "gen_ai.system_instructions": str,
            "gen_ai.output.type": "text",
            "gen_ai.request.max_tokens": 400,
            "gen_ai.request.stream": True,
            "gen_ai.response.time_to_first_chunk": float,
            "gen_ai.prompt.name": "synthesizer",
        },
    ),
    "find_thing": (
        "execute_tool find_thing",
        "INTERNAL",
        {
            "gen_ai.operation.name": "execute_tool",
            "gen_ai.tool.name": "find_thing",
            "gen_ai.tool.type": "function",
            "gen_ai.tool.call.id": "act_1",
            "gen_ai.tool.call.arguments": str,
            "gen_ai.tool.call.result": str,
        },
    ),
    "retrieve": (
        "retrieval knowledge",
        "INTERNAL",
        {
            "gen_ai.operation.name": "retrieval",
            "gen_ai.data_source.id": "knowledge",
            "gen_ai.retrieval.query.text": "how long?",
            "gen_ai.retrieval.documents": str,
        },
    ),
    "embed": (
        "embeddings minilm",
        "CLIENT",
        {
            "gen_ai.operation.name": "embeddings",
            "gen_ai.provider.name": "onnxruntime",
            "gen_ai.request.model": "minilm",
            "gen_ai.response.model": "minilm",
        },
    ),
}


async def traced_turn(traces: Tracing) -> str | None:
    """A turn with a call of every kind."""
    trace = await play(traces, "t1", "turn-1", InMemorySaver())
    async with traces.turn("turn-2", "t1", "ana", "and?"):
        call: Any = {"gen_ai.tool.call.id": "act_1"}
        async with traces.span("find_thing", "tool", input={"a": 1}, **call) as seen:
            seen.update(output={"found": True})
        async with traces.span("retrieve", "retriever", input="how long?") as seen:
            seen.update(output=[{"id": "c1", "score": 0.5}])
        async with traces.span("embed", "embedding", provider="onnxruntime", model="minilm"):
            pass
    return trace


async def test_spans_keep_to_the_conventions(receiver: Receiver) -> None:
    """Names, kinds and each attribute with its type; nothing under a standard's prefix that it does not know."""
    providers = {"small": "llama.cpp", "large": "openai"}
    targets = Targets(otlp=receiver.url, release="0.9", providers=providers)
    async with sending(targets, PRICES) as traces:
        await traced_turn(traces)

    found = {span.attributes["signalbox.name"]: span for span in reversed(receiver.collected)}
    for name, (title, kind, expected) in EXPECTED.items():
        span = found[name]
        assert (span.name, span.kind) == (title, kind)
        said = {k: v for k, v in span.attributes.items() if k.startswith("gen_ai.")}
        assert set(said) == set(expected)
        for key, value in expected.items():
            assert said[key] == value or (isinstance(value, type) and type(said[key]) is value), key
    known = registry()
    for span in receiver.collected:
        for key in span.attributes:
            assert key.startswith("signalbox.") or key in known, key
    assert {span.scope for span in receiver.collected} == {"signalbox"}
    assert found["synthesizer"].attributes["signalbox.cost"] == pytest.approx(0.0026)
    assert found["router"].attributes["signalbox.cost"] == 0.0
    assert [e["ending"] for e in found["synthesizer"].events] == ["timeout"]
    told = json.loads(found["turn"].attributes["gen_ai.input.messages"])
    assert told[0]["role"] == "user"
    assert told[0]["parts"][0]["type"] == "text"
    assert not any("langfuse" in key for span in receiver.collected for key in span.attributes)


async def test_a_failure_is_one_by_the_conventions(receiver: Receiver) -> None:
    """Status error and the error's type; what waits for a person, or was left, is no failure."""
    async with sending(Targets(otlp=receiver.url)) as traces, traces.turn("t", "t1", "ana", "hi"):
        with pytest.raises(LookupError):
            async with traces.span("find_thing", "tool"):
                raise LookupError("nothing there")

    failed = next(span for span in receiver.collected if span.name.startswith("execute_tool"))
    turn = next(span for span in receiver.collected if span.name.startswith("invoke_agent"))
    assert failed.attributes["error.type"] == "LookupError"
    assert failed.status == "nothing there"
    assert "error.type" not in turn.attributes


async def test_a_rating_is_an_evaluation_in_the_turns_trace(receiver: Receiver) -> None:
    """By the conventions' event, masked, and linked to the request that brought it; Langfuse has it as a score."""
    both = Targets(
        otlp=receiver.url, langfuse_url=receiver.url, public_key="pk-lf-1", secret_key="sk-lf-1"
    )
    async with sending(both) as traces:
        trace = await traced_turn(traces)
        await traces.rated("turn-1", good=False, comment="write to ana@customer.example")
        await traces.rated("nowhere", good=True, comment="")

    [rating] = [span for span in receiver.collected if span.name == "rating"]
    turn = next(s for s in receiver.collected if s.attributes.get("signalbox.turn") == "turn-1")
    assert (rating.trace, rating.parent) == (trace, turn.id)
    assert rating.events == [
        {
            "name": "gen_ai.evaluation.result",
            "gen_ai.evaluation.name": "rating",
            "gen_ai.evaluation.score.value": 0.0,
            "gen_ai.evaluation.score.label": "not helpful",
            "gen_ai.evaluation.explanation": "write to [email]",
        }
    ]
    assert set(rating.events[0]) - {"name"} <= registry()
    assert "rating" not in {span.name for span in receiver.in_langfuse}


# --- the standard variables -----------------------------------------------------------------------


async def test_a_collector_is_a_target_by_the_standard_variables(
    receiver: Receiver, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Address, headers, service name and resource attributes; masked as for Langfuse."""
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", f"{receiver.url}/")
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_HEADERS", "authorization=Bearer%20abc,x-team=red")
    monkeypatch.setenv("OTEL_SERVICE_NAME", "the-desk")
    monkeypatch.setenv("OTEL_RESOURCE_ATTRIBUTES", "deployment.environment.name=test")
    traces = tracing_of(settings(tmp_path))
    await play(traces, "t1", "turn-otlp", InMemorySaver())
    await flushed(traces)
    await traces.close()

    assert set(receiver.paths) == {"/v1/traces"}
    assert {each["authorization"] for each in receiver.headers} == {"Bearer abc"}
    resource = receiver.collected[0].resource
    assert resource["service.name"] == "the-desk"
    assert resource["deployment.environment.name"] == "test"
    assert "service.version" in resource
    assert b"ana@customer.example" not in b"".join(receiver.bodies)


async def test_the_traces_address_alone_is_taken_as_it_is(
    receiver: Receiver, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """OTEL_EXPORTER_OTLP_TRACES_ENDPOINT has its whole path, and goes before the general one."""
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:9")
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", f"{receiver.url}/v1/traces")
    traces = tracing_of(settings(tmp_path))
    await play(traces, "t1", "turn-otlp", InMemorySaver())
    await flushed(traces)
    await traces.close()

    assert receiver.collected


@pytest.mark.parametrize(
    "off", [{"OTEL_SDK_DISABLED": "true"}, {"OTEL_TRACES_EXPORTER": "none"}, {}]
)
async def test_off_by_the_standard_variables(
    receiver: Receiver, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, off: dict[str, str]
) -> None:
    """Disabled, or with no exporter: nothing is built and nothing is sent. Without them it is."""
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", receiver.url)
    for name, value in off.items():
        monkeypatch.setenv(name, value)
    traces = tracing_of(settings(tmp_path))
    await play(traces, "t1", "turn-1", InMemorySaver())
    await flushed(traces)
    await traces.close()

    assert (traces.provider is None) == bool(off)
    assert bool(receiver.spans) != bool(off)


def test_variables_in_the_env_file_count(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """OpenTelemetry reads the environment only: what `.env` says of it is put there, behind what is set."""
    import os

    monkeypatch.setenv("OTEL_SERVICE_NAME", "set")
    monkeypatch.setenv("OTEL_BSP_SCHEDULE_DELAY", "")
    monkeypatch.delenv("OTEL_BSP_SCHEDULE_DELAY")
    file = tmp_path / ".env"
    file.write_text("OTEL_SERVICE_NAME=written\nOTEL_BSP_SCHEDULE_DELAY=100\nOTHER=1\n")
    prepare_environment(settings(tmp_path), file)

    assert os.environ["OTEL_SERVICE_NAME"] == "set"
    assert os.environ["OTEL_BSP_SCHEDULE_DELAY"] == "100"
    assert "OTHER" not in os.environ


async def test_each_target_gets_its_own_form_and_its_own_key(
    receiver: Receiver, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """The collector's headers do not reach Langfuse, nor its key the collector."""
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_HEADERS", "authorization=Bearer%20abc,x-team=red")
    both = settings(
        tmp_path,
        otel_exporter_otlp_endpoint=receiver.url,
        langfuse_public_key="pk",
        langfuse_secret_key="sk",
        langfuse_base_url=receiver.url,
    )
    traces = tracing_of(both)
    await play(traces, "t1", "turn-1", InMemorySaver())
    await flushed(traces)
    await traces.close()

    sent = dict(zip(receiver.paths, receiver.headers, strict=True))
    assert sent["/v1/traces"]["authorization"] == "Bearer abc"
    assert sent["/v1/traces"]["x-team"] == "red"
    langfuse = sent["/api/public/otel/v1/traces"]
    assert langfuse["authorization"].startswith("Basic ")
    assert "x-team" not in langfuse
    assert len(receiver.collected) == len(receiver.in_langfuse) > 5


# --- how much -------------------------------------------------------------------------------------

LONG = "Where is my order, and why does nobody answer me? äöü " * 300


@pytest.mark.parametrize("calls", [5, 200])
async def test_a_turn_takes_at_most_20_kb(receiver: Receiver, calls: int) -> None:
    """However long its texts are and however many its calls; numbers and the turn's own words stay."""
    targets = Targets(
        otlp=receiver.url, public_key="pk", secret_key="sk", langfuse_url=receiver.url
    )
    async with (
        sending(targets, PRICES) as traces,
        traces.turn("turn-1", "th_0123456789abcdef", "ana", LONG) as turn,
    ):
        for _ in range(calls):
            async with traces.span(
                "planner",
                "generation",
                input={"system": LONG, "user": LONG},
                tier="large",
                role="planner",
            ) as seen:
                seen.update(output={"steps": [LONG] * 20}, model="gpt-5-mini", probability=0.5)
            async with traces.span("find", "tool", input={"a": LONG}) as seen:
                seen.update(output={"rows": [LONG] * 50})
        turn.annotate(output=LONG, probability=0.9)

    for spans in (receiver.collected, receiver.in_langfuse):
        assert 5_000 < sum(span.size for span in spans) < 20_000
    root = next(s for s in receiver.collected if s.attributes["signalbox.name"] == "turn")
    said = root.attributes
    assert said["signalbox.probability"] == 0.9
    told = json.loads(said["gen_ai.output.messages"])[0]["parts"][0]["content"]
    assert told.startswith("Where is my order")
    assert told.endswith("…")
    assert ("signalbox.spans_left_out" in said) == (calls > 50)
    generations = [s for s in receiver.in_langfuse if s.type == "generation"]
    assert all(
        s.attributes["langfuse.observation.metadata.probability"] == "0.5" for s in generations
    )


async def test_what_is_cut_was_masked_first(receiver: Receiver) -> None:
    """A cut through a phone number or an address leaves no half of it."""
    async with sending(Targets(otlp=receiver.url)) as traces:
        for fill in range(1_000, 1_120, 3):
            text = "x" * fill + " mail ana.lindqvist@customer.example or +49 170 1234567 " + LONG
            async with traces.turn("turn-1", "t1", "ana", text):
                pass

    sent = b"".join(receiver.bodies)
    assert b"lindq" not in sent
    assert b"+49 1" not in sent


# --- requests -------------------------------------------------------------------------------------


class TracedDesk(FakeDesk):
    """A desk whose turns are traced, as the real one's are."""

    def __init__(self, traces: Tracing) -> None:
        super().__init__()
        self.traces = traces

    async def play(
        self, customer: Customer, thread: str, text: str, *, key: str | None = None
    ) -> AsyncIterator[Event]:
        async with self.traces.turn("turn-1", thread, customer.id, text):
            async for event in super().play(customer, thread, text, key=key):
                yield event


@asynccontextmanager
async def serving(tmp_path: Path, url: str | None) -> AsyncIterator[httpx.AsyncClient]:
    """The app, its traces going to a collector and Langfuse at this address."""
    known = settings(
        tmp_path,
        otel_exporter_otlp_endpoint=url,
        langfuse_public_key="pk" if url else None,
        langfuse_secret_key="sk",
        langfuse_base_url=url,
    )
    traces = tracing_of(known)
    app = create_app(known, over(TracedDesk(traces)), traces)
    async with app.router.lifespan_context(app) as state:

        async def with_state(scope: Any, receive: Any, send: Any) -> None:
            await app({**scope, "state": dict(state or {})}, receive, send)

        transport = httpx.ASGITransport(with_state, raise_app_exceptions=False)
        async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as client:
            yield client
            await flushed(traces)


def of_route(spans: Sequence[Span], route: str) -> Span:
    return next(span for span in spans if span.attributes.get("http.route") == route)


async def test_the_request_is_the_root_under_the_callers_trace(
    receiver: Receiver, tmp_path: Path
) -> None:
    """`traceparent` in, the trace's id out; in Langfuse the turn itself is the root."""
    async with serving(tmp_path, receiver.url) as client:
        ana = await log_in(client, "ana")
        told = await client.post(
            "/v1/chat",
            json={"text": "hello"},
            headers=ana | {"traceparent": f"00-{CALLER}-00f067aa0ba902b7-01"},
        )

    assert told.status_code == 200
    assert told.headers["X-Trace-Id"] == CALLER
    request = of_route(receiver.collected, "/v1/chat")
    assert (request.name, request.kind) == ("POST /v1/chat", "SERVER")
    assert (request.trace, request.parent) == (CALLER, "00f067aa0ba902b7")
    expected = {
        "http.request.method": "POST",
        "http.response.status_code": 200,
        "url.path": "/v1/chat",
        "url.scheme": "http",
        "signalbox.turn": "turn-1",
    }
    assert expected.items() <= request.attributes.items()
    turn = next(s for s in receiver.collected if s.name == "invoke_agent signalbox")
    assert (turn.trace, turn.parent) == (CALLER, request.id)
    assert {(s.name, s.trace, s.parent) for s in receiver.in_langfuse} == {("turn", CALLER, "")}


async def test_a_problem_names_its_trace(receiver: Receiver, tmp_path: Path) -> None:
    """Each refusal says in header and document which trace it is in; whoever brings none gets a new one."""
    async with serving(tmp_path, receiver.url) as client:
        refused = await client.get("/v1/threads")
        ana = await log_in(client, "ana")
        broken = await client.post("/v1/chat", json={"text": "please break"}, headers=ana)
        quiet = await client.get("/health")

    for response, status in ((refused, 401), (broken, 500)):
        assert response.status_code == status
        trace = response.json()["trace"]
        assert response.headers["X-Trace-Id"] == trace
        assert trace in {span.trace for span in receiver.collected}
    assert "X-Trace-Id" not in quiet.headers
    assert "/health" not in {s.attributes.get("url.path") for s in receiver.collected}
    failed = of_route(receiver.collected, "/v1/chat")
    assert failed.attributes["http.response.status_code"] == 500
    assert failed.attributes["error.type"]


async def test_without_traces_no_header_and_no_member(tmp_path: Path) -> None:
    """Nothing is told of a trace that is nowhere."""
    async with serving(tmp_path, None) as client:
        refused = await client.get("/v1/threads")

    assert "X-Trace-Id" not in refused.headers
    assert "trace" not in refused.json()
