"""Shipped adapters and heads are what the manifest says they are."""

import json
import re
from pathlib import Path
from typing import Any

import pytest

from app.config import DEMO
from app.models.manifest import (
    SHIPPED,
    Manifest,
    ManifestError,
    base_model,
    load_manifest,
    sha256_of,
)
from app.models.release import LARGEST
from tests.models.conftest import adapter_entry, write_manifest


def test_no_manifest_means_no_adapters(tmp_path: Path) -> None:
    """A checkout without trained adapters still starts."""
    assert load_manifest(tmp_path).adapters == {}


def test_a_changed_file_costs_only_its_role(tmp_path: Path) -> None:
    """The reason names the file and says what to do; the other roles keep theirs. Strictly, nothing goes."""
    entries = [adapter_entry(tmp_path, "router"), adapter_entry(tmp_path, "evaluator")]
    with (tmp_path / "router.gguf").open("ab") as file:
        file.write(b"x")
    folder = write_manifest(tmp_path, entries)

    loaded = load_manifest(folder)

    assert list(loaded.adapters) == ["evaluator"]
    why = loaded.refusal("lora", "router") or ""
    assert re.search(r"router\.gguf has digest .* restore the file", why)
    assert loaded.refusal("lora", "evaluator") is None
    with pytest.raises(ManifestError, match=r"router\.gguf has digest"):
        load_manifest(folder, strict=True)


def test_a_missing_file_is_refused_by_name(tmp_path: Path) -> None:
    """The error names the file and says what to do."""
    entry = {"role": "router", "file": "gone.gguf", "sha256": "0" * 64, "kind": "lora"}

    why = load_manifest(write_manifest(tmp_path, [entry])).refusal("lora", "router") or ""

    assert re.search(r"gone\.gguf is missing.*restore it", why)


def test_an_adapter_of_another_base_is_refused(tmp_path: Path) -> None:
    """An adapter only makes sense on the base it was trained on."""
    entry = adapter_entry(tmp_path, "router", base_sha256="0" * 64)

    loaded = load_manifest(write_manifest(tmp_path, [entry]), base=base_model())

    assert loaded.adapters == {}
    assert "trained on a base model with digest 000000000000" in str(loaded.refused)


def test_an_adapter_of_this_base_is_accepted(tmp_path: Path) -> None:
    """The base is the file in the package, found without importing it."""
    entry = adapter_entry(tmp_path, "router", base_sha256=sha256_of(base_model()))

    loaded = load_manifest(write_manifest(tmp_path, [entry]), base=base_model())

    assert list(loaded.adapter_paths()) == ["router"]


def test_artefacts_of_other_kinds_are_left_to_their_readers(tmp_path: Path) -> None:
    """The pruner's cross-encoder stands in the same file."""
    entry = {"role": "pruner", "file": "p.onnx", "sha256": "0" * 64, "kind": "cross-encoder"}

    loaded = load_manifest(write_manifest(tmp_path, [entry]))

    assert (loaded.adapters, loaded.heads) == ({}, {})


def test_an_entry_of_the_wrong_form_is_refused(tmp_path: Path) -> None:
    """A head without classes cannot be used."""
    entry = {"role": "intent", "file": "h", "sha256": "0" * 64, "kind": "head"}

    loaded = load_manifest(write_manifest(tmp_path, [entry]))

    assert "not a valid manifest" in (loaded.refusal("head", "intent") or "")


def test_an_unreadable_manifest_refuses_every_role(tmp_path: Path) -> None:
    """Without it nobody knows which file is the right one."""
    (tmp_path / "manifest.json").write_text("{ half")

    loaded = load_manifest(tmp_path)

    assert "not a valid manifest" in (loaded.refusal("lora", "router") or "")


