"""Vectors that were made when the domain was trained, so that no start has to read its articles and questions."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from app.knowledge.embeddings import Embedder

log = logging.getLogger(__name__)

Vector = NDArray[np.float32]

#: In a domain's folder.
FILE = "vectors.safetensors"


def key(text: str, *, asking: bool) -> bytes:
    """What a vector is found by: questions and texts to be found are read differently."""
    kind = "question" if asking else "passage"
    return hashlib.blake2b(f"{kind}\0{text}".encode(), digest_size=16).digest()


class Prepared:
    """Vectors by `key`, kept in eight bits."""

    def __init__(self, keys: Any = (), vectors: Any = (), scales: Any = ()) -> None:
        self._rows = {bytes(one): row for row, one in enumerate(keys)}
        self._vectors, self._scales = vectors, scales

    def __len__(self) -> int:
        return len(self._rows)

    def get(self, wanted: bytes) -> Vector | None:
        row = self._rows.get(wanted)
        return None if row is None else self._vectors[row].astype(np.float32) * self._scales[row]


class PreparedEmbedder:
    """An embedder that runs its model for what was not prepared only."""

    def __init__(self, embedder: Embedder, vectors: Prepared) -> None:
        self.embedder = embedder
        self._vectors = vectors

    @property
    def name(self) -> str:
        return self.embedder.name

    async def size(self) -> int:
        return await self.embedder.size()

    async def embed_query(self, text: str) -> list[float]:
        known = self._vectors.get(key(text, asking=True))
        return await self.embedder.embed_query(text) if known is None else known.tolist()

    async def embed(self, texts: Sequence[str]) -> list[list[float]]:
        found = {text: self._vectors.get(key(text, asking=False)) for text in texts}
        unknown = [text for text, vector in found.items() if vector is None]
        made = dict(
            zip(unknown, await self.embedder.embed(unknown), strict=True) if unknown else ()
        )
        return [made[t] if (known := found[t]) is None else known.tolist() for t in texts]


class Recorder:
    """An embedder that remembers what it made, to be written down."""

    def __init__(self, embedder: Embedder) -> None:
        self.embedder = embedder
        self.made: dict[bytes, Vector] = {}

    @property
    def name(self) -> str:
        return self.embedder.name

    async def size(self) -> int:
        return await self.embedder.size()

    async def embed_query(self, text: str) -> list[float]:
        vector = await self.embedder.embed_query(text)
        self.made[key(text, asking=True)] = np.asarray(vector, np.float32)
        return vector

    async def embed(self, texts: Sequence[str]) -> list[list[float]]:
        vectors = await self.embedder.embed(texts)
        for text, vector in zip(texts, vectors, strict=True):
            self.made[key(text, asking=False)] = np.asarray(vector, np.float32)
        return vectors


def write_vectors(file: Path, vectors: Mapping[bytes, Vector], model: str) -> None:
    """Write vectors down in eight bits: 0.4 kB each. The same vectors make the same file."""
    from safetensors import numpy as files

    keys = sorted(vectors)
    made: Vector = np.stack([vectors[one] for one in keys])
    scale: Vector = np.maximum(np.abs(made).max(1, keepdims=True), 1e-9) / 127
    digests: NDArray[np.uint8] = np.stack([np.frombuffer(one, np.uint8) for one in keys])
    tensors = {
        "keys": digests,
        "vectors": (made / scale).round().astype(np.int8),
        "scales": scale.astype(np.float32),
    }
    save: Any = files.save_file  # type: ignore[reportUnknownMemberType]
    save(tensors, file, metadata={"model": model})
    file.chmod(0o644)


def read_vectors(file: Path, model: str, size: int) -> Prepared:
    """The vectors that this model made; nothing where there are none, or another model's.
    ``size``: numbers of a vector."""
    from safetensors import SafetensorError, safe_open

    if not file.exists():
        return Prepared()
    try:
        opened: Any = safe_open(str(file), "np")
        with opened as tensors:
            if (tensors.metadata() or {}).get("model") != model:
                log.warning("%s is of another model: articles and questions are read again", file)
                return Prepared()
            found = [tensors.get_tensor(name) for name in ("keys", "vectors", "scales")]
    except (SafetensorError, OSError) as error:
        log.warning("%s cannot be used, articles and questions are read again: %s", file, error)
        return Prepared()
    keys, made, scales = found
    sound = (
        made.ndim == keys.ndim == scales.ndim == 2
        and len(keys) == len(made) == len(scales)
        and made.shape[1] == size
        and bool(np.isfinite(scales).all())
    )
    if not sound:
        log.warning("%s does not hold what it should: articles and questions are read again", file)
        return Prepared()
    return Prepared(keys, made, scales)
