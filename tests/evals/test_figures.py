"""Figures, targets and the page they are written on."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from domains.northfell.demo_accounts import stories
from evals import bitext, mix, scaling, startup, turn
from evals.__main__ import app
from evals.bitext import Read
from evals.figures import (
    Figure,
    NotPossible,
    Report,
    as_json,
    as_markdown,
    at_least,
    at_most,
    percentile,
    shown,
)
from evals.mix import Message, Went
from tools.values import now


@pytest.mark.parametrize(
    ("figure", "missed"),
    [
        (Figure("share", 75.0, "%", at_least(75)), False),
        (Figure("share", 74.9, "%", at_least(75)), True),
        (Figure("time", 10.0, "ms", at_most(10)), False),
        (Figure("time", 10.1, "ms", at_most(10)), True),
        # Without a target there is nothing to miss.
        (Figure("time", 1e9, "ms"), False),
    ],
)
def test_a_target_is_met_at_its_bound(figure: Figure, missed: bool) -> None:
    """The bound itself is good enough."""
    assert figure.missed is missed
    assert Report("x", figures=[figure]).ok is not missed


@pytest.mark.parametrize(("share", "value"), [(0.5, 3), (0.95, 5), (0.2, 1), (0.0, 1), (1.0, 5)])
def test_a_percentile_is_a_value_that_occurred(share: float, value: float) -> None:
    """Nearest rank: no number nobody measured."""
    assert percentile([5, 1, 4, 2, 3], share) == value


@pytest.mark.parametrize(
    ("value", "unit", "text"),
    [(76.0, "%", "76 %"), (0.03456, "s", "0.0346 s"), (1234.5, "MB", "1,234 MB"), (1.15, "", "1.15")],
)  # fmt: skip
def test_numbers_are_shown_as_people_read_them(value: float, unit: str, text: str) -> None:
    """Three figures that mean something."""
    assert shown(value, unit) == text


def test_the_page_has_a_row_a_figure() -> None:
    """Value, baseline, ratio, target and the command that measures it again; a miss is said."""
    found = Report(
        "turn",
        figures=[Figure("overhead", 12.0, "ms", at_most(10), "model | calls", 1.2)],
        failures=["something broke"],
    )

    page = as_markdown([found], on="a machine", load=0.5)

    assert (
        "| overhead | 12 ms | model \\| calls | 1.20 | at most 10 ms, **missed** | `python -m evals turn` |"
        in page
    )
    assert "Machine: a machine. Load at the end: 0.5." in page
    assert "- **failed**: something broke" in page


def test_the_json_says_what_was_missed() -> None:
    """A machine need not compare numbers itself."""
    found = Report("turn", figures=[Figure("overhead", 12.0, "ms", at_most(10))])

    read = json.loads(as_json([found], on="here", load=None))

    assert read["suites"][0]["ok"] is False
    assert read["suites"][0]["figures"][0]["missed"] is True


def a_message(lane: tuple[str, ...]) -> Message:
    return Message(id="m", group="order", text="?", lane=lane, intent=("order_status",))


@pytest.mark.parametrize(
    ("lane", "right", "cause"),
    [
        ("operation", True, None),
        ("clarify", False, "nobody was sure"),
        ("escalate", False, "taken for an upset customer"),
        ("answer", False, "small was sure of something else"),
    ],
)
def test_a_clarifying_question_is_not_the_right_lane(
    lane: str, right: bool, cause: str | None
) -> None:
    """Asking back costs the customer a turn, whatever the guess behind it was."""
    went = Went(a_message(("operation",)), lane, "order_status", "small", 0.5, "operation", 0)

    assert went.right is right
    assert cause is None or went.cause == cause


def test_the_mix_counts_messages_that_needed_no_llm() -> None:
    """Two calls for one message are one message with an LLM, and two calls in the cost."""
    free = Went(a_message(("direct",)), "direct", "greeting", "encoder", 1.0, "direct", 0)
    paid = Went(a_message(("answer",)), "answer", "ask_plans", "encoder", 1.0, "answer", 2)

    share, lane, cost = mix.report([free, free, free, paid]).figures

    assert (share.value, share.ratio, lane.value, cost.value) == (75, 0.5, 100, 0.5)


def test_a_message_is_sent_by_the_customer_whose_record_it_names() -> None:
    """Else the operation would answer that there is no such record."""
    accounts = stories(now().date())

    assert mix.speaker_for("refund RF-30112?", accounts) == "carla"
    assert mix.speaker_for("is sb10455 shipped", accounts) == "ben"
    assert mix.speaker_for("where is my parcel", accounts) == mix.SPEAKER


def test_bitext_without_the_data_says_where_to_get_it(tmp_path: Path) -> None:
    """The message names the setting, the file and the set."""
    with pytest.raises(NotPossible, match=r"SIGNALBOX_DATA is not set.*Bitext"):
        bitext.messages(None)
    with pytest.raises(NotPossible, match=r"dev\.jsonl is not there"):
        bitext.messages(tmp_path)


def test_the_command_says_so_too_and_fails() -> None:
    """`python -m evals bitext` without data exits 1 with one readable message."""
    result = CliRunner().invoke(app, ["bitext"])

    assert result.exit_code == 1
    assert "SIGNALBOX_DATA is not set" in result.output


def test_bitext_figures_keep_what_was_unsure_apart() -> None:
    """An abstention is not the right lane; the guess behind it is reported beside."""
    sure = Read("a", "x", "answer", "answer", "answer", "encoder", 5.0)
    unsure = Read("b", "x", "answer", "clarify", "answer", "nobody", 150.0)

    values = {figure.name: figure.value for figure in bitext.report([sure, unsure]).figures}

    assert values["Bitext: messages in the right lane"] == 50
    assert values["Bitext: right lane where the router was sure"] == 100
    assert values["Bitext: right lane, unsure guesses counted"] == 100


def test_busy_time_counts_overlapping_calls_once() -> None:
    """Two calls at the same time take no longer than the longer one."""
    assert turn.covered([(0, 2), (1, 3), (5, 6), (5, 5.5)]) == 4
    assert turn.covered([]) == 0


async def test_a_timed_port_passes_everything_on() -> None:
    """Answers and errors are the port's own; the stopwatch knows what was called."""

    class Port:
        limit = 3

        async def double(self, value: int, *, plus: int = 0) -> int:
            return 2 * value + plus

    watch = turn.Stopwatch()
    timed = turn.Timed(Port(), watch, "port", model=True)

    assert await timed.double(2, plus=1) == 5
    assert timed.limit == 3
    assert [kind for kind, _, _ in watch.spans] == ["port"]
    assert await watch.model_calls[0]() == 5