def test_a_folder_over_another_replaces_what_it_names(tmp_path: Path) -> None:
    """The rest stays; a changed file of the upper folder does not bring the lower one back."""
    lower, upper = tmp_path / "lower", tmp_path / "upper"
    for folder in (lower, upper):
        folder.mkdir()
    write_manifest(lower, [adapter_entry(lower, role) for role in ("router", "evaluator")])
    write_manifest(upper, [adapter_entry(upper, "router")])

    loaded = load_manifest(lower, over=[upper])
    (upper / "router.gguf").write_bytes(b"other")
    broken = load_manifest(lower, over=[upper])

    assert loaded.adapter_paths() == {
        "router": upper / "router.gguf",
        "evaluator": lower / "evaluator.gguf",
    }
    assert list(broken.adapters) == ["evaluator"]
    assert "router.gguf has digest" in (broken.refusal("lora", "router") or "")


#: Every folder of artefacts that the repository ships: the engine's, and each business's.
SHIPPING = [SHIPPED, DEMO / "models", DEMO.parent / "halden" / "models"]

#: What a reader needs to know of an artefact to trust it, or to make it again.
LINEAGE = {
    "base": {"base", "encoder"},
    "seed": {"seed"},
    "licence": {"licence"},
    "data": {"data"},
    "digests": {"data_sha256"},
    "metrics": {"dev", "held out", "held_back"},
}


@pytest.mark.parametrize("folder", SHIPPING, ids=lambda one: one.parent.name)
def test_every_shipped_artefact_says_where_it_comes_from(folder: Path) -> None:
    """Base, seed, licence, digests of the data and what was measured; and none is too large for git."""
    listed = json.loads((folder / "manifest.json").read_text())["artefacts"]

    lacking = {
        f"{each['kind']} {each['role']}": missing
        for each in listed
        if (
            missing := [what for what, any_of in LINEAGE.items() if not any_of & {*each["lineage"]}]
        )
    }
    assert lacking == {}
    assert {
        f"{each['kind']} {each['role']}": set(each["lineage"]["data"])
        for each in listed
        if set(each["lineage"]["data"]) != set(each["lineage"]["data_sha256"])
    } == {}
    assert [
        each["file"] for each in listed if (folder / each["file"]).stat().st_size > LARGEST
    ] == []
    assert load_manifest(folder, base=base_model(), strict=True).refused == {}


def a_prompt(folder: Path, role: str = "evaluator") -> dict[str, Any]:
    file = folder / f"{role}.md"
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text("Say how the plan goes on.")
    return {"kind": "prompt", "role": role, "file": file.name, "sha256": sha256_of(file)}


def test_the_last_of_adapter_and_prompt_is_used(tmp_path: Path, manifest: Manifest) -> None:
    """A prompt over an adapter takes its place, and an adapter over a prompt does."""
    prompted = write_manifest(tmp_path, [a_prompt(tmp_path)])
    over = load_manifest(manifest.folder, over=[prompted], strict=True)
    back = load_manifest(manifest.folder, over=[prompted, manifest.folder], strict=True)

    assert "evaluator" not in over.adapters
    assert over.prompt_for("evaluator") == "Say how the plan goes on."
    assert over.brought_by(prompted) == {("prompt", "evaluator")}
    assert "extractor" in over.adapters
    assert "evaluator" in back.adapters
    assert back.prompt_for("evaluator") is None


def test_adapter_and_prompt_in_one_folder_are_refused(tmp_path: Path, manifest: Manifest) -> None:
    """Adapters are trained without a prompt: which one was meant?"""
    own = adapter_entry(tmp_path, "evaluator")
    folder = write_manifest(tmp_path, [own, a_prompt(tmp_path)])

    with pytest.raises(ManifestError, match="leave one of them out"):
        load_manifest(manifest.folder, over=[folder], strict=True)


@pytest.mark.parametrize("harm", ["changed", "planner"])
def test_a_prompt_is_checked_like_any_artefact(
    tmp_path: Path, manifest: Manifest, harm: str
) -> None:
    """Its digest, and whether the role can run on one."""
    entry = a_prompt(tmp_path, "planner" if harm == "planner" else "evaluator")
    folder = write_manifest(tmp_path, [entry])
    if harm == "changed":
        (folder / entry["file"]).write_text("Approve everything.")

    with pytest.raises(ManifestError, match=r"has digest|not of planner"):
        load_manifest(manifest.folder, over=[folder], strict=True)
