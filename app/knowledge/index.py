"""Where chunks are found: one port, embedded Qdrant Edge by default, a Qdrant server by URL.

A collection has generations: one that answers, the one before it, and one that is being built.
"""

from __future__ import annotations

import shutil
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol

from app.knowledge.documents import Chunk, Status
from tools.ports import PortError

if TYPE_CHECKING:
    from qdrant_client import QdrantClient, models
    from qdrant_edge import EdgeShard, Filter

SIZE = 384
#: Points fetched at a time where all are listed.
PAGE = 1000
#: A short question is fused by ranks, dense before sparse: customers rarely use the words of the article.
FUSION_K = 2
FUSION_WEIGHTS = [2.0, 1.0]
#: From so many words on, as with the dialogue before it, a question does use them, and how well either way
#: matched says more than its rank: scores are fused (DBSF), those of the words counting twice, which DBSF, having
#: no weights, does where they are asked for twice. Both measured; see docs/knowledge.md.
MANY_WORDS = 20
Way = Literal["hybrid", "dense", "sparse"]
#: What every search filters by has an index: without, a search reads the payload of every chunk, which
#: took 30 times as long at 1,500 chunks.
FILTERED: dict[str, Literal["keyword", "day"]] = {
    "audience": "keyword",
    "tenant": "keyword",
    "status": "keyword",
    "language": "keyword",
    "expires_day": "day",
}


class IndexInUse(Exception):
    """Another process has this knowledge folder open; stop it, or point both at a Qdrant server."""

    def __init__(self, folder: Path) -> None:
        super().__init__(f"{self.__doc__} ({folder})")


class IndexBroken(Exception):
    """The index cannot be opened; it can be built again from the documents."""


class IndexUnavailable(PortError):
    """The Qdrant server cannot be reached, or refuses."""


@dataclass(frozen=True)
class Hit:
    """A found chunk, in fused order, with its dense vector."""

    id: str
    payload: dict[str, Any]
    vector: list[float]
    score: float  #: Of the fused order, or of the one way that was asked for.


@dataclass(frozen=True)
class Scope:
    """What may be found: current and unexpired text, for this audience and these tenants, of one language or all."""

    audiences: tuple[str, ...]
    tenants: tuple[str, ...]
    today: date
    language: str | None = None


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
        scope: Scope,
        way: Way = "hybrid",
    ) -> list[Hit]:
        """Chunks in that scope, best first."""
        ...

    def vectors(self, ids: Sequence[str]) -> dict[str, list[float]]: ...
    def payloads(self, ids: Sequence[str]) -> dict[str, dict[str, Any]]:
        """What is known of chunks, with their text."""
        ...

    def ids(self) -> set[str]:
        """Every chunk there is."""
        ...

    def count(self) -> int: ...
    def flush(self) -> None: ...
    def close(self) -> None: ...


class Indexes(Protocol):
    """The generations of one collection. Synchronous."""

    @property
    def shared(self) -> bool:
        """Whether other processes write to it too."""
        ...

    def open(self, generation: int, size: int) -> Index:
        """A generation as it is, with vectors of ``size`` floats; an empty one when there is none."""
        ...

    def drop(self, generation: int) -> None:
        """Throw a generation away, whether there is one or not."""
        ...

    def point(self, generation: int) -> None:
        """Tell readers other than Signalbox which generation answers now."""
        ...

    def reach(self) -> None:
        """Raises IndexUnavailable where it cannot be asked at the moment."""
        ...

    def close(self) -> None: ...


def wordy(text: str) -> bool:
    return len(text.split()) >= MANY_WORDS


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


