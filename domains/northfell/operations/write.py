"""Operations that change the books without moving money; a key makes their retry harmless."""

from __future__ import annotations

import calendar
import re
from collections.abc import Sequence
from datetime import date
from decimal import Decimal
from typing import Annotated, Any, ClassVar, Literal

from pydantic import (
    AfterValidator,
    BeforeValidator,
    ConfigDict,
    Field,
    StringConstraints,
    model_validator,
)
from pydantic_core import PydanticCustomError

from domains.northfell.data_model import Invoice, Order, OrderLine, OrderStatus, Subscription
from domains.northfell.demo_accounts import FREE_SHIPPING_FROM
from domains.northfell.labels import (
    PLAN_TITLES,
    account,
    contents,
    invoice_label,
    listed,
    order_label,
    say,
    status,
    subscription_label,
)
from domains.northfell.operations.parts import (
    Parts,
    Taken,
    choices_of,
    items_field,
    names_all,
    not_bought,
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
    choose,
    copied_field,
    from_record_field,
    is_open,
    named,
    number_field,
    why_field,
    writing_operation,
)
from domains.northfell.operations.read import (
    WHICH_INVOICE,
    WHICH_ORDER,
    WHICH_PLAN,
    InvoiceNumber,
    OrderNumber,
    SubscriptionNumber,
    match_invoice,
)
from domains.northfell.shop import Shop
from tools.reading.language import LANGUAGES
from tools.reading.numbers import numbers
from tools.values import (
    Arguments,
    Consequence,
    NotAllowed,
    Operation,
    Preview,
    Record,
    RecordNotFound,
    Ticket,
)

NOT_SENT = {OrderStatus.PENDING, OrderStatus.PAID, OrderStatus.PACKED}


def match_unsent(shop: Shop, order_number: str | None) -> Match[Order]:
    """The named order, else those not sent yet, else the open one, whose plan says why not."""
    if order_number is not None:
        return named("order", order_number, shop.orders())
    newest = shop.orders()[:1]
    none = say("refusals.none.order")
    found = choose(shop.orders(), lambda order: order.status in NOT_SENT, is_open, none=none)
    # With nothing open there is nothing to choose: the newest order's refusal tells why.
    return found if any(is_open(order) for order in found.records) else Match(tuple(newest), none)


def paid_for(shop: Shop, order: Order) -> Decimal:
    """What the books say was paid for the order."""
    billed = (one for one in shop.invoices() if one.order_number == order.number and one.paid)
    return sum((invoice.total for invoice in billed), Decimal(0))


# --- change_delivery_address -------------------------------------------------------------------


def _deliverable(address: str) -> str:
    if not re.search(r"\d", address) or not re.search(r"[^\W\d]{3}", address):
        raise PydanticCustomError(
            "address", "An address needs a street with its number and a town."
        )
    return address


class ChangeDeliveryAddress(Arguments):
    order_number: OrderNumber = number_field("order", WHICH_ORDER)
    address: Annotated[
        str,
        StringConstraints(strip_whitespace=True, min_length=8, max_length=400),
        AfterValidator(_deliverable),
    ] = copied_field(
        "Which address should we deliver to? Please give street, number, postcode and town.",
        default=...,
    )


class AddressChanged(Record):
    order_number: str
    address: str
    previous: str


def _plan_address(shop: Shop, given: ChangeDeliveryAddress, order: Order) -> WritePlan:
    number = order.number
    if order.status in NOT_SENT:
        same = order.delivery_address == given.address
        if same:
            return WritePlan(refusal=say("refusals.address_same", number=number))
        change = say("effects.address_new", number=number, address=given.address)
        return WritePlan(
            effects=(change, say("effects.address_old", address=order.delivery_address))
        )
    if order.status is OrderStatus.SHIPPED:
        return WritePlan(refusal=say("refusals.address_shipped", number=number))
    state = status(order.status)
    return WritePlan(refusal=say("refusals.address_over", number=number, state=state))


def _change_address(shop: Shop, given: ChangeDeliveryAddress, order: Order) -> AddressChanged:
    shop.save_order(order.model_copy(update={"delivery_address": given.address}))
    return AddressChanged(
        order_number=order.number, address=given.address, previous=order.delivery_address
    )


