"""Fitting of heads that read a sentence vector alone: multinomial logistic regression, calibrated."""

# The libraries of the training carry no types for strict checking.
# pyright: reportUnknownVariableType=false, reportUnknownArgumentType=false, reportAttributeAccessIssue=false

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from sklearn.linear_model import LogisticRegression

from models.train.encoder import Vectors

Numbers = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Head:
    """A linear classifier on sentence vectors; dividing by its temperature makes it honest."""

    classes: tuple[str, ...]
    weight: npt.NDArray[np.float32]
    bias: npt.NDArray[np.float32]
    temperature: float = 1.0

    def probabilities(self, vectors: Vectors) -> Numbers:
        logits = (vectors @ self.weight.T + self.bias).astype(np.float64) / self.temperature
        raised = np.exp(logits - logits.max(1, keepdims=True))
        return raised / raised.sum(1, keepdims=True)


def fit(
    vectors: Vectors, labels: Sequence[str], classes: Sequence[str], strength: float, seed: int
) -> Head:
    model: Any = LogisticRegression(
        C=strength, class_weight="balanced", max_iter=400, tol=1e-3, random_state=seed
    )
    model.fit(vectors, [classes.index(label) for label in labels])
    weight, bias = np.asarray(model.coef_, np.float32), np.asarray(model.intercept_, np.float32)
    if len(classes) == 2:
        # Two classes come as one row; a row each makes the softmax the same for every head.
        weight, bias = (
            np.stack([-weight[0] / 2, weight[0] / 2]),
            np.array([-bias[0] / 2, bias[0] / 2], np.float32),
        )
    return Head(tuple(classes), weight, bias)


def calibrated(head: Head, vectors: Vectors, labels: Sequence[str]) -> Head:
    """The head with the temperature at which its probabilities fit held-out messages best."""
    truth = np.array([head.classes.index(label) for label in labels])
    rows = np.arange(len(truth))

    def loss(temperature: float) -> float:
        chosen = Head(head.classes, head.weight, head.bias, temperature).probabilities(vectors)[
            rows, truth
        ]
        return float(-np.log(np.maximum(chosen, 1e-12)).mean())

    best = min(np.geomspace(0.2, 5.0, 120), key=loss)
    return Head(head.classes, head.weight, head.bias, round(float(best), 4))
