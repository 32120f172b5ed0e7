"""The index follows the folder: only changes are embedded, what is gone is gone, failures are listed."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path

import pytest

from app.knowledge.index import EdgeIndexes, IndexInUse
from app.knowledge.knowledge import HybridKnowledge
from app.models.encoder import OnnxEncoder
from tools.ports import Choice, ModelUnavailable


class FailingEncoder:
    """The real encoder until it has embedded ``works`` batches; then its server is gone."""

    def __init__(self, encoder: OnnxEncoder, works: int) -> None:
        self.encoder = encoder
        self.left = works

    async def embed(self, texts: Sequence[str]) -> list[list[float]]:
        self.left -= 1
        if self.left < 0:
            raise ModelUnavailable
        return await self.encoder.embed(texts)

    async def classify(self, head: str, text: str, *, before: str = "") -> Choice:
        return await self.encoder.classify(head, text)


async def test_nothing_blocks_the_event_loop(
    tmp_path: Path, encoder: OnnxEncoder, articles: Path
) -> None:
    """Opened, filled, asked and changed without one blocking call on the loop, as `langgraph dev` demands."""
    from blockbuster import blockbuster_ctx

    (articles / "odd.csv").write_text("question,answer\nHow long?,Two days\n")
    with blockbuster_ctx(["app", "graphs", "tools"]):
        knowledge = await asyncio.to_thread(HybridKnowledge.open, tmp_path / "index", encoder)
        first = await knowledge.ingest([articles])
        found = await knowledge.retrieve("How long may a tent dry?")
        kept = await knowledge.prune("How long may a tent dry?", found)
        await asyncio.to_thread((articles / "old-returns.md").unlink)
        second = await knowledge.ingest([articles])
        await asyncio.to_thread(knowledge.close)

    assert (len(first.added), second.removed) == (5, ["articles/old-returns.md"])
    assert found
    assert kept


async def test_a_second_run_embeds_nothing(knowledge: HybridKnowledge, articles: Path) -> None:
    """What did not change is neither read into chunks nor embedded again."""
    first = await knowledge.ingest([articles])
    version = knowledge.version
    second = await knowledge.ingest([articles])

    assert len(first.added) == 4
    assert first.embedded == knowledge.index.count()
    assert (second.embedded, second.unchanged) == (0, 4)
    assert version == knowledge.version


async def test_only_the_changed_document_is_embedded(
    knowledge: HybridKnowledge, articles: Path
) -> None:
    """An edit replaces the document's chunks, drops surplus ones and changes the version."""
    await knowledge.ingest([articles])
    version, chunks = knowledge.version, knowledge.index.count()
    (articles / "tent-care.md").write_text("# Looking after a tent\n\nDry it on a line.\n")
    report = await knowledge.ingest([articles])

    assert report.changed == ["articles/tent-care.md"]
    assert report.embedded == 1
    assert chunks - 1 == knowledge.index.count()
    assert version != knowledge.version
    [found, *_] = await knowledge.retrieve("how do I dry a tent")
    assert found.text == "Dry it on a line."


async def test_deleted_documents_leave_the_index(
    knowledge: HybridKnowledge, articles: Path
) -> None:
    """A removed file cannot be found any more, and other folders are left alone."""
    other = articles.parent / "other"
    other.mkdir()
    (other / "note.txt").write_text("Kites are sold in spring.")
    await knowledge.ingest([articles, other])
    (articles / "tent-care.md").unlink()
    report = await knowledge.ingest([articles])

    assert report.removed == ["articles/tent-care.md"]
    found = {passage.source for passage in await knowledge.retrieve("clean a tent with a sponge")}
    assert "articles/tent-care.md" not in found
    assert "other/note.txt" in found


async def test_broken_documents_are_listed_and_the_rest_goes_in(
    knowledge: HybridKnowledge, articles: Path
) -> None:
    """One bad file stops nothing; its reason is kept for the report."""
    (articles / "broken.md").write_bytes(b"---\ntitle: [open\n---\nText.")
    report = await knowledge.ingest([articles])

    assert len(report.added) == 4
    assert [source for source, _ in report.failed] == ["articles/broken.md"]
    assert "not YAML" in dict(knowledge.manifest.failures())["articles/broken.md"]


async def test_a_broken_edit_keeps_the_last_good_version(
    knowledge: HybridKnowledge, articles: Path
) -> None:
    """Answers go on from what was read before."""
    await knowledge.ingest([articles])
    (articles / "tent-care.md").write_bytes(b"\xff\xfe")
    await knowledge.ingest([articles])

    sources = {passage.source for passage in await knowledge.retrieve("clean a tent by hand")}
    assert "articles/tent-care.md" in sources


async def test_an_interrupted_run_continues(tmp_path: Path, encoder: OnnxEncoder) -> None:
    """What was done before the interruption is not done again; the rest is."""
    notes = tmp_path / "notes"
    notes.mkdir()
    for number in range(40):
        (notes / f"{number}.txt").write_text(f"Kite {number} has {number} lines.")
    broken = HybridKnowledge.open(tmp_path / "kb", FailingEncoder(encoder, works=1))
    with pytest.raises(ModelUnavailable):
        await broken.ingest([notes])
    broken.close()
    knowledge = HybridKnowledge.open(tmp_path / "kb", encoder)
    report = await knowledge.ingest([notes])

    assert (len(report.added), report.unchanged) == (0, 40)
    assert 0 < report.embedded < 40
    assert knowledge.index.count() == 40
    knowledge.close()


async def test_progress_is_told_for_every_document(
    knowledge: HybridKnowledge, articles: Path
) -> None:
    """A progress bar can be drawn from the calls."""
    told: list[tuple[str, int, int]] = []
    await knowledge.ingest([articles], progress=lambda *step: told.append(step))

    assert told == [*(("Reading documents", n, 4) for n in (1, 2, 3, 4)), ("Embedding", 4, 4)]


async def test_a_missing_folder_removes_nothing(knowledge: HybridKnowledge, articles: Path) -> None:
    """A mistyped path is an error, not an empty knowledge base."""
    await knowledge.ingest([articles])
    with pytest.raises(FileNotFoundError):
        await knowledge.ingest([articles.parent / "artcles"])

    assert len(knowledge.manifest.digests()) == 4


def test_one_folder_is_for_one_process(tmp_path: Path) -> None:
    """A second opener is told what to do instead of getting an engine error."""
    index = EdgeIndexes(tmp_path / "edge")
    with pytest.raises(IndexInUse, match="Qdrant server"):
        EdgeIndexes(tmp_path / "edge")
    index.close()
    EdgeIndexes(tmp_path / "edge").close()


async def test_reopening_finds_what_was_ingested(
    tmp_path: Path, articles: Path, encoder: OnnxEncoder
) -> None:
    """The index survives its process, and its version with it."""
    knowledge = HybridKnowledge.open(tmp_path / "kb", encoder)
    await knowledge.ingest([articles])
    version = knowledge.version
    knowledge.close()
    knowledge = HybridKnowledge.open(tmp_path / "kb", encoder)

    assert version == knowledge.version
    [found, *_] = await knowledge.retrieve("what does sending goods back cost")
    assert found.source == "articles/returning-goods.md"
    knowledge.close()