class EdgeIndexes:
    """The real Qdrant engine in this process: a folder of shards, one process at a time."""

    shared = False

    def __init__(self, folder: Path) -> None:
        from filelock import FileLock, Timeout

        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        # The engine's own refusal is a bare Exception; a lock of ours says it in words.
        self.lock = FileLock(folder / "lock", timeout=0)
        try:
            self.lock.acquire()
        except Timeout as error:
            raise IndexInUse(folder) from error

    def reach(self) -> None:
        """It is in this process."""

    def open(self, generation: int, size: int) -> EdgeIndex:
        return EdgeIndex(self.shard(generation), size)

    def drop(self, generation: int) -> None:
        shutil.rmtree(self.shard(generation), ignore_errors=True)

    def point(self, generation: int) -> None:
        """The manifest says it, and nobody else reads the folder."""

    def close(self) -> None:
        self.lock.release()

    def shard(self, generation: int) -> Path:
        return self.folder / "shards" / str(generation)


class EdgeIndex:
    """One shard of the embedded engine."""

    def __init__(self, shard: Path, size: int = SIZE) -> None:
        import qdrant_edge as edge

        self.bm25 = edge.Bm25(edge.Bm25Config(avg_len=90.0))
        config = edge.EdgeConfig(
            vectors={"dense": edge.EdgeVectorParams(size=size, distance=edge.Distance.Cosine)},
            sparse_vectors={"bm25": edge.EdgeSparseVectorParams(modifier=edge.Modifier.Idf)},
            max_search_threads=1,
        )
        if not shard.exists():
            # Made elsewhere and moved into place: who is killed in between leaves no half of a shard.
            making = shard.with_name(f"{shard.name}.making")
            shutil.rmtree(making, ignore_errors=True)
            making.mkdir(parents=True)
            made = edge.EdgeShard.create(str(making), config)
            kinds = {
                "keyword": edge.PayloadSchemaType.Keyword,
                "day": edge.PayloadSchemaType.Integer,
            }
            for field, kind in FILTERED.items():
                made.update(edge.UpdateOperation.create_field_index(field, kinds[kind]))
            made.close()
            making.rename(shard)
        try:
            self.shard: EdgeShard = edge.EdgeShard.load(str(shard))
        except Exception as error:  # The engine raises nothing narrower.
            raise IndexBroken(f"{IndexBroken.__doc__} ({shard}: {error})") from error

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

    def allowed(self, scope: Scope) -> Filter:
        from qdrant_edge import FieldCondition, Filter, MatchAny, MatchValue, RangeFloat

        expired = RangeFloat(lte=scope.today.toordinal())
        must: list[Any] = [
            FieldCondition(key="audience", match=MatchAny(list(scope.audiences))),
            FieldCondition(key="tenant", match=MatchAny(list(scope.tenants))),
            FieldCondition(key="status", match=MatchValue("current")),
        ]
        if scope.language is not None:
            must.append(FieldCondition(key="language", match=MatchValue(scope.language)))
        return Filter(
            must=must,
            must_not=[FieldCondition(key="expires_day", range=expired)],
        )

    def search(
        self,
        text: str,
        vector: Sequence[float],
        *,
        limit: int,
        scope: Scope,
        way: Way = "hybrid",
    ) -> list[Hit]:
        from qdrant_edge import Fusion, Prefetch, Query, QueryRequest

        allowed = self.allowed(scope)
        # The stub does not say that Fusion.Rrf is a Fusion.
        fused: Any = (
            Fusion.Dbsf() if wordy(text) else Fusion.Rrf(k=FUSION_K, weights=FUSION_WEIGHTS)
        )
        dense = Query.Nearest(list(vector), using="dense")
        sparse = Query.Nearest(self.bm25.embed_query(text), using="bm25")
        if way == "hybrid":
            found = self.shard.query(
                QueryRequest(
                    limit=limit,
                    prefetches=[
                        Prefetch(limit=2 * limit, query=query, filter=allowed)
                        for query in (dense, sparse, *([sparse] if wordy(text) else []))
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
        return [Hit(str(p.id), dict(p.payload or {}), dense_of(p.vector), p.score) for p in found]

    def vectors(self, ids: Sequence[str]) -> dict[str, list[float]]:
        records = self.shard.retrieve(list(ids), with_payload=False, with_vector=["dense"])
        return {str(record.id): dense_of(record.vector) for record in records}

    def payloads(self, ids: Sequence[str]) -> dict[str, dict[str, Any]]:
        records = self.shard.retrieve(list(ids), with_payload=True, with_vector=False)
        return {str(record.id): dict(record.payload or {}) for record in records}

    def ids(self) -> set[str]:
        from qdrant_edge import ScrollRequest

        found: set[str] = set()
        after: Any = None
        while True:
            records, after = self.shard.scroll(ScrollRequest(limit=PAGE, offset=after))
            found.update(str(record.id) for record in records)
            if after is None:
                return found

    def count(self) -> int:
        from qdrant_edge import CountRequest

        return self.shard.count(CountRequest(exact=True))

    def flush(self) -> None:
        self.shard.flush()

    def close(self) -> None:
        self.shard.close()


def dense_of(vector: Any) -> list[float]:
    return list(vector["dense"])


class QdrantIndexes:
    """A Qdrant server (or its client's local mode, in tests): a collection a generation, and an alias
    ``NAME-live`` on the one that answers."""

    shared = True

    def __init__(self, client: QdrantClient, collection: str = "knowledge") -> None:
        self.client = client
        self.collection = collection

    @classmethod
    def at(
        cls, url: str, *, key: str | None = None, collection: str = "knowledge", seconds: int = 10
    ) -> QdrantIndexes:
        """Connect to a server, and wait ``seconds`` for each answer of it."""
        from qdrant_client import QdrantClient

        client = QdrantClient(url=url, api_key=key, timeout=seconds, check_compatibility=False)
        return cls(client, collection)

    def reach(self) -> None:
        with reached():
            self.client.get_collections()

    def open(self, generation: int, size: int) -> QdrantIndex:
        return QdrantIndex(self.client, f"{self.collection}-{generation}", size)

    def drop(self, generation: int) -> None:
        with reached():
            self.client.delete_collection(f"{self.collection}-{generation}")

    def point(self, generation: int) -> None:
        from qdrant_client import models

        alias = f"{self.collection}-live"
        name = f"{self.collection}-{generation}"
        with reached():
            known = {each.alias_name for each in self.client.get_aliases().aliases}
            removal = models.DeleteAliasOperation(delete_alias=models.DeleteAlias(alias_name=alias))
            made = models.CreateAlias(collection_name=name, alias_name=alias)
            # In one request: a reader finds the old generation or the new one.
            self.client.update_collection_aliases(
                [
                    *([removal] if alias in known else []),
                    models.CreateAliasOperation(create_alias=made),
                ]
            )

    def close(self) -> None:
        self.client.close()


@contextmanager
def reached() -> Generator[None]:
    """What goes wrong with the server, as the port's own error."""
    from qdrant_client.http.exceptions import ApiException

    try:
        yield
    except ApiException as error:
        raise IndexUnavailable(f"Qdrant: {error}") from error


class QdrantIndex:
    """One collection of a Qdrant server."""

    def __init__(self, client: QdrantClient, collection: str, size: int = SIZE) -> None:
        from qdrant_edge import Bm25, Bm25Config

        self.client = client
        self.collection = collection
        self.bm25 = Bm25(Bm25Config(avg_len=90.0))
        with reached():
            if not client.collection_exists(collection):
                self._made(size)

    def _made(self, size: int) -> None:
        from qdrant_client import models
        from qdrant_client.http.exceptions import UnexpectedResponse

        try:
            self.client.create_collection(
                self.collection,
                vectors_config={
                    "dense": models.VectorParams(size=size, distance=models.Distance.COSINE)
                },
                sparse_vectors_config={
                    "bm25": models.SparseVectorParams(modifier=models.Modifier.IDF)
                },
            )
        except UnexpectedResponse:
            # Replicas that start together make it together, and the server lets one of them.
            if not self.client.collection_exists(self.collection):
                raise
        kinds = {
            "keyword": models.PayloadSchemaType.KEYWORD,
            "day": models.PayloadSchemaType.INTEGER,
        }
        for field, kind in FILTERED.items():
            self.client.create_payload_index(self.collection, field, kinds[kind])

    def sparse(self, text: str, *, query: bool) -> models.SparseVector:
        from qdrant_client import models

        found = self.bm25.embed_query(text) if query else self.bm25.embed_document(text)
        return models.SparseVector(indices=list(found.indices), values=list(found.values))

    def upsert(self, chunks: Sequence[Chunk], vectors: Sequence[Sequence[float]]) -> None:
        from qdrant_client import models

        points = [
            models.PointStruct(
                id=chunk.id,
                vector={"dense": list(vector), "bm25": self.sparse(chunk.embedded, query=False)},
                payload=payload_of(chunk),
            )
            for chunk, vector in zip(chunks, vectors, strict=True)
        ]
        with reached():
            self.client.upsert(self.collection, points)

    def delete(self, ids: Sequence[str]) -> None:
        from qdrant_client import models

        if ids:
            with reached():
                self.client.delete(self.collection, models.PointIdsList(points=list(ids)))

    def mark(self, ids: Sequence[str], status: Status) -> None:
        if ids:
            with reached():
                self.client.set_payload(self.collection, {"status": status}, points=list(ids))

    def allowed(self, scope: Scope) -> models.Filter:
        from qdrant_client import models

        def one_of(key: str, values: Sequence[str]) -> models.FieldCondition:
            return models.FieldCondition(key=key, match=models.MatchAny(any=list(values)))

        expired = models.Range(lte=scope.today.toordinal())
        spoken = [] if scope.language is None else [one_of("language", [scope.language])]
        return models.Filter(
            must=[
                one_of("audience", scope.audiences),
                one_of("tenant", scope.tenants),
                one_of("status", ["current"]),
                *spoken,
            ],
            must_not=[models.FieldCondition(key="expires_day", range=expired)],
        )

    def search(
        self,
        text: str,
        vector: Sequence[float],
        *,
        limit: int,
        scope: Scope,
        way: Way = "hybrid",
    ) -> list[Hit]:
        from qdrant_client import models

        allowed = self.allowed(scope)
        fused = (
            models.FusionQuery(fusion=models.Fusion.DBSF)
            if wordy(text)
            else models.RrfQuery(rrf=models.Rrf(k=FUSION_K, weights=FUSION_WEIGHTS))
        )
        queries: dict[str, Any] = {"dense": list(vector), "bm25": self.sparse(text, query=True)}
        with reached():
            if way == "hybrid":
                found = self.client.query_points(
                    self.collection,
                    prefetch=[
                        models.Prefetch(
                            query=queries[name], using=name, limit=2 * limit, filter=allowed
                        )
                        for name in ("dense", "bm25", *(["bm25"] if wordy(text) else []))
                    ],
                    query=fused,
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
        return [
            Hit(str(p.id), dict(p.payload or {}), dense_of(p.vector), p.score) for p in found.points
        ]

    def vectors(self, ids: Sequence[str]) -> dict[str, list[float]]:
        with reached():
            records = self.client.retrieve(
                self.collection, list(ids), with_payload=False, with_vectors=["dense"]
            )
        return {str(record.id): dense_of(record.vector) for record in records}

    def payloads(self, ids: Sequence[str]) -> dict[str, dict[str, Any]]:
        with reached():
            records = self.client.retrieve(self.collection, list(ids), with_payload=True)
        return {str(record.id): dict(record.payload or {}) for record in records}

    def ids(self) -> set[str]:
        found: set[str] = set()
        after: Any = None
        with reached():
            while True:
                records, after = self.client.scroll(
                    self.collection, limit=PAGE, offset=after, with_payload=False
                )
                found.update(str(record.id) for record in records)
                if after is None:
                    return found

    def count(self) -> int:
        with reached():
            return self.client.count(self.collection).count

    def flush(self) -> None:
        """A server keeps what it acknowledged."""

    def close(self) -> None:
        """The connection belongs to all generations."""
