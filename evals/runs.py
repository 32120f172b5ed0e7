"""What was measured, kept: each run with where it comes from, and the accepted baseline it is compared with."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from evals.domain import DOMAIN
from evals.figures import Report, as_json, load, machine

ROOT = Path(__file__).resolve().parents[1]
RUNS = Path("data") / "evals"
BASELINE = ROOT / "evals" / "baseline.json"

#: Figures that say more of the machine than of the code; only their targets gate.
_TIMED = frozenset({"ms", "s", "min", "us", "µs", "MB", "/s"})


class BaselineUnusable(Exception):
    """The baseline file cannot be read."""


class Accepted(BaseModel):
    """One figure as it was accepted, and how much worse it may get."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    value: float
    side: Literal["at least", "at most"]
    tolerance: float = Field(ge=0)  #: In the figure's own unit.


class Baseline(BaseModel):
    """The figures a release is held to: suite, figure, what was accepted."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    commit: str = ""
    accepted_at: datetime | None = None
    machine: str = ""
    suites: dict[str, dict[str, Accepted]] = {}


class Worse(BaseModel):
    """A figure that is below the baseline, or that is no longer measured."""

    model_config = ConfigDict(frozen=True)
    suite: str
    figure: str
    accepted: Accepted
    value: float | None

    def __str__(self) -> str:
        now = "no longer measured" if self.value is None else f"{self.value:.4g}"
        return (
            f"{self.suite}: {self.figure}: {now}, accepted was {self.accepted.value:.4g} "
            f"({self.accepted.side}, give or take {self.accepted.tolerance:.4g})"
        )


def read_baseline(path: Path = BASELINE) -> Baseline:
    """The accepted figures; none where there is no file. Raises BaselineUnusable."""
    try:
        return Baseline.model_validate_json(path.read_bytes())
    except FileNotFoundError:
        return Baseline()
    except (OSError, ValidationError) as error:
        raise BaselineUnusable(
            f"{path} cannot be used: {error}. Restore it, or write it anew with `python -m evals accept`."
        ) from error


def compare(reports: Sequence[Report], baseline: Baseline) -> list[Worse]:
    """What these suites measured worse than was accepted; suites that were not played do not matter."""
    found: list[Worse] = []
    for report in reports:
        if _not_measured(report):
            continue
        values = {figure.name: figure.value for figure in report.figures}
        for name, accepted in baseline.suites.get(report.suite, {}).items():
            value = values.get(name)
            if value is None or _worse(value, accepted):
                found.append(Worse(suite=report.suite, figure=name, accepted=accepted, value=value))
    return found


def accept(runs: Sequence[Mapping[str, Any]], before: Baseline) -> Baseline:
    """The baseline with these runs' suites in it; tolerances that somebody set are kept."""
    suites = dict(before.suites)
    for run in runs:
        for suite in run["suites"]:
            known = before.suites.get(suite["suite"], {})
            suites[suite["suite"]] = {
                figure["name"]: _accepted(figure, side, known.get(figure["name"]))
                for figure in suite["figures"]
                if (side := _side(figure)) is not None
            }
    newest = max(runs, key=lambda run: str(run["date"]))
    return Baseline(
        commit=newest["commit"],
        accepted_at=datetime.now(UTC).replace(microsecond=0),
        machine=newest["machine"],
        suites=dict(sorted((name, figures) for name, figures in suites.items() if figures)),
    )


def save(reports: Sequence[Report], worse: Sequence[Worse], folder: Path) -> Path:
    """Keep a run with the commit, the digests of what was measured, the hardware and the date."""
    now = datetime.now(UTC)
    commit, dirty = commit_of_code()
    run = {
        "date": now.isoformat(timespec="seconds"),
        "commit": commit,
        "uncommitted_changes": dirty,
        "artefacts": _artefacts(),
        "prompts": _prompts(),
        "below_baseline": [one.model_dump() for one in worse],
        **json.loads(as_json(reports, on=machine(), load=load())),
    }
    folder.mkdir(parents=True, exist_ok=True)
    names = "-".join(report.suite for report in reports) if len(reports) < 3 else "all"
    path = folder / f"{now:%Y%m%dT%H%M%S%f}-{names}.json"
    draft = path.with_suffix(".part")
    draft.write_text(json.dumps(run, indent=1, ensure_ascii=False) + "\n", "utf-8")
    draft.replace(path)
    return path


