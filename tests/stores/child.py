"""A process of its own that executes actions, and may die at a checkpoint: ``child.py URL POINT COUNT``.

POINT is the checkpoint to be killed at, or ``-``. It executes the same action COUNT times from threads and
prints the statuses."""

from __future__ import annotations

import asyncio
import os
import signal
import sys

from tests.stores.world import GRAVE, ROUTINE, SEIZE, TAKE, Hands, World, an_action


async def main(url: str, point: str, count: int, name: str) -> None:
    def checkpoint(reached: str) -> None:
        if reached == point:
            os.kill(os.getpid(), signal.SIGKILL)

    world = World(url, Hands(), checkpoint)
    of, verdict = (SEIZE, GRAVE) if name == "seize" else (TAKE, ROUTINE)
    outcomes = await asyncio.gather(
        *(world.ledger.execute(an_action(of=of), of, verdict) for _ in range(count))
    )
    sys.stdout.write(" ".join(outcome.status for outcome in outcomes))


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], sys.argv[2], int(sys.argv[3]), sys.argv[4]))
