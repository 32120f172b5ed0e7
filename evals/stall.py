"""``python -m evals stall``: processes that sleep in the middle of writes and wake up believing that nothing happened.

The people, the books and the processes of the crash eval, and other misfortunes: stopped (SIGSTOP) at random
moments and at every named boundary for longer than any lease, while the customers ask the other process; clocks
that jump, forward and back, by more than a lease; connections that PostgreSQL is told to end."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

from evals.crash import Run, report
from evals.crash import run as run_crash
from evals.crash_slots import AT_RANDOM, AtBoundary, Slots
from evals.figures import Figure, Report
from evals.world import Folders, Progress, quiet

#: For how long a process sleeps, in seconds: leases of the eval's clock are over after four.
STALLS = (1.0, 9.0)
#: How long it works between two sleeps.
AWAKE = (0.1, 2.5)
#: Sleeps in a process's life.
TIMES = 3
#: How far a clock may jump, in seconds of the eval's clock: minutes, and back by an hour.
JUMPS = (-3600.0, -40.0, 45.0, 600.0)
#: How long it may go on without a connection being cut.
CUTS = (0.5, 3.0)


class Sleepers(Slots):
    """Processes that are stopped and woken a few times before they are killed."""

    answers_in = 3.0
    sleeps = STALLS

    def __init__(self, site: Any, folder: Path, assemble: Any, seed: int) -> None:
        super().__init__(site, folder, assemble, seed)
        self.stalls = 0

    def _fate(self, site: Any, deadly: bool) -> Any:
        # Where the crash eval's process would die, this one stops.
        fate = {"stalls_at": site.dies_at, "stalls_for": self._rng.uniform(*self.sleeps)}
        if deadly and self._rng.random() < 0.3:
            fate |= {"jumps_at": time.time() + 1, "jumps_by": self._rng.choice(JUMPS)}
        return replace(site, dies_at="", **fate)

    async def _lives(
        self, process: Any, site: Any, died: asyncio.Event, over: asyncio.Timeout
    ) -> None:
        if over.when() is None:
            await died.wait()
            return
        over.reschedule(None)
        for _ in range(TIMES):
            await asyncio.sleep(self._rng.uniform(*AWAKE))
            if not site.stalls_at:
                await self._stopped(process.pid)
        if site.stalls_at:
            # It wakes up by itself; then it has a moment to do what it still believes in.
            await asyncio.sleep(site.stalls_for)
            stopped = await asyncio.to_thread(Path(f"{site.socket}.stalled").exists)
            self.at[site.stalls_at] += stopped
            self.stalls += stopped
        await asyncio.sleep(self._rng.uniform(*AWAKE))

    async def _stopped(self, pid: int) -> None:
        os.kill(pid, signal.SIGSTOP)
        try:
            await asyncio.sleep(self._rng.uniform(*self.sleeps))
        finally:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGCONT)
        self.stalls += 1
        self.at[AT_RANDOM] += 1


class LongSleepers(Sleepers):
    """Up to as long as anybody waits."""

    sleeps = (1.0, 40.0)


class OneSleeper(AtBoundary):
    """One process stops in the middle of a customer's first turn, and is woken when they have been answered by
    the other and have gone on there: nothing is left to chance."""

    answers_in = 2.0

    def __init__(self, site: Any, folder: Path, assemble: Any, seed: int) -> None:
        super().__init__(site, folder, assemble, seed)
        self._up, self._gone_on = asyncio.Event(), asyncio.Event()
        self._asleep = False

    def _fate(self, site: Any, deadly: bool) -> Any:
        if not deadly or not site.socket.endswith("0-1"):
            return replace(site, dies_at="")
        # Should nobody wake it, it wakes by itself.
        return replace(site, dies_at="", dies_after=2, stalls_at=self.boundary, stalls_for=90)

    async def _serving(self, slot: int, process: Any, site: Any, died: asyncio.Event) -> None:
        await super()._serving(slot, process, site, died)
        if slot == 0:
            self._up.set()

    async def ask(self, asked: dict[str, Any], slot: int | None = None) -> dict[str, Any]:
        await self._up.wait()
        said = await super().ask(asked, 0 if asked["do"] == "turn" else slot)
        if self._asleep and asked.get("text") == "yes" and "error" not in said:
            self._gone_on.set()
        return said

    async def _lives(
        self, process: Any, site: Any, died: asyncio.Event, over: asyncio.Timeout
    ) -> None:
        over.reschedule(None)
        if not site.stalls_at:
            await died.wait()
        while not await asyncio.to_thread(Path(f"{site.socket}.stalled").exists):
            with suppress(TimeoutError):
                await asyncio.wait_for(died.wait(), 0.05)
        self._asleep, self.sockets[0] = True, ""
        await self._gone_on.wait()
        os.kill(process.pid, signal.SIGCONT)
        # Then it has a moment to do what it still believes in.
        await asyncio.sleep(max(AWAKE))


@asynccontextmanager
async def cut_off(site: Any) -> AsyncGenerator[None]:
    """PostgreSQL ends connections, a few at a time, whatever is under way on them."""
    if not site.database.startswith("postgresql"):
        yield
        return
    import random

    import psycopg

    async def cut() -> None:
        rng = random.Random(site.origin)
        async with await psycopg.AsyncConnection.connect(site.database, autocommit=True) as admin:
            while True:
                await asyncio.sleep(rng.uniform(*CUTS))
                await admin.execute(
                    "SELECT pg_terminate_backend(pid) FROM (SELECT pid FROM pg_stat_activity WHERE datname = "
                    "current_database() AND pid <> pg_backend_pid() ORDER BY random() LIMIT 2) AS victims"
                )

    cutting = asyncio.create_task(cut())
    try:
        yield
    finally:
        cutting.cancel()
        await asyncio.wait([cutting])


def run(lives: int = 20, *, long: bool = False, **wanted: Any) -> list[Run]:
    """So many processes, each stopped up to three times before its end."""
    sleepers = LongSleepers if long else Sleepers
    return run_crash(lives, slots_of=sleepers, trouble=cut_off, **wanted)


def suite(folders: Folders, progress: Progress = quiet, **wanted: Any) -> Report:
    """A run as a report."""
    runs = run(wanted.pop("lives", 20), **wanted, progress=progress)
    found = report(runs)
    stalls = sum(sum(one.at.values()) - one.kills for one in runs)
    return replace(found, suite="stall", figures=[Figure("stalls", stalls), *found.figures])