def read_runs(folder: Path) -> list[dict[str, Any]]:
    """Every kept run, oldest first; what is no run is left out."""
    found: list[dict[str, Any]] = []
    for path in sorted(folder.glob("*.json")):
        try:
            run = json.loads(path.read_text("utf-8"))
        except (OSError, ValueError):
            continue
        if isinstance(run, dict) and "suites" in run and "date" in run:
            found.append(run)  # pyright: ignore[reportUnknownArgumentType]
    return found


def latest(runs: Sequence[Mapping[str, Any]], suite: str | None = None) -> list[dict[str, Any]]:
    """The newest result of each suite, as runs of one suite each."""
    newest: dict[str, dict[str, Any]] = {}
    for run in runs:
        for one in run["suites"]:
            if suite in (None, one["suite"]) and one["figures"]:
                newest[one["suite"]] = {**run, "suites": [one]}
    return list(newest.values())


def report_of(run: Mapping[str, Any]) -> Report:
    """The report of a run of one suite, with a note of when and on what it was measured."""
    report = TypeAdapter(Report).validate_python(run["suites"][0])
    changed = ", with uncommitted changes" if run["uncommitted_changes"] else ""
    load = "" if run["load"] is None else f"; load at the end {run['load']}"
    report.notes.append(f"{run['date'][:10]}, commit {run['commit'][:7]}{changed}{load}.")
    return report


def as_text(baseline: Baseline) -> str:
    return json.dumps(baseline.model_dump(mode="json"), indent=2, ensure_ascii=False) + "\n"


def _not_measured(report: Report) -> bool:
    return not report.figures and not report.failures


def _worse(value: float, accepted: Accepted) -> bool:
    if accepted.side == "at least":
        return value < accepted.value - accepted.tolerance
    return value > accepted.value + accepted.tolerance


def _side(figure: Mapping[str, Any]) -> Literal["at least", "at most"] | None:
    """Which way is worse, where that is known, if the figure is not the machine's."""
    if figure["unit"] in _TIMED:
        return None
    if figure.get("target") is not None:
        return figure["target"]["side"]
    sides: Mapping[str | None, Literal["at least", "at most"]] = {
        "higher": "at least",
        "lower": "at most",
    }
    return sides.get(figure.get("better"))


def _accepted(
    figure: Mapping[str, Any], side: Literal["at least", "at most"], known: Accepted | None
) -> Accepted:
    value = round(float(figure["value"]), 4)
    usual = 1.0 if figure["unit"] == "%" else round(0.02 * abs(value), 4)
    return Accepted(value=value, side=side, tolerance=known.tolerance if known else usual)


def commit_of_code() -> tuple[str, bool]:
    """The commit that runs, and whether anything was changed since."""
    try:
        commit = _git("rev-parse", "HEAD").strip()
        return commit, bool(_git("status", "--porcelain", "--untracked-files=no").strip())
    except (OSError, subprocess.CalledProcessError):
        return "unknown", False  # Installed from an archive, not a clone.


def _git(*words: str) -> str:
    done = subprocess.run(
        ["git", "-C", str(ROOT), *words], capture_output=True, text=True, check=True
    )
    return done.stdout


def _artefacts() -> dict[str, str]:
    """Digests by kind and role: the engine's, over them the demo shop's."""
    files = (ROOT / "models" / "manifest.json", DOMAIN.models / "manifest.json")
    listed = [one for file in files for one in json.loads(file.read_text("utf-8"))["artefacts"]]
    return {f"{one['kind']} {one['role']}": one["sha256"] for one in listed}


def _prompts() -> dict[str, str]:
    import prompts

    return {name: prompts.load(name).version for name in prompts.names()}
