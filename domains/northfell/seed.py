"""Fills an empty shop with its demo data: the named customers' stories and a crowd around them."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from datetime import date, timedelta
from decimal import Decimal
from itertools import count
from typing import Any, Literal

import sqlalchemy as sa

from app.stores.database import writing
from domains.northfell.data_model import Charge, Invoice, Order, OrderStatus, Refund, Subscription
from domains.northfell.demo_accounts import (
    FLEET_MINIMUM,
    PLAN_PRICES,
    PRODUCTS,
    Account,
    invoice_for,
    line,
    shipping_for,
    stories,
)
from domains.northfell.store import (
    charges,
    counters,
    customers,
    invoices,
    orders,
    products,
    refunds,
    row_of,
    subscriptions,
    tickets,
)
from tools.numbers import FIRST_NUMBERS, PREFIXES
from tools.values import Customer, Ticket

TENANT = "northfell"
SEED = 4021
CONSUMERS = 280
BUSINESSES = 46
#: Rows a statement: large enough to be quick, small enough for a progress bar to move.
BATCH = 500
#: Seconds that a second replica waits for the first to fill the shop.
FILLED_WITHIN = 120


def _words(text: str) -> tuple[str, ...]:
    return tuple(text.split())


_GIVEN = _words(
    "Anton Bea Clara Dario Edda Filip Greta Hanno Ida Jonas Katja Lars Mira Nils Olga Paul Rita Sami Tilda Uwe "
    "Vera Wim Yara Zoran Agnes Bruno Celia Dora Emil Freya Gustav Hilde Ingo Julia Klara Leon Marta Noor Otto Pia"
)
_FAMILY = _words(
    "Albers Brandt Castell Dahl Eriksen Falk Gruber Hansen Ibsen Jung Krüger Lorenz Moreau Novak Ortega Petersen "
    "Quast Richter Sørensen Thoma Ulrich Vogel Weiss Zeller Ackermann Berger Conrad Dietz Engel Fuchs"
)
_TRADES = ("Alpine School", "Guides", "Outdoor Camps", "Mountain Rescue Training", "Youth Hostels")
_PLACES = _words(
    "Northridge Seeblick Talgrund Hochwald Steinmark Lärchenhof Gipfelweg Moorbach Kesselberg Auenland"
)
_STREETS = _words(
    "Lindenweg Hauptstraße Gartenweg Bergstraße Schulgasse Mühlenweg Angerweg Ringstraße Uferweg Kirchplatz"
)
_TOWNS = (
    "50674 Köln",
    "20457 Hamburg",
    "80331 München",
    "90409 Nürnberg",
    "04109 Leipzig",
    "70173 Stuttgart",
    "28195 Bremen",
    "79098 Freiburg",
    "24103 Kiel",
    "01067 Dresden",
)
#: Bought often and in numbers by companies.
_BULK_SKUS = ("FAK-961", "NAV-910", "LGT-802", "TNT-140", "SLP-702", "FAK-965", "PCK-230")

Payment = Literal["card", "paypal", "invoice"]


def seed(
    engine: sa.Engine, today: date, progress: Callable[[int, int], None] | None = None
) -> bool:
    """Fill the shop once; False, with nothing changed, when it already has customers.

    ``progress`` is told how many of how many rows are written.
    """
    # Worked out before anything is locked.
    filled = rows_of(accounts(today))
    total = sum(len(rows) for _, rows in filled)
    with writing(engine) as connection:
        if connection.dialect.name == "postgresql":
            # Two replicas may start at once: the second waits here, longer than anybody does for a lock
            # otherwise, and then finds the rows.
            wait = f"SET LOCAL lock_timeout = '{FILLED_WITHIN}s'; SET LOCAL statement_timeout = '{FILLED_WITHIN}s'"
            connection.execute(sa.text(wait))
            connection.execute(sa.text("LOCK TABLE customers IN EXCLUSIVE MODE"))
        if connection.execute(sa.select(customers.c.id).limit(1)).first() is not None:
            return False
        done = 0
        for table, rows in filled:
            for start in range(0, len(rows), BATCH):
                batch = rows[start : start + BATCH]
                connection.execute(sa.insert(table), batch)
                done += len(batch)
                if progress is not None:
                    progress(done, total)
    return True


def accounts(today: date, seed: int = SEED) -> list[Account]:
    """Everybody: the same for the same day and seed."""
    named = stories(today)
    return [*named, *_Crowd(today, random.Random(seed), named).accounts()]


def rows_of(everybody: Sequence[Account]) -> list[tuple[sa.Table, list[dict[str, Any]]]]:
    """Rows for every table, parents first."""
    filled: dict[sa.Table, list[dict[str, Any]]] = {
        customers: [account.customer.model_dump(exclude={"facts"}) for account in everybody],
        products: [asdict(product) | {"tenant": TENANT} for product in PRODUCTS],
    }
    highest: dict[str, int] = {}
    kinds: tuple[tuple[sa.Table, str, Callable[[Account], Sequence[Any]]], ...] = (
        (orders, "order", lambda account: account.orders),
        (invoices, "invoice", lambda account: account.invoices),
        (subscriptions, "subscription", lambda account: account.subscriptions),
        (refunds, "refund", lambda account: account.refunds),
        (charges, "charge", lambda account: account.charges),
        (tickets, "ticket", lambda account: account.tickets),
    )
    for table, kind, of in kinds:
        filled[table] = [
            row_of(record) | {"tenant": TENANT, "customer_id": account.customer.id}
            for account in everybody
            for record in of(account)
        ]
        taken = (digits(kind, row["number"]) for row in filled[table])
        highest[kind] = max(taken, default=FIRST_NUMBERS[kind] - 1)
    filled[counters] = [
        {"tenant": TENANT, "kind": kind, "last": last} for kind, last in highest.items()
    ]
    return list(filled.items())


def digits(kind: str, number: str) -> int:
    return int(number.removeprefix(f"{PREFIXES[kind]}-"))


@dataclass(frozen=True)
class _Draft:
    """An order before it has its number."""

    customer: Customer
    address: str
    status: OrderStatus
    age: int
    paid: bool
    payment: Payment


class _Crowd:
    """Invents the customers nobody has a story about."""

    def __init__(self, today: date, rng: random.Random, named: Sequence[Account]) -> None:
        self._today = today
        self._rng = rng
        self._orders: dict[str, list[Order]] = {}
        self._invoices: dict[str, list[Invoice]] = {}
        self._refunds: dict[str, list[Refund]] = {}
        self._charges: dict[str, list[Charge]] = {}
        # Numbers grow with time and never meet those of the stories.
        self._named_orders = {digits("order", o.number) for a in named for o in a.orders}
        self._named_invoices = {digits("invoice", i.number) for a in named for i in a.invoices}
        plans = {digits("subscription", s.number) for a in named for s in a.subscriptions}
        paid_back = {digits("refund", r.number) for a in named for r in a.refunds}
        self._plan_numbers = _free(2001, plans)
        self._refund_numbers = _free(29_001, paid_back)
        self._charge_numbers = _free(50_001, set())
        self._ticket_numbers = _free(70_001, set())

    def accounts(self) -> list[Account]:
        people = [*self._consumers(), *self._businesses()]
        drafts = [draft for customer in people for draft in self._drafts(customer)]
        drafts.sort(key=lambda draft: draft.age, reverse=True)
        order_numbers = _free(max(self._named_orders) - len(drafts) - 60, self._named_orders)
        invoice_numbers = _free(max(self._named_invoices) - len(drafts) - 60, self._named_invoices)
        for draft in drafts:
            self._settle(draft, next(order_numbers), next(invoice_numbers))
        return [
            Account(
                customer=customer,
                orders=tuple(self._orders.get(customer.id, ())),
                invoices=tuple(self._invoices.get(customer.id, ())),
                subscriptions=self._plans(customer),
                refunds=tuple(self._refunds.get(customer.id, ())),
                charges=tuple(self._charges.get(customer.id, ())),
                tickets=self._tickets(),
            )
            for customer in people
        ]

    def _ago(self, days: int) -> date:
        return self._today - timedelta(days=days)

    def _consumers(self) -> Iterator[Customer]:
        for place in range(CONSUMERS):
            given = self._rng.choice(_GIVEN)
            family = self._rng.choice(_FAMILY)
            yield Customer(
                id=f"c{place + 1:04}",
                name=f"{given} {family}",
                email=f"{_plain(given)}.{_plain(family)}{place + 1}@example.com",
                phone=self._phone() if self._rng.random() < 0.6 else None,
                since=self._ago(self._rng.randint(20, 2200)),
            )

    def _businesses(self) -> Iterator[Customer]:
        for place in range(BUSINESSES):
            town = _PLACES[place % len(_PLACES)]
            trade = _TRADES[place // len(_PLACES) % len(_TRADES)]
            yield Customer(
                id=f"b{place + 1:04}",
                name=f"{town} {trade}",
                email=f"orders.{_plain(town)}{place + 1}@example.com",
                phone=self._phone(),
                segment="business",
                since=self._ago(self._rng.randint(200, 2400)),
            )

    def _phone(self) -> str:
        return f"+49 {self._rng.randint(30, 999)} 5550 {self._rng.randint(100, 199)}"

    def _drafts(self, customer: Customer) -> Iterator[_Draft]:
        business = customer.segment == "business"
        street = f"{self._rng.choice(_STREETS)} {self._rng.randint(1, 120)}"
        address = f"{street}, {self._rng.choice(_TOWNS)}"
        oldest = (self._today - customer.since).days
        for _ in range(self._rng.randint(6, 14) if business else self._rng.randint(3, 7)):
            recent = self._rng.random() < 0.2
            age = self._rng.randint(0, 12) if recent else self._rng.randint(13, max(13, oldest))
            status = self._status(age)
            payment: Payment = self._rng.choice(("card", "card", "paypal"))
            if business and self._rng.random() < 0.8:
                payment = "invoice"
            yield _Draft(
                customer,
                address,
                status,
                min(age, oldest),
                self._paid(status, age, payment),
                payment,
            )

    def _status(self, age: int) -> OrderStatus:
        status = OrderStatus
        if age > 12:
            kinds = (status.DELIVERED, status.CANCELLED, status.RETURNED, status.REFUNDED)
            return self._rng.choices(kinds, weights=(84, 6, 4, 6))[0]
        if self._rng.random() < 0.06:
            return status.CANCELLED
        if age == 0:
            return self._rng.choice((status.PENDING, status.PAID))
        if age <= 2:
            return self._rng.choice((status.PENDING, status.PAID, status.PACKED))
        if age <= 4:
            return self._rng.choice((status.PACKED, status.SHIPPED))
        return self._rng.choice((status.SHIPPED, status.DELIVERED, status.DELIVERED))

    def _paid(self, status: OrderStatus, age: int, payment: Payment) -> bool:
        if status is OrderStatus.PENDING:
            return False
        if status is OrderStatus.CANCELLED:
            return self._rng.random() < 0.4
        if status in {OrderStatus.RETURNED, OrderStatus.REFUNDED}:
            return True
        # Companies have thirty days.
        return payment != "invoice" or age > 30 or self._rng.random() < 0.3

    def _settle(self, draft: _Draft, number: int, invoice_number: int) -> None:
        """Give the draft its number and everything that follows from its status."""
        rng, status = self._rng, draft.status
        business = draft.customer.segment == "business"
        if business and rng.random() < 0.6:
            lines = (line(rng.choice(_BULK_SKUS), rng.randint(5, 40)),)
        else:
            picked = rng.sample(PRODUCTS, rng.choices((1, 2, 3), weights=(6, 3, 1))[0])
            lines = tuple(line(product.sku, rng.choice((1, 1, 1, 2))) for product in picked)
        goods = sum((one.unit_price * one.quantity for one in lines), Decimal(0))
        total = goods + shipping_for(goods)
        arrived = {OrderStatus.DELIVERED, OrderStatus.RETURNED, OrderStatus.REFUNDED}
        sent = status in arrived or status is OrderStatus.SHIPPED
        open_ = {OrderStatus.PAID, OrderStatus.PACKED, OrderStatus.SHIPPED}
        placed = self._ago(draft.age)
        order = Order(
            number=f"SB-{number}",
            status=status,
            placed_on=placed,
            lines=lines,
            shipping=shipping_for(goods),
            total=total,
            payment=draft.payment,
            delivery_address=draft.address,
            carrier="Parcelo" if sent else None,
            tracking=f"PC{4_400_000 + number}DE" if sent else None,
            expected_on=placed + timedelta(days=rng.randint(4, 8)) if status in open_ else None,
            delivered_on=placed + timedelta(days=min(draft.age, rng.randint(3, 6)))
            if status in arrived
            else None,
            refunded=total if status is OrderStatus.REFUNDED else Decimal(0),
        )
        owner = draft.customer
        self._orders.setdefault(owner.id, []).append(order)
        self._invoices.setdefault(owner.id, []).append(
            invoice_for(order, invoice_number, paid=draft.paid, sent_to=owner.email)
        )
        self._pay_back(owner, order, draft)
        if status is OrderStatus.DELIVERED and rng.random() < 0.02:
            self._charges.setdefault(owner.id, []).append(
                Charge(
                    number=f"CH-{next(self._charge_numbers)}",
                    order_number=order.number,
                    product=lines[0].product,
                    amount=lines[0].unit_price,
                    charged_on=self._ago(draft.age // 2),
                )
            )

    def _pay_back(self, owner: Customer, order: Order, draft: _Draft) -> None:
        rng, age = self._rng, draft.age
        state: Literal["requested", "approved", "paid", "rejected"]
        if order.status is OrderStatus.REFUNDED:
            state = "paid" if age > 40 else "approved"
        elif not draft.paid:
            return
        elif order.status in {OrderStatus.RETURNED, OrderStatus.CANCELLED} and rng.random() < 0.5:
            state = "requested"
        elif order.status is OrderStatus.DELIVERED and rng.random() < 0.02:
            state = "rejected"
        else:
            return
        self._refunds.setdefault(owner.id, []).append(
            Refund(
                number=f"RF-{next(self._refund_numbers)}",
                order_number=order.number,
                amount=order.total,
                status=state,
                method=order.payment,
                requested_on=self._ago(rng.randint(0, age // 2)),
                reason=rng.choice(("damaged", "unwanted", "not_as_described", "wrong_item")),
            )
        )

    def _plans(self, customer: Customer) -> tuple[Subscription, ...]:
        rng = self._rng
        business = customer.segment == "business"
        if rng.random() > (0.5 if business else 0.4):
            return ()
        plan: Literal["care", "care_plus", "fleet"] = rng.choice(("care", "care", "care_plus"))
        items = 1
        if business:
            plan, items = "fleet", rng.randint(FLEET_MINIMUM, 120)
        states: tuple[Literal["active", "paused", "cancelled"], ...] = (
            "active",
            "paused",
            "cancelled",
        )
        status = rng.choices(states, weights=(75, 10, 15))[0]
        age = (self._today - customer.since).days
        renews = self._ago(-rng.randint(1, 30))
        paused_until = self._ago(-rng.randint(10, 80))
        ended = self._ago(rng.randint(0, age // 2))
        return (
            Subscription(
                number=f"SUB-{next(self._plan_numbers)}",
                plan=plan,
                status=status,
                price=PLAN_PRICES[plan] * items,
                started_on=self._ago(rng.randint(age // 2, age)),
                renews_on={"active": renews, "paused": paused_until + timedelta(days=12)}.get(
                    status
                ),
                paused_until=paused_until if status == "paused" else None,
                ends_on=ended if status == "cancelled" else None,
            ),
        )

    def _tickets(self) -> tuple[Ticket, ...]:
        if self._rng.random() > 0.05:
            return ()
        subject = self._rng.choice(
            ("Question about a size", "Missing instructions", "Zip repair", "Parcel left outside")
        )
        return (
            Ticket(
                number=f"T-{next(self._ticket_numbers)}",
                subject=subject,
                body="",
                opened_on=self._ago(self._rng.randint(1, 15)),
            ),
        )


def _free(start: int, taken: set[int]) -> Iterator[int]:
    """Numbers from ``start`` on that no story uses."""
    return (number for number in count(start) if number not in taken)


def _plain(word: str) -> str:
    """The word as it goes into an email address."""
    return word.lower().translate(str.maketrans({"ü": "u", "ö": "o", "ä": "a", "ø": "o", "ß": "s"}))
