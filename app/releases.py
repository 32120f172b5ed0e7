"""The releases that the settings name: in the data folder, or with a PostgreSQL database in a book for all replicas."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from app.config import Settings
from app.domains import domain_of
from app.models.manifest import Manifest
from app.models.release import FileBook, Releases

if TYPE_CHECKING:
    from sqlalchemy import Engine


def releases_on(settings: Settings, engine: Engine) -> Releases:
    """The releases of a process whose database is open and migrated."""
    if not settings.replicable:
        return Releases(settings.data_dir, domain_of(settings))
    from app.stores.releases import SqlBook

    return Releases(settings.data_dir, domain_of(settings), book=SqlBook(engine))


def adopt_releases(settings: Settings, engine: Engine) -> bool:
    """Take what was promoted in this data folder over into the book for all; False where that is not needed."""
    if not settings.replicable:
        return False
    from app.stores.releases import SqlBook

    return SqlBook(engine).adopt(
        FileBook(settings.data_dir), Releases(settings.data_dir, domain_of(settings)).folder
    )


@contextmanager
def opened_releases(settings: Settings) -> Generator[Releases]:
    """The same for a moment, over a connection of its own; a database that nobody has migrated has none."""
    if not settings.replicable:
        yield Releases(settings.data_dir, domain_of(settings))
        return
    from app.stores.database import create_engine

    engine = create_engine(settings.database)
    try:
        yield releases_on(settings, engine)
    finally:
        engine.dispose()


def live_manifest(settings: Settings, *, base: Path | None = None) -> Manifest:
    """What decides now, verified."""
    with opened_releases(settings) as releases:
        return releases.manifest(base=base)
