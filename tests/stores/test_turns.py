"""A turn sent twice is played once, and a thread is its customer's alone."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest

from app.stores.turns import Conflict, Fresh, InFlight, Replay, SqlThreads, SqlTurns

EVENTS = [{"event": "final", "data": {"text": "Hello 🙂"}}]


@pytest.fixture
def turns(world):
    return SqlTurns(world.engine, world.hands.clock)


@pytest.fixture
def threads(world):
    return SqlThreads(world.engine, world.hands.clock)


def begin(turns, fingerprint="hello", key="k", customer="C-1", tenant="northfell"):
    return turns.begin(tenant, customer, key, fingerprint)


async def test_a_finished_turn_is_replayed(turns):
    """The second sending gets the first one's answer."""
    turn = await begin(turns)
    assert isinstance(turn, Fresh)
    assert await turns.finish(turn, EVENTS) is True
    assert await begin(turns) == Replay(EVENTS)


async def test_a_turn_that_is_being_played_is_in_flight(turns):
    """Twice at the same time is once."""
    await begin(turns)
    assert await begin(turns) == InFlight()


async def test_a_key_stands_for_one_message(turns):
    """Played or not, another message under the key is a conflict."""
    turn = await begin(turns)
    assert await begin(turns, "other") == Conflict()
    await turns.finish(turn, EVENTS)
    assert await begin(turns, "other") == Conflict()


@pytest.mark.parametrize("other", [{"customer": "C-2"}, {"tenant": "elsewhere"}, {"key": "k2"}])
async def test_a_key_is_the_customers_own(turns, other):
    """Nobody can read another's answer, or block it, by using the same key."""
    await turns.finish(await begin(turns), EVENTS)
    assert isinstance(await begin(turns, **other), Fresh)


async def test_an_abandoned_turn_can_be_played_again(turns):
    """An error answer does not stick to the key."""
    await turns.abandon(await begin(turns))
    assert isinstance(await begin(turns), Fresh)


async def test_a_dead_turn_is_taken_over_and_its_late_answer_dropped(turns, world):
    """After the lease the key is free; the one who lost it can neither finish nor abandon."""
    dead = await begin(turns)
    world.hands.pass_(minutes=3)
    alive = await begin(turns)
    assert isinstance(alive, Fresh)
    assert await turns.finish(dead, ["late"]) is False
    await turns.abandon(dead)
    assert await turns.renew(dead) is False
    assert await turns.finish(alive, EVENTS) is True
    assert await begin(turns) == Replay(EVENTS)


async def test_a_long_turn_keeps_its_key(turns, world):
    """Renewing moves the lease."""
    turn = await begin(turns)
    world.hands.pass_(seconds=12)
    assert await turns.renew(turn) is True
    world.hands.pass_(seconds=12)
    assert await begin(turns) == InFlight()


async def test_of_many_sendings_at_once_one_is_fresh(turns):
    """Thirty-two duplicates race for a key."""
    with ThreadPoolExecutor(32) as pool:
        found = list(pool.map(lambda _: turns._begin("northfell", "C-1", "k", "hello"), range(32)))
    assert sum(isinstance(each, Fresh) for each in found) == 1
    assert sum(isinstance(each, InFlight) for each in found) == 31


async def test_old_keys_are_forgotten(turns, world):
    """After the retention a key is new again."""
    await turns.finish(await begin(turns), EVENTS)
    assert await turns.prune() == 0
    world.hands.pass_(hours=25)
    assert await turns.prune() == 1
    assert isinstance(await begin(turns), Fresh)


# --- threads ---------------------------------------------------------------------------------------


async def test_a_thread_is_seen_by_its_customer_only(threads):
    """For everybody else it is not there."""
    thread = await threads.create("northfell", "C-1", "Where is my tent?")
    assert await threads.owner(thread.id, "northfell", "C-1") == thread
    assert await threads.owner(thread.id, "northfell", "C-2") is None
    assert await threads.owner(thread.id, "elsewhere", "C-1") is None
    assert await threads.owner("th_nothing", "northfell", "C-1") is None
    assert await threads.find(thread.id) == thread


async def test_a_customers_threads_are_listed_newest_first(threads, world):
    """Only their own, in pages."""
    mine = []
    for each in range(3):
        mine.append(await threads.create("northfell", "C-1", str(each)))
        world.hands.pass_(minutes=1)
    await threads.create("northfell", "C-2")
    page = await threads.list_for_customer("northfell", "C-1", limit=2)
    rest = await threads.list_for_customer("northfell", "C-1", before=page[-1].created_at)
    assert page + rest == mine[::-1]


async def test_a_thread_is_handed_off_and_released_once(threads):
    """The change is told from the repetition."""
    thread = await threads.create("northfell", "C-1")
    assert await threads.set_handed_off(thread.id, True) is True
    assert await threads.set_handed_off(thread.id, True) is False
    assert [each.id for each in await threads.list_handed_off()] == [thread.id]
    assert await threads.list_handed_off(tenant="elsewhere") == []
    assert await threads.set_handed_off(thread.id, False) is True
    assert await threads.list_handed_off() == []


async def test_a_thread_can_be_named(threads):
    """A title comes with the first message."""
    thread = await threads.create("northfell", "C-1")
    assert await threads.set_title(thread.id, "Tent") is True
    assert (await threads.owner(thread.id, "northfell", "C-1")).title == "Tent"
    assert await threads.set_title("th_nothing", "Tent") is False
