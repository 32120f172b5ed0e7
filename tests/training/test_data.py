"""The public sets and how their labels become ours; rows here are our own, in the sets' shape."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import numpy as np
import pytest

from models.train import data, heads, manifest
from models.train.classifier import calibration_error
from models.train.data import DataMissing
from tests.northfell import NORTHFELL


def test_every_mapped_label_is_an_intent() -> None:
    """The table cannot name an intent that does not exist."""
    names = set(NORTHFELL.intents.names)

    for source in ("bitext", "clinc", "hint3"):
        assert set(data.mapping()[source].values()) <= names


def test_labels_are_translated_and_dev_is_never_learnt(tmp_path: Path) -> None:
    """Training rows become intents; dev rows are for measuring only; unknown labels are left out."""
    folder = tmp_path / "intent_bitext_support"
    folder.mkdir()
    lines = [
        {"text": "i wish to stop purchase 5", "intent": "cancel_order", "entity": None},
        {"text": "something else", "intent": "never_heard_of", "entity": None},
    ]
    with gzip.open(folder / "train.jsonl.gz", "wt") as opened:
        opened.write("\n".join(json.dumps(line) for line in lines))
    (folder / "dev.jsonl").write_text(json.dumps(lines[0]))

    assert [m.label for m in data.bitext(tmp_path, "train")] == ["cancel_order"]
    assert [m.part for m in data.bitext(tmp_path, "dev")] == ["test"]


def test_a_missing_set_says_what_to_do(tmp_path: Path) -> None:
    """The message names the option that is wrong."""
    with pytest.raises(DataMissing, match="--data"):
        list(data.rows(tmp_path, "nothing"))


def test_a_head_learns_and_its_probabilities_are_those_of_being_right() -> None:
    """On separable vectors with some noise, calibrated on others than it is measured on."""
    rng = np.random.default_rng(0)
    classes = ("a", "b", "c")
    truth = rng.integers(0, 3, 600)
    vectors = (np.eye(3)[truth] + rng.normal(0, 0.35, (600, 3))).astype(np.float32)
    labels = [classes[index] for index in truth]

    head = heads.fit(vectors[:300], labels[:300], classes, 10.0, seed=1)
    head = heads.calibrated(head, vectors[300:450], labels[300:450])
    fresh = head.probabilities(vectors[450:])
    sure = fresh.max(1)
    right = fresh.argmax(1) == truth[450:]

    assert right[sure >= 0.9].mean() > right.mean()
    assert right[sure >= 0.9].mean() >= 0.95
    assert calibration_error(sure, right) < 0.1


def test_two_classes_give_one_row_each() -> None:
    """A head with two classes has the same shape of file as one with many."""
    vectors = np.array([[1, 0], [0.9, 0.1], [0, 1], [0.1, 0.9]], np.float32)

    head = heads.fit(vectors, ["no", "no", "yes", "yes"], ("no", "yes"), 10.0, seed=1)

    assert head.weight.shape == (2, 2)
    assert head.probabilities(vectors).argmax(1).tolist() == [0, 0, 1, 1]


def test_the_manifest_replaces_an_artefact_of_the_same_role(tmp_path: Path) -> None:
    """A second training leaves one entry, with the new file's digest."""
    file = tmp_path / "heads" / "x.safetensors"
    file.parent.mkdir()
    for content in (b"one", b"two"):
        file.write_bytes(content)
        manifest.record(tmp_path, file, {"role": "x", "kind": "head", "lineage": {}})
    manifest.annotate(tmp_path, "x", "head", measured=1)

    artefacts = manifest.read(tmp_path)["artefacts"]
    assert [(a["sha256"], a["lineage"]) for a in artefacts] == [
        (manifest.digest(file), {"data_sha256": {}, "measured": 1})
    ]
