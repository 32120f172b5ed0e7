"""The HTML report: one file with everything in it, drawn from kept runs and the baseline."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from evals import plots
from evals.figures import Scored, percentile, shown
from evals.runs import Accepted, Baseline

TEMPLATES = Path(__file__).parent


@dataclass(frozen=True)
class Frame:
    """A plot's area and its two scales, from values to the drawing's units."""

    x: tuple[float, float]
    y: tuple[float, float]
    logarithmic: bool = False
    width: float = 320
    height: float = 220
    left: float = 58
    top: float = 12

    def at_x(self, value: float) -> float:
        low, high = self.x
        if self.logarithmic:
            low, high, value = math.log10(low), math.log10(high), math.log10(max(value, low))
        return round(self.left + (value - low) / (high - low) * self.width, 2)

    def at_y(self, value: float) -> float:
        low, high = self.y
        return round(self.top + (1 - (value - low) / (high - low)) * self.height, 2)

    def line(self, points: Iterable[tuple[float, float]]) -> str:
        """The points joined, as an SVG path."""
        return "M" + "L".join(f"{self.at_x(x)} {self.at_y(y)}" for x, y in points)

    def steps(self, points: Sequence[tuple[float, float]]) -> str:
        """The points joined by stairs: the value holds until the next one."""
        path = [points[0]]
        for (_, before), (x, y) in itertools.pairwise(points):
            path += [(x, before), (x, y)]
        return self.line(path)


@dataclass(frozen=True)
class Row:
    """One figure in the table."""

    name: str
    value: str
    target: str
    met: bool | None
    accepted: str
    change: str
    state: str  #: ``better``, ``worse``, ``same`` or nothing to compare with.
    trend: str  #: A path 80 by 20.


def render(
    runs: Sequence[Mapping[str, Any]], newest: Sequence[Mapping[str, Any]], baseline: Baseline
) -> str:
    """The page: ``newest`` holds each suite's latest result, ``runs`` every kept one."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    environment = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    suites = [_suite(one, runs, baseline) for one in newest]
    rows = [row for suite in suites for row in suite["rows"]]
    return environment.get_template("report.html").render(
        suites=suites,
        worse=[(s["name"], r) for s in suites for r in s["rows"] if r.state == "worse"],
        missed=[(s["name"], r) for s in suites for r in s["rows"] if r.met is False],
        failures=[(s["name"], f) for s in suites for f in s["failures"]],
        figures=len(rows),
        compared=sum(bool(row.accepted) for row in rows),
        baseline=baseline,
        newest=max(newest, key=lambda run: str(run["date"])),
    )


def _suite(
    run: Mapping[str, Any], runs: Sequence[Mapping[str, Any]], baseline: Baseline
) -> dict[str, Any]:
    found = run["suites"][0]
    name = found["suite"]
    scored = [Scored(**one) for one in found.get("scored", [])]
    groups = {one.suite: [s for s in scored if s.suite == one.suite] for one in scored}
    return {
        "name": name,
        "command": found["command"],
        "date": str(run["date"])[:16].replace("T", " "),
        "commit": str(run["commit"])[:9],
        "machine": run["machine"],
        "load": run.get("load"),
        "rows": [
            _row(
                figure, baseline.suites.get(name, {}).get(figure["name"]), _past(runs, name, figure)
            )
            for figure in found["figures"]
        ],
        "ratios": _ratios(found["figures"]),
        "tables": found["tables"],
        "notes": found["notes"],
        "failures": found["failures"],
        "plots": [_plots(title, group) for title, group in groups.items()],
    }


def _past(runs: Sequence[Mapping[str, Any]], suite: str, figure: Mapping[str, Any]) -> list[float]:
    return [
        float(one["value"])
        for run in runs
        for found in run["suites"]
        if found["suite"] == suite
        for one in found["figures"]
        if one["name"] == figure["name"]
    ][-20:]


def _row(figure: Mapping[str, Any], accepted: Accepted | None, past: list[float]) -> Row:
    value, unit, target = float(figure["value"]), figure["unit"], figure["target"]
    change, state = "", ""
    if accepted is not None:
        apart = value - accepted.value
        better = apart > 0 if accepted.side == "at least" else apart < 0
        beyond = abs(apart) > accepted.tolerance
        state = "same" if not beyond else "better" if better else "worse"
        # Accepted values are rounded to four places.
        change = f"{apart:+.3g}" if abs(apart) >= 1e-4 else "±0"
    return Row(
        name=figure["name"],
        value=shown(value, unit),
        target=f"{target['side']} {shown(target['bound'], unit)}" if target else "",
        met=None if target is None else not figure["missed"],
        accepted=shown(accepted.value, unit) if accepted else "",
        change=change,
        state=state,
        trend=_trend(past),
    )


def _trend(past: Sequence[float]) -> str:
    if len(past) < 2:
        return ""
    low, high = min(past), max(past)
    frame = Frame((0, len(past) - 1), (low, high if high > low else low + 1), False, 76, 16, 2, 2)
    return frame.line(enumerate(past))


