"""Fits the router's classifier: a linear SVM on sentence vector, words and word pieces, then its confidence."""

# The libraries of the training carry no types for strict checking.
# pyright: reportUnknownVariableType=false, reportUnknownArgumentType=false, reportAttributeAccessIssue=false

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import sparse
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import KFold, StratifiedKFold, StratifiedShuffleSplit
from sklearn.svm import LinearSVC

from app.models import classifier as runtime
from app.models.classifier import OUT_OF_SCOPE, Classifier, Confidence, Terms

Vectors = npt.NDArray[np.float32]
Numbers = npt.NDArray[np.float64]

#: Words and pieces together must not drown the vector; of 0.3, 0.5 and 0.7 on our own splits the
#: first two were alike.
BLEND = 0.3
STRENGTH = 1.0
#: How often the nearest example's likeness counts in the ranking of confidence.
NEAR = 6.0
#: From this many examples on one split in five gives the calibration; below it, five folds do.
_MANY = 4000


@dataclass(frozen=True)
class Features:
    """Turns texts and their vectors into rows; what it knows of words comes from the training texts."""

    words: TfidfVectorizer
    pieces: TfidfVectorizer
    blend: float

    @classmethod
    def learnt(cls, texts: Sequence[str], blend: float = BLEND) -> Features:
        def vectorizer(analyzer: Callable[[str], list[str]], least: int) -> TfidfVectorizer:
            options: Any = {"analyzer": analyzer, "dtype": np.float32}
            return TfidfVectorizer(sublinear_tf=True, min_df=least, **options).fit(texts)

        # A term seen once says little when there are many texts, and makes half of the file.
        least = 1 if len(texts) < 1000 else 2 if len(texts) < 20_000 else 4
        return cls(vectorizer(runtime.words, least), vectorizer(runtime.pieces, least), blend)

    def rows(self, texts: Sequence[str], vectors: Vectors) -> Any:
        return sparse.hstack(
            [
                sparse.csr_matrix(vectors),
                self.blend * self.words.transform(texts),
                self.blend * self.pieces.transform(texts),
            ],
            format="csr",
        )


@dataclass(frozen=True)
class Held:
    """Decisions on messages that the fit had not seen."""

    margins: Vectors
    labels: tuple[str, ...]
    likeness: Vectors


def fit(
    texts: Sequence[str],
    vectors: Vectors,
    labels: Sequence[str],
    classes: Sequence[str],
    *,
    seed: int = 7,
    examples: bool = True,
    blend: float = BLEND,
    logistic: bool = False,
    balanced: bool = False,
    strength: float = STRENGTH,
    counts: Sequence[float] | None = None,
) -> Classifier:
    """The classifier without any calibration; ``logistic`` where the classes overlap, as moods do;
    ``balanced`` where what is looked for is rare; ``counts``: what each message counts beside the others."""
    features = Features.learnt(texts, blend)
    truth = np.array([classes.index(label) for label in labels])
    rows = features.rows(texts, vectors)
    if set(truth) != set(range(len(classes))):
        absent = [name for number, name in enumerate(classes) if number not in set(truth)]
        raise ValueError(f"no examples of {', '.join(absent)}")
    model: Any = (
        LogisticRegression(
            C=strength,
            solver="liblinear",
            random_state=seed,
            max_iter=200,
            class_weight="balanced" if balanced else None,
        )
        if logistic
        else LinearSVC(C=strength, random_state=seed, max_iter=4000)
    )
    model.fit(rows, truth, sample_weight=None if counts is None else np.asarray(counts))
    weight, bias = np.asarray(model.coef_, np.float32), np.asarray(model.intercept_, np.float32)
    if len(classes) == 2:
        # Two classes come as one row; a row each makes the softmax the same for every number of classes.
        weight = np.concatenate([-weight, weight]) / 2
        bias = np.array([-bias[0] / 2, bias[0] / 2], np.float32)
    columns = np.cumsum([vectors.shape[1], len(features.words.vocabulary_)])
    dense, words, pieces = np.split(weight.T, columns)
    inside = np.array([label != OUT_OF_SCOPE for label in labels])
    return Classifier(
        classes=tuple(classes),
        dense=np.ascontiguousarray(dense, np.float32),
        bias=np.asarray(bias, np.float32),
        words=_terms(features.words, np.asarray(words, np.float32)),
        pieces=_terms(features.pieces, np.asarray(pieces, np.float32)),
        blend=blend,
        confidence=Confidence(),
        examples=vectors[inside] if examples else None,
    )


def _terms(vectorizer: TfidfVectorizer, weight: Vectors) -> Terms:
    vocabulary = {term: int(number) for term, number in vectorizer.vocabulary_.items()}
    return Terms.in_bytes(vocabulary, np.asarray(vectorizer.idf_, np.float32), weight)


def margins(model: Classifier, texts: Sequence[str], vectors: Vectors) -> Vectors:
    """The margins of many messages, by the very code that runs."""
    return np.stack([model.margins(v, t) for t, v in zip(texts, vectors, strict=True)])


