"""A process that ingests or re-indexes and says how far it is, so that a test can kill it there."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

from app.knowledge.knowledge import HybridKnowledge
from app.models.encoder import OnnxEncoder


def told(what: str, done: int, total: int) -> None:
    sys.stdout.write(f"{what} {done}\n")
    sys.stdout.flush()


async def main(folder: Path, notes: Path, model: str) -> None:
    encoder = OnnxEncoder()
    knowledge = HybridKnowledge.open(folder, encoder)
    if model:
        knowledge.model = model
        knowledge.embedder_named = lambda name: Renamed(name, encoder)
        await knowledge.reindex(progress=told)
    else:
        await knowledge.ingest([notes], progress=told)


class Renamed:
    """The embedded model under another name."""

    def __init__(self, name: str, encoder: OnnxEncoder) -> None:
        self.name = name
        self.encoder = encoder

    async def size(self) -> int:
        return 384

    async def embed(self, texts: list[str]) -> list[list[float]]:
        return await self.encoder.embed(texts)

    async def embed_query(self, text: str) -> list[float]:
        return (await self.encoder.embed([text]))[0]


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3]))
