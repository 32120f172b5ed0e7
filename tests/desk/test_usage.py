"""What a turn cost is recorded with what came of it, shown to operators, held to budgets, and erased."""

from __future__ import annotations

import pytest
import sqlalchemy as sa

from app.economics import Limits
from app.models.metering import LlmCall, Price, Prices, Usage, note
from app.stores.database import create_engine, reading
from app.stores.tables import spending, usage_calls, usage_turns
from graphs.state import Answer
from tests.graphs.world import ScriptedLargeModel
from tools.ports import ModelUnavailable


class Paid(ScriptedLargeModel):
    """Says of each reply that it took a million tokens; asks first whether there is money for it."""

    def __init__(self, spent) -> None:
        super().__init__()
        self.spent = spent

    async def write(self, role, *given, **more):
        if (budget := await self.spent()) is not None:
            raise ModelUnavailable(f"The {budget}'s budget is spent.")
        note(LlmCall(role, "big", "ok", Usage(1_000_000, 0), masked=True))
        async for token in super().write(role, *given, **more):
            yield token


@pytest.fixture
async def desk(world):
    world.prices, world.limits = (
        Prices(models={"big": Price(input=2, output=8)}),
        Limits(customer=3),
    )
    async with world.process() as desk:
        world.large = Paid(desk.budgets.spent)
        yield desk


async def upset(world, desk, thread, text="this is a disgrace", who="ana"):
    return await world.say(desk, thread, text, "complaint", who=who)


def kept(world):
    engine = create_engine(world.url)
    with reading(engine) as connection:
        found = {
            table.name: connection.execute(sa.select(sa.func.count()).select_from(table)).scalar()
            for table in (usage_turns, usage_calls, spending)
        }
    engine.dispose()
    return found


async def test_a_turn_is_recorded_with_what_it_cost_and_came_to(world, desk):
    """And an operator sees it in the conversation."""
    thread = await desk.turns.open_thread(world.customers["ana"])
    await world.say(desk, thread, "hello", "greeting")
    world.hands.pass_(seconds=1)
    await upset(world, desk, thread)
    [asked, plain] = (await desk.inbox.case(thread)).usage

    assert (plain.lane, plain.outcome, plain.cost, plain.models) == ("direct", "resolved", 0, ())
    assert (asked.cost, asked.llm_calls, asked.tier) == (2.0, 1, "encoder")
    [model] = asked.models
    assert (model.tier, model.role, model.masked, model.read) == (
        "large",
        "escalation",
        True,
        10**6,
    )
    told = await desk.views.economics(1)
    assert (told.spent.total.turns, told.spent.total.cost) == (2, 2.0)
    assert told.budgets.spent_today == 2.0
    assert (await desk.views.economics(1, tenant="other")).spent.total.turns == 0


async def test_with_the_budget_spent_the_drawn_fallback_answers(world, desk):
    """The customer's own; somebody else's turn asks as ever."""
    for text in ("a disgrace", "a shame", "an outrage"):
        thread = await desk.turns.open_thread(world.customers["ana"])
        [*_, last] = await upset(world, desk, thread, text)
    other = await desk.turns.open_thread(world.customers["ben"])
    await upset(world, desk, other, "a scandal", who="ben")

    assert last.event == "final"
    assert last.data["degraded"]
    assert last.data["text"]
    assert desk.budgets.refused == {"customer": 1}
    assert (await desk.views.economics(1)).spent.customers["ben"].cost == 2.0


async def test_a_reviewer_s_no_takes_the_success_back(world, desk):
    """A task that somebody refused is not one that was resolved."""
    thread = await desk.turns.open_thread(world.customers["ana"])
    await world.say(desk, thread, "refund SB-10482", "request_refund")
    world.hands.pass_(seconds=1)
    events = await world.say(desk, thread, "yes", "affirm")
    action = next(e.data["id"] for e in events if e.event == "approval_required")
    assert (await desk.views.economics(1)).spent.total.resolved == 0

    await desk.approvals.decide(action, Answer(decision="reject", reviewer="olga"))
    assert [turn.outcome for turn in (await desk.inbox.case(thread)).usage] == ["rejected", None]


async def test_erasing_a_customer_leaves_the_sums_of_everybody(world, desk):
    """Their turns, calls and days go; what was spent on the day stays, so that the budget holds."""
    thread = await desk.turns.open_thread(world.customers["ana"])
    await upset(world, desk, thread)
    exported = await desk.privacy.export("northfell", "ana")
    assert [exported[kind][0]["cost"] for kind in ("usage", "model calls")] == [2.0, 2.0]
    assert exported["spending"][0]["spent"] == 2.0

    await desk.privacy.erase("northfell", "ana", "olga")
    assert kept(world) == {"usage_turns": 0, "usage_calls": 0, "spending": 1}
    assert (await desk.views.economics(1)).budgets.spent_today == 2.0
