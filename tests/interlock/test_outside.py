"""An effect in another system happens at most once, and what nobody knows is settled or asked."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import uuid
from datetime import timedelta
from decimal import Decimal

import pytest

from app.payments import HttpPayments
from app.stores.ledger import IN_FLIGHT, NOT_DONE, OUTSIDE_CHECKPOINTS, Settled
from domains.northfell.operations import OPERATIONS
from tests.interlock.world import CHARGE, GRAVE, REFUND, ROOT, World, a_charge, a_refund
from tools.effects import PaymentEffects
from tools.ports import PaymentNotSent, PaymentRefused, Payments


def killed_at(world: World, point: str, request: str) -> None:
    honour = "keys" if world.keys else "no-keys"
    arguments = [world.url, world.payments_url, honour, point, request]
    child = subprocess.Popen(
        [sys.executable, "-m", "tests.interlock.child", *arguments],
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        text=True,
    )
    child.communicate(timeout=120)
    assert child.returncode == -signal.SIGKILL


@pytest.fixture
async def refund(world):
    """An approved refund under a request nobody made before."""
    action = a_refund(uuid.uuid4().hex)
    await world.approve(action)
    return action


async def carried_out(world, action):
    return await world.ledger.execute(action, REFUND, GRAVE)


async def test_it_is_the_payment_service_the_ledger_asks_for(world):
    """The HTTP adapter satisfies the port."""
    assert isinstance(world.payments, Payments)


async def test_a_refund_is_paid_once_and_booked(world, refund):
    """The service's books, our books, the ledger, the outbox and the approval agree."""
    outcome = await carried_out(world, refund)
    assert (outcome.status, outcome.result["amount"]) == ("executed", "89.50")
    assert await carried_out(world, refund) == outcome.model_copy(update={"replayed": True})
    assert (world.paid(refund), world.refunds(), world.refunded()) == (
        1,
        ["approved"],
        Decimal("89.50"),
    )
    assert (await world.approvals.get(refund.id)).status == "executed"
    assert [each.kind for each in world.audit.of_action(refund.id) if each.kind == "effect"] == [
        "effect"
    ]


async def test_a_charge_is_paid_once_and_booked(world):
    """The other operation that moves money."""
    action = a_charge(uuid.uuid4().hex)
    await world.approve(action)
    outcome = await world.ledger.execute(action, CHARGE, GRAVE)
    assert outcome.result["charge_number"].startswith("CH-")
    assert world.paid(action) == 1


@pytest.mark.process
@pytest.mark.parametrize("point", OUTSIDE_CHECKPOINTS)
async def test_killed_at_any_point_it_is_paid_once_or_a_person_is_asked(world, refund, point):
    """kill -9 of a real process around the call: never two payments, never a lost one."""
    killed_at(world, point, refund.turn)
    world.hands.pass_(seconds=61)
    sent = OUTSIDE_CHECKPOINTS.index(point) >= OUTSIDE_CHECKPOINTS.index("called")
    if point == "begin_committed":
        assert (await carried_out(world, refund)).status == "executed"
    elif point == "committed":
        assert await world.settle() == []
    else:
        assert (await carried_out(world, refund)).status == "unknown"  # Never taken over.
        settled = await world.settle()
        assert [each.status for each in settled] == (["executed"] if sent or world.keys else [])
    if sent or world.keys or point == "begin_committed":
        again = await carried_out(world, refund)
        assert (again.status, again.replayed, world.paid(refund)) == ("executed", True, 1)
        assert world.refunds() == ["approved"]
        return
    [waiting] = await world.ledger.unsettled()
    assert (waiting.action, waiting.order.amount) == (refund, Decimal("89.50"))
    _, outcome = await world.ledger.settle(refund.id, OPERATIONS, happened=False, operator="op")
    assert (outcome.status, outcome.reason) == ("failed", NOT_DONE)
    assert (world.paid(refund), world.refunds(), await world.ledger.unsettled()) == (
        0,
        ["rejected"],
        [],
    )


