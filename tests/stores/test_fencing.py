"""Whoever lost its hold writes nothing, whatever it believes; whoever took over goes on at once."""

from __future__ import annotations

import asyncio
import contextlib
import time
from contextvars import Context
from datetime import timedelta

import pytest
import sqlalchemy as sa
from langgraph.checkpoint.base import id as ids

from app.stores.checkpoints import SqliteCheckpoints, sqlite_checkpoints
from app.stores.database import create_engine, writing
from app.stores.fences import HoldLost, next_owner, with_hold
from app.stores.holds import SqlHolds
from app.stores.postgres_checkpoints import (
    PostgresCheckpoints,
    make_tables,
    postgres_checkpoints,
)
from app.stores.tables import threads
from app.stores.turns import Fresh, InFlight, SqlThreads, SqlTurns
from tests.stores.world import ROUTINE, TAKE, World, an_action
from tools.ports import BackendUnavailable


@pytest.fixture
def holds(world):
    return SqlHolds(world.engine, world.hands.clock, beat=0.02)


async def test_a_name_is_held_by_one_at_a_time_and_tokens_grow(holds, world):
    """Given back or taken over: whoever comes later has a greater token."""
    first = await holds.take("th-1")
    assert await holds.take("th-1") is None
    world.hands.pass_(seconds=16)
    second = await holds.take("th-1")
    assert await holds.keep(first) is False
    await holds.release(first)  # It is not its own any more.
    assert await holds.keep(second) is True
    await holds.release(second)
    third = await holds.take("th-1")
    assert first.token < second.token < third.token


async def test_a_lost_hold_writes_nothing(holds, world):
    """In any store of the same database, whatever it is about."""
    slept = await holds.take("th-1")
    world.hands.pass_(seconds=16)
    await holds.take("th-1")
    opened = SqlThreads(world.engine, world.hands.clock)
    with with_hold(slept):
        with pytest.raises(HoldLost):
            await opened.create("northfell", "C-1", id="late")
        with pytest.raises(HoldLost):
            await world.ledger.execute(an_action(), TAKE, ROUTINE)
    assert await opened.find("late") is None
    assert world.effects == 0


async def test_a_block_whose_hold_is_lost_is_ended(holds, world):
    """Also where it waits for something that never comes."""

    async def waits_for_ever() -> None:
        async with holds.holding("th-1"):
            world.hands.pass_(seconds=16)
            assert await holds.take("th-1") is not None
            await asyncio.Event().wait()

    with pytest.raises(HoldLost):
        await asyncio.wait_for(waits_for_ever(), 30)


async def test_whoever_waits_gets_the_name_when_it_is_given_back(world):
    """Two processes, one after the other; what each wrote in its block is there."""
    order = []

    async def process(name):
        async with SqlHolds(world.engine, world.hands.clock).holding("th-1"):
            order.append(name)
            await asyncio.sleep(0.1)
            order.append(name)

    await asyncio.gather(process("a"), process("b"))
    assert "".join(order) in ("aabb", "bbaa")


async def test_a_clock_that_was_ahead_blocks_nobody_for_longer_than_a_lease(holds, world):
    """A process whose clock is an hour fast dies over a thread and a key."""
    turns = SqlTurns(world.engine, world.hands.clock)
    world.hands.pass_(hours=1)
    assert await holds.take("th-1") is not None
    assert isinstance(await turns.begin("northfell", "C-1", "k", "hello"), Fresh)
    world.hands.pass_(hours=-1)
    assert await holds.take("th-1") is None
    assert await turns.begin("northfell", "C-1", "k", "hello") == InFlight()
    world.hands.pass_(seconds=16)
    assert await holds.take("th-1") is not None
    assert isinstance(await turns.begin("northfell", "C-1", "k", "hello"), Fresh)


async def test_who_took_over_an_action_need_not_wait_for_the_lease_of_its_key(holds, world):
    """The sleeper had begun it, and can do nothing more; the successor does it, and it is done once."""
    action = an_action()
    slept = await holds.take(action.id)
    taken = []

    def take_over() -> None:
        world.hands.pass_(seconds=16)
        with with_hold(holds._take(action.id)):
            taken.append(world.ledger._execute(action, TAKE, ROUTINE))

    def sleep(name: str) -> None:
        if name == "begin_committed":
            Context().run(take_over)  # Another process: it holds nothing of the sleeper's.

    slow = World(world.url, world.hands, sleep)
    with with_hold(slept), pytest.raises(HoldLost):
        await asyncio.to_thread(slow.ledger._execute, action, TAKE, ROUTINE)
    slow.engine.dispose()
    assert [each.status for each in taken] == ["executed"]
    assert world.effects == 1


async def test_a_delivery_that_another_relay_took_up_is_left_to_it(world):
    """The claim carries a token too."""
    await world.ledger.execute(an_action(), TAKE, ROUTINE)
    world.hands.pass_(seconds=31)
    [first] = await world.outbox.due()
    assert await world.outbox.claimed(first)
    world.hands.pass_(seconds=31)
    [second] = await world.outbox.due()
    assert not await world.outbox.claimed(first)
    assert await world.outbox.claimed(second)
    assert first.claim < second.claim


