"""A shop whose refunds are paid by a service in another process, with a clock that can be set."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from collections.abc import Callable, Generator
from datetime import date, timedelta
from decimal import Decimal
from pathlib import Path

import httpx
import sqlalchemy as sa

from app.payments import HttpPayments
from app.stores.approvals import SqlApprovals
from app.stores.audit import SqlAudit
from app.stores.database import create_engine, migrate, reading, writing
from app.stores.ledger import SqlLedger
from app.stores.outbox import SqlOutbox
from domains.northfell import store as shop
from domains.northfell.data_model import Invoice, Order, OrderLine, OrderStatus
from domains.northfell.operations import OPERATIONS
from domains.northfell.store import SqlShop
from graphs.keys import action_id, action_key, fingerprint
from tests.stores.world import ADA, NOON, Hands
from tools.values import Action, Consequence, Outcome, Verdict

ROOT = Path(__file__).parents[2]
REFUND = OPERATIONS["request_refund"]
CHARGE = OPERATIONS["charge_replacement"]
GRAVE = Verdict(
    consequence=Consequence.IRREVERSIBLE,
    declared=Consequence.IRREVERSIBLE,
    needs_approval=True,
    reason="as declared",
)
STOVE = Order(
    number="SB-10482",
    status=OrderStatus.DELIVERED,
    placed_on=date(2026, 11, 10),
    lines=(OrderLine(product="Ember Stove", sku="STV-1", quantity=1, unit_price=Decimal("89.50")),),
    shipping=Decimal(0),
    total=Decimal("89.50"),
    payment="card",
    delivery_address="Lindenweg 4, 10115 Berlin",
    delivered_on=date(2026, 11, 14),
)
PAID = Invoice(
    number="INV-20931",
    order_number=STOVE.number,
    issued_on=STOVE.placed_on,
    total=STOVE.total,
    paid=True,
    sent_to=ADA.email,
)


@contextlib.contextmanager
def payment_service(store: Path, *, keys: bool) -> Generator[str]:
    """The real service in a process of its own; its address."""
    honour = "--keys" if keys else "--no-keys"
    process = subprocess.Popen(
        [
            sys.executable,
            "-m",
            "domains.northfell.payment_service",
            "--faults",
            "--store",
            str(store),
            honour,
        ],
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stdout is not None
        yield process.stdout.readline().strip()
    finally:
        process.kill()
        process.communicate()


def stocked(url: str) -> None:
    """Fill a database with Ada and her stove."""
    migrate(url)
    engine = create_engine(url)
    with writing(engine) as conn:
        conn.execute(sa.insert(shop.customers).values(**ADA.model_dump(exclude={"facts"})))
        row = shop.row_of(STOVE) | {"tenant": ADA.tenant, "customer_id": ADA.id}
        conn.execute(sa.insert(shop.orders).values(**row))
        row = shop.row_of(PAID) | {"tenant": ADA.tenant, "customer_id": ADA.id}
        conn.execute(sa.insert(shop.invoices).values(**row))
    engine.dispose()


class World:
    """One process's stores and its line to the payment service."""

    def __init__(
        self,
        url: str,
        payments_url: str,
        *,
        keys: bool,
        hands: Hands | None = None,
        checkpoint: Callable[[str], None] = lambda name: None,
        settles_within: timedelta | None = None,
        timeout: float = 10,
    ) -> None:
        self.url, self.payments_url, self.keys = url, payments_url, keys
        self.hands = hands or Hands()
        clock = self.hands.clock
        self.engine = create_engine(url)
        self.audit = SqlAudit(self.engine, clock)
        self.outbox = SqlOutbox(self.engine, clock, audit=self.audit)
        self.approvals = SqlApprovals(self.engine, clock, outbox=self.outbox)
        self.payments = HttpPayments(
            payments_url,
            clock,
            keys_kept=timedelta(hours=24 if keys else 0),
            settles_within=settles_within,
            sent=lambda: checkpoint("called"),
            timeout=httpx.Timeout(timeout, connect=3),
        )
        self.ledger = SqlLedger(
            self.engine,
            lambda conn, of: SqlShop(conn, of, today=clock.today(), writing=True),
            clock,
            self.approvals,
            outbox=self.outbox,
            audit=self.audit,
            payments=self.payments,
            checkpoint=checkpoint,
        )

    async def approve(self, action: Action) -> None:
        await self.approvals.request(action, GRAVE)
        await self.approvals.decide(action.id, approve=True, reviewer="op")

    async def settle(self) -> list[Outcome]:
        """What the relay does, when it is due."""
        return [outcome for _, outcome in await self.ledger.settle_due(OPERATIONS)]

    def paid(self, action: Action) -> int:
        """How often the service's own books show the action's payment."""
        found = httpx.get(f"{self.payments_url}/payments", params={"reference": action.id})
        return len(found.json()["payments"])

    def take_key(self, key: str) -> None:
        """Somebody else's payment, made under this key."""
        order = {"reference": "another", "amount": "1.00", "currency": "EUR", "method": "card"}
        headers = {"Idempotency-Key": key}
        httpx.post(f"{self.payments_url}/refunds", json=order, headers=headers).raise_for_status()

    def trouble(self, **faults: object) -> None:
        httpx.put(f"{self.payments_url}/faults", json=faults).raise_for_status()

    def refunds(self) -> list[str]:
        """The states of the refunds in our own books."""
        with reading(self.engine) as conn:
            query = sa.select(shop.refunds.c.status).order_by(shop.refunds.c.number)
            return list(conn.execute(query).scalars())

    def refunded(self) -> Decimal:
        with reading(self.engine) as conn:
            return conn.execute(sa.select(shop.orders.c.refunded)).scalar_one()

    def close(self) -> None:
        self.engine.dispose()
        self.payments.close()


def a_refund(request: str, reason: str = "damaged") -> Action:
    return _action(REFUND.name, request, {"order_number": "SB-10482", "reason": reason})


def a_charge(request: str) -> Action:
    return _action(
        CHARGE.name,
        request,
        {"order_number": "SB-10482", "product": "Ember Stove", "reason": "lost"},
    )


def _action(operation: str, request: str, arguments: dict[str, str]) -> Action:
    key = action_key(ADA.tenant, ADA.id, operation, request)
    return Action(
        id=action_id(key),
        tenant=ADA.tenant,
        customer=ADA,
        thread="th-1",
        turn=request,
        operation=operation,
        arguments=dict(arguments),
        key=key,
        fingerprint=fingerprint(operation, dict(arguments)),
        proposed_at=NOON,
        label="SB-10482",
    )
