"""Operations that move money: a person approves each one before it runs."""

from __future__ import annotations

import re
from datetime import date
from decimal import Decimal
from typing import Annotated, Literal

from pydantic import Field, JsonValue, StringConstraints

from domains.northfell.data_model import Charge, Order, OrderLine, OrderStatus, Refund
from domains.northfell.labels import PAYMENT_TITLES, day, listed, money, order_label
from domains.northfell.operations.picking import (
    Match,
    Plan,
    candidates,
    choose,
    copied_field,
    from_record_field,
    is_open,
    named,
    number_field,
    writing_operation,
)
from domains.northfell.operations.read import NO_ORDERS, WHICH_ORDER, OrderNumber
from domains.northfell.operations.write import NOT_SENT, months_later, paid_for
from domains.northfell.shop import Shop
from tools.values import (
    Arguments,
    Consequence,
    NotAllowed,
    Operation,
    OutsideEffect,
    PaymentOrder,
    Preview,
    Record,
    RecordNotFound,
)

RETURN_DAYS = 30
RETURN_LABEL = Decimal("3.95")
WARRANTY_YEARS = 2
LONG_WARRANTY_YEARS = 5
#: Stock numbers of tents and packs, which carry the longer warranty.
LONG_WARRANTY_SKUS = ("TNT-", "PCK-")

RefundReason = Literal["damaged", "late", "wrong_item", "not_as_described", "unwanted", "other"]
#: How customers put each reason; without such words, or some that mean the same, no reason is taken down.
REASONS_SAID: dict[str, JsonValue] = {
    "damaged": [
        "broken", "broke", "torn", "ripped", "leaks", "leaking", "has a hole", "defective", "faulty", "scratched",
        "cracked", "dented", "in pieces", "fell apart", "stopped working", "does not work", "doesn't work", "not working",
        "a defect", "bent",
    ],
    "late": [
        "too late", "arrived late", "came late", "delayed", "took forever", "took too long", "days late", "weeks late",
        "still isn't here", "still not here", "hasn't arrived", "has not arrived", "never arrived", "not arrived yet",
    ],
    "wrong_item": [
        "wrong size", "wrong colour", "wrong color", "wrong model", "wrong product", "wrong one", "wrong thing",
        "not what I ordered", "something else", "someone else's order", "another product",
    ],
    "not_as_described": [
        "isn't as described", "nothing like the picture", "not like the picture", "than described", "as promised",
        "different from the description", "than it says", "than stated", "not what was described",
    ],
    "unwanted": [
        "changed my mind", "don't want", "do not want", "no longer want", "don't need", "no longer need",
        "no longer needed", "not for me", "don't like", "on impulse", "regret", "doesn't fit my style",
    ],
}  # fmt: skip
#: Reasons that are about the goods themselves, so the warranty counts and not the return window.
FAULTS = {"damaged", "not_as_described"}


def warranty_ends(order: Order, line: OrderLine) -> date:
    years = LONG_WARRANTY_YEARS if line.sku.startswith(LONG_WARRANTY_SKUS) else WARRANTY_YEARS
    return months_later(order.delivered_on or order.placed_on, 12 * years)


# --- request_refund ----------------------------------------------------------------------------


class RequestRefund(Arguments):
    order_number: OrderNumber = number_field("order", WHICH_ORDER)
    reason: RefundReason | None = Field(
        default=None,
        description="What is the reason: damaged, late, wrong item, not as described, or unwanted?",
        json_schema_extra={"x-synonyms": REASONS_SAID},
    )
    amount: Decimal | None = from_record_field("What is paid back, as the preview worked it out.")


class RefundRequested(Record):
    refund_number: str
    order_number: str
    amount: Decimal
    currency: str
    method: str
    status: str


def refund_refusal(shop: Shop, order: Order, reason: RefundReason | None) -> str | None:
    """Why the rules do not allow a refund of this order for this reason; None when they do."""
    number = order.number
    requested = [
        refund
        for refund in shop.refunds()
        if refund.order_number == number and refund.status == "requested"
    ]
    if requested:
        return f"A refund for {number} has already been requested: {requested[0].number}."
    paid = paid_for(shop, order)
    if paid == 0:
        return f"Nothing has been paid for {number}, so there is nothing to refund."
    if order.refunded >= paid or order.status is OrderStatus.REFUNDED:
        return f"{number} has already been refunded."
    if order.status is OrderStatus.SHIPPED:
        return _refusal_on_its_way(shop, order, reason)
    if order.status is OrderStatus.DELIVERED:
        return _refusal_delivered(shop, order, reason)
    return None


