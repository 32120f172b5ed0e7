"""Shipped adapters and heads are what the manifest says they are."""

from pathlib import Path

import pytest

from app.models.manifest import ManifestError, base_model, load_manifest, sha256_of
from tests.models.conftest import adapter_entry, write_manifest


def test_no_manifest_means_no_adapters(tmp_path: Path) -> None:
    """A checkout without trained adapters still starts."""
    assert load_manifest(tmp_path).adapters == {}


def test_a_changed_file_is_refused_by_name(tmp_path: Path) -> None:
    """The error names the file and says what to do."""
    entry = adapter_entry(tmp_path, "router")
    with (tmp_path / "router.gguf").open("ab") as file:
        file.write(b"x")

    with pytest.raises(ManifestError, match=r"router\.gguf has digest .* restore the file"):
        load_manifest(write_manifest(tmp_path, [entry]))


def test_a_missing_file_is_refused_by_name(tmp_path: Path) -> None:
    """The error names the file and says what to do."""
    entry = {"role": "router", "file": "gone.gguf", "sha256": "0" * 64, "kind": "lora"}

    with pytest.raises(ManifestError, match=r"gone\.gguf is missing.*restore it"):
        load_manifest(write_manifest(tmp_path, [entry]))


def test_an_adapter_of_another_base_is_refused(tmp_path: Path) -> None:
    """An adapter only makes sense on the base it was trained on."""
    entry = adapter_entry(tmp_path, "router", base_sha256="0" * 64)

    with pytest.raises(ManifestError, match="trained on a base model with digest 000000000000"):
        load_manifest(write_manifest(tmp_path, [entry]), base=base_model())


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


def test_a_manifest_of_the_wrong_form_is_refused(tmp_path: Path) -> None:
    """A head without classes cannot be used."""
    entry = {"role": "intent", "file": "h", "sha256": "0" * 64, "kind": "head"}

    with pytest.raises(ManifestError, match="not a valid manifest"):
        load_manifest(write_manifest(tmp_path, [entry]))
