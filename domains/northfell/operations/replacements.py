"""Selling a replacement: only where the shop does not owe one, and after a person approved it."""

from __future__ import annotations

from decimal import Decimal
from typing import Annotated, Any, Literal, cast

from pydantic import Field, JsonValue, StringConstraints

from domains.northfell.data_model import Charge, Order, OrderLine, OrderStatus
from domains.northfell.labels import account, money, order_label, say, status
from domains.northfell.operations.money import warranty_ends
from domains.northfell.operations.naming import lines_named
from domains.northfell.operations.parts import MOST_PIECES, not_in, part_field, quoted
from domains.northfell.operations.picking import (
    Match,
    WritePlan,
    allowed,
    choose,
    copied_field,
    from_record_field,
    is_open,
    named,
    number_field,
    writing_operation,
)
from domains.northfell.operations.read import WHICH_ORDER, OrderNumber
from domains.northfell.operations.write import NOT_SENT
from domains.northfell.shop import Shop
from tools.values import (
    Arguments,
    Consequence,
    Instead,
    OutsideEffect,
    PaymentOrder,
    Record,
    RecordNotFound,
)

ReplacementReason = Literal[
    "lost", "broken_by_customer", "defective", "wrong_item", "missing", "damaged"
]
WHAT_HAPPENED = (
    "What happened to it: did you lose it, did you break it, did it fail by itself, or did it arrive "
    "damaged, wrong or not at all?"
)
#: How customers say it; without such words no reason is taken down.
REASONS_SAID: dict[str, JsonValue] = {
    "lost": [
        "lost", "I lost", "lost it", "lost mine", "was stolen", "got stolen", "left it behind", "left my", "left mine", "left it at", "left it on", "left them", "forgot it", "forgot my", "misplaced",
        "cannot find it any more", "washed away", "verloren", "gestohlen", "verlegt", "liegen lassen", "liegengelassen", "geklaut", "vergessen",
    ],
    "broken_by_customer": [
        "I broke", "broke it myself", "my own fault", "my fault", "dropped it", "stepped on", "sat on it", "ran over",
        "burned a hole", "the dog chewed", "by accident", "selbst kaputt gemacht", "runtergefallen",
        "heruntergefallen", "draufgetreten", "kaputt gemacht", "meine Schuld", "drübergefahren",
    ],
    "defective": [
        "stopped working", "does not work", "doesn't work", "not working", "came off", "fell apart", "defective", "faulty",
        "leaks", "leaking", "seam opened", "zip broke", "broke after", "just broke", "defekt", "undicht",
        "von selbst kaputt", "von allein kaputt", "geht nicht mehr", "funktioniert nicht", "Naht aufgegangen", "Reißverschluss kaputt",
    ],
    "wrong_item": [
        "wrong item", "wrong size", "wrong colour", "wrong color", "wrong model", "not what I ordered", "something else",
        "falsch geliefert",
    ],
    "missing": [
        "missing", "was not in the parcel", "not in the box", "never got", "did not get", "fehlt", "fehlte",
    ],
    "damaged": [
        "arrived damaged", "arrived broken", "damaged in the post", "crushed", "came broken", "was damaged", "torn on arrival",
        "beschädigt angekommen", "kaputt angekommen",
    ],
}  # fmt: skip
#: What the shop makes good itself, whatever the warranty says.
OWED = frozenset({"wrong_item", "missing", "damaged"})


class ChargeReplacement(Arguments):
    order_number: OrderNumber = number_field("order", WHICH_ORDER)
    product: Annotated[
        str, StringConstraints(strip_whitespace=True, min_length=2, max_length=200)
    ] = copied_field("Which product do you need a replacement for?", default=...)
    reason: ReplacementReason = Field(
        description=WHAT_HAPPENED, json_schema_extra={"x-synonyms": REASONS_SAID, "x-why": True}
    )
    quantity: Annotated[int, Field(ge=1, le=MOST_PIECES)] | None = part_field(
        "quantity", "How many do you need?"
    )
    amount: Decimal | None = from_record_field("What is charged, as the preview worked it out.")


class ReplacementCharged(Record):
    charge_number: str
    order_number: str
    product: str
    amount: Decimal
    currency: str
    method: str


def _match_bought(shop: Shop, given: ChargeReplacement) -> Match[Order]:
    if given.order_number is not None:
        return named("order", given.order_number, shop.orders())
    sent = {OrderStatus.DELIVERED, OrderStatus.SHIPPED}
    bought = [one for one in shop.orders() if lines_named(one.lines, given.product)]
    if not bought:
        return Match(refusal=say("refusals.not_in_any", name=quoted(given.product)))
    return choose(bought, lambda one: one.status in sent, is_open, none=say("refusals.none.order"))


