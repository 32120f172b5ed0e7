"""Scenarios are graded by what happened, then by what was said."""

from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import JsonValue, ValidationError

from app.desk import Event
from evals.domain import CASES
from evals.examples import Played, look_at, report
from evals.scenarios import (
    EXAMPLES,
    End,
    Expect,
    ScenariosInvalid,
    Seen,
    Step,
    end_problems,
    load_scenarios,
    step_problems,
)
from tools.records import RecordView

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


def record(number: str, kind: str, state: str, **facts: JsonValue) -> RecordView:
    return RecordView(kind=kind, id=number, label=number, state=state, facts=facts)


def test_the_end_state_is_compared_with_the_start() -> None:
    """Records by state and facts; a kind by how many were added."""
    before = {
        one.id: one
        for one in (
            record("A-1", "visit", "booked", where="here"),
            record("P-1", "plan", "active"),
        )
    }
    after = before | {
        "A-1": record("A-1", "visit", "missed", where="here"),
        "B-1": record("B-1", "bill", "open"),
    }
    end = End(
        records={"A-1": "booked", "P-1": "active", "P-2": "active"},
        facts={"A-1": {"where": "there"}},
        new={"bill": 0},
    )

    assert end_problems(end, before, after) == [
        "A-1 is 'missed', not 'booked'",
        "P-2 is None, not 'active'",
        "where of A-1 is 'here', not 'there'",
        "1 new of bill, not 0",
    ]
    assert end_problems(End(), before, after) == []


def test_a_case_with_an_unknown_check_is_an_error() -> None:
    """A misspelt check must not pass unnoticed."""
    with pytest.raises(ValidationError, match="llm_cals"):
        Expect.model_validate({"llm_cals": 0})


def test_a_file_of_scenarios_is_refused_with_its_line(tmp_path: Path) -> None:
    """The author is told where to look; a missing file says what to write."""
    file = tmp_path / EXAMPLES
    with pytest.raises(ScenariosInvalid, match="is missing"):
        load_scenarios(file)
    file.write_text("scenarios:\n  - id: a\n    customer: x\n    steps:\n      - sai: yes\n")
    with pytest.raises(ScenariosInvalid, match=r"examples\.yaml, line 5.*sai"):
        load_scenarios(file)


def test_every_shipped_scenario_can_be_played() -> None:
    """The models read the whole case file, and a long text has the stated length."""
    scenarios = {scenario.id: scenario for scenario in load_scenarios(CASES / EXAMPLES)}

    assert len(scenarios) > 20
    assert len(scenarios["very-long"].steps[0].text) == 20000


def test_one_scenario_that_misbehaves_fails_the_suite() -> None:
    """The report names it and why."""
    found = report([Played("a", "A"), Played("b", "B", problems=["step 1: lane is direct"])])

    assert not found.ok
    assert found.failures == ["b: step 1: lane is direct"]
    assert [row[:2] for row in found.tables[0].rows] == [("ok", "a"), ("FAILED", "b")]
