"""A linear classifier that reads a message twice: as a sentence vector, and as its own words and word pieces.

The vector knows what words mean, the pieces know exactly which ones were written, typing slips included.
Only numpy is needed to run it; ``models/train/classifier.py`` makes it.
"""

from __future__ import annotations

import itertools
import math
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

Vector = NDArray[np.float32]

#: What a message may be that belongs to none of the intents; examples with these labels teach just that.
OUT_OF_SCOPE = "out_of_scope"
NO_INTENT = frozenset({OUT_OF_SCOPE, "oos", "none", "no_intent", "no_nodes_detected"})

_WORD = re.compile(r"\w+")
_LONGEST_WORD = 40
_MOST_CHARS = 2000
_SHORTEST_PIECE, _LONGEST_PIECE = 2, 5
#: What the file of a head that read the encoder's token states has besides.
_TOKENS = "reader."


def words(text: str) -> list[str]:
    """Words and pairs of neighbours, in small letters."""
    found = _WORD.findall(text[:_MOST_CHARS].lower())
    return [*found, *(f"{one} {other}" for one, other in itertools.pairwise(found))]


def pieces(text: str) -> list[str]:
    """Runs of two to five characters inside each word, its edges included."""
    return list(_pieces(text))


def _pieces(text: str) -> Iterator[str]:
    for word in text[:_MOST_CHARS].lower().split():
        padded = f" {word[:_LONGEST_WORD]} "
        for size in range(_SHORTEST_PIECE, _LONGEST_PIECE + 1):
            for start in range(max(len(padded) - size + 1, 1)):
                yield padded[start : start + size]


@dataclass(frozen=True)
class Terms:
    """TF-IDF with a logarithmic term frequency and rows of length one, as scikit-learn computes it."""

    vocabulary: Mapping[str, int]
    idf: Vector
    weight: NDArray[Any]  #: Terms x classes.
    scale: Vector | None = (
        None  #: What a step of the weights is in each class, where they are bytes.
    )

    @classmethod
    def in_bytes(
        cls, vocabulary: Mapping[str, int], idf: Vector, weight: NDArray[np.floating[Any]]
    ) -> Terms:
        """The same in a byte a weight, which is half of the file and of the memory: the largest weight of a
        class is 127 steps."""
        scale = np.maximum(np.abs(weight).max(0, initial=0.0), 1e-9).astype(np.float32) / 127
        return cls(vocabulary, idf, np.rint(weight / scale).astype(np.int8), scale)

    def score(self, found: Sequence[str]) -> Vector | float:
        """What these terms say for each class; 0 when none of them is known."""
        counts = Counter(self.vocabulary[term] for term in found if term in self.vocabulary)
        if not counts:
            return 0.0
        rows = np.fromiter(counts, np.int64, len(counts))
        values = (1 + np.log(np.fromiter(counts.values(), np.float32, len(counts)))) * self.idf[
            rows
        ]
        values /= np.linalg.norm(values)
        said = np.asarray(values @ self.weight[rows].astype(np.float32), np.float32)
        return said if self.scale is None else said * self.scale


@dataclass(frozen=True)
class Confidence:
    """From a ranking score to the chance of being right, measured on messages the fit had not seen."""

    temperature: float = 1.0  #: Margins are divided by it before the softmax.
    near: float = 0.0  #: How often the likeness of the nearest example counts.
    slope: float = 1.0
    offset: float = 0.0
    raw: bool = True  #: The softmax as it is: a head that has no example to be near to.
    #: ``out_of_scope`` is an intent like the others, with a lane of its own.
    declared: bool = False

    def shares(self, margins: NDArray[np.floating[Any]]) -> NDArray[np.float64]:
        """The softmax over the last axis."""
        logits = margins.astype(np.float64) / self.temperature
        raised = np.exp(logits - logits.max(-1, keepdims=True))
        return raised / raised.sum(-1, keepdims=True)

    def of(self, score: NDArray[np.floating[Any]] | float) -> NDArray[np.float64]:
        return np.asarray(1 / (1 + np.exp(-(self.slope * np.asarray(score) + self.offset))))

    def score(
        self, share: NDArray[np.float64] | float, likeness: NDArray[np.floating[Any]] | float
    ) -> NDArray[np.float64]:
        """Orders messages: sure of the class, and like something that was learnt."""
        near = np.log(np.clip(likeness, 0.05, 1.0))
        share = np.clip(share, 1e-9, 1 - 1e-9)
        return np.asarray(np.log(share / (1 - share)) / 2 + self.near * near)


