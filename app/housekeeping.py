"""What is past its time goes, kind by kind: so that nothing grows for ever."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from typing import TYPE_CHECKING

from sqlalchemy import Engine

from app.privacy import Privacy
from app.stores.database import vacuum_database
from app.stores.fences import HoldLost
from app.stores.privacy import StillOpen
from tools.ports import PortError

if TYPE_CHECKING:
    from app.stores.ledger import SqlLedger
    from app.stores.stores import Stores

log = logging.getLogger(__name__)

#: So many conversations, or actions, are looked at in one round: the next one goes on.
MANY = 2000
#: How long the graph of an action that is over is kept, for a message that is sent again.
ACTS = timedelta(days=1)

Kind = Callable[[], Awaitable[int]]


@dataclass(frozen=True)
class Retention:
    """How long each kind is kept; the others follow their own stores' settings."""

    conversations: timedelta | None = timedelta(
        days=365
    )  #: Since somebody wrote last; None: for ever.
    records: timedelta = timedelta(
        days=90
    )  #: Approvals that are over, and outcomes that were told.
    samples: timedelta = timedelta(days=90)  #: Sampled messages that nobody labelled.
    labels: timedelta = timedelta(days=730)


@dataclass
class Housekeeping:
    """Deletes what is past its time, a kind after the other; one that fails keeps no other from it."""

    stores: Stores
    ledger: SqlLedger
    privacy: Privacy
    engine: Engine
    retention: Retention = Retention()

    async def round(self) -> dict[str, int]:
        """Once over everything; how many rows, or conversations, of each kind went."""
        gone = dict[str, int]()
        for name, work in self._kinds().items():
            try:
                gone[name] = await work()
            except (PortError, HoldLost) as error:
                log.warning("old %s stay for now: %s", name, error)
        try:
            await asyncio.to_thread(vacuum_database, self.engine)
            await self.privacy.saver.vacuum()
        except PortError as error:
            log.warning("free pages stay for now: %s", error)
        if any(gone.values()):
            log.info("past their time: %s", {name: n for name, n in gone.items() if n})
        return gone

    def _kinds(self) -> Mapping[str, Kind]:
        stores, kept = self.stores, self.retention
        return {
            "replies": stores.turns.prune,
            "holds": stores.holds.prune,
            "requests": stores.requests.prune,
            "actions": self.ledger.prune,
            "decisions": stores.decisions.prune,
            "usage": stores.usage.prune,
            "cached answers": stores.answers.prune,
            "traces": partial(asyncio.to_thread, stores.traces.prune),
            "reviews": partial(stores.reviews.prune, unlabelled=kept.samples, labelled=kept.labels),
            "approvals": partial(stores.approvals.prune, kept.records),
            "deliveries": partial(stores.outbox.prune, kept.records),
            "sessions": partial(asyncio.to_thread, stores.access.prune),
            "conversations": self._conversations,
            "action graphs": self._acts,
        }

    async def _conversations(self) -> int:
        if self.retention.conversations is None:
            return 0
        before = self.privacy.clock.now() - self.retention.conversations
        idle = await self.privacy.saver.idle_since(before, MANY, acts=False)
        idle += await asyncio.to_thread(self.privacy.rows.never_begun, before, MANY)
        gone = 0
        for thread, tenant in (await asyncio.to_thread(self.privacy.rows.may_go, idle)).items():
            try:
                said = {"actor": "signalbox", "why": "past its time"}
                gone += bool(await self.privacy.forget(thread, tenant, **said, before=before))
            except StillOpen:
                continue
        return gone

    async def _acts(self) -> int:
        before = self.privacy.clock.now() - ACTS
        idle = await self.privacy.saver.idle_since(before, MANY, acts=True)
        needed = await asyncio.to_thread(self.privacy.rows.waiting)
        over = [act for act in idle if act not in needed]
        for act in over:
            async with self.privacy.holds.holding(act):
                await self.privacy.saver.adelete_thread(act)
        return len(over)
