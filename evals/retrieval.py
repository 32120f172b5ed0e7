"""How well the documents of doc2dial are found from its dialogues, and what finding and ingesting cost."""

from __future__ import annotations

import asyncio
import gzip
import json
import random
import statistics
import tempfile
import time
import warnings
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import date
from pathlib import Path
from typing import Any

from app.knowledge.documents import Chunk, chunks_of
from app.knowledge.embeddings import BATCH
from app.knowledge.index import EdgeIndex, QdrantIndex, Scope, Way
from app.knowledge.ingest import standings
from app.knowledge.knowledge import HybridKnowledge
from app.models.encoder import OnnxEncoder
from evals.figures import Figure, NotPossible, Report, Table, at_least, at_most
from evals.world import Folders, Progress, quiet

FOLDER = Path("kb_doc2dial")
HOW = (
    "This suite reads SIGNALBOX_DATA/{folder}/documents.jsonl.gz (doc_id, title, text) and queries.jsonl.gz "
    "(doc_id, history), and {why}. They are the documents and dialogues of doc2dial (CC BY 3.0, "
    "github.com/doc2dial/sharedtask-dialdoc2021), a document and a user's turn a line; set SIGNALBOX_DATA to "
    "the folder above."
)
WAYS: tuple[Way, ...] = ("sparse", "dense", "hybrid")
FIRST = 5
CHUNKS = 5000
ASKED = 50
TODAY = Scope(audiences=("public",), tenants=("",), today=date(2026, 1, 1))


@dataclass(frozen=True)
class Query:
    """A user's turn with what was said before, and the document that the next turn is grounded in."""

    text: str
    history: tuple[str, ...]
    document: str


@dataclass(frozen=True)
class Quality:
    """How well one way of searching finds."""

    recall: float
    mrr: float
    p50_ms: float


def queries(data: Path | None) -> tuple[Path, list[Query]]:
    """The file of documents and all queries; raises NotPossible."""
    folder = None if data is None else data / FOLDER
    if folder is None or not (folder / "queries.jsonl.gz").exists():
        why = "SIGNALBOX_DATA is not set" if folder is None else f"{folder} has no such files"
        raise NotPossible(HOW.format(folder=FOLDER, why=why))
    with gzip.open(folder / "queries.jsonl.gz", "rt", encoding="utf-8") as lines:
        rows: list[dict[str, Any]] = [json.loads(line) for line in lines]
    found = [
        Query(
            row["history"][-1]["text"],
            tuple(said["text"] for said in row["history"][:-1]),
            row["doc_id"],
        )
        for row in rows
    ]
    return folder / "documents.jsonl.gz", found


async def quality(
    knowledge: HybridKnowledge, asked: Sequence[Query], way: Way, progress: Progress
) -> Quality:
    ranks: list[int | None] = []
    spent: list[float] = []
    for number, query in enumerate(asked, start=1):
        started = time.perf_counter()
        found = await knowledge.documents(query.text, history=query.history, way=way)
        spent.append(1000 * (time.perf_counter() - started))
        ids = [each.document for each in found]
        ranks.append(ids.index(query.document) + 1 if query.document in ids else None)
        progress(f"Searching: {way}", number, len(asked))
    return Quality(
        recall=sum(rank is not None and rank <= FIRST for rank in ranks) / len(ranks),
        mrr=sum(1 / rank for rank in ranks if rank) / len(ranks),
        p50_ms=statistics.median(spent),
    )


async def bare_loop(chunks: Sequence[Chunk]) -> float:
    """Seconds that embedding the same texts takes, batch by batch, with nothing around it."""
    encoder = OnnxEncoder(cached=1)
    await encoder.warm()
    started = time.perf_counter()
    for start in range(0, len(chunks), BATCH):
        await encoder.embed([chunk.embedded for chunk in chunks[start : start + BATCH]])
    return time.perf_counter() - started


