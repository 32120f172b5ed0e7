"""Training of the encoder heads: multinomial logistic regression on sentence vectors, calibrated."""

# The libraries of the training carry no types for strict checking.
# pyright: reportUnknownVariableType=false, reportUnknownArgumentType=false, reportAttributeAccessIssue=false

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from safetensors.numpy import save_file
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score

from app.models.classifier import Confidence, write
from models.train import classifier, data, manifest, turns
from models.train.classifier import calibration_error
from models.train.encoder import Encoder, Vectors
from models.train.phrases import KEPT_OUT, Message

#: How freely the complexity head may fit its data (the inverse of the regularisation).
STRENGTH = 3.0
HEADS = ("intent", "follow_up", "frustration", "complexity")
#: What words and word pieces count in the frustration head; of 0.5 and 1.0 the better on GoEmotions dev.
MOOD_BLEND = 1.0
#: What the linear part of that head counts beside its reader; of five from 0.2 to 1 the best on the same dev.
MOOD_LINEAR = 0.5
#: So sure must that head be to overrule an intent that is plain.
FURIOUS = 0.99

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


def threshold(confidence: Numbers, right: npt.NDArray[np.bool_], wanted: float = 0.98) -> float:
    """The lowest confidence from which on at least ``wanted`` of the decisions are right."""
    order = np.argsort(-confidence)
    good = np.cumsum(right[order]) / np.arange(1, len(order) + 1)
    enough = np.nonzero(good >= wanted)[0]
    return round(float(confidence[order][enough[-1]]), 4) if len(enough) else 1.0


def train(
    name: str, folder: Path, models: Path, seed: int, progress: Callable[[str, int, int], None]
) -> dict[str, Any]:
    """Train one head, write it and its manifest entry, and return the entry."""
    if name == "intent":
        return turns.train_intent(folder, models, seed, progress)
    if name == "follow_up":
        return turns.train_follow_up(folder, models, seed, progress)
    if name == "frustration":
        return train_frustration(folder, models, seed, progress)
    return train_complexity(models, seed, progress)


def train_complexity(
    models: Path, seed: int, progress: Callable[[str, int, int], None]
) -> dict[str, Any]:
    """The complexity head reads the sentence vector alone: one request or several."""
    name, classes, corpus = "complexity", ("single", "several"), data.complexity()
    encoder = Encoder()
    texts = [message.text for message in corpus.messages]
    done = 0

    def embedded(count: int) -> None:
        nonlocal done
        done += count
        progress(f"embedding {name}", done, len(texts))

    vectors = dict(zip(texts, encoder.embed(texts, progress=embedded), strict=True))

    def stack(chosen: Sequence[Message]) -> Vectors:
        return np.stack([vectors[message.text] for message in chosen])

    def labels(chosen: Sequence[Message]) -> list[str]:
        return [message.label for message in chosen]

    learnt, held = corpus.part("train"), corpus.part("calibration")
    progress(f"fitting {name}", 0, 1)
    head = fit(stack(learnt), labels(learnt), classes, STRENGTH, seed)
    head = calibrated(head, stack(held), labels(held))
    guess = head.probabilities(stack(held))
    hits = guess.argmax(1) == np.array([classes.index(label) for label in labels(held)])
    limit = threshold(guess.max(1), hits)
    figures: dict[str, Any] = {
        "figures": "of a fit without our held-out templates; the shipped fit has learnt those too",
        **_measure(head, limit, corpus, stack),
    }
    # The honest split has given temperature, threshold and figures; the templates it held back are too few
    # and too different to leave out of what is shipped. Public test messages stay out.
    everything = learnt + [m for m in corpus.part("calibration", "test") if m.source == "own"]
    full = fit(stack(everything), labels(everything), classes, STRENGTH, seed)
    head = replace(full, temperature=head.temperature)
    shown = encoder.embed(KEPT_OUT[:4], batch=1)
    figures["kept_out_examples"] = [
        [head.classes[row.argmax()], round(float(row.max()), 3)]
        for row in head.probabilities(shown)
    ]
    file = models / "heads" / f"{name}.safetensors"
    file.parent.mkdir(parents=True, exist_ok=True)
    # The file holds the memory as it lies: a transposed array would come back scrambled.
    save_file({"weight": np.ascontiguousarray(head.weight), "bias": head.bias}, file)
    return manifest.record(
        models,
        file,
        {
            "role": name,
            "kind": "head",
            "classes": list(head.classes),
            "temperature": head.temperature,
            "threshold": limit,
            "lineage": {
                "encoder": encoder.version,
                "method": "multinomial logistic regression, class-balanced, temperature-scaled",
                "seed": seed,
                "data": corpus.lineage,
                "dev": figures,
            },
        },
    )


