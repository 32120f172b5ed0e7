"""Samples of routed messages, and what people say of them."""

from __future__ import annotations

import asyncio
import builtins
import random
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Engine, Row, and_, delete, insert, or_, select, update

from app.stores.database import reading, writing
from app.stores.decisions import Wanted, conditions
from app.stores.tables import decisions, reviews
from tools.decisions import Alternative
from tools.values import Clock, Lane, Record, Tier

#: Edges between low, middling and high confidence.
BANDS = (0.5, 0.9)


class ReviewNotFound(Exception):
    """There is no such sampled decision."""


class Item(Record):
    """One sampled decision, and its label once somebody gave one."""

    sample: str
    decision: int
    tenant: str
    turn: str
    at: datetime
    input: str  #: Masked.
    chosen: str
    lane: Lane
    tier: Tier
    probability: float
    alternatives: tuple[Alternative, ...] = ()
    stratum: str
    weight: float  #: How many messages of its stratum this one stands for.
    label: str | None = None
    skipped: bool = False
    reviewer: str | None = None
    labelled_at: datetime | None = None

    @property
    def right(self) -> bool:
        return self.label == self.chosen


class SqlReviews:
    """Every label is written the moment it is given."""

    def __init__(self, engine: Engine, clock: Clock | None = None) -> None:
        self._engine = engine
        self._clock = clock or Clock()

    async def draw(
        self, n: int, *, since: datetime, tenant: str | None = None, seed: int | None = None
    ) -> builtins.list[Item]:
        """Sample ``n`` messages settled since then, stratified by intent, tier and confidence.

        Each stratum gives in proportion to its size, and at least one: rare ones are where a router is wrong.
        Where that would be too many strata, lanes stand for intents. Fewer messages come back where there
        are fewer."""
        return await asyncio.to_thread(self._draw, n, since, tenant, seed)

    def now(self) -> datetime:
        return self._clock.now()

    async def list(
        self,
        *,
        sample: str | None = None,
        tenant: str | None = None,
        waiting: bool | None = None,
        limit: int | None = None,
    ) -> builtins.list[Item]:
        """Sampled decisions in the order they were drawn; ``waiting``: neither labelled nor skipped."""
        return await asyncio.to_thread(self._list, sample, tenant, waiting, limit)

    async def label(
        self,
        sample: str,
        decision: int,
        *,
        label: str | None,
        reviewer: str,
        tenant: str | None = None,
    ) -> Item:
        """Keep what was right, or with no label that the reviewer cannot tell; the last word counts.

        Raises ReviewNotFound."""
        return await asyncio.to_thread(self._label, sample, decision, label, reviewer, tenant)

    async def prune(self, *, unlabelled: timedelta, labelled: timedelta) -> int:
        """Forget samples that nobody labelled, and labels, older than that; the number of rows that went."""
        return await asyncio.to_thread(self._prune, unlabelled, labelled)

    def _prune(self, unlabelled: timedelta, labelled: timedelta) -> int:
        now = self._clock.now()
        old = or_(
            and_(reviews.c.label.is_(None), reviews.c.drawn_at < now - unlabelled),
            reviews.c.drawn_at < now - labelled,
        )
        with writing(self._engine) as conn:
            return conn.execute(delete(reviews).where(old)).rowcount

    def _draw(
        self, n: int, since: datetime, tenant: str | None, seed: int | None
    ) -> builtins.list[Item]:
        wanted = conditions(Wanted(tenant=tenant, since=since))
        rows = (
            select(decisions)
            .where(*wanted, decisions.c.role == "router", decisions.c.lane.is_not(None))
            .order_by(decisions.c.id)
        )
        now = self._clock.now()
        with writing(self._engine) as conn:
            settled = conn.execute(rows).all()
            strata = grouped(settled, n)
            year, week, _ = now.isocalendar()
            name = f"{year}-W{week:02}-{now:%d%H%M%S}-{random.getrandbits(16):04x}"
            drawn = allotted({key: len(found) for key, found in strata.items()}, n)
            rng = random.Random(seed)
            items = [
                _drawn(row, name, key, len(strata[key]) / share)
                for key, share in sorted(drawn.items())
                for row in rng.sample(strata[key], share)
            ]
            rng.shuffle(items)
            threads = {row.id: {"thread": row.thread} for row in settled}
            if items:
                rows = [i.model_dump(mode="json") | _moments(i, now) for i in items]
                conn.execute(insert(reviews), [row | threads[row["decision"]] for row in rows])
        return items

    def _list(
        self, sample: str | None, tenant: str | None, waiting: bool | None, limit: int | None
    ) -> builtins.list[Item]:
        found = select(reviews).order_by(reviews.c.drawn_at, reviews.c.sample, reviews.c.decision)
        if sample is not None:
            found = found.where(reviews.c.sample == sample)
        if tenant is not None:
            found = found.where(reviews.c.tenant == tenant)
        untouched = reviews.c.label.is_(None) & reviews.c.skipped.is_(False)
        if waiting is not None:
            found = found.where(untouched if waiting else ~untouched)
        with reading(self._engine) as conn:
            return [_item(row) for row in conn.execute(found.limit(limit))]

    def _label(
        self, sample: str, decision: int, label: str | None, reviewer: str, tenant: str | None
    ) -> Item:
        which = (reviews.c.sample == sample) & (reviews.c.decision == decision)
        if tenant is not None:
            which &= reviews.c.tenant == tenant
        said = {
            "label": label,
            "skipped": label is None,
            "reviewer": reviewer,
            "labelled_at": self._clock.now(),
        }
        with writing(self._engine) as conn:
            conn.execute(update(reviews).where(which).values(said))
            row = conn.execute(select(reviews).where(which)).first()
        if row is None:
            raise ReviewNotFound
        return _item(row)