def _refusal_on_its_way(shop: Shop, order: Order, reason: RefundReason | None) -> str | None:
    if reason in {None, "unwanted", "other"}:
        return (
            f"{order.number} is on its way. Once it has arrived you can return it unused "
            f"within {RETURN_DAYS} days and get the money back."
        )
    if reason == "late" and order.expected_on is not None and order.expected_on >= shop.today:
        return (
            f"{order.number} is expected by {day(order.expected_on, shop.today)}, "
            "so it is not late yet."
        )
    return None


def _refusal_delivered(shop: Shop, order: Order, reason: RefundReason | None) -> str | None:
    arrived = order.delivered_on or order.placed_on
    if (shop.today - arrived).days <= RETURN_DAYS:
        return None
    if reason in FAULTS:
        ends = max(warranty_ends(order, line) for line in order.lines)
        if ends >= shop.today:
            return None
        return f"The warranty of {order.number} ended on {day(ends, shop.today)}."
    return (
        f"{order.number} was delivered on {day(arrived, shop.today)}; returns are possible for "
        f"{RETURN_DAYS} days. If something is faulty, tell me what is damaged: the warranty is longer."
    )


def _match_refundable(shop: Shop, given: RequestRefund) -> Match[Order]:
    if given.order_number is not None:
        return named("order", given.order_number, shop.orders())
    orders = shop.orders()
    fitting = [one for one in orders if refund_refusal(shop, one, given.reason) is None]
    # With none the rules allow, the newest order's refusal tells why.
    return choose(fitting or orders[:1], none=NO_ORDERS)


def _plan_refund(shop: Shop, given: RequestRefund, order: Order) -> Plan:
    refusal = refund_refusal(shop, order, given.reason)
    if refusal is not None:
        return Plan(refusal=refusal)
    number = order.number
    left = paid_for(shop, order) - order.refunded
    if given.amount is not None and not 0 < given.amount <= left:
        return Plan(refusal=f"At most {money(left, order.currency)} can be refunded for {number}.")
    amount = left if given.amount is None else given.amount
    shown = money(amount, order.currency)
    effects = [f"{shown} for {number} go back to your {PAYMENT_TITLES[order.payment]}."]
    if order.status in NOT_SENT:
        effects.append(f"{number} is cancelled with it and will not be sent.")
    if order.status is OrderStatus.DELIVERED and given.reason not in FAULTS | {"wrong_item"}:
        label = "free with your plan" if _is_member(shop) else money(RETURN_LABEL)
        effects.append(f"The goods come back to us unused; the return label is {label}.")
    effects.append("A colleague approves it first; it is paid within 5-7 working days after that.")
    return Plan(effects=tuple(effects), completed={"amount": str(amount)})


def _is_member(shop: Shop) -> bool:
    return any(one.status == "active" for one in shop.subscriptions())


def _request_refund(shop: Shop, given: RequestRefund, order: Order) -> RefundRequested:
    left = paid_for(shop, order) - order.refunded
    amount = left if given.amount is None else given.amount
    refund = shop.add_refund(
        Refund(
            number="",
            order_number=order.number,
            amount=amount,
            currency=order.currency,
            status="approved",
            method=order.payment,
            requested_on=shop.today,
            reason=given.reason,
        )
    )
    status = OrderStatus.CANCELLED if order.status in NOT_SENT else order.status
    if amount == left:
        status = OrderStatus.REFUNDED
    shop.save_order(
        order.model_copy(update={"status": status, "refunded": order.refunded + amount})
    )
    return RefundRequested(
        refund_number=refund.number,
        order_number=order.number,
        amount=amount,
        currency=order.currency,
        method=PAYMENT_TITLES[order.payment],
        status=refund.status,
    )


def _begin_refund(shop: Shop, given: RequestRefund, reference: str) -> PaymentOrder:
    order = _match_refundable(shop, given).only()
    refusal = _plan_refund(shop, given, order).refusal
    if refusal is not None:
        raise NotAllowed(refusal)
    left = paid_for(shop, order) - order.refunded
    amount = left if given.amount is None else given.amount
    # Requested, it keeps every other refund of this order away until the service has answered.
    refund = shop.add_refund(
        Refund(
            number="",
            order_number=order.number,
            amount=amount,
            currency=order.currency,
            status="requested",
            method=order.payment,
            requested_on=shop.today,
            reason=given.reason,
        )
    )
    return PaymentOrder(
        kind="refund",
        reference=reference,
        amount=amount,
        currency=order.currency,
        method=order.payment,
        details={"refund": refund.number, "order": order.number},
    )


