"""Engines, transactions and migrations for every SQL store, on SQLite or PostgreSQL."""

from __future__ import annotations

import logging
import sqlite3
from collections.abc import Generator
from contextlib import AbstractContextManager, closing, contextmanager, nullcontext, suppress
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from filelock import FileLock
from sqlalchemy import event
from sqlalchemy.engine import make_url
from sqlalchemy.exc import DBAPIError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from app.stores.fences import confirm
from tools.ports import BackendUnavailable

log = logging.getLogger(__name__)

MIGRATIONS = Path(__file__).parent / "migrations"

#: Any fixed number: it names the lock that lets one replica migrate while the others wait.
MIGRATION_LOCK = 4_021_048
#: How long a process waits for another one's migration of the same file.
MIGRATION_SECONDS = 120

#: A process that sleeps in the middle of a transaction keeps its locks for so long at most: the server ends
#: what is idle in a transaction, before those who wait for a lock give up.
POSTGRES_LIMITS = (
    "-c idle_in_transaction_session_timeout=4s -c lock_timeout=8s -c statement_timeout=20s"
)
#: What PostgreSQL answers to a write where it only reads: a standby, for example after a switch.
READ_ONLY = "25006"
#: On SQLite nobody can end another process's transaction: whoever waits so long says that it cannot write.
SQLITE_BUSY_MS = 5000
#: To so many bytes SQLite's log is cut back after a large transaction.
SQLITE_LOG_BYTES = 16 * 2**20
#: SQLite's number for giving pages back when asked to, and how many are given back at a time (80 MB).
INCREMENTAL, VACUUM_PAGES = 2, 20_000

metadata = sa.MetaData(
    naming_convention={
        "ix": "ix_%(column_0_label)s",
        "uq": "uq_%(table_name)s_%(column_0_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
        "fk": "fk_%(table_name)s_%(column_0_name)s_%(referred_table_name)s",
        "pk": "pk_%(table_name)s",
    }
)


class SchemaTooNew(Exception):
    """The database was migrated by a version of Signalbox further ahead than this one can work beside."""

    def __init__(self, found: str) -> None:
        super().__init__(
            f"{self.__doc__} Its schema is {found}, this version makes {head()} and works beside the next one "
            "only. Start the version that migrated it."
        )


def database_url(url: str) -> sa.URL:
    """The URL with the driver we ship, so that a plain ``postgresql://`` works."""
    parsed = make_url(url)
    if parsed.drivername in {"postgres", "postgresql"}:
        return parsed.set(drivername="postgresql+psycopg")
    return parsed


def postgres_options(url: sa.URL) -> str:
    """What each connection asks the server for: our limits, and what the URL says, which has the last word."""
    given = url.query.get("options", ())
    return " ".join([POSTGRES_LIMITS, *([given] if isinstance(given, str) else given)])


def create_engine(url: str, *, patient: bool = False) -> sa.Engine:
    """A synchronous engine; async callers use it inside ``asyncio.to_thread``.

    ``patient``: nothing is cut short, as a migration may take its time."""
    parsed = database_url(url)
    if parsed.get_backend_name() != "sqlite":
        limits = {} if patient else {"options": postgres_options(parsed)}
        return sa.create_engine(
            parsed,
            # An error's text goes into logs; what customers wrote does not.
            hide_parameters=True,
            pool_pre_ping=True,
            pool_timeout=5,
            connect_args={"connect_timeout": 5, **limits},
        )
    if parsed.database in {None, "", ":memory:"}:
        raise ValueError("SQLite needs a file: worker threads would each see another :memory:")
    Path(str(parsed.database)).parent.mkdir(parents=True, exist_ok=True)
    engine = sa.create_engine(parsed, hide_parameters=True, pool_timeout=5)

    event.listen(engine, "connect", _prepare_sqlite)
    event.listen(engine, "begin", _begin_sqlite)
    return engine


def give_pages_back(connection: sqlite3.Connection) -> None:
    """Let a SQLite file shrink when rows go: at once for a new one, by writing an old one anew, once.

    Of a file in use elsewhere, or that cannot be written, nothing is done; the next start tries again."""
    with suppress(sqlite3.DatabaseError):
        (mode,) = connection.execute("PRAGMA auto_vacuum").fetchone()
        if mode != INCREMENTAL:
            connection.execute(f"PRAGMA auto_vacuum={INCREMENTAL}")
            connection.execute("VACUUM")


def vacuum(connection: sqlite3.Connection) -> None:
    """Give free pages of a SQLite file back, so many at a time that nobody waits for long."""
    # As a script: a single statement would be stepped once, for one page.
    connection.executescript(f"PRAGMA incremental_vacuum({VACUUM_PAGES})")


def vacuum_database(engine: sa.Engine) -> None:
    """The same for the stores' own file; PostgreSQL has autovacuum."""
    if engine.dialect.name == "sqlite":
        with _unavailable_as_port_error(), engine.connect() as connection:
            driver: Any = connection.connection.driver_connection
            vacuum(driver)


def _prepare_sqlite(connection: Any, _: object) -> None:
    # The driver would open its own deferred transactions; ours are opened by `_begin_sqlite`.
    connection.isolation_level = None
    cursor = connection.cursor()
    cursor.execute(f"PRAGMA busy_timeout={SQLITE_BUSY_MS}")
    cursor.execute("PRAGMA journal_mode=WAL")
    cursor.execute("PRAGMA synchronous=NORMAL")
    cursor.execute("PRAGMA foreign_keys=ON")
    cursor.execute(f"PRAGMA journal_size_limit={SQLITE_LOG_BYTES}")
    # What is deleted is overwritten: a customer's erased words are not in the file any more.
    cursor.execute("PRAGMA secure_delete=ON")
    cursor.close()


