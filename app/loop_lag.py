"""How long the event loop kept everybody waiting: whatever runs on it without a pause, nobody else is served."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, suppress

#: How far apart the looks are, in seconds.
EVERY = 0.1


class LoopLag:
    """The longest that a task had to wait for its turn, since somebody asked last."""

    def __init__(self) -> None:
        self._worst = 0.0

    def worst(self) -> float:
        """Seconds; from here on it is counted anew."""
        worst, self._worst = self._worst, 0.0
        return worst

    @asynccontextmanager
    async def watched(self) -> AsyncGenerator[None]:
        """Look at the running loop until the block ends."""
        looking = asyncio.create_task(self._look(), name="loop lag")
        try:
            yield
        finally:
            looking.cancel()
            with suppress(asyncio.CancelledError):
                await looking

    async def _look(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            due = loop.time() + EVERY
            await asyncio.sleep(EVERY)
            self._worst = max(self._worst, loop.time() - due)
