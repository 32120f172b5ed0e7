"""Training of the heads that understand a turn, from a domain's own examples: what is wanted, whether several things
are, whether it is an incident, and whether the customer is upset."""

# The libraries of the training carry no types for strict checking.
# pyright: reportUnknownVariableType=false, reportUnknownArgumentType=false, reportAttributeAccessIssue=false

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import numpy as np
import numpy.typing as npt
import yaml
from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    StringConstraints,
    ValidationError,
    model_validator,
)
from safetensors.numpy import save_file
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import StratifiedKFold

from app.models.classifier import Classifier, Confidence, write
from app.models.multilingual import MultilingualEncoder, made_by
from app.models.turn_heads import centred
from models.train import classifier, manifest
from models.train.kept_out import leaks
from tools.domain import Domain

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
#: From so many examples on one fold is tried of the three.
_MANY = 4000
#: From where on the heads of rare things are believed. They are fitted as if rare and frequent were alike, so that
#: nothing rare is drowned; on the open conversations these lines keep what is found and little else.
THRESHOLDS = {"complexity": 0.85, "incident": 0.6, "frustration": 0.75}
FURIOUS = 0.95  #: So sure must the mood be to overrule what a message plainly wants.


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
    counts: float = 1.0  #: What it counts beside other messages where heads are fitted.

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


#: Beside the examples of a domain: who wrote them, and what they are licensed under.
SOURCE = "source.yaml"


