"""One at a time on a thread, in all processes: whoever holds it writes, and whoever lost it cannot."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from datetime import timedelta
from weakref import WeakValueDictionary

from sqlalchemy import ColumnElement, Engine, and_, delete, select, update

from app.stores.database import writing
from app.stores.fences import Hold, kept, next_token, with_hold
from app.stores.tables import holds, insert_if_absent
from tools.ports import PortError
from tools.values import Clock

#: After how long a thread that another process plays on is asked for again, and the longest such pause:
#: each look is a write, and whoever died over the thread holds it for seconds.
POLL_SECONDS, POLL_LONGEST = 0.05, 0.5


async def _everybody(hold: Hold) -> None:
    """For a saver that looks the hold up by itself."""


class SqlHolds:
    """Short leases on names, each with a token that is greater than all before it.

    ``admit`` tells a saver that cannot see this table, before anything is read from it, whom to let write."""

    def __init__(
        self,
        engine: Engine,
        clock: Clock | None = None,
        *,
        lease: timedelta = timedelta(seconds=15),
        beat: float = 5.0,
        admit: Callable[[Hold], Awaitable[None]] = _everybody,
    ) -> None:
        self._engine = engine
        self._clock = clock or Clock()
        self._lease = lease
        self.beat = beat  #: How often a hold is renewed, in seconds.
        self.admit = admit
        self._here: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()

    @asynccontextmanager
    async def holding(self, name: str) -> AsyncGenerator[Hold]:
        """Wait for the name and hold it: all that the block writes is written only while it is held.

        The block ends in HoldLost when another process got it, which takes a pause longer than the lease."""
        lock = self._here.get(name)
        if lock is None:
            lock = self._here[name] = asyncio.Lock()
        async with lock:
            # No event of another process reaches us, so its row is looked at again.
            pause = POLL_SECONDS
            while (hold := await self.take(name)) is None:
                await asyncio.sleep(pause)
                pause = min(pause * 1.5, POLL_LONGEST)
            try:
                await self.admit(hold)
                async with kept(lambda: self.keep(hold), self.beat):
                    with with_hold(hold):
                        yield hold
            finally:
                with suppress(PortError):  # Its lease ends it, later.
                    await asyncio.shield(self.release(hold))

    async def take(self, name: str) -> Hold | None:
        """The hold on a name; None while somebody else has it."""
        return await asyncio.to_thread(self._take, name)

    async def keep(self, hold: Hold) -> bool:
        """Extend a hold; False when it is somebody else's by now."""
        return await asyncio.to_thread(self._keep, hold)

    async def release(self, hold: Hold) -> None:
        """Give it back; what a thread of this process still has under way cannot be written any more."""
        await asyncio.to_thread(self._release, hold)

    async def prune(self) -> int:
        """Forget what dead processes held, a day later; the number of rows that went."""
        return await asyncio.to_thread(self._prune)

    def _take(self, name: str) -> Hold | None:
        at = self._clock.now()
        until = at + self._lease
        with writing(self._engine, fenced=False) as conn:
            row = conn.execute(
                select(holds).where(holds.c.name == name).with_for_update()
            ).one_or_none()
            if row is not None and row.until > at:
                if row.until > until:
                    # A clock that was ahead wrote it; nobody waits longer than for a lease of now.
                    conn.execute(update(holds).where(holds.c.name == name).values(until=until))
                return None
            token = next_token(conn)
            taken = {"name": name, "token": token, "until": until}
            if row is not None:
                conn.execute(update(holds).where(holds.c.name == name).values(taken))
            elif not insert_if_absent(conn, holds, taken):
                return None
        return Hold(name, token, self._engine.url)

    def _keep(self, hold: Hold) -> bool:
        longer = update(holds).where(_is(hold)).values(until=self._clock.now() + self._lease)
        with writing(self._engine, fenced=False) as conn:
            return conn.execute(longer).rowcount == 1

    def _release(self, hold: Hold) -> None:
        with writing(self._engine, fenced=False) as conn:
            conn.execute(delete(holds).where(_is(hold)))

    def _prune(self) -> int:
        old = holds.c.until < self._clock.now() - timedelta(days=1)
        with writing(self._engine, fenced=False) as conn:
            return conn.execute(delete(holds).where(old)).rowcount


def _is(hold: Hold) -> ColumnElement[bool]:
    return and_(holds.c.name == hold.name, holds.c.token == hold.token)
