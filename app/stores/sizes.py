"""How much is kept of what, and since when."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.exc import OperationalError

from app.stores import tables
from app.stores.database import create_engine, database_url, reading
from tools.values import Record

#: Which column says how old a row is. A table without one holds no more rows than there are of something else.
AGES = {
    "ledger": "created_at",
    "approvals": "requested_at",
    "votes": "at",
    "outbox": "created_at",
    "requests": "asked_at",
    "decisions": "at",
    "reviews": "drawn_at",
    "turns": "created_at",
    "holds": "until",
    "threads": "created_at",
    "thread_notes": "at",
    "audit": "at",
    "desk_tickets": "opened_on",
    "traces": "at",
    "ratings": "at",
    "usage_turns": "at",
    "usage_calls": "at",
    "spending": "day",
    "revocations": "at",
    "erasures": "begun_at",
}
#: LangGraph's, whose ids are made of the time.
CHECKPOINTS = ("checkpoints", "checkpoint_blobs", "checkpoint_writes", "writes", "fences")
_BEFORE_UNIX = (
    0x01B21DD213814000  # From 1582 to 1970, in hundreds of nanoseconds, as version 6 ids count.
)


class Size(Record):
    """One table: its rows, the bytes it takes with its indexes, and its oldest row."""

    table: str
    rows: int
    bytes: int | None  #: None: this SQLite cannot tell.
    oldest: datetime | None = None


def sizes(database: str, checkpoints: str) -> list[Size]:
    """Every table of the database, and of the checkpoints where those are in a file of their own; largest first."""
    engine = create_engine(database)
    try:
        found = _sizes_of(engine)
    finally:
        engine.dispose()
    if "://" not in checkpoints and Path(checkpoints).exists():
        found += _sizes_of_file(Path(checkpoints))
    return sorted(found, key=lambda size: -(size.bytes or 0))


def files(database: str, checkpoints: str) -> int:
    """The bytes of SQLite's files, logs included; 0 on PostgreSQL."""
    at = database_url(database)
    paths = [Path(str(at.database))] if at.get_backend_name() == "sqlite" else []
    paths += [Path(checkpoints)] if "://" not in checkpoints else []
    every = [each for path in paths for each in (path, path.with_name(f"{path.name}-wal"))]
    return sum(each.stat().st_size for each in every if each.exists())


def _sizes_of(engine: sa.Engine) -> list[Size]:
    with reading(engine) as connection:
        names = sa.inspect(connection).get_table_names()
        taken = _taken(connection, names)
        return [_size(connection, name, taken.get(name)) for name in names]


def _size(connection: sa.Connection, name: str, taken: int | None) -> Size:
    table = tables.metadata.tables.get(name)
    counted = sa.select(sa.func.count()).select_from(sa.table(name))
    rows = connection.execute(counted).scalar_one()
    oldest = None
    if table is not None and name in AGES:
        oldest = connection.execute(sa.select(sa.func.min(table.c[AGES[name]]))).scalar()
    elif name == "checkpoints":
        oldest = moment_of(connection.execute(sa.text(_OLDEST)).scalar())
    if oldest is not None and not isinstance(oldest, datetime):
        oldest = datetime.combine(oldest, datetime.min.time(), UTC)
    return Size(table=name, rows=rows, bytes=taken, oldest=oldest)


def _taken(connection: sa.Connection, names: Sequence[str]) -> dict[str, int]:
    if connection.dialect.name == "postgresql":
        size = sa.func.pg_total_relation_size(sa.func.quote_ident(sa.bindparam("name")))
        return {
            name: connection.execute(sa.select(size), {"name": name}).scalar_one() for name in names
        }
    try:
        pages = connection.execute(sa.text(_PAGES)).all()
    except OperationalError:
        return {}
    return {name: int(taken) for name, taken in pages}


#: A table's pages with those of its indexes.
_PAGES = """SELECT schema.tbl_name, sum(pages.pgsize) FROM dbstat AS pages
JOIN sqlite_schema AS schema ON schema.name = pages.name GROUP BY schema.tbl_name"""
_OLDEST = "SELECT min(checkpoint_id) FROM checkpoints"


def _sizes_of_file(path: Path) -> list[Size]:
    with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as connection:
        names = [
            row[0]
            for row in connection.execute("SELECT name FROM sqlite_schema WHERE type = 'table'")
        ]
        try:
            taken: dict[str, int] = dict(connection.execute(_PAGES))
        except sqlite3.OperationalError:
            taken = {}

        def one(statement: str) -> Any:
            return connection.execute(statement).fetchone()[0]

        return [
            Size(
                table=name,
                rows=one(f'SELECT count(*) FROM "{name}"'),
                bytes=taken.get(name),
                oldest=moment_of(one(_OLDEST)) if name == "checkpoints" else None,
            )
            for name in names
        ]


def moment_of(checkpoint: str | None) -> datetime | None:
    """When a checkpoint was made, by its id."""
    if checkpoint is None or (made := UUID(checkpoint)).version != 6:
        return None
    at = (made.int >> 80) << 12 | (made.int >> 64) & 0x0FFF
    return datetime.fromtimestamp((at - _BEFORE_UNIX) / 1e7, UTC)


def earliest_of(moment: datetime) -> str:
    """An id that is less than those of all checkpoints made from then on."""
    at = int(moment.timestamp() * 1e7) + _BEFORE_UNIX
    return f"{at >> 28:08x}-{(at >> 12) & 0xFFFF:04x}-6{at & 0x0FFF:03x}-8000-000000000000"
