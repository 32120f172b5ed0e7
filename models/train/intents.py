"""A router for a deployment's own intents: fitted in memory, or trained, measured and written to a folder."""

# The libraries of the training carry no types for strict checking.
# pyright: reportUnknownVariableType=false, reportUnknownArgumentType=false

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import yaml
from pydantic import BaseModel, ConfigDict, StringConstraints, ValidationError

from app.models.classifier import NO_INTENT, OUT_OF_SCOPE, Classifier, write
from app.models.router import INTENTS, WEIGHTS, Router
from models.train import classifier as fitting
from models.train import manifest
from models.train.encoder import Encoder, Vectors
from tools.intents import Intents, IntentsInvalid, derived, load_intents
from tools.values import Lane

Progress = Callable[[str, int, int], None]


class ExamplesInvalid(Exception):
    """The examples cannot be used."""

    def __init__(self, message: str | None = None) -> None:
        super().__init__(message or self.__doc__)


class _Example(BaseModel):
    model_config = ConfigDict(extra="ignore", frozen=True)

    text: Annotated[str, StringConstraints(min_length=1)]
    intent: Annotated[str, StringConstraints(min_length=1)] | None  #: null: out of scope.


def _quiet(what: str, done: int, of: int) -> None:
    """Progress that nobody looks at."""


def read_examples(path: Path) -> list[tuple[str, str]]:
    """(text, intent) of each line; a label like ``oos``, or null, means out of scope."""
    return list(_examples(path))


def _examples(path: Path) -> Iterator[tuple[str, str]]:
    import gzip

    try:
        opened = gzip.open if path.suffix == ".gz" else open
        with opened(path, "rt", encoding="utf-8-sig") as lines:
            for number, line in enumerate(lines, 1):
                if line.strip():
                    yield _example(line, f"{path.name}, line {number}")
    except (OSError, UnicodeError) as error:
        raise ExamplesInvalid(f"{path} cannot be read: {error}") from error


def _example(line: str, where: str) -> tuple[str, str]:
    try:
        row = _Example.model_validate(json.loads(line))
    except ValidationError as error:
        found = (f"{'.'.join(map(str, e['loc'])) or 'line'}: {e['msg']}" for e in error.errors())
        raise ExamplesInvalid(
            f'{where}: {"; ".join(found)}. A line is {{"text": ..., "intent": ...}}.'
        ) from error
    except ValueError as error:
        raise ExamplesInvalid(f"{where}: not JSON: {error}") from error
    label = row.intent
    return row.text, OUT_OF_SCOPE if label is None or label.lower() in NO_INTENT else label


@dataclass(frozen=True)
class Taught:
    """What a router learns from."""

    intents: Intents
    texts: tuple[str, ...]
    labels: tuple[str, ...]

    @property
    def classes(self) -> tuple[str, ...]:
        outside = (OUT_OF_SCOPE,) if OUT_OF_SCOPE in self.labels else ()
        return tuple(dict.fromkeys([*self.intents.names, *outside]))


def taught(intents: Path | None, examples: Path | None) -> Taught:
    """The catalogue with its own examples and those of the file; either may be missing, not both.

    Raises IntentsInvalid or ExamplesInvalid; the message says what to do."""
    given = read_examples(examples) if examples is not None else []
    if intents is None and not given:
        raise ExamplesInvalid("There is nothing to learn from: give --intents, --examples or both.")
    catalogue = (
        load_intents(intents)
        if intents is not None
        else derived(pair for pair in given if pair[1] != OUT_OF_SCOPE)
    )
    unknown = sorted({name for _, name in given} - {*catalogue.names, OUT_OF_SCOPE})
    if unknown:
        raise IntentsInvalid(
            f"{examples}: no such intent in {intents}: {', '.join(unknown[:8])}. Add it there, "
            "or leave --intents out."
        )
    if len(catalogue.names) < 2:
        raise IntentsInvalid("A router chooses between at least two intents.")
    own = [] if intents is None else [(t, i.name) for i in catalogue.intents for t in i.examples]
    pairs = list(dict.fromkeys([*own, *given]))
    return Taught(catalogue, tuple(t for t, _ in pairs), tuple(name for _, name in pairs))


