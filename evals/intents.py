"""How well the router's classifier learns intents nobody here wrote, beside TF-IDF with logistic regression.

Every suite trains as `signalbox train router` does, on the public part that may be trained on, and is scored on
messages of that set which were not in it. The baseline is trained and scored on the same messages in the same run.
"""

# The libraries of the training carry no types for strict checking.
# pyright: reportUnknownVariableType=false, reportUnknownArgumentType=false, reportAttributeAccessIssue=false

from __future__ import annotations

import asyncio
import tempfile
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from app.models.classifier import NO_INTENT, OUT_OF_SCOPE
from app.models.encoder import OnnxEncoder
from app.models.manifest import manifest_for
from evals.domain import DOMAIN
from evals.figures import (
    Figure,
    NotPossible,
    Report,
    Scored,
    Table,
    Target,
    at_least,
    at_most,
    percentile,
)
from evals.world import Folders, Progress, quiet
from models.train import data as sets
from models.train.classifier import calibration_error
from models.train.intents import Taught, embedded, fitted, write_router

Numbers = npt.NDArray[np.float64]
Labelled = list[tuple[str, str]]

#: One message at a time, as a turn would; the rest of a set is read together.
_TIMED = 200


@dataclass(frozen=True)
class Suite:
    """One public set: what is learnt, what is asked, and what must be reached."""

    name: str
    title: str
    accuracy: float
    outside: float | None = None  #: The AUROC of telling messages out of scope.
    seeds: int = 1

    def split(self, folder: Path, seed: int) -> tuple[Labelled, Labelled]:
        """(learnt, asked)."""
        pick = partial(_pairs, folder)
        match self.name:
            case "banking77":
                return _ninety_ten(pick("intent_banking77", "train"), seed)
            case "clinc150":
                return pick("intent_clinc150", "train"), pick("intent_clinc150", "val")
            case "bitext":
                return pick("intent_bitext_support", "train"), pick("intent_bitext_support", "dev")
            case _:
                name = "intent_hint3_sofmattress"
                return pick(name, "train"), pick(name, "test")


SUITES = (
    Suite("banking77", "BANKING77, a tenth held back", 0.93, seeds=5),
    Suite("clinc150", "CLINC150 val", 0.94, 0.97),
    Suite("bitext", "Bitext dev, its own 27 intents", 0.995),
    Suite("hint3", "HINT3 SOFMattress", 0.82, 0.88),
)
NAMES = (*(suite.name for suite in SUITES), "frustration")


def _pairs(folder: Path, name: str, part: str) -> Labelled:
    try:
        rows = list(sets.rows(folder / name, part))
    except sets.DataMissing as error:
        raise NotPossible(str(error)) from error
    return [
        (row["text"], OUT_OF_SCOPE if row["intent"].lower() in NO_INTENT else row["intent"])
        for row in rows
    ]


def _ninety_ten(pairs: Labelled, seed: int) -> tuple[Labelled, Labelled]:
    from sklearn.model_selection import train_test_split

    labels = [label for _, label in pairs]
    parts: Any = train_test_split(pairs, test_size=0.1, stratify=labels, random_state=seed)
    return parts[0], parts[1]


@dataclass(frozen=True)
class Scores:
    """What a router said of the messages of one split."""

    labels: tuple[str, ...]
    chosen: tuple[str, ...]
    confidence: Numbers
    kept: npt.NDArray[np.bool_]
    ms: tuple[float, ...] = ()

    @property
    def inside(self) -> npt.NDArray[np.bool_]:
        return np.array([label != OUT_OF_SCOPE for label in self.labels])

    @property
    def right(self) -> npt.NDArray[np.bool_]:
        return np.array([a == b for a, b in zip(self.chosen, self.labels, strict=True)])

    @property
    def accuracy(self) -> float:
        return float(self.right[self.inside].mean())

    @property
    def outside(self) -> float | None:
        """AUROC of the confidence between messages in and out of scope."""
        from sklearn.metrics import roc_auc_score

        return None if self.inside.all() else float(roc_auc_score(self.inside, self.confidence))

    @property
    def ece(self) -> float:
        return calibration_error(self.confidence[self.inside], self.right[self.inside])


