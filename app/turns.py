"""Turns that go on when their reader goes away."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass, field

from app.desk import Event, TurnRoom
from app.metrics import Metrics
from app.rates import Rates
from tools.values import Customer

log = logging.getLogger(__name__)

#: How many keys of threadless messages are remembered.
_KEYS_KEPT = 4096

#: The end of a turn's events.
_END = object()


@dataclass
class RunningTurn:
    """The reader's end of one turn."""

    _queue: asyncio.Queue[object] = field(default_factory=asyncio.Queue[object])

    async def first(self) -> Event:
        """The first event; what the desk refuses before it is raised here."""
        item = await self._queue.get()
        if isinstance(item, Exception):
            raise item
        assert isinstance(item, Event)
        return item

    async def next(self, within: float) -> Event | None:
        """The next event, or None at the end; raises TimeoutError when it takes longer."""
        async with asyncio.timeout(within):
            item = await self._queue.get()
        if isinstance(item, Exception):
            raise item
        return item if isinstance(item, Event) else None

    async def rest(self) -> AsyncIterator[Event]:
        while True:
            item = await self._queue.get()
            if isinstance(item, Exception):
                raise item
            if not isinstance(item, Event):
                return
            yield item

    def put(self, item: object) -> None:
        self._queue.put_nowait(item)


class Turns:
    """Plays each turn in a task of its own, so that a closed connection cannot end it."""

    def __init__(self, room: TurnRoom, metrics: Metrics, rates: Rates) -> None:
        self._room = room
        self._metrics = metrics
        self._rates = rates
        self._tasks: set[asyncio.Task[None]] = set()

    def start(self, customer: Customer, thread: str, text: str, *, key: str | None) -> RunningTurn:
        running = RunningTurn()
        task = asyncio.create_task(self._play(running, customer, thread, text, key))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return running

    async def _play(
        self, running: RunningTurn, customer: Customer, thread: str, text: str, key: str | None
    ) -> None:
        started, lane, tier = time.monotonic(), "none", "none"
        try:
            async for event in self._room.play(customer, thread, text, key=key):
                if event.event == "route":
                    lane = str(event.data.get("lane", lane))
                    tier = str(event.data.get("tier", tier))
                self._metrics.seen(event, lane, tier, time.monotonic() - started)
                asked = event.data.get("llm_calls") if event.event == "final" else None
                if isinstance(asked, int) and asked > 0:
                    await self._rates.spend("cost", f"{customer.tenant}:{customer.id}", asked)
                running.put(event)
        except Exception as error:  # noqa: BLE001 - the edge of the turn's task: the reader raises it
            running.put(error)
        else:
            running.put(_END)

    async def drain(self, seconds: float) -> None:
        """Wait for the running turns before what they stand on is closed."""
        if not self._tasks:
            return
        _, late = await asyncio.wait(self._tasks, timeout=seconds)
        for task in late:
            task.cancel()
        for task in late:
            with contextlib.suppress(asyncio.CancelledError):
                await task
        if late:
            log.warning(
                "%d turns did not finish within %.0f s and were stopped", len(late), seconds
            )
