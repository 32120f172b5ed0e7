"""Training of the two heads that read a message in a conversation: what it wants, and whether it leans on another."""

# The libraries of the training carry no types for strict checking.
# pyright: reportUnknownVariableType=false, reportUnknownArgumentType=false, reportAttributeAccessIssue=false

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.metrics import roc_auc_score

from app.models.classifier import OUT_OF_SCOPE, Classifier, Confidence, write
from graphs.routing import LEANS, put_together, says_little
from models.train import classifier, data, manifest
from models.train.classifier import Numbers, calibration_error, cheapest
from models.train.domain import DOMAIN
from models.train.encoder import Encoder, Vectors
from models.train.phrases import (
    LEANING,
    Message,
    Spoken,
    conversations,
    follow_up_templates,
    follow_ups,
)
from tools.intents import Costs, Intents
from tools.ports import Choice
from tools.values import Lane

Progress = Callable[[str, int, int], None]
Embed = Callable[[Sequence[str]], Vectors]

#: What words and word pieces count beside the vector; of 0.3, 0.6 and 1.0 the best on held-out phrases.
BLEND = 0.6
#: Fillings of each phrase that leans.
LEANING_MESSAGES = 60
LEANING_CLASSES = ("alone", LEANS)
#: Below this lane accuracy among the least sure decisions a guess is worth less than a question.
WORTH_A_GUESS = 0.5


class Reader:
    """A classifier with its temperature, and vectors that are computed once."""

    def __init__(self, model: Classifier, confidence: Confidence, embed: Embed) -> None:
        self.model, self.confidence, self.embed = model, confidence, embed

    def shares(self, texts: Sequence[str]) -> Numbers:
        return self.confidence.shares(classifier.margins(self.model, texts, self.embed(texts)))

    def choice(self, text: str) -> Choice:
        chances = dict(zip(self.model.classes, self.shares([text])[0].tolist(), strict=True))
        return Choice(
            option=max(chances, key=chances.__getitem__),
            probabilities=chances,
            model="",
            version="",
            tier="encoder",
            ms=0.0,
        )


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


def _fitted(
    messages: Sequence[Message],
    classes: Sequence[str],
    embed: Embed,
    seed: int,
    *,
    moods: bool = False,
) -> Classifier:
    texts = [message.text for message in messages]
    return classifier.fit(
        texts,
        embed(texts),
        [message.label for message in messages],
        classes,
        seed=seed,
        examples=False,
        blend=BLEND,
        logistic=moods,
    )


def _tempered(model: Classifier, held: Sequence[tuple[str, str]], embed: Embed) -> Confidence:
    texts = [text for text, _ in held]
    truth = np.array([model.classes.index(label) for _, label in held])
    margins = classifier.margins(model, texts, embed(texts))
    return Confidence(temperature=classifier.temperature(margins, truth))


def _lane_temperature(
    model: Classifier, held: Sequence[tuple[str, set[str]]], embed: Embed, catalogue: Intents
) -> float:
    """At which the chances of the right lanes fit best: a wrong intent of the right lane harms little."""
    texts = [text for text, _ in held]
    margins = classifier.margins(model, texts, embed(texts))
    right = np.array(
        [[catalogue.lane(name) in lanes for name in model.classes] for _, lanes in held]
    )

    def loss(temperature: float) -> float:
        found = (Confidence(temperature=temperature).shares(margins) * right).sum(1)
        return float(-np.log(np.maximum(found, 1e-12)).mean())

    return round(float(min(np.geomspace(0.05, 2.0, 120), key=loss)), 4)


# --- what a message wants -----------------------------------------------------------------------


