"""What Studio's runs stand on: a knowledge base that comes late, and the real wiring by a setting."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from app.studio_world import KnowledgeNotRead, LateKnowledge
from tools.ports import Knowledge, Passage


class Read:
    """A knowledge base that was read."""

    version, pruned_by, pruner_digest = "v1", "rule", "d"

    async def retrieve(
        self,
        query: str,
        *,
        limit: int = 15,
        audience: str = "public",
        tenant: str | None = None,
        language: str | None = None,
    ) -> list[Passage]:
        return [Passage(id="1", text=query, title="t", source="a.md", score=1.0)]

    async def prune(
        self, query: str, passages: Sequence[Passage], *, keep: int = 4
    ) -> list[Passage]:
        return [*passages]


async def test_a_failed_load_is_not_kept() -> None:
    """The question that meets the failure is told so; the next one reads the knowledge base again."""
    attempts: list[str] = []

    async def open_it() -> Knowledge:
        attempts.append("once")
        if len(attempts) == 1:
            raise OSError("the folder is on a disk that is away")
        return Read()

    late = LateKnowledge(open_it)
    with pytest.raises(KnowledgeNotRead, match="disk that is away"):
        await late.retrieve("How long?")
    assert late.version == "opening"

    assert [each.text for each in await late.retrieve("How long?")] == ["How long?"]
    assert (late.version, late.pruned_by, late.pruner_digest) == ("v1", "rule", "d")
    await late.retrieve("Again?")
    assert len(attempts) == 2
