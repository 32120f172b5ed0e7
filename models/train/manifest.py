"""The list of what we ship: every artefact with its digest, its lineage and its figures."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any


def digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def read(models: Path) -> dict[str, Any]:
    path = models / "manifest.json"
    return json.loads(path.read_text("utf-8")) if path.exists() else {"version": 1, "artefacts": []}


def find(models: Path, role: str, kind: str) -> dict[str, Any] | None:
    found = [a for a in read(models)["artefacts"] if (a["role"], a["kind"]) == (role, kind)]
    return found[0] if found else None


def record(models: Path, file: Path, entry: dict[str, Any]) -> dict[str, Any]:
    """Put the artefact's entry in the manifest in place of an older one of the same role and kind."""
    manifest = read(models)
    full = {
        "role": entry["role"],
        "file": file.relative_to(models).as_posix(),
        "sha256": digest(file),
        **{key: value for key, value in entry.items() if key != "role"},
    }
    kept = [
        a for a in manifest["artefacts"] if (a["role"], a["kind"]) != (full["role"], full["kind"])
    ]
    manifest["artefacts"] = sorted([*kept, full], key=lambda a: (a["kind"], a["role"]))
    _write(models, manifest)
    return full


def annotate(models: Path, role: str, kind: str, **lineage: Any) -> None:
    """Add to the lineage of an artefact that is already listed, for example what was measured later."""
    manifest = read(models)
    for artefact in manifest["artefacts"]:
        if (artefact["role"], artefact["kind"]) == (role, kind):
            artefact["lineage"].update(lineage)
    _write(models, manifest)


def _write(models: Path, manifest: dict[str, Any]) -> None:
    text = json.dumps(manifest, indent=2, ensure_ascii=False) + "\n"
    (models / "manifest.json").write_text(text, "utf-8")