def train_intent(folder: Path, models: Path, seed: int, progress: Progress) -> dict[str, Any]:
    """Fit the intent head, measure it, write it and its manifest entry, and return the entry.

    Our held-out phrases and conversations set the temperature and the lines of the lanes. The fit that is
    shipped has learnt the phrases too: they are too few and too different to leave out."""
    catalogue, corpus = DOMAIN.intents, data.intents(folder)
    encoder = Encoder()
    embed = counting(encoder, progress, "intent")
    embed([message.text for message in corpus.messages])
    learnt = corpus.part("train")
    progress("fitting intent", 0, 2)
    model = _fitted(learnt, catalogue.names, embed, seed)
    spoken = conversations()
    wanted = [(m.text, {catalogue.lane(m.label)}) for m in corpus.part("calibration", source="own")]
    wanted += [(m.text, {*m.lanes, *map(catalogue.lane, m.intents)}) for m in spoken]
    confidence = Confidence(temperature=_lane_temperature(model, wanted, embed, catalogue))
    honest = Reader(model, confidence, embed)
    progress("fitting intent", 1, 2)
    leaning = _leaning(learnt, embed, seed)
    lanes, guess, tuned = _lines(honest, leaning, corpus, spoken, catalogue)
    figures: dict[str, Any] = {
        "figures": "of a fit without our held-out phrases; the shipped fit has learnt those too",
        **measured(honest, lanes, corpus, catalogue),
        "conversations": tuned,
    }
    everything = learnt + [m for m in corpus.part("calibration", "test") if m.source == "own"]
    shipped = Reader(_fitted(everything, catalogue.names, embed, seed), confidence, embed)
    public = data.Corpus([m for m in corpus.messages if m.source != "own"])
    figures["shipped"] = measured(shipped, lanes, public, catalogue)
    file = models / "heads" / "intent.safetensors"
    write(shipped.model, file)
    progress("fitting intent", 2, 2)
    return manifest.record(
        models,
        file,
        {
            "role": "intent",
            "kind": "head",
            "classes": list(catalogue.names),
            "temperature": confidence.temperature,
            "threshold": max(lanes.values()),
            "blend": BLEND,
            "lanes": lanes,
            "guess": guess,
            "lineage": {
                "encoder": encoder.version,
                "method": "linear SVM on sentence vector, words and word pieces, temperature-scaled",
                "seed": seed,
                "data": corpus.lineage,
                "costs": catalogue.costs.model_dump(),
                "dev": figures,
            },
        },
        data=folder,
    )


def in_context(intent: Reader, leaning: Reader, spoken: Spoken) -> Choice:
    """The message as the desk reads it where nothing was asked: with what the customer said before."""
    before: Choice | None = None
    *earlier, last = [*(s[6:] for s in spoken.said if s.startswith("user: ")), spoken.text]
    for text in earlier[-3:]:
        read = _with(before, intent, leaning, text)
        before = before if says_little(read) else read
    return _with(before, intent, leaning, last)


def _with(before: Choice | None, intent: Reader, leaning: Reader, text: str) -> Choice:
    alone = intent.choice(text)
    if before is None:
        return alone
    return put_together(alone, before, leaning.choice(text).probabilities[LEANS])


def _lines(
    intent: Reader,
    leaning: Reader,
    corpus: data.Corpus,
    spoken: Sequence[Spoken],
    catalogue: Intents,
) -> tuple[dict[Lane, float], float, dict[str, Any]]:
    """From which probability a decision for each lane is believed, and a guess taken; and how that does."""
    held = corpus.part("calibration", "test", source="own")
    chances = list(intent.shares([m.text for m in held]))
    wanted = [frozenset({catalogue.lane(m.label)}) for m in held]
    for one in spoken:
        if "?" in one.said[-1]:
            continue  # What was asked is known to the desk and no matter of this head.
        chances.append(np.array(list(in_context(intent, leaning, one).probabilities.values())))
        wanted.append(frozenset(one.lanes))  # type: ignore[arg-type]
    table = np.stack(chances)
    sure = table.max(1)
    lanes: list[Lane] = [catalogue.lane(catalogue.names[n]) for n in table.argmax(1)]
    right = np.array([lane in these for lane, these in zip(lanes, wanted, strict=True)])
    lines = lines_of(lanes, sure, right, catalogue.costs)
    known = np.arange(len(sure)) >= len(held)
    return (
        lines,
        lowest_worth(sure, right),
        {
            "messages": int(known.sum()),
            "lane_accuracy": round(float(right[known].mean()), 4),
            "ece": round(calibration_error(sure[known], right[known]), 4),
        },
    )


def lines_of(lanes: Sequence[Lane], sure: Numbers, right: Any, costs: Costs) -> dict[Lane, float]:
    """The cheapest line of each lane, at least what its costs ask of a calibrated probability by half."""
    found: dict[Lane, float] = {}
    for lane in sorted(set(lanes)):
        here = np.array([one == lane for one in lanes])
        wrong = costs.wrong(lane)
        line = cheapest(sure[here], right[here], wrong, costs.ask)
        found[lane] = round(max(line, (1 - costs.ask / wrong) / 2), 4)
    return found