change_delivery_address = writing_operation(
    name="change_delivery_address",
    title="Change the delivery address",
    summary="Send an order that has not left yet to another address.",
    example="Please deliver SB-10482 to Lindenweg 4, 50674 Köln instead.",
    arguments=ChangeDeliveryAddress,
    result=AddressChanged,
    consequence=Consequence.RETRY_SAFE,
    field="order_number",
    match=lambda shop, given: match_unsent(shop, given.order_number),
    label=order_label,
    plan=_plan_address,
    carry_out=_change_address,
)

# --- update_contact ----------------------------------------------------------------------------


def _blank_to_none(value: Any) -> Any:
    return (value.strip() or None) if isinstance(value, str) else value


def _plain_email(value: str | None) -> str | None:
    if value is not None and not re.fullmatch(r"[^@\s,;<>]+@[^@\s,;<>]+\.[^@\s.,;<>]{2,}", value):
        raise PydanticCustomError("email", "This does not look like an email address.")
    return value


def _plain_phone(value: str | None) -> str | None:
    if value is not None and not re.fullmatch(r"\+?[\d\s()/.\-]{5,25}", value):
        raise PydanticCustomError("phone", "This does not look like a phone number.")
    return value


class UpdateContact(Arguments):
    model_config: ClassVar[ConfigDict] = ConfigDict(
        json_schema_extra={"x-any-of": ["email", "phone"]}
    )

    email: Annotated[str | None, BeforeValidator(_blank_to_none), AfterValidator(_plain_email)] = (
        copied_field(
            "Which email address or phone number should we use from now on?", max_length=320
        )
    )
    phone: Annotated[str | None, BeforeValidator(_blank_to_none), AfterValidator(_plain_phone)] = (
        copied_field("Which phone number should we use from now on?")
    )

    @model_validator(mode="after")
    def says_something(self) -> UpdateContact:
        if self.email is None and self.phone is None:
            raise PydanticCustomError("missing", "An email address or a phone number is needed.")
        return self


class ContactUpdated(Record):
    email: str
    phone: str | None


def _preview_contact(shop: Shop, given: UpdateContact) -> Preview:
    known = shop.customer
    effects: list[str] = []
    if given.email is not None:
        effects.append(say("effects.email", before=known.email, after=given.email))
    if given.phone is not None:
        effects.append(say("effects.phone", before=known.phone, after=given.phone))
    label = say("labels.contact")
    return Preview(
        candidates=(label,),
        candidate_arguments=(given.model_dump(mode="json", exclude_none=True),),
        record=label,
        arguments=given.model_dump(mode="json", exclude_none=True),
        consequence=Consequence.RETRY_SAFE,
        effects=tuple(effects),
    )


def _update_contact(shop: Shop, given: UpdateContact) -> ContactUpdated:
    customer = shop.save_contact(email=given.email, phone=given.phone)
    return ContactUpdated(email=customer.email, phone=customer.phone)


update_contact = Operation(
    name="update_contact",
    title="Change your contact details",
    summary="Change the email address or the phone number on the account.",
    arguments=UpdateContact,
    result=ContactUpdated,
    consequence=Consequence.RETRY_SAFE,
    preview=_preview_contact,
    run=_update_contact,
    example="My new email is ana.neu@example.com.",
    confirm=True,
)

# --- pause_subscription ------------------------------------------------------------------------


def months_in(value: Any) -> Any:
    """The number in "2", "two months" or "a month"; anything else is left for the model to refuse."""
    if not isinstance(value, str):
        return value
    text = value.lower()
    if re.search(r"\b(day|week|year|quarter)", text):
        return value
    digits = re.findall(r"\d+", text)
    if len(digits) == 1:
        return int(digits[0])
    words = [int(one.value) for one in numbers(text, LANGUAGES) if one.value is not None]
    words += [2] * text.count("couple")
    if re.search(r"\ban? month", text):
        words.append(1)
    return words[0] if len(words) == 1 and not digits else value


def months_later(start: date, months: int) -> date:
    """The same day ``months`` on, or the month's last day where it is shorter."""
    year, month = divmod(start.year * 12 + start.month - 1 + months, 12)
    last = calendar.monthrange(year, month + 1)[1]
    return date(year, month + 1, min(start.day, last))


class PauseSubscription(Arguments):
    subscription_number: SubscriptionNumber = number_field("subscription", WHICH_PLAN)
    months: Annotated[int, BeforeValidator(months_in), Field(ge=1, le=3)] = copied_field(
        "For how many months should the plan pause: one, two or three?", default=...
    )