@pytest.mark.parametrize(
    ("faults", "paid"),
    [
        ({"drop_after": 1}, 1),  # Closed after the effect.
        ({"error_after": 1}, 1),  # 500 after the effect.
        ({"drop_before": 1}, 0),  # Closed before it.
        ({"error_before": 1}, 0),  # 500 before it.
    ],
    ids=lambda each: next(iter(each)) if isinstance(each, dict) else "",
)
async def test_an_answer_that_says_nothing_is_looked_up(world, refund, faults, paid):
    """Unknown at first; then found, sent again under its key, or left to a person."""
    world.trouble(**faults, times=1)
    assert (await carried_out(world, refund)).status == "unknown"
    assert (await world.approvals.get(refund.id)).status == "started"
    settled = await world.ledger.reconcile(refund, REFUND)
    if paid or world.keys:
        assert (settled.status, world.paid(refund), world.refunds()) == (
            "executed",
            1,
            ["approved"],
        )
        return
    assert (settled.status, world.paid(refund), world.refunds()) == ("unknown", 0, ["requested"])


async def test_an_answer_too_late_is_not_a_second_payment(world, refund):
    """The client gives up, the service does it anyway."""
    impatient = World(
        world.url, world.payments_url, keys=world.keys, hands=world.hands, timeout=0.5
    )
    world.trouble(delay_after=1, times=1)
    assert (await carried_out(impatient, refund)).status == "unknown"
    assert (await world.ledger.reconcile(refund, REFUND)).status == "executed"
    assert world.paid(refund) == 1
    impatient.close()


async def test_a_declined_payment_is_a_definite_failure(world, refund):
    """4xx is not unknown: the reservation is given back and the answer replayed."""
    world.trouble(decline=1)
    first = await carried_out(world, refund)
    assert (first.status, first.reason) == ("failed", str(PaymentRefused()))
    assert (await world.approvals.get(refund.id)).status == "failed"
    assert (await carried_out(world, refund)).replayed
    assert (world.paid(refund), world.refunds(), world.refunded()) == (0, ["rejected"], 0)


async def test_a_service_that_is_away_costs_neither_the_approval_nor_the_key(refund_offline):
    """Nothing was sent, so it can be carried out when the service is back."""
    world, refund = refund_offline
    with pytest.raises(PaymentNotSent):
        await carried_out(world, refund)
    assert (await world.approvals.get(refund.id)).status == "approved"
    assert (await world.ledger.find(refund.tenant, REFUND.name, refund.key), world.refunds()) == (
        None,
        [],
    )


@pytest.mark.parametrize("keys", [True])
async def test_a_key_that_was_used_for_something_else_ends_with_a_person(world, refund):
    """The service answers 422 now and ever: nothing is said to be paid, and the operator reads why."""
    world.take_key(refund.key)

    assert (await carried_out(world, refund)).status == "unknown"
    world.hands.pass_(minutes=2)
    assert await world.settle() == []

    [doubt] = await world.ledger.unsettled()
    assert "(422)" in doubt.found
    _, outcome = await world.ledger.settle(refund.id, OPERATIONS, happened=False, operator="olga")
    assert (outcome.status, world.paid(refund), world.refunds()) == ("failed", 0, ["rejected"])


class LostAtTheLastMoment(HttpPayments):
    """A service that is there when asked, and gone when the payment is sent."""

    def ready(self) -> None:
        return None


@pytest.fixture
async def refund_offline(stocked_url, free_port):
    world = World(stocked_url, f"http://127.0.0.1:{free_port}", keys=True)
    action = a_refund(uuid.uuid4().hex)
    await world.approve(action)
    yield world, action
    world.close()


async def test_a_connection_refused_gives_everything_back(refund_offline):
    """Reserved, approval spent, then nothing to send it to: as if it had never begun."""
    world, refund = refund_offline
    lost = LostAtTheLastMoment(world.payments_url, world.hands.clock)
    world.ledger._systems["payments"] = PaymentEffects(lost)
    with pytest.raises(PaymentNotSent):
        await carried_out(world, refund)
    assert (await world.approvals.get(refund.id)).status == "approved"
    assert (await world.ledger.find(refund.tenant, REFUND.name, refund.key), world.refunds()) == (
        None,
        ["rejected"],
    )
    lost.close()


