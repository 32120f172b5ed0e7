"""The demo shop in the crash eval: what its customers ask for and say, and its own tables."""

from __future__ import annotations

import random
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from typing import Any

import httpx
import sqlalchemy as sa

from app.stores.database import reading
from domains.northfell.demo_accounts import Account
from domains.northfell.store import charges, invoices, orders, refunds, tickets
from evals.crash_books import Job, manner
from tools.values import Unsettled

#: Operation -> how often it is asked for, in parts.
MIX = {
    "get_order": 3,
    "list_orders": 1,
    "create_ticket": 5,
    "resend_invoice": 5,
    "change_delivery_address": 2,
    "cancel_order": 3,
    "request_refund": 5,
    "charge_replacement": 5,
}
GRAVE = ("request_refund", "charge_replacement")

#: How a reply says that it was done; its group is the number the books must know.
DONE = {
    "create_ticket": r"opened ticket \*\*(T-\d+)\*\*",
    "resend_invoice": r"invoice \*\*(INV-\d+)\*\* is on its way",
    "change_delivery_address": r"Done: \*\*(SB-\d+)\*\* will be delivered",
    "cancel_order": r"Done: \*\*(SB-\d+)\*\* is cancelled",
    "request_refund": r"its number is \*\*(RF-\d+)\*\*",
    "charge_replacement": r"charge has the number \*\*(CH-\d+)\*\*",
}

#: How a customer of this eval begins a message -> what the intent head makes of it.
OPENINGS = {
    "where is": "order_status",
    "list my": "list_orders",
    "please open a ticket": "open_ticket",
    "please send invoice": "resend_invoice",
    "please deliver": "change_address",
    "please cancel": "cancel_order",
    "refund": "request_refund",
    "charge me": "request_replacement",
}


def values_in(text: str) -> dict[str, str]:
    """What a model would read from such a message."""
    values = {
        "subject": text.partition(": ")[2],
        "address": text.partition(" to ")[2],
        "product": text.partition("replacement ")[2].rpartition(" from ")[0],
    }
    return values | ({"reason": "damaged"} if "damaged" in text else {})


@dataclass(frozen=True)
class Books:
    """The shop's tables as they are, without asking the ledger."""

    times_sent: Mapping[str, int]
    status: Mapping[str, str]
    address: Mapping[str, str]
    refunds: Mapping[str, list[Mapping[str, Any]]]  #: By order.
    charges: Mapping[str, list[Mapping[str, Any]]]
    tickets: Mapping[str, list[Mapping[str, Any]]]  #: By the words that tell them apart.


def books(engine: sa.Engine) -> Books:
    """Read the shop's tables."""

    def by(rows: Sequence[Mapping[str, Any]], name: str) -> dict[str, list[Mapping[str, Any]]]:
        found: dict[str, list[Mapping[str, Any]]] = {}
        for row in rows:
            found.setdefault(str(row[name]), []).append(row)
        return found

    with reading(engine) as connection:

        def all_of(table: sa.Table) -> list[Mapping[str, Any]]:
            return [dict(row) for row in connection.execute(sa.select(table)).mappings()]

        placed, opened = all_of(orders), all_of(tickets)
        for ticket in opened:
            words = re.search(r"strap \d+x", ticket["subject"])
            ticket |= {"words": words[0] if words else ""}  # type: ignore[operator]
        return Books(
            times_sent={row["number"]: row["times_sent"] for row in all_of(invoices)},
            status={row["number"]: row["status"] for row in placed},
            address={row["number"]: row["delivery_address"] for row in placed},
            refunds=by(all_of(refunds), "order_number"),
            charges=by(all_of(charges), "order_number"),
            tickets=by(opened, "words"),
        )


