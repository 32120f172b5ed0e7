"""A head that reads a message token by token, where the mean over its tokens says too little: a mood is in a word.

Attention with a few queries of its own over the encoder's token states, beside their mean, and one hidden layer.
Only numpy is needed to run it; ``models/train/reader.py`` makes it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
from numpy.typing import NDArray

Matrix = NDArray[np.float32]

PREFIX = "reader."
_EPSILON = 1e-5


@dataclass(frozen=True)
class Reader:
    """Weights; matrices are inputs x outputs."""

    scale: Matrix  #: Of the normalised states, 384.
    shift: Matrix
    key: Matrix  #: 384 x queries: where each query looks.
    key_bias: Matrix
    value: Matrix  #: 384 x 384, a share of the columns for each query.
    value_bias: Matrix
    hidden: Matrix  #: 768 x hidden, of what the queries saw and of the mean.
    hidden_bias: Matrix
    out: Matrix  #: hidden x classes.
    out_bias: Matrix

    def score(self, states: Matrix) -> Matrix:
        """What the token states (tokens x 384) say for each class."""
        centred = states - states.mean(1, keepdims=True)
        normal = centred / np.sqrt((centred**2).mean(1, keepdims=True) + _EPSILON)
        normal = normal * self.scale + self.shift
        looks = normal @ self.key + self.key_bias
        weights = np.exp(looks - looks.max(0))
        weights /= weights.sum(0)
        seen = (normal @ self.value + self.value_bias).reshape(len(states), weights.shape[1], -1)
        pooled = np.concatenate([(weights[:, :, None] * seen).sum(0).ravel(), normal.mean(0)])
        inner = gelu(pooled @ self.hidden + self.hidden_bias)
        return np.asarray(inner @ self.out + self.out_bias, np.float32)

    def tensors(self) -> dict[str, NDArray[Any]]:
        """As they lie in a file, in half precision."""
        return {
            f"{PREFIX}{each.name}": getattr(self, each.name).astype(np.float16)
            for each in fields(self)
        }

    @classmethod
    def of(cls, tensors: Mapping[str, NDArray[Any]]) -> Reader:
        """KeyError when one is missing."""
        return cls(
            **{
                each.name: tensors[f"{PREFIX}{each.name}"].astype(np.float32)
                for each in fields(cls)
            }
        )


def gelu(values: Matrix) -> Matrix:
    """The Gaussian error linear unit, in its approximation by tanh (arXiv 1606.08415)."""
    inner = math.sqrt(2 / math.pi) * (values + 0.044715 * values**3)
    return np.asarray(values / 2 * (1 + np.tanh(inner)), np.float32)
