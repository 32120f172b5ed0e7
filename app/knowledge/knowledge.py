"""Retrieval and pruning over the ingested articles, as the graphs see them."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from datetime import date
from pathlib import Path

from app.knowledge.index import EdgeIndex, Hit, Index, QdrantIndex, Way
from app.knowledge.ingest import IngestReport, Progress, ingest
from app.knowledge.manifest import Entry, Manifest
from app.knowledge.pruner import CosinePruner, Pruner
from app.knowledge.selection import TOKEN_BUDGET, select
from tools.domain import Clock
from tools.ports import Encoder, Passage

EMBEDDING_MODEL = "all-MiniLM-L6-v2 int8"
REMEMBERED = 2048


@dataclass(frozen=True)
class Standing:
    """What the report says about one document."""

    source: str
    title: str
    status: str
    updated: date | None
    expires: date | None
    chunks: int


class HybridKnowledge:
    """Dense and sparse search, fused; then a pruner that may find nothing worth reading."""

    def __init__(
        self,
        index: Index,
        manifest: Manifest,
        encoder: Encoder,
        *,
        load_pruner: Callable[[], Pruner] | None = None,
        clock: Clock | None = None,
        model: str = EMBEDDING_MODEL,
        budget: int = TOKEN_BUDGET,
    ) -> None:
        self.index = index
        self.manifest = manifest
        self.encoder = encoder
        self.clock = clock or Clock()
        self.model = model
        self.budget = budget
        self.stand_in = CosinePruner(encoder)
        self.known_vectors: OrderedDict[str, list[float]] = OrderedDict()
        self.refresh()
        self.loader = ThreadPoolExecutor(1, thread_name_prefix="pruner")
        self.loading: Future[Pruner] | None = (
            self.loader.submit(load_pruner) if load_pruner else None
        )

    @classmethod
    def open(
        cls,
        folder: Path,
        encoder: Encoder,
        *,
        url: str | None = None,
        key: str | None = None,
        collection: str = "knowledge",
        load_pruner: Callable[[], Pruner] | None = None,
        clock: Clock | None = None,
    ) -> HybridKnowledge:
        """Open the index in ``folder``, or the collection at ``url``; quick, reads no document."""
        folder.mkdir(parents=True, exist_ok=True)
        index: Index = (
            QdrantIndex.at(url, key=key, collection=collection)
            if url
            else EdgeIndex(folder / collection)
        )
        manifest = Manifest(folder / f"{collection}.db")
        return cls(index, manifest, encoder, load_pruner=load_pruner, clock=clock)

    def close(self) -> None:
        """Release the folder for another process."""
        self.loader.shutdown(wait=True, cancel_futures=True)
        self.index.close()
        self.manifest.close()

    def refresh(self) -> None:
        """Read the manifest again after it changed."""
        self._version = self.manifest.version()
        self.places = {
            chunk: place
            for entry in self.manifest.entries().values()
            for place, chunk in enumerate(entry.chunks)
        }
        self.known_vectors.clear()

    @property
    def version(self) -> str:
        return self._version

    @property
    def pruner(self) -> Pruner:
        """The cross-encoder when it is there, else the rule that stands in."""
        if self.loading and self.loading.done() and self.loading.exception() is None:
            return self.loading.result()
        return self.stand_in

    @property
    def pruned_by(self) -> str:
        """Who prunes now, and why it is not the cross-encoder when it is not."""
        pruner = self.pruner
        if pruner is not self.stand_in or self.loading is None:
            return pruner.name
        if not self.loading.done():
            return f"{pruner.name} (cross-encoder still loading)"
        return f"{pruner.name} ({self.loading.exception()})"

    async def pruner_ready(self) -> str:
        """Wait until the cross-encoder is there or has failed; who prunes from now on."""
        if self.loading:
            await asyncio.to_thread(self.loading.exception)
        return self.pruned_by

    async def ingest(
        self, paths: Sequence[Path], *, progress: Progress | None = None
    ) -> IngestReport:
        """Bring the index to the state of these files and folders."""
        try:
            return await ingest(
                paths, self.index, self.manifest, self.encoder, model=self.model, progress=progress
            )
        finally:
            self.refresh()

    async def retrieve(
        self, query: str, *, limit: int = 15, audience: str = "public", way: Way = "hybrid"
    ) -> list[Passage]:
        """The best chunks by fused rank; a passage's ``score`` is its cosine with the question."""
        if not query.strip() or not self.places:
            return []
        [vector] = await self.encoder.embed([query])
        audiences = sorted({"public", audience})
        hits = await asyncio.to_thread(
            self.index.search,
            query,
            vector,
            limit=limit,
            audiences=audiences,
            today=self.clock.today(),
            way=way,
        )
        for hit in hits:
            self.remember(hit.id, hit.vector)
        return [passage_of(hit, vector) for hit in hits]

    async def prune(
        self, query: str, passages: Sequence[Passage], *, keep: int = 4
    ) -> list[Passage]:
        """The chunks worth reading with their kept sentences; empty when nothing is above the floor."""
        if not passages or not query.strip():
            return []
        pruner = self.pruner
        vectors = await self.vectors_of([passage.id for passage in passages])
        # Vectors of another embedding model mean nothing to the pruner's own.
        own = vectors if self.model == EMBEDDING_MODEL else {}
        judged = await pruner.score(query, passages, own)
        if judged.answerable < pruner.floor:
            return []
        return select(
            judged.scored,
            vectors,
            self.places,
            keep=keep,
            noise=pruner.noise,
            sentence_floor=pruner.sentence_floor,
            budget=self.budget,
        )

    def report(self) -> tuple[list[Standing], list[tuple[str, str]]]:
        """Every document with its standing today, and the documents the last run could not take in."""
        return [
            self.standing(e) for e in self.manifest.entries().values()
        ], self.manifest.failures()

    def standing(self, entry: Entry) -> Standing:
        expired = entry.expires is not None and entry.expires <= self.clock.today()
        return Standing(
            source=entry.source,
            title=entry.title,
            status="expired" if expired and entry.status == "current" else entry.status,
            updated=entry.updated,
            expires=entry.expires,
            chunks=len(entry.chunks),
        )

    def remember(self, chunk: str, vector: list[float]) -> None:
        self.known_vectors[chunk] = vector
        self.known_vectors.move_to_end(chunk)
        while len(self.known_vectors) > REMEMBERED:
            self.known_vectors.popitem(last=False)

    async def vectors_of(self, chunks: Sequence[str]) -> dict[str, list[float]]:
        missing = [c for c in chunks if c in self.places and c not in self.known_vectors]
        if missing:
            for chunk, vector in (await asyncio.to_thread(self.index.vectors, missing)).items():
                self.remember(chunk, vector)
        return {c: self.known_vectors[c] for c in chunks if c in self.known_vectors}


def passage_of(hit: Hit, query: Sequence[float]) -> Passage:
    payload = hit.payload
    return Passage(
        id=hit.id,
        text=payload["text"],
        title=payload["title"],
        source=payload["source"],
        updated=date.fromisoformat(payload["updated"]) if payload.get("updated") else None,
        score=sum(a * b for a, b in zip(hit.vector, query, strict=True)),
    )
