"""What waits for people: how much, and since when."""

from __future__ import annotations

import asyncio
from datetime import datetime
from typing import Any

from sqlalchemy import Engine, func, select

from app.stores.database import reading
from app.stores.tables import approvals, ledger, threads
from tools.values import Clock, Record


class Waiting(Record):
    """Of each kind how many wait, and since when the oldest does."""

    approvals: int = 0
    approvals_since: datetime | None = None
    hand_offs: int = 0
    hand_offs_since: datetime | None = None
    unsettled: int = 0
    unsettled_since: datetime | None = None


class SqlWaiting:
    """Counts what waits; three small queries, for whoever scrapes."""

    def __init__(self, engine: Engine, clock: Clock | None = None) -> None:
        self._engine = engine
        self._clock = clock or Clock()

    async def now(self) -> Waiting:
        return await asyncio.to_thread(self._now)

    def _now(self) -> Waiting:
        asked, handed, unknown = approvals.c, threads.c, ledger.c
        queries: dict[str, Any] = {
            "approvals": select(func.count(), func.min(asked.requested_at)).where(
                asked.status == "pending", asked.expires_at > self._clock.now()
            ),
            "hand_offs": select(func.count(), func.min(handed.handed_off_at)).where(
                handed.handed_off.is_(True)
            ),
            "unsettled": select(func.count(), func.min(unknown.called_at)).where(
                unknown.state.in_(("started", "unknown")),
                unknown.called_at.is_not(None),
                unknown.lease_until <= self._clock.now(),
            ),
        }
        found: dict[str, int | datetime | None] = {}
        with reading(self._engine) as conn:
            for name, query in queries.items():
                row: Any = conn.execute(query).one()
                found |= {name: row[0], f"{name}_since": row[1]}
        return Waiting.model_validate(found)
