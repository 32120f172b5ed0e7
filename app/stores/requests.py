"""Requests that nobody has settled, in SQL: the same one is known again, whichever thread it comes from."""

from __future__ import annotations

import asyncio
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import ColumnElement, Engine, and_, delete, exists, or_, select, update
from sqlalchemy.engine import Connection

from app.stores.database import reading, writing
from app.stores.tables import approvals, insert_if_absent, ledger, requests
from tools.values import Action, Clock, Customer, Standing


class SqlRequests:
    """Until the yes a request is a row here; afterwards approvals and ledger say where it stands."""

    def __init__(
        self,
        engine: Engine,
        clock: Clock | None = None,
        *,
        open_for: timedelta = timedelta(hours=24),
    ) -> None:
        """``open_for``: how long a question that nobody answers is the one that is meant."""
        self._engine = engine
        self._clock = clock or Clock()
        self._open_for = open_for

    async def ask(self, action: Action, request: str) -> Standing | None:
        """Where the same request stands, of another turn, or this one after its yes in another conversation;
        None where there is none, and then this one is written down: it waits for the customer's yes."""
        return await asyncio.to_thread(self._ask, action, request)

    async def begin(self, action: Action, request: str) -> Standing | None:
        """The yes is said: from here on ledger and approvals know of it. Where the same one stands that
        waits for a person or is being carried out already; None where there is none."""
        return await asyncio.to_thread(self._begin, action, request)

    async def standing(self, action: Action) -> Standing | None:
        """The same as another action that waits for a person or is being carried out."""
        return await asyncio.to_thread(self._standing, action)

    async def drop(self, customer: Customer, request: str) -> None:
        """The customer does not want it any more."""
        await asyncio.to_thread(self._drop, customer, request)

    async def prune(self) -> int:
        """Forget questions that nobody has answered."""
        return await asyncio.to_thread(self._prune)

    def _ask(self, action: Action, request: str) -> Standing | None:
        at = self._clock.now()
        with writing(self._engine) as conn:
            # Also under its own name: in another conversation it got its yes.
            if (proposed := _proposed(conn, action, at, other="")) is not None:
                return proposed
            mine = {
                "key": action.key,
                "request": request,
                "thread": action.thread,
                "label": action.label,
                "effects": list(action.effects),
                "asked_at": at,
            }
            this = {
                "tenant": action.tenant,
                "customer_id": action.customer.id,
                "fingerprint": action.fingerprint,
            }
            if not insert_if_absent(conn, requests, this | mine):
                here = and_(*(requests.c[name] == value for name, value in this.items()))
                row = conn.execute(select(requests).where(here).with_for_update()).one()
                if row.key != action.key and self._waits(conn, row, at):
                    return Standing(
                        stage="asked",
                        request=row.request,
                        thread=row.thread,
                        label=row.label,
                        effects=tuple(row.effects),
                    )
                conn.execute(update(requests).where(here).values(**mine))
            # The same question with other details takes the place of the one before.
            conn.execute(
                delete(requests).where(
                    _of(action.customer, request), requests.c.fingerprint != action.fingerprint
                )
            )
        return None

    def _waits(self, conn: Connection, row: Any, at: datetime) -> bool:
        """Whether a question is still open: not too old, and not answered by anybody's yes."""
        if row.asked_at <= at - self._open_for:
            return False
        answered = or_(
            exists().where(approvals.c.tenant == row.tenant, approvals.c.key == row.key),
            exists().where(ledger.c.tenant == row.tenant, ledger.c.key == row.key),
        )
        return not conn.execute(select(answered)).scalar_one()

    def _begin(self, action: Action, request: str) -> Standing | None:
        mine = _of(action.customer, request)
        with reading(self._engine) as conn:
            known = conn.execute(select(requests.c.request).where(mine).limit(1)).first()
            proposed = _proposed(conn, action, self._clock.now())
        if known is not None:
            self._drop(action.customer, request)
        return proposed

    def _standing(self, action: Action) -> Standing | None:
        with reading(self._engine) as conn:
            return _proposed(conn, action, self._clock.now())

    def _drop(self, customer: Customer, request: str) -> None:
        with writing(self._engine) as conn:
            conn.execute(delete(requests).where(_of(customer, request)))

    def _prune(self) -> int:
        old = requests.c.asked_at <= self._clock.now() - self._open_for
        with writing(self._engine) as conn:
            return conn.execute(delete(requests).where(old)).rowcount


def _of(customer: Customer, request: str) -> ColumnElement[bool]:
    return and_(
        requests.c.tenant == customer.tenant,
        requests.c.customer_id == customer.id,
        requests.c.request == request,
    )


def _proposed(
    conn: Connection, action: Action, at: datetime, *, other: str | None = None
) -> Standing | None:
    """The same as this action, waiting for a person or being carried out, under another key than ``other``:
    by default its own."""
    other = action.key if other is None else other
    asked = approvals.c
    waiting = select(approvals).where(
        asked.tenant == action.tenant,
        asked.customer_id == action.customer.id,
        asked.fingerprint == action.fingerprint,
        asked.key != other,
        or_(
            and_(asked.status.in_(("pending", "approved")), asked.expires_at > at),
            asked.status == "started",
        ),
    )
    row = conn.execute(waiting.order_by(asked.requested_at).limit(1)).first()
    if row is not None:
        known = Action.model_validate(row.action)
        return Standing(
            stage="waiting" if row.status == "pending" else "running",
            request=known.key,
            thread=known.thread,
            label=known.label,
            effects=known.effects,
        )
    begun = select(ledger).where(
        ledger.c.tenant == action.tenant,
        ledger.c.customer_id == action.customer.id,
        ledger.c.state.in_(("started", "unknown")),
        ledger.c.fingerprint == action.fingerprint,
        ledger.c.key != other,
    )
    row = conn.execute(begun.order_by(ledger.c.created_at).limit(1)).first()
    if row is None:
        return None
    thread = Action.model_validate(row.action).thread if row.action is not None else ""
    return Standing(stage="running", request=row.key, thread=thread, label=row.label)
