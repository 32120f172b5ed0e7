"""What a task holds, and the tokens by which storage tells it from a successor.

A process may sleep at any moment: stopped, swapped out, suspended with its machine. Whoever waits for it takes over
when its lease is over, and it wakes up believing that nothing happened. So every lease carries a token that grows
and is never given twice, and every transaction of a task first makes sure, under a lock on the row, that its
tokens are the ones in force."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Generator
from contextlib import asynccontextmanager, contextmanager, suppress
from contextvars import ContextVar
from dataclasses import dataclass

from sqlalchemy import URL, column, select, table, text
from sqlalchemy.engine import Connection

from tools.ports import PortError


class HoldLost(Exception):
    """Somebody else goes on with this; nothing more may be written from here."""


@dataclass(frozen=True)
class Hold:
    """The right to write on a thread, a customer's or an action's, until somebody else gets it."""

    name: str
    token: int
    at: URL  #: The database that says whose it is.


_held: ContextVar[tuple[Hold, ...]] = ContextVar("held", default=())
# The table itself knows the module that opens transactions, which asks here.
_HOLDS = table("holds", column("name"), column("token"))
_NEXT = {
    "postgresql": text("SELECT nextval('fencing_tokens_last_seq')"),
    "sqlite": text("UPDATE fencing_tokens SET last = last + 1 RETURNING last"),
}


def held() -> tuple[Hold, ...]:
    """What this task holds."""
    return _held.get()


def holds(name: str) -> bool:
    """Does this task hold it, as far as it knows?"""
    return any(hold.name == name for hold in held())


@contextmanager
def with_hold(hold: Hold) -> Generator[None]:
    """Whatever the block writes, and what it starts, is conditional on the hold."""
    before = _held.set((*held(), hold))
    try:
        yield
    finally:
        _held.reset(before)


def confirm(conn: Connection) -> None:
    """Raise HoldLost unless all that this task holds is still its own; it stays so until the transaction ends."""
    mine = {(hold.name, hold.token) for hold in held() if hold.at == conn.engine.url}
    if not mine:
        return
    rows = conn.execute(
        select(_HOLDS)
        .where(_HOLDS.c.name.in_([name for name, _ in mine]))
        .order_by(_HOLDS.c.name)  # Everybody locks in the same order.
        .with_for_update(read=True)
    )
    if {(row.name, row.token) for row in rows} != mine:
        raise HoldLost


def next_token(conn: Connection) -> int:
    """A token greater than all before it."""
    return conn.execute(_NEXT[conn.dialect.name]).scalar_one()


def next_owner(conn: Connection) -> str:
    """The same as the text that a lease is held under; it sorts as the numbers do."""
    return f"{next_token(conn):020}"


@asynccontextmanager
async def kept(renew: Callable[[], Awaitable[bool]], every: float) -> AsyncGenerator[None]:
    """Renew a lease while the block runs; once somebody else has it, the block ends in HoldLost."""
    lost = asyncio.timeout(None)
    try:
        async with lost:
            keeping = asyncio.create_task(_keep(renew, every, lost))
            try:
                yield
            finally:
                keeping.cancel()
                await asyncio.wait([keeping])
    except TimeoutError:
        if lost.expired():
            raise HoldLost from None
        raise


async def _keep(renew: Callable[[], Awaitable[bool]], every: float, lost: asyncio.Timeout) -> None:
    while True:
        await asyncio.sleep(every)
        with suppress(PortError):  # Whoever cannot renew finds out when writing.
            if not await renew():
                lost.reschedule(asyncio.get_running_loop().time())
                return