class SubscriptionPaused(Record):
    subscription_number: str
    plan: str
    months: int
    paused_until: date
    renews_on: date | None


def _match_active(shop: Shop, number: str | None) -> Match[Subscription]:
    if number is not None:
        return named("subscription", number, shop.subscriptions())
    return choose(
        shop.subscriptions(),
        lambda one: one.status == "active",
        lambda one: one.status == "paused",
        none=say("refusals.none.subscription"),
    )


def _plan_pause(shop: Shop, given: PauseSubscription, plan: Subscription) -> WritePlan:
    told: dict[str, Any] = {"plan": PLAN_TITLES[plan.plan], "number": plan.number}
    told["today"] = shop.today
    if plan.status == "cancelled":
        return WritePlan(refusal=say("refusals.pause_cancelled", **told))
    if plan.status == "paused":
        return WritePlan(refusal=say("refusals.pause_paused", until=plan.paused_until, **told))
    until = months_later(shop.today, given.months)
    effects = [say("effects.pauses", months=given.months, until=until, **told)]
    if plan.renews_on is not None:
        renews = months_later(plan.renews_on, given.months)
        effects.append(
            say("effects.renews_later", today=shop.today, renews=renews, before=plan.renews_on)
        )
    return WritePlan(effects=tuple(effects))


def _pause(shop: Shop, given: PauseSubscription, plan: Subscription) -> SubscriptionPaused:
    until = months_later(shop.today, given.months)
    renews = None if plan.renews_on is None else months_later(plan.renews_on, given.months)
    shop.save_subscription(
        plan.model_copy(update={"status": "paused", "paused_until": until, "renews_on": renews})
    )
    return SubscriptionPaused(
        subscription_number=plan.number,
        plan=PLAN_TITLES[plan.plan],
        months=given.months,
        paused_until=until,
        renews_on=renews,
    )


pause_subscription = writing_operation(
    name="pause_subscription",
    title="Pause your plan",
    summary="Pause a maintenance plan for one to three months.",
    example="Pause my Care plan for two months.",
    arguments=PauseSubscription,
    result=SubscriptionPaused,
    consequence=Consequence.RETRY_SAFE,
    field="subscription_number",
    match=lambda shop, given: _match_active(shop, given.subscription_number),
    label=subscription_label,
    plan=_plan_pause,
    carry_out=_pause,
)

# --- resend_invoice ----------------------------------------------------------------------------


class ResendInvoice(Arguments):
    invoice_number: InvoiceNumber = number_field("invoice", WHICH_INVOICE)
    order_number: OrderNumber = number_field("order", WHICH_ORDER)


class InvoiceResent(Record):
    invoice_number: str
    sent_to: str
    times_sent: int


def _plan_resend(shop: Shop, given: ResendInvoice, invoice: Invoice) -> WritePlan:
    again = say("effects.invoice_again", number=invoice.number, address=shop.customer.email)
    return WritePlan(effects=(again,))


def _resend(shop: Shop, given: ResendInvoice, invoice: Invoice) -> InvoiceResent:
    times = invoice.times_sent + 1
    sent_to = shop.customer.email
    shop.save_invoice(invoice.model_copy(update={"times_sent": times, "sent_to": sent_to}))
    return InvoiceResent(invoice_number=invoice.number, sent_to=sent_to, times_sent=times)


resend_invoice = writing_operation(
    name="resend_invoice",
    title="Send an invoice again",
    summary="Send an invoice once more to the account's email address.",
    example="Send me invoice INV-20931 again.",
    arguments=ResendInvoice,
    result=InvoiceResent,
    consequence=Consequence.RETRY_SAFE,
    field="invoice_number",
    match=lambda shop, given: match_invoice(shop, given.invoice_number, given.order_number),
    label=invoice_label,
    plan=_plan_resend,
    carry_out=_resend,
)

# --- cancel_order ------------------------------------------------------------------------------


class CancelOrder(Arguments):
    order_number: OrderNumber = number_field("order", WHICH_ORDER)
    reason: str | None = why_field("Why would you like to cancel it?", max_length=400)
    items: Parts = items_field(
        "Which items of the order should be cancelled, and how many of each?"
    )
    seen_status: Literal["pending", "paid", "packed"] | None = from_record_field(
        "The order's status when the cancellation was previewed."
    )


