"""The stores fail in the middle of a conversation: what the customer reads, how soon, and that nothing is lost.

Each row of the table in docs/operations.md that is about a store. The faults are the databases' own errors."""

from __future__ import annotations

import logging
import sqlite3
import time
from contextlib import closing, contextmanager

import psycopg
import pytest
from psycopg import sql
from sqlalchemy import event

from app.stores.health import StoreHealth
from tools.ports import BackendUnavailable


@contextmanager
def on_connections(engine, statement):
    """A setting on each connection of the books, until it is lifted."""

    def set_(connection, *_):
        connection.execute(statement)

    engine.dispose()
    event.listen(engine, "connect", set_)
    yield
    event.remove(engine, "connect", set_)
    engine.dispose()


@contextmanager
def books_read_only(world, desk):
    with on_connections(desk.stores.holds._engine, "PRAGMA query_only=ON"):
        yield


@contextmanager
def on_saver(desk, statement, undo):
    saver = desk.player.support.checkpointer

    def run(what):
        saver._worker.submit(lambda: saver.conn.execute(what).fetchall()).result()

    run(statement)
    yield
    run(undo)


@contextmanager
def checkpoints_full(world, desk):
    with on_saver(desk, "PRAGMA max_page_count=1", "PRAGMA max_page_count=1073741823"):
        yield


@contextmanager
def checkpoints_read_only(world, desk):
    with on_saver(desk, "PRAGMA query_only=ON", "PRAGMA query_only=OFF"):
        yield


@contextmanager
def checkpoints_locked(world, desk):
    """Another process holds the file, and does not let go."""
    with (
        on_saver(desk, "PRAGMA busy_timeout=300", "PRAGMA busy_timeout=5000"),
        closing(sqlite3.connect(world.checkpoints, isolation_level=None)) as other,
    ):
        other.execute("BEGIN EXCLUSIVE")
        yield
        other.execute("ROLLBACK")


@contextmanager
def server_read_only(world, desk):
    """As after a switch to a standby: every connection is ended, and the new ones only read."""
    server, _, name = world.url.rpartition("/")
    alter = "ALTER DATABASE {} SET default_transaction_read_only = {}"

    def set_(value):
        with psycopg.connect(f"{server}/postgres", autocommit=True) as admin:
            admin.execute(sql.SQL(alter).format(sql.Identifier(name), sql.Literal(value)))
            cut(admin, name)

    set_("on")
    yield
    set_("off")


def cut(admin, name):
    admin.execute(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s", [name]
    )


#: Each fault with the database that has it; ``world`` is made on that one.
FAULTS = [
    ("sqlite", books_read_only),
    ("sqlite", checkpoints_full),
    ("sqlite", checkpoints_read_only),
    ("sqlite", checkpoints_locked),
    pytest.param("postgres", server_read_only, marks=pytest.mark.postgres),
]


async def confirmed(world, desk, thread, key):
    """The customer's yes: its last event, or the error that a route makes a 503 of."""
    try:
        return (await world.say(desk, thread, "yes", "affirm", key=key))[-1]
    except BackendUnavailable as error:
        return error


@pytest.mark.parametrize(
    ("world", "fault"),
    FAULTS,
    indirect=["world"],
    ids=lambda one: one if isinstance(one, str) else one.__name__,
)
async def test_a_store_that_fails_is_said_at_once_and_loses_nothing(world, fault, caplog):
    """The customer is told to try again, within seconds; the same message then does it, once."""
    async with world.process() as desk:
        thread = await desk.turns.open_thread(world.customers["ana"])
        await world.say(desk, thread, "refund SB-10482", "request_refund")
        started = time.monotonic()
        with fault(world, desk), caplog.at_level(logging.WARNING):
            said = await confirmed(world, desk, thread, "k1")
        assert time.monotonic() - started < 15
        if not isinstance(said, BackendUnavailable):
            assert (said.event, said.data.get("retry")) == ("error", True), said
            assert "failed" in caplog.text
        world.hands.pass_(seconds=61)
        again = await confirmed(world, desk, thread, "k1")
        assert again.event == "final"
        assert "colleague" in again.data["text"]
        assert len(await desk.approvals.listed()) == 1
        history = await desk.turns.history(world.customers["ana"], thread)
        assert [m.text for m in history if m.role == "customer"] == ["refund SB-10482", "yes"]


@pytest.mark.parametrize(
    "world", [pytest.param("postgres", marks=pytest.mark.postgres)], indirect=True
)
async def test_a_database_that_restarts_is_not_noticed(world):
    """Every connection is gone between two messages: the next one opens new ones."""
    server, _, name = world.url.rpartition("/")
    async with world.process() as desk:
        thread = await desk.turns.open_thread(world.customers["ana"])
        await world.say(desk, thread, "refund SB-10482", "request_refund")
        with psycopg.connect(f"{server}/postgres", autocommit=True) as admin:
            cut(admin, name)
        assert (await confirmed(world, desk, thread, "k1")).event == "final"
        assert await states(desk.stores.holds._engine, desk) == {
            "checkpoints": "ok",
            "database": "ok",
        }


@pytest.mark.parametrize("world", ["sqlite"], indirect=True)
@pytest.mark.parametrize(
    ("fault", "down"), [(checkpoints_locked, "checkpoints"), (books_read_only, "database")]
)
async def test_a_store_that_cannot_be_written_makes_it_unready(world, fault, down):
    """So that nothing is sent to this process meanwhile: either of them down, and `/ready` answers 503."""
    async with world.process() as desk:
        engine = desk.stores.holds._engine
        with fault(world, desk):
            assert await states(engine, desk) == {
                "checkpoints": "ok",
                "database": "ok",
                down: "down",
            }
        assert await states(engine, desk) == {"checkpoints": "ok", "database": "ok"}


async def states(engine, desk):
    found = await StoreHealth(engine, desk.player.support.checkpointer).health()
    return {name: check["status"] for name, check in found.items()}
