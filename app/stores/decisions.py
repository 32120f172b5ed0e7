"""The decision log in SQL: what every small model chose, before it took effect, with its input masked."""

from __future__ import annotations

import asyncio
import builtins
from collections.abc import Awaitable, Callable, Sequence
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import ColumnElement, Engine, Row, delete, insert, or_, select, update

from app.drift import Traffic
from app.stores.database import reading, writing
from app.stores.tables import decisions as table
from app.stores.tables import is_kept
from graphs.apart import apart
from tools.decisions import Aftermath, Alternative, Decision
from tools.ports import PortError
from tools.values import Clock, Lane, Record, Tier

#: An outcome replaces those of its own line and of the lines before.
_LINES = (
    {Aftermath.RESOLVED, Aftermath.FAILED},
    {Aftermath.ESCALATED},
    {Aftermath.CORRECTED},
    {Aftermath.EDITED, Aftermath.REJECTED},
)
#: How many old rows one transaction deletes: nobody waits long for the lock.
_BATCH = 5000

#: A small vector that stands for a text whose words are not kept.
Sketcher = Callable[[str], Awaitable[bytes]]


class LoggedDecision(Record):
    """A decision with where it belongs and what came of it."""

    id: int
    at: datetime
    tenant: str
    thread: str
    turn: str
    input: str  #: Masked.
    decision: Decision
    outcome: Aftermath | None = None
    outcome_detail: str = ""
    outcome_at: datetime | None = None


class Wanted(Record):
    """Which decisions to look up; what is not set does not matter."""

    tenant: str | None = None
    thread: str | None = None
    turn: str | None = None
    role: str | None = None
    chosen: str | None = None
    lane: Lane | None = None
    tier: Tier | None = None
    abstained: bool | None = None
    outcome: Aftermath | None = None
    probability_below: float | None = None
    since: datetime | None = None  #: From here on.
    until: datetime | None = None  #: Up to here, not included.


