"""The shop's books in SQL, one customer at a time."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from datetime import date
from decimal import Decimal
from typing import Any

import sqlalchemy as sa
from pydantic import BaseModel

from app.stores.database import metadata, reading
from domains.northfell.data_model import Charge, Invoice, Order, Refund, Subscription
from domains.northfell.operations.views import views_of
from tools.domain import Books
from tools.numbers import FIRST_NUMBERS, number_for
from tools.records import RecordView
from tools.values import Clock, Customer, Operation, Preview, Record, RecordNotFound, Ticket


class Cents(sa.types.TypeDecorator[Decimal]):
    """Money as whole cents: exact on every database."""

    impl = sa.BigInteger
    cache_ok = True

    def process_bind_param(self, value: Decimal | None, dialect: sa.Dialect) -> int | None:
        return None if value is None else int((value * 100).to_integral_value())

    def process_result_value(self, value: Any | None, dialect: sa.Dialect) -> Decimal | None:
        return None if value is None else Decimal(value).scaleb(-2)


def _tenant() -> sa.Column[str]:
    return sa.Column("tenant", sa.String(60), primary_key=True)


def _owned(name: str, *columns: sa.Column[Any]) -> sa.Table:
    """A table of one kind of record, each with its number, its owner and its place in time."""
    return sa.Table(
        name,
        metadata,
        _tenant(),
        sa.Column("number", sa.String(20), primary_key=True),
        sa.Column("customer_id", sa.String(60), nullable=False),
        *columns,
        sa.ForeignKeyConstraint(["tenant", "customer_id"], ["customers.tenant", "customers.id"]),
        sa.Index(f"ix_{name}_owner", "tenant", "customer_id"),
    )


customers = sa.Table(
    "customers",
    metadata,
    _tenant(),
    sa.Column("id", sa.String(60), primary_key=True),
    sa.Column("name", sa.String(200), nullable=False),
    sa.Column("email", sa.String(320), nullable=False),
    sa.Column("phone", sa.String(40)),
    sa.Column("segment", sa.String(20), nullable=False),
    sa.Column("since", sa.Date, nullable=False),
)
products = sa.Table(
    "products",
    metadata,
    _tenant(),
    sa.Column("sku", sa.String(20), primary_key=True),
    sa.Column("name", sa.String(200), nullable=False),
    sa.Column("category", sa.String(40), nullable=False),
    sa.Column("price", Cents, nullable=False),
    sa.Column("weight_g", sa.Integer, nullable=False),
)
orders = _owned(
    "orders",
    sa.Column("status", sa.String(20), nullable=False),
    sa.Column("placed_on", sa.Date, nullable=False),
    sa.Column("lines", sa.JSON, nullable=False),
    sa.Column("shipping", Cents, nullable=False),
    sa.Column("total", Cents, nullable=False),
    sa.Column("currency", sa.String(3), nullable=False),
    sa.Column("payment", sa.String(20), nullable=False),
    sa.Column("delivery_address", sa.String(400), nullable=False),
    sa.Column("carrier", sa.String(60)),
    sa.Column("tracking", sa.String(60)),
    sa.Column("expected_on", sa.Date),
    sa.Column("delivered_on", sa.Date),
    sa.Column("refunded", Cents, nullable=False),
)
invoices = _owned(
    "invoices",
    sa.Column("order_number", sa.String(20)),
    sa.Column("issued_on", sa.Date, nullable=False),
    sa.Column("total", Cents, nullable=False),
    sa.Column("currency", sa.String(3), nullable=False),
    sa.Column("paid", sa.Boolean, nullable=False),
    sa.Column("sent_to", sa.String(320), nullable=False),
    sa.Column("times_sent", sa.Integer, nullable=False),
)
subscriptions = _owned(
    "subscriptions",
    sa.Column("plan", sa.String(20), nullable=False),
    sa.Column("status", sa.String(20), nullable=False),
    sa.Column("price", Cents, nullable=False),
    sa.Column("currency", sa.String(3), nullable=False),
    sa.Column("started_on", sa.Date, nullable=False),
    sa.Column("renews_on", sa.Date),
    sa.Column("paused_until", sa.Date),
    sa.Column("ends_on", sa.Date),
    sa.Column("cancel_reason", sa.String(400)),
)
refunds = _owned(
    "refunds",
    sa.Column("order_number", sa.String(20), nullable=False),
    sa.Column("amount", Cents, nullable=False),
    sa.Column("currency", sa.String(3), nullable=False),
    sa.Column("status", sa.String(20), nullable=False),
    sa.Column("method", sa.String(20), nullable=False),
    sa.Column("requested_on", sa.Date, nullable=False),
    sa.Column("reason", sa.String(400)),
)
charges = _owned(
    "charges",
    sa.Column("order_number", sa.String(20), nullable=False),
    sa.Column("product", sa.String(200), nullable=False),
    sa.Column("amount", Cents, nullable=False),
    sa.Column("currency", sa.String(3), nullable=False),
    sa.Column("charged_on", sa.Date, nullable=False),
)
tickets = _owned(
    "tickets",
    sa.Column("subject", sa.String(400), nullable=False),
    sa.Column("body", sa.Text, nullable=False),
    sa.Column("opened_on", sa.Date, nullable=False),
    sa.Column("kind", sa.String(20), nullable=False),
    sa.Column("record", sa.String(20)),
    sa.Column("case", sa.String(60)),
)
counters = sa.Table(
    "counters",
    metadata,
    _tenant(),
    sa.Column("kind", sa.String(20), primary_key=True),
    sa.Column("last", sa.BigInteger, nullable=False),
)

RECORD_TABLES = (orders, invoices, subscriptions, refunds, charges, tickets)


class SqlShop:
    """One customer's books inside the transaction of the given connection.

    With ``writing``, the customer's row stays locked until the transaction ends, so that two writes for
    one customer follow each other and each sees what the other did.
    """

    def __init__(
        self, connection: sa.Connection, customer: Customer, *, today: date, writing: bool = False
    ) -> None:
        self._connection = connection
        self._tenant = customer.tenant
        self._id = customer.id
        self._today = today
        query = sa.select(customers).where(
            customers.c.tenant == self._tenant, customers.c.id == self._id
        )
        row = connection.execute(query.with_for_update() if writing else query).mappings().first()
        # A customer without books (signed in, never bought) reads as an empty account.
        self._customer = customer if row is None else Customer.model_validate(dict(row))

    @property
    def customer(self) -> Customer:
        return self._customer

    @property
    def today(self) -> date:
        return self._today

    def orders(self) -> list[Order]:
        return [Order.model_validate(row) for row in self._rows(orders, orders.c.placed_on)]

    def order(self, number: str) -> Order | None:
        return next((order for order in self.orders() if order.number == number), None)

    def save_order(self, order: Order) -> None:
        self._update(orders, order)

    def invoices(self) -> list[Invoice]:
        return [Invoice.model_validate(row) for row in self._rows(invoices, invoices.c.issued_on)]

    def save_invoice(self, invoice: Invoice) -> None:
        self._update(invoices, invoice)

    def subscriptions(self) -> list[Subscription]:
        rows = self._rows(subscriptions, subscriptions.c.started_on)
        return [Subscription.model_validate(row) for row in rows]

    def save_subscription(self, subscription: Subscription) -> None:
        self._update(subscriptions, subscription)

    def refunds(self) -> list[Refund]:
        return [Refund.model_validate(row) for row in self._rows(refunds, refunds.c.requested_on)]

    def add_refund(self, refund: Refund) -> Refund:
        refund = refund.model_copy(update={"number": refund.number or self._next("refund")})
        self._insert(refunds, refund)
        return refund

    def save_refund(self, refund: Refund) -> None:
        self._update(refunds, refund)

    def add_charge(self, charge: Charge) -> Charge:
        charge = charge.model_copy(update={"number": charge.number or self._next("charge")})
        self._insert(charges, charge)
        return charge

    def add_ticket(self, ticket: Ticket) -> Ticket:
        ticket = ticket.model_copy(update={"number": ticket.number or self._next("ticket")})
        self._insert(tickets, ticket)
        return ticket

    def save_contact(self, *, email: str | None = None, phone: str | None = None) -> Customer:
        given = {"email": email, "phone": phone}
        changed = {name: value for name, value in given.items() if value is not None}
        statement = (
            sa.update(customers)
            .where(customers.c.tenant == self._tenant, customers.c.id == self._id)
            .values(changed)
        )
        if self._connection.execute(statement).rowcount != 1:
            raise RecordNotFound
        self._customer = self._customer.model_copy(update=changed)
        return self._customer

    def _rows(self, table: sa.Table, newest: sa.Column[Any]) -> list[Mapping[str, Any]]:
        shown = [column for column in table.c if column.name not in {"tenant", "customer_id"}]
        query = (
            sa.select(*shown)
            .where(table.c.tenant == self._tenant, table.c.customer_id == self._id)
            .order_by(newest.desc(), sa.func.length(table.c.number).desc(), table.c.number.desc())
        )
        return [dict(row) for row in self._connection.execute(query).mappings()]

    def _update(self, table: sa.Table, record: Record) -> None:
        values = row_of(record)
        statement = (
            sa.update(table)
            .where(
                table.c.tenant == self._tenant,
                table.c.customer_id == self._id,
                table.c.number == values.pop("number"),
            )
            .values(values)
        )
        if self._connection.execute(statement).rowcount != 1:
            raise RecordNotFound

    def _insert(self, table: sa.Table, record: Record) -> None:
        owner = {"tenant": self._tenant, "customer_id": self._id}
        self._connection.execute(sa.insert(table), [row_of(record) | owner])

    def _next(self, kind: str) -> str:
        mine = sa.and_(counters.c.tenant == self._tenant, counters.c.kind == kind)
        statement = (
            sa.update(counters)
            .where(mine)
            .values(last=counters.c.last + 1)
            .returning(counters.c.last)
        )
        last = self._connection.execute(statement).scalar()
        if last is None:
            last = FIRST_NUMBERS[kind]
            self._connection.execute(
                sa.insert(counters), [{"tenant": self._tenant, "kind": kind, "last": last}]
            )
        return number_for(kind, last)


def row_of(record: Record) -> dict[str, Any]:
    """The record's columns; nested lines become JSON."""
    values = record.model_dump()
    if "lines" in values:
        values["lines"] = record.model_dump(mode="json", include={"lines"})["lines"]
    return values