class OrderCancelled(Record):
    order_number: str
    was: OrderStatus
    paid: Decimal  #: Already paid and not refunded by cancelling.
    currency: str
    payment: str
    items: str = ""  #: What was taken out, where the rest is still sent.


def _plan_cancel(shop: Shop, given: CancelOrder, order: Order) -> WritePlan:
    number = order.number
    match order.status:
        case OrderStatus.SHIPPED:
            return WritePlan(refusal=say("refusals.cancel_shipped", number=number))
        case OrderStatus.DELIVERED:
            return WritePlan(refusal=say("refusals.cancel_delivered", number=number))
        case OrderStatus.CANCELLED | OrderStatus.RETURNED | OrderStatus.REFUNDED:
            state = status(order.status)
            return WritePlan(refusal=say("refusals.cancel_over", number=number, state=state))
        case OrderStatus.PENDING | OrderStatus.PAID | OrderStatus.PACKED:
            packed = order.status is OrderStatus.PACKED
    if given.items and (partly := _plan_taking_out(shop, given, order)) is not None:
        return partly
    if packed and given.seen_status not in {None, "packed"}:
        return WritePlan(refusal=say("refusals.packed_meanwhile", number=number))
    effects = [
        say(
            "effects.order_cancelled",
            number=number,
            contents=contents(order),
            total=order.total,
            currency=order.currency,
        )
    ]
    if packed:
        effects.append(say("effects.unpacking"))
    paid = paid_for(shop, order) - order.refunded
    if paid > 0:
        effects.append(say("effects.no_money_back", paid=paid, currency=order.currency))
    else:
        effects.append(say("effects.nothing_paid"))
    return WritePlan(
        effects=tuple(effects),
        completed={"seen_status": order.status.value},
        consequence=Consequence.IRREVERSIBLE if packed else None,
    )


def _cancellable(line: OrderLine) -> int:
    return line.quantity


def _plan_taking_out(shop: Shop, given: CancelOrder, order: Order) -> WritePlan | None:
    """The plan for single items; None where they are all that is in the order."""
    found = parts_of(order, given.items or (), _cancellable, "cancelled")
    if found.refusal is not None:
        return WritePlan(refusal=found.refusal)
    if found.choices:
        if order.status is OrderStatus.PACKED and len(order.lines) > 1:
            # However many pieces are meant, it is a part of a packed order.
            return WritePlan(refusal=packed_already(order))
        return WritePlan(choices=choices_of(found))
    after = taken_out(order, found.taken)
    if not after.kept:
        return None
    if order.status is OrderStatus.PACKED:
        return WritePlan(refusal=packed_already(order))
    effects = [out_of(order, found.taken)]
    if after.shipping > order.shipping:
        effects.append(
            say(
                "effects.shipping_owed",
                free_from=FREE_SHIPPING_FROM,
                shipping=after.shipping,
                currency=order.currency,
            )
        )
    back = _paid_too_much(shop, after)
    if back > 0:
        effects.append(say("effects.no_money_back", paid=back, currency=order.currency))
    elif paid_for(shop, order) == 0:
        effects.append(say("effects.then_costs", total=after.total, currency=order.currency))
    return WritePlan(
        effects=tuple(effects),
        completed={"items": settled(found.taken), "seen_status": order.status.value},
    )


def _paid_too_much(shop: Shop, after: Order) -> Decimal:
    """What has been paid and not paid back beyond what is still in the order."""
    paid = paid_for(shop, after)
    return max(paid - after.refunded - after.total, Decimal(0)) if paid else Decimal(0)


def _cancel_order(shop: Shop, given: CancelOrder, order: Order) -> OrderCancelled:
    if given.items:
        taken = parts_of(order, given.items, _cancellable, "cancelled").taken
        if taken_out(order, taken).kept:
            return _take_out(shop, order, taken)
    if order.status is OrderStatus.PACKED and given.seen_status != "packed":
        # Whoever agreed to this never learnt that it cannot be undone.
        raise NotAllowed(say("refusals.packed_now", number=order.number))
    shop.save_order(order.model_copy(update={"status": OrderStatus.CANCELLED, "expected_on": None}))
    return OrderCancelled(
        order_number=order.number,
        was=order.status,
        paid=paid_for(shop, order) - order.refunded,
        currency=order.currency,
        payment=account(order.payment),
    )


