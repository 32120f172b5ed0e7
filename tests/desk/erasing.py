"""A process that erases a customer's words and is killed on the way: ``erasing.py URL CHECKPOINTS STEP``."""

from __future__ import annotations

import asyncio
import os
import signal
import sys

from tests.desk.world import TENANT, DeskWorld


async def erase(url: str, checkpoints: str, step: str) -> None:
    def passed(name: str) -> None:
        if name == step:
            os.kill(os.getpid(), signal.SIGKILL)

    async with DeskWorld(url, checkpoints).process() as desk:
        assert desk.privacy is not None
        desk.privacy.passed = passed
        await desk.privacy.erase(TENANT, "ana", "quirin")


asyncio.run(erase(*sys.argv[1:]))
