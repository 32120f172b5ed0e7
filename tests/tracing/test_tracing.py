"""Turns as traces of Langfuse and of any collector, received and decoded by a local OTLP endpoint."""

from __future__ import annotations

import asyncio
import json
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import AsyncIterator, Generator, Sequence
from dataclasses import dataclass, field
from typing import Any

import pytest
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.graph import END, START, StateGraph
from langgraph.runtime import Runtime
from langgraph.types import Command, interrupt
from typing_extensions import TypedDict

from app.models.metering import LlmCall, Price, Prices, SmallCall, Usage, note
from app.tracing import Place, Targets, Tracing, export, tracing
from app.tracing.ports import TracedLargeModel, TracedLedger, TracedSmallModel
from app.tracing.spans import Traces
from domains.northfell.memory import MemoryBooks
from tests.tracing.receiver import LANGFUSE, Receiver, receiving, sending
from tools.memory import MemoryApprovals, MemoryLedger
from tools.ports import Choice, Filled, LargeModel, Ledger, SmallModel

MESSAGE = "refund me please, mail ana@customer.example or call +49 170 1234567"


def test_a_traced_ledger_can_do_what_a_ledger_can():
    """An unknown outcome is reconciled with traces on, too."""
    ledger = MemoryLedger(MemoryBooks(), MemoryApprovals())
    assert isinstance(TracedLedger(ledger, Tracing()), Ledger)


class Router:
    """A small model that always chooses the first option."""

    async def choose(self, role: str, input: str, options: Sequence[str]) -> Choice:
        note(SmallCall("small", Usage(21, 1, 5), "router"))
        return Choice(
            option=options[0],
            probabilities={options[0]: 0.91, options[1]: 0.09},
            model="scripted",
            version="v1",
            ms=1,
        )

    async def fill(self, role: str, input: str, schema: dict[str, Any]) -> Filled:
        raise AssertionError

    async def write(self, role: str, input: str, *, max_tokens: int = 80) -> str:
        raise AssertionError


class Talker:
    """A large model that repeats the user's text in two pieces."""

    async def write(
        self,
        role: str,
        system: str,
        user: str,
        *,
        quotes: Sequence[str] = (),
        bare: str = "",
        max_tokens: int = 400,
    ) -> AsyncIterator[str]:
        yield "You said: "
        yield user
        note(LlmCall(role, "gpt-5-mini", "timeout"))
        note(LlmCall(role, "gpt-5-mini", "ok", Usage(1000, 100, 200)))

    async def fill(
        self,
        role: str,
        system: str,
        user: str,
        schema: dict[str, Any],
        *,
        bare: str = "",
        narrow: object = None,
    ) -> Filled:
        raise AssertionError


class State(TypedDict, total=False):
    text: str
    reply: str
    approved: bool


@dataclass(frozen=True)
class Ports:
    small: SmallModel
    large: LargeModel
    action: Any = None


def action_graph(saver: InMemorySaver) -> Any:
    def approve(state: State) -> State:
        return {"approved": interrupt("may I?")}

    def execute(state: State) -> State:
        return {"reply": f"done: {state.get('approved')}"}

    return (
        StateGraph(State)
        .add_sequence([approve, execute])
        .add_edge(START, "approve")
        .add_edge("execute", END)
        .compile(checkpointer=saver, name="action")
    )


def support_graph(saver: InMemorySaver) -> Any:
    async def route(state: State, runtime: Runtime[Ports]) -> State:
        await runtime.context.small.choose("router", state["text"], ["operation", "answer"])
        return {}

    async def act(state: State, runtime: Runtime[Ports]) -> State:
        await runtime.context.action.ainvoke(
            {"text": state["text"]},
            {"configurable": {"thread_id": "action-1", "checkpoint_ns": ""}},
        )
        return {}

    async def answer(state: State, runtime: Runtime[Ports]) -> State:
        pieces = [
            piece async for piece in runtime.context.large.write("synthesizer", "s", state["text"])
        ]
        return {"reply": "".join(pieces)}

    return (
        StateGraph(State, context_schema=Ports)
        .add_sequence([route, act, answer])
        .add_edge(START, "route")
        .add_edge("answer", END)
        .compile(checkpointer=saver, name="support")
    )


@pytest.fixture
def receiver() -> Generator[Receiver]:
    with receiving() as receiver:
        yield receiver


