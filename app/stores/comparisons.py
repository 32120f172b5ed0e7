"""What a candidate said beside what took effect, message by message."""

from __future__ import annotations

import asyncio
import builtins
from datetime import datetime
from typing import Any

from sqlalchemy import Engine, Row, Select, func, select

from app.stores.database import reading
from app.stores.decisions import decision_of
from app.stores.tables import decisions, reviews
from tools.decisions import Aftermath, Decision
from tools.values import Record


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


class Both(Record):
    """One decision of a role, made by both on the same input."""

    role: str
    live: Decision
    candidate: Decision
    outcome: Aftermath | None = None  #: What came of the live one's turn.

    @property
    def same(self) -> bool:
        """Did both choose the same? Chunks have no order."""
        live, candidate = self.live.chosen, self.candidate.chosen
        if self.role == "pruner":
            return set(live.split(", ")) == set(candidate.split(", "))
        return live == candidate

    @property
    def well(self) -> bool | None:
        """Did the turn end well? None: not known, or a person took over, which may have been right."""
        if self.outcome in (None, Aftermath.ESCALATED):
            return None
        return self.outcome is Aftermath.RESOLVED


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

    async def roles(
        self, digest: str, *, since: datetime | None = None, tenant: str | None = None
    ) -> builtins.list[Both]:
        """Every decision that this candidate made again, but for the router's, oldest first."""
        return await asyncio.to_thread(self._roles, digest, since, tenant)

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
            asked = _of_both(digest, since, tenant).where(decisions.c.role == "router")
            sides: dict[str, dict[bool, Said]] = {}
            # By input, too: a plan's router also reads the parts of a message.
            spent: dict[tuple[str, str, bool], float] = {}
            read: dict[str, str] = {}
            for row in conn.execute(asked):
                key = (row.turn, row.input, row.shadow is not None)
                spent[key] = spent.get(key, 0.0) + row.ms
                if row.lane is not None:
                    read[row.turn] = row.input
                    sides.setdefault(row.turn, {})[key[2]] = Said(
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
                live=both[False].model_copy(update={"ms": spent[turn, read[turn], False]}),
                candidate=both[True].model_copy(update={"ms": spent[turn, read[turn], True]}),
                label=labels.get(turn),
            )
            for turn, both in sides.items()
            if len(both) == 2
        ]

    def _roles(
        self, digest: str, since: datetime | None, tenant: str | None
    ) -> builtins.list[Both]:
        asked = _of_both(digest, since, tenant).where(decisions.c.role != "router")
        live: dict[tuple[str, str, str], Row[Any]] = {}
        theirs: dict[tuple[str, str, str], Row[Any]] = {}
        with reading(self._engine) as conn:
            for row in conn.execute(asked):
                side = live if row.shadow is None else theirs
                # What follows under the same input is a rule that stands in for it.
                side.setdefault((row.turn, row.role, row.input), row)
        return [
            Both(
                role=key[1],
                live=decision_of(live[key]),
                candidate=decision_of(row),
                outcome=live[key].outcome,
            )
            for key, row in theirs.items()
            if key in live
        ]


def _of_both(digest: str, since: datetime | None, tenant: str | None) -> Select[Any]:
    """The decisions, live ones and the candidate's, of every turn that it read; oldest first."""
    turns = select(decisions.c.turn).where(decisions.c.shadow == digest)
    asked = select(decisions).where(
        decisions.c.turn.in_(turns),
        decisions.c.shadow.is_(None) | (decisions.c.shadow == digest),
    )
    if since is not None:
        asked = asked.where(decisions.c.at >= since)
    if tenant is not None:
        asked = asked.where(decisions.c.tenant == tenant)
    return asked.order_by(decisions.c.id)
