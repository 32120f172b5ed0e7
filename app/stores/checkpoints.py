"""LangGraph's memory in a SQLite file, cheap enough for every step of every turn."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from typing import Any, TypeVar
from uuid import UUID

from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.base import (
    WRITES_IDX_MAP,
    ChannelVersions,
    Checkpoint,
    CheckpointMetadata,
    CheckpointTuple,
)
from langgraph.checkpoint.sqlite import SqliteSaver

Found = TypeVar("Found")


class SqliteCheckpoints(SqliteSaver):
    """The synchronous saver behind one worker thread.

    LangGraph's own asynchronous one changes threads for every cursor, statement and commit, about two
    hundred times in a turn; here it is once for each checkpoint.
    """

    def __init__(self, connection: sqlite3.Connection, worker: ThreadPoolExecutor) -> None:
        super().__init__(connection)
        self._worker = worker

    async def _there(self, work: Callable[[], Found]) -> Found:
        return await asyncio.get_running_loop().run_in_executor(self._worker, work)

    async def aget_tuple(self, config: RunnableConfig) -> CheckpointTuple | None:
        return await self._there(lambda: self.get_tuple(config))

    async def alist(
        self,
        config: RunnableConfig | None,
        *,
        filter: dict[str, Any] | None = None,
        before: RunnableConfig | None = None,
        limit: int | None = None,
    ) -> AsyncIterator[CheckpointTuple]:
        found = await self._there(
            lambda: list(self.list(config, filter=filter, before=before, limit=limit))
        )
        for each in found:
            yield each

    async def aput(
        self,
        config: RunnableConfig,
        checkpoint: Checkpoint,
        metadata: CheckpointMetadata,
        new_versions: ChannelVersions,
    ) -> RunnableConfig:
        return await self._there(lambda: self.put(config, checkpoint, metadata, new_versions))

    async def aput_writes(
        self,
        config: RunnableConfig,
        writes: Sequence[tuple[str, Any]],
        task_id: str,
        task_path: str = "",
    ) -> None:
        """Interrupts, answers and errors are kept; what a step returned is in the checkpoint that follows.

        After a crash in between the step runs again, which every step of ours bears: an action's effect
        is the ledger's business."""
        kept = any(channel in WRITES_IDX_MAP for channel, _ in writes)
        if not kept and UUID(task_id).int:  # Task zero stands for what came from outside.
            return
        await self._there(lambda: self.put_writes(config, writes, task_id, task_path))

    async def adelete_thread(self, thread_id: str) -> None:
        await self._there(lambda: self.delete_thread(thread_id))


@asynccontextmanager
async def sqlite_checkpoints(path: str) -> AsyncGenerator[SqliteCheckpoints]:
    """A saver on a file; what was written is on disk before a step that waits for it goes on."""
    with ThreadPoolExecutor(1, thread_name_prefix="checkpoints") as worker:
        loop = asyncio.get_running_loop()
        saver = await loop.run_in_executor(worker, lambda: _opened(path, worker))
        try:
            yield saver
        finally:
            await loop.run_in_executor(worker, saver.conn.close)


def _opened(path: str, worker: ThreadPoolExecutor) -> SqliteCheckpoints:
    connection = sqlite3.connect(path, check_same_thread=False)
    saver = SqliteCheckpoints(connection, worker)
    saver.setup()
    # As the stores do: a killed process loses nothing, and no commit waits for the disk.
    connection.execute("PRAGMA synchronous=NORMAL")
    connection.execute("PRAGMA busy_timeout=5000")
    return saver
