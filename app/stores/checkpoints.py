"""LangGraph's memory in a SQLite file, cheap enough for every step of every turn, and closed to whoever lost
its hold on the thread."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Generator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, contextmanager
from contextvars import copy_context
from datetime import datetime
from typing import TYPE_CHECKING, Any, TypeVar
from uuid import UUID

from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.base import (
    WRITES_IDX_MAP,
    ChannelVersions,
    Checkpoint,
    CheckpointMetadata,
    CheckpointTuple,
)
from langgraph.checkpoint.base import id as ids
from langgraph.checkpoint.sqlite import SqliteSaver

from app.stores.database import SQLITE_BUSY_MS, SQLITE_LOG_BYTES, give_pages_back, vacuum
from app.stores.fences import Hold, HoldLost, held, holds
from app.stores.sizes import earliest_of
from tools.ports import BackendUnavailable

if TYPE_CHECKING:
    from app.stores.postgres_checkpoints import PostgresCheckpoints

Found = TypeVar("Found")

_FENCES = "CREATE TABLE IF NOT EXISTS fences (name TEXT PRIMARY KEY, token INTEGER NOT NULL)"
#: Also PostgreSQL's: ids sort as their moments do.
IDLE = """SELECT thread_id FROM checkpoints
WHERE checkpoint_ns = '' AND (substr(thread_id, 1, 4) = 'act_') = {}
GROUP BY thread_id HAVING max(checkpoint_id) < {} ORDER BY max(checkpoint_id) LIMIT {}"""
NEWEST = "SELECT max(checkpoint_id) AS newest FROM checkpoints WHERE thread_id = {}"
_ACTS_OF = """SELECT DISTINCT thread_id FROM checkpoints
WHERE json_extract(CAST(metadata AS TEXT), '$.of_thread') = ?"""
_ADMIT = """INSERT INTO fences (name, token) VALUES (?, ?)
ON CONFLICT (name) DO UPDATE SET token = excluded.token WHERE excluded.token > token"""


class SqliteCheckpoints(SqliteSaver):
    """The synchronous saver behind one worker thread.

    LangGraph's own asynchronous one changes threads for every cursor, statement and commit, about two
    hundred times in a turn; here it is once for each checkpoint.

    The table of holds is in another file, so this one remembers the greatest token it was told of for each
    thread (`admit`), before anything is read under it; what is written under a smaller one is refused, in
    the same transaction. Rows stay: one that slept since before its admission must still find a greater.
    """

    def __init__(self, connection: sqlite3.Connection, worker: ThreadPoolExecutor) -> None:
        super().__init__(connection)
        self._worker = worker
        self._newest: tuple[str, str, str] | None = None

    async def _there(self, work: Callable[[], Found]) -> Found:
        # With the caller's context, which says what it holds.
        run = copy_context().run
        return await asyncio.get_running_loop().run_in_executor(self._worker, run, work)

    @contextmanager
    def cursor(self, transaction: bool = True) -> Generator[sqlite3.Cursor]:
        """One transaction, begun as what it is; a reading one asks for no fence."""
        with self.lock, _unavailable_as_port_error():
            self.setup()
            cursor = self.conn.cursor()
            cursor.execute("BEGIN IMMEDIATE" if transaction else "BEGIN")
            try:
                if transaction:
                    _confirm(cursor)
                yield cursor
                if transaction and self._newest is not None:
                    _drop_earlier(cursor, *self._newest)
                self.conn.commit()
            except BaseException:
                self.conn.rollback()
                raise
            finally:
                cursor.close()

    async def admit(self, hold: Hold) -> None:
        """From here on only this hold, or a later one, writes on its thread."""
        await self._there(lambda: self._admit(hold))

    def _admit(self, hold: Hold) -> None:
        with self.cursor() as cursor:
            if cursor.execute(_ADMIT, (hold.name, hold.token)).rowcount != 1:
                raise HoldLost

    async def aget_tuple(self, config: RunnableConfig) -> CheckpointTuple | None:
        return seen(await self._there(lambda: self.get_tuple(config)))

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
        must_hold(config)
        return await self._there(lambda: self._put(config, checkpoint, metadata, new_versions))

    def _put(
        self,
        config: RunnableConfig,
        checkpoint: Checkpoint,
        metadata: CheckpointMetadata,
        new_versions: ChannelVersions,
    ) -> RunnableConfig:
        """Put it in the place of the one before: a thread is never larger than its newest state.

        Whatever a step needs of its predecessor is in its checkpoint, and a checkpoint of the whole graph comes after
        those of the graphs within."""
        where: dict[str, Any] = config.get("configurable", {})
        self._newest = (str(where["thread_id"]), str(where["checkpoint_ns"]), checkpoint["id"])
        try:
            return self.put(config, checkpoint, metadata, new_versions)
        finally:
            self._newest = None

    async def aput_writes(
        self,
        config: RunnableConfig,
        writes: Sequence[tuple[str, Any]],
        task_id: str,
        task_path: str = "",
    ) -> None:
        must_hold(config)
        if has_to_be_kept(writes, task_id):
            await self._there(lambda: self.put_writes(config, writes, task_id, task_path))

    async def adelete_thread(self, thread_id: str) -> None:
        await self._there(lambda: self.delete_thread(thread_id))

    async def acts_of(self, thread: str) -> list[str]:
        """The threads of actions that were proposed on this one."""
        return await self._there(lambda: self._acts_of(thread))

    def _acts_of(self, thread: str) -> list[str]:
        with self.cursor(transaction=False) as cursor:
            return [row[0] for row in cursor.execute(_ACTS_OF, (thread,))]

    async def newest(self, thread: str) -> str | None:
        """The id of a thread's newest checkpoint."""
        return await self._there(lambda: self._newest_of(thread))

    def _newest_of(self, thread: str) -> str | None:
        with self.cursor(transaction=False) as cursor:
            return cursor.execute(NEWEST.format("?"), (thread,)).fetchone()[0]

    async def idle_since(self, moment: datetime, limit: int, *, acts: bool) -> list[str]:
        """Conversations, or the threads of actions, on which nothing was written since then, longest first."""
        return await self._there(lambda: self._idle_since(moment, limit, acts))

    def _idle_since(self, moment: datetime, limit: int, acts: bool) -> list[str]:
        with self.cursor(transaction=False) as cursor:
            found = cursor.execute(IDLE.format("?", "?", "?"), (acts, earliest_of(moment), limit))
            return [row[0] for row in found]

    async def vacuum(self) -> None:
        """Give free pages back to the file system, some at a time."""
        await self._there(lambda: vacuum(self.conn))

    async def scrub(self) -> None:
        """Move everything from the log into the file, and empty the log: what was deleted is in neither."""
        await self._there(lambda: self.conn.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall())


