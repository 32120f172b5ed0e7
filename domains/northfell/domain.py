"""The demo shop for the engine: what it can do, and its transactional books."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

from domains.northfell.operations import OPERATIONS
from domains.northfell.store import SqlCustomers, sql_books
from domains.northfell.words import LEXICON
from tools.domain import Books, Opening

__all__ = ["LEXICON", "OPERATIONS", "open_books"]


@asynccontextmanager
async def open_books(opening: Opening) -> AsyncGenerator[Books]:
    """The shop's books in the ledger's own database; an empty shop is filled with its demo data."""
    engine, clock = opening.engine, opening.clock

    def filling(done: int, total: int) -> None:
        opening.progress("Filling the demo shop", done, total)

    if await asyncio.to_thread(SqlCustomers(engine, clock).empty):
        from domains.northfell.seed import seed

        await asyncio.to_thread(seed, engine, clock.today(), filling)
    yield sql_books(engine, clock)
