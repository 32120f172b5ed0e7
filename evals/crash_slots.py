"""The application processes of the crash eval, and the killer."""

from __future__ import annotations

import asyncio
import json
import multiprocessing
import random
import signal
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

from evals.crash_business import provider_port

PROCESSES = 2
#: How long a process lives that is killed at a random moment, in seconds.
LIVES = (0.2, 1.6)
#: What a start takes where nothing else runs, in seconds. On a slower machine processes live longer by as
#: much: otherwise every one dies before any turn is over, and all that is measured is the load.
STARTS_IN = 0.3
#: And not longer than so many times: a boundary that is not reached then is not waited for.
SLOWEST = 4.0
AT_RANDOM = "a random moment"
#: How long one that is to die at a boundary is given to come there, in seconds.
TO_BOUNDARY = 10.0


class ConnectionLost(Exception):
    """The process died before it answered, or there is none."""


class Slots:
    """The application processes of a run, and the killer."""

    #: How long a client waits for an answer before it asks another process, in seconds.
    answers_in: float | None = None

    def __init__(self, site: Any, folder: Path, assemble: Any, seed: int) -> None:
        self._site = site
        self._folder = folder
        self._assemble = assemble
        self._rng = random.Random(seed)
        provider_port()
        # Forked from a process that has everything imported: a restart takes milliseconds, as it must here.
        self._context = multiprocessing.get_context("forkserver")
        self._context.set_forkserver_preload(["evals.crash_warm"])
        self._plan: list[str] = []
        self.sockets: list[str] = [""] * PROCESSES
        self._serves = asyncio.Event()
        self.kills = 0
        self.wanted = 0
        self.at: Counter[str] = Counter()

    async def run(self, slot: int, boundaries: Sequence[str]) -> None:
        """Keep one process running; kill it again and again until enough were killed."""
        generation = slot
        while True:
            generation += 1
            deadly = self.kills < self.wanted
            boundary, after = "", 1
            if deadly and generation % 2:
                # The rare ones are not waited for twice.
                boundary, rare = self._next(boundaries)
                after = 1 if rare else self._rng.randint(1, 3)
            socket = str(self._folder / f"{slot}-{generation}")
            site = replace(self._site, socket=socket, dies_at=boundary, dies_after=after)
            await self._life(slot, self._fate(site, deadly), deadly)

    def _fate(self, site: Any, deadly: bool) -> Any:
        """What else befalls this process."""
        return site

    def _next(self, boundaries: Sequence[str]) -> tuple[str, bool]:
        """The boundary to die at, and whether it was waited for in vain before."""
        if not self._plan:
            # Each comes once a round, and those that nobody reached again the oftener.
            self._plan = [*boundaries, *(name for name in boundaries if not self.at[name])]
            self._rng.shuffle(self._plan)
        name = self._plan.pop()
        return name, not self.at[name]

    async def _life(self, slot: int, site: Any, deadly: bool) -> None:
        from evals.crash_process import serve

        process = self._context.Process(target=serve, args=(site, self._assemble), daemon=True)
        process.start()
        try:
            died = asyncio.Event()
            loop = asyncio.get_running_loop()
            loop.add_reader(process.sentinel, died.set)
            try:
                began = loop.time()
                await self._serving(slot, process, site, died)
                slow = min(max(1.0, (loop.time() - began) / STARTS_IN), SLOWEST)
                life = slow * (TO_BOUNDARY if site.dies_at else self._rng.uniform(*LIVES))
                with suppress(TimeoutError):
                    async with asyncio.timeout(life if deadly else None) as over:
                        await self._lives(process, site, died, over)
                by_itself = died.is_set()
                process.kill()
                await died.wait()
            finally:
                loop.remove_reader(process.sentinel)
            # Not in a thread: starting the next process asks after all others, and the status is read once.
            process.join()
            if process.exitcode != -signal.SIGKILL:
                raise RuntimeError(f"a process ended with {process.exitcode}, nobody killed it")
            self.at[site.dies_at if by_itself else AT_RANDOM] += 1
            self.kills += 1
        finally:
            self.sockets[slot] = ""
            if not any(self.sockets):
                self._serves.clear()
            process.kill()
            process.join()

    async def _lives(
        self, process: Any, site: Any, died: asyncio.Event, over: asyncio.Timeout
    ) -> None:
        """Until it dies by its own hand, or its time is over."""
        await died.wait()

    async def _serving(self, slot: int, process: Any, site: Any, died: asyncio.Event) -> None:
        """Wait until the process can be asked."""
        socket = Path(site.socket)
        while not died.is_set() and not await asyncio.to_thread(socket.exists):
            with suppress(TimeoutError):
                await asyncio.wait_for(died.wait(), 0.01)
        self.sockets[slot] = site.socket
        self._serves.set()

    async def ask(self, asked: dict[str, Any], slot: int | None = None) -> dict[str, Any]:
        """Put one question to a process that runs; ConnectionLost when it dies over it."""
        while not (running := [socket for socket in self.sockets if socket]):
            await self._serves.wait()
        socket = running[(self._rng.randrange(PROCESSES) if slot is None else slot) % len(running)]
        try:
            async with asyncio.timeout(self.answers_in):
                line = await _answer(socket, asked)
        except (OSError, TimeoutError) as error:
            raise ConnectionLost from error
        if not line.endswith(b"\n"):
            raise ConnectionLost
        return json.loads(line)


class AtBoundary(Slots):
    """Every process dies the first time it comes to the one boundary, and never by chance."""

    boundary = ""

    async def run(self, slot: int, boundaries: Sequence[str]) -> None:
        (self.boundary,) = boundaries
        await super().run(slot, boundaries)

    async def _lives(
        self, process: Any, site: Any, died: asyncio.Event, over: asyncio.Timeout
    ) -> None:
        over.reschedule(None)
        await died.wait()

    def _fate(self, site: Any, deadly: bool) -> Any:
        return replace(site, dies_at=self.boundary if deadly else "", dies_after=1)


async def _answer(socket: str, asked: dict[str, Any]) -> bytes:
    reader, writer = await asyncio.open_unix_connection(socket, limit=2**24)
    try:
        writer.write(json.dumps(asked).encode() + b"\n")
        await writer.drain()
        return await reader.readline()
    finally:
        writer.close()
