"""Whether the stores can be written: a store that only reads is as good as none."""

from __future__ import annotations

import asyncio
import sqlite3
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from app.health import Checks, check
from app.stores.database import writing
from tools.ports import BackendUnavailable

if TYPE_CHECKING:
    from langgraph.checkpoint.base import BaseCheckpointSaver


@dataclass(frozen=True)
class StoreHealth:
    """The database, and where the conversations are kept."""

    engine: sa.Engine
    saver: BaseCheckpointSaver[Any]

    async def health(self) -> Checks:
        return {"database": await self._database(), "checkpoints": await self._checkpoints()}

    async def _database(self) -> dict[str, Any]:
        try:
            await asyncio.to_thread(_begin_to_write, self.engine)
        except BackendUnavailable as error:
            return check(str(error), at_worst="down")
        return check(None)

    async def _checkpoints(self) -> dict[str, Any]:
        saver, kind = self.saver, type(self.saver).__name__
        try:
            await saver.aget_tuple({"configurable": {"thread_id": "health", "checkpoint_ns": ""}})
            # Begun as what writes, and nothing is written.
            await saver.adelete_thread("health")
        except (BackendUnavailable, *_database_errors(), OSError) as error:
            return check(str(error.__cause__ or error), at_worst="down", kind=kind)
        return check(None, kind=kind)


def _begin_to_write(engine: sa.Engine) -> None:
    # Begun as what writes, and nothing is written.
    with writing(engine, fenced=False) as connection:
        connection.execute(sa.text("DELETE FROM holds WHERE name = ''"))


def _database_errors() -> tuple[type[Exception], ...]:
    # Only where PostgreSQL is in use is its driver loaded, and can raise.
    driver = sys.modules.get("psycopg")
    return (sqlite3.Error,) if driver is None else (sqlite3.Error, driver.Error)


__all__ = ["StoreHealth"]