PRICES = Prices(models={"gpt-5-mini": Price(input=2, output=8, cached=1)})


def langfuse(url: str, **more: Any) -> Targets:
    return Targets(public_key="pk-test", secret_key="sk-test", langfuse_url=url, **more)


async def play(traces: Tracing, thread: str, turn: str, saver: InMemorySaver) -> str | None:
    graph = support_graph(saver)
    ports = Ports(
        TracedSmallModel(Router(), traces),
        TracedLargeModel(Talker(), traces),
        action_graph(saver),
    )
    async with traces.turn(turn, thread, "ana", MESSAGE) as traced:
        out = await graph.ainvoke(
            {"text": MESSAGE},
            {"configurable": {"thread_id": thread}, "callbacks": [*traced.callbacks]},
            context=ports,
        )
        traced.annotate(
            output=out["reply"], lane="operation", probability=0.91, tags=["lane:operation"]
        )
        return traced.trace_id


TREE = {
    "": ["turn"],
    "turn": ["support"],
    "support": ["act", "answer", "route"],
    "route": ["router"],
    "act": ["action"],
    "action": ["approve"],
    "answer": ["synthesizer"],
}


async def test_a_turn_is_one_trace_with_every_call_below_its_node(receiver: Receiver) -> None:
    """Turn, graph, node and model call nest; concurrent turns do not mix."""
    async with sending(langfuse(receiver.url)) as traces:
        saver = InMemorySaver()
        ids = await asyncio.gather(*(play(traces, f"t{n}", f"turn-{n}", saver) for n in range(3)))
        assert traces.state == "on"

    assert len(set(ids)) == 3
    for trace in ids:
        assert trace is not None
        assert receiver.tree(trace) == TREE
    assert {span.trace for span in receiver.spans} == set(ids)
    assert set(receiver.paths) == {LANGFUSE}
    assert all(each["authorization"].startswith("Basic ") for each in receiver.headers)


async def test_langfuse_is_told_in_its_own_names(receiver: Receiver) -> None:
    """Route, probability, tier, session, user, tags and release are what a reviewer filters by."""
    targets = langfuse(receiver.url, environment="test", release="0.1.0")
    async with sending(targets, PRICES) as traces:
        await play(traces, "thread-7", "turn-7", InMemorySaver())

    spans = {span.name: span for span in receiver.spans}
    meta = "langfuse.observation.metadata."
    router, turn, answer = (spans[n].attributes for n in ("router", "turn", "synthesizer"))
    assert [spans[n].type for n in ("turn", "router", "synthesizer", "support")] == [
        "agent",
        "generation",
        "generation",
        "chain",
    ]
    assert router[meta + "role"] == "router"
    assert router["langfuse.observation.output"] == "operation"
    assert router[meta + "probability"] == "0.91"
    assert router[meta + "tier"] == "small"
    assert router["langfuse.observation.model.name"] == "scripted"
    assert turn[meta + "lane"] == "operation"
    assert turn[meta + "turn"] == "turn-7"
    assert turn["langfuse.trace.tags"] == ["lane:operation"]
    # One generation a call, with what it used and cost; what came from the cache is counted once.
    assert json.loads(router["langfuse.observation.usage_details"]) == {
        "input": 16,
        "output": 1,
        "cache_read_input_tokens": 5,
    }
    assert json.loads(router["langfuse.observation.cost_details"]) == {"total": 0.0}
    assert answer["langfuse.observation.model.name"] == "gpt-5-mini"
    assert json.loads(answer["langfuse.observation.usage_details"])["input"] == 800
    assert json.loads(answer["langfuse.observation.cost_details"])["total"] == pytest.approx(0.0026)
    assert answer["langfuse.observation.completion_start_time"] > "20"
    assert json.loads(answer["langfuse.observation.input"])["system"] == "s"
    assert {span.attributes["session.id"] for span in receiver.spans} == {"thread-7"}
    assert {span.attributes["user.id"] for span in receiver.spans} == {"ana"}
    for name, expected in (
        ("langfuse.trace.name", "turn"),
        ("langfuse.environment", "test"),
        ("langfuse.release", "0.1.0"),
    ):
        assert {span.attributes[name] for span in receiver.spans} == {expected}
    assert not any(key.startswith("gen_ai") for span in receiver.spans for key in span.attributes)


