"""Halden's records in one SQLite file."""

import json
import sqlite3
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

from pydantic import BaseModel

R = TypeVar("R", bound=BaseModel)

SCHEMA = """
CREATE TABLE IF NOT EXISTS records (
    kind TEXT NOT NULL, id TEXT NOT NULL, customer TEXT NOT NULL, body TEXT NOT NULL,
    PRIMARY KEY (kind, id)
);
CREATE TABLE IF NOT EXISTS answers (
    key TEXT PRIMARY KEY, request TEXT NOT NULL, body TEXT NOT NULL
);
"""


class KeyReused(Exception):
    """An idempotency key came a second time with another request."""


class Books:
    """The records within one transaction."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    def find(self, kind: type[R], record_id: str) -> R | None:
        """The record of this kind and id."""
        row = self._connection.execute(
            "SELECT body FROM records WHERE kind = ? AND id = ?", (kind.__name__, record_id)
        ).fetchone()
        return None if row is None else kind.model_validate_json(row[0])

    def of(self, kind: type[R], customer: str) -> list[R]:
        """A customer's records of this kind, the newest first; all of them for an empty name."""
        rows = self._connection.execute(
            "SELECT body FROM records WHERE kind = ? AND (customer = ? OR ? = '') "
            "ORDER BY rowid DESC",
            (kind.__name__, customer, customer),
        )
        return [kind.model_validate_json(row[0]) for row in rows]

    def keep(self, record_id: str, customer: str, record: BaseModel) -> None:
        """Write a record, new or changed."""
        self._connection.execute(
            "INSERT INTO records VALUES (?, ?, ?, ?) "
            "ON CONFLICT (kind, id) DO UPDATE SET body = excluded.body",
            (type(record).__name__, record_id, customer, record.model_dump_json()),
        )

    def count(self, kind: type[BaseModel]) -> int:
        """How many records of this kind there are."""
        row = self._connection.execute(
            "SELECT COUNT(*) FROM records WHERE kind = ?", (kind.__name__,)
        ).fetchone()
        return int(row[0])

    def clear(self) -> None:
        """Forget every record and every answer."""
        self._connection.execute("DELETE FROM records")
        self._connection.execute("DELETE FROM answers")

    def answered(self, key: str, request: object, kind: type[R]) -> R | None:
        """What was answered under this key before."""
        row = self._connection.execute(
            "SELECT request, body FROM answers WHERE key = ?", (key,)
        ).fetchone()
        if row is None:
            return None
        if row[0] != json.dumps(request, sort_keys=True):
            raise KeyReused(key)
        return kind.model_validate_json(row[1])

    def answer(self, key: str, request: object, body: BaseModel) -> None:
        """Remember what is answered under this key."""
        self._connection.execute(
            "INSERT INTO answers VALUES (?, ?, ?)",
            (key, json.dumps(request, sort_keys=True), body.model_dump_json()),
        )


class Store:
    """The file, and a transaction at a time."""

    def __init__(self, path: Path) -> None:
        self._path = path
        path.parent.mkdir(parents=True, exist_ok=True)
        with self.transaction():
            pass

    @contextmanager
    def transaction(self) -> Generator[Books]:
        """The books, committed at the end and rolled back when something is raised."""
        connection = sqlite3.connect(self._path, isolation_level=None, timeout=5)
        try:
            connection.executescript(SCHEMA)
            connection.execute("BEGIN IMMEDIATE")
            yield Books(connection)
            connection.execute("COMMIT")
        finally:
            # An open transaction is rolled back by closing.
            connection.close()