@dataclass
class ShopRecords:
    """The shop's tables, and its payment service where money lives elsewhere."""

    engine: sa.Engine
    accounts: Sequence[Account]
    today: date
    payments: str = ""  #: Where the payment service listens.
    edits: Mapping[str, Mapping[str, Any]] = field(
        default_factory=lambda: {
            # Another action, with other arguments, that does the same.
            "request_refund": {"reason": "not_as_described"},
            "cancel_order": {"reason": "I moved"},
        }
    )

    def jobs(self, seed: int, only: Sequence[str] = ()) -> Iterator[Job]:
        """What the shop's customers want; where money moves in another system, that is asked for more often."""
        rng = random.Random(seed)
        pools = _pools(self.accounts, self.today, rng)
        everybody = [account.customer.id for account in self.accounts]
        operations = list(only or MIX)
        parts = [MIX[name] * (4 if self.payments and name in GRAVE else 1) for name in operations]
        number = 0
        while True:
            number += 1
            operation = rng.choices(operations, parts)[0]
            if operation in pools and not pools[operation]:
                operation = "create_ticket"
            if operation in pools:
                customer, record, text = pools[operation].pop()
            else:
                customer, record = rng.choice(everybody), f"strap {number:05}x"
                text = f"please open a ticket: the {record} is loose"
            if operation in ("get_order", "list_orders"):
                owner = next(a for a in self.accounts if a.customer.id == customer)
                record = rng.choice(owner.orders).number
                text = f"where is {record}" if operation == "get_order" else "list my orders"
            yield Job(
                number=number,
                operation=operation,
                customer=customer,
                record=record,
                text=text,
                done=DONE.get(operation, ""),
                grave=operation in GRAVE,
                **manner(rng, only),
            )

    def read(self) -> Books:
        return books(self.engine)

    def effects(self, job: Job, before: Books, after: Books) -> int:
        record = job.record
        match job.operation:
            case "create_ticket":
                return len(after.tickets.get(record, ()))
            case "resend_invoice":
                return after.times_sent[record] - before.times_sent[record]
            case "change_delivery_address":
                return int(after.address[record] == job.text.partition(" to ")[2])
            case "cancel_order":
                return int(after.status[record] == "cancelled")
            case "request_refund":
                return _approved(after, record) - _approved(before, record)
            case "charge_replacement":
                return len(after.charges.get(record, ())) - len(before.charges.get(record, ()))
            case _:
                return 0

    def numbers(self, job: Job, after: Books) -> set[str]:
        match job.operation:
            case "create_ticket":
                return {row["number"] for row in after.tickets.get(job.record, ())}
            case "request_refund":
                return {row["number"] for row in after.refunds.get(job.record, ())}
            case "charge_replacement":
                return {row["number"] for row in after.charges.get(job.record, ())}
            case _:
                return {job.record}

    def paid(self) -> list[str] | None:
        if not self.payments:
            return None
        listed = httpx.get(f"{self.payments}/payments", timeout=30).raise_for_status().json()
        return [payment["reference"] for payment in listed["payments"]]

    def happened(self, effect: Unsettled, job: Job, before: Books) -> bool:
        return effect.order.reference in (self.paid() or ())


def _approved(at: Books, order: str) -> int:
    return sum(row["status"] in ("approved", "paid") for row in at.refunds.get(order, ()))


def _pools(
    accounts: Sequence[Account], today: date, rng: random.Random
) -> dict[str, list[tuple[str, str, str]]]:
    """Customer, record and message for each operation that needs a record of its own."""
    pools: dict[str, list[tuple[str, str, str]]] = {name: [] for name in MIX}
    del pools["create_ticket"]
    for account in accounts:
        who = account.customer.id
        for invoice in account.invoices:
            text = f"please send invoice {invoice.number} again"
            pools["resend_invoice"].append((who, invoice.number, text))
        for order in account.orders:
            number = order.number
            status = order.status.value
            product = order.lines[0].product
            if status in ("pending", "paid", "packed"):
                # Every other one is cancelled: a record serves one request.
                if rng.random() < 0.6:
                    text = f"please cancel {number}"
                    pools["cancel_order"].append((who, number, text))
                else:
                    address = f"Probeweg {rng.randint(1, 99)}, 50674 Köln"
                    text = f"please deliver {number} to {address}"
                    pools["change_delivery_address"].append((who, number, text))
            elif status == "delivered" and rng.random() < 0.5:
                text = f"refund {number}, it arrived damaged"
                pools["request_refund"].append((who, number, text))
            elif status == "delivered":
                text = f"I lost it: charge me for a replacement {product} from {number}"
                pools["charge_replacement"].append((who, number, text))
        for kind in ("get_order", "list_orders"):
            if account.orders:
                pools[kind] += [(who, "", "")] * 40
    for pool in pools.values():
        rng.shuffle(pool)
    return pools