def seen(found: CheckpointTuple | None) -> CheckpointTuple | None:
    """From here on this process's checkpoints count as later than this one.

    LangGraph takes the greatest id for the newest state, and makes ids of the machine's clock: after another
    machine, whose clock is ahead, or after this one's was set back, what is written would be as if it were not.
    Its generator never goes back within a process; this carries that on to what other processes wrote."""
    if found is not None:
        made = UUID(found.checkpoint["id"])
        if made.version == 6:
            # In hundreds of nanoseconds, as its generator counts.
            at = (made.int >> 80) << 12 | (made.int >> 64) & 0x0FFF
            ids._last_v6_timestamp = max(at, ids._last_v6_timestamp or 0)  # pyright: ignore[reportPrivateUsage]
    return found


def has_to_be_kept(writes: Sequence[tuple[str, Any]], task_id: str) -> bool:
    """Interrupts, answers and errors are kept; what a step returned is in the checkpoint that follows.

    After a crash in between the step runs again, which every step of ours bears: an action's effect is the
    ledger's business. Kept without its checkpoint, what a step returned would be read as the thread's state, a
    reply among it, and be dropped by the next turn: told, and gone."""
    from_outside = not UUID(task_id).int
    return from_outside or any(channel in WRITES_IDX_MAP for channel, _ in writes)


def must_hold(config: RunnableConfig) -> None:
    """A programming error otherwise: whoever plays on a thread holds it."""
    name = str(config.get("configurable", {}).get("thread_id"))
    if not holds(name):
        raise RuntimeError(f"nobody holds {name}, so nothing can be written on it")


def _drop_earlier(cursor: sqlite3.Cursor, thread: str, namespace: str, newest: str) -> None:
    within = " AND checkpoint_ns = ?" if namespace else ""
    for table in ("checkpoints", "writes"):
        cursor.execute(
            f"DELETE FROM {table} WHERE thread_id = ? AND checkpoint_id < ?{within}",
            (thread, newest, *([namespace] if namespace else [])),
        )


def _confirm(cursor: sqlite3.Cursor) -> None:
    """Whoever writes is still the one that was admitted last, for everything it holds."""
    for hold in held():
        row = cursor.execute("SELECT token FROM fences WHERE name = ?", (hold.name,)).fetchone()
        if row is None or row[0] != hold.token:
            raise HoldLost


@contextmanager
def _unavailable_as_port_error() -> Generator[None]:
    # Locked by another process, a full disk, a file that cannot be opened: another time it may work.
    try:
        yield
    except sqlite3.OperationalError as error:
        raise BackendUnavailable from error


@asynccontextmanager
async def sqlite_checkpoints(
    path: str, kind: type[SqliteCheckpoints] = SqliteCheckpoints
) -> AsyncGenerator[SqliteCheckpoints]:
    """A saver on a file; what was written is on disk before a step that waits for it goes on."""
    with ThreadPoolExecutor(1, thread_name_prefix="checkpoints") as worker:
        loop = asyncio.get_running_loop()
        saver = await loop.run_in_executor(worker, lambda: _opened(path, worker, kind))
        try:
            yield saver
        finally:
            await loop.run_in_executor(worker, saver.conn.close)


@asynccontextmanager
async def checkpoints_at(where: str) -> AsyncGenerator[SqliteCheckpoints | PostgresCheckpoints]:
    """LangGraph's memory where the settings say: a SQLite file, or the PostgreSQL of the stores."""
    if where.startswith("postgresql://"):
        # A driver that nobody loads who keeps everything in files.
        from app.stores.postgres_checkpoints import make_tables, postgres_checkpoints

        await make_tables(where)
        async with postgres_checkpoints(where) as postgres:
            yield postgres
    else:
        async with sqlite_checkpoints(where) as sqlite:
            yield sqlite


def _opened(
    path: str, worker: ThreadPoolExecutor, kind: type[SqliteCheckpoints]
) -> SqliteCheckpoints:
    # The driver would open transactions of its own, which end in "database is locked" when they turn to writing.
    connection = sqlite3.connect(path, check_same_thread=False, isolation_level=None)
    connection.execute(f"PRAGMA busy_timeout={SQLITE_BUSY_MS}")
    give_pages_back(connection)
    saver = kind(connection, worker)
    saver.setup()
    connection.execute(_FENCES)
    connection.execute(f"PRAGMA journal_size_limit={SQLITE_LOG_BYTES}")
    # What is deleted is overwritten, as in the stores.
    connection.execute("PRAGMA secure_delete=ON")
    # As the stores do: a killed process loses nothing, and no commit waits for the disk.
    connection.execute("PRAGMA synchronous=NORMAL")
    return saver
