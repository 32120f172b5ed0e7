"""A request that is made again because its answer was lost is the same request. On SQLite and PostgreSQL."""

from __future__ import annotations

import pytest

from app.desk import TwinApproved
from graphs.state import Answer
from tests.stores.world import GRAVE
from tools.values import Approval

APPROVE = Answer(decision="approve", reviewer="olga")
ASKED = "refund SB-10482"


@pytest.fixture
async def desk(world):
    async with world.process() as desk:
        yield desk


async def reply(world, desk, thread, text, intent):
    return (await world.say(desk, thread, text, intent))[-1].data["text"]


async def two_threads(world, desk):
    ana = world.customers["ana"]
    return await desk.turns.open_thread(ana), await desk.turns.open_thread(ana)


async def waiting(desk) -> list[Approval]:
    return await desk.approvals.listed("pending")


async def test_it_waits_for_the_yes_and_either_yes_is_the_same(world, desk):
    """Told so in the second conversation; two yeses there and here are one action."""
    one, other = await two_threads(world, desk)
    await reply(world, desk, one, ASKED, "request_refund")
    told = await reply(world, desk, other, ASKED, "request_refund")
    assert "You have asked for this already, in another conversation" in told
    assert told.rstrip().endswith("?") or "yes" in told
    await reply(world, desk, other, "yes", "affirm")
    await reply(world, desk, one, "yes", "affirm")
    assert [approval.action.thread for approval in await waiting(desk)] == [other]


async def test_it_is_said_again_in_the_same_conversation(world, desk):
    """The question is the same one; one yes answers it, and nothing is left open behind it."""
    one, _ = await two_threads(world, desk)
    await reply(world, desk, one, ASKED, "request_refund")
    told = await reply(world, desk, one, ASKED, "request_refund")
    assert "You have asked for this already. " in told
    await reply(world, desk, one, "yes", "affirm")
    assert len(await waiting(desk)) == 1
    state = await desk.player.support.aget_state({"configurable": {"thread_id": one}})
    assert not state.values["pending"]


async def test_it_waits_for_a_person(world, desk):
    """Where it stands is told, nothing is asked, and a late yes proposes nothing."""
    one, other = await two_threads(world, desk)
    for thread in (one, other):
        await reply(world, desk, thread, ASKED, "request_refund")
    await reply(world, desk, one, "yes", "affirm")
    told = await reply(world, desk, other, f"{ASKED} please", "request_refund")
    assert "It waits for a colleague's approval" in told
    await reply(world, desk, other, "yes", "affirm")
    assert len(await waiting(desk)) == 1


async def test_another_reason_is_no_other_request(world, desk):
    """The money would be paid twice; why it is wanted is no part of what is done."""
    one, other = await two_threads(world, desk)
    for thread, why in ((one, "damaged"), (other, "not as described")):
        await reply(world, desk, thread, f"refund SB-10217, it is {why}", "request_refund")
    for thread in (one, other):
        await reply(world, desk, thread, "yes", "affirm")
    assert len(await waiting(desk)) == 1


async def test_it_is_being_carried_out(world, desk):
    """Approved, and not done yet: told so, and not asked for a second time."""
    one, other = await two_threads(world, desk)
    await reply(world, desk, one, ASKED, "request_refund")
    await reply(world, desk, one, "yes", "affirm")
    (approval,) = await waiting(desk)
    await desk.stores.approvals.decide(approval.id, approve=True, reviewer="olga")
    told = await reply(world, desk, other, ASKED, "request_refund")
    assert "It is being carried out at the moment" in told
    assert not (await world.say(desk, other, "yes", "affirm"))[-1].data.get("actions")
    await desk.deliveries.deliver_due()
    assert len(await desk.approvals.listed(None)) == 1


async def test_a_no_ends_it(world, desk):
    """What was declined in one conversation is a new request in the next."""
    one, other = await two_threads(world, desk)
    await reply(world, desk, one, ASKED, "request_refund")
    await reply(world, desk, one, "no", "deny")
    told = await reply(world, desk, other, ASKED, "request_refund")
    assert "already" not in told


async def test_twins_cannot_both_be_approved(world, desk):
    """However they came to be: the desk shows each beside the other, and refuses the second yes."""
    one, other = await two_threads(world, desk)
    await reply(world, desk, one, ASKED, "request_refund")
    await reply(world, desk, one, "yes", "affirm")
    (first,) = await waiting(desk)
    twin = first.action.model_copy(update={"id": "act_twin", "key": "twin", "thread": other})
    await desk.stores.approvals.request(twin, GRAVE)
    assert {a.id: a.twins[0].thread for a in await waiting(desk)} == {first.id: other, twin.id: one}
    assert (await desk.approvals.decide(first.id, APPROVE)).status == "executed"
    with pytest.raises(TwinApproved, match="Reject this one"):
        await desk.approvals.decide(twin.id, APPROVE)
    no = Answer(decision="reject", reviewer="olga")
    assert (await desk.approvals.decide(twin.id, no)).status == "rejected"
    assert len(world.rows("refunds", customer_id="ana")) == 1