def _plan_replacement(shop: Shop, given: ChargeReplacement, order: Order) -> WritePlan:
    number = order.number
    if order.status in NOT_SENT:
        return WritePlan(refusal=say("refusals.not_sent", number=number))
    if order.status not in {OrderStatus.DELIVERED, OrderStatus.SHIPPED}:
        return WritePlan(
            refusal=say("refusals.not_replaceable", number=number, state=status(order.status))
        )
    lines = lines_named(order.lines, given.product)
    if not lines:
        return WritePlan(refusal=not_in(order, given.product))
    if len(lines) > 1:
        return WritePlan(
            choices=tuple(
                (f"{line.product}, {money(line.unit_price)}", {"product": line.product})
                for line in lines
            )
        )
    line, pieces = lines[0], given.quantity or 1
    if (free := _free_of_charge(shop, given, order, line)) is not None:
        return _not_charged(given, order, line, free)
    if pieces > line.quantity:
        return WritePlan(
            refusal=say(
                "refusals.only_so_many",
                number=number,
                bought=line.quantity,
                product=line.product,
                pieces=pieces,
            )
        )
    due = line.unit_price * pieces
    if given.amount is not None and given.amount != due:
        return WritePlan(
            refusal=say(
                "refusals.other_price",
                pieces=pieces,
                product=line.product,
                due=due,
                currency=order.currency,
            )
        )
    return WritePlan(
        effects=(
            say(
                "effects.replacement",
                pieces=pieces,
                product=line.product,
                due=due,
                currency=order.currency,
                account=account(order.payment),
            ),
            say("effects.replacement_approved"),
        ),
        completed={"product": line.product, "amount": str(due)},
    )


def _free_of_charge(
    shop: Shop, given: ChargeReplacement, order: Order, line: OrderLine
) -> str | None:
    """Why the customer does not pay for this replacement; None when they do."""
    if given.reason in OWED:
        return say(f"refusals.owed.{given.reason}")
    if given.reason == "lost" and order.status is OrderStatus.SHIPPED:
        return say("refusals.owed.lost")
    ends = warranty_ends(order, line)
    if given.reason == "defective" and ends >= shop.today:
        return say("refusals.owed.warranty", today=shop.today, ends=ends)
    return None


def _not_charged(given: ChargeReplacement, order: Order, line: OrderLine, why: str) -> WritePlan:
    """A replacement that the shop owes is arranged by a person, never sold."""
    named_: dict[str, Any] = {"product": line.product, "number": order.number}
    subject = say("refusals.free_replacement", **named_)
    return WritePlan(
        refusal=say("refusals.not_charged", why=why, **named_),
        instead=Instead(
            operation="create_ticket",
            arguments={
                "subject": subject,
                "record": order.number,
                "case": _CASES.get(given.reason, "item_defective"),
            },
        ),
    )


#: The case that a free replacement is a matter of.
_CASES = {
    "wrong_item": "wrong_item",
    "missing": "item_missing",
    "damaged": "item_damaged",
    "lost": "parcel_lost",
}


def _to_charge(shop: Shop, given: ChargeReplacement, order: Order) -> tuple[OrderLine, int]:
    """What the plan allows at this moment."""
    allowed(_plan_replacement(shop, given, order))
    return lines_named(order.lines, given.product)[0], given.quantity or 1


def _booked(shop: Shop, order: Order, product: str, pieces: int, amount: Decimal) -> Charge:
    return shop.add_charge(
        Charge(
            number="",
            order_number=order.number,
            product=product if pieces == 1 else f"{pieces} x {product}",
            amount=amount,
            currency=order.currency,
            charged_on=shop.today,
        )
    )


def _told(charge: Charge, method: str) -> ReplacementCharged:
    return ReplacementCharged(
        charge_number=charge.number,
        order_number=charge.order_number,
        product=charge.product,
        amount=charge.amount,
        currency=charge.currency,
        method=account(method),
    )


def _charge_replacement(shop: Shop, given: ChargeReplacement, order: Order) -> ReplacementCharged:
    line, pieces = _to_charge(shop, given, order)
    charge = _booked(shop, order, line.product, pieces, line.unit_price * pieces)
    return _told(charge, order.payment)


def _begin_charge(shop: Shop, given: ChargeReplacement, reference: str) -> PaymentOrder:
    order = _match_bought(shop, given).only()
    line, pieces = _to_charge(shop, given, order)
    return PaymentOrder(
        kind="charge",
        reference=reference,
        amount=line.unit_price * pieces,
        currency=order.currency,
        method=order.payment,
        details={"order": order.number, "product": line.product, "pieces": pieces},
    )


def _finish_charge(shop: Shop, paid: PaymentOrder) -> ReplacementCharged:
    order = shop.order(str(paid.details["order"]))
    if order is None:
        raise RecordNotFound
    pieces = cast("int", paid.details.get("pieces", 1))
    charge = _booked(shop, order, str(paid.details["product"]), pieces, paid.amount)
    return _told(charge, paid.method)


def _undo_charge(shop: Shop, unpaid: PaymentOrder) -> None:
    """Nothing is booked before the service has charged, so there is nothing to give back."""


charge_replacement = writing_operation(
    name="charge_replacement",
    title="Order a replacement",
    summary="Send more of a product that the customer lost or broke and charge its price, after a person "
    "approved it.",
    example="I lost the stove of SB-10482: charge me for a replacement.",
    arguments=ChargeReplacement,
    result=ReplacementCharged,
    consequence=Consequence.IRREVERSIBLE,
    field="order_number",
    match=_match_bought,
    label=order_label,
    plan=_plan_replacement,
    carry_out=_charge_replacement,
    outside=OutsideEffect(begin=_begin_charge, finish=_finish_charge, undo=_undo_charge),
)