def _take_out(shop: Shop, order: Order, taken: Sequence[Taken]) -> OrderCancelled:
    after = taken_out(order, taken)
    shop.save_order(after)
    for invoice in shop.invoices():
        if invoice.order_number == order.number and not invoice.paid:
            # What is still to be paid is what is still in the order.
            shop.save_invoice(invoice.model_copy(update={"total": after.total}))
    return OrderCancelled(
        order_number=order.number,
        was=order.status,
        paid=_paid_too_much(shop, after),
        currency=order.currency,
        payment=account(order.payment),
        items=listed([str(one) for one in taken]),
    )


def _match_cancellable(shop: Shop, given: CancelOrder) -> Match[Order]:
    """As for any order not sent yet; of those, the ones that hold the named items."""
    if given.order_number is not None or not given.items:
        return match_unsent(shop, given.order_number)
    holding = [one for one in shop.orders() if names_all(one, given.items)]
    if not holding:
        return Match(refusal=not_bought(given.items))
    none = say("refusals.none.order")
    return choose(holding, lambda one: one.status in NOT_SENT, is_open, lambda _: True, none=none)


cancel_order = writing_operation(
    name="cancel_order",
    title="Cancel an order",
    summary="Cancel an order that has not been sent, or single items of it until it is packed; a packed one "
    "cannot be un-cancelled.",
    example="Please cancel order SB-10482, I ordered it twice.",
    arguments=CancelOrder,
    result=OrderCancelled,
    consequence=Consequence.RETRY_SAFE,
    field="order_number",
    match=_match_cancellable,
    label=order_label,
    plan=_plan_cancel,
    carry_out=_cancel_order,
)

# --- cancel_subscription -----------------------------------------------------------------------


class CancelSubscription(Arguments):
    subscription_number: SubscriptionNumber = number_field("subscription", WHICH_PLAN)
    reason: str | None = why_field("Why would you like to cancel the plan?", max_length=400)


class SubscriptionCancelled(Record):
    subscription_number: str
    plan: str
    ends_on: date


def _last_day(shop: Shop, plan: Subscription) -> date:
    """Cancelled plans run to the end of the paid month."""
    return shop.today if plan.status == "paused" else plan.renews_on or shop.today


def _plan_cancel_plan(shop: Shop, given: CancelSubscription, plan: Subscription) -> WritePlan:
    told: dict[str, Any] = {"plan": PLAN_TITLES[plan.plan], "number": plan.number}
    if plan.status == "cancelled":
        over = plan.ends_on is not None and plan.ends_on < shop.today
        told |= {"ends": plan.ends_on, "over": over, "today": shop.today}
        return WritePlan(refusal=say("refusals.plan_cancelled", **told))
    end = (
        say("effects.plan_ends_today", **told)
        if plan.status == "paused"
        else say("effects.plan_ends", today=shop.today, ends=_last_day(shop, plan), **told)
    )
    return WritePlan(
        effects=(end, say("effects.plan_stops", price=plan.price, currency=plan.currency))
    )


def _cancel_plan(
    shop: Shop, given: CancelSubscription, plan: Subscription
) -> SubscriptionCancelled:
    ends_on = _last_day(shop, plan)
    shop.save_subscription(
        plan.model_copy(
            update={
                "status": "cancelled",
                "renews_on": None,
                "paused_until": None,
                "ends_on": ends_on,
                "cancel_reason": given.reason,
            }
        )
    )
    return SubscriptionCancelled(
        subscription_number=plan.number, plan=PLAN_TITLES[plan.plan], ends_on=ends_on
    )


def _match_running(shop: Shop, number: str | None) -> Match[Subscription]:
    if number is not None:
        return named("subscription", number, shop.subscriptions())
    none = say("refusals.none.subscription")
    running = choose(shop.subscriptions(), lambda one: one.status != "cancelled", none=none)
    if any(one.status != "cancelled" for one in running.records):
        return running
    return Match(running.records[:1], none)