def test_the_startup_report_takes_the_middle_time_and_the_largest_memory() -> None:
    """One slow start is bad luck; one that takes too much memory is not."""
    starts = [startup.Start(1, 2, 3, 500), startup.Start(1, 9, 3, 700), startup.Start(1, 3, 3, 600)]

    values = {figure.name: figure.value for figure in startup.report(starts).figures}

    assert values["second start to first answered order question"] == 3
    assert values["memory with everything loaded"] == 700


def test_the_scaling_report_takes_the_load_under_which_most_is_done() -> None:
    """Processor time is a turn's share of all that the server used; a lane in which nothing came back says why."""
    runs = [
        scaling.Run(lane, clients, seconds=2.0, cpu=0.4, commits=40, ms=[10.0] * (4 * clients))
        for lane in scaling.LANES
        for clients in (1, 4)
    ]
    runs.append(scaling.Run("read", 16, seconds=2.0, failed=["read: 503"]))

    found = scaling.report(runs)

    assert {figure.value for figure in found.figures} == {8.0}
    assert found.figures[0].baseline == "4 customers at once, 25 ms of processor a turn"
    assert found.failures == ["read: 503"]
    assert found.tables[0].rows[0] == (
        "read", "1", "4", "2.0", "10", "10", "100", "10.0", "0.0",
    )  # fmt: skip


def test_the_scaling_suite_asks_as_customers_who_have_something_to_change() -> None:
    """Enough of them for the largest load; what is said names their own order."""
    people = scaling.people()

    assert len({who.id for who in people}) >= max(scaling.CLIENTS)
    assert people[0].order in scaling.LANES["read"](people[0], 0)[0]
    assert scaling.LANES["write, with its yes"](people[0], 0)[1] == "yes"
    assert scaling.cpu_of(os.getpid()) > 0


def test_memory_of_this_process_and_its_children_is_counted() -> None:
    """The proportional set size comes from the kernel, for every process of the family."""
    if not Path("/proc/self/smaps_rollup").exists():
        pytest.skip("no /proc here")
    child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    try:
        sizes = startup.memory(os.getpid())
    finally:
        child.communicate()

    assert f"agent ({os.getpid()})" in sizes
    assert f"agent ({child.pid})" in sizes
    assert all(size > 1 for size in sizes.values())
