"""The real embedded model with small random adapters, since the tests need their effect and not their sense."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator
from pathlib import Path
from typing import Any

import gguf
import numpy as np
import pytest

from app.models.embedded import EmbeddedServer, EmbeddedSmallModel
from app.models.manifest import Manifest, base_model, load_manifest, sha256_of

LABELS = {"order": "order", "account": "account", "other": "no"}
_SHAPES = {"attn_q": (576, 576), "attn_k": (576, 192), "ffn_down": (1536, 576)}


def random_adapter(path: Path, *, seed: int, size: float = 0.1, rank: int = 4) -> Path:
    """A LoRA adapter that changes what the model says, to nonsense."""
    random = np.random.default_rng(seed)
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_type("adapter")
    writer.add_string("adapter.type", "lora")
    writer.add_float32("adapter.lora.alpha", 2.0 * rank)
    for layer in range(30):
        for name, (width, height) in _SHAPES.items():
            stem = f"blk.{layer}.{name}.weight"
            a = random.normal(0, size, (rank, width)).astype(np.float16)
            b = random.normal(0, size, (height, rank)).astype(np.float16)
            writer.add_tensor(f"{stem}.lora_a", a)
            writer.add_tensor(f"{stem}.lora_b", b)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def write_manifest(folder: Path, artefacts: list[dict[str, Any]]) -> Path:
    (folder / "manifest.json").write_text(json.dumps({"version": 1, "artefacts": artefacts}))
    return folder


def adapter_entry(folder: Path, role: str, **more: Any) -> dict[str, Any]:
    file = random_adapter(folder / f"{role}.gguf", seed=len(role))
    return {"role": role, "file": file.name, "sha256": sha256_of(file), "kind": "lora", **more}


@pytest.fixture(scope="session")
def manifest(tmp_path_factory: pytest.TempPathFactory) -> Manifest:
    """Four random adapters, of which the router's has labels."""
    folder = tmp_path_factory.mktemp("models")
    entries = [
        adapter_entry(folder, "router", labels=LABELS),
        adapter_entry(folder, "extractor"),
        adapter_entry(folder, "evaluator"),
        adapter_entry(folder, "planner"),
    ]
    return load_manifest(write_manifest(folder, entries))


@pytest.fixture(scope="session")
async def server(manifest: Manifest) -> AsyncGenerator[EmbeddedServer]:
    async with EmbeddedServer(base_model(), manifest.adapter_paths()) as started:
        await started.ready(within=60)
        yield started


@pytest.fixture
def small(server: EmbeddedServer, manifest: Manifest) -> EmbeddedSmallModel:
    return EmbeddedSmallModel(server, manifest, timeout_for=lambda role: 60.0)
