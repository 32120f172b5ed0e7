"""What the report's plots show, as numbers; pure, so that it is easily tested."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from app.intervals import wilson
from evals.figures import Scored, percentile

#: A confusion matrix with more rows than this is not read by anybody.
MOST_LABELS = 14
OTHER = "(other)"


@dataclass(frozen=True)
class Bin:
    """Decisions of about the same confidence."""

    low: float
    high: float
    confidence: float
    accuracy: float
    bounds: tuple[float, float]  #: 95 % interval of the accuracy.
    n: int


@dataclass(frozen=True)
class Confusion:
    """Counts by what was right (rows) and what was chosen (columns)."""

    labels: tuple[str, ...]
    counts: tuple[tuple[int, ...], ...]

    @property
    def shares(self) -> tuple[tuple[float, ...], ...]:
        """Each row's counts as shares of the row."""
        return tuple(tuple(n / max(sum(row), 1) for n in row) for row in self.counts)


def confusion(scored: Sequence[Scored], most: int = MOST_LABELS) -> Confusion:
    """The labels that are confused most often, the rest together."""
    known = Counter(one.label for one in scored) + Counter(one.chosen for one in scored)
    labels = sorted(known)
    if len(labels) > most:
        wrong = [one for one in scored if not one.right]
        missed = Counter(one.label for one in wrong) + Counter(one.chosen for one in wrong)
        worst = sorted(known, key=lambda name: (-missed[name], -known[name], name))
        labels = [*sorted(worst[: most - 1]), OTHER]
    place = {name: number for number, name in enumerate(labels)}
    rest = len(labels) - 1
    counts = [[0] * len(labels) for _ in labels]
    for one in scored:
        counts[place.get(one.label, rest)][place.get(one.chosen, rest)] += 1
    return Confusion(tuple(labels), tuple(tuple(row) for row in counts))


def reliability(scored: Sequence[Scored], bins: int = 10) -> list[Bin]:
    """Accuracy by confidence in bins of equal width; empty ones are left out."""
    found: list[Bin] = []
    for number in range(bins):
        low, high = number / bins, (number + 1) / bins
        inside = [one for one in scored if _bin(one.confidence, bins) == number]
        if inside:
            share = wilson(sum(one.right for one in inside), len(inside))
            mean = sum(one.confidence for one in inside) / len(inside)
            found.append(Bin(low, high, mean, share.value, (share.low, share.high), len(inside)))
    return found


def calibration_error(scored: Sequence[Scored], bins: int = 10) -> float:
    """Expected calibration error: the mean gap between confidence and accuracy, by decisions."""
    total = len(scored)
    return (
        sum(b.n * abs(b.accuracy - b.confidence) for b in reliability(scored, bins)) / total
        if total
        else 0.0
    )


def risk_coverage(scored: Sequence[Scored]) -> list[tuple[float, float]]:
    """(coverage, share wrong) when only the most confident are decided, for every coverage.

    Equally confident decisions enter together: nothing tells them apart."""
    ranked = sorted(scored, key=lambda one: -one.confidence)
    points: list[tuple[float, float]] = []
    wrong = 0
    for number, one in enumerate(ranked, 1):
        wrong += not one.right
        if number == len(ranked) or ranked[number].confidence != one.confidence:
            points.append((number / len(ranked), wrong / number))
    return points


def risk_area(points: Sequence[tuple[float, float]]) -> float:
    """The area under the risk-coverage curve: the mean risk over all coverages. Less is better."""
    area, before = 0.0, 0.0
    for coverage, risk in points:
        area += (coverage - before) * risk
        before = coverage
    return area


def latencies(scored: Sequence[Scored]) -> dict[str, list[tuple[float, float]]]:
    """Of each tier: (milliseconds, share that took no longer), at every twentieth."""
    found: dict[str, list[tuple[float, float]]] = {}
    for tier in sorted({one.tier for one in scored}):
        times = [one.ms for one in scored if one.tier == tier and one.ms is not None]
        if len(times) >= 2:
            shares = [0.01, *(n / 20 for n in range(1, 20)), 0.99, 1.0]
            found[tier or "all"] = [(percentile(times, share), share) for share in shares]
    return found


def decades(low: float, high: float) -> list[float]:
    """The powers of ten that hold both, for a logarithmic axis."""
    first = math.floor(math.log10(max(low, 1e-3)))
    last = max(math.ceil(math.log10(max(high, 1e-3))), first + 1)
    return [10.0**power for power in range(first, last + 1)]


def _bin(confidence: float, bins: int) -> int:
    return min(max(int(confidence * bins), 0), bins - 1)
