"""How the shop says dates, sums and records, in previews, replies and labels alike."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date
from decimal import Decimal

from domains.northfell.data_model import Invoice, Order, Refund, Subscription

PLAN_TITLES = {"care": "Care", "care_plus": "Care Plus", "fleet": "Fleet"}
PAYMENT_TITLES = {"card": "card", "paypal": "PayPal account", "invoice": "bank account"}


def day(when: date, today: date) -> str:
    """``3 Nov``, with the year where it is not this one."""
    shown = f"{when.day} {when:%b}"
    return shown if when.year == today.year else f"{shown} {when.year}"


def money(amount: Decimal, currency: str = "EUR") -> str:
    return f"{amount:,.2f} {currency}"


def listed(names: Sequence[str], last: str = "and") -> str:
    """``a, b and c``."""
    if len(names) < 2:
        return "".join(names)
    return f"{', '.join(names[:-1])} {last} {names[-1]}"


def contents(order: Order) -> str:
    """What is in the parcel, short: the first product and how many more."""
    first, *others = order.kept or order.lines
    shown = first.product if first.quantity == 1 else f"{first.quantity} x {first.product}"
    return f"{shown} and {len(others)} more" if others else shown


def order_label(order: Order, today: date) -> str:
    placed = day(order.placed_on, today)
    return f"{order.number}, placed {placed}, {contents(order)}, {order.status.value}"


def invoice_label(invoice: Invoice, today: date) -> str:
    state = "paid" if invoice.paid else "not paid yet"
    issued = day(invoice.issued_on, today)
    return f"{invoice.number}, {issued}, {money(invoice.total, invoice.currency)}, {state}"


def subscription_label(subscription: Subscription, today: date) -> str:
    plan = PLAN_TITLES[subscription.plan]
    until = subscription.paused_until
    state = f"paused until {day(until, today)}" if until else subscription.status
    return f"{subscription.number}, {plan} plan, {state}"


def refund_label(refund: Refund, today: date) -> str:
    asked = day(refund.requested_on, today)
    amount = money(refund.amount, refund.currency)
    return f"{refund.number}, {amount} for {refund.order_number}, asked {asked}, {refund.status}"