def writing_shop(clock: Clock) -> Callable[[sa.Connection, Customer], SqlShop]:
    """What the ledger asks for the shop of an action's customer, inside its own transaction."""

    def shop_for(connection: sa.Connection, customer: Customer) -> SqlShop:
        return SqlShop(connection, customer, today=clock.today(), writing=True)

    return shop_for


class SqlBackend:
    """Previews and reads on the SQL shop; writes go through the ledger."""

    def __init__(self, engine: sa.Engine, clock: Clock | None = None) -> None:
        self._engine = engine
        self._clock = clock or Clock()

    async def preview(self, customer: Customer, operation: Operation, arguments: Any) -> Preview:
        return await asyncio.to_thread(self._run, customer, operation.preview, arguments)

    async def read(self, customer: Customer, operation: Operation, arguments: Any) -> BaseModel:
        if operation.writes:
            raise ValueError(f"{operation.name} writes: it goes through the ledger")
        return await asyncio.to_thread(self._run, customer, operation.run, arguments)

    async def records(self, customer: Customer) -> tuple[RecordView, ...]:
        return await asyncio.to_thread(self._records, customer)

    def _records(self, customer: Customer) -> tuple[RecordView, ...]:
        with reading(self._engine) as connection:
            return views_of(SqlShop(connection, customer, today=self._clock.today()))

    def _run(self, customer: Customer, call: Any, arguments: Any) -> Any:
        with reading(self._engine) as connection:
            shop = SqlShop(connection, customer, today=self._clock.today())
            return call(shop, arguments)


