"""The heads that understand a turn: what their training writes down, and that it fits what was read."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from app.models.classifier import Terms
from app.models.manifest import ManifestError, load_manifest
from app.models.turn_heads import read_turn_head
from models.train import manifest
from models.train.understanding import Example, ExamplesInvalid, Source, read_examples, train
from tests.models.test_manifest import LINEAGE

WISHES = {
    "book": ["a table for two", "book a table please", "reserve a place at eight", "a seat by the window"],
    "cancel": ["cancel my table", "we are not coming", "call the booking off", "drop my reservation"],
    "fire": ["the kitchen burns", "there is smoke in the hall", "flames at table four", "it smells of burning"],
}  # fmt: skip
UPSET = {"we are not coming", "flames at table four", "call the booking off", "the kitchen burns"}


@pytest.fixture(scope="module")
def business(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with examples, one of which wants two things, and who wrote them."""
    folder = tmp_path_factory.mktemp("inn")
    lines = [
        {"text": text, "intent": name, "upset": text in UPSET}
        for name, texts in WISHES.items()
        for text in texts
    ]
    lines += [
        {"text": f"a table for two and {text}", "intents": ["book", "cancel"], "lang": "de"}
        for text in ("cancel the other", "drop the first", "call off mine")
    ]
    file = folder / "examples" / "turns" / "host.jsonl"
    file.parent.mkdir(parents=True)
    file.write_text("".join(json.dumps(line) + "\n" for line in lines), "utf-8")
    (folder / "examples" / "source.yaml").write_text("written_by: the host\nlicence: CC0\n")
    (folder / "intents.yaml").write_text("intents: []\n")
    return folder


def taught(business: Path, out: Path) -> None:
    train(
        read_examples(sorted((business / "examples").rglob("*.jsonl"))),
        out,
        domain=business,
        incidents={"fire"}.__contains__,
        source=Source.of(business / "examples"),
    )


@pytest.fixture(scope="module")
def heads(business: Path) -> Path:
    """What the training wrote."""
    taught(business, business / "models")
    return business / "models"


def test_every_head_says_where_it_comes_from(business: Path, heads: Path) -> None:
    """By the training itself: who wrote what it learnt, under which licence, with which digest, and how it did."""
    listed = manifest.read(heads)["artefacts"]

    assert {each["role"] for each in listed} == {"intent", "complexity", "incident", "frustration"}
    for each in listed:
        lineage = each["lineage"]
        assert [what for what, any_of in LINEAGE.items() if not any_of & {*lineage}] == []
        assert lineage["licence"] == "CC0"
        assert lineage["written by"] == "the host"
        assert lineage["data_sha256"] == manifest.data_digests(["own"], None, business)
        assert lineage["dev"]["messages"] == lineage["data"]["own"]["messages"]
        assert 0 <= lineage["dev"]["accuracy"] <= 1
    of = {each["role"]: each["lineage"] for each in listed}
    assert of["intent"]["data"]["own"]["messages"] == 12  # what wants two things has no intent
    assert of["complexity"]["data"]["own"]["messages"] == 15
    assert of["complexity"]["languages"] == {"en": 12, "de": 3}
    assert {"auroc", "found", "false_alarms"} <= set(of["incident"]["dev"])


@pytest.mark.parametrize(
    "changed", ["examples/turns/host.jsonl", "examples/a.yaml", "intents.yaml"]
)
def test_a_changed_line_changes_the_digest_of_what_a_business_wrote(
    business: Path, heads: Path, changed: str
) -> None:
    """Of its labelled messages too, in whatever folder of the examples they stand."""
    before = manifest.data_digests(["own"], None, business)
    file = business / changed
    kept = file.read_text() if file.exists() else None

    file.write_text((kept or "") + "\n")
    after = manifest.data_digests(["own"], None, business)
    if kept is None:
        file.unlink()
    else:
        file.write_text(kept)

    assert after["own"] != before["own"]
    assert manifest.data_digests(["own"], None, business) == before


def test_a_weight_is_a_byte_and_the_head_decides_with_it(heads: Path) -> None:
    """The file holds bytes, and what is read from it knows its messages."""
    entry = load_manifest(heads, strict=True).heads["intent"]
    path = heads / entry.file

    tensors = load_file(path)
    head = read_turn_head(path, entry)

    assert tensors["words.weight"].dtype == tensors["pieces.weight"].dtype == np.int8
    assert set(head.classifier.classes) == set(WISHES)
    nothing = np.zeros(384, np.float32)
    told = {text: head.decide(text, nothing, None)[0] for text in ("the kitchen burns", "a table")}
    assert told == {"the kitchen burns": "fire", "a table": "book"}


@pytest.mark.parametrize("harm", ["without a scale", "with a reader of tokens"])
def test_a_file_that_is_not_all_that_decides_is_refused(
    heads: Path, tmp_path: Path, harm: str
) -> None:
    """Weights without what scales them, or a part that nobody reads any more: neither is read as something else."""
    entry = load_manifest(heads, strict=True).heads["intent"]
    tensors = load_file(heads / entry.file)
    if harm == "without a scale":
        del tensors["words.scale"]
    else:
        tensors["reader.out"] = np.zeros((2, 2), np.float32)
    save_file(tensors, tmp_path / "lost.safetensors")

    with pytest.raises(ManifestError, match="does not fit its manifest"):
        read_turn_head(tmp_path / "lost.safetensors", entry)


def test_weights_in_bytes_score_as_the_weights_do() -> None:
    """Within half a step of each class, whatever the size of its weights."""
    rng = np.random.default_rng(5)
    vocabulary = {f"term{n}": n for n in range(400)}
    weight = (rng.normal(size=(400, 3)) * [0.01, 1.0, 30.0]).astype(np.float32)
    idf = rng.uniform(1, 4, 400).astype(np.float32)
    exact, small = Terms(vocabulary, idf, weight), Terms.in_bytes(vocabulary, idf, weight)

    assert small.scale is not None
    for size in (1, 5, 60):
        found = [f"term{n}" for n in rng.integers(0, 400, size)]
        # A row has length one, so that of 60 terms each counts for about an eighth.
        off = np.abs(exact.score(found) - small.score(found))
        assert (off <= small.scale * 0.5 * np.sqrt(size) + 1e-6).all()


@pytest.mark.parametrize("text", ["licence: ''", "author: me", "- a list"])
def test_a_source_that_says_nothing_is_refused(tmp_path: Path, text: str) -> None:
    """Unknown keys are typing slips; without the file the examples are the business's own."""
    assert Source.of(tmp_path) == Source()
    (tmp_path / "source.yaml").write_text(text)

    with pytest.raises(ExamplesInvalid, match=r"source\.yaml"):
        Source.of(tmp_path)


def test_an_example_wants_something() -> None:
    """One wish, or several; not both and not neither."""
    assert Example(text="hi", intent="book").wanted == ("book",)
    assert Example(text="hi", intents=("book", "cancel")).wanted == ("book", "cancel")
    for wrong in ({}, {"intent": "book", "intents": ("book", "cancel")}):
        with pytest.raises(ValueError, match="give intent"):
            Example(text="hi", **wrong)  # type: ignore[arg-type]
