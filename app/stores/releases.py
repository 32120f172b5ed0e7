"""The book of releases that all replicas share: each change, and the files of what was promoted."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

from sqlalchemy import Engine, select, text
from sqlalchemy.engine import Connection
from sqlalchemy.exc import ProgrammingError

from app.models.release import Change, Changes, FileBook, ReleaseError, standing
from app.stores.database import reading, writing
from app.stores.tables import insert_if_absent, release_changes, release_files

#: Any fixed number: it names the lock under which one change follows the other.
BOOK_LOCK = 4_021_049
#: What PostgreSQL answers where a table is not there yet.
NO_TABLE = "42P01"


class SqlBook:
    """Promotions and rollbacks in PostgreSQL; what one replica was promoted on, the others fetch from there."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def history(self) -> Changes:
        try:
            with reading(self._engine) as conn:
                return _history(conn)
        except ProgrammingError as error:
            if getattr(error.orig, "sqlstate", "") == NO_TABLE:
                return ()  # Nobody has started on this database yet.
            raise

    def write(self, decide: Callable[[Changes], Change], release: Path | None = None) -> Change:
        with writing(self._engine) as conn:
            _alone(conn)
            history = _history(conn)
            change = decide(history)
            if release is not None and change.digest is not None:
                _keep_files(conn, change.digest, release)
            _add(conn, len(history), change)
        return change

    def bring(self, digest: str, to: Path) -> None:
        if (to / "manifest.json").exists():
            return
        wanted = select(release_files).where(release_files.c.digest == digest)
        draft = to.with_name(f"{to.name}.part")
        shutil.rmtree(draft, ignore_errors=True)
        with reading(self._engine) as conn:
            rows = conn.execute(wanted).all()
        if not rows:
            raise ReleaseError(f"The files of release {digest[:12]} are not in the database.")
        for row in rows:
            file = draft / row.file
            if not file.resolve().is_relative_to(draft.resolve()):
                raise ReleaseError(f"Release {digest[:12]} has a file outside its folder.")
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(row.content)
        draft.rename(to)

    def adopt(self, book: FileBook, folder: Callable[[str], Path]) -> bool:
        """Take over what was promoted in a data folder before there was a book for all; False where one was
        begun, or there is nothing to take over. ``folder`` says where a release's files are."""
        try:
            before = book.history()
        except ReleaseError:
            return False  # Whoever reads the file next says why.
        kept = [
            digest for digest in standing(before) if (folder(digest) / "manifest.json").exists()
        ]
        if not before or self.history():
            return False
        with writing(self._engine) as conn:
            _alone(conn)
            if _history(conn):
                return False
            for digest in dict.fromkeys(kept):
                _keep_files(conn, digest, folder(digest))
            for number, change in enumerate(before):
                _add(conn, number, change)
        return True


def _alone(conn: Connection) -> None:
    if conn.dialect.name == "postgresql":
        conn.execute(select(text(f"pg_advisory_xact_lock({BOOK_LOCK})")))


def _history(conn: Connection) -> Changes:
    columns = [release_changes.c[name] for name in Change.model_fields]
    rows = conn.execute(select(*columns).order_by(release_changes.c.number)).mappings()
    return tuple(Change.model_validate(dict(row)) for row in rows)


def _add(conn: Connection, number: int, change: Change) -> None:
    conn.execute(release_changes.insert().values(number=number, **change.model_dump()))


def _keep_files(conn: Connection, digest: str, folder: Path) -> None:
    for path in sorted(each for each in folder.rglob("*") if each.is_file()):
        values = {
            "digest": digest,
            "file": path.relative_to(folder).as_posix(),
            "content": path.read_bytes(),
        }
        insert_if_absent(conn, release_files, values)
