"""The shop's records as the engine sees them: what customers call them, what they hold, what may be said of them."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date, timedelta
from decimal import Decimal

from pydantic import JsonValue

from domains.northfell.data_model import Invoice, Order, OrderLine, Refund, Subscription
from domains.northfell.labels import (
    PLAN_TITLES,
    invoice_label,
    order_label,
    refund_label,
    subscription_label,
)
from domains.northfell.operations.money import RETURN_DAYS, warranty_ends
from domains.northfell.operations.naming import words_for
from domains.northfell.operations.picking import is_open
from domains.northfell.operations.write import paid_for
from domains.northfell.shop import Shop
from tools.records import Item, RecordView


def views_of(shop: Shop) -> tuple[RecordView, ...]:
    """Everything on the customer's account, newest first within a kind."""
    return (
        *_orders(shop),
        *_invoices(shop),
        *_subscriptions(shop),
        *_refunds(shop),
    )


def _orders(shop: Shop) -> Iterator[RecordView]:
    for order in shop.orders():
        yield RecordView(
            kind="order",
            id=order.number,
            label=order_label(order, shop.today),
            state=order.status.value,
            open=is_open(order),
            items=tuple(_item(line) for line in order.kept or order.lines),
            dates=_days(
                placed_on=order.placed_on,
                expected_on=order.expected_on,
                delivered_on=order.delivered_on,
            ),
            amount=order.total,
            currency=order.currency,
            words=tuple(word for word in (order.tracking, order.carrier) if word),
            facts=_order_facts(shop, order),
        )


def _item(line: OrderLine) -> Item:
    return Item(
        id=line.sku,
        name=line.product,
        quantity=line.quantity,
        price=line.unit_price,
        words=words_for(line.sku),
    )


def _order_facts(shop: Shop, order: Order) -> dict[str, JsonValue]:
    today, paid = shop.today, paid_for(shop, order)
    facts: dict[str, JsonValue] = {
        "status": order.status.value,
        "days_since_placed": (today - order.placed_on).days,
        "paid": paid > 0,
        "refundable": str(max(paid - order.refunded, Decimal(0))),
        "payment": order.payment,
        "tracking": order.tracking,
        "carrier": order.carrier,
        "address": order.delivery_address,
        "items": {line.sku: _item_facts(shop, order, line) for line in order.kept},
        "total": str(order.total),
        "currency": order.currency,
    }
    if order.expected_on is not None:
        facts["expected_in_days"] = (order.expected_on - today).days
        facts["late"] = order.status.value == "shipped" and order.expected_on < today
    if order.delivered_on is not None:
        since = (today - order.delivered_on).days
        ends = max(warranty_ends(order, line) for line in order.lines)
        facts |= {
            "days_since_delivery": since,
            "return_days_left": RETURN_DAYS - since,
            "return_until": str(order.delivered_on + timedelta(days=RETURN_DAYS)),
            "warranty_until": str(ends),
            "in_warranty": ends >= today,
        }
    return facts


def _item_facts(shop: Shop, order: Order, line: OrderLine) -> dict[str, JsonValue]:
    """What may be said of one line beyond what holds for the order."""
    if order.delivered_on is None:
        return {}
    ends = warranty_ends(order, line)
    return {"warranty_until": str(ends), "in_warranty": ends >= shop.today}


def _invoices(shop: Shop) -> Iterator[RecordView]:
    lines = {order.number: order.lines for order in shop.orders()}
    for one in shop.invoices():
        yield RecordView(
            kind="invoice",
            id=one.number,
            label=invoice_label(one, shop.today),
            state="paid" if one.paid else "unpaid",
            open=not one.paid,
            items=tuple(_item(line) for line in lines.get(one.order_number or "", ())),
            dates={"issued_on": one.issued_on},
            amount=one.total,
            currency=one.currency,
            parent=one.order_number,
            facts=_invoice_facts(one, shop.today),
        )


def _invoice_facts(one: Invoice, today: date) -> dict[str, JsonValue]:
    return {
        "days_since_issued": (today - one.issued_on).days,
        "paid": one.paid,
        "total": str(one.total),
        "currency": one.currency,
        "sent_to": one.sent_to,
    }


def _subscriptions(shop: Shop) -> Iterator[RecordView]:
    for one in shop.subscriptions():
        title = PLAN_TITLES[one.plan]
        yield RecordView(
            kind="subscription",
            id=one.number,
            label=subscription_label(one, shop.today),
            state=one.status,
            open=one.status != "cancelled",
            dates=_days(
                started_on=one.started_on,
                renews_on=one.renews_on,
                paused_until=one.paused_until,
                ends_on=one.ends_on,
            ),
            amount=one.price,
            currency=one.currency,
            words=(
                title,
                f"{title} plan",
                "plan",
                "subscription",
                "membership",
                "abo",
                "abonnement",
            ),
            facts=_subscription_facts(one),
        )


def _subscription_facts(one: Subscription) -> dict[str, JsonValue]:
    return {
        "plan": PLAN_TITLES[one.plan],
        "status": one.status,
        "price": str(one.price),
        "currency": one.currency,
    }


def _refunds(shop: Shop) -> Iterator[RecordView]:
    lines = {order.number: order.lines for order in shop.orders()}
    for one in shop.refunds():
        yield RecordView(
            kind="refund",
            id=one.number,
            label=refund_label(one, shop.today),
            state=one.status,
            open=one.status in ("requested", "approved"),
            items=tuple(_item(line) for line in lines.get(one.order_number, ())),
            dates={"requested_on": one.requested_on},
            amount=one.amount,
            currency=one.currency,
            parent=one.order_number,
            facts=_refund_facts(one, shop.today),
        )


def _refund_facts(one: Refund, today: date) -> dict[str, JsonValue]:
    return {
        "days_since_requested": (today - one.requested_on).days,
        "status": one.status,
        "amount": str(one.amount),
        "currency": one.currency,
        "method": one.method,
        "reason": one.reason,
        "order_number": one.order_number,
    }


def _days(**named: date | None) -> dict[str, date]:
    return {name: when for name, when in named.items() if when is not None}
