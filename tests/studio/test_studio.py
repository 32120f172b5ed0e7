"""A real `langgraph dev` opens the three graphs, and an interrupt is resumed through its API."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import AsyncGenerator, Generator
from pathlib import Path
from typing import Any

import httpx
import pytest
from langgraph_sdk import get_client
from langgraph_sdk.client import LangGraphClient

from domains.northfell.memory import demo_world

pytestmark = [pytest.mark.studio, pytest.mark.models, pytest.mark.slow]

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Generator[str]:
    """The address of a development server that runs for this module."""
    folder = tmp_path_factory.mktemp("studio")
    # The server writes its state beside its configuration.
    shutil.copy(ROOT / "langgraph.json", folder)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = str(probe.getsockname()[1])
    log = folder / "log"
    command = f"-m langgraph_cli dev --no-browser --no-reload --host 127.0.0.1 --port {port}"
    with log.open("w") as said:
        process = subprocess.Popen(
            [sys.executable, *command.split()],
            cwd=folder,
            env={
                **os.environ,
                "PYTHONPATH": str(ROOT),
                "SIGNALBOX_DATA_DIR": str(folder / "data"),
                "LANGGRAPH_CLI_NO_ANALYTICS": "1",
            },
            stdout=said,
            stderr=said,
            start_new_session=True,
        )
    try:
        wait_until_it_answers(process, f"http://127.0.0.1:{port}", log)
        yield f"http://127.0.0.1:{port}"
        process.send_signal(signal.SIGINT)
        assert process.wait(30) == 0
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
    assert "BlockingError" not in log.read_text()


def wait_until_it_answers(process: subprocess.Popen[bytes], url: str, log: Path) -> None:
    for _ in range(300):
        assert process.poll() is None, log.read_text()
        try:
            if httpx.get(f"{url}/ok").is_success:
                return
        except httpx.TransportError:
            time.sleep(0.2)
    raise AssertionError(log.read_text())


@pytest.fixture
async def studio(server: str) -> AsyncGenerator[LangGraphClient]:
    async with get_client(url=server) as client:
        yield client


async def run(studio: LangGraphClient, thread: str, graph: str, **sent: Any) -> Any:
    return await studio.runs.wait(thread, graph, **sent)


async def new_thread(studio: LangGraphClient) -> str:
    return (await studio.threads.create())["thread_id"]


def delivered_order() -> str:
    books = demo_world()
    orders = books.account(books.customer("ana")).orders.values()
    return next(order.number for order in orders if order.status == "delivered")


@pytest.mark.parametrize(
    ("graph", "nodes"),
    [
        ("support", {"receive", "screen", "route", "loop", "validate", "deliver"}),
        ("action", {"receive", "classify", "approve", "execute", "reconcile"}),
        ("loop", {"receive", "plan", "act", "observe", "evaluate"}),
    ],
)
async def test_a_graph_can_be_opened_and_drawn(
    studio: LangGraphClient, graph: str, nodes: set[str]
) -> None:
    """Each graph is listed, has its picture, and a schema for Studio's input form."""
    [assistant] = await studio.assistants.search(graph_id=graph)
    drawn = await studio.assistants.get_graph(assistant["assistant_id"])
    schemas = await studio.assistants.get_schemas(assistant["assistant_id"])

    assert nodes <= {str(node["id"]) for node in drawn["nodes"]}
    assert schemas["input_schema"]
    assert schemas["state_schema"]


async def test_a_turn_is_answered(studio: LangGraphClient) -> None:
    """Typed into the form: a greeting is answered by the direct lane."""
    state = await run(
        studio, await new_thread(studio), "support", input={"turn": {"text": "Hello there"}}
    )

    assert [message["type"] for message in state["messages"]] == ["human", "ai"]
    assert state["messages"][0]["content"] == "Hello there"
    assert state["messages"][1]["content"]


async def test_a_chat_message_is_answered_from_the_demo_books(studio: LangGraphClient) -> None:
    """Typed into Studio's chat: the same graph, on the books of the demo customer."""
    number = delivered_order()
    said = {"role": "user", "content": f"What is the status of my order {number}?"}
    state = await run(studio, await new_thread(studio), "support", input={"messages": [said]})

    assert [message["type"] for message in state["messages"]] == ["human", "ai"]
    assert number in state["messages"][1]["content"]


async def test_an_interrupt_is_resumed_once_and_by_nothing_else(studio: LangGraphClient) -> None:
    """A refund waits; a raw yes does nothing; a reviewer's answer pays once, however often it comes."""
    order = delivered_order()
    thread = await new_thread(studio)
    wanted = {
        "operation": "request_refund",
        "arguments": {"order_number": order, "reason": "damaged"},
    }

    await run(studio, thread, "action", input={"action": wanted})

    assert await waits(studio, thread)
    assert await refund(studio, order) is None

    said = {"type": "response", "args": "approve it"}
    for wrong in (True, "yes", said, [said], {"approved": True}, {"decision": "yes"}):
        with pytest.raises(Exception, match="ValidationError"):
            await run(studio, thread, "action", command={"resume": wrong})
        assert await waits(studio, thread), wrong
        assert await refund(studio, order) is None

    answer = [{"type": "accept", "args": None}]
    done = await run(studio, thread, "action", command={"resume": answer})
    paid = await refund(studio, order)
    assert done["outcome"]["status"] == "executed"
    assert not await waits(studio, thread)
    assert paid

    await run(studio, thread, "action", command={"resume": answer})
    again = await run(studio, await new_thread(studio), "action", input={"action": wanted})
    assert again["outcome"]["status"] == "blocked"
    assert await refund(studio, order) == paid


async def waits(studio: LangGraphClient, thread: str) -> bool:
    return (await studio.threads.get_state(thread))["next"] == ["approve"]


async def refund(studio: LangGraphClient, order: str) -> dict[str, Any] | None:
    """The order's refund, asked through the gate itself."""
    wanted = {"operation": "get_refund_status", "arguments": {"order_number": order}}
    state = await run(studio, await new_thread(studio), "action", input={"action": wanted})
    return state["outcome"]["result"] or None