@dataclass(frozen=True)
class Classifier:
    """Classes with the weights of vector, words and pieces."""

    classes: tuple[str, ...]
    dense: Vector  #: 384 x classes.
    bias: Vector
    words: Terms
    pieces: Terms
    blend: float  #: What words, and pieces, count beside a vector of length one.
    confidence: Confidence
    examples: Vector | None = (
        None  #: Vectors of what was learnt: nothing like them is out of scope.
    )

    def margins(self, vector: Vector, text: str) -> Vector:
        said = self.words.score(words(text)) + self.pieces.score(pieces(text))
        return np.asarray(vector @ self.dense + self.bias + self.blend * said, np.float32)

    def decide(self, vector: Vector, text: str) -> tuple[str, dict[str, float]]:
        """The class, and the chance of each; what is left of 1 belongs to ``out_of_scope``."""
        margins = self.margins(vector, text)
        if self.confidence.raw or self.examples is None:
            shares = cast("list[float]", self.confidence.shares(margins).tolist())
            return self.classes[int(margins.argmax())], dict(zip(self.classes, shares, strict=True))
        likeness = float((self.examples @ vector).max())
        return spread(self.classes, self.confidence, margins, likeness)


def spread(
    classes: Sequence[str], confidence: Confidence, margins: Vector, likeness: float
) -> tuple[str, dict[str, float]]:
    """The best class and probabilities that sum to 1, in which it has its calibrated chance of being right."""
    shares = confidence.shares(margins)
    known = [n for n, name in enumerate(classes) if name != OUT_OF_SCOPE or confidence.declared]
    best = max(known, key=lambda n: shares[n])
    if classes[best] == OUT_OF_SCOPE:
        return OUT_OF_SCOPE, dict(zip(classes, cast("list[float]", shares.tolist()), strict=True))
    sure = float(confidence.of(confidence.score(float(shares[best]), likeness)))
    rest = 1.0 - float(shares[best])
    factor = (1 - sure) / max(rest, 1e-12) if sure >= shares[best] else sure / float(shares[best])
    found = {name: float(share) * factor for name, share in zip(classes, shares, strict=True)}
    found[classes[best]] = sure
    unsaid = max(1.0 - math.fsum(found.values()), 0.0)
    found[OUT_OF_SCOPE] = found.get(OUT_OF_SCOPE, 0.0) + unsaid
    return classes[best], found


# --- the file -----------------------------------------------------------------------------------


def write(classifier: Classifier, path: Path) -> None:
    """Everything but the classes and the confidence, which the manifest keeps."""
    from safetensors import numpy as safetensors_numpy

    tensors: dict[str, NDArray[Any]] = {
        "dense": classifier.dense.astype(np.float32),
        "bias": classifier.bias.astype(np.float32),
    }
    for name, terms in (("words", classifier.words), ("pieces", classifier.pieces)):
        ordered = sorted(terms.vocabulary, key=lambda term: terms.vocabulary[term])
        tensors[f"{name}.vocabulary"] = np.frombuffer("\n".join(ordered).encode(), np.uint8)
        tensors[f"{name}.idf"] = terms.idf.astype(np.float32)
        if terms.scale is None:
            tensors[f"{name}.weight"] = terms.weight.astype(np.float16)
        else:
            tensors[f"{name}.weight"] = terms.weight
            tensors[f"{name}.scale"] = terms.scale
    if classifier.examples is not None:
        tensors["examples"] = classifier.examples.astype(np.float16)
    path.parent.mkdir(parents=True, exist_ok=True)
    # The file holds the memory as it lies: a transposed array would come back scrambled.
    save: Any = safetensors_numpy.save_file  # type: ignore[reportUnknownVariableType]
    save({name: np.ascontiguousarray(value) for name, value in tensors.items()}, path)


def read(
    tensors: Mapping[str, NDArray[Any]],
    classes: Sequence[str],
    *,
    blend: float,
    confidence: Confidence,
) -> Classifier:
    """The classifier of a file's tensors; KeyError or ValueError when they do not fit the classes."""

    if any(name.startswith(_TOKENS) for name in tensors):
        raise ValueError("it reads tokens, which no head does any more")

    def terms(name: str) -> Terms:
        listed = tensors[f"{name}.vocabulary"].tobytes().decode().split("\n")
        idf, weight = tensors[f"{name}.idf"], tensors[f"{name}.weight"]
        if weight.shape != (len(listed), len(classes)) or idf.shape != (len(listed),):
            raise ValueError(f"{name}: {weight.shape} weights for {len(listed)} terms")
        scale = tensors.get(f"{name}.scale")
        if (weight.dtype == np.int8) is (scale is None):
            raise ValueError(f"{name}: {weight.dtype} weights, and {scale} to scale them by")
        if scale is not None and scale.shape != (len(classes),):
            raise ValueError(f"{name}: {scale.shape} scales for {len(classes)} classes")
        return Terms({term: number for number, term in enumerate(listed)}, idf, weight, scale)

    dense, bias, examples = tensors["dense"], tensors["bias"], tensors.get("examples")
    if dense.shape[1:] != (len(classes),) or bias.shape != (len(classes),):
        raise ValueError(f"{dense.shape} weights for {len(classes)} classes")
    return Classifier(
        classes=tuple(classes),
        dense=dense,
        bias=bias,
        words=terms("words"),
        pieces=terms("pieces"),
        blend=blend,
        confidence=confidence,
        examples=None if examples is None else examples.astype(np.float32),
    )
