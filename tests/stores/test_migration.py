"""The migrations make the tables the code expects, and leave the version before able to work."""

from __future__ import annotations

import logging

import pytest
import sqlalchemy as sa
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from typer.testing import CliRunner

from app.cli import app
from app.stores import tables
from app.stores.database import (
    MIGRATIONS,
    SchemaTooNew,
    create_engine,
    head,
    metadata,
    migrate,
    reading,
    writing,
)
from domains.northfell import store as shop
from tests.stores.additive import Schema, breaks


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)])
def new_url(request, tmp_path):
    if request.param == "postgres":
        return request.getfixturevalue("new_postgres_url")
    return f"sqlite:///{tmp_path / 'new.db'}"


@pytest.fixture
def engine(new_url):
    engine = create_engine(new_url)
    yield engine
    engine.dispose()


def numbered(ahead: int) -> str:
    """The schema's number so many migrations after the newest."""
    return f"{int(head()) + ahead:04}"


def bring_to(engine: sa.Engine, version: str) -> None:
    """Migrate up to this version and no further."""
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS))
    with writing(engine) as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, version)


def call_it(engine: sa.Engine, version: str) -> None:
    with writing(engine) as connection:
        connection.execute(sa.text("UPDATE alembic_version SET version_num = :v"), {"v": version})


def test_a_migrated_database_is_what_the_code_describes(new_url, engine):
    """No table, column, index or constraint differs; a second run has nothing to do."""
    assert shop.customers.metadata is tables.ledger.metadata is metadata
    assert migrate(new_url) is True
    assert migrate(new_url) is False
    with engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        assert compare_metadata(context, metadata) == []


# --- beside the version before and the one after ----------------------------------------------------


def test_the_newest_migration_only_adds(new_url, engine):
    """So that replicas of the version before go on, while and after it is run."""
    bring_to(engine, numbered(-1))
    before = Schema.of(engine)
    assert migrate(new_url) is True

    assert breaks(before, Schema.of(engine)) == []


@pytest.mark.parametrize(
    ("change", "found"),
    [
        ("DROP TABLE ratings", "ratings is gone"),
        ("ALTER TABLE threads RENAME TO conversations", "threads is gone"),
        ("ALTER TABLE outbox DROP COLUMN claim", "outbox.claim is gone"),
        ("ALTER TABLE outbox RENAME COLUMN claim TO token", "outbox.claim is gone"),
        (
            "ALTER TABLE outbox ADD COLUMN room text NOT NULL",
            "outbox.room is new, may not be empty and has no default",
        ),
        ("CREATE UNIQUE INDEX one ON outbox (thread)", "outbox has a new demand: unique ['thread']"),
        ("ALTER TABLE outbox ALTER COLUMN claim SET NOT NULL", "outbox.claim may not be empty any more"),
        ("ALTER TABLE outbox ALTER COLUMN claim TYPE text", "outbox.claim was VARCHAR(32) and is TEXT"),
        (
            "ALTER TABLE outbox ADD CHECK (thread <> '')",
            "outbox has a new demand: check thread::text <> ''::text",
        ),
    ],
    ids=lambda given: given if given.isupper() or given[:5] in {"ALTER", "DROP ", "CREAT"} else "",
)  # fmt: skip
@pytest.mark.postgres
def test_what_would_break_the_version_before_is_found(copied_database, change, found):
    """Each kind of change that such a migration may not make."""
    engine = create_engine(copied_database("postgres"))
    before = Schema.of(engine)
    with writing(engine) as connection:
        connection.execute(sa.text(change))

    assert breaks(before, Schema.of(engine)) == [found]
    engine.dispose()


@pytest.mark.postgres
def test_what_only_adds_breaks_nothing(copied_database):
    """A table, a column that may be empty, one with a default, an index."""
    engine = create_engine(copied_database("postgres"))
    before = Schema.of(engine)
    with writing(engine) as connection:
        for change in (
            "CREATE TABLE more (name text PRIMARY KEY)",
            "ALTER TABLE outbox ADD COLUMN room text",
            "ALTER TABLE outbox ADD COLUMN tries integer NOT NULL DEFAULT 0",
            "CREATE INDEX rooms ON outbox (room)",
        ):
            connection.execute(sa.text(change))

    assert breaks(before, Schema.of(engine)) == []
    engine.dispose()


def test_a_schema_one_version_ahead_is_worked_with(new_url, engine, caplog):
    """The version that is being replaced may be started again; the log says that another one is ahead."""
    migrate(new_url)
    call_it(engine, numbered(1))

    with caplog.at_level(logging.WARNING):
        assert migrate(new_url) is False

    assert f"schema {numbered(1)}, one ahead of this version's {head()}" in caplog.text
    with reading(engine) as connection:
        kept = connection.execute(sa.text("SELECT version_num FROM alembic_version")).scalar()
    assert kept == numbered(1)


def test_a_schema_further_ahead_is_refused(new_url, engine):
    """Nobody promised this version what those migrations left of what it knows."""
    migrate(new_url)
    call_it(engine, numbered(2))

    with pytest.raises(SchemaTooNew, match=f"Its schema is {numbered(2)}"):
        migrate(new_url)


def test_a_command_says_that_the_database_is_too_new(tmp_path, free_port):
    """One line, no traceback, and nothing is changed."""
    url = f"sqlite:///{tmp_path / 'new.db'}"
    migrate(url)
    engine = create_engine(url)
    call_it(engine, numbered(2))
    engine.dispose()
    settings = {
        "SIGNALBOX_DATABASE_URL": url,
        "SIGNALBOX_DATA_DIR": str(tmp_path / "data"),
        "SIGNALBOX_PORT": str(free_port),
    }

    served = CliRunner().invoke(app, ["serve"], env=settings)

    assert served.exit_code == 1
    assert "Start the version that migrated it." in " ".join(served.output.split())
    assert "Traceback" not in served.output
