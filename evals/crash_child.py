"""A process that serves two turns and is killed in the second: ``crash_child.py FOLDER POINT WHO ORDER``.

POINT is a checkpoint of the ledger. The thread's id is printed before the fatal turn begins."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from dataclasses import replace
from pathlib import Path

from app.stores.database import create_engine
from app.stores.ledger import CHECKPOINTS, SqlLedger
from domains.northfell.store import SqlShop
from evals.faults import key_of
from evals.world import database_in, demo_customer, running
from graphs.context import Context
from tools.values import Clock, Customer


async def main(folder: Path, point: str, who: str, order: str) -> None:
    if point not in CHECKPOINTS:
        raise SystemExit(f"no checkpoint is called {point}")
    engine = create_engine(database_in(folder))

    def die(reached: str) -> None:
        if reached == point:
            os.kill(os.getpid(), signal.SIGKILL)

    async with running(folder) as desk:
        real = desk.player.context_for
        deadly = SqlLedger(
            engine,
            lambda connection, of: SqlShop(connection, of, today=Clock().today(), writing=True),
            Clock(),
            desk.stores.approvals,
            outbox=desk.stores.outbox,
            checkpoint=die,
        )

        def with_deadly_ledger(customer: Customer, thread: str) -> Context:
            return replace(real(customer, thread), ledger=deadly)

        desk.player.context_for = with_deadly_ledger
        customer = await demo_customer(desk, who)
        thread = await desk.turns.open_thread(customer)
        async for _ in desk.turns.play(customer, thread, f"please cancel {order}"):
            pass
        sys.stdout.write(json.dumps({"thread": thread}) + "\n")
        sys.stdout.flush()
        async for event in desk.turns.play(customer, thread, "yes", key=key_of(point)):
            sys.stdout.write(f"{event.event}\n")


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1]), *sys.argv[2:5]))
