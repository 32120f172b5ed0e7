"""Training of the head that tells a message which says nothing without the one before it."""

# The libraries of the training carry no types for strict checking.
# pyright: reportUnknownVariableType=false, reportUnknownArgumentType=false, reportAttributeAccessIssue=false

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.metrics import roc_auc_score

from app.models.classifier import Classifier, Confidence, write
from graphs.routing import LEANS
from models.train import classifier, data, manifest
from models.train.classifier import Numbers, calibration_error
from models.train.encoder import Encoder, Vectors
from models.train.phrases import LEANING, Message, follow_up_templates, follow_ups

Progress = Callable[[str, int, int], None]
Embed = Callable[[Sequence[str]], Vectors]

#: What words and word pieces count beside the vector; of 0.3, 0.6 and 1.0 the best on held-out phrases.
BLEND = 0.6
#: Fillings of each phrase that leans.
LEANING_MESSAGES = 60
CLASSES = ("alone", LEANS)


def remembering(embed: Embed) -> Embed:
    """The same, with every text embedded once."""
    known: dict[str, Any] = {}

    def vectors(texts: Sequence[str]) -> Vectors:
        new = [text for text in dict.fromkeys(texts) if text not in known]
        if new:
            known.update(zip(new, embed(new), strict=True))
        return np.stack([known[text] for text in texts])

    return vectors


def counting(encoder: Encoder, progress: Progress, what: str) -> Embed:
    """The encoder, with its progress shown."""

    def embed(texts: Sequence[str]) -> Vectors:
        done = 0

        def more(count: int) -> None:
            nonlocal done
            done += count
            progress(f"embedding {what}", done, len(texts))

        return encoder.embed(texts, progress=more)

    return remembering(embed)


def _phrases(learnt: Sequence[Message], seed: int) -> tuple[list[Message], list[Message]]:
    """What leans and what stands alone: ours, and a quarter of the public messages."""
    leaning = [
        Message(m.text, LEANS, "own", m.part)
        for m in follow_ups(LEANING_MESSAGES, seed, only=LEANING)
    ]
    public = [m for m in learnt if m.source != "own"]
    alone = [m for m in learnt if m.source == "own"] + public[::4]
    return leaning, [Message(m.text, "alone", m.source, m.part) for m in alone]


def _fitted(
    learnt: Sequence[Message], embed: Embed, seed: int, *, full: bool = False
) -> Classifier:
    leaning, alone = _phrases(learnt, seed)
    shown = [m for m in leaning if full or m.part == "train"] + alone
    texts = [message.text for message in shown]
    return classifier.fit(
        texts,
        embed(texts),
        [message.label for message in shown],
        CLASSES,
        seed=seed,
        examples=False,
        blend=BLEND,
        logistic=True,
    )


def train(folder: Path, models: Path, seed: int, progress: Progress) -> dict[str, Any]:
    """Fit the head, measure it, write it and its manifest entry, and return the entry."""
    corpus = data.intents(folder)
    encoder = Encoder()
    embed = counting(encoder, progress, "follow_up")
    learnt = corpus.part("train")
    progress("fitting follow_up", 0, 2)
    honest = _fitted(learnt, embed, seed)
    leaning, _ = _phrases(learnt, seed)
    held = [(m.text, LEANS) for m in leaning if m.part != "train"]
    held += [(m.text, "alone") for m in corpus.part("calibration", "test", source="own")]
    texts = [text for text, _ in held]
    truth = np.array([label == LEANS for _, label in held])
    margins = classifier.margins(honest, texts, embed(texts))
    confidence = Confidence(temperature=classifier.temperature(margins, truth.astype(np.int64)))
    guess: Numbers = confidence.shares(margins)[:, 1]
    progress("fitting follow_up", 1, 2)
    everything = learnt + [m for m in corpus.part("calibration", "test") if m.source == "own"]
    shipped = _fitted(everything, embed, seed, full=True)
    file = models / "heads" / "follow_up.safetensors"
    write(shipped, file)
    progress("fitting follow_up", 2, 2)
    return manifest.record(
        models,
        file,
        {
            "role": "follow_up",
            "kind": "head",
            "classes": list(CLASSES),
            "temperature": confidence.temperature,
            "blend": BLEND,
            "lineage": {
                "encoder": encoder.version,
                "method": "logistic regression on sentence vector, words and word pieces, temperature-scaled",
                "seed": seed,
                "data": corpus.lineage,
                "phrases": len(follow_up_templates()[LEANING]),
                "dev": {
                    "messages": len(held),
                    "accuracy": round(float(((guess > 0.5) == truth).mean()), 4),
                    "auroc": round(float(roc_auc_score(truth, guess)), 4),
                    "ece": round(
                        calibration_error(np.maximum(guess, 1 - guess), (guess > 0.5) == truth), 4
                    ),
                },
            },
        },
        data=folder,
    )
