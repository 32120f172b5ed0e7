"""What was done for a customer, as the ledger has it: read by operators, never changed from here."""

from __future__ import annotations

import asyncio
import builtins
import json
from datetime import datetime
from typing import Literal

from pydantic import JsonValue
from sqlalchemy import Engine, select

from app.stores.database import reading
from app.stores.tables import ledger, outbox
from tools.values import Record

State = Literal["started", "succeeded", "failed", "unknown"]


class LedgerAction(Record):
    """One action of the ledger: ``succeeded`` was executed, of ``unknown`` nobody knows yet."""

    id: str
    tenant: str
    customer: str
    operation: str
    arguments: dict[str, JsonValue]
    label: str
    state: State
    thread: str | None  #: None until the action has an outcome.
    at: datetime
    finished_at: datetime | None = None
    error: str | None = None


class SqlActions:
    """The ledger's actions, newest first."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    async def list(
        self,
        customer: str,
        *,
        thread: str | None = None,
        state: State | None = None,
        tenant: str | None = None,
        limit: int = 200,
    ) -> builtins.list[LedgerAction]:
        """One customer's; of one thread or in one state; of one tenant, where one is given."""
        return await asyncio.to_thread(self._list, customer, thread, state, tenant, limit)

    def _list(
        self,
        customer: str,
        thread: str | None,
        state: State | None,
        tenant: str | None,
        limit: int,
    ) -> builtins.list[LedgerAction]:
        # The ledger keys actions by what they do; in which thread they were asked for, the outbox keeps.
        wanted = (
            select(ledger, outbox.c.thread)
            .join(outbox, outbox.c.action_id == ledger.c.action_id, isouter=True)
            .where(ledger.c.customer_id == customer)
            .order_by(ledger.c.created_at.desc())
            .limit(limit)
        )
        for column, value in (
            (outbox.c.thread, thread),
            (ledger.c.state, state),
            (ledger.c.tenant, tenant),
        ):
            if value is not None:
                wanted = wanted.where(column == value)
        with reading(self._engine) as conn:
            return [
                LedgerAction(
                    id=row.action_id,
                    tenant=row.tenant,
                    customer=row.customer_id,
                    operation=row.operation,
                    arguments=json.loads(row.arguments),
                    label=row.label,
                    state=row.state,
                    thread=row.thread,
                    at=row.created_at,
                    finished_at=row.finished_at,
                    error=row.error,
                )
                for row in conn.execute(wanted)
            ]
