"""Has the traffic changed? Two samples of messages compared by tests that account for their sizes; pure.

Every test is a permutation test: messages are dealt anew to "then" and "now", and the p-value is the share of
deals that differ at least as much as what was seen. It needs no distributional assumption, and holds for
small windows and rare intents alike. Three are made, and corrected together after Holm (1979):

- intents: the G statistic of the counts; each intent's own share is corrected by the largest
  standardised difference over all intents (Westfall and Young, 1993)
- abstentions: the same for sure and unsure
- words: the maximum mean discrepancy between the messages' vectors (Gretton et al., 2012), its Gaussian
  kernel approximated by random Fourier features (Rahimi and Recht, 2007)
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Literal, cast

import numpy as np
from numpy.typing import NDArray

from tools.values import Record

#: Numbers a sketch has; enough to keep distances within a tenth (Johnson and Lindenstrauss, 1984).
SKETCH = 64
#: Fewer messages than this on either side say nothing.
FEWEST = 50
_FEATURES = 256
_SCALE = 254.0  #: A projected unit vector's numbers are about 1/8 long; half a unit fills a byte.
_MOST = 2000  #: Messages of one side that are looked at, so that a check takes about a second.

Floats = NDArray[np.float64]
Test = Literal["intents", "abstentions", "words"]


@dataclass(frozen=True)
class Traffic:
    """Settled messages, one entry each."""

    intents: tuple[str, ...]
    abstained: tuple[bool, ...]
    sketches: tuple[bytes | None, ...]

    def __len__(self) -> int:
        return len(self.intents)

    def part(self, indexes: Sequence[int] | NDArray[np.int64]) -> Traffic:
        return Traffic(
            tuple(self.intents[i] for i in indexes),
            tuple(self.abstained[i] for i in indexes),
            tuple(self.sketches[i] for i in indexes),
        )


class Shift(Record):
    """One intent whose share is not what it was."""

    intent: str
    then: float  #: Share of the reference's messages.
    now: float
    p: float  #: Corrected for there being many intents.


class Comparison(Record):
    """What the tests say about one window."""

    messages: int
    reference: int
    p: dict[Test, float] = {}  #: Corrected for there being several tests; empty: too few messages.
    abstained_then: float = 0.0
    abstained_now: float = 0.0
    distance: float = 0.0  #: Between the mean vectors, 0 to 2.
    shifts: tuple[Shift, ...] = ()
    alarm: bool = False


def sketch_of(vector: Sequence[float]) -> bytes:
    """A unit vector as 64 signed bytes, from which its words cannot be read back."""
    projected = np.asarray(vector, dtype=np.float64) @ _projection(len(vector))
    return np.clip(np.rint(projected * _SCALE), -127, 127).astype(np.int8).tobytes()


@cache
def _projection(length: int) -> Floats:
    # Fixed for ever: sketches of last year are compared with today's.
    return np.random.default_rng(20_261_122).normal(0.0, SKETCH**-0.5, (length, SKETCH))


def compare(
    reference: Traffic,
    recent: Traffic,
    *,
    alpha: float = 0.01,
    permutations: int = 999,
    seed: int = 0,
) -> Comparison:
    """Test whether ``recent`` could be more of the same. ``alpha`` is the chance of a false alarm."""
    rng = np.random.default_rng(seed)
    reference, recent = _at_most(reference, rng), _at_most(recent, rng)
    found = Comparison(messages=len(recent), reference=len(reference))
    if min(len(reference), len(recent)) < FEWEST:
        return found
    names, counts = _counts(reference.intents, recent.intents)
    p_intents, each = _rates(counts, rng, permutations)
    sure = _counts([str(a) for a in reference.abstained], [str(a) for a in recent.abstained])[1]
    raw: dict[Test, float] = {
        "intents": p_intents,
        "abstentions": _rates(sure, rng, permutations)[0],
    }
    words = _words(reference.sketches, recent.sketches, rng, permutations)
    if words is not None:
        raw["words"] = words[0]
    corrected = holm(raw)
    shares = counts / counts.sum(axis=1, keepdims=True)
    return found.model_copy(
        update={
            "p": corrected,
            "abstained_then": sum(reference.abstained) / len(reference),
            "abstained_now": sum(recent.abstained) / len(recent),
            "distance": words[1] if words is not None else 0.0,
            "shifts": tuple(
                Shift(intent=name, then=float(then), now=float(now), p=float(p))
                for name, then, now, p in sorted(
                    zip(names, shares[0], shares[1], each, strict=True), key=lambda row: row[3]
                )
                if p <= alpha
            ),
            "alarm": any(p <= alpha for p in corrected.values()),
        }
    )


def holm(raw: dict[Test, float]) -> dict[Test, float]:
    """P-values made comparable with one level, however many tests there are."""
    corrected: dict[Test, float] = {}
    highest = 0.0
    for rank, (name, p) in enumerate(sorted(raw.items(), key=lambda item: item[1])):
        highest = max(highest, min(1.0, p * (len(raw) - rank)))
        corrected[name] = highest
    return {name: corrected[name] for name in raw}


def _at_most(traffic: Traffic, rng: np.random.Generator) -> Traffic:
    if len(traffic) <= _MOST:
        return traffic
    return traffic.part(np.sort(rng.choice(len(traffic), _MOST, replace=False)))


def _counts(then: Sequence[str], now: Sequence[str]) -> tuple[list[str], Floats]:
    names = sorted({*then, *now})
    place = {name: number for number, name in enumerate(names)}
    table = np.zeros((2, len(names)))
    for row, sample in enumerate((then, now)):
        np.add.at(table[row], [place[name] for name in sample], 1.0)
    return names, table


def _rates(table: Floats, rng: np.random.Generator, permutations: int) -> tuple[float, Floats]:
    """P-value of the whole table, and of each column corrected for there being many."""
    sizes, totals = table.sum(axis=1), table.sum(axis=0)
    # Dealing the messages anew leaves both margins as they are.
    dealt = rng.multivariate_hypergeometric(
        totals.astype(np.int64), int(sizes[1]), permutations, method="marginals"
    ).astype(np.float64)
    now = np.vstack([table[1], dealt])
    g = _g(totals - now, totals, sizes[0]) + _g(now, totals, sizes[1])
    share = totals / totals.sum()
    spread = np.sqrt(np.maximum(share * (1 - share) * (1 / sizes[0] + 1 / sizes[1]), 1e-12))
    apart = np.abs(now / sizes[1] - (totals - now) / sizes[0]) / spread
    most = apart[1:].max(axis=1)
    each = np.array([_p(most, seen) for seen in apart[0]])
    return _p(g[1:], g[0]), each


def _g(observed: Floats, totals: Floats, size: float) -> Floats:
    expected = totals * size / totals.sum()
    ratio = np.divide(observed, expected, out=np.ones_like(observed), where=observed > 0)
    return 2 * (observed * np.log(ratio)).sum(axis=1)


def _words(
    then: Sequence[bytes | None],
    now: Sequence[bytes | None],
    rng: np.random.Generator,
    permutations: int,
) -> tuple[float, float] | None:
    """P-value of the discrepancy, and how far apart the mean vectors are."""
    a, b = vectors(then), vectors(now)
    if min(len(a), len(b)) < FEWEST:
        return None
    both = np.vstack([a, b])
    features = _fourier(both, rng)
    lot = np.full((permutations + 1, len(both)), -1.0 / len(a), dtype=np.float32)
    lot[0, len(a) :] = 1.0 / len(b)
    for row in lot[1:]:
        row[rng.permutation(len(both))[: len(b)]] = 1.0 / len(b)
    apart = np.square(lot @ features).sum(axis=1)
    return _p(apart[1:], float(apart[0])), float(np.linalg.norm(a.mean(axis=0) - b.mean(axis=0)))


def vectors(sketches: Sequence[bytes | None]) -> Floats:
    """The sketches that there are, as rows."""
    rows = [np.frombuffer(one, dtype=np.int8) for one in sketches if one is not None]
    return np.array(rows, dtype=np.float64).reshape(-1, SKETCH) / _SCALE


def _fourier(points: Floats, rng: np.random.Generator) -> NDArray[np.float32]:
    some = points[rng.choice(len(points), min(len(points), 300), replace=False)]
    squares = np.square(some[:, None, :] - some[None, :, :]).sum(axis=2)
    # The median distance sets the kernel's width, as is usual.
    width = float(np.sqrt(np.median(squares[np.triu_indices(len(some), 1)]))) or 1.0
    weights = rng.normal(0.0, 1.0 / width, (points.shape[1], _FEATURES))
    angles = points @ weights
    mapped = np.hstack([np.cos(angles), np.sin(angles)]) / np.sqrt(_FEATURES)
    return cast("NDArray[np.float32]", mapped.astype(np.float32))


def _p(dealt: NDArray[np.floating], seen: float) -> float:
    # The deal that was seen is one of the possible ones; a hair's breadth is left for rounding.
    return (1 + int((dealt >= seen - 1e-9).sum())) / (1 + len(dealt))
