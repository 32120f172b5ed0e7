"""A candidate's pruner on the live knowledge base."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

from app.knowledge.knowledge import HybridKnowledge
from app.knowledge.pruner import Pruner, PrunerUnusable
from tools.ports import ModelUnavailable, Passage


class PrunedBeside:
    """Looks through chunks that were found already; what it keeps is counted nowhere."""

    def __init__(self, knowledge: HybridKnowledge, load: Callable[[], Pruner], digest: str) -> None:
        self._knowledge = knowledge
        self._load = load
        self._loading: asyncio.Future[Pruner] | None = None
        self.pruner_digest = digest
        self.pruned_by = f"candidate {digest}"

    async def prune(
        self, query: str, passages: Sequence[Passage], *, keep: int = 4
    ) -> list[Passage]:
        return await self._knowledge.kept_by(await self._pruner(), query, passages, keep=keep)

    async def _pruner(self) -> Pruner:
        if self._loading is None:
            self._loading = asyncio.ensure_future(asyncio.to_thread(self._load))
        try:
            # It goes on loading when a turn comes in between.
            return await asyncio.shield(self._loading)
        except PrunerUnusable as error:
            raise ModelUnavailable(f"The candidate's pruner cannot be used: {error}") from error