cancel_subscription = writing_operation(
    name="cancel_subscription",
    title="Cancel your plan",
    summary="End a maintenance plan at the end of the paid month.",
    example="I want to cancel my subscription.",
    arguments=CancelSubscription,
    result=SubscriptionCancelled,
    consequence=Consequence.RETRY_SAFE,
    field="subscription_number",
    match=lambda shop, given: _match_running(shop, given.subscription_number),
    label=subscription_label,
    plan=_plan_cancel_plan,
    carry_out=_cancel_plan,
)

# --- tickets -----------------------------------------------------------------------------------

#: A message is kept as it was written, however long it may be.
MOST_WORDS = 8000


class CreateTicket(Arguments):
    subject: Annotated[
        str, StringConstraints(strip_whitespace=True, min_length=3, max_length=400)
    ] = copied_field("What is the ticket about, in a few words?", default=...)
    body: str | None = copied_field(
        "What should our colleagues know about it?", max_length=MOST_WORDS
    )
    record: str | None = part_field("record", "Which record is it about?", max_length=20)
    case: str | None = part_field("case", "Which problem is it?", max_length=60)


class TicketOpened(Record):
    ticket_number: str
    subject: str
    record: str | None = None


def _own(shop: Shop, number: str | None) -> str | None:
    """The number of one of the customer's own records; anything else is not found."""
    if number is None:
        return None
    mine = (*shop.orders(), *shop.invoices(), *shop.subscriptions(), *shop.refunds())
    if all(one.number != number for one in mine):
        shown = " ".join(number.split())[:40]
        raise RecordNotFound(say("refusals.not_found.record", shown=shown))
    return number


def _about(subject: str, record: str | None) -> str:
    """The subject with the record's number in it, so that nobody has to ask for it."""
    return subject if record is None or record in subject else f"{subject} ({record})"


def _preview_ticket(shop: Shop, given: CreateTicket) -> Preview:
    subject = _about(given.subject, _own(shop, given.record))
    return Preview(
        arguments=given.model_dump(mode="json", exclude_none=True),
        consequence=Consequence.RETRY_SAFE,
        effects=(say("effects.ticket", subject=subject),),
    )


def _create_ticket(shop: Shop, given: CreateTicket) -> TicketOpened:
    record = _own(shop, given.record)
    ticket = shop.add_ticket(
        Ticket(
            number="",
            subject=_about(given.subject, record)[:400],
            body=given.body or "",
            opened_on=shop.today,
            record=record,
            case=given.case,
        )
    )
    return TicketOpened(ticket_number=ticket.number, subject=ticket.subject, record=record)


create_ticket = Operation(
    name="create_ticket",
    title="Open a ticket",
    summary="Leave a written request for the support team.",
    arguments=CreateTicket,
    result=TicketOpened,
    consequence=Consequence.RETRY_SAFE,
    preview=_preview_ticket,
    run=_create_ticket,
    example="Open a ticket: the zip of my tent jams.",
)


class HandOff(Arguments):
    reason: str | None = copied_field("What is it about?", max_length=MOST_WORDS)
    record: str | None = part_field("record", "Which record is it about?", max_length=20)
    case: str | None = part_field("case", "Which problem is it?", max_length=60)


class HandedOff(Record):
    ticket_number: str


def _preview_hand_off(shop: Shop, given: HandOff) -> Preview:
    return Preview(
        arguments=given.model_dump(mode="json", exclude_none=True),
        consequence=Consequence.RETRY_SAFE,
        effects=(say("effects.hand_off"),),
    )


def _hand_off(shop: Shop, given: HandOff) -> HandedOff:
    record = _own(shop, given.record)
    about = f": {given.case.replace('_', ' ')}" if given.case else ""
    ticket = shop.add_ticket(
        Ticket(
            number="",
            subject=_about(f"Conversation handed over{about}", record),
            body=given.reason or "",
            opened_on=shop.today,
            kind="hand_off",
            record=record,
            case=given.case,
        )
    )
    return HandedOff(ticket_number=ticket.number)


hand_off = Operation(
    name="hand_off",
    title="Talk to a person",
    summary="Hand the conversation to a colleague.",
    arguments=HandOff,
    result=HandedOff,
    consequence=Consequence.RETRY_SAFE,
    preview=_preview_hand_off,
    run=_hand_off,
    example="I want to talk to a human.",
)

WRITES = (
    change_delivery_address,
    update_contact,
    pause_subscription,
    resend_invoice,
    cancel_order,
    cancel_subscription,
    create_ticket,
    hand_off,
)
