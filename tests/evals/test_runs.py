"""Runs are kept, compared with what was accepted, and drawn; a figure that got worse stops a release."""

from __future__ import annotations

import json
import random
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from evals import __main__ as main
from evals import plots
from evals.figures import Figure, Report, Scored, at_least, at_most
from evals.runs import Accepted, Baseline, accept, compare, read_baseline, read_runs, save


def a_report(right: float, *, calls: float = 0.2, scored: int = 0) -> Report:
    rng = random.Random(1)
    rows = [
        Scored("mix", "a" if n % 3 else "b", "a", rng.random(), n % 3 > 0, "encoder", 1.0 + n)
        for n in range(scored)
    ]
    return Report(
        "mix",
        figures=[
            Figure("right", right, "%", at_least(50)),
            Figure("calls", calls, "calls", at_most(1), "an LLM for everything", calls),
            Figure("took", 12.0, "ms", at_most(100)),
            Figure("shown only", 3.0, "%"),
        ],
        scored=rows,
    )


@pytest.fixture
def play(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Run `python -m evals ...` with a suite that measures what it is told, in folders of its own."""

    def run(*words: str, measured: Report | None = None) -> Result:
        if measured is not None:
            monkeypatch.setattr(main, "suites", lambda data=None: {"mix": lambda *_: measured})
        where = ["--runs", str(tmp_path / "runs"), "--baseline", str(tmp_path / "baseline.json")]
        return CliRunner().invoke(main.app, [*where, *words])

    return run


def test_a_worse_figure_stops_the_release(play) -> None:
    """Accepted at 90: 89.5 is within the tolerance, 88 is not, and the reason is said."""
    first = play("mix", measured=a_report(90))
    accepted = play("accept")
    near = play("mix", measured=a_report(89.5))
    worse = play("mix", measured=a_report(88))

    assert [first.exit_code, accepted.exit_code, near.exit_code, worse.exit_code] == [0, 0, 0, 1]
    assert "below the baseline: mix: right: 88, accepted was 90" in worse.output


def test_a_figure_that_went_away_or_grew_where_less_is_better_is_worse() -> None:
    """Nobody passes by measuring less; machines' times and figures without a target are not held to it."""
    baseline = accept([_as_run(a_report(90))], Baseline())

    assert set(baseline.suites["mix"]) == {"right", "calls"}
    assert [one.figure for one in compare([a_report(90, calls=0.3)], baseline)] == ["calls"]
    fewer = Report("mix", figures=a_report(90).figures[1:])
    assert [(one.figure, one.value) for one in compare([fewer], baseline)] == [("right", None)]
    assert compare([Report("mix", notes=["Not measured: no data"])], baseline) == []
    assert compare([Report("other", figures=[Figure("x", 0.0)])], baseline) == []


def test_a_tolerance_that_somebody_set_stays() -> None:
    """Accepting changes the value only."""
    before = Baseline(suites={"mix": {"right": Accepted(value=80, side="at least", tolerance=4)}})

    after = accept([_as_run(a_report(90))], before).suites["mix"]["right"]

    assert (after.value, after.tolerance) == (90, 4)


def test_a_run_says_where_it_comes_from(tmp_path: Path) -> None:
    """Commit, digests of artefacts and prompts, machine, date; a half-written file is no run."""
    save([a_report(90, scored=3)], [], tmp_path)
    (tmp_path / "broken.json").write_text("{ half")

    [run] = read_runs(tmp_path)

    assert len(run["commit"]) == 40
    assert len(run["artefacts"]["head intent"]) == 64
    assert run["prompts"]["judge"]
    assert run["machine"]
    assert run["date"].startswith("20")
    assert [Scored(**one).chosen for one in run["suites"][0]["scored"]] == ["a"] * 3


def test_a_baseline_that_cannot_be_read_is_an_error(play, tmp_path: Path) -> None:
    """Not a pass."""
    (tmp_path / "baseline.json").write_text("{ half")

    found = play("mix", measured=a_report(90))

    assert found.exit_code == 1
    assert "cannot be used" in found.output


def test_the_committed_baseline_is_valid() -> None:
    """It can be read, and holds suites that there are."""
    assert set(read_baseline().suites) <= set(main.suites())


def test_the_report_holds_everything_in_one_file(play, tmp_path: Path) -> None:
    """Plots, the comparison and the trend; nothing is loaded from elsewhere, and words are escaped."""
    play("mix", measured=a_report(90, scored=60))
    play("accept")
    bad = a_report(80, scored=60)
    bad.notes.append("<script>alert(1)</script>")
    play("mix", measured=bad)
    drawn = play("report")
    page = (tmp_path / "runs" / "report.html").read_text()

    assert drawn.exit_code == 0
    for shown in ("Reliability", "Risk and coverage", "Confusion", "Latency", "Cost and time"):
        assert shown in page
    assert "Below the accepted baseline" in page
    assert 'class="trend"' in page
    assert "<script" not in page
    assert "http" not in page.replace("http://www.w3.org", "")


def test_nothing_to_draw_or_accept_is_said(play) -> None:
    """With what to do first."""
    assert "play a suite first" in play("report").output
    assert play("accept", "mix").exit_code == 1


def test_the_plots_numbers() -> None:
    """Perfect confidence has no calibration error; what is wrong comes last when it is least confident."""
    sure = [Scored("s", "a", "a", 1.0, True)] * 8 + [Scored("s", "a", "b", 0.0, False)] * 2

    assert plots.calibration_error(sure) == 0.0
    assert plots.risk_coverage(sure) == [(0.8, 0.0), (1.0, 0.2)]
    assert plots.risk_area(plots.risk_coverage(sure)) == pytest.approx(0.04)
    assert plots.confusion(sure).counts == ((8, 2), (0, 0))
    over = [Scored("s", "a", "b", 0.95, n < 5) for n in range(10)]
    assert plots.calibration_error(over) == pytest.approx(0.45)


def test_many_labels_are_folded_into_the_ones_that_are_confused() -> None:
    """The matrix stays readable and loses no decision."""
    rows = [Scored("s", f"i{n}", f"i{n}", 0.9, True) for n in range(40)]
    rows += [Scored("s", "i7", "i9", 0.6, False)] * 3

    found = plots.confusion(rows)

    assert len(found.labels) == plots.MOST_LABELS
    assert {"i7", "i9", plots.OTHER} <= set(found.labels)
    assert sum(map(sum, found.counts)) == len(rows)


def _as_run(report: Report) -> dict[str, object]:
    from evals.figures import as_json

    return {"commit": "c", "date": "2026", **json.loads(as_json([report], on="m", load=None))}


def test_the_page_of_figures_is_made_of_the_newest_runs(play, tmp_path: Path) -> None:
    """Of each suite the last run, with where it was measured; without any run nothing is written."""
    page = tmp_path / "figures.md"
    empty = play("figures", "--out", str(page))
    play("mix", measured=a_report(90))
    play("mix", measured=a_report(91.5))
    written = play("figures", "--out", str(page))

    assert (empty.exit_code, written.exit_code) == (1, 0)
    assert "play a suite first" in empty.output
    text = page.read_text("utf-8")
    assert "| right | 91.5 % |" in text
    assert "| calls | 0.2 calls | an LLM for everything | 0.20 | at most 1 calls, met |" in text
    assert "90 %" not in text
    assert ", commit " in text.split("## mix")[1]
