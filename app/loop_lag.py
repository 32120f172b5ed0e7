"""How long the event loop kept everybody waiting: whatever runs on it without a pause, nobody else is served."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, suppress

#: How far apart the looks are, in seconds.
EVERY = 0.1
#: For so long the longest wait is told, in seconds: whoever asks once a minute, and whoever else asks, hears of it.
WINDOW = 120.0


class LoopLag:
    """The longest that a task had to wait for its turn during the last ``window`` seconds."""

    def __init__(self, window: float = WINDOW) -> None:
        self._window = window
        # Of what is seen only what nothing later outdoes: when, and how long; longest first.
        self._seen: deque[tuple[float, float]] = deque()

    def worst(self) -> float:
        """Seconds; asking changes nothing."""
        return self._seen[0][1] if self._seen else 0.0

    def saw(self, at: float, lag: float) -> None:
        """A wait, and when it was over by the loop's clock."""
        while self._seen and self._seen[-1][1] <= lag:
            self._seen.pop()
        self._seen.append((at, lag))
        while self._seen[0][0] < at - self._window:
            self._seen.popleft()

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
            at = loop.time()
            self.saw(at, at - due)
