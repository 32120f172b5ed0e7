"""What was ingested and where it is indexed: a second run knows what it need not do, and every replica
knows which index is live."""

from __future__ import annotations

import hashlib
import json
import zlib
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Literal

import sqlalchemy as sa

from app.knowledge.documents import Document, FrontMatter, Section, Status
from app.stores.database import create_engine, metadata, reading, writing
from app.stores.tables import (
    KNOWLEDGE,
    insert_if_absent,
    knowledge_collections,
    knowledge_documents,
    knowledge_files,
    knowledge_generations,
    knowledge_indexed,
    knowledge_uses,
)
from tools.values import Clock

State = Literal["building", "live", "previous"]


@dataclass(frozen=True)
class File:
    """One ingested file."""

    source: str
    root: str  #: The folder it was found under; empty: it was given by itself.
    digest: str
    failures: tuple[tuple[str, str], ...]  #: What of it could not be used, and why.


@dataclass(frozen=True)
class Entry:
    """One ingested document, as one index has it."""

    source: str
    file: str
    digest: str
    slug: str
    title: str
    front: FrontMatter
    warnings: tuple[str, ...]
    status: Status = "current"  #: What the front matter says, or superseded by another document.
    chunks: tuple[str, ...] = ()


@dataclass(frozen=True)
class Generation:
    """One index of the collection's documents: built by one model, cut into chunks one way."""

    number: int
    state: State
    model: str
    size: int
    chunking: str
    made_at: datetime


@dataclass(frozen=True)
class Use:
    """How often a document was found and read."""

    retrieved: int
    kept: int
    last_at: datetime