def _begin_sqlite(connection: sa.Connection) -> None:
    # A deferred transaction that turns into a write can fail at once with "database is locked";
    # an immediate one waits its turn.
    writing = connection.get_execution_options().get("writing", False)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writing else "BEGIN")


@contextmanager
def reading(engine: sa.Engine) -> Generator[sa.Connection]:
    """A connection for reads only."""
    with _unavailable_as_port_error(), engine.connect() as connection:
        yield connection


@contextmanager
def writing(
    engine: sa.Engine, *, durable: bool = False, fenced: bool = True
) -> Generator[sa.Connection]:
    """One write transaction: committed at the end, rolled back on any exception.

    It begins with making sure that all this task holds is still its own, and raises HoldLost otherwise;
    not ``fenced`` is only what carries a token of its own, or has to be kept whoever goes on.

    ``durable``: its commit also outlives a power cut on SQLite, whose commits otherwise only outlive the
    process; PostgreSQL's always do. For what another system will be asked to do next."""
    with (
        _unavailable_as_port_error(),
        engine.connect().execution_options(writing=True) as connection,
        _flushed(connection, durable),
        connection.begin(),
    ):
        if fenced:
            confirm(connection)
        yield connection


@contextmanager
def _flushed(connection: sa.Connection, durable: bool) -> Generator[None]:
    if not durable or connection.dialect.name != "sqlite":
        yield
        return
    # Not a statement of SQLAlchemy's: it would begin a transaction, in which nothing can be set.
    driver = connection.connection.driver_connection
    assert driver is not None
    driver.execute("PRAGMA synchronous=FULL")
    try:
        yield
    finally:
        driver.execute("PRAGMA synchronous=NORMAL")


@contextmanager
def _unavailable_as_port_error() -> Generator[None]:
    try:
        yield
    except (OperationalError, PoolTimeout) as error:
        raise BackendUnavailable from error
    except DBAPIError as error:
        if error.connection_invalidated or getattr(error.orig, "sqlstate", "") == READ_ONLY:
            raise BackendUnavailable from error
        raise


def scrub(engine: sa.Engine) -> None:
    """On SQLite, move everything from the log into the file, and empty the log; PostgreSQL does so by itself."""
    if engine.dialect.name == "sqlite":
        with _unavailable_as_port_error(), engine.connect() as connection:
            driver = connection.connection.driver_connection
            assert driver is not None
            driver.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()


def head() -> str:
    """The newest migration's number: files are named ``NNNN_what.py`` and follow one another."""
    return max(path.name[:4] for path in (MIGRATIONS / "versions").glob("[0-9]*.py"))


def migrate(url: str) -> bool:
    """Bring the database to the newest schema; False when there was nothing to do.

    A schema one version ahead is left as it is: migrations only add, so while replicas are exchanged the old
    version works beside the new one. Raises SchemaTooNew where it is further ahead."""
    with _alone(url):
        parsed = database_url(url)
        if parsed.get_backend_name() == "sqlite" and parsed.database not in {None, "", ":memory:"}:
            # A file that cannot be opened is told of below.
            with (
                suppress(sqlite3.Error),
                closing(sqlite3.connect(str(parsed.database), isolation_level=None)) as connection,
            ):
                give_pages_back(connection)
        return _migrated(url)


def _alone(url: str) -> AbstractContextManager[object]:
    """One process at a time on a SQLite file: two that both turn it to WAL would not wait for each other."""
    parsed = database_url(url)
    if parsed.get_backend_name() != "sqlite" or parsed.database in {None, "", ":memory:"}:
        return nullcontext()
    Path(str(parsed.database)).parent.mkdir(parents=True, exist_ok=True)
    return FileLock(f"{parsed.database}.migrating", timeout=MIGRATION_SECONDS)


def _migrated(url: str) -> bool:
    engine = create_engine(url, patient=True)
    try:
        with reading(engine) as connection:
            if _is_served(connection):
                return False
        with writing(engine) as connection:
            if connection.dialect.name == "postgresql":
                connection.execute(sa.select(sa.func.pg_advisory_xact_lock(MIGRATION_LOCK)))
            if _is_served(connection):
                return False
            _upgrade(connection)
            return True
    finally:
        engine.dispose()


def _is_served(connection: sa.Connection) -> bool:
    """Is the schema this version's, or the next one's? False: it has to be migrated."""
    found = _version(connection)
    ahead = int(found) - int(head()) if found is not None else -1
    if ahead > 1:
        raise SchemaTooNew(str(found))
    if ahead == 1:
        log.warning(
            "the database has schema %s, one ahead of this version's %s: working beside the newer version",
            found,
            head(),
        )
    return ahead >= 0


def _version(connection: sa.Connection) -> str | None:
    if not sa.inspect(connection).has_table("alembic_version"):
        return None
    return connection.execute(sa.text("SELECT version_num FROM alembic_version")).scalar()


def _upgrade(connection: sa.Connection) -> None:
    # Imported here: an up-to-date database is the usual case and must not pay for it.
    from alembic import command
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS).replace("%", "%%"))
    config.attributes["connection"] = connection
    command.upgrade(config, "head")