async def test_a_second_refund_of_the_order_waits_for_the_first(world, refund):
    """While one is unknown, the books refuse another for the same order, asked for with another reason."""
    world.trouble(drop_before=1, times=1)
    await carried_out(world, refund)
    other = a_refund(uuid.uuid4().hex, reason="unwanted")
    await world.approve(other)
    refused = await carried_out(world, other)
    assert (refused.status, world.paid(other)) == ("failed", 0)


async def test_a_person_vouches_once(world, refund):
    """The first word counts and is in the audit; books and outbox follow it."""
    world.trouble(drop_after=1, times=1)
    await carried_out(world, refund)
    action, outcome = await world.ledger.settle(
        refund.id, OPERATIONS, happened=True, operator="op", note="seen on the statement"
    )
    assert (action, outcome.status, world.refunds()) == (refund, "executed", ["approved"])
    with pytest.raises(Settled):
        await world.ledger.settle(refund.id, OPERATIONS, happened=False, operator="op")
    with pytest.raises(KeyError):
        await world.ledger.settle("act_nothing", OPERATIONS, happened=False, operator="op")
    last = world.audit.of_action(refund.id)[-1]
    assert (last.kind, last.actor) == ("reconciliation", "operator:op")
    assert last.told["note"] == "seen on the statement"


async def test_while_the_call_is_in_flight_nobody_else_settles_it(world, refund):
    """The lease keeps a relay, a person and a duplicate away."""
    seen = []

    def meanwhile(name: str) -> None:
        if name == "called":
            seen.append(other.ledger._execute(refund, REFUND, GRAVE))
            seen.append(other.ledger._reconcile(refund, REFUND))
            with pytest.raises(Settled):
                other.ledger._settle_by_person(refund.id, OPERATIONS, False, "op", "", None)

    other = World(world.url, world.payments_url, keys=world.keys, hands=world.hands)
    calling = World(
        world.url, world.payments_url, keys=world.keys, hands=world.hands, checkpoint=meanwhile
    )
    assert (await carried_out(calling, refund)).status == "executed"
    assert [each.status for each in seen] == ["blocked", "unknown"]
    assert (seen[0].reason, world.paid(refund)) == (IN_FLIGHT, 1)
    other.close()
    calling.close()


async def test_a_process_that_slept_sends_nothing(world, refund):
    """Stalled between writing it down and sending it, it leaves the question open."""

    def sleep(name: str) -> None:
        if name == "before_call":
            world.hands.pass_(seconds=40)

    sleepy = World(
        world.url, world.payments_url, keys=world.keys, hands=world.hands, checkpoint=sleep
    )
    assert (await carried_out(sleepy, refund)).status == "unknown"
    assert world.paid(refund) == 0
    sleepy.close()


async def test_what_is_not_listed_in_time_was_not_made(stocked_url, services):
    """Where the service promises a time, absence afterwards settles it."""
    world = World(stocked_url, services[False], keys=False, settles_within=timedelta(minutes=10))
    action = a_refund(uuid.uuid4().hex)
    await world.approve(action)
    world.trouble(drop_before=1, times=1)
    await carried_out(world, action)
    assert (await world.ledger.reconcile(action, REFUND)).status == "unknown"
    world.hands.pass_(minutes=11)
    assert [each.reason for each in await world.settle()] == [NOT_DONE]
    assert world.paid(action) == 0
    world.close()


async def test_a_key_older_than_the_service_remembers_is_not_sent_again(stocked_url, services):
    """After the service's own retention a resend could be a second payment."""
    world = World(stocked_url, services[True], keys=True)
    action = a_refund(uuid.uuid4().hex)
    await world.approve(action)
    world.trouble(drop_before=1, times=1)
    await carried_out(world, action)
    world.hands.pass_(hours=25)
    assert await world.settle() == []
    assert (world.paid(action), len(await world.ledger.unsettled())) == (0, 1)
    world.close()


async def test_settled_keys_are_forgotten_after_their_time_unknown_ones_never(world, refund):
    """The published expiry does not apply to what nobody knows."""
    charge = a_charge(uuid.uuid4().hex)
    await world.approve(charge)
    world.trouble(drop_before=1, times=1)
    await world.ledger.execute(charge, CHARGE, GRAVE)
    assert (await carried_out(world, refund)).status == "executed"
    world.hands.pass_(days=91)
    assert await world.ledger.prune() == 1
    assert [each.action for each in await world.ledger.unsettled()] == [charge]
