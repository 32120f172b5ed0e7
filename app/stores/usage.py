"""What each turn asked of models and cost, and what was spent on a day, for all replicas."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import date, datetime, timedelta
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Engine,
    Integer,
    Row,
    and_,
    case,
    cast,
    delete,
    func,
    insert,
    or_,
    select,
    update,
)

from app.economics import TASKS, Asked, Line, ModelUse, Spent, TurnUse
from app.stores.database import reading, writing
from app.stores.decisions import replaced_by
from app.stores.tables import insert_if_absent, is_kept, spending, usage_calls, usage_turns
from tools.decisions import Aftermath
from tools.values import Clock

#: So many customers and turns are named in a report: those that cost most.
NAMED = 20
#: Days whose spending is kept: today's is what budgets are held to.
_DAYS = 2
_USE = tuple(ModelUse.model_fields)
_TURN = tuple(name for name in TurnUse.model_fields if name not in ("customer", "models"))


class SqlUsage:
    """A row a turn, a row for each model and role in it, and the day's sums that budgets are held to."""

    def __init__(
        self, engine: Engine, retention_days: int = 90, clock: Clock | None = None
    ) -> None:
        self._engine = engine
        self._retention = timedelta(days=retention_days)
        self._clock = clock or Clock()

    async def record(self, tenant: str, domain: str, use: TurnUse) -> None:
        """Add what a turn used; what was recorded of it before (it was begun twice, its action ended) stays."""
        await asyncio.to_thread(self._record, tenant, domain, use)

    async def outcome(self, turn: str, outcome: Aftermath) -> None:
        """What came of a turn, later than it ended."""
        await asyncio.to_thread(self._outcome, turn, outcome)

    async def spent(self, tenant: str, customer: str) -> tuple[float, float]:
        """What was spent today: by everybody, and by this customer."""
        return await asyncio.to_thread(self._spent, tenant, customer)

    async def of_thread(self, thread: str, *, limit: int = 200) -> list[TurnUse]:
        """The turns of a conversation, newest first, each with what it asked of which model."""
        return await asyncio.to_thread(self._of_thread, thread, limit)

    async def over(self, days: float, *, tenant: str | None = None) -> Spent:
        """What went in the last days."""
        until = self._clock.now()
        return await asyncio.to_thread(self._over, until - timedelta(days=days), until, tenant)

    async def prune(self) -> int:
        """Forget what is older than the retention; the number of turns that went."""
        return await asyncio.to_thread(self._prune)

    # --- inside -----------------------------------------------------------------------------------

    def _record(self, tenant: str, domain: str, use: TurnUse) -> None:
        # Money is spent whoever goes on with the turn.
        with writing(self._engine, fenced=False) as conn:
            for customer in {"", use.customer} if use.cost else ():
                key = {"tenant": tenant, "customer_id": customer, "day": self._clock.today()}
                if not insert_if_absent(conn, spending, key | {"spent": use.cost}):
                    same = and_(*(spending.c[name] == value for name, value in key.items()))
                    more = {"spent": spending.c.spent + use.cost}
                    conn.execute(update(spending).where(same).values(more))
            if not is_kept(conn, use.thread):
                return  # It was erased a moment ago.
            row = use.model_dump(exclude={"models", "customer"})
            row |= {"tenant": tenant, "domain": domain, "customer_id": use.customer}
            if not insert_if_absent(conn, usage_turns, row):
                known = usage_turns.c
                sums = {
                    name: known[name] + row[name]
                    for name in ("seconds", "llm_calls", "cost", "unpriced")
                }
                said = {n: row[n] for n in ("lane", "tier", "outcome") if row[n] is not None}
                conn.execute(update(usage_turns).where(known.turn == use.turn).values(sums | said))
            if use.models:
                where = {"turn": use.turn, "thread": use.thread, "at": use.at}
                conn.execute(insert(usage_calls), [one.model_dump() | where for one in use.models])

    def _outcome(self, turn: str, outcome: Aftermath) -> None:
        known = usage_turns.c
        open_ = or_(known.outcome.is_(None), known.outcome.in_(replaced_by(outcome)))
        with writing(self._engine) as conn:
            said = update(usage_turns).where(known.turn == turn, open_)
            conn.execute(said.values(outcome=outcome.value))

    def _spent(self, tenant: str, customer: str) -> tuple[float, float]:
        known = spending.c
        today = and_(
            known.tenant == tenant,
            known.day == self._clock.today(),
            known.customer_id.in_(("", customer)),
        )
        with reading(self._engine) as conn:
            rows = conn.execute(select(known.customer_id, known.spent).where(today))
            found = {row.customer_id: float(row.spent) for row in rows}
        return found.get("", 0.0), found.get(customer, 0.0)

    def _of_thread(self, thread: str, limit: int) -> list[TurnUse]:
        known = usage_turns.c
        with reading(self._engine) as conn:
            newest = select(usage_turns).where(known.thread == thread).order_by(known.at.desc())
            turns = conn.execute(newest.limit(limit)).all()
            names = [row.turn for row in turns]
            calls = select(*_summed(), usage_calls.c.turn).where(usage_calls.c.turn.in_(names))
            grouped = calls.group_by(*_kinds(), usage_calls.c.turn)
            uses = [(row.turn, _use(row)) for row in conn.execute(grouped)]
        return [_turn(row, [use for turn, use in uses if turn == row.turn]) for row in turns]

    def _over(self, since: datetime, until: datetime, tenant: str | None) -> Spent:
        known = usage_turns.c
        which = [known.at >= since, known.at <= until]
        if tenant is not None:
            which.append(known.tenant == tenant)
        with reading(self._engine) as conn:

            def lines(by: ColumnElement[Any], most: int | None = None) -> dict[str, Line]:
                asked = select(by.label("name"), *_LINE).where(*which).group_by(by)
                if most is not None:
                    asked = asked.order_by(func.sum(known.cost).desc(), by).limit(most)
                return {str(row.name): _line(row) for row in conn.execute(asked)}

            dearest = select(usage_turns).where(*which, known.cost > 0).order_by(known.cost.desc())
            called = select(*_summed()).join(usage_turns, known.turn == usage_calls.c.turn)
            models = conn.execute(called.where(*which).group_by(*_kinds())).all()
            by = (known.lane, usage_calls.c.role, func.count(usage_calls.c.turn.distinct()))
            large = select(*by).join(usage_turns, known.turn == usage_calls.c.turn)
            large = large.where(*which, usage_calls.c.tier == "large").group_by(*by[:2])
            return Spent(
                since=since,
                until=until,
                lanes=lines(func.coalesce(known.lane, "none")),
                domains=lines(known.domain),
                customers=lines(known.customer_id, NAMED),
                dearest=tuple(_turn(row, ()) for row in conn.execute(dearest.limit(NAMED))),
                models=tuple(sorted(map(_use, models), key=lambda use: (use.tier, use.role))),
                asked=tuple(
                    Asked(lane=lane or "none", role=role, turns=turns)
                    for lane, role, turns in conn.execute(large)
                ),
            )

    def _prune(self) -> int:
        old = self._clock.now() - self._retention
        past: date = self._clock.today() - timedelta(days=_DAYS)
        with writing(self._engine) as conn:
            conn.execute(delete(usage_calls).where(usage_calls.c.at < old))
            conn.execute(delete(spending).where(spending.c.day < past))
            return conn.execute(delete(usage_turns).where(usage_turns.c.at < old)).rowcount