def grouped(settled: Sequence[Row[Any]], n: int) -> dict[str, list[Row[Any]]]:
    """The finest strata of which two can be drawn each, on average: few strata are sampled well, many barely."""
    strata: dict[str, list[Row[Any]]] = {}
    for names in (("chosen", "tier"), ("lane", "tier"), ("lane",), ()):
        strata = {}
        for row in settled:
            key = "/".join([*(getattr(row, name) for name in names), _band(row.probability)])
            strata.setdefault(key, []).append(row)
        if len(strata) <= max(n // 2, len(BANDS) + 1):
            return strata
    return strata


def _band(probability: float) -> str:
    low, high = BANDS
    return "low" if probability < low else "high" if probability >= high else "middling"


def allotted(sizes: dict[str, int], n: int) -> dict[str, int]:
    """How many of each stratum are drawn: one each, the rest where the strata are least covered."""
    ranked = sorted(sizes, key=lambda key: (-sizes[key], key))
    shares = {key: 1 for key in ranked[:n]}
    left = min(n, sum(sizes.values())) - len(shares)
    for _ in range(left):
        thinnest = max(
            (key for key in shares if shares[key] < sizes[key]),
            key=lambda key: (sizes[key] / shares[key], key),
        )
        shares[thinnest] += 1
    return shares


def _drawn(row: Row[Any], sample: str, stratum: str, weight: float) -> Item:
    return Item(
        sample=sample,
        decision=row.id,
        tenant=row.tenant,
        turn=row.turn,
        at=row.at,
        input=row.input,
        chosen=row.chosen,
        lane=row.lane,
        tier=row.tier,
        probability=row.probability,
        alternatives=tuple(Alternative.model_validate(each) for each in row.alternatives),
        stratum=stratum,
        weight=weight,
    )


def _moments(item: Item, now: datetime) -> dict[str, Any]:
    return {"at": item.at, "drawn_at": now}


def _item(row: Row[Any]) -> Item:
    fields = {name: getattr(row, name) for name in Item.model_fields}
    return Item.model_validate(fields)
