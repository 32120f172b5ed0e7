"""The list of what we ship: every artefact with its digest, its lineage and its figures."""

from __future__ import annotations

import argparse
import hashlib
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any, cast

from models.train.domain import DOMAIN


def digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def read(models: Path) -> dict[str, Any]:
    path = models / "manifest.json"
    return json.loads(path.read_text("utf-8")) if path.exists() else {"version": 1, "artefacts": []}


def find(models: Path, role: str, kind: str) -> dict[str, Any] | None:
    found = [a for a in read(models)["artefacts"] if (a["role"], a["kind"]) == (role, kind)]
    return found[0] if found else None


#: The folders behind the short names that lineages use.
SETS = {
    "bitext": ("intent_bitext_support",),
    "clinc": ("intent_clinc150",),
    "hint3": ("intent_hint3_sofmattress",),
    "goemotions": ("emotion_goemotions",),
    "azure": ("actions_azure_mcp",),
    "medusa": ("actions_rest_medusa",),
    "stripe": ("actions_rest_stripe_twilio",),
    "twilio": ("actions_rest_stripe_twilio",),
    "sgd": ("actions_sgd_intents",),
    "bitext+cucom": ("intent_bitext_support", "dialogues_cucom_ecommerce"),
}
ROOT = Path(__file__).resolve().parents[2]


def own_files(domain: Path) -> list[Path]:
    """What a business has written for its models to learn from: every file of its examples, and its intents."""
    examples = domain / "examples"
    files = [*examples.rglob("*.yaml"), *examples.rglob("*.jsonl")]
    return [*sorted(files), domain / "intents.yaml"]


def data_digests(
    names: Iterable[str], data: Path | None, domain: Path = DOMAIN.folder
) -> dict[str, str]:
    """Digest of each set a lineage names, of all its files; ``own`` is what the business of the folder
    ``domain`` wrote, and a business beside it goes by its folder's name. Sets that are not there are left out: nothing is made up."""
    found: dict[str, str] = {}
    for name in names:
        folders = SETS.get(name, (name,))
        if name == "own":
            found[name] = _digest_of(domain.parent, own_files(domain))
        elif (domain.parent / name / "domain.yaml").exists():
            found[name] = _digest_of(domain.parent, own_files(domain.parent / name))
        elif data is not None and all((data / folder).is_dir() for folder in folders):
            files = [f for folder in folders for f in sorted((data / folder).rglob("*.json*"))]
            found[name] = _digest_of(data, files)
    return found


def _digest_of(root: Path, files: Iterable[Path]) -> str:
    lines = [f"{digest(file)}  {file.relative_to(root).as_posix()}\n" for file in files]
    return hashlib.sha256("".join(lines).encode()).hexdigest()


def _licence(data: Any) -> dict[str, str]:
    """What the sets together are licensed under, where the lineage says it of each."""
    if not isinstance(data, dict):
        return {}
    described = cast("dict[str, dict[str, Any]]", data)
    named = dict.fromkeys(str(one["licence"]) for one in described.values() if "licence" in one)
    return {"licence": "; ".join(named)} if named else {}


def record(
    models: Path,
    file: Path,
    entry: dict[str, Any],
    *,
    data: Path | None = None,
    domain: Path = DOMAIN.folder,
) -> dict[str, Any]:
    """Put the artefact's entry in the manifest in place of an older one of the same role and kind.

    ``data`` is the folder of the sets that its lineage names, ``domain`` that of the business whose own
    words are ``own``; the digests of both are written down with it."""
    manifest = read(models)
    lineage = entry.get("lineage", {})
    digests = data_digests(lineage.get("data", ()), data, domain)
    entry = {
        **entry,
        "lineage": {**_licence(lineage.get("data")), **lineage, "data_sha256": digests},
    }
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


def complete(models: Path, data: Path) -> int:
    """Write down the digests of the public sets that an entry names and has none of; how many were added.

    Our own phrases are left alone: they change, and only the training knows which it read."""
    manifest = read(models)
    added = 0
    for artefact in manifest["artefacts"]:
        lineage = artefact["lineage"]
        known = lineage.setdefault("data_sha256", {})
        names = [name for name in lineage.get("data", ()) if name not in (*known, "own")]
        found = data_digests(names, data)
        known |= found
        added += len(found)
    _write(models, manifest)
    return added


if __name__ == "__main__":
    arguments = argparse.ArgumentParser(description="Digest the public sets the manifest names.")
    arguments.add_argument("--data", type=Path, required=True, help="folder of the data sets")
    arguments.add_argument("--models", type=Path, default=ROOT / "models")
    given = arguments.parse_args()
    print(f"{complete(given.models, given.data)} digests added.")
