"""Where chunks are found: one port, embedded Qdrant Edge by default, a Qdrant server by URL."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol

from app.knowledge.documents import Chunk, Status

if TYPE_CHECKING:
    from qdrant_client import QdrantClient, models
    from qdrant_edge import EdgeShard, Filter

SIZE = 384
FUSION_K = 2
#: Dense, sparse: customers rarely use the words of the article.
FUSION_WEIGHTS = [2.0, 1.0]
Way = Literal["hybrid", "dense", "sparse"]


class IndexInUse(Exception):
    """Another process has this knowledge folder open; stop it, or point both at a Qdrant server."""

    def __init__(self, folder: Path) -> None:
        super().__init__(f"{self.__doc__} ({folder})")


@dataclass(frozen=True)
class Hit:
    """A found chunk, in fused order, with its dense vector."""

    id: str
    payload: dict[str, Any]
    vector: list[float]


class Index(Protocol):
    """Chunks with a dense and a sparse vector each. Synchronous and safe to call from threads."""

    def upsert(self, chunks: Sequence[Chunk], vectors: Sequence[Sequence[float]]) -> None: ...
    def delete(self, ids: Sequence[str]) -> None: ...
    def mark(self, ids: Sequence[str], status: Status) -> None:
        """Change the standing of chunks without touching their vectors."""
        ...

    def search(
        self,
        text: str,
        vector: Sequence[float],
        *,
        limit: int,
        audiences: Sequence[str],
        today: date,
        way: Way = "hybrid",
    ) -> list[Hit]:
        """Current, unexpired chunks for these audiences, best first."""
        ...

    def vectors(self, ids: Sequence[str]) -> dict[str, list[float]]: ...
    def count(self) -> int: ...
    def flush(self) -> None: ...
    def close(self) -> None: ...


def payload_of(chunk: Chunk) -> dict[str, Any]:
    payload: dict[str, Any] = {
        **chunk.payload,
        "text": chunk.text,
        "title": chunk.title,
        "source": chunk.document,
        "audience": chunk.audience,
        "status": chunk.status,
        "updated": chunk.updated.isoformat() if chunk.updated else None,
    }
    if chunk.expires:
        payload["expires_day"] = chunk.expires.toordinal()
    return payload


class EdgeIndex:
    """The real Qdrant engine in this process, one folder, one process at a time."""

    def __init__(self, folder: Path) -> None:
        import qdrant_edge as edge
        from filelock import FileLock, Timeout

        folder.mkdir(parents=True, exist_ok=True)
        # The engine's own refusal is a bare Exception; a lock of ours says it in words.
        self.lock = FileLock(folder / "lock", timeout=0)
        try:
            self.lock.acquire()
        except Timeout as error:
            raise IndexInUse(folder) from error
        self.bm25 = edge.Bm25(edge.Bm25Config(avg_len=90.0))
        config = edge.EdgeConfig(
            vectors={"dense": edge.EdgeVectorParams(size=SIZE, distance=edge.Distance.Cosine)},
            sparse_vectors={"bm25": edge.EdgeSparseVectorParams(modifier=edge.Modifier.Idf)},
            max_search_threads=1,
        )
        shard = folder / "shard"
        made = (shard / "segments").is_dir() or any(shard.glob("*"))
        self.shard: EdgeShard = (
            edge.EdgeShard.load(str(shard)) if made else edge.EdgeShard.create(str(shard), config)
        )

    def upsert(self, chunks: Sequence[Chunk], vectors: Sequence[Sequence[float]]) -> None:
        from qdrant_edge import Point, UpdateOperation

        points = [
            Point(
                chunk.id,
                {"dense": list(vector), "bm25": self.bm25.embed_document(chunk.embedded)},
                payload_of(chunk),
            )
            for chunk, vector in zip(chunks, vectors, strict=True)
        ]
        self.shard.update(UpdateOperation.upsert_points(points))

    def delete(self, ids: Sequence[str]) -> None:
        from qdrant_edge import UpdateOperation

        if ids:
            self.shard.update(UpdateOperation.delete_points(list(ids)))

    def mark(self, ids: Sequence[str], status: Status) -> None:
        from qdrant_edge import UpdateOperation

        if ids:
            self.shard.update(UpdateOperation.set_payload(list(ids), {"status": status}))

    def allowed(self, audiences: Sequence[str], today: date) -> Filter:
        from qdrant_edge import FieldCondition, Filter, MatchAny, MatchValue, RangeFloat

        return Filter(
            must=[
                FieldCondition(key="audience", match=MatchAny(list(audiences))),
                FieldCondition(key="status", match=MatchValue("current")),
            ],
            must_not=[FieldCondition(key="expires_day", range=RangeFloat(lte=today.toordinal()))],
        )

    def search(
        self,
        text: str,
        vector: Sequence[float],
        *,
        limit: int,
        audiences: Sequence[str],
        today: date,
        way: Way = "hybrid",
    ) -> list[Hit]:
        from qdrant_edge import Fusion, Prefetch, Query, QueryRequest

        allowed = self.allowed(audiences, today)
        # The stub does not say that Fusion.Rrf is a Fusion.
        fused: Any = Fusion.Rrf(k=FUSION_K, weights=FUSION_WEIGHTS)
        dense = Query.Nearest(list(vector), using="dense")
        sparse = Query.Nearest(self.bm25.embed_query(text), using="bm25")
        if way == "hybrid":
            found = self.shard.query(
                QueryRequest(
                    limit=limit,
                    prefetches=[
                        Prefetch(limit=2 * limit, query=query, filter=allowed)
                        for query in (dense, sparse)
                    ],
                    query=fused,
                    with_payload=True,
                    with_vector=["dense"],
                )
            )
        else:
            found = self.shard.query(
                QueryRequest(
                    limit=limit,
                    query=dense if way == "dense" else sparse,
                    filter=allowed,
                    with_payload=True,
                    with_vector=["dense"],
                )
            )
        return [Hit(str(p.id), dict(p.payload or {}), dense_of(p.vector)) for p in found]

    def vectors(self, ids: Sequence[str]) -> dict[str, list[float]]:
        records = self.shard.retrieve(list(ids), with_payload=False, with_vector=["dense"])
        return {str(record.id): dense_of(record.vector) for record in records}

    def count(self) -> int:
        from qdrant_edge import CountRequest

        return self.shard.count(CountRequest(exact=True))

    def flush(self) -> None:
        self.shard.flush()

    def close(self) -> None:
        self.shard.close()
        self.lock.release()


def dense_of(vector: Any) -> list[float]:
    return list(vector["dense"])


class QdrantIndex:
    """A Qdrant server (or its client's local mode, in tests)."""

    def __init__(self, client: QdrantClient, collection: str = "knowledge") -> None:
        from qdrant_client import models
        from qdrant_edge import Bm25, Bm25Config

        self.client = client
        self.collection = collection
        self.bm25 = Bm25(Bm25Config(avg_len=90.0))
        if not client.collection_exists(collection):
            client.create_collection(
                collection,
                vectors_config={
                    "dense": models.VectorParams(size=SIZE, distance=models.Distance.COSINE)
                },
                sparse_vectors_config={
                    "bm25": models.SparseVectorParams(modifier=models.Modifier.IDF)
                },
            )

    @classmethod
    def at(cls, url: str, *, key: str | None = None, collection: str = "knowledge") -> QdrantIndex:
        """Connect to a server."""
        from qdrant_client import QdrantClient

        client = QdrantClient(url=url, api_key=key, timeout=10, check_compatibility=False)
        return cls(client, collection)

    def sparse(self, text: str, *, query: bool) -> models.SparseVector:
        from qdrant_client import models

        found = self.bm25.embed_query(text) if query else self.bm25.embed_document(text)
        return models.SparseVector(indices=list(found.indices), values=list(found.values))

    def upsert(self, chunks: Sequence[Chunk], vectors: Sequence[Sequence[float]]) -> None:
        from qdrant_client import models

        self.client.upsert(
            self.collection,
            [
                models.PointStruct(
                    id=chunk.id,
                    vector={
                        "dense": list(vector),
                        "bm25": self.sparse(chunk.embedded, query=False),
                    },
                    payload=payload_of(chunk),
                )
                for chunk, vector in zip(chunks, vectors, strict=True)
            ],
        )

    def delete(self, ids: Sequence[str]) -> None:
        from qdrant_client import models

        if ids:
            self.client.delete(self.collection, models.PointIdsList(points=list(ids)))

    def mark(self, ids: Sequence[str], status: Status) -> None:
        if ids:
            self.client.set_payload(self.collection, {"status": status}, points=list(ids))

    def allowed(self, audiences: Sequence[str], today: date) -> models.Filter:
        from qdrant_client import models

        return models.Filter(
            must=[
                models.FieldCondition(key="audience", match=models.MatchAny(any=list(audiences))),
                models.FieldCondition(key="status", match=models.MatchValue(value="current")),
            ],
            must_not=[
                models.FieldCondition(key="expires_day", range=models.Range(lte=today.toordinal()))
            ],
        )

    def search(
        self,
        text: str,
        vector: Sequence[float],
        *,
        limit: int,
        audiences: Sequence[str],
        today: date,
        way: Way = "hybrid",
    ) -> list[Hit]:
        from qdrant_client import models

        allowed = self.allowed(audiences, today)
        queries: dict[str, Any] = {"dense": list(vector), "bm25": self.sparse(text, query=True)}
        if way == "hybrid":
            found = self.client.query_points(
                self.collection,
                prefetch=[
                    models.Prefetch(query=query, using=name, limit=2 * limit, filter=allowed)
                    for name, query in queries.items()
                ],
                query=models.RrfQuery(rrf=models.Rrf(k=FUSION_K, weights=FUSION_WEIGHTS)),
                limit=limit,
                with_vectors=["dense"],
            )
        else:
            name = "dense" if way == "dense" else "bm25"
            found = self.client.query_points(
                self.collection,
                query=queries[name],
                using=name,
                query_filter=allowed,
                limit=limit,
                with_vectors=["dense"],
            )
        return [Hit(str(p.id), dict(p.payload or {}), dense_of(p.vector)) for p in found.points]

    def vectors(self, ids: Sequence[str]) -> dict[str, list[float]]:
        records = self.client.retrieve(
            self.collection, list(ids), with_payload=False, with_vectors=["dense"]
        )
        return {str(record.id): dense_of(record.vector) for record in records}

    def count(self) -> int:
        return self.client.count(self.collection).count

    def flush(self) -> None:
        """A server keeps what it acknowledged."""

    def close(self) -> None:
        self.client.close()