def _reserved(shop: Shop, paid: PaymentOrder) -> Refund:
    for one in shop.refunds():
        if one.number == paid.details["refund"]:
            return one
    raise RecordNotFound


def _finish_refund(shop: Shop, paid: PaymentOrder) -> RefundRequested:
    refund = _reserved(shop, paid)
    order = shop.order(refund.order_number)
    if order is None:
        raise RecordNotFound
    shop.save_refund(refund.model_copy(update={"status": "approved"}))
    left = paid_for(shop, order) - order.refunded
    status = OrderStatus.CANCELLED if order.status in NOT_SENT else order.status
    if paid.amount >= left:
        status = OrderStatus.REFUNDED
    shop.save_order(
        order.model_copy(update={"status": status, "refunded": order.refunded + paid.amount})
    )
    return RefundRequested(
        refund_number=refund.number,
        order_number=order.number,
        amount=paid.amount,
        currency=paid.currency,
        method=PAYMENT_TITLES[order.payment],
        status="approved",
    )


def _undo_refund(shop: Shop, unpaid: PaymentOrder) -> None:
    shop.save_refund(_reserved(shop, unpaid).model_copy(update={"status": "rejected"}))


request_refund = writing_operation(
    name="request_refund",
    title="Refund an order",
    summary="Pay an order back to the original payment method, after a person approved it.",
    example="My stove arrived damaged, I want my money back for SB-10482.",
    arguments=RequestRefund,
    result=RefundRequested,
    consequence=Consequence.IRREVERSIBLE,
    field="order_number",
    match=_match_refundable,
    label=order_label,
    plan=_plan_refund,
    carry_out=_request_refund,
    outside=OutsideEffect(begin=_begin_refund, finish=_finish_refund, undo=_undo_refund),
)

# --- charge_replacement ------------------------------------------------------------------------


class ChargeReplacement(Arguments):
    order_number: OrderNumber = number_field("order", WHICH_ORDER)
    product: Annotated[
        str, StringConstraints(strip_whitespace=True, min_length=2, max_length=200)
    ] = copied_field("Which product do you need a replacement for?", default=...)
    amount: Decimal | None = from_record_field("What is charged, as the preview worked it out.")


class ReplacementCharged(Record):
    charge_number: str
    order_number: str
    product: str
    amount: Decimal
    currency: str
    method: str


_FILLER = {"the", "a", "an", "my", "one", "of", "for", "new", "replacement", "item", "order"}


def _words(text: str) -> set[str]:
    words = re.findall(r"[a-z0-9]+", text.lower())
    return {word[:-1] if len(word) > 3 and word.endswith("s") else word for word in words} - _FILLER


def lines_for(order: Order, product: str) -> list[OrderLine]:
    """The order's lines that the customer's words fit best; none when no word fits."""
    asked = _words(product)
    fits = [len(asked & _words(line.product)) for line in order.lines]
    best = max(fits, default=0)
    return [line for line, fit in zip(order.lines, fits, strict=True) if best and fit == best]


def _match_bought(shop: Shop, given: ChargeReplacement) -> Match[Order]:
    if given.order_number is not None:
        return named("order", given.order_number, shop.orders())
    sent = {OrderStatus.DELIVERED, OrderStatus.SHIPPED}
    bought = [one for one in shop.orders() if lines_for(one, given.product)]
    if not bought:
        asked = " ".join(given.product.split())[:60]
        return Match(refusal=f"I can't find “{asked}” in any of your orders.")
    return choose(bought, lambda one: one.status in sent, is_open, none=NO_ORDERS)


def _plan_replacement(shop: Shop, given: ChargeReplacement, order: Order) -> Plan:
    number = order.number
    if order.status in NOT_SENT:
        return Plan(refusal=f"{number} has not been sent yet, so there is nothing to replace.")
    if order.status not in {OrderStatus.DELIVERED, OrderStatus.SHIPPED}:
        return Plan(refusal=f"{number} is {order.status.value}, so nothing of it can be replaced.")
    lines = lines_for(order, given.product)
    if not lines:
        names = listed([line.product for line in order.lines])
        asked = " ".join(given.product.split())[:60]
        return Plan(refusal=f"There is no “{asked}” in {number}; it contains {names}.")
    line = lines[0]
    if given.amount is not None and given.amount != line.unit_price:
        return Plan(
            refusal=f"A {line.product} costs {money(line.unit_price, order.currency)}, nothing else."
        )
    price = money(line.unit_price, order.currency)
    effects = [
        f"One more {line.product} is sent, and {price} are charged to your "
        f"{PAYMENT_TITLES[order.payment]}.",
        "A colleague approves it first; a charge cannot be undone.",
    ]
    ends = warranty_ends(order, line)
    if ends >= shop.today:
        effects.append(
            f"It is under warranty until {day(ends, shop.today)}: if it is faulty, say so and I "
            "open a warranty ticket instead."
        )
    return Plan(
        effects=tuple(effects), completed={"product": line.product, "amount": str(line.unit_price)}
    )


