"""Where turns are in the traces, what customers thought of answers, and what there is to say of traces by now."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Sequence
from datetime import datetime, timedelta
from typing import Any, Literal

from sqlalchemy import ColumnElement, Engine, Table, delete, insert, select

from app.stores.database import reading, writing
from app.stores.tables import approvals, decisions, is_kept, ratings, reviews, traces
from app.tracing import Place
from tools.values import Clock, Record

#: A database takes so many values in one question at least.
_MANY = 400
#: What an approval came to, of the states it can be in.
_DECIDED = {"started": "approved", "executed": "approved", "failed": "approved"}


class Score(Record):
    """Something known of a trace: what came of it, or what somebody thinks of it."""

    trace: str
    name: str
    value: str | float
    kind: Literal["NUMERIC", "CATEGORICAL", "BOOLEAN"]
    comment: str = ""


class SqlTraces:
    """Kept as long as decisions are; nothing that answers a customer waits for it."""

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

    def now(self) -> datetime:
        return self._clock.now()

    def put(self, places: Sequence[Place]) -> None:
        """Write down where these turns are; a turn that was begun anew is where it was played last."""
        latest = {place.turn: place for place in places}
        rows = [
            {"turn": p.turn, "trace": p.trace, "span": p.span, "scores": dict(p.scores)}
            for p in latest.values()
        ]
        if not rows:
            return
        at = self._clock.now()
        with writing(self._engine, fenced=False) as conn:
            conn.execute(delete(traces).where(traces.c.turn.in_([*latest])))
            conn.execute(insert(traces), [row | {"at": at} for row in rows])

    def find(self, turn: str) -> Place | None:
        """Where a turn is; None where it was not traced, or long ago."""
        with reading(self._engine) as conn:
            row = conn.execute(select(traces).where(traces.c.turn == turn)).first()
        return None if row is None else Place(row.turn, row.trace, row.span, dict(row.scores))

    def traced(self, turns: Iterable[str]) -> dict[str, str]:
        """Of these turns, the trace of each that has one."""
        wanted, found = [*dict.fromkeys(turns)], dict[str, str]()
        with reading(self._engine) as conn:
            for start in range(0, len(wanted), _MANY):
                some = traces.c.turn.in_(wanted[start : start + _MANY])
                found |= {r.turn: r.trace for r in conn.execute(select(traces).where(some))}
        return found

    def due(self, since: datetime) -> list[Score]:
        """What became known of traced turns since then: outcomes, approvals, labels, ratings, groundedness."""
        found: list[tuple[str, Score]] = [
            *self._outcomes(since),
            *self._approvals(since),
            *self._labels(since),
            *self._ratings(since),
        ]
        where = self.traced(turn for turn, _ in found)
        known = [s.model_copy(update={"trace": where[t]}) for t, s in found if t in where]
        return [*known, *self._measured(since)]

    def prune(self) -> int:
        """Forget what is older than the retention; the number of rows that went."""
        with writing(self._engine) as conn:
            gone = conn.execute(
                delete(traces).where(traces.c.at < self._clock.now() - self._retention)
            )
        return gone.rowcount

    def _since(self, table: Table, *which: ColumnElement[bool]) -> list[Any]:
        with reading(self._engine) as conn:
            return list(conn.execute(select(table).where(*which)))

    def _outcomes(self, since: datetime) -> Iterable[tuple[str, Score]]:
        known = decisions.c
        rows = self._since(
            decisions, known.outcome_at >= since, known.outcome.is_not(None), known.shadow.is_(None)
        )
        # A turn's decisions share what came of it.
        for row in {row.turn: row for row in rows}.values():
            yield row.turn, self._said("outcome", row.outcome, row.outcome_detail)

    def _approvals(self, since: datetime) -> Iterable[tuple[str, Score]]:
        for row in self._since(approvals, approvals.c.decided_at >= since):
            status = str(row.status)
            answer = _DECIDED.get(status, status)
            why = f"{row.operation}: {row.note}" if row.note else row.operation
            yield row.action["turn"], self._said("approval", answer, why)

    def _labels(self, since: datetime) -> Iterable[tuple[str, Score]]:
        for row in self._since(reviews, reviews.c.labelled_at >= since):
            if row.label is not None:
                right = float(row.label == row.chosen)
                yield row.turn, self._said("router_right", right, f"chosen: {row.chosen}")
                yield row.turn, self._said("intent", row.label, "")

    def _ratings(self, since: datetime) -> Iterable[tuple[str, Score]]:
        for row in self._since(ratings, ratings.c.at >= since):
            yield row.turn, self._said("rating", float(row.good), row.comment)

    def _measured(self, since: datetime) -> Iterable[Score]:
        for row in self._since(traces, traces.c.at >= since):
            for name, value in row.scores.items():
                measured = Score(trace=row.trace, name=name, value=value, kind="NUMERIC")
                yield measured

    def _said(self, name: str, value: str | float, comment: str | None) -> Score:
        kind = "CATEGORICAL" if isinstance(value, str) else "BOOLEAN"
        return Score(
            trace="", name=name, value=value, kind=kind, comment=self._mask(comment or "")[:500]
        )


class SqlRatings:
    """What customers thought of answers."""

    def __init__(self, engine: Engine, clock: Clock | None = None) -> None:
        self._engine = engine
        self._clock = clock or Clock()

    async def rate(
        self, tenant: str, customer: str, thread: str, turn: str, *, good: bool, comment: str
    ) -> None:
        """Keep it; the last word on a turn counts."""
        row = {
            "turn": turn,
            "tenant": tenant,
            "customer_id": customer,
            "thread": thread,
            "good": good,
            "comment": comment,
            "at": self._clock.now(),
        }
        await asyncio.to_thread(self._rate, row)

    async def of(self, turns: Iterable[str]) -> dict[str, bool]:
        """Which of these answers were rated, and whether each helped."""
        return await asyncio.to_thread(self._of, [*turns])

    def _of(self, turns: Sequence[str]) -> dict[str, bool]:
        found = dict[str, bool]()
        if not turns:
            return found
        with reading(self._engine) as conn:
            for start in range(0, len(turns), _MANY):
                some = ratings.c.turn.in_(turns[start : start + _MANY])
                found |= {r.turn: bool(r.good) for r in conn.execute(select(ratings).where(some))}
        return found

    def _rate(self, row: dict[str, Any]) -> None:
        with writing(self._engine) as conn:
            if not is_kept(conn, row["thread"]):
                return  # It was erased a moment ago.
            conn.execute(delete(ratings).where(ratings.c.turn == row["turn"]))
            conn.execute(insert(ratings), row)
