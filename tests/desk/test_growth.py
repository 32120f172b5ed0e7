"""Nothing grows for ever: what is past its time goes, what is needed stays, and files shrink."""

from __future__ import annotations

from datetime import timedelta
from itertools import pairwise
from pathlib import Path

import pytest
import sqlalchemy as sa
from langgraph.graph import START, StateGraph
from typing_extensions import TypedDict

from app.stores import tables
from app.stores.audit import SqlAudit
from app.stores.database import create_engine, reading, writing
from app.stores.sizes import earliest_of, moment_of, sizes
from graphs.state import Answer
from tests.desk.test_privacy import ANA, converse, kept_of, with_refund
from tools.values import now


@pytest.fixture
async def desk(world):
    async with world.process() as desk:
        yield desk


def rows_of(world) -> dict[str, int]:
    return {size.table: size.rows for size in sizes(world.url, world.checkpoints)}


def size_of(file: Path) -> int:
    return file.stat().st_size


async def test_a_thread_is_no_larger_than_its_newest_state(world, desk):
    """Of every step but the last nothing is left; what it says is all there."""
    thread = await desk.turns.open_thread(world.customers["ana"])
    for number in range(4):
        await world.say(desk, thread, f"hello {number}", "greeting")
    kept = rows_of(world)
    assert kept["checkpoints"] == 1
    assert kept.get("checkpoint_blobs", 0) <= 30
    assert len(await desk.turns.history(world.customers["ana"], thread)) == 8


async def test_what_waits_survives_every_step_that_was_dropped(world, desk):
    """A question asked before, an approval, and a conversation in another process."""
    thread, action = await with_refund(world, desk, ANA)
    await world.say(desk, thread, "hello", "greeting")
    async with world.process() as other:
        await other.approvals.decide(action, Answer(decision="approve", reviewer="olga"))
        said = [m.text for m in await other.turns.history(world.customers["ana"], thread)]
    assert len(world.rows("refunds", customer_id="ana")) == 1
    assert any("A colleague has approved it" in each for each in said)


class Counted(TypedDict, total=False):
    said: str


async def test_a_graph_within_another_goes_on_where_it_died(world):
    """What was dropped was needed by nobody: the inner graph's first step is not run again."""
    runs: list[str] = []

    def step(name: str, *, dies: bool = False):
        async def run(state: Counted) -> Counted:
            runs.append(name)
            if dies and runs.count(name) == 1:
                raise ConnectionError
            return {"said": state.get("said", "") + name}

        return run

    def line(*steps):
        graph = StateGraph(Counted)
        for name, work in steps:
            graph.add_node(name, work)
        for one, other in pairwise([START, *(name for name, _ in steps)]):
            graph.add_edge(one, other)
        return graph

    inner = line(("c", step("c")), ("d", step("d", dies=True)), ("e", step("e")))
    outer = line(("a", step("a")), ("b", inner.compile()), ("f", step("f")))
    config = {"configurable": {"thread_id": "th_nested"}}

    async def play(given):
        async with world.process() as desk:
            graph = outer.compile(checkpointer=desk.privacy.saver)
            async with desk.stores.holds.holding("th_nested"):
                return await graph.ainvoke(given, config, durability="sync")

    with pytest.raises(ConnectionError):
        await play({"said": ""})
    assert await play(None) == {"said": "acdef"}
    assert runs == ["a", "c", "d", "d", "e", "f"]
    kept = rows_of(world)
    assert kept["checkpoints"] == 1


