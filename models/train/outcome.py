"""Training of the outcome head: what the result of a plan's step means, whatever the goal.

Logistic regression on the sentence vector of the result's status and words. Temperature and figures
come from predictions for phrases that the judging fit had not seen."""

# The libraries of the training carry no types for strict checking.
# pyright: reportUnknownVariableType=false, reportUnknownArgumentType=false, reportAttributeAccessIssue=false

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import save_file

from models.train import manifest
from models.train.classifier import calibration_error
from models.train.encoder import Encoder
from models.train.heads import Head, calibrated, fit
from models.train.roles.evaluator import OUTCOMES, outcomes

FOLDS = 10
STRENGTH = 10.0
#: Where the head is less sure than this, the generative model is asked: it is right in half of the cases.
BELIEVED = 0.45


def train(out: Path, seed: int, progress: Callable[[str, int, int], None]) -> dict[str, Any]:
    """Train the head, write it and its manifest entry, and return the entry."""
    messages = outcomes()
    encoder = Encoder()
    vectors = encoder.embed([m.text for m in messages])
    labels = [m.label for m in messages]
    # A phrase with and without its step's name stays in one fold.
    phrases = [m.text.partition(": ")[2] or m.text.partition(" ")[2] for m in messages]
    places = {phrase: n for n, phrase in enumerate(sorted(set(phrases)))}
    order = np.random.default_rng(seed).permutation(len(places))
    fold = np.array([order[places[p]] % FOLDS for p in phrases])
    logits = np.zeros((len(messages), len(OUTCOMES)))
    for number in range(FOLDS):
        progress("fitting outcome", number, FOLDS)
        learnt = [i for i in range(len(messages)) if fold[i] != number]
        head = fit(vectors[learnt], [labels[i] for i in learnt], OUTCOMES, STRENGTH, seed)
        logits[fold == number] = vectors[fold == number] @ head.weight.T + head.bias
    # The logits of unseen phrases, as a head that passes its input on.
    passing = Head(
        OUTCOMES, np.eye(len(OUTCOMES), dtype=np.float32), np.zeros(len(OUTCOMES), np.float32)
    )
    passing = calibrated(passing, logits.astype(np.float32), labels)
    guess = passing.probabilities(logits.astype(np.float32))
    right = guess.argmax(1) == np.array([OUTCOMES.index(label) for label in labels])
    sure = guess.max(1) >= BELIEVED
    head = replace(fit(vectors, labels, OUTCOMES, STRENGTH, seed), temperature=passing.temperature)
    file = out / "heads" / "outcome.safetensors"
    file.parent.mkdir(parents=True, exist_ok=True)
    save_file({"weight": np.ascontiguousarray(head.weight), "bias": head.bias}, file)
    return manifest.record(
        out,
        file,
        {
            "role": "outcome",
            "kind": "head",
            "classes": list(OUTCOMES),
            "temperature": head.temperature,
            "threshold": BELIEVED,
            "lineage": {
                "encoder": encoder.version,
                "method": "multinomial logistic regression, class-balanced, temperature-scaled",
                "seed": seed,
                "data": {"own": {"messages": len(messages), "licence": "written for this project"}},
                "dev": {
                    "figures": f"of {FOLDS} fits, each for phrases it had not seen",
                    "phrases": len(places),
                    "accuracy": round(float(right.mean()), 4),
                    "ece": round(calibration_error(guess.max(1), right), 4),
                    "coverage": round(float(sure.mean()), 4),
                    "accuracy_kept": round(float(right[sure].mean()), 4),
                },
            },
        },
    )