async def test_an_approval_lands_in_the_trace_of_its_turn(receiver: Receiver) -> None:
    """The reviewer's resume, later and on the action's thread, joins the turn that asked; so it does in another
    process, which finds the turn's place in the database."""
    saver, kept = InMemorySaver(), Kept()
    async with sending(langfuse(receiver.url)) as traces:
        asked = await play(traces, "t1", "turn-1", saver)
        assert isinstance(traces, Traces)
        kept.places = {place.turn: place for place in traces.fresh()}
    async with sending(langfuse(receiver.url)) as traces:
        assert isinstance(traces, Traces)
        traces.places = kept
        async with traces.turn("a_1", "t1", "ana", "approve", of="turn-1") as traced:
            out = await action_graph(saver).ainvoke(
                Command(resume=True),
                {"configurable": {"thread_id": "action-1"}, "callbacks": [*traced.callbacks]},
            )

    assert out["reply"] == "done: True"
    assert {span.trace for span in receiver.spans} == {asked}
    tree = receiver.tree(str(asked))
    assert tree[""] == ["turn"]
    assert tree["turn"] == ["later", "support"]
    assert tree["later"] == ["action"]
    assert tree["action"] == ["approve", "approve", "execute"]


@dataclass
class Kept:
    """Where turns are, as the database would say it."""

    places: dict[str, Place] = field(default_factory=dict[str, Place])

    def find(self, turn: str) -> Place | None:
        return self.places.get(turn)


async def test_personal_data_does_not_leave(receiver: Receiver) -> None:
    """Inputs, outputs, metadata, user id, records, errors and their stack traces go out masked."""
    customer = {"id": "ana", "name": "Ana Lindqvist", "email": "ana@customer.example"}
    async with sending(langfuse(receiver.url)) as traces:
        await play(traces, "t1", "turn-1", InMemorySaver())

        async def fail() -> None:
            async with (
                traces.turn("turn-2", "t1", "ana@customer.example", MESSAGE),
                traces.span("lookup", "tool", input=customer, note=MESSAGE),
            ):
                raise LookupError(MESSAGE)

        with pytest.raises(LookupError):
            await fail()

    sent = b"".join(receiver.bodies)
    for secret in (b"ana@customer.example", b"170 1234567", b"Lindqvist"):
        assert secret not in sent
    lookup = next(span for span in receiver.spans if span.name == "lookup")
    assert '"[name]"' in lookup.attributes["langfuse.observation.input"]
    assert lookup.attributes["user.id"] == "[email]"
    assert "[email]" in lookup.status
    assert "[phone]" in lookup.status
    assert lookup.attributes["langfuse.observation.level"] == "ERROR"
    assert lookup.attributes["langfuse.observation.metadata.error.type"] == "LookupError"


#: As heads say them: with every digit a float has. Some pass a card's check sum, most look like a phone.
PROBABILITIES = [
    float(each)
    for each in (
        "0.8263971209526062",
        "0.5104472923278809",
        "0.999998927116394",
        "4.2115109e-05",
        "0.1234567890123456",
        "0.0378282246310005",
        "1.0",
    )
]


@pytest.mark.parametrize("probability", PROBABILITIES)
async def test_every_confidence_is_readable(receiver: Receiver, probability: float) -> None:
    """Probabilities, milliseconds and token counts arrive digit by digit; a number in a customer's words
    does not."""
    async with (
        sending(langfuse(receiver.url, otlp=receiver.url)) as traces,
        traces.turn("turn-1", "t1", "ana", "4111111111111111") as turn,
        traces.span(
            "router",
            "generation",
            input="0049 170 1234567",
            output={"probability": probability, "note": "or 4111 1111 1111 1111"},
            probability=probability,
            tokens=8192,
            ms=12.345678901234,
            reason=f"sure by {probability}",
        ),
    ):
        turn.annotate(probability=probability)

    meta = "langfuse.observation.metadata."
    router, root = (
        next(span.attributes for span in receiver.spans if span.name == name)
        for name in ("router", "turn")
    )
    # The collector's own form holds a number as a number.
    double = next(s.attributes for s in receiver.collected if s.name == "chat")
    assert double["signalbox.probability"] == probability
    assert json.loads(router[meta + "probability"]) == probability
    assert json.loads(root[meta + "probability"]) == probability
    assert router[meta + "tokens"] == 8192
    assert json.loads(router[meta + "ms"]) == 12.345678901234
    assert str(probability) in router[meta + "reason"]
    output = json.loads(router["langfuse.observation.output"])
    assert output == {"probability": probability, "note": "or [card]"}
    assert router["langfuse.observation.input"] == "[phone]"
    assert root["langfuse.observation.input"] == "[card]"


