"""What a candidate said beside what took effect, message by message."""

from __future__ import annotations

import asyncio
import builtins
from datetime import datetime

from sqlalchemy import Engine, func, select

from app.stores.database import reading
from app.stores.tables import decisions, reviews
from tools.domain import Record


class Said(Record):
    """How one of the two settled a message; ``ms`` is what all its tiers took together."""

    intent: str
    lane: str
    abstained: bool
    probability: float
    ms: float


class Pair(Record):
    """One message, read by both."""

    turn: str
    live: Said
    candidate: Said
    label: str | None = None  #: What somebody said it means.


class SqlComparisons:
    """Pairs of live and candidate decisions."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    async def candidates(self) -> builtins.list[tuple[str, int, datetime]]:
        """Digest, messages and last time of every candidate in the log, the latest first."""
        return await asyncio.to_thread(self._candidates)

    async def pairs(
        self, digest: str, *, since: datetime | None = None, tenant: str | None = None
    ) -> builtins.list[Pair]:
        """Every message that this candidate read, oldest first."""
        return await asyncio.to_thread(self._pairs, digest, since, tenant)

    def _candidates(self) -> builtins.list[tuple[str, int, datetime]]:
        asked = (
            select(
                decisions.c.shadow,
                func.count(func.distinct(decisions.c.turn)),
                func.max(decisions.c.at),
            )
            .where(decisions.c.shadow.is_not(None))
            .group_by(decisions.c.shadow)
            .order_by(func.max(decisions.c.at).desc())
        )
        with reading(self._engine) as conn:
            return [(row[0], row[1], row[2]) for row in conn.execute(asked)]

    def _pairs(
        self, digest: str, since: datetime | None, tenant: str | None
    ) -> builtins.list[Pair]:
        with reading(self._engine) as conn:
            turns = select(decisions.c.turn).where(decisions.c.shadow == digest)
            asked = (
                select(decisions)
                .where(
                    decisions.c.role == "router",
                    decisions.c.turn.in_(turns),
                    decisions.c.shadow.is_(None) | (decisions.c.shadow == digest),
                )
                .order_by(decisions.c.id)
            )
            if since is not None:
                asked = asked.where(decisions.c.at >= since)
            if tenant is not None:
                asked = asked.where(decisions.c.tenant == tenant)
            sides: dict[str, dict[bool, Said]] = {}
            spent: dict[tuple[str, bool], float] = {}
            for row in conn.execute(asked):
                key = (row.turn, row.shadow is not None)
                spent[key] = spent.get(key, 0.0) + row.ms
                if row.lane is not None:
                    sides.setdefault(row.turn, {})[key[1]] = Said(
                        intent=row.chosen,
                        lane=row.lane,
                        abstained=row.abstained,
                        probability=row.probability,
                        ms=0.0,
                    )
            labels = {
                row.turn: row.label
                for row in conn.execute(
                    select(reviews.c.turn, reviews.c.label)
                    .where(reviews.c.label.is_not(None), reviews.c.turn.in_(turns))
                    .order_by(reviews.c.labelled_at)
                )
            }
        return [
            Pair(
                turn=turn,
                live=both[False].model_copy(update={"ms": spent[turn, False]}),
                candidate=both[True].model_copy(update={"ms": spent[turn, True]}),
                label=labels.get(turn),
            )
            for turn, both in sides.items()
            if len(both) == 2
        ]
