"""Small accounts to put an operation in front of: one record in one state."""

from __future__ import annotations

from datetime import date, timedelta
from decimal import Decimal
from typing import Any, Literal

from domains.northfell.data_model import Order, OrderStatus, Refund, Subscription
from domains.northfell.demo_accounts import Account, invoice_for, line, shipping_for
from tools.values import Customer

TODAY = date(2026, 11, 22)
TENT, SOCKS, STOVE = "TNT-101", "CLO-630", "STV-401"

ARRIVED = {OrderStatus.DELIVERED, OrderStatus.RETURNED, OrderStatus.REFUNDED}


def ago(days: int) -> date:
    return TODAY - timedelta(days=days)


def customer(id: str = "zoe") -> Customer:
    return Customer(id=id, name="Zoe Winter", email=f"{id}@example.com", since=ago(500))


def order(
    status: str,
    number: int = 10482,
    *skus: str,
    placed: int = 10,
    delivered: int = 5,
    expected_in: int = 2,
    refunded: str = "0",
) -> Order:
    lines = tuple(line(sku) for sku in skus or (TENT,))
    goods = sum((one.unit_price for one in lines), Decimal(0))
    state = OrderStatus(status)
    return Order(
        number=f"SB-{number}",
        status=state,
        placed_on=ago(placed),
        lines=lines,
        shipping=shipping_for(goods),
        total=goods + shipping_for(goods),
        payment="card",
        delivery_address="Rosenstraße 27, 80331 München",
        expected_on=None if state in ARRIVED else ago(-expected_in),
        delivered_on=ago(delivered) if state in ARRIVED else None,
        refunded=Decimal(refunded),
    )


def account(
    *orders: Order,
    paid: bool | None = None,
    id: str = "zoe",
    subscriptions: tuple[Subscription, ...] = (),
    refunds: tuple[Refund, ...] = (),
) -> Account:
    """Orders with an invoice each; everything but a pending order is paid unless said otherwise."""
    owner = customer(id)
    return Account(
        customer=owner,
        orders=orders,
        invoices=tuple(
            invoice_for(
                one,
                20_000 + int(one.number[3:]),
                paid=one.status is not OrderStatus.PENDING if paid is None else paid,
                sent_to=owner.email,
            )
            for one in orders
        ),
        subscriptions=subscriptions,
        refunds=refunds,
    )


def plan(
    status: Literal["active", "paused", "cancelled"], number: int = 4021, **more: Any
) -> Subscription:
    dates: dict[str, dict[str, date | None]] = {
        "active": {"renews_on": ago(-12)},
        "paused": {"renews_on": ago(-70), "paused_until": ago(-60)},
        "cancelled": {"renews_on": None, "ends_on": ago(3)},
    }
    return Subscription(
        number=f"SUB-{number}",
        plan="care",
        status=status,
        price=Decimal("4.90"),
        started_on=ago(300),
        **dates[status] | more,
    )


def refund(
    status: Literal["requested", "approved", "paid", "rejected"],
    number: int = 30112,
    order_number: str = "SB-10482",
) -> Refund:
    return Refund(
        number=f"RF-{number}",
        order_number=order_number,
        amount=Decimal("289.00"),
        status=status,
        method="card",
        requested_on=ago(2),
    )