class SqlCustomers:
    """Who the shop's customers are; anybody may try it out as one of the named demo customers."""

    def __init__(self, engine: sa.Engine, clock: Clock) -> None:
        self._engine = engine
        self._clock = clock

    async def find(self, customer_id: str) -> Customer | None:
        found = await asyncio.to_thread(self._of, [customer_id])
        return found[0] if found else None

    async def demo(self) -> list[Customer]:
        from domains.northfell.demo_accounts import stories

        ids = [account.customer.id for account in stories(self._clock.today())]
        return await asyncio.to_thread(self._of, ids)

    def _of(self, ids: list[str]) -> list[Customer]:
        with reading(self._engine) as connection:
            wanted = sa.select(customers).where(customers.c.id.in_(ids))
            rows = connection.execute(wanted).mappings()
            found = [Customer.model_validate(dict(row)) for row in rows]
        return sorted(found, key=lambda customer: ids.index(customer.id))

    def empty(self) -> bool:
        with reading(self._engine) as connection:
            return connection.execute(sa.select(customers.c.id).limit(1)).first() is None


def tickets_of(engine: sa.Engine, customer_id: str, tenant: str | None = None) -> list[Ticket]:
    """A customer's tickets, newest first; of one tenant, where one is given."""
    shown = [column for column in tickets.c if column.name not in {"tenant", "customer_id"}]
    wanted = (
        sa.select(*shown)
        .where(tickets.c.customer_id == customer_id)
        .order_by(tickets.c.opened_on.desc(), tickets.c.number.desc())
    )
    if tenant is not None:
        wanted = wanted.where(tickets.c.tenant == tenant)
    with reading(engine) as connection:
        return [Ticket.model_validate(dict(row)) for row in connection.execute(wanted).mappings()]


#: Stands where a customer's words were.
ERASED = "[erased]"


def forget_words(connection: sa.Connection, tenant: str, customer_id: str) -> int:
    """Take a customer's words out of tickets, refunds and subscriptions; what was sold, paid and sent stays."""
    found = 0
    for table, blank in (
        (tickets, {"subject": ERASED, "body": ERASED, "record": None, "case": None}),
        (refunds, {"reason": None}),
        (subscriptions, {"cancel_reason": None}),
    ):
        worded = sa.or_(*(table.c[name].is_distinct_from(value) for name, value in blank.items()))
        theirs = (table.c.tenant == tenant, table.c.customer_id == customer_id)
        found += connection.execute(sa.update(table).where(*theirs, worded).values(blank)).rowcount
    return found


def sql_books(engine: sa.Engine, clock: Clock) -> Books:
    """The shop's books as the engine is handed them."""

    async def found(customer_id: str, tenant: str | None) -> list[Ticket]:
        return await asyncio.to_thread(tickets_of, engine, customer_id, tenant)

    return Books(
        backend=SqlBackend(engine, clock),
        customers=SqlCustomers(engine, clock),
        transaction=writing_shop(clock),
        tickets=found,
        forget=forget_words,
    )