def baseline(learnt: Labelled, asked: Labelled) -> Scores:
    """TF-IDF of words and word pieces, multinomial logistic regression, nothing tuned."""
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline, make_union

    known = [pair for pair in learnt if pair[1] != OUT_OF_SCOPE]
    model: Any = make_pipeline(
        make_union(
            TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True),
            TfidfVectorizer(analyzer="char_wb", ngram_range=(2, 5), sublinear_tf=True),
        ),
        LogisticRegression(C=10, max_iter=200, tol=1e-3, class_weight="balanced"),
    )
    model.fit([text for text, _ in known], [label for _, label in known])
    chances = model.predict_proba([text for text, _ in asked])
    chosen = tuple(str(model.classes_[n]) for n in chances.argmax(1))
    labels = tuple(label for _, label in asked)
    return Scores(labels, chosen, chances.max(1), np.ones(len(asked), bool))


def ours(
    learnt: Labelled, asked: Labelled, vectors: dict[str, Any], folder: Path, seed: int
) -> Scores:
    """The router as it is trained, written, verified, loaded and run."""
    from app.models.router import load_router
    from tools.intents import derived

    catalogue = derived(pair for pair in learnt if pair[1] != OUT_OF_SCOPE)
    pairs = list(dict.fromkeys(learnt))
    material = Taught(catalogue, tuple(t for t, _ in pairs), tuple(name for _, name in pairs))
    made, figures = fitted(
        material, seed=seed, vectors=np.stack([vectors[text] for text in material.texts])
    )
    write_router(made, folder, material=material, sources=(), seed=seed, figures=figures)
    router = load_router(folder)
    encoder = OnnxEncoder()
    encoder.adopt("intent", router.classifier, router.version)
    ms = asyncio.run(_timed(encoder, [text for text, _ in asked[:_TIMED]]))
    decided = [router.classifier.decide(vectors[text], text) for text, _ in asked]
    confidence = np.array([chances[option] for option, chances in decided])
    lines = [router.lanes[router.intents.lane(option)] for option, _ in decided]
    return Scores(
        tuple(label for _, label in asked),
        tuple(option for option, _ in decided),
        confidence,
        confidence >= np.array(lines),
        tuple(ms),
    )


async def _timed(encoder: OnnxEncoder, texts: Iterable[str]) -> list[float]:
    await encoder.classify("intent", "one message to load everything")
    return [(await encoder.classify("intent", text)).ms for text in texts]


def play(
    suite: Suite, data: Path, folder: Path, seeds: int, progress: Progress
) -> list[tuple[Scores, Scores]]:
    """(ours, baseline) of each split."""
    played: list[tuple[Scores, Scores]] = []
    vectors: dict[str, Any] = {}
    rounds = min(seeds, suite.seeds)
    for seed in range(rounds):
        progress(f"{suite.title}: training", seed, rounds)
        learnt, asked = suite.split(data, seed)
        lacking = list(dict.fromkeys(t for t, _ in [*learnt, *asked] if t not in vectors))
        if lacking:
            vectors |= dict(zip(lacking, embedded(lacking, progress), strict=True))
        mine = ours(learnt, asked, vectors, folder / f"{suite.name}-{seed}", seed)
        played.append((mine, baseline(learnt, asked)))
    progress(f"{suite.title}: training", rounds, rounds)
    return played


def tell(found: Report, suite: Suite, played: Sequence[tuple[Scores, Scores]]) -> None:
    """Figures, the row of the tier and the scored messages of one suite."""

    def figure(
        name: str, values: Sequence[float], beside: Sequence[float], target: Target | None
    ) -> None:
        value, floor = float(np.mean(values)), float(np.mean(beside))
        spread = f" (seeds {min(values):.3f} to {max(values):.3f})" if len(values) > 1 else ""
        found.figures.append(
            Figure(
                f"{suite.title}: {name}{spread}",
                round(value, 4),
                target=target,
                baseline=f"TF-IDF + logistic regression {floor:.4f}",
                ratio=value / floor,
            )
        )

    mine, floor = [one for one, _ in played], [other for _, other in played]
    figure(
        "accuracy in scope",
        [s.accuracy for s in mine],
        [s.accuracy for s in floor],
        at_least(suite.accuracy),
    )
    outside = [s.outside for s in mine if s.outside is not None]
    if suite.outside is not None and outside:
        beside = [s.outside for s in floor if s.outside is not None]
        figure("AUROC out of scope", outside, beside, at_least(suite.outside))
    figure(
        "calibration error in scope", [s.ece for s in mine], [s.ece for s in floor], at_most(0.03)
    )
    table = found.tables[0]
    inside = np.concatenate([s.inside for s in mine])
    right = np.concatenate([s.right for s in mine])[inside]
    kept = np.concatenate([s.kept for s in mine])[inside]
    times = [ms for s in mine for ms in s.ms]
    table.rows.append(
        (
            suite.title,
            "encoder",
            f"{100 * kept.mean():.1f} %",
            f"{100 * right[kept].mean():.1f} %" if kept.any() else "",
            f"{100 * right[~kept].mean():.1f} %" if not kept.all() else "",
            f"{percentile(times, 0.5):.1f}",
            f"{percentile(times, 0.95):.1f}",
        )
    )
    for scores in mine:
        for number, label in enumerate(scores.labels):
            found.scored.append(
                Scored(
                    suite=suite.name,
                    label=label,
                    chosen=scores.chosen[number],
                    confidence=round(float(scores.confidence[number]), 4),
                    right=bool(scores.right[number]),
                    tier="encoder" if scores.kept[number] else "nobody",
                    ms=round(scores.ms[number], 3) if number < len(scores.ms) else None,
                )
            )