def fitted(
    material: Taught, *, seed: int = 7, progress: Progress = _quiet, vectors: Vectors | None = None
) -> tuple[Router, dict[str, Any]]:
    """The router, calibrated on messages it had not seen, and what it got right of them."""
    texts, labels, classes = material.texts, material.labels, material.classes
    if vectors is None:
        vectors = embedded(texts, progress)
    held = fitting.held_out(texts, vectors, labels, classes, seed=seed, progress=progress)
    progress("fitting", 0, 1)
    model = fitting.fit(texts, vectors, labels, classes, seed=seed)
    declared = OUT_OF_SCOPE in material.intents.names
    model = fitting.calibrated(model, held, declared=declared)
    progress("fitting", 1, 1)
    lanes, figures = _measured(material, model, held)
    return Router(material.intents, model, lanes, version=""), figures


def embedded(texts: Sequence[str], progress: Progress = _quiet) -> Vectors:
    done = 0

    def count(more: int) -> None:
        nonlocal done
        done += more
        progress("reading the examples", done, len(texts))

    return Encoder().embed(texts, progress=count)


def _measured(
    material: Taught, model: Classifier, held: fitting.Held
) -> tuple[dict[Lane, float], dict[str, Any]]:
    """The threshold of each lane, and the figures of the held-out decisions."""
    classes, intents = model.classes, material.intents
    chosen, score = fitting.ranked(classes, model.confidence, held.margins, held.likeness)
    sure = model.confidence.of(score)
    truth = np.array([classes.index(label) for label in held.labels])
    right, inside = chosen == truth, np.array([label != OUT_OF_SCOPE for label in held.labels])
    known: dict[str, Lane] = {name: intents.lane(name) for name in intents.names}
    lanes: list[Lane] = [known.get(classes[int(number)], "direct") for number in chosen]
    thresholds: dict[Lane, float] = {}
    for name in sorted(set(known.values())):
        here = np.array([lane == name for lane in lanes])
        thresholds[name] = fitting.cheapest(
            sure[here], right[here], intents.costs.wrong(name), intents.costs.ask
        )
    kept = sure >= np.array([thresholds.get(lane, 1.0) for lane in lanes])
    figures: dict[str, Any] = {
        "held out": len(right),
        "accuracy": round(float(right[inside].mean()), 4),
        "ece": round(fitting.calibration_error(sure[inside], right[inside]), 4),
        "coverage": round(float(kept[inside].mean()), 4),
        "accuracy_kept": round(float(right[inside & kept].mean()), 4) if (inside & kept).any() else None,
    }  # fmt: skip
    if not inside.all():
        from sklearn.metrics import roc_auc_score

        auroc: Any = roc_auc_score(inside, sure)
        figures["out_of_scope_auroc"] = round(float(auroc), 4)
    return thresholds, figures


def train(
    intents: Path | None,
    examples: Path | None,
    out: Path,
    *,
    seed: int = 7,
    progress: Progress = _quiet,
) -> dict[str, Any]:
    """Fit, measure, write the artefact to the folder ``out``, and return its manifest entry."""
    material = taught(intents, examples)
    router, figures = fitted(material, seed=seed, progress=progress)
    sources = [path for path in (intents, examples) if path is not None]
    return write_router(router, out, material=material, sources=sources, seed=seed, figures=figures)


def write_router(
    router: Router,
    out: Path,
    *,
    material: Taught,
    sources: Sequence[Path],
    seed: int,
    figures: dict[str, Any],
) -> dict[str, Any]:
    """The catalogue, the weights and the manifest that vouches for both, in a folder."""
    out.mkdir(parents=True, exist_ok=True)
    text = yaml.safe_dump(
        router.intents.model_dump(mode="json", exclude_defaults=True),
        allow_unicode=True,
        sort_keys=False,
    )
    (out / INTENTS).write_text(text, "utf-8")
    write(router.classifier, out / WEIGHTS)
    confidence = router.classifier.confidence
    return manifest.record(
        out,
        out / WEIGHTS,
        {
            "role": "intent",
            "kind": "head",
            "classes": list(router.classifier.classes),
            "temperature": confidence.temperature,
            "intents_sha256": manifest.digest(out / INTENTS),
            "blend": router.classifier.blend,
            "confidence": {
                "near": confidence.near,
                "slope": confidence.slope,
                "offset": confidence.offset,
                "declared": confidence.declared,
            },
            "lanes": router.lanes,
            "lineage": {
                "encoder": Encoder.release(),
                "method": "linear SVM on sentence vector, words and word pieces; calibrated on held-out messages",
                "seed": seed,
                "examples": len(material.texts),
                "data": {path.name: manifest.digest(path) for path in sources},
                "costs": router.intents.costs.model_dump(),
                "dev": figures,
            },
        },
    )
