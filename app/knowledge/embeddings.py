"""Vectors of texts: the embedded MiniLM, or any sentence-transformers model by its name; known texts are
kept on disk."""

from __future__ import annotations

import asyncio
import hashlib
import logging
import sqlite3
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

import numpy as np

from app.config import EMBEDDED_MODEL
from tools.ports import Encoder, ModelUnavailable

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer

log = logging.getLogger(__name__)

Made = TypeVar("Made")

BATCH = 32
#: Vectors kept on disk; 1.5 kB each with the embedded model.
KEPT = 200_000


class Embedder(Protocol):
    """Unit vectors of texts, in batches. Two vectors can be compared only if ``name`` is the same."""

    @property
    def name(self) -> str: ...
    async def size(self) -> int:
        """How many floats a vector has."""
        ...

    async def embed(self, texts: Sequence[str]) -> list[list[float]]:
        """Vectors of texts to be found."""
        ...

    async def embed_query(self, text: str) -> list[float]:
        """The vector of a question: some models prefix it, or embed it by other weights."""
        ...


class EmbeddedMiniLM:
    """The encoder that is loaded anyway: 384 floats, questions and texts alike."""

    def __init__(self, encoder: Encoder, name: str = EMBEDDED_MODEL) -> None:
        self.encoder = encoder
        self.name = name

    async def size(self) -> int:
        return 384

    async def embed(self, texts: Sequence[str]) -> list[list[float]]:
        return await self.encoder.embed(texts)

    async def embed_query(self, text: str) -> list[float]:
        return (await self.encoder.embed([text]))[0]


class SentenceTransformersEmbedder:
    """Any sentence-transformers model by name or folder; loaded at first use, in the thread that runs it."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.thread = ThreadPoolExecutor(1, thread_name_prefix="embedder")
        self.model: SentenceTransformer | None = None

    async def size(self) -> int:
        return await self.run(lambda model: int(model.get_embedding_dimension() or 0))

    async def embed(self, texts: Sequence[str]) -> list[list[float]]:
        def work(model: SentenceTransformer) -> list[list[float]]:
            vectors: Any = model.encode_document(
                list(texts), batch_size=BATCH, normalize_embeddings=True, show_progress_bar=False
            )
            return vectors.tolist()

        return await self.run(work)

    async def embed_query(self, text: str) -> list[float]:
        def work(model: SentenceTransformer) -> list[float]:
            vector: Any = model.encode_query(
                text, normalize_embeddings=True, show_progress_bar=False
            )
            return vector.tolist()

        return await self.run(work)

    async def run(self, work: Callable[[SentenceTransformer], Made]) -> Made:
        return await asyncio.get_running_loop().run_in_executor(
            self.thread, lambda: work(self.loaded())
        )

    def loaded(self) -> SentenceTransformer:
        if self.model is None:
            try:
                from sentence_transformers import SentenceTransformer

                self.model = SentenceTransformer(self.name)
            except ImportError as error:
                raise ModelUnavailable(
                    f"SIGNALBOX_EMBEDDING_MODEL={self.name} needs more packages ({error.name}): "
                    "pip install 'signalbox[encoders]'"
                ) from error
            except (OSError, ValueError) as error:
                raise ModelUnavailable(f"The embedding model {self.name}: {error}") from error
        return self.model


def embedder_for(name: str, encoder: Encoder) -> Embedder:
    """The embedder of that name: the embedded one, or one of sentence-transformers."""
    return EmbeddedMiniLM(encoder) if name == EMBEDDED_MODEL else SentenceTransformersEmbedder(name)


class EmbeddingCache:
    """Vectors by model and text, in a file that several processes may share. Losing it costs time only."""

    def __init__(self, path: Path) -> None:
        self.lock = Lock()
        path.parent.mkdir(parents=True, exist_ok=True)
        self.connection = sqlite3.connect(path, check_same_thread=False, isolation_level=None)
        self.connection.executescript(
            "pragma busy_timeout = 2000; pragma journal_mode = wal; pragma synchronous = normal;"
            "create table if not exists vectors (key blob primary key, vector blob not null);"
            # The oldest make room.
            f"delete from vectors where rowid <= (select max(rowid) from vectors) - {KEPT};"
        )

    def get(self, keys: Sequence[bytes]) -> dict[bytes, list[float]]:
        """The vectors there are."""
        found: dict[bytes, list[float]] = {}
        with self.lock:
            for start in range(0, len(keys), 500):
                part = keys[start : start + 500]
                marks = ",".join("?" * len(part))
                rows = self.connection.execute(
                    f"select key, vector from vectors where key in ({marks})", part
                )
                found.update((key, np.frombuffer(raw, "<f4").tolist()) for key, raw in rows)
        return found

    def put(self, vectors: dict[bytes, list[float]]) -> None:
        rows = [(key, np.asarray(vector, "<f4").tobytes()) for key, vector in vectors.items()]
        with self.lock:
            self.connection.execute("begin immediate")
            try:
                self.connection.executemany("insert or ignore into vectors values (?, ?)", rows)
                self.connection.execute("commit")
            except sqlite3.Error:
                self.connection.rollback()
                raise

    def close(self) -> None:
        # SQLite crashes the process when another thread is in the middle of a statement.
        with self.lock:
            self.connection.close()


class CachedEmbedder:
    """An embedder that does not run its model for texts it has seen; questions go to the model."""

    def __init__(self, embedder: Embedder, cache: EmbeddingCache) -> None:
        self.embedder = embedder
        self.cache = cache

    @property
    def name(self) -> str:
        return self.embedder.name

    async def size(self) -> int:
        return await self.embedder.size()

    async def embed_query(self, text: str) -> list[float]:
        return await self.embedder.embed_query(text)

    async def embed(self, texts: Sequence[str]) -> list[list[float]]:
        keys = [self.key(text) for text in texts]
        found = await asyncio.to_thread(self.known, keys)
        unknown = {key: text for key, text in zip(keys, texts, strict=True) if key not in found}
        if unknown:
            made = await self.embedder.embed(list(unknown.values()))
            fresh = dict(zip(unknown, made, strict=True))
            found |= fresh
            await asyncio.to_thread(self.keep, fresh)
        return [found[key] for key in keys]

    def key(self, text: str) -> bytes:
        return hashlib.blake2b(f"{self.name}\0{text}".encode(), digest_size=16).digest()

    def known(self, keys: Sequence[bytes]) -> dict[bytes, list[float]]:
        try:
            return self.cache.get(keys)
        except sqlite3.Error as error:
            log.warning("the embedding cache cannot be read: %s", error)
            return {}

    def keep(self, vectors: dict[bytes, list[float]]) -> None:
        try:
            self.cache.put(vectors)
        except sqlite3.Error as error:
            log.warning("the embedding cache cannot be written: %s", error)