def _kinds() -> Sequence[ColumnElement[Any]]:
    return [usage_calls.c[name] for name in ("tier", "role", "model", "local", "masked")]


def _summed() -> Sequence[ColumnElement[Any]]:
    sums = ("calls", "failed", "read", "cached", "written")
    # A sum leaves out what nobody knows: of a kind with such a call the cost is not known.
    unknown = func.count(usage_calls.c.id) > func.count(usage_calls.c.cost)
    cost = case((unknown, None), else_=func.sum(usage_calls.c.cost)).label("cost")
    return [*_kinds(), *(func.sum(usage_calls.c[name]).label(name) for name in sums), cost]


def _use(row: Row[Any]) -> ModelUse:
    return ModelUse.model_validate({name: getattr(row, name) for name in _USE})


def _turn(row: Row[Any], uses: Sequence[ModelUse]) -> TurnUse:
    same = {name: getattr(row, name) for name in _TURN}
    return TurnUse.model_validate(same | {"customer": row.customer_id, "models": tuple(uses)})


def _counted(which: ColumnElement[bool], name: str) -> ColumnElement[Any]:
    return func.sum(cast(case((which, 1), else_=0), Integer)).label(name)


_LINE: tuple[ColumnElement[Any], ...] = (
    func.count().label("turns"),
    _counted(usage_turns.c.llm_calls > 0, "with_llm"),
    _counted(usage_turns.c.outcome == Aftermath.ESCALATED.value, "escalated"),
    _counted(
        and_(usage_turns.c.lane.in_(TASKS), usage_turns.c.outcome == Aftermath.RESOLVED.value),
        "resolved",
    ),
    func.sum(usage_turns.c.cost).label("cost"),
    func.sum(usage_turns.c.unpriced).label("unpriced"),
)


def _line(row: Row[Any]) -> Line:
    return Line.model_validate({name: getattr(row, name) for name in Line.model_fields})
