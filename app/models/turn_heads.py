"""Heads that read a message together with what the agent said before it, in the customer's own language."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from app.models.classifier import Classifier, read
from app.models.manifest import HeadEntry, ManifestError

Vector = NDArray[np.float32]


@dataclass(frozen=True)
class TurnHead:
    """A classifier on the vectors of message and turn before, and on the message's words and pieces."""

    classifier: Classifier
    mean: (
        Vector  #: Of the vectors it was trained on: what all of them have in common tells nothing.
    )
    context: float  #: What the turn before counts beside the message.

    def decide(
        self, text: str, vector: Vector, before: Vector | None
    ) -> tuple[str, dict[str, float]]:
        """The likeliest class and the probability of each."""
        return self.classifier.decide(self.row(vector, before), text)

    def row(self, vector: Vector, before: Vector | None) -> Vector:
        return np.concatenate(
            [
                centred(vector, self.mean),
                np.zeros_like(self.mean)
                if before is None
                else self.context * centred(before, self.mean),
            ]
        )


def centred(vector: Vector, mean: Vector) -> Vector:
    """The vector without what all have in common, of length one."""
    moved = vector - mean
    return np.asarray(moved / max(float(np.linalg.norm(moved)), 1e-9), np.float32)


def read_turn_head(path: Path, entry: HeadEntry) -> TurnHead:
    """The head of a manifest entry; ManifestError where the file is not what it describes."""
    from safetensors import numpy as safetensors_numpy

    try:
        tensors: Mapping[str, NDArray[Any]] = cast("Any", safetensors_numpy.load_file(path))
        classifier = read(
            tensors, entry.classes, blend=entry.blend or 0.0, confidence=entry.calibration()
        )
        return TurnHead(classifier, np.asarray(tensors["mean"], np.float32), entry.context)
    except (KeyError, ValueError) as error:
        raise ManifestError(
            f"{path} does not fit its manifest ({error}): train it again."
        ) from error
