"""The desk's own tickets in SQL, for businesses that keep none of their own with us."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date
from typing import Literal

from sqlalchemy import Engine, func, insert, select, update
from sqlalchemy.engine import Connection

from app.stores.database import reading
from app.stores.tables import desk_tickets
from tools.values import Clock, Customer, Ticket

#: Stands where a customer's words were.
ERASED = "[erased]"


@dataclass(frozen=True)
class SqlTickets:
    """One customer's tickets inside the transaction of the given connection."""

    connection: Connection
    customer: Customer
    today: date

    def add(
        self,
        *,
        subject: str,
        body: str,
        kind: Literal["ticket", "hand_off"],
        record: str | None,
        case: str | None,
    ) -> str:
        of_tenant = desk_tickets.c.tenant == self.customer.tenant
        last = self.connection.scalar(select(func.max(desk_tickets.c.place)).where(of_tenant))
        place = (last or 0) + 1
        number = f"T-{10000 + place}"
        self.connection.execute(
            insert(desk_tickets).values(
                tenant=self.customer.tenant,
                number=number,
                place=place,
                customer_id=self.customer.id,
                subject=subject,
                body=body,
                opened_on=self.today,
                kind=kind,
                record=record,
                case_name=case,
            )
        )
        return number


def writing_tickets(clock: Clock) -> Callable[[Connection, Customer], SqlTickets]:
    """What the ledger writes tickets with, inside its own transaction."""

    def books_for(connection: Connection, customer: Customer) -> SqlTickets:
        return SqlTickets(connection, customer, clock.today())

    return books_for


async def tickets_of(engine: Engine, customer: str, tenant: str | None) -> list[Ticket]:
    """A customer's tickets, newest first; of one tenant, where one is given."""
    return await asyncio.to_thread(_tickets_of, engine, customer, tenant)


def forget_tickets(connection: Connection, tenant: str, customer: str) -> int:
    """Take a customer's words out of their tickets, whose numbers stay taken; how many it was."""
    worded = (
        desk_tickets.c.tenant == tenant,
        desk_tickets.c.customer_id == customer,
        desk_tickets.c.body != ERASED,
    )
    blank = {"subject": ERASED, "body": ERASED, "record": None, "case_name": None}
    return connection.execute(update(desk_tickets).where(*worded).values(blank)).rowcount


def _tickets_of(engine: Engine, customer: str, tenant: str | None) -> list[Ticket]:
    wanted = (
        select(desk_tickets)
        .where(desk_tickets.c.customer_id == customer)
        .order_by(desk_tickets.c.place.desc())
    )
    if tenant is not None:
        wanted = wanted.where(desk_tickets.c.tenant == tenant)
    with reading(engine) as connection:
        rows = connection.execute(wanted).mappings().all()
    known = Ticket.model_fields
    return [
        Ticket.model_validate(
            {k: v for k, v in {**row, "case": row["case_name"]}.items() if k in known}
        )
        for row in rows
    ]
