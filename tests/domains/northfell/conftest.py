"""One shop for each kind of books: in memory, on SQLite, on PostgreSQL."""

from __future__ import annotations

from collections.abc import Callable, Generator
from pathlib import Path
from uuid import uuid4

import pytest
import sqlalchemy as sa

from app.stores.database import create_engine, migrate, writing
from domains.northfell.demo_accounts import Account
from domains.northfell.memory import MemoryBooks
from domains.northfell.seed import rows_of
from domains.northfell.shop import Shop
from domains.northfell.store import SqlShop
from tests.domains.northfell.accounts import TODAY

OpenShop = Callable[..., Shop]


@pytest.fixture(scope="session")
def sqlite_engine(tmp_path_factory: pytest.TempPathFactory) -> Generator[sa.Engine]:
    url = f"sqlite:///{tmp_path_factory.mktemp('shop') / 'shop.db'}"
    migrate(url)
    engine = create_engine(url)
    yield engine
    engine.dispose()


@pytest.fixture(scope="session")
def postgres_engine(postgres_url: str) -> Generator[sa.Engine]:
    schema = f"shop_{uuid4().hex[:8]}"
    owner = create_engine(postgres_url)
    with writing(owner) as connection:
        connection.execute(sa.schema.CreateSchema(schema))
    owner.dispose()
    url = f"{postgres_url}?options=-csearch_path%3D{schema}"
    migrate(url)
    engine = create_engine(url)
    yield engine
    engine.dispose()


@pytest.fixture(params=["memory", "sqlite", pytest.param("postgres", marks=pytest.mark.postgres)])
def open_shop(request: pytest.FixtureRequest) -> Generator[OpenShop]:
    """Opens the first account's shop in books that hold all the given accounts, and nothing else."""
    if request.param == "memory":

        def in_memory(*accounts: Account) -> Shop:
            return MemoryBooks(accounts).view(accounts[0].customer, TODAY)

        yield in_memory
        return

    engine: sa.Engine = request.getfixturevalue(f"{request.param}_engine")
    with engine.connect().execution_options(writing=True) as connection:
        transaction = connection.begin()

        def in_sql(*accounts: Account) -> Shop:
            for table, rows in rows_of(accounts):
                if rows:
                    connection.execute(sa.insert(table), rows)
            return SqlShop(connection, accounts[0].customer, today=TODAY, writing=True)

        yield in_sql
        transaction.rollback()


@pytest.fixture
def sqlite_url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path / 'own.db'}"