def lowest_worth(sure: Numbers, right: Any, share: int = 10) -> float:
    """From which probability on a guess is right more often than not: the lowest window that is."""
    order = np.argsort(sure)
    window = max(len(order) // share // 2, 20)
    for start in range(0, len(order) - window, max(window // 4, 1)):
        here = order[start : start + window]
        if right[here].mean() > WORTH_A_GUESS:
            return round(float(sure[here[0]]), 4)
    return 1.0


def measured(
    read: Reader, lanes: dict[Lane, float], corpus: data.Corpus, catalogue: Intents
) -> dict[str, Any]:
    """What the head gets right of each source's test messages."""
    figures: dict[str, Any] = {}
    names = read.model.classes
    for source in sorted({message.source for message in corpus.part("test")}):
        held = corpus.part("test", source=source)
        guess = read.shares([m.text for m in held])
        chosen = [names[index] for index in guess.argmax(1)]
        right = np.array([a == m.label for a, m in zip(chosen, held, strict=True)])
        sure = guess.max(1) >= np.array([lanes.get(catalogue.lane(a), 1.0) for a in chosen])
        same = [
            catalogue.lane(a) == catalogue.lane(m.label) for a, m in zip(chosen, held, strict=True)
        ]
        figures[source] = {
            "messages": len(held),
            "accuracy": round(float(right.mean()), 4),
            "ece": round(calibration_error(guess.max(1), right), 4),
            "coverage": round(float(sure.mean()), 4),
            "accuracy_kept": round(float(right[sure].mean()), 4) if sure.any() else None,
            "lane_accuracy": round(float(np.mean(same)), 4),
        }
    held = corpus.part("test")
    outside = [m.label == OUT_OF_SCOPE for m in held]
    column = read.shares([m.text for m in held])[:, names.index(OUT_OF_SCOPE)]
    figures["out_of_scope_auroc"] = round(float(roc_auc_score(outside, column)), 4)
    return figures


# --- whether it leans on the one before ----------------------------------------------------------


def _phrases(learnt: Sequence[Message], seed: int) -> tuple[list[Message], list[Message]]:
    """What leans and what stands alone: ours, and a quarter of the public messages."""
    leaning = [
        Message(m.text, LEANS, "own", m.part)
        for m in follow_ups(LEANING_MESSAGES, seed, only=LEANING)
    ]
    public = [m for m in learnt if m.source != "own"]
    alone = [m for m in learnt if m.source == "own"] + public[::4]
    return leaning, [Message(m.text, "alone", m.source, m.part) for m in alone]


def _leaning(learnt: Sequence[Message], embed: Embed, seed: int, *, full: bool = False) -> Reader:
    leaning, alone = _phrases(learnt, seed)
    shown = [m for m in leaning if full or m.part == "train"]
    model = _fitted([*shown, *alone], LEANING_CLASSES, embed, seed, moods=True)
    return Reader(model, Confidence(), embed)


def train_follow_up(folder: Path, models: Path, seed: int, progress: Progress) -> dict[str, Any]:
    """Fit the head that tells a message which says nothing without the one before it."""
    corpus = data.intents(folder)
    encoder = Encoder()
    embed = counting(encoder, progress, "follow_up")
    learnt = corpus.part("train")
    progress("fitting follow_up", 0, 2)
    honest = _leaning(learnt, embed, seed)
    leaning, _ = _phrases(learnt, seed)
    held = [(m.text, LEANS) for m in leaning if m.part != "train"]
    held += [(m.text, "alone") for m in corpus.part("calibration", "test", source="own")]
    confidence = _tempered(honest.model, held, embed)
    guess = Reader(honest.model, confidence, embed).shares([text for text, _ in held])[:, 1]
    truth = np.array([label == LEANS for _, label in held])
    progress("fitting follow_up", 1, 2)
    everything = learnt + [m for m in corpus.part("calibration", "test") if m.source == "own"]
    shipped = _leaning(everything, embed, seed, full=True)
    file = models / "heads" / "follow_up.safetensors"
    write(shipped.model, file)
    progress("fitting follow_up", 2, 2)
    return manifest.record(
        models,
        file,
        {
            "role": "follow_up",
            "kind": "head",
            "classes": list(LEANING_CLASSES),
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