async def test_tokens_sort_as_text(world):
    """A lease's owner is compared as text."""
    with writing(world.engine) as conn:
        owners = [next_owner(conn) for _ in range(12)]
    assert owners == sorted(set(owners))


@pytest.mark.postgres
async def test_checkpoints_on_postgres_are_refused_to_whoever_lost_the_thread(copied_database):
    """Writes of a sleeping process are as if it had never woken up."""
    from tests.stores.test_checkpoints import CONFIG, compiled

    url = copied_database("postgres")
    await make_tables(url)
    engine = create_engine(url)
    holds = SqlHolds(engine, lease=timedelta(0))
    async with postgres_checkpoints(url) as saver:
        graph = compiled(saver)
        slept = await holds.take("t")
        with with_hold(slept):
            await graph.ainvoke({"said": "hello"}, CONFIG)
        with with_hold(await holds.take("t")):
            await graph.ainvoke({"said": "mine"}, CONFIG)
        with with_hold(slept), pytest.raises(HoldLost):
            await graph.ainvoke({"said": "late"}, CONFIG)
        kept = await graph.aget_state(CONFIG)
    engine.dispose()
    assert kept.values["said"] == "mine!"


@pytest.mark.parametrize("kind", ["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)])
async def test_a_clock_that_was_ahead_hides_nothing(kind, copied_database, tmp_path, monkeypatch):
    """One machine's clock is an hour ahead; what another one writes after it is the newest all the same."""
    from tests.stores.test_checkpoints import CONFIG, compiled

    url, books = str(tmp_path / "checkpoints.db"), copied_database(kind)
    opening = sqlite_checkpoints
    if kind == "postgres":
        url, opening = books, postgres_checkpoints
        await make_tables(url)
    engine = create_engine(books)
    holds = SqlHolds(engine, lease=timedelta(0))
    for said, ahead in (("first", 3600), ("second", 0), ("third", -3600)):
        now = time.time_ns() + ahead * 10**9
        monkeypatch.setattr(ids.time, "time_ns", lambda now=now: now)
        monkeypatch.setattr(ids, "_last_v6_timestamp", None)  # Another process.
        async with opening(url) as saver:
            graph, hold = compiled(saver), await holds.take("t")
            await saver.admit(hold)
            with with_hold(hold):
                await graph.aget_state(CONFIG)
                await graph.ainvoke({"said": said}, CONFIG)
                assert (await graph.aget_state(CONFIG)).values["said"] == f"{said}!"
        monkeypatch.undo()
    engine.dispose()


@pytest.mark.parametrize("kind", ["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)])
async def test_what_no_checkpoint_holds_is_not_read(kind, copied_database, tmp_path):
    """A process dies between a step and its checkpoint: nobody is told what the step said, and it runs again."""
    from tests.stores.test_checkpoints import CONFIG, compiled

    url, books = str(tmp_path / "checkpoints.db"), copied_database(kind)
    opening, saver_kind = sqlite_checkpoints, SqliteCheckpoints
    if kind == "postgres":
        url, opening = books, postgres_checkpoints
        saver_kind = PostgresCheckpoints
        await make_tables(url)

    class Dies(saver_kind):
        async def aput(self, config, checkpoint, metadata, new_versions):
            if metadata["source"] == "loop" and metadata["step"] > 0:
                raise BackendUnavailable
            return await super().aput(config, checkpoint, metadata, new_versions)

    engine = create_engine(books)
    hold = await SqlHolds(engine).take("t")
    async with opening(url, Dies) as saver:
        await saver.admit(hold)
        with with_hold(hold), pytest.raises(BackendUnavailable):
            await compiled(saver).ainvoke({"said": "hello"}, CONFIG, durability="sync")
    async with opening(url) as saver:
        state = await compiled(saver).aget_state(CONFIG)
    engine.dispose()
    assert (state.values["said"], state.next) == ("hello", ("remember",))


@pytest.mark.postgres
async def test_locks_of_a_sleeping_process_end_by_themselves(copied_database):
    """It stands still in the middle of a transaction; who waits for its row gets it before giving up."""
    url = copied_database("postgres")
    engine, other = create_engine(url), create_engine(url)
    await SqlThreads(engine).create("northfell", "C-1", id="t")
    rename = sa.update(threads).where(threads.c.id == "t")
    asleep = engine.connect()
    asleep.execute(rename.values(title="asleep"))
    started = time.monotonic()
    await asyncio.to_thread(lambda: _rename(other, rename))
    assert time.monotonic() - started < 7
    with contextlib.suppress(sa.exc.DBAPIError):
        asleep.close()
    assert (await SqlThreads(other).find("t")).title == "awake"
    engine.dispose()
    other.dispose()


def _rename(engine, rename) -> None:
    with writing(engine) as conn:
        conn.execute(rename.values(title="awake"))
