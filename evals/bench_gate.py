"""What gate and ledger cost an action: their time beside a bare call of the same operation, per decision."""

from __future__ import annotations

import asyncio
import statistics
import tempfile
import time
from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from app.stores.approvals import SqlApprovals
from app.stores.audit import SqlAudit
from app.stores.database import create_engine, migrate, writing
from app.stores.decisions import SqlDecisionLog
from app.stores.ledger import SqlLedger
from domains.northfell.store import SqlShop, customers
from evals.crash_process import Site, desk_on, prepare
from evals.domain import DOMAIN
from graphs.keys import action_id, action_key, fingerprint
from tools.decisions import Decision
from tools.privacy import mask_pii
from tools.values import Action, Clock, Consequence, Customer, Verdict

ADA = Customer(id="C-BENCH", name="Ada Hill", email="ada@example.org", since=date(2024, 1, 1))
TICKET = DOMAIN.operations["create_ticket"]
ROUTINE = Verdict(
    consequence=Consequence.RETRY_SAFE, declared=Consequence.RETRY_SAFE, reason="as declared"
)
GRAVE = ROUTINE.model_copy(update={"consequence": Consequence.IRREVERSIBLE, "needs_approval": True})


def _action(request: str) -> Action:
    key = action_key(ADA.tenant, ADA.id, TICKET.name, request)
    arguments = {"subject": f"Broken buckle {request}"}
    return Action(
        id=action_id(key),
        tenant=ADA.tenant,
        customer=ADA,
        thread="th-bench",
        turn=request,
        operation=TICKET.name,
        arguments=dict(arguments),
        key=key,
        fingerprint=fingerprint(TICKET.name, dict(arguments)),
        proposed_at=Clock().now(),
    )


async def _timed(work: Callable[[int], Awaitable[object]], rounds: int) -> list[float]:
    """Milliseconds of each round, without the first ones, which fill caches."""
    spent: list[float] = []
    for each in range(-10, rounds):
        started = time.perf_counter()
        await work(each)
        if each >= 0:
            spent.append((time.perf_counter() - started) * 1000)
    return spent


def _p50_p95(spent: list[float]) -> dict[str, float]:
    return {
        "p50_ms": round(statistics.median(spent), 3),
        "p95_ms": round(statistics.quantiles(spent, n=20)[-1], 3),
    }


async def _measure(url: str, rounds: int, site: Any) -> dict[str, dict[str, float]]:
    clock = Clock()
    migrate(url)
    engine = create_engine(url)

    def shop_for(connection: Connection, customer: Customer) -> SqlShop:
        return SqlShop(connection, customer, today=clock.today(), writing=True)

    def bare(action: Action) -> None:
        arguments = TICKET.arguments.model_validate(action.arguments)
        with writing(engine) as connection:
            TICKET.run(shop_for(connection, ADA), arguments)

    try:
        with writing(engine) as connection:
            connection.execute(sa.insert(customers).values(**ADA.model_dump(exclude={"facts"})))
        approvals = SqlApprovals(engine, clock, ttl=timedelta(hours=1))
        ledger = SqlLedger(engine, shop_for, clock, approvals)
        log = SqlDecisionLog(engine, mask_pii)
        decision = Decision(
            role="router", chosen="create_ticket", probability=0.9, tier="encoder", model="bench"
        )

        async def approved(each: int) -> None:
            action = _action(f"approved-{each}")
            await approvals.request(action, GRAVE)
            await approvals.decide(action.id, approve=True, reviewer="bench")
            await ledger.execute(action, TICKET, GRAVE)

        async def decide(each: int) -> None:
            await log.record(
                tenant=ADA.tenant,
                thread="th-bench",
                turn=str(each),
                input="My buckle broke, I am ada@example.org, order SB-10482",
                decisions=[decision] * 3,
            )

        bares = await _timed(lambda each: asyncio.to_thread(bare, _action(f"bare-{each}")), rounds)
        ledgers = await _timed(
            lambda each: ledger.execute(_action(f"ledger-{each}"), TICKET, ROUTINE), rounds
        )
        async with desk_on(site) as (desk, _):
            # As the app is wired: proposal and verdict are audited too.
            context = replace(
                desk.player.context_for(ADA, "th-bench"), audit=SqlAudit(engine, clock)
            )

            async def gated(each: int) -> None:
                outcome = await desk.approvals.actions.propose(_action(f"gate-{each}"), context)
                assert outcome.status == "executed", outcome

            gates = await _timed(gated, rounds)
        replays = await _timed(
            lambda each: ledger.execute(_action("ledger-0"), TICKET, ROUTINE), rounds
        )
        return {
            "bare call": _p50_p95(bares),
            "through the ledger": _p50_p95(ledgers)
            | {"ratio": round(statistics.median(ledgers) / statistics.median(bares), 2)},
            "through gate and ledger": _p50_p95(gates)
            | {"ratio": round(statistics.median(gates) / statistics.median(bares), 2)},
            "replay": _p50_p95(replays),
            "asked, approved and run": _p50_p95(await _timed(approved, rounds)),
            "three decisions logged": _p50_p95(await _timed(decide, rounds)),
        }
    finally:
        engine.dispose()


def run(url: str | None = None, rounds: int = 300) -> dict[str, dict[str, float]]:
    """Measure on a database of its own, or on an empty one that ``url`` names."""
    with tempfile.TemporaryDirectory() as folder:
        where = url or f"sqlite:///{Path(folder) / 'bench.db'}"
        checkpoints = url or str(Path(folder) / "checkpoints.db")
        site = Site(where, checkpoints, speed=1.0, origin=time.time())
        prepare(site)
        return asyncio.run(_measure(where, rounds, site))


def main() -> None:
    print(f"{'':24}{'p50 ms':>9}{'p95 ms':>9}{'ratio':>7}")
    for name, figures in run().items():
        ratio = figures.get("ratio", "")
        print(f"{name:24}{figures['p50_ms']:9.2f}{figures['p95_ms']:9.2f}{ratio:>7}")


if __name__ == "__main__":
    main()
