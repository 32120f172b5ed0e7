"""The same request is known again, whichever conversation it comes from, until it is settled."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor

import pytest

from app.stores.requests import SqlRequests
from tests.stores.world import BEN, GRAVE, SEIZE, an_action
from tools.ports import Requests

FIRST = an_action(of=SEIZE, request="r1")
AGAIN = an_action(of=SEIZE, request="r2").model_copy(update={"thread": "th-2"})


@pytest.fixture
def requests(world):
    return SqlRequests(world.engine, world.hands.clock)


async def test_it_is_the_store_the_graphs_ask_for(requests):
    """The SQL store satisfies the port."""
    assert isinstance(requests, Requests)


async def test_what_waits_for_the_yes_is_known_again(requests):
    """The other thread is told the first one's name; asked again in its own turn it is no repetition."""
    assert await requests.ask(FIRST, "r1") is None
    assert await requests.ask(FIRST, "r1") is None
    known = await requests.ask(AGAIN, "r2")
    assert (known.stage, known.request, known.thread) == ("asked", "r1", FIRST.thread)


async def test_other_details_or_another_customer_are_another_request(requests):
    """Same operation, another amount; same words, somebody else."""
    await requests.ask(FIRST, "r1")
    assert await requests.ask(an_action(6, of=SEIZE, request="r2"), "r2") is None
    assert await requests.ask(an_action(of=SEIZE, request="r1", customer=BEN), "r1") is None


async def test_a_corrected_question_is_not_the_old_one(requests):
    """What it asked before is nobody's request any more."""
    await requests.ask(FIRST, "r1")
    await requests.ask(an_action(6, of=SEIZE, request="r1"), "r1")
    assert await requests.ask(AGAIN, "r2") is None


async def test_what_was_dropped_or_is_old_is_a_new_request(requests, world):
    """A no ends it, and so does a day without an answer."""
    await requests.ask(FIRST, "r1")
    await requests.drop(FIRST.customer, "r1")
    assert await requests.ask(AGAIN, "r2") is None
    world.hands.pass_(hours=25)
    assert await requests.ask(FIRST, "r1") is None
    world.hands.pass_(hours=25)
    assert await requests.prune() == 1


async def test_what_waits_for_a_person_or_is_carried_out_is_known_again(requests, world):
    """From the yes on the approvals say where it stands, until they are settled."""
    await requests.ask(FIRST, "r1")
    assert await requests.begin(FIRST, "r1") is None
    await world.approvals.request(FIRST, GRAVE)
    assert (await requests.ask(AGAIN, "r2")).stage == "waiting"
    assert (await requests.begin(AGAIN, "r2")).stage == "waiting"
    await world.approvals.decide(FIRST.id, approve=True, reviewer="op")
    assert (await requests.standing(AGAIN)).stage == "running"
    assert await requests.standing(FIRST) is None
    await world.ledger.execute(FIRST, SEIZE, GRAVE)
    assert await requests.ask(AGAIN, "r2") is None


async def test_a_yes_that_came_to_nothing_leaves_nothing_standing(requests):
    """It was refused at the gate: neither approvals nor ledger know of it, and the next is a new request."""
    await requests.ask(FIRST, "r1")
    await requests.begin(FIRST, "r1")
    assert await requests.ask(AGAIN, "r2") is None


async def test_of_two_at_once_one_is_the_request(requests):
    """Two conversations in the same moment."""
    many = [an_action(of=SEIZE, request=f"r{i}") for i in range(8)]
    found = await asyncio.gather(*(requests.ask(a, f"r{i}") for i, a in enumerate(many)))
    named = {known.request for known in found if known is not None}
    assert (found.count(None), len(named)) == (1, 1)


# --- twins: two questions about one request, however they came to be --------------------------------


async def test_twins_are_marked_and_one_is_approved(world):
    """Both say so of each other; after one yes the other's changes nothing, and its no ends it."""
    for action in (FIRST, AGAIN):
        await world.approvals.request(action, GRAVE)
    marked = {one.id: [t.id for t in one.twins] for one in await world.approvals.list("pending")}
    assert marked == {FIRST.id: [AGAIN.id], AGAIN.id: [FIRST.id]}
    await world.approvals.decide(FIRST.id, approve=True, reviewer="op")
    other, changed = await world.approvals.decide(AGAIN.id, approve=True, reviewer="ann")
    assert (changed, other.status, other.approved_twin.id) == (False, "pending", FIRST.id)
    await world.ledger.execute(FIRST, SEIZE, GRAVE)
    _, changed = await world.approvals.decide(AGAIN.id, approve=True, reviewer="ann")
    assert not changed
    _, changed = await world.approvals.decide(AGAIN.id, approve=False, reviewer="ann")
    assert changed


async def test_what_was_carried_out_before_is_no_twin(world):
    """The same thing asked for again afterwards is a request of its own."""
    await world.approvals.request(FIRST, GRAVE)
    await world.approvals.decide(FIRST.id, approve=True, reviewer="op")
    await world.ledger.execute(FIRST, SEIZE, GRAVE)
    world.hands.pass_(minutes=1)
    await world.approvals.request(AGAIN, GRAVE)
    _, changed = await world.approvals.decide(AGAIN.id, approve=True, reviewer="op")
    assert changed


async def test_two_reviewers_at_once_approve_one_of_twins(world):
    """Each answers another of the two, in the same moment."""
    twins = [an_action(of=SEIZE, request=f"t{i}") for i in range(4)]
    for action in twins:
        await world.approvals.request(action, GRAVE)

    def approve(action):
        return asyncio.run(world.approvals.decide(action.id, approve=True, reviewer="op"))[1]

    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(approve, twins)).count(True) == 1