def _ratios(figures: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Figures beside their baselines: cost and time against doing it another way."""
    found = [f for f in figures if f.get("ratio") is not None and f.get("baseline")]
    most = max([1.0, *(float(f["ratio"]) for f in found)])
    return [
        {
            "name": f["name"],
            "against": f["baseline"],
            "ratio": float(f["ratio"]),
            "width": round(100 * float(f["ratio"]) / most, 1),
            "one": round(100 / most, 1),
        }
        for f in found
    ]


def _plots(title: str, scored: list[Scored]) -> dict[str, Any]:
    right = sum(one.right for one in scored)
    return {
        "title": title,
        "n": len(scored),
        "accuracy": f"{100 * right / len(scored):.1f} %",
        "confusion": _confusion(scored),
        "reliability": _reliability(scored),
        "risk": _risk(scored),
        "latency": _latency(scored),
    }


def _confusion(scored: list[Scored]) -> dict[str, Any]:
    found = plots.confusion(scored)
    size = 26.0
    cells = [
        {
            "x": column * size,
            "y": row * size,
            "n": count,
            "share": round(share, 3),
            "right": row == column,
            "says": f"{found.labels[row]} taken for {found.labels[column]}: {count}",
        }
        for row, (counts, shares) in enumerate(zip(found.counts, found.shares, strict=True))
        for column, (count, share) in enumerate(zip(counts, shares, strict=True))
        if count
    ]
    margin = 8 + 6.2 * max(len(name) for name in found.labels)
    return {"labels": found.labels, "cells": cells, "size": size, "margin": round(margin, 1)}


def _reliability(scored: list[Scored]) -> dict[str, Any]:
    frame = Frame((0, 1), (0, 1))
    most = max(b.n for b in plots.reliability(scored))
    bars = [
        {
            "x": frame.at_x(b.confidence),
            "y": frame.at_y(b.accuracy),
            "low": frame.at_y(b.bounds[0]),
            "high": frame.at_y(b.bounds[1]),
            "radius": round(2.5 + 5 * math.sqrt(b.n / most), 1),
            "says": f"{b.low:.1f} to {b.high:.1f}: {b.n} decisions, said {b.confidence:.0%}, "
            f"right {b.accuracy:.0%} ({b.bounds[0]:.0%} to {b.bounds[1]:.0%})",
        }
        for b in plots.reliability(scored)
    ]
    return {
        "frame": frame,
        "bars": bars,
        "diagonal": frame.line([(0, 0), (1, 1)]),
        "ece": f"{plots.calibration_error(scored):.3f}",
        "ticks": _ticks(frame, (0, 0.25, 0.5, 0.75, 1), (0, 0.25, 0.5, 0.75, 1), _percent),
    }


def _risk(scored: list[Scored]) -> dict[str, Any]:
    points = plots.risk_coverage(scored)
    top = max(0.02, *(risk for _, risk in points)) * 1.1
    frame = Frame((0, 1), (0, top))
    return {
        "frame": frame,
        "curve": frame.steps([(0.0, points[0][1]), *points]),
        "area": f"{plots.risk_area(points):.3f}",
        "ticks": _ticks(
            frame, (0, 0.25, 0.5, 0.75, 1), [top * n / 4 for n in range(5)], _percent, _tenths
        ),
    }


def _latency(scored: list[Scored]) -> dict[str, Any] | None:
    curves = plots.latencies(scored)
    times = [ms for curve in curves.values() for ms, _ in curve if ms > 0]
    if not times:
        return None
    axis = plots.decades(min(times), max(times))
    frame = Frame((axis[0], axis[-1]), (0, 1), logarithmic=True)
    lines = [
        {
            "tier": tier,
            "path": frame.steps(curve),
            "p50": _ms(scored, tier, 0.5),
            "p95": _ms(scored, tier, 0.95),
        }
        for tier, curve in curves.items()
    ]
    return {
        "frame": frame,
        "lines": lines,
        "ticks": _ticks(frame, axis, (0, 0.25, 0.5, 0.75, 1), _time, _percent),
    }


def _ms(scored: list[Scored], tier: str, share: float) -> str:
    times = [one.ms for one in scored if (one.tier or "all") == tier and one.ms is not None]
    return f"{percentile(times, share):.1f} ms"


def _ticks(
    frame: Frame,
    xs: Sequence[float],
    ys: Sequence[float],
    name_x: Callable[[float], str],
    name_y: Callable[[float], str] | None = None,
) -> dict[str, list[tuple[float, str]]]:
    return {
        "x": [(frame.at_x(value), name_x(value)) for value in xs],
        "y": [(frame.at_y(value), (name_y or name_x)(value)) for value in ys],
    }


def _time(ms: float) -> str:
    return f"{ms:g} ms" if ms < 1000 else f"{ms / 1000:g} s"


def _percent(value: float) -> str:
    return f"{100 * value:.0f} %"


def _tenths(value: float) -> str:
    return f"{100 * value:.1f} %"
