"""What turns used of models: added up by what it was for, and what budgets are held to."""

from __future__ import annotations

import pytest

from app.economics import ModelUse, TurnUse
from app.stores.turns import SqlThreads
from app.stores.usage import SqlUsage
from tests.stores.world import ADA, BEN, NOON, Hands
from tools.decisions import Aftermath


@pytest.fixture
def hands():
    return Hands()


@pytest.fixture
async def thread(world, hands):
    threads = SqlThreads(world.engine, hands.clock)
    return (await threads.create(ADA.tenant, ADA.id, id="th_ada")).id


@pytest.fixture
def usage(world, hands):
    return SqlUsage(world.engine, 30, hands.clock)


def model(tier="large", role="synthesizer", name="big", cost: float | None = 0.5, **more):
    said = {"local": tier != "large", "masked": tier == "large", "calls": 1, "failed": 0}
    said |= {"read": 1000, "cached": 0, "written": 100} | more
    return ModelUse(tier=tier, role=role, model=name, cost=cost, **said)


def turn(name, *models, thread="th_ada", customer=ADA.id, lane="answer", outcome=None, **more):
    cost = sum(one.cost or 0 for one in models)
    calls = sum(one.calls for one in models if one.tier == "large")
    said = {"tier": "encoder", "llm_calls": calls, "cost": cost, "at": NOON} | more
    return TurnUse(
        turn=name,
        thread=thread,
        customer=customer,
        lane=lane,
        outcome=outcome,
        models=models,
        **said,
    )


async def put(usage, *turns):
    for each in turns:
        await usage.record(ADA.tenant, "shop", each)


async def test_a_span_says_what_was_paid_for(usage, thread):
    """By lane, customer and business, with the cost of a task that was resolved; small talk is none."""
    await put(
        usage,
        turn("t_1", model(), model("encoder", "", "e5", 0.0), outcome="resolved"),
        turn("t_2", model(role="planner", cost=1.5), lane="agent", outcome="escalated"),
        turn("t_3", lane="operation", outcome="resolved"),
        turn("t_4", lane="direct", outcome="resolved"),
        turn("t_5", lane=None),
    )
    spent = await usage.over(30)

    total = spent.total
    assert (total.turns, total.with_llm, total.resolved, total.escalated) == (5, 2, 2, 1)
    assert (total.cost, total.cost_per_resolved) == (pytest.approx(2.0), pytest.approx(1.0))
    assert (total.llm_share, total.escalation_rate) == (pytest.approx(0.4), pytest.approx(0.2))
    assert set(spent.lanes) == {"answer", "agent", "operation", "direct", "none"}
    assert spent.lanes["agent"].cost_per_resolved is None
    assert spent.domains["shop"] == spent.customers[ADA.id] == total
    assert [each.turn for each in spent.dearest] == ["t_2", "t_1"]
    assert [(use.tier, use.role, use.calls) for use in spent.models] == [
        ("encoder", "", 1),
        ("large", "planner", 1),
        ("large", "synthesizer", 1),
    ]


async def test_what_has_no_price_is_no_cost_that_is_known(usage, thread):
    """The sum of a model with such a call says that nobody knows."""
    await put(usage, turn("t_1", model()), turn("t_2", model(cost=None), unpriced=1))
    spent = await usage.over(30)

    assert [use.cost for use in spent.models] == [None]
    assert (spent.total.cost, spent.total.unpriced) == (0.5, 1)


async def test_only_what_is_in_the_span_counts(usage, hands, thread):
    """And only what is of the tenant that was asked for."""
    await put(usage, turn("t_1", model()))
    hands.pass_(days=2)
    await put(usage, turn("t_2", model(), at=hands.at))

    assert (await usage.over(1)).total.turns == 1
    assert (await usage.over(3)).total.turns == 2
    assert (await usage.over(3, tenant="other")).total.turns == 0


async def test_a_turn_that_went_on_is_one_turn(usage, thread):
    """A crash in the middle, or its action's later end, add to it; what is not said anew stays."""
    await put(usage, turn("t_1", model()), turn("t_1", model(role="judge"), lane=None))
    [found] = await usage.of_thread("th_ada")

    assert (found.lane, found.llm_calls, found.cost) == ("answer", 2, 1.0)
    assert {use.role for use in found.models} == {"synthesizer", "judge"}
    assert all(use.masked and not use.local for use in found.models)


async def test_a_later_outcome_counts_and_never_a_lighter_one(usage, thread):
    """A person's rejection is heavier than the turn's own end, as in the decision log."""
    await put(usage, turn("t_1", model(), outcome="resolved"))
    await usage.outcome("t_1", Aftermath.REJECTED)
    await usage.outcome("t_1", Aftermath.RESOLVED)

    assert (await usage.over(1)).total.resolved == 0


async def test_replicas_share_what_was_spent_today(usage, world, hands, thread):
    """By everybody and by a customer, until midnight UTC; another process reads the same sums."""
    await put(usage, turn("t_1", model()), turn("t_2", model(), customer=BEN.id))
    other = SqlUsage(world.engine, 30, hands.clock)

    assert await other.spent(ADA.tenant, ADA.id) == (1.0, 0.5)
    assert await other.spent("other", ADA.id) == (0.0, 0.0)
    hands.pass_(days=1)
    assert await other.spent(ADA.tenant, ADA.id) == (0.0, 0.0)


async def test_a_conversation_that_was_erased_leaves_its_day_s_cost_only(usage):
    """Whoever was erased while the turn was played is not written down again."""
    await put(usage, turn("t_1", model()))

    assert (await usage.over(1)).total.turns == 0
    assert (await usage.spent(ADA.tenant, ""))[0] == 0.5


async def test_what_is_past_its_time_goes(usage, hands, thread):
    """Turns after the retention, days after two."""
    await put(usage, turn("t_1", model()))
    assert await usage.prune() == 0
    hands.pass_(days=31)

    assert await usage.prune() == 1
    assert await usage.of_thread("th_ada") == []
    hands.at = NOON
    assert await usage.spent(ADA.tenant, "") == (0.0, 0.0)
