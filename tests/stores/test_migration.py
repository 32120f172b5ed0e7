"""The migrations make the tables the code expects."""

from __future__ import annotations

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext

from app.stores import tables
from app.stores.database import create_engine, metadata, migrate
from domains.northfell import store as shop


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)])
def new_url(request, tmp_path):
    if request.param == "postgres":
        return request.getfixturevalue("new_postgres_url")
    return f"sqlite:///{tmp_path / 'new.db'}"


def test_a_migrated_database_is_what_the_code_describes(new_url):
    """No table, column, index or constraint differs; a second run has nothing to do."""
    assert shop.customers.metadata is tables.ledger.metadata is metadata
    assert migrate(new_url) is True
    assert migrate(new_url) is False
    engine = create_engine(new_url)
    with engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        assert compare_metadata(context, metadata) == []
    engine.dispose()
