"""The shop's records as the engine sees them: what customers call them, what they hold, what may be said of them."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date
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
from domains.northfell.operations.picking import is_open
from domains.northfell.operations.write import paid_for
from domains.northfell.shop import Shop
from tools.records import Item, RecordView

#: What customers call a product of each kind, by the beginning of its stock number: English, German, French,
#: Spanish, Italian, Dutch.
_CALLED: dict[str, tuple[str, ...]] = {
    "TNT-": ("tent", "tents", "tarp", "shelter", "zelt", "zelte", "tente", "tienda", "tenda", "dome"),
    "PCK-": ("pack", "backpack", "rucksack", "bag", "daypack", "sac à dos", "mochila", "zaino", "rugzak", "duffel"),
    "BOT-": (
        "boots", "boot", "shoes", "shoe", "footwear", "runners", "trainers", "stiefel", "schuhe", "schuh", "wanderschuhe",
        "bergschuhe", "laufschuhe", "chaussures", "bottes", "botas", "zapatos", "scarponi", "scarpe", "schoenen",
    ),
    "STV-": (
        "stove", "cooker", "burner", "kocher", "gaskocher", "campingkocher", "réchaud", "hornillo", "fornello", "brander",
    ),
    "JKT-": ("jacket", "coat", "jacke", "veste", "chaqueta", "giacca", "jas"),
    "CLO-": ("clothes", "clothing", "kleidung"),
    "SLP-70": ("sleeping bag", "bag", "schlafsack", "sac de couchage", "saco de dormir", "sacco a pelo", "slaapzak"),
    "SLP-71": ("mat", "sleeping mat", "mattress", "pad", "matte", "isomatte", "schlafmatte", "matelas", "esterilla"),
    "LGT-80": ("headlamp", "head torch", "torch", "lamp", "light", "stirnlampe", "lampe", "frontale", "linterna"),
    "LGT-810": ("lantern", "lamp", "light", "laterne", "lampe", "lanterne", "linterna"),
    "LGT-815": ("power bank", "powerbank", "battery", "akku"),
    "NAV-910": ("poles", "pole", "trekking poles", "sticks", "stöcke", "wanderstöcke", "trekkingstöcke", "bâtons"),
    "NAV-901": ("compass", "kompass"),
    "HYD-951": ("filter", "wasserfilter"),
    "HYD-952": ("bottle", "bottles", "flasche", "flaschen", "trinkflasche", "gourde", "botella"),
    "HYD-955": ("bladder", "trinkblase"),
    "FAK-961": ("first aid", "first aid kit", "kit", "kits", "erste-hilfe-set", "verbandskasten"),
}  # fmt: skip
#: And single products beyond that.
_ALSO: dict[str, tuple[str, ...]] = {
    "JKT-501": ("shell", "rain jacket", "raincoat", "hardshell", "regenjacke"),
    "JKT-502": ("shell", "light jacket", "rain jacket"),
    "JKT-510": ("down jacket", "puffer", "daunenjacke", "doudoune"),
    "JKT-515": ("fleece", "fleecejacke"),
    "JKT-520": ("poncho", "regenponcho"),
    "JKT-525": ("vest", "weste"),
    "CLO-610": ("trousers", "pants", "trekking pants", "hose", "trekkinghose", "pantalon", "pantalones"),
    "CLO-615": ("trousers", "rain trousers", "rain pants", "regenhose", "hose"),
    "CLO-620": ("hat", "beanie", "mütze"),
    "CLO-625": ("gloves", "handschuhe"),
    "CLO-630": ("socks", "socken", "chaussettes"),
    "SLP-715": ("foam mat", "roll mat", "schaummatte"),
    "SLP-720": ("liner", "inlett"),
    "SLP-725": ("pillow", "kissen"),
    "SLP-730": ("hammock", "hängematte"),
    "STV-402": ("duo",),
    "STV-420": ("kettle", "kessel"),
    "STV-425": ("cook set", "pots", "pans", "kochset", "töpfe"),
    "STV-430": ("spoon", "löffel"),
    "STV-435": ("fire steel", "feuerstahl"),
    "BOT-320": ("mountaineering boots", "crampon boots", "bergstiefel"),
    "BOT-315": ("trail runners", "trail shoes", "running shoes", "trailschuhe"),
    "BOT-310": ("approach shoes", "zustiegsschuhe"),
}  # fmt: skip


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
            items=tuple(_item(line) for line in order.lines),
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
    called = [
        word for start, words in _CALLED.items() if line.sku.startswith(start) for word in words
    ]
    return Item(
        id=line.sku,
        name=line.product,
        quantity=line.quantity,
        price=line.unit_price,
        words=tuple(dict.fromkeys([*called, *_ALSO.get(line.sku, ())])),
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
        "total": str(order.total),
        "currency": order.currency,
    }
    if order.expected_on is not None:
        facts["expected_in_days"] = (order.expected_on - today).days
        facts["late"] = order.status.value == "shipped" and order.expected_on < today
    if order.delivered_on is not None:
        since = (today - order.delivered_on).days
        facts |= {
            "days_since_delivery": since,
            "return_days_left": RETURN_DAYS - since,
            "in_warranty": max(warranty_ends(order, line) for line in order.lines) >= today,
        }
    return facts


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
            facts=_invoice_facts(one),
        )


def _invoice_facts(one: Invoice) -> dict[str, JsonValue]:
    return {
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
            facts=_refund_facts(one),
        )


def _refund_facts(one: Refund) -> dict[str, JsonValue]:
    return {
        "status": one.status,
        "amount": str(one.amount),
        "currency": one.currency,
        "method": one.method,
        "reason": one.reason,
        "order_number": one.order_number,
    }


def _days(**named: date | None) -> dict[str, date]:
    return {name: when for name, when in named.items() if when is not None}
