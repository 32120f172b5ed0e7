"""What was ingested, in a small SQLite file beside the index: a second run knows what it need not do."""

from __future__ import annotations

import hashlib
import json
import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from threading import Lock

from app.knowledge.documents import Status

SCHEMA = """
create table if not exists documents (
    source text primary key, digest text not null, slug text not null, title text not null,
    audience text not null, declared text not null, status text not null, supersedes text not null,
    updated text, expires text, chunks text not null
);
create table if not exists failures (source text primary key, reason text not null);
create table if not exists facts (name text primary key, value text not null);
"""


@dataclass(frozen=True)
class Entry:
    """One ingested document."""

    source: str
    digest: str
    slug: str
    title: str
    audience: str
    declared: Status  #: What the front matter says.
    status: Status  #: The same, or superseded by another document.
    supersedes: tuple[str, ...]
    updated: date | None
    expires: date | None
    chunks: tuple[str, ...]


def day(text: str | None) -> date | None:
    return date.fromisoformat(text) if text else None


class Manifest:
    """The list of ingested documents, durable after every document."""

    def __init__(self, path: Path | str) -> None:
        self.lock = Lock()
        self.connection = sqlite3.connect(path, check_same_thread=False, isolation_level=None)
        self.connection.execute("pragma journal_mode = wal")
        self.connection.executescript(SCHEMA)

    def close(self) -> None:
        self.connection.close()

    def entries(self) -> dict[str, Entry]:
        """Every document by source."""
        with self.lock:
            rows = self.connection.execute(
                "select source, digest, slug, title, audience, declared, status, supersedes, updated,"
                " expires, chunks from documents order by source"
            ).fetchall()
        return {
            row[0]: Entry(
                *row[:7],
                supersedes=tuple(json.loads(row[7])),
                updated=day(row[8]),
                expires=day(row[9]),
                chunks=tuple(json.loads(row[10])),
            )
            for row in rows
        }

    def save(self, entry: Entry) -> None:
        with self.lock:
            self.connection.execute(
                "insert or replace into documents values (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
                (
                    entry.source,
                    entry.digest,
                    entry.slug,
                    entry.title,
                    entry.audience,
                    entry.declared,
                    entry.status,
                    json.dumps(entry.supersedes),
                    entry.updated and entry.updated.isoformat(),
                    entry.expires and entry.expires.isoformat(),
                    json.dumps(entry.chunks),
                ),
            )

    def remove(self, source: str) -> None:
        with self.lock:
            self.connection.execute("delete from documents where source = ?", (source,))

    def clear(self) -> None:
        with self.lock:
            self.connection.execute("delete from documents")

    def save_failures(self, failures: Sequence[tuple[str, str]]) -> None:
        """Keep the last run's failures for the report."""
        with self.lock:
            self.connection.execute("delete from failures")
            self.connection.executemany("insert or replace into failures values (?, ?)", failures)

    def failures(self) -> list[tuple[str, str]]:
        with self.lock:
            return self.connection.execute("select source, reason from failures").fetchall()

    def fact(self, name: str) -> str | None:
        with self.lock:
            row = self.connection.execute(
                "select value from facts where name = ?", (name,)
            ).fetchone()
        return row[0] if row else None

    def save_fact(self, name: str, value: str) -> None:
        with self.lock:
            self.connection.execute("insert or replace into facts values (?, ?)", (name, value))

    def version(self) -> str:
        """A digest of what can be found: it changes when any document or its standing does."""
        parts = [f"{e.source} {e.digest} {e.status} {e.expires}" for e in self.entries().values()]
        return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:16]