class SqlDecisionLog:
    """Decisions to look up by where they led or how sure they were, kept for ``retention_days``.

    ``sketch`` turns the masked words of a settled message into the few bytes that drift is measured on."""

    def __init__(
        self,
        engine: Engine,
        mask: Callable[[str], str],
        retention_days: int = 90,
        clock: Clock | None = None,
        *,
        sketch: Sketcher | None = None,
    ) -> None:
        self.engine = engine
        self.mask = mask
        self._retention = timedelta(days=retention_days)
        self._clock = clock or Clock()
        self._sketch = sketch

    async def record(
        self,
        *,
        tenant: str,
        thread: str,
        turn: str,
        input: str,
        decisions: Sequence[Decision],
        shadow: str | None = None,
    ) -> None:
        """Store decisions, every free text in them masked, before they take effect.

        ``shadow`` is the digest of a candidate whose decisions take none."""
        if not decisions:
            return
        masked = await apart(input, lambda: self.mask(input))
        sketch = None
        if shadow is None and any(decision.lane is not None for decision in decisions):
            sketch = await self._sketched(masked)
        where = {"tenant": tenant, "thread": thread, "turn": turn, "input": masked}
        await asyncio.to_thread(self._record, where | {"shadow": shadow}, decisions, sketch)

    async def list(
        self, wanted: Wanted | None = None, *, limit: int = 50, before: int | None = None
    ) -> builtins.list[LoggedDecision]:
        """Decisions that took effect, newest first; ``before`` is the id of the last one already seen."""
        return await asyncio.to_thread(self._list, wanted or Wanted(), limit, before)

    async def outcome(self, turn: str, outcome: Aftermath, detail: str = "") -> int:
        """Say what came of a turn's decisions, unless something weightier is known; how many it is true of."""
        replaced = replaced_by(outcome)
        open_or_lighter = or_(table.c.outcome.is_(None), table.c.outcome.in_(replaced))
        return await asyncio.to_thread(
            self._close, [table.c.turn == turn, open_or_lighter], outcome, detail
        )

    async def settle(self, thread: str, outcome: Aftermath, detail: str = "") -> int:
        """Say what came of everything on a thread that was open until now."""
        still_open = [table.c.thread == thread, table.c.outcome.is_(None)]
        return await asyncio.to_thread(self._close, still_open, outcome, detail)

    async def traffic(
        self,
        *,
        tenant: str | None = None,
        since: datetime | None = None,
        before: int | None = None,
        limit: int,
    ) -> tuple[int, Traffic]:
        """What was settled, as drift looks at it: at most the newest ``limit`` messages, only of ids below
        ``before``. Also the id of the oldest of them (0: there is none)."""
        wanted = Wanted(tenant=tenant, since=since)
        return await asyncio.to_thread(self._traffic, wanted, before, limit)

    async def prune(self) -> int:
        """Delete what is older than the retention; the number of rows that went."""
        gone = 0
        while batch := await asyncio.to_thread(self._prune):
            gone += batch
        return gone

    async def _sketched(self, masked: str) -> bytes | None:
        if self._sketch is None:
            return None
        try:
            return await self._sketch(masked)
        except PortError:
            return None  # Drift then knows one message less; the turn goes on.

    def _record(
        self, where: dict[str, Any], decisions: Sequence[Decision], sketch: bytes | None
    ) -> None:
        at = self._clock.now()
        rows = [
            {
                **where,
                "at": at,
                "role": decision.role,
                # An extractor's choice is made of the customer's own words.
                "chosen": self.mask(decision.chosen),
                "probability": decision.probability,
                "alternatives": [
                    {"option": self.mask(each.option), "probability": each.probability}
                    for each in decision.alternatives
                ],
                "abstained": decision.abstained,
                "reason": self.mask(decision.reason),
                "tier": decision.tier,
                "model": decision.model,
                "adapter": decision.adapter,
                "prompt": decision.prompt,
                "ms": decision.ms,
                "lane": decision.lane,
                "sketch": sketch if decision.lane is not None else None,
            }
            for decision in decisions
        ]
        with writing(self.engine) as conn:
            # A candidate decides after the turn, which no hold keeps: the conversation may be erased by now.
            if where["shadow"] is None or is_kept(conn, where["thread"]):
                conn.execute(insert(table), rows)

    def _list(
        self, wanted: Wanted, limit: int, before: int | None
    ) -> builtins.list[LoggedDecision]:
        page = select(table).where(*conditions(wanted)).order_by(table.c.id.desc()).limit(limit)
        if before is not None:
            page = page.where(table.c.id < before)
        with reading(self.engine) as conn:
            return [_logged(row) for row in conn.execute(page)]

    def _traffic(self, wanted: Wanted, before: int | None, limit: int) -> tuple[int, Traffic]:
        rows = (
            select(table.c.id, table.c.chosen, table.c.abstained, table.c.sketch)
            .where(*conditions(wanted), table.c.role == "router", table.c.lane.is_not(None))
            .order_by(table.c.id.desc())
            .limit(limit)
        )
        if before is not None:
            rows = rows.where(table.c.id < before)
        with reading(self.engine) as conn:
            found = conn.execute(rows).all()
        traffic = Traffic(
            tuple(row.chosen for row in found),
            tuple(row.abstained for row in found),
            tuple(row.sketch for row in found),
        )
        return (found[-1].id if found else 0), traffic

    def _close(self, which: Sequence[ColumnElement[bool]], outcome: Aftermath, detail: str) -> int:
        said = {
            "outcome": outcome.value,
            "outcome_detail": self.mask(detail),
            "outcome_at": self._clock.now(),
        }
        with writing(self.engine) as conn:
            live = table.c.shadow.is_(None)
            return conn.execute(update(table).where(live, *which).values(said)).rowcount

    def _prune(self) -> int:
        old = (
            select(table.c.id)
            .where(table.c.at < self._clock.now() - self._retention)
            .limit(_BATCH)
            .scalar_subquery()
        )
        with writing(self.engine) as conn:
            return conn.execute(delete(table).where(table.c.id.in_(old))).rowcount


def conditions(wanted: Wanted) -> builtins.list[ColumnElement[bool]]:
    """The filter in SQL; decisions of candidates are never part of it."""
    found: builtins.list[ColumnElement[bool]] = [table.c.shadow.is_(None)]
    plain = wanted.model_dump(exclude={"probability_below", "since", "until"}, exclude_none=True)
    found += [table.c[column] == value for column, value in plain.items()]
    if wanted.probability_below is not None:
        found.append(table.c.probability < wanted.probability_below)
    if wanted.since is not None:
        found.append(table.c.at >= wanted.since)
    if wanted.until is not None:
        found.append(table.c.at < wanted.until)
    return found


def replaced_by(outcome: Aftermath) -> builtins.list[str]:
    """What an outcome takes the place of: those of its own line and of the lines before."""
    last = next(number for number, line in enumerate(_LINES) if outcome in line)
    return sorted(each.value for line in _LINES[: last + 1] for each in line)


def _logged(row: Row[Any]) -> LoggedDecision:
    return LoggedDecision(
        id=row.id,
        at=row.at,
        tenant=row.tenant,
        thread=row.thread,
        turn=row.turn,
        input=row.input,
        decision=decision_of(row),
        outcome=row.outcome,
        outcome_detail=row.outcome_detail or "",
        outcome_at=row.outcome_at,
    )


def decision_of(row: Row[Any]) -> Decision:
    """The decision that a row of the table tells of."""
    return Decision(
        role=row.role,
        chosen=row.chosen,
        probability=row.probability,
        alternatives=tuple(Alternative.model_validate(each) for each in row.alternatives),
        abstained=row.abstained,
        reason=row.reason,
        tier=row.tier,
        model=row.model,
        adapter=row.adapter,
        prompt=row.prompt,
        ms=row.ms,
        lane=row.lane,
    )
