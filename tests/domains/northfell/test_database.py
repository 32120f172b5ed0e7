"""Engines, transactions and migrations on both databases."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable, Generator
from concurrent.futures import ThreadPoolExecutor

import pytest
import sqlalchemy as sa

from app.stores.database import (
    create_engine,
    database_url,
    head,
    metadata,
    migrate,
    reading,
    writing,
)
from domains.northfell.data_model import OrderStatus
from domains.northfell.operations import OPERATIONS
from domains.northfell.seed import rows_of
from domains.northfell.store import SqlBackend, SqlShop, customers, orders, writing_shop
from tests.domains.northfell.accounts import TODAY, account, customer, order
from tools.ports import BackendUnavailable
from tools.values import Clock, NotAllowed


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)])
def url(request: pytest.FixtureRequest) -> str:
    name = "sqlite_url" if request.param == "sqlite" else "new_postgres_url"
    return str(request.getfixturevalue(name))


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)])
def engine(
    request: pytest.FixtureRequest, copied_database: Callable[..., str]
) -> Generator[sa.Engine]:
    engine = create_engine(copied_database(request.param))
    with writing(engine) as connection:
        for table, rows in rows_of([account(order("delivered"), order("paid", 10490))]):
            if rows:
                connection.execute(sa.insert(table), rows)
    yield engine
    engine.dispose()


def test_migrations_make_the_declared_tables(url: str) -> None:
    """The migrated schema is the one the code declares, down to keys and indexes."""
    from alembic.autogenerate import compare_metadata
    from alembic.migration import MigrationContext

    import app.stores.tables as others

    assert others.metadata is metadata
    migrate(url)
    engine = create_engine(url)
    with reading(engine) as connection:
        differences = compare_metadata(MigrationContext.configure(connection), metadata)
    engine.dispose()

    assert differences == []


def test_a_current_database_is_left_alone_quickly(url: str) -> None:
    """With nothing to do, migrating neither imports Alembic nor takes noticeable time."""
    assert migrate(url)

    code = (
        "import sys; from app.stores.database import migrate; "
        f"print(migrate({url!r}), 'alembic' in sys.modules)"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    asked: list[str] = []

    def count(_connection: object, _cursor: object, statement: str, *_: object) -> None:
        asked.append(statement)

    sa.event.listen(sa.Engine, "before_cursor_execute", count)
    started = time.thread_time()
    again = migrate(url)
    took = time.thread_time() - started
    sa.event.remove(sa.Engine, "before_cursor_execute", count)

    assert ran.stdout.strip() == "False False"
    assert not again
    assert took < 0.5
    assert len(asked) < 20, asked


def test_replicas_that_start_together_migrate_once(url: str) -> None:
    """One of them migrates, the others wait for it and find the work done."""
    with ThreadPoolExecutor(3) as pool:
        did = list(pool.map(migrate, [url] * 3))

    assert did.count(True) == 1
    engine = create_engine(url)
    with reading(engine) as connection:
        version = connection.execute(sa.text("SELECT version_num FROM alembic_version")).scalar()
    engine.dispose()
    assert head() == version


@pytest.mark.parametrize("scheme", ["postgres", "postgresql", "postgresql+psycopg"])
def test_plain_postgres_urls_get_our_driver(scheme: str) -> None:
    """An operator may paste the URL as the database's host shows it."""
    assert database_url(f"{scheme}://a@b/c").drivername == "postgresql+psycopg"


def test_sqlite_in_memory_is_refused() -> None:
    """Every worker thread would see a database of its own."""
    with pytest.raises(ValueError, match="needs a file"):
        create_engine("sqlite://")


def test_a_database_that_is_down_is_a_port_error(free_port: int) -> None:
    """The graph draws a fallback for an unavailable backend, not for a driver's exception."""
    engine = create_engine(f"postgresql://nobody@127.0.0.1:{free_port}/none")

    with pytest.raises(BackendUnavailable), reading(engine):
        pass
    with pytest.raises(BackendUnavailable), writing(engine):
        pass
    with pytest.raises(BackendUnavailable):
        migrate(f"postgresql://nobody@127.0.0.1:{free_port}/none")
    engine.dispose()