@pytest.mark.parametrize("status", [401, 500])
async def test_a_refusing_server_disturbs_no_turn(
    receiver: Receiver, status: int, caplog: pytest.LogCaptureFixture
) -> None:
    """401 and 500 raise nothing, end in bounded time, and are said once."""
    receiver.status = status
    begun = time.monotonic()
    async with tracing(langfuse(receiver.url)) as traces:
        begun = time.monotonic()
        for n in range(3):
            await play(traces, "t1", f"turn-{n}", InMemorySaver())
    assert time.monotonic() - begun < 6

    said = [each for each in caplog.records if "does not take traces" in each.message]
    assert len(said) == 1


async def test_a_server_that_is_down_disturbs_no_turn(free_port: int) -> None:
    """Nothing listens: turns run, closing is bounded."""
    begun = time.monotonic()
    async with tracing(langfuse(f"http://127.0.0.1:{free_port}")) as traces:
        begun = time.monotonic()
        await play(traces, "t1", "turn-1", InMemorySaver())
    assert time.monotonic() - begun < 6


async def test_a_hanging_server_slows_no_turn(
    receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Turns end, and so does the desk, before a server answers that never does."""
    receiver.hang = threading.Event()
    # The exporter gives up after ten minutes: whoever waited for it or for the server would not be back in one.
    monkeypatch.setattr(export, "EXPORT_SECONDS", 600)

    async def median(traces: Tracing) -> float:
        took: list[float] = []
        for n in range(15):
            begun = time.thread_time()
            await play(traces, f"t{n}", f"turn-{n}", InMemorySaver())
            took.append(time.thread_time() - begun)
        return sorted(took)[len(took) // 2]

    off = await median(Tracing())
    async with asyncio.timeout(60):
        async with tracing(langfuse(receiver.url)) as traces:
            hanging = await median(traces)

    assert receiver.spans == []
    # Building nine spans costs milliseconds of this thread, which is what the turns run in.
    assert hanging < off + 0.25, f"off {off:.3f} s, hanging {hanging:.3f} s"


async def test_without_keys_nothing_is_imported_or_wrapped() -> None:
    """Off means off: no Langfuse, no OpenTelemetry, no thread, the ports themselves."""
    code = (
        "import asyncio, sys, threading\n"
        "from app.tracing import Targets, tracing\n"
        "async def main():\n"
        "    async with tracing(Targets()) as traces:\n"
        "        async with traces.turn('1', 't', 'ana', 'hi') as turn, traces.span('x', 'tool') as s:\n"
        "            turn.annotate(lane='direct'); s.update(a=1)\n"
        "            context = object()\n"
        "            assert traces.wrap(context) is context\n"
        "            assert traces.state == 'off' and turn.callbacks == ()\n"
        "asyncio.run(main())\n"
        "loaded = [n for n in sys.modules if n.split('.')[0] in {'langfuse', 'opentelemetry'}]\n"
        "assert not loaded, loaded\n"
        "assert threading.active_count() == 1\n"
    )
    ran = await asyncio.to_thread(
        subprocess.run, [sys.executable, "-c", code], capture_output=True, text=True
    )
    assert ran.returncode == 0, ran.stderr


async def test_a_process_ends_at_once_though_the_server_hangs() -> None:
    """Nothing registered at exit waits for the server."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        code = (
            "import asyncio, time\n"
            "from app.tracing import Targets, tracing\n"
            f"targets = Targets(otlp='http://127.0.0.1:{silent.getsockname()[1]}')\n"
            "async def main():\n"
            "    async with tracing(targets) as traces:\n"
            "        async with traces.turn('1', 't', 'ana', 'hi'):\n"
            "            pass\n"
            "        print(time.time(), flush=True)\n"
            "asyncio.run(main())\n"
        )
        ran = await asyncio.to_thread(
            subprocess.run,
            [sys.executable, "-c", code],
            capture_output=True,
            text=True,
            # Whoever waited for the server would wait as long as this.
            env={**os.environ, "OTEL_EXPORTER_OTLP_TIMEOUT": "60"},
        )
    assert ran.returncode == 0, ran.stderr
    assert time.time() - float(ran.stdout) < 20
