"""How sure a share is: intervals that stay honest when there are few observations."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from tools.values import Record

#: Standard normal quantile of a two-sided interval of 95 %.
Z = 1.959963984540054


class Share(Record):
    """A share with its 95 % interval."""

    value: float
    low: float
    high: float
    n: int

    def __str__(self) -> str:
        return f"{100 * self.value:.1f} % ({100 * self.low:.1f} to {100 * self.high:.1f})"


def wilson(hits: float, n: float) -> Share:
    """The share ``hits / n`` with its score interval (Wilson, 1927)."""
    if n <= 0:
        return Share(value=0.0, low=0.0, high=1.0, n=0)
    p = hits / n
    middle = (p + Z**2 / (2 * n)) / (1 + Z**2 / n)
    half = Z / (1 + Z**2 / n) * math.sqrt(p * (1 - p) / n + Z**2 / (4 * n**2))
    return Share(
        value=p,
        low=max(0.0, min(p, middle - half)),
        high=min(1.0, max(p, middle + half)),
        n=round(n),
    )


def weighted(hits: Sequence[bool], weights: Sequence[float]) -> Share:
    """A share among observations that stand for different numbers of others.

    The interval is Wilson's on the effective sample size (Kish, 1965); ``n`` is the number observed."""
    total = sum(weights)
    if total <= 0:
        return wilson(0, 0)
    effective = total**2 / sum(w**2 for w in weights)
    value = sum(w for hit, w in zip(hits, weights, strict=True) if hit) / total
    return wilson(value * effective, effective).model_copy(update={"n": len(hits)})


def paired_difference(
    before: Sequence[float], after: Sequence[float], *, draws: int = 2000, seed: int = 0
) -> tuple[float, float, float]:
    """Mean of ``after - before`` over the same cases, and its 95 % interval by the bootstrap."""
    apart = np.asarray(after, dtype=np.float64) - np.asarray(before, dtype=np.float64)
    if not len(apart):
        return 0.0, 0.0, 0.0
    rng = np.random.default_rng(seed)
    means = [rng.choice(apart, len(apart)).mean() for _ in range(draws)]
    low, high = np.quantile(means, (0.025, 0.975))
    return float(apart.mean()), float(low), float(high)
