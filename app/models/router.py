"""A deployment's own router: its intents, the classifier that names them, and where each lane believes it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from app.models.classifier import Classifier, read
from app.models.manifest import HeadEntry, ManifestError, load_manifest, sha256_of
from tools.intents import Intents, IntentsInvalid, load_intents
from tools.values import Lane

INTENTS = "intents.yaml"
WEIGHTS = "router.safetensors"


@dataclass(frozen=True)
class Router:
    """What `signalbox train router` makes of intents and examples."""

    intents: Intents
    classifier: Classifier
    lanes: Mapping[Lane, float]  #: From this probability on a decision for the lane is believed.
    version: str  #: Digest of the weights; empty where they are nowhere but in memory.


def load_router(folder: Path) -> Router:
    """Read the artefact and verify it: raises ManifestError for a file that is not what was trained."""
    manifest = load_manifest(folder)
    entry = manifest.heads.get("intent")
    if entry is None:
        raise ManifestError(
            f"{folder} holds no router: make one with `signalbox train router --out {folder}`."
        )
    catalogue = folder / INTENTS
    if not catalogue.exists() or sha256_of(catalogue) != entry.intents_sha256:
        raise ManifestError(
            f"{catalogue} is missing or is not the file that was trained on: restore it, or train again "
            "with the new one."
        )
    try:
        intents = load_intents(catalogue)
    except IntentsInvalid as error:
        raise ManifestError(str(error)) from error
    lanes = cast("Mapping[Lane, float]", entry.lanes)
    return Router(intents, read_classifier(manifest.path(entry), entry), lanes, entry.version)


def read_classifier(path: Path, entry: HeadEntry) -> Classifier:
    """The classifier of a manifest entry."""
    from safetensors import numpy as safetensors_numpy

    try:
        tensors = cast("dict[str, Any]", safetensors_numpy.load_file(path))
        return read(
            tensors, entry.classes, blend=entry.blend or 0.0, confidence=entry.calibration()
        )
    except (KeyError, ValueError) as error:
        raise ManifestError(
            f"{path} does not fit its manifest ({error}): train it again."
        ) from error
