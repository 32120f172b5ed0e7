"""The generated demo shop: its size, its sameness, its stories."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor, wait
from datetime import UTC, datetime, timedelta
from itertools import chain

import pytest
import sqlalchemy as sa

from app.stores.database import create_engine, metadata, migrate, reading
from domains.northfell.data_model import OrderStatus
from domains.northfell.demo_accounts import Account, stories
from domains.northfell.memory import MemoryBackend, demo_world
from domains.northfell.operations import OPERATIONS
from domains.northfell.seed import accounts, digits, rows_of, seed
from domains.northfell.store import RECORD_TABLES, SqlBackend, customers, products
from tests.domains.northfell.accounts import TODAY
from tools.values import Clock

NOON = datetime(2026, 11, 22, 12, tzinfo=UTC)


@pytest.fixture(scope="module")
def everybody() -> list[Account]:
    return accounts(TODAY)


def test_there_is_enough_of_everything(everybody: list[Account]) -> None:
    """The shop has its promised size, in every state."""
    orders = Counter(order.status for one in everybody for order in one.orders)
    refunds = Counter(refund.status for one in everybody for refund in one.refunds)
    plans = Counter((plan.plan, plan.status) for one in everybody for plan in one.subscriptions)

    assert len(everybody) >= 300
    assert sum(one.customer.segment == "business" for one in everybody) >= 40
    assert orders.total() >= 1500
    assert set(OrderStatus) == set(orders)
    assert min(orders.values()) >= 20
    assert {"requested", "approved", "paid", "rejected"} == set(refunds)
    assert len(plans) == 9


def test_the_same_day_gives_the_same_shop(everybody: list[Account]) -> None:
    """Generating is deterministic, and only dates depend on the day."""
    tomorrow = accounts(TODAY + timedelta(days=1))

    assert everybody == accounts(TODAY)
    assert [one.customer.email for one in everybody] == [one.customer.email for one in tomorrow]
    assert everybody != tomorrow


def test_numbers_are_unique_and_grow_with_time(everybody: list[Account]) -> None:
    """No two records share a number, and a newer invented order has the higher one."""
    for kind, of in (
        ("order", lambda one: one.orders),
        ("invoice", lambda one: one.invoices),
        ("subscription", lambda one: one.subscriptions),
        ("refund", lambda one: one.refunds),
        ("charge", lambda one: one.charges),
        ("ticket", lambda one: one.tickets),
    ):
        numbers = [digits(kind, record.number) for one in everybody for record in of(one)]
        assert len(set(numbers)) == len(numbers), kind

    invented = chain.from_iterable(one.orders for one in everybody[len(stories(TODAY)) :])
    by_number = sorted(invented, key=lambda order: digits("order", order.number))
    dates = [order.placed_on for order in by_number]
    assert sorted(dates) == dates


def test_the_books_add_up(everybody: list[Account]) -> None:
    """Totals, payments and dates of every generated record agree with its state."""
    for one in everybody:
        invoices = {invoice.order_number: invoice for invoice in one.invoices}
        for order in one.orders:
            goods = sum(line.quantity * line.unit_price for line in order.lines)
            assert order.total == goods + order.shipping
            assert (order.shipping == 0) is (goods >= 60)
            assert order.total == invoices[order.number].total
            assert one.customer.since <= order.placed_on <= TODAY
            if order.status is OrderStatus.PENDING:
                assert not invoices[order.number].paid
            if order.status is OrderStatus.REFUNDED:
                assert order.refunded == order.total
                assert any(refund.order_number == order.number for refund in one.refunds)
            if order.payment == "invoice":
                assert one.customer.segment == "business"
            if order.delivered_on is not None:
                assert order.placed_on < order.delivered_on <= TODAY
        for plan in one.subscriptions:
            if plan.plan == "fleet":
                assert plan.price >= 70  # twenty items at 3.50


def test_seeding_twice_changes_nothing(sqlite_url: str) -> None:
    """The first run fills the shop and tells how far it is; the second one leaves it alone."""
    told: list[tuple[int, int]] = []
    migrate(sqlite_url)
    engine = create_engine(sqlite_url)

    started = time.thread_time()
    first = seed(engine, TODAY, lambda done, total: told.append((done, total)))
    took = time.thread_time() - started
    before = _counts(engine)
    second = seed(engine, TODAY + timedelta(days=9))

    assert (first, second) == (True, False)
    assert before == _counts(engine)
    assert before["products"] == 60
    assert told[-1][0] == told[-1][1] == sum(before.values())
    assert sorted(told) == told
    assert took < 3
    engine.dispose()


@pytest.mark.postgres
def test_seeding_postgres(new_postgres_url: str) -> None:
    """The same rows arrive on PostgreSQL."""
    migrate(new_postgres_url)
    engine = create_engine(new_postgres_url)

    assert seed(engine, TODAY)
    assert not seed(engine, TODAY)
    assert {table.name: len(rows) for table, rows in rows_of(accounts(TODAY))} == _counts(engine)
    engine.dispose()


@pytest.mark.postgres
def test_a_replica_waits_while_another_one_fills_the_shop(
    copied_database: Callable[..., str],
) -> None:
    """Longer than anybody waits for a lock otherwise."""
    url = copied_database("postgres")
    first = create_engine(url)
    second = create_engine(f"{url}?options=-c%20lock_timeout%3D20ms")
    with ThreadPoolExecutor(1) as pool:
        with first.begin() as connection:
            connection.execute(sa.text("LOCK TABLE customers IN EXCLUSIVE MODE"))
            waiting = pool.submit(seed, second, TODAY)
            blocked = "SELECT count(*) FROM pg_locks WHERE NOT granted AND database = (SELECT oid FROM pg_database WHERE datname = current_database())"
            until = time.monotonic() + 30
            while not connection.execute(sa.text(blocked)).scalar():
                assert time.monotonic() < until
            _ended, going_on = wait([waiting], timeout=0.2)
            connection.execute(sa.insert(customers), dict(rows_of(accounts(TODAY)[:1]))[customers])
        done = waiting.result(30)
    first.dispose()
    second.dispose()

    assert going_on
    assert not done


def _counts(engine: sa.Engine) -> dict[str, int]:
    tables = [customers, products, *RECORD_TABLES, metadata.tables["counters"]]
    with reading(engine) as connection:
        return {
            table.name: connection.execute(
                sa.select(sa.func.count()).select_from(table)
            ).scalar_one()
            for table in tables
        }


def _seeded(url: str) -> None:
    migrate(url)
    engine = create_engine(url)
    seed(engine, TODAY)
    engine.dispose()


@pytest.mark.parametrize("name", [name for name, one in OPERATIONS.items() if not one.writes])
async def test_the_stories_read_the_same_in_memory_and_in_sql(
    name: str, copied_database: Callable[..., str]
) -> None:
    """The named customers live in both worlds with the same records."""
    engine = create_engine(copied_database("sqlite", _seeded))
    world = demo_world(TODAY)
    operation = OPERATIONS[name]
    clock = Clock(now=lambda: NOON)
    in_memory, in_sql = MemoryBackend(world, clock), SqlBackend(engine, clock)

    for customer in world.customers():
        expected = await in_memory.preview(customer, operation, operation.arguments())
        assert expected == await in_sql.preview(customer, operation, operation.arguments())
        for arguments in expected.candidate_arguments or ({},):
            if expected.refusal is None:
                given = operation.arguments.model_validate(arguments)
                one = await in_memory.read(customer, operation, given)
                assert one == await in_sql.read(customer, operation, given)
    engine.dispose()
