"""Budgets of a day, a customer and a turn, and what a large model for everything would have cost."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from app.economics import (
    Asked,
    Limits,
    Line,
    ModelUse,
    Spent,
    TurnUse,
    baseline_of,
    measured_calls,
    typical_calls,
    uses_of,
)
from app.models.metering import LlmCall, Noted, Price, Prices, SmallCall, Usage, note
from app.spending import Budgets
from tools.ports import BackendUnavailable
from tools.values import Customer

PRICES = Prices(models={"big": Price(input=2, output=8)})
ANA = Customer(id="ana", name="Ana")
BEN = Customer(id="ben", name="Ben")
NOW = datetime(2026, 11, 30, tzinfo=UTC)


class Kept:
    """What was recorded, in memory."""

    def __init__(self) -> None:
        self.turns: list[TurnUse] = []
        self.away = False

    async def record(self, tenant: str, domain: str, use: TurnUse) -> None:
        if self.away:
            raise BackendUnavailable
        self.turns.append(use)

    async def spent(self, tenant: str, customer: str) -> tuple[float, float]:
        own = sum(each.cost for each in self.turns if each.customer == customer)
        return sum(each.cost for each in self.turns), own


def ask(cost: float, model: str = "big") -> None:
    note(LlmCall("synthesizer", model, "ok", Usage(round(cost * 500_000), 0)))


def budgets(**limits: float) -> Budgets:
    return Budgets(Kept(), Limits(**limits), PRICES)


@pytest.mark.parametrize(
    ("limits", "spends", "why"),
    [
        ({}, 100, None),
        ({"turn": 5}, 4, None),
        ({"turn": 5}, 5, "turn"),
        ({"customer": 5}, 5, "customer"),
        ({"day": 5}, 5, "day"),
        ({"day": 50, "customer": 20, "turn": 10}, 9, None),
    ],
)
async def test_a_budget_is_spent_when_nothing_is_left(limits, spends, why):
    """Also by what the turn that asks has spent itself, which is not recorded yet."""
    held = budgets(**limits)
    async with held.paying("t_1", "th_1", ANA):
        ask(spends)
        assert await held.spent() == why
    assert held.refused == ({why: 1} if why else {})


async def test_a_customer_s_budget_is_theirs_alone():
    """Another customer's turn goes on; the day's is everybody's."""
    held = budgets(customer=5, day=12)
    async with held.paying("t_1", "th_1", ANA):
        ask(6)
    async with held.paying("t_2", "th_1", ANA):
        assert await held.spent() == "customer"
    async with held.paying("t_3", "th_2", BEN):
        assert await held.spent() is None
        ask(7)
    async with held.paying("t_4", "th_3", BEN.model_copy(update={"id": "eva"})):
        assert await held.spent() == "day"
    assert await held.today(ANA.tenant) == 13


async def test_a_turn_that_is_being_played_counts_for_the_others():
    """In its own process at once."""
    held = budgets(day=5)
    async with held.paying("t_1", "th_1", ANA):
        ask(6)
        async with held.paying("t_2", "th_2", BEN):
            assert await held.spent() == "day"


async def test_a_turn_is_recorded_however_it_ends():
    """By tier, role and model; a store that is away ends no turn."""
    kept = Kept()
    held = Budgets(kept, Limits(), PRICES)

    async def broken() -> None:
        async with held.paying("t_1", "th_1", ANA) as purse:
            purse.lane = "answer"
            note(SmallCall("e5", Usage(7)))
            note(SmallCall("smol", Usage(20, 2), "router"))
            ask(1)
            ask(1, "unlisted")
            note(LlmCall("planner", "smol", "ok", stands_in=True, local=True))
            raise RuntimeError

    with pytest.raises(RuntimeError):
        await broken()
    [turn] = kept.turns

    assert (turn.lane, turn.cost, turn.unpriced, turn.llm_calls) == ("answer", 1.0, 1, 2)
    tiers = [(use.tier, use.role, use.model) for use in turn.models]
    assert tiers == [
        ("encoder", "", "e5"),
        ("small", "router", "smol"),
        ("large", "synthesizer", "big"),
        ("large", "synthesizer", "unlisted"),
        ("small", "planner", "smol"),
    ]
    kept.away = True
    async with held.paying("t_2", "th_1", ANA):
        ask(1)
    assert len(kept.turns) == 1


async def test_outside_of_a_turn_nothing_is_held_to_a_budget():
    """Commands and evals pay as they go."""
    assert await budgets(day=0.1).spent() is None


def test_calls_of_one_kind_are_one_line():
    """With the failed ones counted, and no cost where one of them has no price."""
    noted = Noted()
    noted.calls += [
        LlmCall("planner", "big", "ok", Usage(1_000_000, 0), masked=True),
        LlmCall("planner", "big", "timeout", masked=True),
        LlmCall("planner", "other", "ok", Usage(5, 5)),
    ]
    big, other = uses_of(noted, PRICES)
    assert (big.calls, big.failed, big.cost, big.masked) == (2, 1, 2.0, True)
    assert other.cost is None


def spent(**more: object) -> Spent:
    said = {"domains": {}, "customers": {}, "dearest": (), "models": ()}
    return Spent(since=NOW - timedelta(days=1), until=NOW, **(said | more))


def large(role: str, calls: int, read: int = 1000, written: int = 100) -> ModelUse:
    return ModelUse(
        tier="large",
        role=role,
        model="big",
        local=False,
        masked=True,
        calls=calls,
        failed=0,
        read=calls * read,
        cached=0,
        written=calls * written,
        cost=PRICES.models["big"].of(Usage(calls * read, calls * written)),
    )


def test_the_baseline_is_what_was_asked_and_what_was_not():
    """A turn whose answer the large model wrote lacks its understanding alone."""
    lanes = {"answer": Line(turns=3, with_llm=3, resolved=2)}
    asked = (Asked(lane="answer", role="synthesizer", turns=3),)
    found = baseline_of(
        spent(lanes=lanes, models=(large("synthesizer", 3),), asked=asked), PRICES, "big"
    )
    typical = measured_calls()["understand"]

    assert found.calls == 6
    assert found.read == round(3 * typical.read) + 3000
    assert found.cost == pytest.approx(
        PRICES.models["big"].of(Usage(found.read, found.written)), rel=1e-3
    )
    assert found.cost_per_resolved == pytest.approx((found.cost or 0) / 2)


def test_a_deployment_s_own_calls_say_what_a_call_is():
    """From twenty on; of fewer nobody knows."""
    own = spent(lanes={}, models=(large("synthesizer", 20, 500), large("planner", 19, 500)))
    assert typical_calls(own)["synthesizer"].read == 500
    assert typical_calls(own)["planner"] == measured_calls()["planner"]


def test_a_baseline_of_a_model_without_a_price_has_no_cost():
    """Its tokens are known."""
    found = baseline_of(spent(lanes={"direct": Line(turns=1)}), PRICES, "unlisted")
    assert (found.cost, found.cost_per_resolved) == (None, None)
    assert found.read > 0
