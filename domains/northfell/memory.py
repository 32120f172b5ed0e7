"""The shop's books over plain dicts, for evals and tests."""

from __future__ import annotations

from collections.abc import Sequence
from copy import copy
from dataclasses import dataclass, field, replace
from datetime import date
from typing import Any

from pydantic import BaseModel

from domains.northfell.data_model import Charge, Invoice, Order, Refund, Subscription
from domains.northfell.demo_accounts import Account, stories
from domains.northfell.operations.views import views_of
from tools.numbers import FIRST_NUMBERS, PREFIXES, number_for
from tools.records import RecordView
from tools.values import Clock, Customer, Operation, Preview, RecordNotFound, Ticket


@dataclass
class MemoryAccount:
    """One customer's books, keyed by record number."""

    customer: Customer
    orders: dict[str, Order] = field(default_factory=dict[str, Order])
    invoices: dict[str, Invoice] = field(default_factory=dict[str, Invoice])
    subscriptions: dict[str, Subscription] = field(default_factory=dict[str, Subscription])
    refunds: dict[str, Refund] = field(default_factory=dict[str, Refund])
    charges: dict[str, Charge] = field(default_factory=dict[str, Charge])
    tickets: dict[str, Ticket] = field(default_factory=dict[str, Ticket])

    def snapshot(self) -> MemoryAccount:
        """A copy to put back when a write fails halfway; the records themselves never change."""
        return replace(
            self,
            orders=copy(self.orders),
            invoices=copy(self.invoices),
            subscriptions=copy(self.subscriptions),
            refunds=copy(self.refunds),
            charges=copy(self.charges),
            tickets=copy(self.tickets),
        )


class MemoryBooks:
    """Every customer's books."""

    def __init__(self, accounts: Sequence[Account] = ()) -> None:
        self._accounts: dict[tuple[str, str], MemoryAccount] = {}
        self._last = {kind: first - 1 for kind, first in FIRST_NUMBERS.items()}
        for account in accounts:
            self.add(account)

    def add(self, account: Account) -> None:
        for kind, records in (
            ("order", account.orders),
            ("refund", account.refunds),
            ("charge", account.charges),
            ("ticket", account.tickets),
        ):
            taken = [int(one.number.removeprefix(f"{PREFIXES[kind]}-")) for one in records]
            self._last[kind] = max([self._last[kind], *taken])
        customer = account.customer
        self._accounts[customer.tenant, customer.id] = MemoryAccount(
            customer=customer,
            orders={one.number: one for one in account.orders},
            invoices={one.number: one for one in account.invoices},
            subscriptions={one.number: one for one in account.subscriptions},
            refunds={one.number: one for one in account.refunds},
            charges={one.number: one for one in account.charges},
            tickets={one.number: one for one in account.tickets},
        )

    def customers(self) -> list[Customer]:
        return [account.customer for account in self._accounts.values()]

    def customer(self, id: str, tenant: str = "northfell") -> Customer:
        return self._accounts[tenant, id].customer

    def account(self, customer: Customer) -> MemoryAccount:
        """The customer's books; somebody who never bought anything has empty ones."""
        key = customer.tenant, customer.id
        return self._accounts.get(key) or MemoryAccount(customer)

    def snapshot(self, customer: Customer) -> MemoryAccount:
        return self.account(customer).snapshot()

    def restore(self, snapshot: MemoryAccount) -> None:
        customer = snapshot.customer
        if (customer.tenant, customer.id) in self._accounts:
            self._accounts[customer.tenant, customer.id] = snapshot

    def view(self, customer: Customer, today: date) -> MemoryShop:
        return MemoryShop(self, customer, today)

    def next_number(self, kind: str) -> str:
        self._last[kind] += 1
        return number_for(kind, self._last[kind])


class MemoryShop:
    """One customer's view of the books."""

    def __init__(self, books: MemoryBooks, customer: Customer, today: date) -> None:
        self._books = books
        self._account = books.account(customer)
        self._today = today

    @property
    def customer(self) -> Customer:
        return self._account.customer

    @property
    def today(self) -> date:
        return self._today

    def orders(self) -> list[Order]:
        return sorted(self._account.orders.values(), key=_placed, reverse=True)

    def order(self, number: str) -> Order | None:
        return self._account.orders.get(number)

    def save_order(self, order: Order) -> None:
        _replace(self._account.orders, order)

    def invoices(self) -> list[Invoice]:
        return sorted(self._account.invoices.values(), key=_issued, reverse=True)

    def save_invoice(self, invoice: Invoice) -> None:
        _replace(self._account.invoices, invoice)

    def subscriptions(self) -> list[Subscription]:
        return sorted(self._account.subscriptions.values(), key=_started, reverse=True)

    def save_subscription(self, subscription: Subscription) -> None:
        _replace(self._account.subscriptions, subscription)

    def refunds(self) -> list[Refund]:
        return sorted(self._account.refunds.values(), key=_requested, reverse=True)

    def add_refund(self, refund: Refund) -> Refund:
        return self._add("refund", self._account.refunds, refund)

    def save_refund(self, refund: Refund) -> None:
        _replace(self._account.refunds, refund)

    def add_charge(self, charge: Charge) -> Charge:
        return self._add("charge", self._account.charges, charge)

    def add_ticket(self, ticket: Ticket) -> Ticket:
        return self._add("ticket", self._account.tickets, ticket)

    def save_contact(self, *, email: str | None = None, phone: str | None = None) -> Customer:
        given = {"email": email, "phone": phone}
        changed = {name: value for name, value in given.items() if value is not None}
        self._account.customer = self._account.customer.model_copy(update=changed)
        return self._account.customer

    def _add(self, kind: str, records: dict[str, Any], record: Any) -> Any:
        number = record.number or self._books.next_number(kind)
        records[number] = record.model_copy(update={"number": number})
        return records[number]


def _replace(records: dict[str, Any], record: Any) -> None:
    if record.number not in records:
        raise RecordNotFound
    records[record.number] = record


def _numbered(when: date, number: str) -> tuple[date, int, str]:
    return when, len(number), number


def _placed(order: Order) -> tuple[date, int, str]:
    return _numbered(order.placed_on, order.number)


def _issued(invoice: Invoice) -> tuple[date, int, str]:
    return _numbered(invoice.issued_on, invoice.number)


def _started(subscription: Subscription) -> tuple[date, int, str]:
    return _numbered(subscription.started_on, subscription.number)


def _requested(refund: Refund) -> tuple[date, int, str]:
    return _numbered(refund.requested_on, refund.number)


class MemoryBackend:
    """Previews and reads on the in-memory books; writes go through the ledger."""

    def __init__(self, books: MemoryBooks, clock: Clock | None = None) -> None:
        self._books = books
        self._clock = clock or Clock()

    async def preview(self, customer: Customer, operation: Operation, arguments: Any) -> Preview:
        return operation.preview(self._books.view(customer, self._clock.today()), arguments)

    async def read(self, customer: Customer, operation: Operation, arguments: Any) -> BaseModel:
        if operation.writes:
            raise ValueError(f"{operation.name} writes: it goes through the ledger")
        return operation.run(self._books.view(customer, self._clock.today()), arguments)

    async def records(self, customer: Customer) -> tuple[RecordView, ...]:
        return views_of(self._books.view(customer, self._clock.today()))


def demo_world(today: date | None = None) -> MemoryBooks:
    """The named demo customers with their hand-written orders, dated back from ``today``."""
    return MemoryBooks(stories(today or Clock().today()))
