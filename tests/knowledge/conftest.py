"""Three small articles, a real encoder and real indexes to put them in."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

import pytest

from app.knowledge.embeddings import EmbeddedMiniLM
from app.knowledge.index import EdgeIndexes, Indexes, QdrantIndexes
from app.knowledge.knowledge import HybridKnowledge
from app.knowledge.manifest import Manifest
from app.models.encoder import OnnxEncoder
from tools.values import Clock

RETURNS = """---
title: Returning goods
slug: returning-goods
audience: public
updated: 2026-03-01
supersedes: old-returns
---

# Returning goods

Unused goods can be sent back within 30 days. They must be in their original box.

## Cost of a return

A return label costs 3.95 EUR. It is free for members of a plan.
"""

OLD_RETURNS = """---
title: Returning goods (2023)
slug: old-returns
audience: public
updated: 2023-03-01
---

# Returning goods

Unused goods can be sent back within 14 days. They must be in their original box.
"""

TENTS = """---
title: Looking after a tent
slug: tent-care
audience: public
updated: 2026-01-10
---

# Looking after a tent

## Cleaning

Clean a tent by hand with lukewarm water and a soft sponge. Never put it in a washing machine.

## Drying

Before storing a tent:

- shake out sand and leaves
- let it dry for two days

| Fabric | Hours to dry |
| --- | --- |
| Nylon | 12 |
| Cotton | 48 |
"""

STAFF = """---
title: Goodwill for agents
slug: goodwill
audience: internal
updated: 2026-01-10
---

Agents may give a goodwill credit of 15 EUR when a parcel is late.
"""


@pytest.fixture(scope="session")
def encoder() -> OnnxEncoder:
    """The real int8 MiniLM."""
    return OnnxEncoder()


@pytest.fixture
def articles(tmp_path: Path) -> Path:
    """A folder with a current, a superseded, a structured and an internal article."""
    folder = tmp_path / "articles"
    folder.mkdir()
    for name, text in (
        ("returning-goods", RETURNS),
        ("old-returns", OLD_RETURNS),
        ("tent-care", TENTS),
        ("goodwill", STAFF),
    ):
        (folder / f"{name}.md").write_text(text)
    return folder


@pytest.fixture(params=["edge", "qdrant"])
def indexes(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Indexes]:
    """Both adapters of the index port."""
    from qdrant_client import QdrantClient

    made = (
        EdgeIndexes(tmp_path / "edge")
        if request.param == "edge"
        else QdrantIndexes(QdrantClient(":memory:"))
    )
    yield made
    made.close()


@pytest.fixture
def clock() -> Clock:
    return Clock(lambda: datetime(2026, 6, 1, 12, tzinfo=UTC))


@pytest.fixture
def knowledge(
    indexes: Indexes, tmp_path: Path, encoder: OnnxEncoder, clock: Clock
) -> Iterator[HybridKnowledge]:
    """Knowledge over each adapter, nothing ingested, pruned by the cosine rule."""
    manifest = Manifest.beside(tmp_path / "list")
    made = HybridKnowledge(
        indexes,
        manifest,
        encoder,
        clock=clock,
        # Every model is the one there is, under the name that was asked for.
        embedder_named=partial(EmbeddedMiniLM, encoder),
    )
    yield made
    made.close()