async def test_a_backend_that_is_down_is_a_port_error(free_port: int) -> None:
    """So does the backend itself."""
    engine = create_engine(f"postgresql://nobody@127.0.0.1:{free_port}/none")
    operation = OPERATIONS["list_orders"]

    with pytest.raises(BackendUnavailable):
        await SqlBackend(engine).read(customer(), operation, operation.arguments())
    engine.dispose()


def test_a_failed_write_leaves_nothing(engine: sa.Engine) -> None:
    """An exception inside the transaction takes back everything before it."""

    def half() -> None:
        with writing(engine) as connection:
            shop = SqlShop(connection, customer(), today=TODAY, writing=True)
            shop.save_contact(email="lost@example.com")
            shop.save_order(order("cancelled", 10490))
            raise RuntimeError("halfway")

    with pytest.raises(RuntimeError, match="halfway"):
        half()

    with reading(engine) as connection:
        shop = SqlShop(connection, customer(), today=TODAY)
        assert shop.customer.email == "zoe@example.com"
        assert OrderStatus.PAID is shop.orders()[0].status


def test_writes_for_one_customer_follow_each_other(engine: sa.Engine) -> None:
    """Parallel writes each see what the others did: no update is lost, no number given twice."""
    operation = OPERATIONS["resend_invoice"]
    ticket = OPERATIONS["create_ticket"]
    again = operation.arguments.model_validate({"order_number": "SB-10482"})
    shop_for = writing_shop(Clock())

    def write(place: int) -> str:
        with writing(engine) as connection:
            shop = shop_for(connection, customer())
            operation.run(shop, again)
            subject = {"subject": f"number {place}"}
            opened = ticket.run(shop, ticket.arguments.model_validate(subject))
            return str(opened.model_dump()["ticket_number"])

    with ThreadPoolExecutor(4) as pool:
        numbers = list(pool.map(write, range(20)))

    with reading(engine) as connection:
        shop = SqlShop(connection, customer(), today=TODAY)
        sent = {one.order_number: one.times_sent for one in shop.invoices()}
    assert sent == {"SB-10482": 21, "SB-10490": 1}
    assert len(set(numbers)) == 20


def test_two_refunds_at_once_pay_once(engine: sa.Engine) -> None:
    """Two different requests for the same money, at the same moment, have one effect."""
    operation = OPERATIONS["request_refund"]
    given = operation.arguments.model_validate({"order_number": "SB-10482", "reason": "damaged"})

    def pay_back(_: int) -> bool:
        try:
            with writing(engine) as connection:
                operation.run(SqlShop(connection, customer(), today=TODAY, writing=True), given)
        except NotAllowed:
            return False
        return True

    with ThreadPoolExecutor(4) as pool:
        paid = list(pool.map(pay_back, range(8)))

    with reading(engine) as connection:
        refunds = SqlShop(connection, customer(), today=TODAY).refunds()
    assert paid.count(True) == 1
    assert len(refunds) == 1


async def test_the_backend_reads_and_does_not_write(engine: sa.Engine) -> None:
    """A write can be previewed, but not run, outside the ledger."""
    backend = SqlBackend(engine)
    look, cancel = OPERATIONS["get_order"], OPERATIONS["cancel_order"]

    preview = await backend.preview(customer(), cancel, cancel.arguments())
    named = {"order_number": preview.arguments["order_number"]}
    found = await backend.read(customer(), look, look.arguments.model_validate(named))

    assert found.model_dump()["order"]["number"] == "SB-10490"
    with pytest.raises(ValueError, match="through the ledger"):
        await backend.read(customer(), cancel, cancel.arguments())
    with reading(engine) as connection:
        statuses = set(connection.execute(sa.select(orders.c.status)).scalars())
    assert {"delivered", "paid"} == statuses


def test_a_customer_without_books_has_an_empty_account(engine: sa.Engine) -> None:
    """Somebody who signed in and never bought anything is not an error."""
    with reading(engine) as connection:
        shop = SqlShop(connection, customer("new"), today=TODAY)
        assert (shop.orders(), shop.customer.email) == ([], "new@example.com")


def test_an_order_needs_its_customer(engine: sa.Engine) -> None:
    """Foreign keys are on, also in SQLite."""
    with (
        pytest.raises(sa.exc.IntegrityError),
        writing(engine) as connection,
    ):
        connection.execute(sa.delete(customers))
