"""LangGraph's memory in SQLite: written as LangGraph writes it, by one worker thread."""

from __future__ import annotations

import asyncio
import threading
from pathlib import Path
from typing import Any

import pytest
from langgraph.checkpoint.sqlite.aio import AsyncSqliteSaver
from langgraph.graph import START, StateGraph
from langgraph.types import Command, interrupt
from typing_extensions import TypedDict

from app.stores.checkpoints import sqlite_checkpoints


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


async def test_a_run_goes_on_in_another_process(tmp_path: Path) -> None:
    """What one opening of the file wrote, the next one reads: state, and the interrupt that waits."""
    path = str(tmp_path / "checkpoints.db")
    async with sqlite_checkpoints(path) as saver:
        await compiled(saver).ainvoke({"said": "hello"}, CONFIG)

    async with sqlite_checkpoints(path) as saver:
        graph = compiled(saver)
        waiting = await graph.aget_state(CONFIG)
        done = await graph.ainvoke(Command(resume="the first"), CONFIG)

    assert waiting.next == ("ask",)
    assert done == {"said": "hello!", "answer": "the first"}


async def test_langgraphs_own_saver_reads_the_file(tmp_path: Path) -> None:
    """The format is LangGraph's, so that nothing is lost by going back to its saver."""
    path = str(tmp_path / "checkpoints.db")
    async with sqlite_checkpoints(path) as saver:
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
    async with sqlite_checkpoints(path) as saver:
        with pytest.raises(ConnectionError):
            await graph.compile(checkpointer=saver).ainvoke({"said": ""}, CONFIG)

    async with sqlite_checkpoints(path) as saver:
        done = await graph.compile(checkpointer=saver).ainvoke(None, CONFIG)

    assert done == {"said": "one", "answer": "two"}
    assert runs == ["first", "second", "second"]


async def test_many_threads_at_once(tmp_path: Path) -> None:
    """Runs on different threads do not disturb each other, and one worker writes for all of them."""
    async with sqlite_checkpoints(str(tmp_path / "checkpoints.db")) as saver:
        graph = compiled(saver)
        configs: list[Any] = [{"configurable": {"thread_id": str(n)}} for n in range(20)]
        await asyncio.gather(
            *(graph.ainvoke({"said": c["configurable"]["thread_id"]}, c) for c in configs)
        )
        said = [(await graph.aget_state(c)).values["said"] for c in configs]
        workers = [t for t in threading.enumerate() if t.name.startswith("checkpoints")]
        listed = [found async for found in saver.alist(configs[0])]
        await saver.adelete_thread("0")
        gone = await saver.aget_tuple(configs[0])

    assert said == [f"{n}!" for n in range(20)]
    assert len(workers) == 1
    assert len(listed) == 3
    assert gone is None
    assert not [t for t in threading.enumerate() if t.name.startswith("checkpoints")]
