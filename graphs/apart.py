"""What takes long with a long text is done beside the event loop, which serves everybody else meanwhile."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TypeVar

Found = TypeVar("Found")

#: Shorter texts are read in less time than a thread would be worth, in characters.
LONG = 400


async def apart(text: str, work: Callable[[], Found]) -> Found:
    """What the work finds in a text: at once, or of a long one in a thread."""
    return work() if len(text) <= LONG else await asyncio.to_thread(work)