def _charge_replacement(shop: Shop, given: ChargeReplacement, order: Order) -> ReplacementCharged:
    line = _one_line(order, given.product)
    charge = shop.add_charge(
        Charge(
            number="",
            order_number=order.number,
            product=line.product,
            amount=line.unit_price,
            currency=order.currency,
            charged_on=shop.today,
        )
    )
    return ReplacementCharged(
        charge_number=charge.number,
        order_number=order.number,
        product=line.product,
        amount=line.unit_price,
        currency=order.currency,
        method=PAYMENT_TITLES[order.payment],
    )


def _begin_charge(shop: Shop, given: ChargeReplacement, reference: str) -> PaymentOrder:
    order = _match_bought(shop, given).only()
    refusal = _plan_replacement(shop, given, order).refusal
    if refusal is not None:
        raise NotAllowed(refusal)
    line = _one_line(order, given.product)
    return PaymentOrder(
        kind="charge",
        reference=reference,
        amount=line.unit_price,
        currency=order.currency,
        method=order.payment,
        details={"order": order.number, "product": line.product},
    )


def _finish_charge(shop: Shop, paid: PaymentOrder) -> ReplacementCharged:
    charge = shop.add_charge(
        Charge(
            number="",
            order_number=str(paid.details["order"]),
            product=str(paid.details["product"]),
            amount=paid.amount,
            currency=paid.currency,
            charged_on=shop.today,
        )
    )
    return ReplacementCharged(
        charge_number=charge.number,
        order_number=charge.order_number,
        product=charge.product,
        amount=charge.amount,
        currency=charge.currency,
        method=PAYMENT_TITLES[paid.method],
    )


def _undo_charge(shop: Shop, unpaid: PaymentOrder) -> None:
    """Nothing is booked before the service has charged, so there is nothing to give back."""


def _one_line(order: Order, product: str) -> OrderLine:
    lines = lines_for(order, product)
    if len(lines) != 1:
        names = listed([line.product for line in lines], "or")
        raise NotAllowed(f"Which product do you mean: {names}?")
    return lines[0]


_single_order = writing_operation(
    name="charge_replacement",
    title="Order a replacement",
    summary="Send one more of a product and charge its price, after a person approved it.",
    example="I lost the poles: charge me for a replacement Ridgeline Tent from SB-10482.",
    arguments=ChargeReplacement,
    result=ReplacementCharged,
    consequence=Consequence.IRREVERSIBLE,
    field="order_number",
    match=_match_bought,
    label=order_label,
    plan=_plan_replacement,
    carry_out=_charge_replacement,
)


def _preview_replacement(shop: Shop, given: ChargeReplacement) -> Preview:
    """As for any write, but one order may hold several products that the words fit."""
    found = _match_bought(shop, given)
    if len(found.records) == 1:
        order = found.only()
        lines = lines_for(order, given.product)
        if len(lines) > 1 and order.status not in NOT_SENT:
            base = candidates(
                found, given, "order_number", order_label, shop.today, Consequence.IRREVERSIBLE
            )
            return base.model_copy(
                update={
                    "candidates": tuple(
                        f"{line.product}, {money(line.unit_price)}" for line in lines
                    ),
                    "candidate_arguments": tuple(
                        base.arguments | {"product": line.product} for line in lines
                    ),
                }
            )
    return _single_order.preview(shop, given)


charge_replacement = Operation(
    name=_single_order.name,
    title=_single_order.title,
    summary=_single_order.summary,
    arguments=_single_order.arguments,
    result=_single_order.result,
    consequence=_single_order.consequence,
    preview=_preview_replacement,
    run=_single_order.run,
    example=_single_order.example,
    confirm=True,
    outside=OutsideEffect(begin=_begin_charge, finish=_finish_charge, undo=_undo_charge),
)

MONEY = (request_refund, charge_replacement)
