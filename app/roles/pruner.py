"""The role `pruner`: which chunks, and which of their sentences, help with a question."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

from pydantic import Field

from app.releases import live_manifest
from app.roles import Answer
from app.roles.lines import Input, read_input
from tools.ports import Passage

if TYPE_CHECKING:
    from app.config import Settings


class Chunk(Input):
    id: str | int
    text: str
    title: str = ""


class PrunerInput(Input):
    query: str
    chunks: list[Chunk]
    budget_tokens: int | None = Field(default=None, ge=1)


@asynccontextmanager
async def pruner(settings: Settings) -> AsyncGenerator[Answer]:
    """The pruner alone: without a budget as in a turn (at most four chunks), with one as much as it holds."""
    from app.knowledge.pruner import SECTION, open_pruner
    from app.knowledge.selection import TOKEN_BUDGET, select
    from graphs.context import Limits
    from tools.injection import instructs

    manifest = await asyncio.to_thread(live_manifest, settings)
    cross = await asyncio.to_thread(
        open_pruner,
        settings.pruner,
        manifest.folder_of("cross-encoder-lora", "pruner"),
        settings.data_dir / "knowledge",
        floor=settings.pruner_floor,
    )
    usual = Limits().kept_chunks

    async def answer(row: dict[str, Any]) -> dict[str, Any]:
        asked = read_input(PrunerInput, row)
        # Ids may repeat, and 1 is not "1": each chunk goes by its place.
        ids = {str(place): chunk.id for place, chunk in enumerate(asked.chunks)}
        passages = [
            # Chunks with one title are of one article.
            Passage(
                id=place,
                text=chunk.text,
                title=chunk.title,
                source=chunk.title.partition(SECTION)[0] or f"#{place}",
            )
            for place, chunk in zip(ids, asked.chunks, strict=True)
        ]
        judged = await cross.score(asked.query if asked.query.strip() else "?", passages, {})
        answerable = bool(asked.query.strip()) and judged.answerable >= cross.floor
        kept = select(
            judged.scored if answerable else [],
            judged.vectors,
            {place: number for number, place in enumerate(ids)},
            keep=None if asked.budget_tokens else usual,
            noise=cross.noise,
            sentence_floor=cross.sentence_floor,
            budget=asked.budget_tokens or TOKEN_BUDGET,
        )
        return {
            "kept": [ids[p.id] for p in kept],
            "sentences": [{"id": ids[p.id], "sentences": list(p.sentences)} for p in kept],
            "scores": [
                {"id": ids[s.passage.id], "score": round(s.probability, 4)} for s in judged.scored
            ],
            "answerable": bool(kept),
            "probability": round(judged.answerable, 4),
            "flagged": [ids[p.id] for p in passages if instructs(p.text)],
            "pruned_by": cross.name,
        }

    yield answer
