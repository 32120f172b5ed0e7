"""Finds what holds the event loop: the processor time of each callback, and where the longest were when they were long.

Processor time, not time by the wall: on a busy machine everything takes long by the wall."""

from __future__ import annotations

import asyncio
import gc
import sys
import threading
import time
from collections import Counter
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType
from unittest.mock import patch

#: Longer may nothing synchronous be, in seconds.
LIMIT = 0.02
ROOT = str(Path(__file__).parents[1])


@dataclass
class Held:
    """What was seen of one stretch of a loop."""

    longest: float = 0.0
    where: str = ""
    _begun: float = 0.0
    _stacks: Counter[str] = field(default_factory=Counter, repr=False)

    def ran(self, seconds: float) -> None:
        if seconds > self.longest:
            seen = self._stacks.most_common(4)
            self.longest = seconds
            self.where = "\n".join(f"{count} times in\n{stack}" for stack, count in seen)


def best(*rounds: Held) -> Held:
    """The round that the machine disturbed least: what the code itself does it does every time."""
    return min(rounds, key=lambda held: held.longest)


def _ours(frame: FrameType | None) -> list[str]:
    """The innermost lines of this project, without looking into any file."""
    found: list[str] = []
    while frame is not None and len(found) < 5:
        code = frame.f_code
        if code.co_filename.startswith(ROOT):
            found.insert(0, f"  {code.co_filename}:{frame.f_lineno} {code.co_name}")
        frame = frame.f_back
    return found


@contextmanager
def watching() -> Generator[Held]:
    """Watch this thread's loop until the block ends. No collection of garbage falls into it."""
    held, run = Held(), asyncio.Handle._run
    mine, clock = threading.get_ident(), time.pthread_getcpuclockid(threading.get_ident())
    over = threading.Event()

    def timed(handle: asyncio.Handle) -> None:
        if threading.get_ident() != mine:
            return run(handle)
        held._begun = time.thread_time()
        held._stacks.clear()
        try:
            return run(handle)
        finally:
            held.ran(time.thread_time() - held._begun)

    def sample() -> None:
        while not over.wait(0.002):
            if time.clock_gettime(clock) - held._begun > LIMIT / 2:
                held._stacks["\n".join(_ours(sys._current_frames()[mine]))] += 1

    sampler = threading.Thread(target=sample, name="watchdog")
    gc.collect()
    gc.disable()
    interval = sys.getswitchinterval()
    sys.setswitchinterval(
        0.001
    )  # Or whatever holds the loop would keep the sampler from looking, too.
    sampler.start()
    try:
        with patch.object(asyncio.Handle, "_run", timed):
            yield held
    finally:
        over.set()
        sampler.join()
        sys.setswitchinterval(interval)
        gc.enable()
