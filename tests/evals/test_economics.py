"""The economics of played conversations: added up, and beside a large model for everything."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest

from app.economics import Asked, Line, ModelUse, Spent, baseline_of
from app.models.metering import Price, Prices
from evals.economics import report, run, together
from evals.figures import NotPossible
from evals.world import Folders

AT = datetime(2026, 11, 30, tzinfo=UTC)
PRICES = Prices(models={"big": Price(input=2, output=8)})


def use(tier: str, role: str, calls: int, cost: float) -> ModelUse:
    return ModelUse(
        tier=tier,
        role=role,
        model="big" if tier == "large" else "small",
        local=tier != "large",
        masked=tier == "large",
        calls=calls,
        failed=0,
        read=1000 * calls,
        cached=0,
        written=100 * calls,
        cost=cost,
    )


def spent(turns: int, calls: int) -> Spent:
    return Spent(
        since=AT,
        until=AT,
        lanes={"answer": Line(turns=turns, with_llm=calls, resolved=turns, cost=calls * 0.0028)},
        domains={},
        customers={},
        dearest=(),
        models=(use("large", "synthesizer", calls, calls * 0.0028), use("small", "router", 2, 0.0)),
        asked=(Asked(lane="answer", role="synthesizer", turns=calls),),
    )


def test_conversations_are_added_up():
    """Lanes, models and who was asked for what."""
    found = together([spent(3, 1), spent(5, 2)])

    assert found.lanes["answer"].turns == 8
    assert [(one.role, one.calls, one.read) for one in found.models] == [
        ("synthesizer", 3, 3000),
        ("router", 4, 4000),
    ]
    assert found.asked == (Asked(lane="answer", role="synthesizer", turns=3),)


def test_the_report_sets_both_side_by_side():
    """With the cost of a conversation that ended right, and how often the one is the other."""
    found = report(spent(10, 2), PRICES, "big", conversations=4, right=4)
    [beside, lanes, models] = found.tables
    baseline = baseline_of(spent(10, 2), PRICES, "big")
    ratio = next(figure.ratio for figure in found.figures if figure.ratio)

    assert beside.rows[0][1:] == ("2", "2000", "200", "0.00560", "0.00140")
    assert beside.rows[1][1] == str(baseline.calls) == "20"
    assert ratio == pytest.approx((baseline.cost or 0) / 0.0056)
    assert ratio > 3
    assert lanes.rows[0][:5] == ("answer", "10", "2", "0", "10")
    assert len(models.rows) == 2


def test_nothing_that_went_right_has_no_cost_a_task():
    """And what costs nothing has no ratio; a model without a price no cost."""
    found = report(spent(10, 0), PRICES, "unlisted", conversations=4, right=0)

    assert found.tables[0].rows[0][-1] == "not known"
    assert found.tables[0].rows[1][-2:] == ("not known", "not known")
    assert not any(figure.ratio for figure in found.figures)


def test_a_file_that_cannot_be_played_says_so(tmp_path: Path) -> None:
    """Before any model is loaded, as `conversations` says it."""
    with pytest.raises(NotPossible, match="cannot be read"):
        run(Folders(tmp_path), file=tmp_path / "absent.jsonl")
    with pytest.raises(NotPossible, match="called or tagged nothing-like-it"):
        run(Folders(tmp_path), only=["nothing-like-it"])
