"""From the operator's yes to the customer's thread, with a payment service that says nothing."""

from __future__ import annotations

import asyncio
import time
from contextlib import asynccontextmanager
from dataclasses import replace

import httpx
import pytest

from app.desk import EffectNotFound, EffectSettled
from app.stores.database import create_engine, migrate
from domains.northfell.seed import seed
from evals.crash_process import Site, desk_on, prepare
from graphs.keys import action_id, action_key, fingerprint
from graphs.state import Answer
from tools.values import Action, Clock

YES = Answer(decision="approve", reviewer="olga", role="admin")


def seeded(url: str) -> None:
    """Fill a database with the demo shop as it is today."""
    migrate(url)
    engine = create_engine(url)
    seed(engine, Clock().today())
    engine.dispose()


@pytest.fixture
def site(kind, copied_database, tmp_path, services, keys):
    url = copied_database(kind, seeded)
    place = url if kind == "postgres" else str(tmp_path / "checkpoints.db")
    site = Site(url, place, speed=1.0, origin=time.time(), payments=services[keys], keys=keys)
    prepare(site)
    trouble(site, {})
    yield site
    trouble(site, {})


def trouble(site: Site, faults: dict[str, object]) -> None:
    httpx.put(f"{site.payments}/faults", json=faults).raise_for_status()


@asynccontextmanager
async def asked(site):
    """A running desk, and a charge that waits for its approval."""
    async with desk_on(site) as (desk, _):
        customer = await desk.sign_in.customer("ana")
        thread = await desk.turns.open_thread(customer)
        context = desk.player.context_for(customer, thread)
        listed = await context.backend.read(
            customer,
            context.operations["list_orders"],
            context.operations["list_orders"].arguments(),
        )
        action = await _a_charge(context, thread, listed)
        assert (await desk.approvals.actions.propose(action, context)).status == "pending"
        yield desk, customer, thread, action


async def _a_charge(context, thread, listed):
    operation = context.operations["charge_replacement"]
    for order in listed.orders:
        given = {"order_number": order.number, "product": order.lines[0].product, "reason": "lost"}
        preview = await context.backend.preview(
            context.customer, operation, operation.arguments.model_validate(given)
        )
        if preview.refusal is None and len(preview.candidates) == 1:
            arguments = {**given, **preview.arguments}
            key = action_key(context.customer.tenant, context.customer.id, operation.name, thread)
            return Action(
                id=action_id(key),
                tenant=context.customer.tenant,
                customer=context.customer,
                thread=thread,
                turn="t_1",
                operation=operation.name,
                arguments=arguments,
                key=key,
                fingerprint=fingerprint(operation.name, arguments),
                proposed_at=context.clock.now(),
                label=preview.record,
                effects=preview.effects,
            )
    raise AssertionError("nothing to replace")


async def told(desk, customer, thread) -> list[str]:
    return [m.text for m in await desk.turns.history(customer, thread) if m.role == "agent"]


def paid(site, action) -> int:
    found = httpx.get(f"{site.payments}/payments", params={"reference": action.id}).json()
    return len(found["payments"])


async def test_an_effect_that_happened_unheard_is_found_and_told_once(site):
    """500 after the effect: the gate looks it up before anybody is told anything."""
    async with asked(site) as (desk, customer, thread, action):
        trouble(site, {"error_after": 1, "times": 1})
        decided = await desk.approvals.decide(action.id, YES)
        await desk.deliveries.deliver_due()
        assert decided.status == "executed"
        assert (paid(site, action), len(await told(desk, customer, thread))) == (1, 1)
        assert await desk.approvals.unsettled() == []


async def test_what_cannot_be_told_waits_for_a_person_and_is_then_told_once(site, keys):
    """Dropped before the effect: with keys it is sent again, without them a person decides."""
    async with asked(site) as (desk, customer, thread, action):
        trouble(site, {"drop_before": 1, "times": 1})
        await desk.approvals.decide(action.id, YES)
        if keys:
            assert (paid(site, action), len(await told(desk, customer, thread))) == (1, 1)
            return
        # The customer has not been told anything that might be wrong.
        assert (paid(site, action), await told(desk, customer, thread)) == (0, [])
        [doubt] = await desk.approvals.unsettled()
        assert doubt.action.id == action.id
        # It is not there for another tenant's operators.
        assert await desk.approvals.unsettled(tenant="southfell") == []
        with pytest.raises(EffectNotFound):
            await desk.approvals.settle(action.id, "sven", happened=True, tenant="southfell")
        assert (await desk.approvals.settle(action.id, "olga", happened=False)).status == "failed"
        await asyncio.gather(desk.deliveries.deliver_due(), desk.deliveries.deliver_due())
        assert len(await told(desk, customer, thread)) == 1
        context = desk.player.context_for(customer, thread)
        assert (await desk.approvals.actions.propose(action, context)).status == "failed"
        with pytest.raises(EffectSettled):
            await desk.approvals.settle(action.id, "olga", happened=True)
        with pytest.raises(EffectNotFound):
            await desk.approvals.settle("act_nothing", "olga", happened=True)


async def test_the_relay_of_another_process_settles_and_tells(site):
    """Found by the lookup when its time has come, by whoever is alive."""
    async with asked(site) as (desk, customer, thread, action):
        trouble(site, {"error_after": 1, "times": 1})
        context = desk.player.context_for(customer, thread)
        await desk.stores.approvals.decide(action.id, approve=True, reviewer="olga", role="admin")
        operation = context.operations[action.operation]
        approval = await desk.stores.approvals.get(action.id)
        outcome = await desk.approvals.ledger.execute(action, operation, approval.verdict)
        assert outcome.status == "unknown"
        later = replace(site, ahead=60.0)
        async with desk_on(later) as (other, _):
            await other.deliveries.deliver_due()
            assert (paid(site, action), len(await told(other, customer, thread))) == (1, 1)
