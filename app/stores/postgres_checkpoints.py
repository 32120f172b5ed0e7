"""LangGraph's memory in PostgreSQL, closed to whoever lost its hold on the thread."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator, Generator, Sequence
from contextlib import asynccontextmanager, contextmanager
from contextvars import ContextVar
from datetime import datetime
from typing import Any

import psycopg
from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.base import (
    ChannelVersions,
    Checkpoint,
    CheckpointMetadata,
    CheckpointTuple,
)
from langgraph.checkpoint.postgres.aio import AsyncPostgresSaver
from psycopg.rows import dict_row
from psycopg_pool import AsyncConnectionPool

from app.stores.checkpoints import IDLE, NEWEST, has_to_be_kept, must_hold, seen
from app.stores.database import database_url, postgres_options
from app.stores.fences import Hold, HoldLost, held
from app.stores.sizes import earliest_of
from tools.ports import BackendUnavailable

# An error where one of the holds is somebody else's, so that nothing of what follows is kept.
_CONFIRM = """SELECT 1 / (count(*) = %s)::int FROM (
    SELECT 1 FROM holds JOIN unnest(%s::text[], %s::bigint[]) AS mine (name, token) USING (name, token)
    ORDER BY name FOR SHARE OF holds
) AS still"""
# Of the checkpoint that is being put: its thread, namespace, id and the versions of its values.
_newest: ContextVar[dict[str, str] | None] = ContextVar("newest", default=None)
_EARLIER = "DELETE FROM {} WHERE thread_id = %(thread)s AND checkpoint_id < %(newest)s"
_UNUSED = """DELETE FROM checkpoint_blobs AS kept
WHERE thread_id = %(thread)s AND checkpoint_ns = %(namespace)s
AND version IS DISTINCT FROM %(versions)s::jsonb ->> channel"""
# A graph within another writes its values and its checkpoint in one transaction.
_LEFT = """DELETE FROM checkpoint_blobs AS kept
WHERE thread_id = %(thread)s AND checkpoint_ns <> '' AND NOT EXISTS (
    SELECT 1 FROM checkpoints AS still
    WHERE still.thread_id = kept.thread_id AND still.checkpoint_ns = kept.checkpoint_ns
)"""
_TABLES = ("checkpoints", "checkpoint_writes")
_DROP_EARLIER = (*(_EARLIER.format(table) for table in _TABLES), _UNUSED, _LEFT)
_DROP_WITHIN = (
    *(f"{_EARLIER.format(table)} AND checkpoint_ns = %(namespace)s" for table in _TABLES),
    _UNUSED,
)
_ACTS_OF = "SELECT DISTINCT thread_id FROM checkpoints WHERE metadata ->> 'of_thread' = %s"
#: The third is what a process finds that slept in a transaction, which PostgreSQL has ended; the last is a
#: server that only reads.
_AWAY = (
    psycopg.OperationalError,
    psycopg.InterfaceError,
    psycopg.errors.IdleInTransactionSessionTimeout,
    psycopg.errors.ReadOnlySqlTransaction,
)


class _Batch:
    """Statements that are written down first and sent as one message: the server runs them in one transaction
    and never waits for us in between, so that no process can fall asleep over their locks."""

    def __init__(self) -> None:
        self._statements: list[tuple[Any, Any]] = []

    async def execute(self, statement: Any, parameters: Any = ()) -> None:
        self._statements.append((statement, parameters))

    async def executemany(self, statement: Any, parameters: Sequence[Any]) -> None:
        self._statements += [(statement, each) for each in parameters]

    async def send(self, conn: psycopg.AsyncConnection[Any]) -> None:
        mine = held()
        confirm = (len(mine), [hold.name for hold in mine], [hold.token for hold in mine])
        async with psycopg.AsyncClientCursor(conn) as cursor:
            statements: list[tuple[Any, Any]] = [(_CONFIRM, confirm), *self._statements]
            script = [cursor.mogrify(*each) for each in statements]
            try:
                await cursor.execute(";".join(script).encode())
            except psycopg.errors.DivisionByZero:
                raise HoldLost from None


class PostgresCheckpoints(AsyncPostgresSaver):
    """LangGraph's own saver, each of whose writes begins by confirming the holds in its own transaction.

    The table of holds is in the same database, where a row's lock keeps them until the commit."""

    conn: AsyncConnectionPool[Any]

    async def admit(self, hold: Hold) -> None:
        """There is nobody to tell: the hold's row is asked with every write."""

    @asynccontextmanager
    async def _cursor(self, *, pipeline: bool = False) -> AsyncGenerator[Any]:
        # Not behind the saver's one lock: each use has a connection of its own.
        if not pipeline:  # Reading, or making the tables.
            with _unavailable_as_port_error():
                async with self.conn.connection() as conn, conn.cursor(binary=True) as cursor:
                    yield cursor
            return
        batch = _Batch()
        yield batch
        if (newest := _newest.get()) is not None:
            for statement in _DROP_WITHIN if newest["namespace"] else _DROP_EARLIER:
                await batch.execute(statement, newest)
        with _unavailable_as_port_error():
            async with self.conn.connection() as conn:
                await batch.send(conn)

    async def aget_tuple(self, config: RunnableConfig) -> CheckpointTuple | None:
        return seen(await super().aget_tuple(config))

    async def aput(
        self,
        config: RunnableConfig,
        checkpoint: Checkpoint,
        metadata: CheckpointMetadata,
        new_versions: ChannelVersions,
    ) -> RunnableConfig:
        """Put it in the place of the one before, as on SQLite; values that it shares with that one stay."""
        must_hold(config)
        where: dict[str, Any] = config.get("configurable", {})
        newest = {
            "thread": str(where["thread_id"]),
            "namespace": str(where["checkpoint_ns"]),
            "newest": checkpoint["id"],
            "versions": json.dumps(checkpoint["channel_versions"]),
        }
        token = _newest.set(newest)
        try:
            return await super().aput(config, checkpoint, metadata, new_versions)
        finally:
            _newest.reset(token)

    async def acts_of(self, thread: str) -> list[str]:
        """The threads of actions that were proposed on this one."""
        async with self._cursor() as cursor:
            await cursor.execute(_ACTS_OF, (thread,))
            return [row["thread_id"] for row in await cursor.fetchall()]

    async def newest(self, thread: str) -> str | None:
        """The id of a thread's newest checkpoint."""
        async with self._cursor() as cursor:
            await cursor.execute(NEWEST.format("%s").encode(), (thread,))
            return (await cursor.fetchone())["newest"]

    async def idle_since(self, moment: datetime, limit: int, *, acts: bool) -> list[str]:
        """Conversations, or the threads of actions, on which nothing was written since then, longest first."""
        idle = IDLE.format("%s", "%s", "%s").encode()
        async with self._cursor() as cursor:
            await cursor.execute(idle, (acts, earliest_of(moment), limit))
            return [row["thread_id"] for row in await cursor.fetchall()]

    async def vacuum(self) -> None:
        """Nothing: PostgreSQL has autovacuum."""

    async def scrub(self) -> None:
        """Nothing: PostgreSQL removes deleted rows from its files at the next (auto)vacuum."""

    async def aput_writes(
        self,
        config: RunnableConfig,
        writes: Sequence[tuple[str, Any]],
        task_id: str,
        task_path: str = "",
    ) -> None:
        must_hold(config)
        if has_to_be_kept(writes, task_id):
            await super().aput_writes(config, writes, task_id, task_path)


@contextmanager
def _unavailable_as_port_error() -> Generator[None]:
    try:
        yield
    except _AWAY as error:
        raise BackendUnavailable from error


async def make_tables(url: str) -> None:
    """LangGraph's tables, by its own migrations, which may take their time."""
    async with AsyncPostgresSaver.from_conn_string(url) as saver:
        await saver.setup()


@asynccontextmanager
async def postgres_checkpoints(
    url: str, saver: type[PostgresCheckpoints] = PostgresCheckpoints, *, max_size: int = 10
) -> AsyncGenerator[PostgresCheckpoints]:
    """A saver on a pool of connections that end by themselves what a sleeping process left open."""
    options = {
        "autocommit": True,
        "prepare_threshold": 0,
        "row_factory": dict_row,
        "options": postgres_options(database_url(url)),
    }
    async with AsyncConnectionPool(
        url,
        open=False,
        kwargs=options,
        min_size=1,
        max_size=max_size,
        timeout=5,
        # What the server has ended meanwhile is not handed out.
        check=AsyncConnectionPool.check_connection,
    ) as pool:
        yield saver(pool)  # type: ignore[arg-type]
