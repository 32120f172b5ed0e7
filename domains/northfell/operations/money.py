"""Paying back: a person approves each refund before it runs."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from typing import Annotated, Any, Literal, cast

from pydantic import Field, JsonValue

from domains.northfell.data_model import Order, OrderLine, OrderStatus, Refund
from domains.northfell.demo_accounts import FREE_SHIPPING_FROM
from domains.northfell.labels import account, listed, order_label, say
from domains.northfell.operations.naming import lines_named
from domains.northfell.operations.parts import (
    Parts,
    Taken,
    choices_of,
    items_field,
    names_all,
    not_bought,
    not_in,
    out_of,
    packed_already,
    part_field,
    parts_of,
    settled,
    taken_out,
)
from domains.northfell.operations.picking import (
    Match,
    WritePlan,
    allowed,
    choose,
    named,
    number_field,
    writing_operation,
)
from domains.northfell.operations.read import WHICH_ORDER, OrderNumber
from domains.northfell.operations.write import NOT_SENT, months_later, paid_for
from domains.northfell.shop import Shop
from tools.values import (
    Arguments,
    Consequence,
    Instead,
    NotAllowed,
    OutsideEffect,
    PaymentOrder,
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
        "a defect", "bent", "kaputt", "defekt", "beschädigt", "gerissen", "zerrissen", "undicht", "zerkratzt", "verbogen", "gebrochen",
        "zerbrochen", "funktioniert nicht", "geht nicht mehr", "hat ein Loch", "fehlerhaft", "löst sich", "gelöst", "abgerissen",
    ],
    "late": [
        "too late", "arrived late", "came late", "delayed", "took forever", "took too long", "days late", "weeks late",
        "still isn't here", "still not here", "hasn't arrived", "has not arrived", "never arrived", "not arrived yet",
        "zu spät", "verspätet", "immer noch nicht da", "noch nicht da", "nie angekommen", "nicht angekommen", "dauert zu lange",
    ],
    "wrong_item": [
        "wrong size", "wrong colour", "wrong color", "wrong model", "wrong product", "wrong one", "wrong thing",
        "not what I ordered", "something else", "someone else's order", "another product",
        "falsche Größe", "falsche Farbe", "falscher Artikel", "falsches Modell", "falsch geliefert", "das Falsche",
    ],
    "not_as_described": [
        "isn't as described", "nothing like the picture", "not like the picture", "than described", "as promised",
        "different from the description", "than it says", "than stated", "not what was described",
        "nicht wie beschrieben", "anders als beschrieben", "nicht wie auf dem Bild", "anders als auf dem Bild",
    ],
    "unwanted": [
        "changed my mind", "don't want it", "don't want them", "don't want the", "don't want this", "do not want it", "do not want them", "no longer want", "don't need", "no longer need",
        "no longer needed", "not for me", "don't like", "on impulse", "regret", "doesn't fit my style",
        "gefällt mir nicht", "brauche ich nicht", "brauch ich nicht", "nicht mehr gebraucht", "anders überlegt", "will ich nicht mehr",
        "möchte ich nicht mehr", "widerrufe",
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
        json_schema_extra={"x-synonyms": REASONS_SAID, "x-why": True},
    )
    items: Parts = items_field("Which items of the order is it about, and how many of each?")
    #: What the customer named; without it the preview works it out.
    amount: Annotated[Decimal, Field(decimal_places=2, max_digits=10)] | None = part_field(
        "amount", "Which amount should be paid back?"
    )


class RefundRequested(Record):
    refund_number: str
    order_number: str
    amount: Decimal
    currency: str
    method: str
    status: str
    items: str = ""  #: What it is for, where it is not for the whole order.


@dataclass(frozen=True)
class _Due:
    """What a refund would pay and book."""

    amount: Decimal
    #: ``whole``: everything that is left. ``items``: pieces go back or are not sent. ``cancelled``: pieces that
    #: were taken out before. ``part``: a price reduction; nothing of the order changes.
    kind: Literal["whole", "items", "cancelled", "part"]
    taken: tuple[Taken, ...] = ()
    shipping: Decimal = Decimal(0)  #: Newly owed for what is still sent, taken off the amount.


def refund_refusal(
    shop: Shop, order: Order, reason: RefundReason | None, lines: Sequence[OrderLine] = ()
) -> str | None:
    """Why the rules do not allow a refund of this order, or of these lines of it; None when they do."""
    number = order.number
    requested = [
        refund
        for refund in shop.refunds()
        if refund.order_number == number and refund.status == "requested"
    ]
    if requested:
        return say("refusals.already_requested", number=number, refund=requested[0].number)
    paid = paid_for(shop, order)
    if paid == 0:
        return say("refusals.nothing_paid", number=number)
    if order.refunded >= paid or order.status is OrderStatus.REFUNDED:
        return say("refusals.already_refunded", number=number)
    if order.status is OrderStatus.SHIPPED:
        return _refusal_on_its_way(shop, order, reason)
    if order.status is OrderStatus.DELIVERED:
        return _refusal_delivered(shop, order, reason, lines or order.lines)
    return None


def _refusal_on_its_way(shop: Shop, order: Order, reason: RefundReason | None) -> str | None:
    overdue = order.expected_on is not None and order.expected_on < shop.today
    if reason is None and overdue:
        return None  # That it is late need not be said: the books show it.
    if reason in {None, "unwanted", "other"}:
        return say("refusals.on_its_way", number=order.number, days=RETURN_DAYS)
    if reason == "late" and order.expected_on is not None and order.expected_on >= shop.today:
        return say(
            "refusals.not_late",
            today=shop.today,
            number=order.number,
            expected=order.expected_on,
        )
    return None


def _refusal_delivered(
    shop: Shop, order: Order, reason: RefundReason | None, lines: Sequence[OrderLine]
) -> str | None:
    arrived = order.delivered_on or order.placed_on
    if (shop.today - arrived).days <= RETURN_DAYS:
        return None
    if reason in FAULTS:
        ends = max(warranty_ends(order, line) for line in lines)
        if ends >= shop.today:
            return None
        return say("refusals.warranty_over", today=shop.today, number=order.number, ended=ends)
    return say(
        "refusals.returns_over",
        today=shop.today,
        number=order.number,
        arrived=arrived,
        days=RETURN_DAYS,
    )


def _match_refundable(shop: Shop, given: RequestRefund) -> Match[Order]:
    if given.order_number is not None:
        return named("order", given.order_number, shop.orders())
    orders = shop.orders()
    if given.items:
        orders = [one for one in orders if names_all(one, given.items)]
        if not orders:
            return Match(refusal=not_bought(given.items))
    fitting = [one for one in orders if refund_refusal(shop, one, given.reason) is None]
    # With none the rules allow, the newest order's refusal tells why.
    return choose(fitting or orders[:1], none=say("refusals.none.order"))


def _refundable(line: OrderLine) -> int:
    """Pieces that are not paid back yet, whether they were sent or taken out."""
    return line.quantity + line.cancelled - line.refunded


def _due(shop: Shop, given: RequestRefund, order: Order) -> _Due | WritePlan:
    """What is to be paid back; or what has to be chosen or said first."""
    left = paid_for(shop, order) - order.refunded
    whole = _Due(left, "whole")
    if not given.items:
        return _without_items(given, order, whole)
    found = parts_of(order, given.items, _refundable, "refunded")
    if found.refusal is not None:
        return WritePlan(refusal=found.refusal)
    if found.choices:
        return WritePlan(choices=choices_of(found))
    if _leaves_nothing(order, found.taken):
        return _of_whole(given, order, whole)
    if order.status is OrderStatus.PACKED and [*_still_in(found.taken)]:
        return WritePlan(refusal=packed_already(order))
    due = _for_pieces(order, found.taken, left)
    if due.amount <= 0:
        return WritePlan(
            refusal=say(
                "refusals.nothing_left",
                pieces=str(found),
                number=order.number,
                shipping=due.shipping,
                currency=order.currency,
            )
        )
    if given.amount is None or given.amount == due.amount:
        return due
    if 0 < given.amount < due.amount:
        return _Due(given.amount, "part", found.taken)
    what = say("refusals.of_order", pieces=str(found), number=order.number)
    return _too_much(given, order, due.amount, what)


def _without_items(given: RequestRefund, order: Order, whole: _Due) -> _Due | WritePlan:
    """Pieces that were taken out before are paid back first: the rest is still to be sent."""
    open_ = tuple(
        Taken(line, line.cancelled - line.refunded)
        for line in order.lines
        if line.cancelled > line.refunded
    )
    owed = whole.amount - order.total
    if open_ and order.status in NOT_SENT and owed > 0 and given.amount in {None, owed}:
        return _Due(owed, "cancelled", open_)
    return _of_whole(given, order, whole)


def _of_whole(given: RequestRefund, order: Order, whole: _Due) -> _Due | WritePlan:
    if given.amount is None or given.amount == whole.amount:
        return whole
    if 0 < given.amount < whole.amount:
        return _Due(given.amount, "part")
    return _too_much(given, order, whole.amount)


def _too_much(given: RequestRefund, order: Order, most: Decimal, what: str = "") -> WritePlan:
    rest = given.model_dump(mode="json", exclude_none=True) | {
        "order_number": order.number,
        "amount": str(most),
    }
    return WritePlan(
        refusal=say(
            "refusals.too_much",
            most=most,
            what=what or order.number,
            back=order.refunded,
            currency=order.currency,
        ),
        instead=Instead(operation="request_refund", arguments=rest),
    )


def _for_pieces(order: Order, taken: tuple[Taken, ...], left: Decimal) -> _Due:
    """The price of the pieces; of an order not sent yet, less the shipping that the rest then owes."""
    worth = sum((one.worth for one in taken), Decimal(0))
    if order.status not in NOT_SENT:
        return _Due(min(worth, left), "items", taken)
    after = taken_out(order, [*_still_in(taken)])
    shipping = after.shipping - order.shipping
    return _Due(min(worth - shipping, left - after.total), "items", taken, shipping)


def _still_in(taken: Sequence[Taken]) -> Iterator[Taken]:
    """The pieces that have to be taken out: those that were taken out before are paid back first."""
    for one in taken:
        before = max(one.line.cancelled - one.line.refunded, 0)
        if one.quantity > before:
            yield Taken(one.line, one.quantity - before)


def _leaves_nothing(order: Order, taken: Sequence[Taken]) -> bool:
    """Whether these pieces are all that is still to be sent, or all that is not paid back yet."""
    if order.status in NOT_SENT:
        return not taken_out(order, [*_still_in(taken)]).kept
    return all(_count(taken, line) == _refundable(line) for line in order.lines)


def _count(taken: Sequence[Taken], line: OrderLine) -> int:
    return sum(one.quantity for one in taken if one.line.sku == line.sku)


def _plan_refund(shop: Shop, given: RequestRefund, order: Order) -> WritePlan:
    for item in given.items or ():
        if not lines_named(order.lines, item.product):
            return WritePlan(refusal=not_in(order, item.product))
    named_ = [line for item in given.items or () for line in lines_named(order.lines, item.product)]
    refusal = refund_refusal(shop, order, given.reason, named_)
    if refusal is not None:
        return WritePlan(refusal=refusal)
    due = _due(shop, given, order)
    if isinstance(due, WritePlan):
        return due
    completed: dict[str, JsonValue] = {"amount": str(due.amount)}
    if given.items:
        completed["items"] = settled(due.taken) if due.taken else _all_of(order)
    return WritePlan(effects=tuple(_refund_effects(shop, given, order, due)), completed=completed)


def _all_of(order: Order) -> list[JsonValue]:
    return settled([Taken(line, _refundable(line)) for line in order.lines if _refundable(line)])


def _refund_effects(shop: Shop, given: RequestRefund, order: Order, due: _Due) -> Iterator[str]:
    not_sent = order.status in NOT_SENT
    pieces = listed([str(one) for one in due.taken])
    told: dict[str, Any] = {
        "number": order.number,
        "amount": due.amount,
        "currency": order.currency,
        "account": say(f"labels.your_account.{order.payment}"),
        "pieces": pieces,
    }
    returned = order.status is OrderStatus.DELIVERED and given.reason not in FAULTS | {"wrong_item"}
    match due.kind:
        case "whole":
            yield say("effects.refund_whole", **told)
            if not_sent:
                yield say("effects.refund_cancels", **told)
        case "part":
            number = order.number
            of = say("refusals.of_order", pieces=pieces, number=number) if pieces else number
            most = sum((one.worth for one in due.taken), Decimal(0)) or paid_for(shop, order)
            yield say("effects.refund_part", of=of, most=most, not_sent=not_sent, **told)
        case "cancelled":
            yield say("effects.refund_cancelled", **told)
        case "items" if not_sent:
            yield say("effects.refund_items_unsent", **told)
            yield out_of(order, [*_still_in(due.taken)])
        case "items":
            yield say("effects.refund_items", **told)
    if due.shipping > 0:
        yield say(
            "effects.shipping_taken_off",
            free_from=FREE_SHIPPING_FROM,
            shipping=due.shipping,
            currency=order.currency,
        )
    if returned and due.kind in ("whole", "items"):
        # Who has not said why may hold something broken in their hands.
        unwanted = given.reason == "unwanted"
        yield say(
            "effects.goods_come_back",
            free=_is_member(shop),
            label=RETURN_LABEL,
            unwanted=unwanted,
        )
    yield say("effects.refund_approved")


def _is_member(shop: Shop) -> bool:
    return any(one.status == "active" for one in shop.subscriptions())


def _to_pay(shop: Shop, given: RequestRefund, order: Order) -> _Due:
    """What the plan allowed a moment ago."""
    due = _due(shop, given, order)
    if isinstance(due, WritePlan):
        allowed(due)
        raise NotAllowed
    return due


def _refund_of(shop: Shop, given: RequestRefund, order: Order, due: _Due, status: Any) -> Refund:
    return shop.add_refund(
        Refund(
            number="",
            order_number=order.number,
            amount=due.amount,
            currency=order.currency,
            status=status,
            method=order.payment,
            requested_on=shop.today,
            reason=given.reason,
        )
    )


def _request_refund(shop: Shop, given: RequestRefund, order: Order) -> RefundRequested:
    due = _to_pay(shop, given, order)
    refund = _refund_of(shop, given, order, due, "approved")
    shop.save_order(_paid_back(order, due, paid_for(shop, order)))
    return _told(refund, order, due)


def _paid_back(order: Order, due: _Due, paid: Decimal) -> Order:
    """The order once the money has gone back, whatever has become of it in the meantime."""
    if due.kind == "items" and order.status in {OrderStatus.PENDING, OrderStatus.PAID}:
        order = taken_out(order, [*_still_in(due.taken)])
    if due.kind == "part" and order.status in NOT_SENT:
        # It costs less from now on: what is owed for taking something out later is reckoned from this.
        order = order.model_copy(update={"total": order.total - due.amount})
    refunded = order.refunded + due.amount
    status = order.status
    if due.kind == "whole" and status in NOT_SENT:
        status = OrderStatus.CANCELLED
    if refunded >= paid:
        status = OrderStatus.REFUNDED
    lines = order.lines
    if due.kind in ("items", "cancelled"):
        lines = tuple(
            line.model_copy(update={"refunded": line.refunded + _count(due.taken, line)})
            for line in lines
        )
    return order.model_copy(update={"status": status, "refunded": refunded, "lines": lines})


def _told(refund: Refund, order: Order, due: _Due) -> RefundRequested:
    return RefundRequested(
        refund_number=refund.number,
        order_number=order.number,
        amount=due.amount,
        currency=order.currency,
        method=account(order.payment),
        status="approved",
        items=listed([str(one) for one in due.taken]),
    )


def _begin_refund(shop: Shop, given: RequestRefund, reference: str) -> PaymentOrder:
    order = _match_refundable(shop, given).only()
    allowed(_plan_refund(shop, given, order))
    due = _to_pay(shop, given, order)
    # Requested, it keeps every other refund of this order away until the service has answered.
    refund = _refund_of(shop, given, order, due, "requested")
    return PaymentOrder(
        kind="refund",
        reference=reference,
        amount=due.amount,
        currency=order.currency,
        method=order.payment,
        details={
            "refund": refund.number,
            "order": order.number,
            "about": due.kind,
            "pieces": {one.line.sku: one.quantity for one in due.taken},
        },
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
    pieces = cast("dict[str, int]", paid.details.get("pieces") or {})
    due = _Due(
        paid.amount,
        cast("Any", paid.details.get("about", "whole")),
        tuple(Taken(line, pieces[line.sku]) for line in order.lines if line.sku in pieces),
    )
    shop.save_order(_paid_back(order, due, paid_for(shop, order)))
    return _told(refund, order, due)


def _undo_refund(shop: Shop, unpaid: PaymentOrder) -> None:
    shop.save_refund(_reserved(shop, unpaid).model_copy(update={"status": "rejected"}))


request_refund = writing_operation(
    name="request_refund",
    title="Refund an order",
    summary="Pay an order, items of it or an amount back to the original payment method, after a person "
    "approved it.",
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
