"""What is live is chosen by a file: promoted, verified at every start, rolled back."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file
from typer.testing import CliRunner

from app.cli import app
from app.config import Settings
from app.doctor import examine
from app.models.encoder import DIMENSIONS, OnnxEncoder
from app.models.manifest import SHIPPED, Manifest, ManifestError, load_manifest, sha256_of
from app.models.release import ReleaseError, Releases
from app.models.trial import Trial
from tests.models.conftest import write_manifest
from tests.northfell import NORTHFELL

CLASSES = ["greeting", "order_status"]


def a_release(folder: Path, favourite: str) -> Path:
    """A folder with an intent head that always says the same."""
    folder.mkdir(parents=True)
    bias = np.array([9.0 if name == favourite else 0.0 for name in CLASSES], dtype=np.float32)
    file = folder / "intent.safetensors"
    save_file({"weight": np.zeros((2, DIMENSIONS), dtype=np.float32), "bias": bias}, file)
    entry = {
        "role": "intent",
        "kind": "head",
        "file": file.name,
        "sha256": sha256_of(file),
        "classes": CLASSES,
    }
    return write_manifest(folder, [entry])


@pytest.fixture
def shipped(tmp_path: Path) -> Path:
    return a_release(tmp_path / "shipped", "greeting")


@pytest.fixture
def releases(tmp_path: Path, shipped: Path) -> Releases:
    (tmp_path / "data").mkdir()
    return Releases(tmp_path / "data", NORTHFELL, shipped=shipped)


async def said(manifest: Manifest) -> str:
    return (await OnnxEncoder(manifest).classify("intent", "hello")).option


async def test_a_promoted_folder_decides_until_it_is_rolled_back(tmp_path, releases):
    """It is a copy: what happens to the folder afterwards does not matter."""
    candidate = a_release(tmp_path / "candidate", "order_status")
    before = await said(releases.manifest())

    releases.promote(candidate, by="olga", note="better")
    (candidate / "intent.safetensors").unlink()
    during = await said(releases.manifest())
    releases.rollback(by="olga")

    assert [before, during, await said(releases.manifest())] == [
        "greeting",
        "order_status",
        "greeting",
    ]
    assert [(c.action, c.by, c.note) for c in releases.history()] == [
        ("promote", "olga", "better"),
        ("rollback", "olga", ""),
    ]


async def test_rolling_back_twice_goes_back_twice(tmp_path, releases):
    """Each rollback undoes one promotion, then there is nothing left to undo."""
    first = releases.promote(a_release(tmp_path / "one", "order_status"), by="o")
    releases.promote(a_release(tmp_path / "two", "greeting"), by="o")

    assert releases.rollback(by="o").digest == first.digest
    assert releases.rollback(by="o").digest is None
    with pytest.raises(ReleaseError, match="Nothing to roll back"):
        releases.rollback(by="o")


@pytest.mark.parametrize("harm", ["changed", "missing", "no manifest", "outside"])
def test_what_is_not_intact_is_not_promoted(tmp_path, releases, harm):
    """The live release stays what it was."""
    candidate = a_release(tmp_path / "candidate", "order_status")
    file = candidate / "intent.safetensors"
    if harm == "changed":
        file.write_bytes(b"other")
    elif harm == "missing":
        file.unlink()
    elif harm == "no manifest":
        (candidate / "manifest.json").unlink()
    else:
        document = json.loads((candidate / "manifest.json").read_text())
        document["artefacts"][0]["file"] = "../shipped/intent.safetensors"
        document["artefacts"][0]["sha256"] = sha256_of(tmp_path / "shipped" / "intent.safetensors")
        (candidate / "manifest.json").write_text(json.dumps(document))

    with pytest.raises(ReleaseError):
        releases.promote(candidate, by="olga")

    assert releases.live() is None


async def test_a_file_changed_after_the_promotion_costs_its_role_only(tmp_path, releases):
    """The role goes to its fallback, and the reason names the file."""
    change = releases.promote(a_release(tmp_path / "candidate", "order_status"), by="olga")
    (releases.folder(change.digest) / "intent.safetensors").write_bytes(b"other")

    manifest = releases.manifest()

    with pytest.raises(ManifestError, match=r"intent\.safetensors has digest"):
        await said(manifest)


async def test_a_manifest_changed_after_the_promotion_brings_back_what_is_shipped(
    tmp_path, releases
):
    """Its digests can no longer be believed."""
    change = releases.promote(a_release(tmp_path / "candidate", "order_status"), by="olga")
    manifest = releases.folder(change.digest) / "manifest.json"
    manifest.write_text(manifest.read_text() + " ")

    live = releases.manifest()

    assert await said(live) == "greeting"
    assert "is not the release" in str(live.refused)


def test_a_broken_release_file_brings_back_what_is_shipped(tmp_path, releases):
    """And says how to mend it."""
    (tmp_path / "data" / "release.json").write_text("{ half")

    assert "cannot be read" in str(releases.manifest().refused)


def test_the_commands_change_what_is_live(tmp_path, monkeypatch):
    """promote, releases and rollback on the data folder of the settings; the doctor sees a broken one."""
    data = tmp_path / "data"
    monkeypatch.setenv("SIGNALBOX_DATA_DIR", str(data))
    candidate = a_release(tmp_path / "candidate", "order_status")
    run = CliRunner().invoke

    promoted = run(app, ["promote", str(candidate), "--note", "trial"])
    digest = str(Releases(data, NORTHFELL).live().digest)
    (Releases(data, NORTHFELL).folder(digest) / "intent.safetensors").write_bytes(b"other")
    settings = Settings(_env_file=None, data_dir=data)  # type: ignore[call-arg]
    bad = [f.what for f in examine(settings) if f.state == "bad"]
    listed = run(app, ["releases"])
    back = run(app, ["rollback"])
    again = run(app, ["rollback"])

    assert (promoted.exit_code, listed.exit_code, back.exit_code, again.exit_code) == (0, 0, 0, 1)
    assert digest[:12] in promoted.output
    assert "trial" in listed.output
    assert "head intent" in bad
    assert Releases(data, NORTHFELL).live().digest is None


def test_a_candidate_that_is_not_intact_is_not_tried(tmp_path, shipped):
    """It has a reason, and nothing else changes; an intact one brings only what it names."""
    live = load_manifest(shipped)
    candidate = a_release(tmp_path / "candidate", "order_status")

    intact = Trial.of(candidate, live, SHIPPED / "manifest.json", NORTHFELL)
    (candidate / "intent.safetensors").write_bytes(b"other")
    broken = Trial.of(candidate, live, SHIPPED / "manifest.json", NORTHFELL)

    assert (intact.problem, intact.adapters) == (None, set())
    assert intact.manifest.path(intact.manifest.heads["intent"]).parent == candidate
    assert "has digest" in (broken.problem or "")
