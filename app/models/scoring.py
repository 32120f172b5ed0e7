"""From token log-probabilities to a probability per option."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple


class Step(NamedTuple):
    """One generated token and the tokens that were considered in its place."""

    token: str
    considered: Mapping[str, float]  #: Log-probability of each considered token.


def single_token(labels: Mapping[str, str], considered: Mapping[str, float]) -> dict[str, float]:
    """The probability of each option whose label is one token, renormalised over the options.

    An option outside the considered tokens is at most as likely as the least of them, and counts as that: so
    a label that only the grammar made possible is not taken for a confident one.
    """
    floor = min(considered.values(), default=0.0)
    weights = {
        option: math.exp(considered.get(label, floor - 0.001)) for option, label in labels.items()
    }
    return normalised(weights)


def spelled(options: Sequence[str], steps: Sequence[Step]) -> dict[str, float]:
    """The probability of each option written out over several tokens, ``steps`` being what was written.

    At each token the options still possible are divided among the considered tokens that lead to them; what
    a road not taken got is shared evenly among the options at its end, since nobody looked further there.
    """
    result = dict.fromkeys(options, 0.0)
    alive, mass, written = list(options), 1.0, ""
    for step in steps:
        if len(alive) < 2:
            break
        weights: dict[str, float] = {}
        led: dict[str, list[str]] = {}
        for token, logprob in step.considered.items():
            ahead = [o for o in alive if _leads(written + token, o)]
            if token and ahead:
                weights[token], led[token] = math.exp(logprob), ahead
        taken = led.get(step.token) or [o for o in alive if _leads(written + step.token, o)]
        if not taken:
            break
        floor = math.exp(min(step.considered.values(), default=0.0))
        share = _shares(alive, weights, led, floor)
        for option in alive:
            if option not in taken:
                result[option] += mass * share[option]
        mass *= sum(share[option] for option in taken)
        alive, written = taken, written + step.token
    for option in alive:
        result[option] += mass / len(alive)
    return normalised(result)


def _leads(text: str, option: str) -> bool:
    return option.startswith(text) or text.startswith(option)


def _shares(
    alive: Sequence[str],
    weights: Mapping[str, float],
    led: Mapping[str, Sequence[str]],
    floor: float,
) -> dict[str, float]:
    """The share of each option still possible; one no considered token leads to counts as the least likely."""
    shares = dict.fromkeys(alive, 0.0)
    for token, weight in weights.items():
        for option in led[token]:
            shares[option] += weight / len(led[token])
    shares = {option: share or floor * 0.999 for option, share in shares.items()}
    return normalised(shares)


def normalised(weights: Mapping[str, float]) -> dict[str, float]:
    """The weights divided by their sum; equal shares when all are 0."""
    total = sum(weights.values())
    if total <= 0.0:
        return {key: 1.0 / len(weights) for key in weights}
    return {key: weight / total for key, weight in weights.items()}


def tempered(probabilities: Mapping[str, float], temperature: float) -> dict[str, float]:
    """Probabilities calibrated with the temperature measured for the adapter."""
    if temperature == 1.0:
        return dict(probabilities)
    return normalised({key: value ** (1.0 / temperature) for key, value in probabilities.items()})
