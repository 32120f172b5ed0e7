"""A process of its own that carries out one approved refund and may die at a checkpoint.

``child.py URL PAYMENTS keys|no-keys POINT REQUEST``; POINT is the checkpoint to be killed at, or ``-``.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys

from tests.interlock.world import GRAVE, REFUND, World, a_refund


async def main(url: str, payments: str, keys: str, point: str, request: str) -> None:
    def checkpoint(reached: str) -> None:
        if reached == point:
            os.kill(os.getpid(), signal.SIGKILL)

    world = World(url, payments, keys=keys == "keys", checkpoint=checkpoint)
    outcome = await world.ledger.execute(a_refund(request), REFUND, GRAVE)
    sys.stdout.write(outcome.status)
    world.close()


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:6]))