def likeness(model: Classifier, vectors: Vectors) -> Vectors:
    """The cosine of each message's nearest example."""
    assert model.examples is not None
    chunks = np.array_split(vectors, max(len(vectors) // 500, 1))
    return np.concatenate([(chunk @ model.examples.T).max(1) for chunk in chunks])


def held_out(
    texts: Sequence[str],
    vectors: Vectors,
    labels: Sequence[str],
    classes: Sequence[str],
    *,
    seed: int = 7,
    progress: Callable[[str, int, int], None] = lambda what, done, of: None,
) -> Held:
    """Decisions on a fifth of many messages, or on all of few in five folds."""
    everything, names = np.arange(len(texts)), np.array(labels)
    least = min(int((names == name).sum()) for name in classes)
    if len(texts) >= _MANY and least >= 5:
        splitter: Any = StratifiedShuffleSplit(1, test_size=0.2, random_state=seed)
    elif least >= 2:
        splitter = StratifiedKFold(min(5, least), shuffle=True, random_state=seed)
    else:
        # What there is one of is either learnt or tested, and counts as wrong when it is tested.
        splitter = KFold(min(5, len(texts)), shuffle=True, random_state=seed)
    parts: list[tuple[Vectors, npt.NDArray[np.int64], Vectors]] = []
    splits = list(splitter.split(everything, names))

    def some(values: Sequence[str], numbers: Iterable[int]) -> list[str]:
        return [values[number] for number in numbers]

    for done, (learn, test) in enumerate(splits):
        progress("holding out", done, len(splits))
        present = [name for name in classes if name in set(names[learn])]
        model = fit(some(texts, learn), vectors[learn], some(labels, learn), present, seed=seed)
        found = np.full((len(test), len(classes)), -2.0, np.float32)
        columns = [list(classes).index(name) for name in present]
        found[:, columns] = margins(model, some(texts, test), vectors[test])
        parts.append((found, test, likeness(model, vectors[test])))
    progress("holding out", len(splits), len(splits))
    order = np.concatenate([test for _, test, _ in parts])
    return Held(
        np.concatenate([found for found, _, _ in parts]),
        tuple(some(labels, order)),
        np.concatenate([near for _, _, near in parts]),
    )


def calibrated(
    model: Classifier, held: Held, *, near: float = NEAR, declared: bool = False
) -> Classifier:
    """The classifier with the confidence that its held-out decisions deserve."""
    classes = list(model.classes)
    inside = np.array([label != OUT_OF_SCOPE for label in held.labels])
    truth = np.array([classes.index(label) for label in held.labels])
    draft = Confidence(
        temperature=temperature(held.margins, truth), near=near, raw=False, declared=declared
    )
    chosen, score = ranked(classes, draft, held.margins, held.likeness)
    right = (chosen == truth)[inside]
    if right.all() or not right.any():
        return replace(model, confidence=draft)
    line: Any = LogisticRegression(C=1e4).fit(score[inside, None], right)
    confidence = replace(
        draft,
        slope=round(max(float(line.coef_[0, 0]), 0.01), 4),
        offset=round(float(line.intercept_[0]), 4),
    )
    return replace(model, confidence=confidence)


def ranked(
    classes: Sequence[str], confidence: Confidence, margins: Vectors, near: Vectors
) -> tuple[npt.NDArray[np.int64], Numbers]:
    """The best class in scope for each row, and the score that orders the rows by how sure it is."""
    shares = confidence.shares(margins)
    if OUT_OF_SCOPE in classes and not confidence.declared:
        shares[:, list(classes).index(OUT_OF_SCOPE)] = -1
    chosen = shares.argmax(1)
    return chosen, confidence.score(shares.max(1), near)


def temperature(margins: Vectors, truth: npt.NDArray[np.int64]) -> float:
    """At which the softmax of the margins fits best."""
    rows = np.arange(len(truth))

    def loss(temperature: float) -> float:
        found = Confidence(temperature=temperature).shares(margins)[rows, truth]
        return float(-np.log(np.maximum(found, 1e-12)).mean())

    return round(float(min(np.geomspace(0.05, 2.0, 60), key=loss)), 4)


def calibration_error(confidence: Numbers, right: npt.NDArray[np.bool_], bins: int = 15) -> float:
    """Expected calibration error: how far confidence and accuracy are apart, on average."""
    slot = np.minimum((confidence * bins).astype(int), bins - 1)
    return float(
        sum(
            (slot == b).mean() * abs(confidence[slot == b].mean() - right[slot == b].mean())
            for b in range(bins)
            if (slot == b).any()
        )
    )


def cheapest(confidence: Numbers, right: npt.NDArray[np.bool_], wrong: float, ask: float) -> float:
    """The threshold at which wrong decisions and questions cost least together.

    With fewer than 30 decisions the rule for a calibrated probability stands in: 1 - ask / wrong."""
    rule = min(max(1 - ask / wrong, 0.0), 1.0)
    if len(confidence) < 30:
        return round(rule, 4)
    order = np.argsort(-confidence)
    kept = np.concatenate([[0], np.cumsum(~right[order]) * wrong])
    asked = np.arange(len(confidence), -1, -1) * ask
    best = int((kept + asked).argmin())
    return round(1.0 if best == 0 else float(confidence[order][best - 1]), 4)
