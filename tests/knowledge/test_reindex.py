"""A new index is built beside the one that answers; whatever happens to it, answers go on."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import pytest
from qdrant_client import QdrantClient

from app.knowledge import knowledge as knowledge_module
from app.knowledge.embeddings import EmbeddedMiniLM
from app.knowledge.index import EdgeIndexes, QdrantIndexes
from app.knowledge.knowledge import (
    HybridKnowledge,
    IndexUnhealthy,
    KnowledgeBusy,
    NothingBefore,
)
from app.knowledge.manifest import Manifest
from app.models.encoder import OnnxEncoder
from tools.ports import ModelUnavailable

QUERY = "what does sending goods back cost"
SOURCE = "articles/returning-goods.md"


class Gone:
    """An embedder whose model does not load."""

    name = "gone"

    async def size(self) -> int:
        return 384

    async def embed(self, texts: Sequence[str]) -> list[list[float]]:
        raise ModelUnavailable

    async def embed_query(self, text: str) -> list[float]:
        raise ModelUnavailable


class Zero(Gone):
    """An embedder that makes nothing of everything."""

    name = "zero"

    async def embed(self, texts: Sequence[str]) -> list[list[float]]:
        return [[0.0] * 384 for _ in texts]


async def test_answers_never_stop_during_a_swap(knowledge: HybridKnowledge, articles: Path) -> None:
    """Every question asked while an index is built, swapped and swapped back finds its article."""
    await knowledge.ingest([articles])
    version, found, over = knowledge.version, [], asyncio.Event()

    async def ask() -> None:
        while not over.is_set():
            found.append(next((p.source for p in await knowledge.retrieve(QUERY)), None))

    asking = [asyncio.create_task(ask()) for _ in range(3)]
    knowledge.model = "a newer model"
    for _ in range(3):
        await knowledge.reindex()
        await knowledge.rollback()
    await knowledge.reindex()
    over.set()
    await asyncio.gather(*asking)

    assert len(found) > 10
    assert set(found) == {SOURCE}
    assert knowledge.outdated is None
    assert knowledge.version != version


@pytest.mark.parametrize(("broken", "error"), [(Gone, ModelUnavailable), (Zero, IndexUnhealthy)])
async def test_a_build_that_fails_changes_nothing(
    knowledge: HybridKnowledge, articles: Path, broken: type[Gone], error: type[Exception]
) -> None:
    """The live index, its version and its questions are as before, and nothing half-made is left."""
    await knowledge.ingest([articles])
    version = knowledge.version
    knowledge.model = broken.name
    knowledge.embedder_named = lambda name: broken()
    with pytest.raises(error):
        await knowledge.reindex()

    assert knowledge.version == version
    assert set(knowledge.manifest.generations()) == {"live"}
    assert (await knowledge.retrieve(QUERY))[0].source == SOURCE


async def test_a_roll_back_brings_nothing_back_that_was_deleted(
    knowledge: HybridKnowledge, articles: Path
) -> None:
    """The earlier index answers without what is gone, and with what changed since."""
    await knowledge.ingest([articles])
    with pytest.raises(NothingBefore):
        await knowledge.rollback()
    knowledge.model = "a newer model"
    await knowledge.reindex()
    (articles / "tent-care.md").unlink()
    (articles / "kites.txt").write_text("Kites are flown in autumn.")
    await knowledge.ingest([articles])
    before = knowledge.manifest.generations()["previous"]
    kept = knowledge.target(before).index.ids()
    await knowledge.rollback()

    assert knowledge.live is not None
    assert knowledge.live.generation.number == before.number == 1
    assert len(kept) == knowledge.index.count() - 1  # deleted there too, at once
    sources = {p.source for p in await knowledge.retrieve("clean a tent, fly a kite", limit=50)}
    assert "articles/tent-care.md" not in sources
    assert "articles/kites.txt" in sources


def killed_at(line: str, *arguments: Path | str) -> None:
    """Run killed.py and kill it as soon as it has said that line."""
    command = [sys.executable, "-m", "tests.knowledge.killed", *map(str, arguments)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout is not None
        said = next((each for each in child.stdout if each.startswith(line)), None)
        child.kill()
    assert said is not None, "it ended before"


@pytest.mark.parametrize("model", ["", "a newer model"], ids=["ingest", "reindex"])
async def test_a_killed_run_is_continued(tmp_path: Path, encoder: OnnxEncoder, model: str) -> None:
    """kill -9 in the middle: what answers is whole, and the next run does only the rest."""
    notes = tmp_path / "notes"
    notes.mkdir()
    for number in range(60):
        (notes / f"{number}.txt").write_text(f"Kite {number} has {number} lines. It is flown.")
    if model:
        knowledge = HybridKnowledge.open(tmp_path / "kb", encoder)
        await knowledge.ingest([notes])
        knowledge.close()
    await asyncio.to_thread(killed_at, "Embedding 32", tmp_path / "kb", notes, model)
    knowledge = HybridKnowledge.open(tmp_path / "kb", encoder)
    if model:
        assert len(await knowledge.retrieve("kite 41")) == 15
        assert knowledge.index.count() == 60
        assert "building" in knowledge.manifest.generations()
        knowledge.model = model
        knowledge.embedder_named = partial(EmbeddedMiniLM, encoder)
        done: list[int] = []
        await knowledge.reindex(progress=lambda _, each, __: done.append(each))
        assert done[-1] < 60
    else:
        report = await knowledge.ingest([notes])
        assert (report.added, report.unchanged) == ([], 60)
        assert 0 < report.embedded < 60

    assert knowledge.index.ids() == set(knowledge.places)
    assert knowledge.index.count() == 60
    knowledge.close()


async def test_a_broken_index_is_made_again(
    tmp_path: Path, articles: Path, encoder: OnnxEncoder
) -> None:
    """The documents are kept as they were read, so that no file is needed for it."""
    knowledge = HybridKnowledge.open(tmp_path / "kb", encoder)
    await knowledge.ingest([articles])
    knowledge.close()
    for file in (tmp_path / "kb" / "knowledge" / "shards" / "1").rglob("*.json"):
        file.write_bytes(b"\0" * 10)
    knowledge = HybridKnowledge.open(tmp_path / "kb", encoder)
    report = await knowledge.ingest([articles])

    assert (report.unchanged, report.embedded) == (4, knowledge.index.count())
    assert (await knowledge.retrieve(QUERY))[0].source == SOURCE
    knowledge.close()


async def test_replicas_see_each_others_changes(
    tmp_path: Path, articles: Path, encoder: OnnxEncoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two processes on one Qdrant server and one database: documents, a swap, and one writer at a time."""
    monkeypatch.setattr(knowledge_module, "FOLLOWS", 0.0)
    monkeypatch.setattr(knowledge_module, "PATIENCE", 0.0)
    client = QdrantClient(":memory:")
    one, other = (
        HybridKnowledge(
            QdrantIndexes(client),
            Manifest.beside(tmp_path / "database"),
            encoder,
            embedder_named=partial(EmbeddedMiniLM, encoder),
        )
        for _ in range(2)
    )
    await one.ingest([articles])
    [first, *_] = await other.retrieve(QUERY)
    one.model = "a newer model"
    await one.reindex()
    [second, *_] = await other.retrieve(QUERY)
    [alias] = client.get_aliases().aliases

    assert first.source == second.source == SOURCE
    assert other.version == one.version
    assert (alias.alias_name, alias.collection_name) == ("knowledge-live", "knowledge-2")
    # Also where nobody asks: an answer given before is kept under the version that is known here.
    monkeypatch.setattr(knowledge_module, "FOLLOWS", 0.01)
    (articles / "another.md").write_text("# Another\n\nThis was written later.\n")
    async with other.following():
        await one.ingest([articles])
        async with asyncio.timeout(10):
            while other.version != one.version:  # noqa: ASYNC110 - nothing tells when it has looked
                await asyncio.sleep(0.01)
    async with one.leased():
        with pytest.raises(KnowledgeBusy):
            await other.ingest([articles])
    await other.ingest([articles])
    for each in (one, other):
        each.manifest.close()
    client.close()


def test_a_shard_appears_whole_or_not_at_all(tmp_path: Path) -> None:
    """What a killed process left of one is thrown away."""
    indexes = EdgeIndexes(tmp_path)
    (tmp_path / "shards" / "1.making").mkdir(parents=True)
    (tmp_path / "shards" / "1.making" / "half").write_text("x")
    index = indexes.open(1, 384)

    assert index.count() == 0
    assert [path.name for path in (tmp_path / "shards").iterdir()] == ["1"]
    index.close()
    indexes.close()