class Source(BaseModel):
    """Where a domain's examples come from: the lineage of every head that learns from them."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    written_by: Annotated[str, StringConstraints(min_length=1)] = "the business itself"
    licence: Annotated[str, StringConstraints(min_length=1)] = "the business's own"
    taught_by: tuple[str, ...] = ()  #: The large models that wrote ``taught.jsonl``.
    #: What the messages of a file count beside the others': those of strangers more than those of who knew the intents.
    counts: dict[str, Annotated[float, Field(gt=0, le=10)]] = {}

    @property
    def authors(self) -> str:
        return "; ".join([self.written_by, *(f"{name} (taught)" for name in self.taught_by)])

    @classmethod
    def of(cls, examples: Path) -> Source:
        """What the folder of examples says; ExamplesInvalid where it says it wrongly."""
        file = examples / SOURCE
        if not file.exists():
            return cls()
        try:
            return cls.model_validate(yaml.safe_load(file.read_text("utf-8")))
        except (ValidationError, yaml.YAMLError) as error:
            raise ExamplesInvalid(f"{file.name}: {error}") from error


def examples_of(domain: Domain) -> list[Example]:
    """What a domain teaches: every file of labelled messages, and the examples of its intents.

    Those of an intent that stands for several wishes are left out: they say that there are several, and not
    which. ExamplesInvalid names what cannot be used."""
    files = sorted(domain.examples.rglob("*.jsonl"))
    counts = Source.of(domain.examples).counts
    if unknown := sorted({*counts} - {file.name for file in files}):
        raise ExamplesInvalid(
            f"{SOURCE}: counts names files that are not there: {', '.join(unknown)}"
        )
    examples = [
        one.model_copy(update={"counts": counts.get(file.name, one.counts)})
        for file in files
        for one in read_examples([file])
    ]
    intents = domain.intents
    if unknown := sorted({name for one in examples for name in one.wanted} - {*intents.names}):
        raise ExamplesInvalid(
            f"they name intents that intents.yaml does not have: {', '.join(unknown)}"
        )
    known = {one.text for one in examples}
    return examples + [
        Example(text=text, intent=one.name)
        for one in intents.intents
        for text in one.examples
        if one.role != "several" and text not in known
    ]


@dataclass(frozen=True)
class Rows:
    """Examples as the heads read them."""

    texts: list[str]
    vectors: Vectors
    mean: Vectors
    counts: npt.NDArray[np.float64]  #: What each counts beside the others.

    def some(self, chosen: npt.NDArray[np.int64]) -> tuple[list[str], Vectors]:
        return [self.texts[n] for n in chosen], self.vectors[chosen]


def train(
    examples: Sequence[Example],
    out: Path,
    *,
    domain: Path,
    incidents: Callable[[str], bool],
    seed: int = 7,
    progress: Progress = lambda what, done, of: None,
    source: Source | None = None,
    kept_out: Sequence[str] = (),
) -> list[dict[str, Any]]:
    """Fit the four heads, write them and their manifest entries, and return the entries.

    ``domain`` is the folder of the business that the examples are of; ``incidents`` says which intents are
    incidents; ``kept_out`` are the messages of the evaluation sets, and ExamplesInvalid is raised where one
    of them is among the examples."""
    if found := leaks([one.text for one in examples], kept_out):
        raise ExamplesInvalid(
            f"{len(found)} examples are in an evaluation set, which would measure nothing any more. Take them "
            f"out: {'; '.join(map(str, found[:5]))}"
        )
    source = source or Source()
    known = vectors_of(examples, progress)
    rows = rows_of(examples, known)
    entries: list[dict[str, Any]] = []
    jobs = jobs_of(examples, incidents)
    for done, job in enumerate(jobs):
        progress("fitting heads", done, len(jobs))
        model, dev = _fitted(job, rows, seed)
        file = out / "heads" / f"{job.name}.safetensors"
        write(model, file)
        _add_mean(file, rows.mean)
        spoken = Counter(examples[n].lang for n in job.chosen)
        lineage = {
            "encoder": made_by(),
            "method": "linear classifier on message, turn before, words and word pieces; temperature from folds",
            "seed": seed,
            "data": {"own": {"messages": len(job.chosen), "licence": source.licence}},
            "written by": source.authors,
            "languages": dict(spoken.most_common()),
            "dev": dev,
        }
        entry = {
            "role": job.name,
            "kind": "head",
            "classes": job.classes,
            "temperature": model.confidence.temperature,
            "blend": BLEND,
            "reads": made_by(),
            **({"threshold": THRESHOLDS[job.name]} if job.name in THRESHOLDS else {}),
            **({"sure": FURIOUS} if job.name == "frustration" else {}),
            "context": CONTEXT,
            "lineage": lineage,
        }
        entries.append(manifest.record(out, file, entry, domain=domain))
    progress("fitting heads", len(jobs), len(jobs))
    return entries


class Job(NamedTuple):
    """A head that is to be fitted."""

    name: str
    chosen: npt.NDArray[np.int64]  #: The places of the examples that it learns from.
    labels: list[str]
    classes: list[str]
    logistic: bool  #: Its classes overlap.


def jobs_of(examples: Sequence[Example], incidents: Callable[[str], bool]) -> list[Job]:
    """The heads that these examples can teach."""
    single = np.array([n for n, one in enumerate(examples) if one.intent is not None])
    names = sorted({str(examples[n].intent) for n in single})
    labels = [str(examples[n].intent) for n in single]
    jobs = [Job("intent", single, labels, names, False)]
    everything = np.arange(len(examples))
    questions: tuple[tuple[str, tuple[str, str], Callable[[Example], bool]], ...] = (
        ("complexity", ("single", "several"), lambda one: len(one.wanted) > 1),
        ("incident", ("ordinary", "incident"), lambda one: any(map(incidents, one.wanted))),
        ("frustration", ("calm", "frustrated"), lambda one: one.upset),
    )
    for name, classes, holds in questions:
        labels = [classes[int(holds(one))] for one in examples]
        if len(set(labels)) == 2:
            jobs.append(Job(name, everything, labels, list(classes), True))
    return jobs


def vectors_of(
    examples: Sequence[Example], progress: Progress, known: Mapping[str, Vectors] | None = None
) -> dict[str, Vectors]:
    """The vector of every message and of every turn before one; those that are known are not read again."""
    encoder = MultilingualEncoder()
    said = [text for one in examples for text in (one.text, one.before) if text]
    vectors = {text: known[text] for text in said if text in known} if known else {}
    every = [text for text in dict.fromkeys(said) if text not in vectors]
    for start in range(0, len(every), 32):
        batch = every[start : start + 32]
        vectors |= dict(zip(batch, encoder.read(batch), strict=True))
        progress("reading examples", min(start + 32, len(every)), len(every))
    return vectors


def rows_of(
    examples: Sequence[Example], known: Mapping[str, Vectors], mean: Vectors | None = None
) -> Rows:
    """Examples as the heads read them; ``mean`` where the heads were fitted on other examples."""
    texts = [one.text for one in examples]
    if mean is None:
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
    return Rows(texts, vectors, mean, np.array([one.counts for one in examples]))


def fit_head(
    texts: Sequence[str],
    vectors: Vectors,
    labels: Sequence[str],
    classes: Sequence[str],
    *,
    logistic: bool,
    seed: int = 7,
    counts: Sequence[float] | None = None,
) -> Classifier:
    """One head, as every head of understanding is fitted, without any calibration."""
    return classifier.fit(
        texts,
        vectors,
        labels,
        classes,
        seed=seed,
        examples=False,
        blend=BLEND,
        logistic=logistic,
        balanced=logistic,
        counts=counts,
    )


def _fitted(job: Job, rows: Rows, seed: int) -> tuple[Classifier, dict[str, Any]]:
    """The head with its temperature, and what it got right in folds."""
    texts, vectors = rows.some(job.chosen)
    counts = rows.counts[job.chosen]

    def fitted(numbers: npt.NDArray[np.int64]) -> Classifier:
        return fit_head(
            [texts[n] for n in numbers],
            vectors[numbers],
            [job.labels[n] for n in numbers],
            job.classes,
            logistic=job.logistic,
            seed=seed,
            counts=counts[numbers].tolist(),
        )

    truth = np.array([job.classes.index(label) for label in job.labels])
    margins = np.zeros((len(texts), len(job.classes)), np.float32)
    least = min(Counter(job.labels).values())
    if least < 2:
        model = replace(fitted(np.arange(len(texts))), confidence=Confidence(temperature=SOFTER))
        return model, {"figures": "none: something is said by one example only"}
    folds: Any = StratifiedKFold(min(_FOLDS, least), shuffle=True, random_state=seed)
    # Of many messages the first fold tells as much as all of them.
    splits = list(folds.split(texts, truth))[: 1 if len(texts) >= _MANY else None]
    for learnt, held in splits:
        part = fitted(np.asarray(learnt))
        margins[held] = classifier.margins(part, [texts[n] for n in held], vectors[held])
    tried = np.concatenate([held for _, held in splits])
    temperature = round(classifier.temperature(margins[tried], truth[tried]) * SOFTER, 4)
    confidence = Confidence(temperature=temperature)
    model = replace(fitted(np.arange(len(texts))), confidence=confidence)
    return model, _in_folds(job, confidence.shares(margins[tried]), truth[tried])


def _in_folds(
    job: Job, shares: npt.NDArray[np.float64], truth: npt.NDArray[np.int64]
) -> dict[str, Any]:
    """What fits that had not seen a message said of it."""
    right = shares.argmax(1) == truth
    found: dict[str, Any] = {
        "figures": "for messages that the fit had not seen; the same authors wrote what it had, so this is no "
        "figure of quality",
        "messages": len(truth),
        "accuracy": round(float(right.mean()), 4),
        "ece": round(classifier.calibration_error(shares.max(1), right), 4),
    }
    if job.name in THRESHOLDS:
        there, said = truth == 1, shares[:, 1] >= THRESHOLDS[job.name]
        found |= {
            "auroc": round(float(roc_auc_score(there, shares[:, 1])), 4),
            "found": round(float(said[there].mean()), 4),
            "false_alarms": round(float(said[~there].mean()), 4),
        }
    return found


def _add_mean(file: Path, mean: Vectors) -> None:
    from safetensors.numpy import load_file

    tensors: Any = load_file(file)
    save_file({**tensors, "mean": np.ascontiguousarray(mean)}, file)
