"""Imported by the crash eval's fork server before it forks: what every process would build first, and
what its first turn would import, is there from then on. A start takes a tenth of the time."""

from __future__ import annotations

import asyncio
import logging
import tempfile
from importlib import import_module
from pathlib import Path

from app.stores.database import create_engine
from evals.crash import a_site
from evals.crash_process import Site, business_of, desk_on


async def _one_turn(site: Site) -> None:
    async with desk_on(site) as (desk, _):
        customer = (await desk.sign_in.customer("c0102")) or (await desk.sign_in.demo_customers())[
            0
        ]
        thread = await desk.turns.open_thread(customer)
        async for _event in desk.turns.play(
            customer, thread, "please open a ticket: a strap is loose"
        ):
            pass
        await desk.deliveries.deliver_due()


def _warm_up() -> None:
    logging.disable(logging.CRITICAL)
    import_module("evals.__main__")  # A forked process imports its parent's main module again.
    create_engine("postgresql://nobody@127.0.0.1/nowhere").dispose()  # Loads the dialect.
    with tempfile.TemporaryDirectory() as folder, a_site("sqlite", Path(folder)) as site:
        asyncio.run(_one_turn(site))
    business_of("halden")


_warm_up()
