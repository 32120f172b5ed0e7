"""Training of the heads that understand a turn, from a domain's own examples: what is wanted, whether several things
are, whether it is an incident, and whether the customer is upset."""

# The libraries of the training carry no types for strict checking.
# pyright: reportUnknownVariableType=false, reportUnknownArgumentType=false, reportAttributeAccessIssue=false

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import numpy.typing as npt
from pydantic import (
    BaseModel,
    ConfigDict,
    StringConstraints,
    ValidationError,
    model_validator,
)
from safetensors.numpy import save_file
from sklearn.model_selection import StratifiedKFold

from app.models.classifier import Classifier, Confidence, write
from app.models.multilingual import NAME, MultilingualEncoder
from app.models.turn_heads import centred
from models.train import classifier, manifest

Vectors = npt.NDArray[np.float32]
Progress = Callable[[str, int, int], None]

#: What the turn before counts beside the message, and words and pieces beside the vectors. Of nine pairs on the
#: examples of one author against the other's the best; see docs/understanding.md.
CONTEXT = 0.5
BLEND = 0.3
#: Examples of one author sound alike, so folds of them flatter: strangers' messages ask for softer probabilities.
#: Measured on the open conversations.
SOFTER = 1.2
_FOLDS = 3
#: From where on the heads of rare things are believed. They are fitted as if rare and frequent were alike, so that
#: nothing rare is drowned; on the open conversations these lines keep what is found and little else.
THRESHOLDS = {"complexity": 0.85, "incident": 0.6, "frustration": 0.75}
FURIOUS = 0.9  #: So sure must the mood be to overrule what a message plainly wants.


class ExamplesInvalid(Exception):
    """The examples cannot be used."""

    def __init__(self, message: str | None = None) -> None:
        super().__init__(message or self.__doc__)