def frustration(found: Report, data: Path, progress: Progress) -> None:
    """The shipped head on GoEmotions' dev part, which it did not learn."""
    from sklearn.metrics import roc_auc_score

    learnt = [(m.text, m.label) for m in sets.goemotions(data, "train", 10**6, 0, balanced=False)]
    asked = [(m.text, m.label) for m in sets.goemotions(data, "dev", 10**6, 0)]
    progress("Frustration: baseline", 0, 0)
    floor = baseline(learnt, asked)
    angry = np.array([label == "frustrated" for _, label in asked])
    chosen = np.array([option == "frustrated" for option in floor.chosen])
    theirs = np.where(chosen, floor.confidence, 1 - floor.confidence)

    async def read() -> tuple[Numbers, list[float]]:
        encoder = OnnxEncoder(manifest_for(DOMAIN), cached=10_000)
        texts = [text for text, _ in asked]
        ms = [(await encoder.classify("frustration", text)).ms for text in texts[:_TIMED]]
        for start in range(0, len(texts), 256):
            progress("Frustration: reading", start, len(texts))
            await encoder.embed(texts[start : start + 256])
        choices = [await encoder.classify("frustration", text) for text in texts]
        return np.array([c.probabilities["frustrated"] for c in choices]), ms

    chances, ms = asyncio.run(read())
    auroc, beside = roc_auc_score(angry, chances), roc_auc_score(angry, theirs)
    found.figures.append(
        Figure(
            "Frustration, GoEmotions dev: AUROC",
            round(float(auroc), 4),
            target=at_least(0.87),
            baseline=f"TF-IDF + logistic regression {beside:.4f}",
            ratio=float(auroc / beside),
        )
    )
    for (_, label), chance in zip(asked, chances, strict=True):
        guess = "frustrated" if chance >= 0.5 else "calm"
        found.scored.append(
            Scored(
                suite="frustration",
                label=label,
                chosen=guess,
                confidence=round(float(max(chance, 1 - chance)), 4),
                right=guess == label,
                tier="encoder",
                ms=None,
            )
        )
    found.tables[0].rows.append(
        (
            "Frustration",
            "encoder",
            "100.0 %",
            "",
            "",
            f"{percentile(ms, 0.5):.1f}",
            f"{percentile(ms, 0.95):.1f}",
        )
    )


def run(
    folders: Folders,
    progress: Progress = quiet,
    *,
    data: Path | None = None,
    only: Sequence[str] = (),
    seeds: int = 5,
) -> Report:
    if data is None:
        raise NotPossible(
            "This suite reads the public intent sets: set SIGNALBOX_DATA to the folder that holds "
            "intent_banking77, intent_clinc150, intent_bitext_support, intent_hint3_sofmattress and "
            "emotion_goemotions (their sources and licences are in docs/adapters.md)."
        )
    unknown = sorted(set(only) - set(NAMES))
    if unknown:
        raise NotPossible(f"No such suite: {', '.join(unknown)}. It is one of {', '.join(NAMES)}.")
    found = Report("intents")
    columns = ("set", "tier", "coverage", "right when sure", "right when not", "p50 ms", "p95 ms")
    found.tables.append(Table("Above the threshold of the lane, in scope", columns))
    began = time.perf_counter()
    with tempfile.TemporaryDirectory(prefix="signalbox-routers-") as made:
        for suite in SUITES:
            if not only or suite.name in only:
                tell(found, suite, play(suite, data, Path(made), seeds, progress))
    if not only or "frustration" in only:
        frustration(found, data, progress)
    found.notes.append(f"Trained and scored in {time.perf_counter() - began:.0f} s.")
    if not only or "hint3" in only:
        found.notes.append(
            "HINT3's test part is its only part with messages out of scope; what the likeness of the "
            "nearest example and the words count was looked at on it, so take its two figures for a "
            "little too good."
        )
    return found