async def test_everything_past_its_time_goes(world, desk):
    """Conversations with all that is about them, replies, approvals, labels; the audit keeps its chain."""
    thread = await converse(world, desk, "ana", ANA)
    other, action = await with_refund(world, desk, ANA)
    await desk.approvals.decide(action, Answer(decision="reject", reviewer="olga", note=ANA))
    await desk.inbox.release(thread, "olga")
    assert await desk.deliveries.housekeeping.round()
    assert len(await desk.turns.threads(world.customers["ana"])) == 2

    world.hands.pass_(days=800)
    gone = await desk.deliveries.housekeeping.round()
    assert gone["conversations"] == 2
    left = rows_of(world)
    for table in (
        "threads",
        "thread_notes",
        "decisions",
        "reviews",
        "ratings",
        "turns",
        "approvals",
        "votes",
        "outbox",
        "requests",
        "ledger",
        "checkpoints",
    ):
        assert left[table] == 0, table
    # Tickets are the business's own records.
    assert kept_of(world, ANA) - {".db", ".db-wal"} == {"tickets"}
    engine = create_engine(world.url)
    assert SqlAudit(engine).verify().faults == ()
    engine.dispose()
    assert other


async def test_what_is_needed_stays_however_old(world, desk):
    """A conversation that a person has, and one whose approval waits."""
    handed = await converse(world, desk, "ana", ANA)
    asked, action = await with_refund(world, desk, ANA)
    engine = create_engine(world.url)
    with writing(engine) as conn:
        later = now() + timedelta(days=9999)
        conn.execute(sa.update(tables.approvals).values(expires_at=later))
    world.hands.pass_(days=800)
    gone = await desk.deliveries.housekeeping.round()
    assert (gone["conversations"], gone["action graphs"]) == (0, 1)
    found = await desk.stores.threads.list_for_customer("northfell", "ana")
    assert {each.id for each in found} == {handed, asked}
    await desk.approvals.decide(action, Answer(decision="approve", reviewer="olga"))
    assert len(world.rows("refunds", customer_id="ana")) == 1
    engine.dispose()


async def test_a_conversation_that_goes_on_meanwhile_stays(world, desk):
    """It was idle when it was looked for, and is not when its turn comes."""
    thread = await desk.turns.open_thread(world.customers["ana"])
    await world.say(desk, thread, "hello", "greeting")
    before = now() - timedelta(minutes=5)
    gone = await desk.privacy.forget(
        thread, "northfell", actor="signalbox", why="past its time", before=before
    )
    assert not gone
    assert len(await desk.turns.history(world.customers["ana"], thread)) == 2


async def test_a_file_shrinks_when_rows_go(world, desk):
    """SQLite gives pages back; PostgreSQL has autovacuum."""
    if world.url.startswith("postgresql"):
        pytest.skip("autovacuum's own affair")
    engine = create_engine(world.url)
    row = {"turn": "x" * 150, "trace": "", "span": "", "scores": {"note": "y" * 2000}, "at": now()}
    with writing(engine) as conn:
        rows = [row | {"turn": f"{row['turn']}{n}"} for n in range(2000)]
        conn.execute(sa.insert(tables.traces), rows)
    file = Path(world.url.removeprefix("sqlite:///"))
    desk.privacy.rows.scrub()
    full = size_of(file)
    with writing(engine) as conn:
        conn.execute(sa.delete(tables.traces))
    await desk.deliveries.housekeeping.round()
    desk.privacy.rows.scrub()
    assert size_of(file) < full / 2
    engine.dispose()


def test_an_id_tells_when_it_was_made():
    """And sorts as its moment does."""
    at = now()
    assert moment_of(earliest_of(at)) == pytest.approx(at, abs=timedelta(milliseconds=1))
    assert earliest_of(at) < earliest_of(at + timedelta(milliseconds=1))


async def test_sizes_are_told_by_table_with_the_oldest_row(world, desk):
    """For the doctor: of both databases, checkpoints too."""
    await converse(world, desk, "ana", ANA)
    found = {size.table: size for size in sizes(world.url, world.checkpoints)}
    assert found["decisions"].rows
    assert found["decisions"].bytes
    engine = create_engine(world.url)
    with reading(engine) as conn:
        first = conn.execute(sa.select(sa.func.min(tables.decisions.c.at))).scalar()
    assert found["decisions"].oldest == first
    assert now() - found["checkpoints"].oldest < timedelta(minutes=5)
    engine.dispose()
