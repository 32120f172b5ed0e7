"""The shop's records, as its books keep them."""

from __future__ import annotations

from datetime import date
from decimal import Decimal
from enum import StrEnum
from typing import Literal

from pydantic import Field

from tools.values import Record


class OrderStatus(StrEnum):
    PENDING = "pending"  #: Placed, not paid.
    PAID = "paid"  #: Paid, not packed: may still be cancelled without loss.
    PACKED = "packed"  #: Packed; cancelling needs the warehouse to unpack it.
    SHIPPED = "shipped"
    DELIVERED = "delivered"
    CANCELLED = "cancelled"
    RETURNED = "returned"
    REFUNDED = "refunded"


class OrderLine(Record):
    product: str
    sku: str
    quantity: int = Field(ge=0)  #: Pieces still in the order.
    unit_price: Decimal
    cancelled: int = Field(default=0, ge=0)  #: Pieces taken out before the order was sent.
    refunded: int = Field(default=0, ge=0)  #: Pieces paid back, of those kept and those taken out.


class Order(Record):
    number: str  #: ``SB-10482``
    status: OrderStatus
    placed_on: date
    lines: tuple[OrderLine, ...]
    shipping: Decimal
    total: Decimal
    currency: str = "EUR"
    payment: Literal["card", "paypal", "invoice"]
    delivery_address: str
    carrier: str | None = None
    tracking: str | None = None
    expected_on: date | None = None
    delivered_on: date | None = None
    refunded: Decimal = Decimal(0)

    @property
    def kept(self) -> tuple[OrderLine, ...]:
        """The lines of which something is still in the order."""
        return tuple(line for line in self.lines if line.quantity)


class Invoice(Record):
    number: str  #: ``INV-20931``
    order_number: str | None
    issued_on: date
    total: Decimal
    currency: str = "EUR"
    paid: bool
    sent_to: str
    times_sent: int = 1


class Subscription(Record):
    number: str  #: ``SUB-4021``
    plan: Literal["care", "care_plus", "fleet"]
    status: Literal["active", "paused", "cancelled"]
    price: Decimal
    currency: str = "EUR"
    started_on: date
    renews_on: date | None
    paused_until: date | None = None
    ends_on: date | None = None  #: Last day of the paid time, once cancelled.
    cancel_reason: str | None = None


class Refund(Record):
    number: str  #: ``RF-30112``
    order_number: str
    amount: Decimal
    currency: str = "EUR"
    status: Literal["requested", "approved", "paid", "rejected"]
    method: str
    requested_on: date
    reason: str | None = None


class Charge(Record):
    number: str  #: ``CH-50007``
    order_number: str
    product: str
    amount: Decimal
    currency: str = "EUR"
    charged_on: date