def latency(folder: Path, chunks: Sequence[Chunk], vectors: dict[str, list[float]]) -> list[float]:
    """Milliseconds of a hybrid search among CHUNKS, p50: embedded, and the client's local path mode."""
    from qdrant_client import QdrantClient

    chance = random.Random(1)
    many: list[tuple[Chunk, list[float]]] = []
    while len(many) < CHUNKS:
        chunk = chunks[len(many) % len(chunks)]
        vector = [x + chance.gauss(0, 0.02) for x in vectors[chunk.id]]
        # Every copy has an id of its own.
        name = f"{len(many):08x}-0000-4000-8000-000000000000"
        many.append((replace(chunk, id=name), vector))
    client = QdrantClient(path=str(folder / "local"))
    with warnings.catch_warnings():
        # It says that it keeps no payload indexes: that is part of what is compared.
        warnings.simplefilter("ignore", UserWarning)
        indexes = [EdgeIndex(folder / "edge"), QdrantIndex(client, "local")]
    medians: list[float] = []
    for index in indexes:
        for start in range(0, len(many), 500):
            part = many[start : start + 500]
            index.upsert([chunk for chunk, _ in part], [vector for _, vector in part])
        spent: list[float] = []
        for chunk, vector in chance.sample(many, ASKED):
            started = time.perf_counter()
            found = index.search(chunk.text[:80], vector, limit=15, scope=TODAY)
            spent.append(1000 * (time.perf_counter() - started))
            assert len(found) == 15
        medians.append(statistics.median(spent))
        index.close()
    client.close()
    return medians


async def measure(
    data: Path | None, folder: Path, every: int, progress: Progress
) -> tuple[dict[Way, Quality], float, float, list[float], int, int]:
    documents, asked = queries(data)
    asked = asked[::every]
    encoder = OnnxEncoder()
    await encoder.warm()
    knowledge = HybridKnowledge.open(folder / "kb", encoder)
    try:
        started = time.perf_counter()
        report = await knowledge.ingest([documents], progress=progress)
        ingested = time.perf_counter() - started
        names = sorted(knowledge.manifest.digests())
        status = standings(knowledge.manifest)
        chunks = [
            chunk
            for document in knowledge.manifest.read_documents(names)
            for chunk in chunks_of(document, status[document.source])
        ]
        progress("Embedding in a bare loop", 0, 0)
        bare = await bare_loop(chunks)
        found: dict[Way, Quality] = {
            way: await quality(knowledge, asked, way, progress) for way in WAYS
        }
        progress(f"Searching among {CHUNKS} chunks", 0, 0)
        vectors = knowledge.index.vectors([chunk.id for chunk in chunks])
        medians = await asyncio.to_thread(latency, folder, chunks, vectors)
    finally:
        knowledge.close()
    return found, ingested, bare, medians, report.embedded, len(asked)


def run(
    folders: Folders, progress: Progress = quiet, *, data: Path | None = None, every: int = 1
) -> Report:
    """The whole suite; ``every`` takes each n-th query only."""
    with tempfile.TemporaryDirectory(prefix="signalbox-retrieval-") as folder:
        found, ingested, bare, medians, chunks, asked = asyncio.run(
            measure(data, Path(folder), every, progress)
        )
    hybrid, dense, sparse = found["hybrid"], found["dense"], found["sparse"]
    best_recall, best_mrr = max(dense.recall, sparse.recall), max(dense.mrr, sparse.mrr)
    alone = "BM25 alone {:.3f}, dense alone {:.3f}"
    table = Table("doc2dial documents", ("way", "recall@5", "MRR", "query p50 ms"))
    for way, each in found.items():
        table.rows.append((way, f"{each.recall:.3f}", f"{each.mrr:.3f}", f"{each.p50_ms:.1f}"))
    return Report(
        "retrieval",
        figures=[
            Figure(
                "document recall@5, hybrid",
                hybrid.recall,
                target=at_least(best_recall),
                baseline=alone.format(sparse.recall, dense.recall),
                ratio=hybrid.recall / best_recall,
            ),
            Figure(
                "document MRR, hybrid",
                hybrid.mrr,
                target=at_least(best_mrr),
                baseline=alone.format(sparse.mrr, dense.mrr),
                ratio=hybrid.mrr / best_mrr,
            ),
            Figure(
                f"hybrid search among {CHUNKS:,} chunks, p50, beside qdrant-client's local mode",
                medians[0] / medians[1],
                target=at_most(0.1),
                baseline=f"{medians[0]:.1f} ms beside {medians[1]:.1f} ms",
            ),
            Figure(
                "chunks ingested a second, beside embedding the same texts in a bare loop",
                bare / ingested,
                target=at_least(0.85),
                baseline=f"{chunks / ingested:.0f} beside {chunks / bare:.0f}",
            ),
        ],
        tables=[table],
        notes=[f"{asked} queries, {chunks} chunks."],
    )
