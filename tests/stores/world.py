"""A till whose effects can be counted, actions on it, and a clock that can be set."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta

import sqlalchemy as sa
from pydantic import BaseModel

from app.stores.approvals import SqlApprovals
from app.stores.database import create_engine, reading
from app.stores.ledger import SqlLedger
from app.stores.outbox import SqlOutbox
from app.stores.tables import ALL, fencing_tokens, ledger, outbox
from graphs.keys import action_id, action_key, fingerprint
from tools.values import (
    Action,
    Arguments,
    Clock,
    Consequence,
    Customer,
    NotAllowed,
    Operation,
    Preview,
    Verdict,
)

NOON = datetime(2026, 11, 20, 12, tzinfo=UTC)
ADA = Customer(id="C-1", name="Ada Hill", email="ada@example.org", since=date(2024, 1, 1))
BEN = Customer(id="C-2", name="Ben Moor", email="ben@example.org", since=date(2024, 1, 1))

effects = sa.Table(
    "till_effects",
    sa.MetaData(),
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("customer_id", sa.String(20), nullable=False),
    sa.Column("amount", sa.Integer, nullable=False),
)


class Hands:
    """A clock that only moves when told to."""

    def __init__(self, at: datetime = NOON) -> None:
        self.at = at
        self.clock = Clock(now=lambda: self.at)

    def pass_(self, **duration: float) -> None:
        self.at += timedelta(**duration)


class Till:
    """The shop of these tests: it counts."""

    def __init__(self, connection: sa.Connection, customer: Customer) -> None:
        self.connection = connection
        self.customer = customer

    def take(self, amount: int) -> None:
        self.connection.execute(
            sa.insert(effects).values(customer_id=self.customer.id, amount=amount)
        )


class Amount(Arguments):
    amount: int
    reason: str | None = None


class Taken(BaseModel):
    amount: int


class TillStuck(Exception):
    """A programming error in an operation."""


def take(till: Till, arguments: Amount) -> Taken:
    """Take money; afterwards refuse 13 and break on 99, so that there is something to roll back."""
    till.take(arguments.amount)
    if arguments.amount == 13:
        raise NotAllowed("We do not take thirteen.")
    if arguments.amount == 99:
        raise TillStuck
    return Taken(amount=arguments.amount)


def operation(name: str = "take", consequence: Consequence = Consequence.RETRY_SAFE) -> Operation:
    return Operation(
        name=name,
        title="Take money",
        summary="Takes money.",
        arguments=Amount,
        result=Taken,
        consequence=consequence,
        preview=lambda shop, arguments: Preview(consequence=consequence),
        run=take,
        example="take 5",
    )


TAKE = operation()
SEIZE = operation("seize", Consequence.IRREVERSIBLE)


def an_action(
    amount: int = 5,
    *,
    request: str = "r1",
    of: Operation = TAKE,
    customer: Customer = ADA,
    **more: str,
) -> Action:
    key = action_key(customer.tenant, customer.id, of.name, request)
    arguments = {"amount": amount, **more}
    return Action(
        id=action_id(key),
        tenant=customer.tenant,
        customer=customer,
        thread="th-1",
        turn="turn-1",
        operation=of.name,
        arguments=arguments,
        key=key,
        fingerprint=fingerprint(of.name, arguments),
        proposed_at=NOON,
        label=f"{amount} EUR",
    )


def a_verdict(consequence: Consequence = Consequence.RETRY_SAFE) -> Verdict:
    return Verdict(
        consequence=consequence,
        declared=consequence,
        needs_approval=consequence is Consequence.IRREVERSIBLE,
        reason="as declared",
    )


ROUTINE = a_verdict()
GRAVE = a_verdict(Consequence.IRREVERSIBLE)


class World:
    """The stores on one database, and what they hold."""

    def __init__(self, url: str, hands: Hands | None = None, checkpoint=lambda name: None) -> None:
        self.url = url
        self.engine = create_engine(url)
        self.hands = hands or Hands()
        self.outbox = SqlOutbox(self.engine, self.hands.clock)
        self.approvals = SqlApprovals(self.engine, self.hands.clock, outbox=self.outbox)
        self.ledger = SqlLedger(
            self.engine,
            Till,
            self.hands.clock,
            self.approvals,
            outbox=self.outbox,
            checkpoint=checkpoint,
        )

    def empty(self) -> None:
        """Start over: these tests want an empty till and no rows, on a database they share."""
        with self.engine.begin() as connection:
            if not sa.inspect(connection).has_table(fencing_tokens.name):
                fencing_tokens.create(connection)
                connection.execute(sa.insert(fencing_tokens).values(last=0))
            for table in (*ALL, effects):
                table.create(connection, checkfirst=True)
                connection.execute(sa.delete(table))

    def count(self, what: str) -> int:
        table = {"effects": effects, "ledger": ledger, "outbox": outbox}[what]
        with reading(self.engine) as connection:
            return connection.execute(sa.select(sa.func.count()).select_from(table)).scalar_one()

    @property
    def effects(self) -> int:
        return self.count("effects")
