"""What a suite found: figures beside their targets, and what misbehaved; pure, so that it is easily tested."""

from __future__ import annotations

import json
import math
import os
import platform
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal


class NotPossible(Exception):
    """This suite cannot be played here; the message says what to do about it."""


@dataclass(frozen=True)
class Target:
    """What a figure must reach."""

    bound: float
    side: Literal["at least", "at most"]

    def met_by(self, value: float) -> bool:
        return value >= self.bound if self.side == "at least" else value <= self.bound


def at_least(bound: float) -> Target:
    return Target(bound, "at least")


def at_most(bound: float) -> Target:
    return Target(bound, "at most")


@dataclass(frozen=True)
class Figure:
    """One measured number; ``baseline`` says in words what ``ratio`` compares it with."""

    name: str
    value: float
    unit: str = ""
    target: Target | None = None
    baseline: str = ""
    ratio: float | None = None
    #: Held to the accepted baseline without a target of its own: which way is better.
    better: Literal["higher", "lower"] | None = None

    @property
    def missed(self) -> bool:
        return self.target is not None and not self.target.met_by(self.value)


@dataclass
class Table:
    """Details that are not figures of their own: rows under a heading."""

    title: str
    columns: tuple[str, ...]
    rows: list[tuple[str, ...]] = field(default_factory=list[tuple[str, ...]])


@dataclass(frozen=True)
class Scored:
    """One graded decision, as the report's plots need it."""

    suite: str
    label: str  #: What would have been right.
    chosen: str
    confidence: float  #: The probability of what was chosen.
    right: bool
    tier: str = ""  #: Who settled it.
    ms: float | None = None


@dataclass
class Report:
    """What one suite found."""

    suite: str
    figures: list[Figure] = field(default_factory=list[Figure])
    tables: list[Table] = field(default_factory=list[Table])
    failures: list[str] = field(default_factory=list[str])  #: What misbehaved, one line each.
    notes: list[str] = field(default_factory=list[str])
    scored: list[Scored] = field(default_factory=list[Scored])  #: What the HTML report draws.

    @property
    def ok(self) -> bool:
        return not self.failures and not any(figure.missed for figure in self.figures)

    @property
    def command(self) -> str:
        # What follows the @ tells files apart that one command plays.
        return f"python -m evals {self.suite.partition('@')[0]}"


def shown(value: float, unit: str = "") -> str:
    """A number as a person reads it: three figures that mean something, and its unit."""
    whole = value == int(value) or abs(value) >= 100
    number = f"{value:,.0f}" if whole else f"{value:.3g}"
    return f"{number} {unit}".strip()


def percentile(values: Sequence[float], share: float) -> float:
    """The smallest value that at least ``share`` of all values do not exceed."""
    if not values:
        raise ValueError("no values")
    ranked = sorted(values)
    return ranked[max(math.ceil(len(ranked) * share), 1) - 1]


def machine() -> str:
    """What was measured on, in one line."""
    model = platform.processor() or platform.machine()
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        names = [line for line in cpuinfo.read_text().splitlines() if line.startswith("model name")]
        model = names[0].partition(":")[2].strip() if names else model
    memory = ""
    meminfo = Path("/proc/meminfo")
    if meminfo.exists():
        total = int(meminfo.read_text().split("MemTotal:")[1].split()[0])
        memory = f", {total / 1024**2:.0f} GB"
    usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return (
        f"{usable} core{'s' if usable != 1 else ''} of {model}{memory}, "
        f"{platform.system()}, Python {platform.python_version()}"
    )


def load() -> float | None:
    """How many processes wanted a core during the last minute; above the number of cores, times mislead."""
    return round(os.getloadavg()[0], 1) if hasattr(os, "getloadavg") else None


def as_json(reports: Sequence[Report], *, on: str, load: float | None) -> str:
    """Everything the reports say, for a machine."""
    suites: list[dict[str, Any]] = []
    for report in reports:
        suites.append(
            {
                **asdict(report),
                "ok": report.ok,
                "command": report.command,
                "figures": [asdict(f) | {"missed": f.missed} for f in report.figures],
            }
        )
    return json.dumps({"machine": on, "load": load, "suites": suites}, indent=2) + "\n"


def as_markdown(reports: Sequence[Report], *, on: str, load: float | None) -> str:
    """The page of figures in the documentation."""
    lines = [
        "# Figures",
        "",
        "Written by `python -m evals figures` (or `all`); do not edit. Ratios are against the named baseline,",
        "measured in the same run, so they travel better between machines than the times do.",
        "",
        f"Machine: {on}." + (f" Load at the end: {load}." if load is not None else ""),
        "",
        "| figure | value | baseline | ratio | target | command |",
        "|---|---|---|---|---|---|",
    ]
    for report in reports:
        for figure in report.figures:
            target = (
                f"{figure.target.side} {shown(figure.target.bound, figure.unit)}"
                f"{', **missed**' if figure.missed else ', met'}"
                if figure.target
                else ""
            )
            ratio = "" if figure.ratio is None else f"{figure.ratio:.2f}"
            cells = (
                figure.name,
                shown(figure.value, figure.unit),
                figure.baseline,
                ratio,
                target,
                f"`{report.command}`",
            )
            lines.append("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |")
    for report in reports:
        if report.failures or report.notes or report.tables:
            lines += ["", f"## {report.suite}"]
        lines += [line for failure in report.failures for line in ("", f"- **failed**: {failure}")]
        lines += [line for note in report.notes for line in ("", note)]
        for table in report.tables:
            lines += ["", f"### {table.title}", ""]
            lines.append("| " + " | ".join(table.columns) + " |")
            lines.append("|" + "---|" * len(table.columns))
            lines += [
                "| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |"
                for row in table.rows
            ]
    return "\n".join(lines) + "\n"
