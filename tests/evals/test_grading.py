"""Scenarios are graded by what happened, then by what was said."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from app.desk import Event
from evals.examples import Played, look_at, report
from evals.scenarios import End, Expect, Seen, Standing, Step, end_problems, step_problems
from evals.scenarios import load_scenarios as load

GOOD = Seen(
    reply="SB-10482 is cancelled.",
    lane="operation",
    operation="cancel_order",
    executed=1,
    pending=False,
    citations=0,
)


@pytest.mark.parametrize(
    ("expect", "problem"),
    [
        ({"lane": "operation", "operation": "cancel_order", "executed": 1}, None),
        ({"lane": "answer"}, "lane is operation, not answer"),
        # A zero is a claim like any other.
        ({"executed": 0}, "writes executed is 1, not 0"),
        ({"handoff": True}, "hand-off is False, not True"),
        ({"approval": "none"}, None),
        ({"approval": "pending"}, "approval is none, not pending"),
        ({"citations": True}, "0 citations"),
        ({"reply_contains_any": ["nothing", "sb-10482 IS"]}, None),
        ({"reply_contains_any": ["refund"]}, "none of ['refund'] is said"),
        ({"reply_excludes": ["Cancelled"]}, "'Cancelled' is said"),
    ],
)
def test_a_step_is_compared_where_it_says_something(
    expect: dict[str, object], problem: str | None
) -> None:
    """Only what is named is compared, and the problem says what was found instead."""
    step = Step(say="cancel it", expect=Expect.model_validate(expect))

    assert ([problem] if problem else []) == step_problems(step, GOOD)


def test_a_reply_may_not_hide_an_llm_call() -> None:
    """Calls are counted at the model; a turn that says less is a failure even if nobody asked."""
    seen = Seen(reply="Hello!", llm_calls=1, said_calls=0)

    assert step_problems(Step(say="hi"), seen) == ["the turn says 0 LLM calls, 1 were made"]


def test_news_must_have_the_expected_status() -> None:
    """A rejected action's news is not that of an executed one."""
    step = Step(expect_event="executed")

    assert step_problems(step, Seen(news="rejected")) == [
        "the news' status is rejected, not executed"
    ]


def test_a_turn_that_fails_or_degrades_is_a_problem() -> None:
    """An error event, an empty reply and a degraded one are found without being asked for."""
    failed, empty, degraded = Seen(), Seen(), Seen()
    look_at(failed, [Event(event="error", data={})])
    look_at(empty, [Event(event="final", data={"text": ""})])
    look_at(degraded, [Event(event="final", data={"text": "x", "degraded": ["extractor"]})])

    assert failed.errors == ["the turn ended with ['error']"]
    assert empty.errors == ["the reply is empty"]
    assert degraded.errors == ["degraded: ['extractor']"]


def test_what_a_turn_showed_is_read_from_its_events() -> None:
    """Lane and operation from the route, calls and citations from the final event."""
    seen = Seen()
    look_at(
        seen,
        [
            Event(event="route", data={"lane": "answer", "operation": None}),
            Event(event="final", data={"text": "a", "llm_calls": 1, "citations": [{"n": 1}]}),
        ],
    )

    assert (seen.lane, seen.operation, seen.said_calls, seen.citations) == ("answer", None, 1, 1)


def test_the_end_state_is_compared_with_the_start() -> None:
    """Records by their state; refunds by how many were added."""
    before = Standing({"SB-1": "paid"}, {"SUB-1": "active"}, {"SB-1": "here"}, 2)
    after = Standing({"SB-1": "cancelled"}, {"SUB-1": "active"}, {"SB-1": "here"}, 3)
    end = End(
        orders={"SB-1": "paid"}, subscriptions={"SUB-1": "active"}, addresses={"SB-1": "there"}, new_refunds=0
    )  # fmt: skip

    assert end_problems(end, before, after) == [
        "SB-1 is 'cancelled', not 'paid'",
        "SB-1 is 'here', not 'there'",
        "1 new refunds, not 0",
    ]
    assert end_problems(End(), before, after) == []


def test_a_case_with_an_unknown_check_is_an_error() -> None:
    """A misspelt check must not pass unnoticed."""
    with pytest.raises(ValidationError, match="llm_cals"):
        Expect.model_validate({"llm_cals": 0})


def test_every_shipped_scenario_can_be_played() -> None:
    """The models read the whole case file, and a long text has the stated length."""
    scenarios = {scenario.id: scenario for scenario in load()}

    assert len(scenarios) > 20
    assert len(scenarios["very-long"].steps[0].text) == 20000


def test_one_scenario_that_misbehaves_fails_the_suite() -> None:
    """The report names it and why."""
    found = report([Played("a", "A"), Played("b", "B", problems=["step 1: lane is direct"])])

    assert not found.ok
    assert found.failures == ["b: step 1: lane is direct"]
    assert [row[:2] for row in found.tables[0].rows] == [("ok", "a"), ("FAILED", "b")]