class Example(BaseModel):
    """One message as a customer writes it, and what it wants."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    text: Annotated[str, StringConstraints(min_length=1)]
    intent: str | None = None
    intents: tuple[str, ...] = ()  #: Two or more different wishes in one message.
    before: str = ""  #: What the agent said before it.
    lang: str = "en"
    upset: bool = False

    @model_validator(mode="after")
    def _wants_something(self) -> Example:
        if (self.intent is None) == (not self.intents):
            raise ValueError("give intent, or intents where one message wants several things")
        return self

    @property
    def wanted(self) -> tuple[str, ...]:
        return self.intents or (str(self.intent),)


def read_examples(files: Iterable[Path]) -> list[Example]:
    """Every line of JSON Lines files; ExamplesInvalid names file and line of what is none."""
    found: list[Example] = []
    for path in files:
        for number, line in enumerate(path.read_text("utf-8").splitlines(), 1):
            if not line.strip():
                continue
            try:
                found.append(Example.model_validate(json.loads(line)))
            except (ValidationError, ValueError) as error:
                raise ExamplesInvalid(f"{path.name}, line {number}: {error}") from error
    if not found:
        raise ExamplesInvalid("there are no examples")
    return found


@dataclass(frozen=True)
class _Rows:
    """Examples as the heads read them."""

    texts: list[str]
    vectors: Vectors
    mean: Vectors

    def some(self, chosen: npt.NDArray[np.int64]) -> tuple[list[str], Vectors]:
        return [self.texts[n] for n in chosen], self.vectors[chosen]


def train(
    examples: Sequence[Example],
    out: Path,
    *,
    incidents: Callable[[str], bool],
    seed: int = 7,
    progress: Progress = lambda what, done, of: None,
    written_by: str = "",
) -> list[dict[str, Any]]:
    """Fit the four heads, write them and their manifest entries, and return the entries.

    ``incidents`` says which intents are incidents."""
    rows = _embedded(examples, progress)
    entries: list[dict[str, Any]] = []
    single = np.array([n for n, one in enumerate(examples) if one.intent is not None])
    names = sorted({str(examples[n].intent) for n in single})
    jobs: list[tuple[str, npt.NDArray[np.int64], list[str], list[str], bool]] = [
        ("intent", single, [str(examples[n].intent) for n in single], names, False)
    ]
    everything = np.arange(len(examples))
    questions: tuple[tuple[str, tuple[str, str], Callable[[Example], bool]], ...] = (
        ("complexity", ("single", "several"), lambda one: len(one.wanted) > 1),
        ("incident", ("ordinary", "incident"), lambda one: any(map(incidents, one.wanted))),
        ("frustration", ("calm", "frustrated"), lambda one: one.upset),
    )
    for name, classes, holds in questions:
        labels = [classes[int(holds(one))] for one in examples]
        if len(set(labels)) == 2:
            jobs.append((name, everything, labels, list(classes), True))
    for done, (name, chosen, labels, classes, logistic) in enumerate(jobs):
        progress("fitting heads", done, len(jobs))
        entries.append(
            _fit(name, rows, chosen, labels, classes, logistic, out, seed, examples, written_by)
        )
    progress("fitting heads", len(jobs), len(jobs))
    return entries


def _embedded(examples: Sequence[Example], progress: Progress) -> _Rows:
    encoder = MultilingualEncoder()
    texts = [one.text for one in examples]
    every = list(dict.fromkeys([*texts, *(one.before for one in examples if one.before)]))
    known: dict[str, Vectors] = {}
    for start in range(0, len(every), 32):
        batch = every[start : start + 32]
        known |= dict(zip(batch, encoder.read(batch), strict=True))
        progress("reading examples", min(start + 32, len(every)), len(every))
    mean = np.asarray(np.mean([known[text] for text in texts], axis=0), np.float32)
    nothing = np.zeros_like(mean)
    vectors = np.stack(
        [
            np.concatenate(
                [
                    centred(known[one.text], mean),
                    CONTEXT * centred(known[one.before], mean) if one.before else nothing,
                ]
            )
            for one in examples
        ]
    )
    return _Rows(texts, vectors, mean)


def _fit(
    name: str,
    rows: _Rows,
    chosen: npt.NDArray[np.int64],
    labels: list[str],
    classes: list[str],
    logistic: bool,
    out: Path,
    seed: int,
    examples: Sequence[Example],
    written_by: str,
) -> dict[str, Any]:
    texts, vectors = rows.some(chosen)

    def fitted(numbers: npt.NDArray[np.int64]) -> Classifier:
        return classifier.fit(
            [texts[n] for n in numbers],
            vectors[numbers],
            [labels[n] for n in numbers],
            classes,
            seed=seed,
            examples=False,
            blend=BLEND,
            logistic=logistic,
            balanced=logistic,
        )

    truth = np.array([classes.index(label) for label in labels])
    margins = np.zeros((len(texts), len(classes)), np.float32)
    least = min(Counter(labels).values())
    if least >= 2:
        folds: Any = StratifiedKFold(min(_FOLDS, least), shuffle=True, random_state=seed)
        for learnt, held in folds.split(texts, truth):
            model = fitted(np.asarray(learnt))
            margins[held] = classifier.margins(model, [texts[n] for n in held], vectors[held])
        temperature = round(classifier.temperature(margins, truth) * SOFTER, 4)
    else:
        temperature = SOFTER
    model = replace(fitted(np.arange(len(texts))), confidence=Confidence(temperature=temperature))
    file = out / "heads" / f"{name}.safetensors"
    write(model, file)
    _add_mean(file, rows.mean)
    right = margins.argmax(1) == truth
    return manifest.record(
        out,
        file,
        {
            "role": name,
            "kind": "head",
            "classes": classes,
            "temperature": temperature,
            "blend": BLEND,
            "reads": NAME,
            **({"threshold": THRESHOLDS[name]} if name in THRESHOLDS else {}),
            **({"sure": FURIOUS} if name == "frustration" else {}),
            "context": CONTEXT,
            "lineage": {
                "encoder": NAME,
                "method": "linear classifier on message, turn before, words and word pieces; temperature from folds",
                "seed": seed,
                "examples": len(texts),
                "languages": dict(Counter(examples[n].lang for n in chosen)),
                "written by": written_by,
                "folds": {
                    "accuracy": round(float(right.mean()), 4),
                    "note": "by the authors of the examples themselves: no figure of quality",
                },
            },
        },
    )


def _add_mean(file: Path, mean: Vectors) -> None:
    from safetensors.numpy import load_file

    tensors: Any = load_file(file)
    save_file({**tensors, "mean": np.ascontiguousarray(mean)}, file)
