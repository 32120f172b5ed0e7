"""An outcome is delivered by whoever finished it, and otherwise by somebody else, once."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

from tests.stores.world import ROUTINE, TAKE, an_action


async def test_an_outcome_falls_due_only_after_a_grace(world):
    """The turn that caused it gets the time to deliver it itself."""
    done = await world.ledger.execute(an_action(), TAKE, ROUTINE)
    assert await world.outbox.due() == []
    world.hands.pass_(seconds=31)
    [delivery] = await world.outbox.due()
    assert (delivery.action_id, delivery.thread, delivery.outcome) == (done.action_id, "th-1", done)


async def test_a_delivered_outcome_is_never_due_again(world):
    """The first confirmation counts; the second is told that it was late."""
    action = an_action()
    await world.ledger.execute(action, TAKE, ROUTINE)
    assert await world.outbox.delivered(action.id) is True
    assert await world.outbox.delivered(action.id) is False
    world.hands.pass_(days=1)
    assert await world.outbox.due() == []


async def test_a_claimed_outcome_comes_back_when_it_is_not_confirmed(world):
    """A deliverer that dies is replaced; while it lives it is alone."""
    await world.ledger.execute(an_action(), TAKE, ROUTINE)
    world.hands.pass_(seconds=31)
    assert len(await world.outbox.due()) == 1
    assert await world.outbox.due() == []
    world.hands.pass_(seconds=31)
    assert len(await world.outbox.due()) == 1


async def test_replicas_share_the_work(world):
    """No outcome is claimed twice at the same time, none is left behind; oldest first."""
    for each in range(20):
        await world.ledger.execute(an_action(request=str(each)), TAKE, ROUTINE)
        world.hands.pass_(seconds=1)
    world.hands.pass_(seconds=31)
    with ThreadPoolExecutor(4) as pool:
        claimed = list(pool.map(lambda _: world.outbox._due(5), range(8)))
    ids = [delivery.action_id for batch in claimed for delivery in batch]
    for _ in range(4):  # Batches that gave way to a neighbour's lock leave a rest.
        ids += [delivery.action_id for delivery in world.outbox._due(5)]
    assert len(ids) == len(set(ids)) == 20
    assert all(
        batch == sorted(batch, key=lambda delivery: delivery.created_at) for batch in claimed
    )