class Manifest:
    """The list of a collection's documents, durable after every batch. Synchronous."""

    def __init__(
        self, engine: sa.Engine, collection: str = "knowledge", *, clock: Clock | None = None
    ) -> None:
        self.engine = engine
        self.collection = collection
        self.clock = clock or Clock()

    @classmethod
    def beside(
        cls, folder: Path, collection: str = "knowledge", *, clock: Clock | None = None
    ) -> Manifest:
        """In a file of its own, which is copied and deleted together with the embedded index."""
        folder.mkdir(parents=True, exist_ok=True)
        engine = create_engine(f"sqlite:///{folder / 'manifest.db'}")
        with writing(engine) as connection:
            metadata.create_all(connection, tables=KNOWLEDGE)
        return cls(engine, collection, clock=clock)

    def close(self) -> None:
        self.engine.dispose()

    # --- files and documents -------------------------------------------------------------------

    def files(self) -> dict[str, File]:
        """Every file by source."""
        rows = self.rows(knowledge_files)
        return {
            row["source"]: File(
                row["source"],
                row["root"],
                row["digest"],
                tuple((source, reason) for source, reason in row["failures"]),
            )
            for row in rows
        }

    def save_file(self, file: File) -> None:
        failures = [[source, reason] for source, reason in file.failures]
        values = {"root": file.root, "digest": file.digest, "failures": failures}
        with writing(self.engine) as connection:
            self.put(connection, knowledge_files, {"source": file.source}, values)

    def failures(self) -> list[tuple[str, str]]:
        """What could not be used, and why."""
        return [failure for file in self.files().values() for failure in file.failures]

    def digests(self, file: str | None = None) -> dict[str, str]:
        """The digest of every document, or of those of one file."""
        table = knowledge_documents
        query = sa.select(table.c.source, table.c.digest).where(self.mine(table))
        if file is not None:
            query = query.where(table.c.file == file)
        with reading(self.engine) as connection:
            return {source: digest for source, digest in connection.execute(query)}

    def by_file(self) -> dict[str, dict[str, str]]:
        """The documents of every file with their digests."""
        table = knowledge_documents
        query = sa.select(table.c.file, table.c.source, table.c.digest).where(self.mine(table))
        found: dict[str, dict[str, str]] = {}
        with reading(self.engine) as connection:
            for file, source, digest in connection.execute(query):
                found.setdefault(file, {})[source] = digest
        return found

    def save_documents(self, documents: Sequence[tuple[Document, Sequence[str]]]) -> None:
        """Keep documents as they were read, with what is to be said about them."""
        with writing(self.engine) as connection:
            for document, warnings in documents:
                values = {
                    "file": document.file,
                    "digest": document.digest,
                    "slug": document.slug,
                    "title": document.title,
                    "front": document.front.model_dump(mode="json"),
                    "body": packed(document.sections),
                    "warnings": list(warnings),
                }
                self.put(connection, knowledge_documents, {"source": document.source}, values)
            self.touch(connection)

    def warn(self, warnings: Mapping[str, Sequence[str]]) -> None:
        """Write down what is to be said about documents, in place of what was said before."""
        table = knowledge_documents
        with writing(self.engine) as connection:
            for source, reasons in warnings.items():
                where = sa.and_(self.mine(table), table.c.source == source)
                connection.execute(table.update().where(where).values(warnings=list(reasons)))

    def warnings(self, sources: Sequence[str]) -> list[tuple[str, str]]:
        """What is to be said about these documents."""
        table = knowledge_documents
        query = sa.select(table.c.source, table.c.warnings).where(
            self.mine(table), table.c.source.in_(sources)
        )
        with reading(self.engine) as connection:
            rows = connection.execute(query).all()
        return [(source, reason) for source, reasons in rows for reason in reasons]

    def read_documents(self, sources: Sequence[str]) -> list[Document]:
        """Documents as they were read."""
        table = knowledge_documents
        query = sa.select(table).where(self.mine(table), table.c.source.in_(sources))
        with reading(self.engine) as connection:
            rows = connection.execute(query).mappings().all()
        return [
            Document(
                source=row["source"],
                digest=row["digest"],
                front=FrontMatter.model_validate(row["front"]),
                title=row["title"],
                slug=row["slug"],
                sections=unpacked(row["body"]),
                file=row["file"],
            )
            for row in rows
        ]

    def fronts(self) -> dict[str, tuple[str, FrontMatter]]:
        """What every document is called by others, and what it says about itself."""
        table = knowledge_documents
        query = sa.select(table.c.source, table.c.slug, table.c.front).where(self.mine(table))
        with reading(self.engine) as connection:
            return {
                source: (slug, FrontMatter.model_validate(front))
                for source, slug, front in connection.execute(query)
            }

    def forget(self, documents: Iterable[str], files: Iterable[str] = ()) -> None:
        """Drop documents, their counts, and files that are gone."""
        with writing(self.engine) as connection:
            for table in (knowledge_documents, knowledge_indexed, knowledge_uses):
                self.remove(connection, table, documents)
            self.remove(connection, knowledge_files, files)
            self.touch(connection)

    # --- generations ---------------------------------------------------------------------------

    def generations(self) -> dict[State, Generation]:
        """The index that answers, the one before it and the one being built, where there are such."""
        rows = self.rows(knowledge_generations)
        return {
            row["state"]: Generation(
                row["generation"],
                row["state"],
                row["model"],
                row["size"],
                row["chunking"],
                row["made_at"],
            )
            for row in rows
        }

    def begin(self, model: str, size: int, chunking: str, state: State) -> Generation:
        """A new, empty generation."""
        table = knowledge_generations
        with writing(self.engine) as connection:
            newest = connection.execute(
                sa.select(sa.func.max(table.c.generation)).where(self.mine(table))
            ).scalar()
            made = Generation((newest or 0) + 1, state, model, size, chunking, self.clock.now())
            values = {
                "state": state,
                "model": model,
                "size": size,
                "chunking": chunking,
                "made_at": made.made_at,
            }
            self.put(connection, table, {"generation": made.number}, values)
            self.touch(connection)
        return made

    def go_live(self, generation: int) -> list[int]:
        """Make a generation answer, in one transaction; the numbers of those nobody needs any more."""
        table = knowledge_generations
        with writing(self.engine) as connection:
            rows = connection.execute(
                sa.select(table.c.generation, table.c.state).where(self.mine(table))
            ).all()
            states = {number: state for number, state in rows}
            surplus = [n for n, state in states.items() if state == "previous" and n != generation]
            self.drop(connection, surplus)
            moves = {n: "previous" for n, state in states.items() if state == "live"}
            for number, state in (moves | {generation: "live"}).items():
                connection.execute(
                    sa.update(table)
                    .where(self.mine(table), table.c.generation == number)
                    .values(state=state)
                )
            self.touch(connection)
        return surplus

    def abandon(self, generation: int) -> None:
        """Forget a generation."""
        with writing(self.engine) as connection:
            self.drop(connection, [generation])

    def drop(self, connection: sa.Connection, generations: Collection[int]) -> None:
        for table in (knowledge_indexed, knowledge_generations):
            connection.execute(
                sa.delete(table).where(self.mine(table), table.c.generation.in_(generations))
            )

    def entries(self, generation: int) -> dict[str, Entry]:
        """Every document that a generation has, by source."""
        documents, indexed = knowledge_documents, knowledge_indexed
        columns = [column for column in documents.c if column.name != "body"]
        query = (
            sa.select(*columns, indexed.c.status, indexed.c.chunks, indexed.c.digest.label("had"))
            .join(
                indexed,
                (indexed.c.collection == documents.c.collection)
                & (indexed.c.source == documents.c.source)
                & (indexed.c.generation == generation),
            )
            .where(self.mine(documents))
            .order_by(documents.c.source)
        )
        with reading(self.engine) as connection:
            rows = connection.execute(query).mappings().all()
        return {
            row["source"]: Entry(
                source=row["source"],
                file=row["file"],
                digest=row["had"],
                slug=row["slug"],
                title=row["title"],
                front=FrontMatter.model_validate(row["front"]),
                warnings=tuple(row["warnings"]),
                status=row["status"],
                chunks=tuple(row["chunks"]),
            )
            for row in rows
        }

    def indexed(self, generation: int) -> dict[str, tuple[str, tuple[str, ...]]]:
        """Digest and chunks of every document in a generation, also of those that are gone."""
        table = knowledge_indexed
        query = sa.select(table.c.source, table.c.digest, table.c.chunks).where(
            self.mine(table), table.c.generation == generation
        )
        with reading(self.engine) as connection:
            return {row[0]: (row[1], tuple(row[2])) for row in connection.execute(query)}

    def save_indexed(
        self, generation: int, rows: Iterable[tuple[str, str, Status, Sequence[str]]]
    ) -> None:
        """Source, digest, status and chunks of documents that are in the index now."""
        with writing(self.engine) as connection:
            for source, digest, status, chunks in rows:
                keys = {"generation": generation, "source": source}
                values = {"digest": digest, "status": status, "chunks": list(chunks)}
                self.put(connection, knowledge_indexed, keys, values)
            self.touch(connection)

    def unindex(self, generation: int, sources: Iterable[str]) -> None:
        """Note that documents are not in a generation's index (any more)."""
        with writing(self.engine) as connection:
            self.remove(
                connection,
                knowledge_indexed,
                sources,
                knowledge_indexed.c.generation == generation,
            )
            self.touch(connection)

    # --- what replicas tell each other ---------------------------------------------------------

    def stamp(self) -> int:
        """Higher after every change, whoever made it."""
        table = knowledge_collections
        with reading(self.engine) as connection:
            return (
                connection.execute(sa.select(table.c.stamp).where(self.mine(table))).scalar() or 0
            )

    def touch(self, connection: sa.Connection) -> None:
        table = knowledge_collections
        self.have_row(connection)
        connection.execute(sa.update(table).where(self.mine(table)).values(stamp=table.c.stamp + 1))

    def claim(self, writer: str, seconds: float) -> bool:
        """Be the only one who writes for so long; False when another is. The holder renews it."""
        table, now = knowledge_collections, self.clock.now()
        free = sa.or_(table.c.writer.in_(["", writer]), table.c.writer_until < now)
        with writing(self.engine) as connection:
            self.have_row(connection)
            held = connection.execute(
                sa.update(table)
                .where(self.mine(table), free)
                .values(writer=writer, writer_until=now + timedelta(seconds=seconds))
            )
            return held.rowcount == 1

    def release(self, writer: str) -> None:
        table = knowledge_collections
        with writing(self.engine) as connection:
            connection.execute(
                sa.update(table).where(self.mine(table), table.c.writer == writer).values(writer="")
            )

    def have_row(self, connection: sa.Connection) -> None:
        insert_if_absent(
            connection,
            knowledge_collections,
            {
                "collection": self.collection,
                "stamp": 0,
                "writer": "",
                "writer_until": self.clock.now(),
            },
        )

    # --- uses ----------------------------------------------------------------------------------

    def uses(self) -> dict[str, Use]:
        """How often each document was found; those never found are missing."""
        return {
            row["source"]: Use(row["retrieved"], row["kept"], row["last_at"])
            for row in self.rows(knowledge_uses)
        }

    def count(self, retrieved: Mapping[str, int], kept: Mapping[str, int]) -> None:
        """Add to the counts."""
        table, now = knowledge_uses, self.clock.now()
        with writing(self.engine) as connection:
            for source in sorted(retrieved.keys() | kept.keys()):
                key = {"collection": self.collection, "source": source}
                insert_if_absent(
                    connection, table, {**key, "retrieved": 0, "kept": 0, "last_at": now}
                )
                connection.execute(
                    sa.update(table)
                    .where(self.mine(table), table.c.source == source)
                    .values(
                        retrieved=table.c.retrieved + retrieved.get(source, 0),
                        kept=table.c.kept + kept.get(source, 0),
                        last_at=now,
                    )
                )

    def erase(self) -> None:
        """Everything about the collection."""
        with writing(self.engine) as connection:
            for table in KNOWLEDGE:
                connection.execute(sa.delete(table).where(self.mine(table)))

    # --- rows ----------------------------------------------------------------------------------

    def mine(self, table: sa.Table) -> sa.ColumnElement[bool]:
        return table.c.collection == self.collection

    def rows(self, table: sa.Table) -> Sequence[Mapping[Any, Any]]:
        with reading(self.engine) as connection:
            return connection.execute(sa.select(table).where(self.mine(table))).mappings().all()

    def put(
        self,
        connection: sa.Connection,
        table: sa.Table,
        keys: Mapping[str, Any],
        values: Mapping[str, Any],
    ) -> None:
        """Insert a row, or bring the one there is up to date."""
        row = {"collection": self.collection, **keys, **values}
        if not insert_if_absent(connection, table, row):
            same = [table.c[name] == value for name, value in keys.items()]
            connection.execute(sa.update(table).where(self.mine(table), *same).values(**values))

    def remove(
        self,
        connection: sa.Connection,
        table: sa.Table,
        sources: Iterable[str],
        *conditions: sa.ColumnElement[bool],
    ) -> None:
        names = list(sources)
        for start in range(0, len(names), 500):
            part = names[start : start + 500]
            connection.execute(
                sa.delete(table).where(self.mine(table), table.c.source.in_(part), *conditions)
            )


def version_of(generation: Generation | None, entries: Mapping[str, Entry]) -> str:
    """A digest of what can be found: it changes when any document, its standing or the index does."""
    if generation is None:
        return "empty"
    parts = [f"{generation.model} {generation.chunking}"]
    parts += [f"{e.source} {e.digest} {e.status} {e.front.expires}" for e in entries.values()]
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:16]


def packed(sections: Sequence[Section]) -> bytes:
    rows = [[list(section.path), list(section.blocks)] for section in sections]
    return zlib.compress(json.dumps(rows, ensure_ascii=False).encode())


def unpacked(body: bytes) -> tuple[Section, ...]:
    rows: list[tuple[list[str], list[str]]] = json.loads(zlib.decompress(body))
    return tuple(Section(tuple(path), tuple(blocks)) for path, blocks in rows)


#: Opens the manifest of a collection, wherever the settings keep it.
OpenManifest = Callable[[str], Manifest]
