"""LangGraph's memory in SQLite: written as LangGraph writes it, by one worker thread."""

from __future__ import annotations

import asyncio
import sqlite3
import threading
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, closing
from pathlib import Path
from typing import Any

import pytest
from langgraph.checkpoint.sqlite.aio import AsyncSqliteSaver
from langgraph.graph import START, StateGraph
from langgraph.types import Command, interrupt
from sqlalchemy import make_url
from typing_extensions import TypedDict

from app.stores.checkpoints import SqliteCheckpoints, sqlite_checkpoints
from app.stores.fences import Hold, HoldLost, with_hold
from tools.ports import BackendUnavailable


class State(TypedDict, total=False):
    said: str
    answer: str


async def remember(state: State) -> State:
    return {"said": f"{state.get('said', '')}!"}


def ask(state: State) -> State:
    return {"answer": interrupt("which one?")}


def compiled(saver: Any) -> Any:
    graph = StateGraph(State)
    graph.add_node(remember)
    graph.add_node(ask)
    graph.add_edge(START, "remember")
    graph.add_edge("remember", "ask")
    return graph.compile(checkpointer=saver)


CONFIG: Any = {"configurable": {"thread_id": "t"}}


@asynccontextmanager
async def held(saver: SqliteCheckpoints, token: int = 1, name: str = "t") -> AsyncGenerator[None]:
    """As a turn of the desk does: admitted, and remembered by all that the block starts."""
    hold = Hold(name, token, make_url("sqlite:///elsewhere.db"))
    await saver.admit(hold)
    with with_hold(hold):
        yield


async def test_a_run_goes_on_in_another_process(tmp_path: Path) -> None:
    """What one opening of the file wrote, the next one reads: state, and the interrupt that waits."""
    path = str(tmp_path / "checkpoints.db")
    async with sqlite_checkpoints(path) as saver, held(saver):
        await compiled(saver).ainvoke({"said": "hello"}, CONFIG)

    async with sqlite_checkpoints(path) as saver, held(saver, 2):
        graph = compiled(saver)
        waiting = await graph.aget_state(CONFIG)
        done = await graph.ainvoke(Command(resume="the first"), CONFIG)

    assert waiting.next == ("ask",)
    assert done == {"said": "hello!", "answer": "the first"}


async def test_langgraphs_own_saver_reads_the_file(tmp_path: Path) -> None:
    """The format is LangGraph's, so that nothing is lost by going back to its saver."""
    path = str(tmp_path / "checkpoints.db")
    async with sqlite_checkpoints(path) as saver, held(saver):
        await compiled(saver).ainvoke({"said": "hello"}, CONFIG)

    async with AsyncSqliteSaver.from_conn_string(path) as theirs:
        kept = await compiled(theirs).aget_state(CONFIG)

    assert kept.values == {"said": "hello!"}


async def test_a_step_that_died_before_its_checkpoint_runs_again(tmp_path: Path) -> None:
    """What had been checkpointed stays; the run goes on with the step that did not get there."""
    runs: list[str] = []

    async def first(state: State) -> State:
        runs.append("first")
        return {"said": "one"}

    async def second(state: State) -> State:
        runs.append("second")
        if runs.count("second") == 1:
            raise ConnectionError
        return {"answer": "two"}

    path = str(tmp_path / "checkpoints.db")
    graph = StateGraph(State)
    graph.add_node(first)
    graph.add_node(second)
    graph.add_edge(START, "first")
    graph.add_edge("first", "second")
    async with sqlite_checkpoints(path) as saver, held(saver):
        with pytest.raises(ConnectionError):
            await graph.compile(checkpointer=saver).ainvoke({"said": ""}, CONFIG)

    async with sqlite_checkpoints(path) as saver, held(saver, 2):
        done = await graph.compile(checkpointer=saver).ainvoke(None, CONFIG)

    assert done == {"said": "one", "answer": "two"}
    assert runs == ["first", "second", "second"]


async def test_many_threads_at_once(tmp_path: Path) -> None:
    """Runs on different threads do not disturb each other, and one worker writes for all of them."""
    async with sqlite_checkpoints(str(tmp_path / "checkpoints.db")) as saver:
        graph = compiled(saver)
        configs: list[Any] = [{"configurable": {"thread_id": str(n)}} for n in range(20)]

        async def said_on(config: Any) -> None:
            name = config["configurable"]["thread_id"]
            async with held(saver, int(name) + 1, name):
                await graph.ainvoke({"said": name}, config)

        await asyncio.gather(*map(said_on, configs))
        said = [(await graph.aget_state(c)).values["said"] for c in configs]
        workers = [t for t in threading.enumerate() if t.name.startswith("checkpoints")]
        listed = [found async for found in saver.alist(configs[0])]
        await saver.adelete_thread("0")
        gone = await saver.aget_tuple(configs[0])

    assert said == [f"{n}!" for n in range(20)]
    assert len(workers) == 1
    assert len(listed) == 1  # The newest state alone.
    assert gone is None
    assert not [t for t in threading.enumerate() if t.name.startswith("checkpoints")]


async def test_whoever_lost_the_thread_writes_nothing_on_it(tmp_path: Path) -> None:
    """A later hold was admitted; what the earlier one still has to say is refused, and neither can come back."""
    path = str(tmp_path / "checkpoints.db")
    slept_on = Hold("t", 1, make_url("sqlite:///elsewhere.db"))
    async with sqlite_checkpoints(path) as slept, sqlite_checkpoints(path) as woken:
        async with held(slept, 1):
            await compiled(slept).ainvoke({"said": "hello"}, CONFIG)
        async with held(woken, 2):
            await compiled(woken).ainvoke(Command(resume="mine"), CONFIG)
        with with_hold(slept_on), pytest.raises(HoldLost):
            await compiled(slept).ainvoke(Command(resume="late"), CONFIG)
        with pytest.raises(HoldLost):
            await slept.admit(slept_on)
        kept = await compiled(woken).aget_state(CONFIG)

    assert kept.values == {"said": "hello!", "answer": "mine"}


async def test_nothing_is_written_on_a_thread_that_nobody_holds(tmp_path: Path) -> None:
    """A path that forgot to ask is a programming error, and is seen at once."""
    async with sqlite_checkpoints(str(tmp_path / "checkpoints.db")) as saver:
        with pytest.raises(RuntimeError, match="nobody holds t"):
            await compiled(saver).ainvoke({"said": "hello"}, CONFIG)


async def test_a_locked_file_is_a_part_that_cannot_be_reached(tmp_path: Path) -> None:
    """Another process sleeps in the middle of its write: whoever waited for long enough says so, by its type."""
    path = str(tmp_path / "checkpoints.db")
    async with sqlite_checkpoints(path) as saver:
        saver.conn.execute("PRAGMA busy_timeout=50")
        async with held(saver):
            with closing(sqlite3.connect(path, isolation_level=None)) as other:
                other.execute("BEGIN IMMEDIATE")
                with pytest.raises(BackendUnavailable):
                    await compiled(saver).ainvoke({"said": "hello"}, CONFIG)
            done = await compiled(saver).ainvoke({"said": "hello"}, CONFIG)

    assert done["said"] == "hello!"
