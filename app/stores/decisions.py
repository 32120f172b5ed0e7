"""The decision log in SQL: what every small model chose, before it took effect, with its input masked."""

from __future__ import annotations

import asyncio
import builtins
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Engine, Row, delete, insert, select, update

from app.stores.database import reading, writing
from app.stores.tables import decisions as table
from tools.domain import Alternative, Clock, Decision, Record


class LoggedDecision(Record):
    """A decision with where it belongs and what came of it."""

    id: int
    at: datetime
    tenant: str
    thread: str
    turn: str
    input: str  #: Masked.
    decision: Decision
    outcome: str | None = None


class SqlDecisionLog:
    """Decisions to look up by thread, role or doubt, kept for ``retention_days``."""

    def __init__(
        self,
        engine: Engine,
        mask: Callable[[str], str],
        retention_days: int = 90,
        clock: Clock | None = None,
    ) -> None:
        self._engine = engine
        self._mask = mask
        self._retention = timedelta(days=retention_days)
        self._clock = clock or Clock()

    async def record(
        self, *, tenant: str, thread: str, turn: str, input: str, decisions: Sequence[Decision]
    ) -> None:
        """Store decisions, every free text in them masked, before they take effect."""
        if decisions:
            await asyncio.to_thread(self._record, tenant, thread, turn, input, decisions)

    async def list(
        self,
        thread: str | None = None,
        role: str | None = None,
        abstained: bool | None = None,
        limit: int = 50,
        before: int | None = None,
        *,
        tenant: str | None = None,
        turn: str | None = None,
    ) -> builtins.list[LoggedDecision]:
        """Decisions newest first; ``before`` is the id of the last one already seen."""
        wanted = {
            "tenant": tenant,
            "thread": thread,
            "turn": turn,
            "role": role,
            "abstained": abstained,
        }
        return await asyncio.to_thread(self._list, wanted, limit, before)

    async def outcome(self, turn: str, text: str) -> None:
        """Attach to a turn's decisions what happened afterwards."""
        await asyncio.to_thread(self._outcome, turn, text)

    async def prune(self) -> int:
        """Delete what is older than the retention; the number of rows that went."""
        return await asyncio.to_thread(self._prune)

    def _record(
        self, tenant: str, thread: str, turn: str, input: str, decisions: Sequence[Decision]
    ) -> None:
        at = self._clock.now()
        masked = self._mask(input)
        rows = [
            {
                "at": at,
                "tenant": tenant,
                "thread": thread,
                "turn": turn,
                "input": masked,
                "role": decision.role,
                # An extractor's choice is made of the customer's own words.
                "chosen": self._mask(decision.chosen),
                "probability": decision.probability,
                "alternatives": [
                    {"option": self._mask(each.option), "probability": each.probability}
                    for each in decision.alternatives
                ],
                "abstained": decision.abstained,
                "reason": self._mask(decision.reason),
                "tier": decision.tier,
                "model": decision.model,
                "prompt": decision.prompt,
                "ms": decision.ms,
            }
            for decision in decisions
        ]
        with writing(self._engine) as conn:
            conn.execute(insert(table), rows)

    def _list(
        self, wanted: dict[str, Any], limit: int, before: int | None
    ) -> builtins.list[LoggedDecision]:
        page = select(table).order_by(table.c.id.desc()).limit(limit)
        for column, value in wanted.items():
            if value is not None:
                page = page.where(table.c[column] == value)
        if before is not None:
            page = page.where(table.c.id < before)
        with reading(self._engine) as conn:
            return [_logged(row) for row in conn.execute(page)]

    def _outcome(self, turn: str, text: str) -> None:
        with writing(self._engine) as conn:
            conn.execute(update(table).where(table.c.turn == turn).values(outcome=self._mask(text)))

    def _prune(self) -> int:
        with writing(self._engine) as conn:
            old = table.c.at < self._clock.now() - self._retention
            return conn.execute(delete(table).where(old)).rowcount


def _logged(row: Row[Any]) -> LoggedDecision:
    return LoggedDecision(
        id=row.id,
        at=row.at,
        tenant=row.tenant,
        thread=row.thread,
        turn=row.turn,
        input=row.input,
        decision=Decision(
            role=row.role,
            chosen=row.chosen,
            probability=row.probability,
            alternatives=tuple(Alternative.model_validate(each) for each in row.alternatives),
            abstained=row.abstained,
            reason=row.reason,
            tier=row.tier,
            model=row.model,
            prompt=row.prompt,
            ms=row.ms,
        ),
        outcome=row.outcome,
    )
