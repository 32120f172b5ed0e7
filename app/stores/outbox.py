"""Outcomes on their way to the customer's thread, committed together with what they report."""

from __future__ import annotations

import asyncio
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Engine, Row, bindparam, delete, select, update
from sqlalchemy.engine import Connection

from app.stores.audit import SqlAudit
from app.stores.database import writing
from app.stores.fences import next_owner
from app.stores.tables import insert_if_absent, outbox
from tools.values import Action, AuditEntry, Clock, Outcome, Record


class Delivery(Record):
    """An outcome that a customer's thread has not been told yet."""

    action_id: str
    tenant: str
    customer_id: str
    thread: str
    outcome: Outcome
    created_at: datetime
    claim: str = ""  #: A fencing token: greater with every relay that takes it up.


class SqlOutbox:
    """One row for each finished action, until its outcome stands in the customer's thread.

    Delivery is at least once; the action id, used as the id of the event in the thread, makes it once.
    """

    def __init__(
        self,
        engine: Engine,
        clock: Clock | None = None,
        *,
        grace: timedelta = timedelta(seconds=30),
        lease: timedelta = timedelta(seconds=30),
        audit: SqlAudit | None = None,
    ) -> None:
        self._engine = engine
        self._clock = clock or Clock()
        self._audit = audit or SqlAudit(engine, self._clock)
        self._grace = grace
        self._lease = lease

    def add(self, conn: Connection, action: Action, outcome: Outcome) -> bool:
        """Add the outcome to the caller's transaction; False when the action already has a row.

        The turn or decision that caused it delivers it itself; it falls due here only after ``grace``.
        """
        at = self._clock.now()
        return insert_if_absent(
            conn,
            outbox,
            {
                "action_id": action.id,
                "tenant": action.tenant,
                "customer_id": action.customer.id,
                "thread": action.thread,
                "outcome": outcome.model_dump(mode="json"),
                "created_at": at,
                "due_at": at + self._grace,
            },
        )

    async def due(self, limit: int = 50) -> list[Delivery]:
        """Claim up to ``limit`` undelivered outcomes, oldest first; unconfirmed ones come back later."""
        return await asyncio.to_thread(self._due, limit)

    async def claimed(self, delivery: Delivery) -> bool:
        """Is it still this relay's to deliver? False when another one took it up, or it was confirmed."""
        return await asyncio.to_thread(self._claimed, delivery)

    async def delivered(self, action_id: str) -> bool:
        """Confirm a delivery; False when it was confirmed before or there is no such row."""
        return await asyncio.to_thread(self._delivered, action_id)

    async def prune(self, older: timedelta) -> int:
        """Forget what was delivered longer ago than that; the number of rows that went."""
        return await asyncio.to_thread(self._prune, older)

    def _prune(self, older: timedelta) -> int:
        with writing(self._engine) as conn:
            old = outbox.c.delivered_at < self._clock.now() - older
            return conn.execute(delete(outbox).where(old)).rowcount

    def _due(self, limit: int) -> list[Delivery]:
        at = self._clock.now()
        longest = at + max(self._grace, self._lease)
        claimable = (
            select(outbox.c.action_id)
            .where(outbox.c.delivered_at.is_(None), outbox.c.due_at <= at)
            .order_by(outbox.c.due_at)
            .limit(limit)
            # Two replicas share the work instead of waiting for each other.
            .with_for_update(skip_locked=True)
            # As a common table expression PostgreSQL evaluates the limit exactly once.
            .cte("claimable")
        )
        claim = (
            update(outbox)
            .where(outbox.c.action_id.in_(select(claimable.c.action_id)))
            .values(due_at=at + self._lease, claim=bindparam("by"))
            .returning(*outbox.c)
        )
        with writing(self._engine) as conn:
            # A clock that was ahead wrote it; nothing waits longer than for a lease of now.
            conn.execute(
                update(outbox)
                .where(outbox.c.delivered_at.is_(None), outbox.c.due_at > longest)
                .values(due_at=longest)
            )
            rows = conn.execute(claim, {"by": next_owner(conn)}).all()
        return sorted(map(_delivery, rows), key=lambda delivery: delivery.created_at)

    def _claimed(self, delivery: Delivery) -> bool:
        still = select(outbox.c.action_id).where(
            outbox.c.action_id == delivery.action_id,
            outbox.c.claim == delivery.claim,
            outbox.c.delivered_at.is_(None),
        )
        with writing(self._engine) as conn:
            return conn.execute(still.with_for_update()).first() is not None

    def _delivered(self, action_id: str) -> bool:
        confirm = (
            update(outbox)
            .where(outbox.c.action_id == action_id, outbox.c.delivered_at.is_(None))
            .values(delivered_at=self._clock.now())
            .returning(*outbox.c)
        )
        with writing(self._engine) as conn:
            row = conn.execute(confirm).one_or_none()
            if row is None:
                return False
            told = Outcome.model_validate(row.outcome)
            self._audit.append(
                conn,
                AuditEntry(
                    tenant=row.tenant,
                    kind="delivery",
                    actor="signalbox",
                    action=row.action_id,
                    thread=row.thread,
                    facts={"status": told.status, "customer": row.customer_id},
                ),
            )
            return True


def _delivery(row: Row[Any]) -> Delivery:
    return Delivery(
        action_id=row.action_id,
        tenant=row.tenant,
        customer_id=row.customer_id,
        thread=row.thread,
        outcome=Outcome.model_validate(row.outcome),
        created_at=row.created_at,
        claim=row.claim or "",
    )