def train_frustration(
    folder: Path,
    models: Path,
    seed: int,
    progress: Callable[[str, int, int], None],
) -> dict[str, Any]:
    """The frustration head reads tokens, words and word pieces: of anger, the wording says more than the
    subject. Every emotion of the public set helps to teach it."""
    from models.train import reader

    corpus = data.frustration(folder)
    learnt = [m for m in corpus.part("train") if m.source != "goemotions"]
    learnt += data.goemotions(folder, "train", 10**6, seed, balanced=False)
    parts = {
        "calibration": corpus.part("calibration"),
        "own": corpus.part("test", source="own"),
        "goemotions": data.goemotions(folder, "dev", 10**6, seed),
    }
    encoder = Encoder()
    names = ("calm", "frustrated")
    messages = [m for part in (learnt, *parts.values()) for m in part]
    texts = list(dict.fromkeys(m.text for m in messages))
    done = 0

    def read(count: int) -> None:
        nonlocal done
        done += count
        progress("reading frustration", done, len(texts))

    states = dict(zip(texts, encoder.states(texts, progress=read), strict=True))

    def split(
        chosen: Sequence[Message],
    ) -> tuple[list[str], Vectors, list[Any], npt.NDArray[np.int64]]:
        """Texts, vectors, token states and what is right."""
        found = [states[m.text] for m in chosen]
        means = np.stack([one.astype(np.float32).mean(0) for one in found])
        vectors = means / np.linalg.norm(means, axis=1, keepdims=True)
        angry = np.array([names.index(m.label) for m in chosen])
        return [m.text for m in chosen], vectors, found, angry

    texts, vectors, found, angry = split(learnt)
    progress("fitting frustration", 0, 0)
    model = classifier.fit(
        texts,
        vectors,
        [names[one] for one in angry],
        names,
        seed=seed,
        examples=False,
        blend=MOOD_BLEND,
        logistic=True,
    )
    beside = data.emotions(folder, texts)
    targets = np.concatenate([angry[:, None].astype(np.float32), beside], axis=1)
    model = replace(
        classifier.weighed(model, MOOD_LINEAR),
        reader=reader.fit(found, targets, seed=seed, progress=progress),
    )

    def margins(chosen: Sequence[Message]) -> tuple[Vectors, npt.NDArray[np.int64]]:
        texts, vectors, found, angry = split(chosen)
        return classifier.margins(model, texts, vectors, found), angry

    margin, angry = margins(parts["calibration"])
    confidence = Confidence(temperature=classifier.temperature(margin, angry))
    shares = confidence.shares(margin)
    limit = threshold(shares.max(1), shares.argmax(1) == angry)
    figures: dict[str, Any] = {}
    for source in ("own", "goemotions"):
        margin, angry = margins(parts[source])
        shares = confidence.shares(margin)
        right = shares.argmax(1) == angry
        figures[source] = {
            "messages": len(angry),
            "accuracy": round(float(right.mean()), 4),
            "ece": round(calibration_error(shares.max(1), right), 4),
            "auroc": round(float(roc_auc_score(angry, shares[:, 1])), 4),
        }
    file = models / "heads" / "frustration.safetensors"
    write(model, file)
    return manifest.record(
        models,
        file,
        {
            "role": "frustration",
            "kind": "head",
            "classes": list(names),
            "temperature": confidence.temperature,
            "threshold": limit,
            "sure": FURIOUS,
            "blend": MOOD_BLEND,
            "lineage": {
                "encoder": encoder.version,
                "method": "attention over token states, and logistic regression on sentence vector, words and "
                "word pieces; temperature-scaled",
                "seed": seed,
                "data": data.Corpus(learnt).lineage,
                "dev": figures,
            },
        },
        data=folder,
    )


def _measure(
    head: Head, limit: float, corpus: data.Corpus, stack: Callable[[Sequence[Message]], Vectors]
) -> dict[str, Any]:
    figures: dict[str, Any] = {}
    sources = sorted({message.source for message in corpus.part("test")})
    for source in sources:
        held = corpus.part("test", source=source)
        guess = head.probabilities(stack(held))
        chosen = [head.classes[index] for index in guess.argmax(1)]
        right = np.array([a == m.label for a, m in zip(chosen, held, strict=True)])
        sure = guess.max(1) >= limit
        row: dict[str, Any] = {
            "messages": len(held),
            "accuracy": round(float(right.mean()), 4),
            "ece": round(calibration_error(guess.max(1), right), 4),
            "coverage": round(float(sure.mean()), 4),
            "accuracy_kept": round(float(right[sure].mean()), 4) if sure.any() else None,
        }
        if len({m.label for m in held}) == 2:
            positive = [m.label == head.classes[1] for m in held]
            row["auroc"] = round(float(roc_auc_score(positive, guess[:, 1])), 4)
        figures[source] = row
    return figures
