"""Operations that only look: any of them may run any number of times."""

from __future__ import annotations

from datetime import date, timedelta
from typing import Annotated

from pydantic import BaseModel

from domains.northfell.data_model import Invoice, Order, OrderStatus, Refund, Subscription
from domains.northfell.labels import (
    PLAN_TITLES,
    invoice_label,
    order_label,
    refund_label,
    say,
    subscription_label,
)
from domains.northfell.operations.picking import (
    Match,
    choose,
    is_open,
    named,
    number_field,
    reading_operation,
    written,
)
from domains.northfell.shop import Shop
from tools.values import Arguments, Consequence, Operation, Preview, Record

OrderNumber = Annotated[str | None, written("order")]
InvoiceNumber = Annotated[str | None, written("invoice")]
SubscriptionNumber = Annotated[str | None, written("subscription")]
RefundNumber = Annotated[str | None, written("refund")]

WHICH_ORDER = "Which order do you mean? The number starts with SB-, for example SB-10482."
WHICH_INVOICE = "Which invoice do you mean? The number starts with INV-, for example INV-20931."
WHICH_PLAN = "Which plan do you mean? The number starts with SUB-, for example SUB-4021."
WHICH_REFUND = "Which refund do you mean? The number starts with RF-, for example RF-30112."

#: What a list shows at once.
LISTED_ORDERS = 10


class GetOrder(Arguments):
    order_number: OrderNumber = number_field("order", WHICH_ORDER)


class OrderFound(Record):
    order: Order
    invoice_number: str | None
    late: bool  #: On its way and past the expected day.


def match_order(shop: Shop, order_number: str | None) -> Match[Order]:
    """The named order, else the only open one, else what there is to choose from."""
    if order_number is not None:
        return named("order", order_number, shop.orders())
    return choose(shop.orders(), is_open, none=say("refusals.none.order"))


def is_late(order: Order, today: date) -> bool:
    return is_open(order) and order.expected_on is not None and order.expected_on < today


def _show_order(shop: Shop, order: Order) -> OrderFound:
    invoices = [one.number for one in shop.invoices() if one.order_number == order.number]
    return OrderFound(
        order=order,
        invoice_number=invoices[0] if invoices else None,
        late=is_late(order, shop.today),
    )


get_order = reading_operation(
    name="get_order",
    title="Look up an order",
    summary="Status, contents and delivery of one order.",
    example="Where is my order SB-10482?",
    arguments=GetOrder,
    result=OrderFound,
    field="order_number",
    match=lambda shop, given: match_order(shop, given.order_number),
    label=order_label,
    show=_show_order,
)


class ListOrders(Arguments):
    pass


class OrderList(Record):
    orders: tuple[Order, ...]  #: Newest first, at most ten.
    total: int


def _list_orders(shop: Shop, given: ListOrders) -> BaseModel:
    orders = shop.orders()
    return OrderList(orders=tuple(orders[:LISTED_ORDERS]), total=len(orders))


def _preview_list(shop: Shop, given: ListOrders) -> Preview:
    return Preview(consequence=Consequence.SAFE)


list_orders = Operation(
    name="list_orders",
    title="List your orders",
    summary="The customer's orders, newest first.",
    arguments=ListOrders,
    result=OrderList,
    consequence=Consequence.SAFE,
    preview=_preview_list,
    run=_list_orders,
    example="Show me all my orders.",
)


class TrackParcel(Arguments):
    order_number: OrderNumber = number_field("order", WHICH_ORDER)


class Parcel(Record):
    order_number: str
    status: OrderStatus
    carrier: str | None
    tracking: str | None
    expected_on: date | None
    delivered_on: date | None
    delivery_address: str
    late: bool


def _is_shipped(order: Order) -> bool:
    return order.status is OrderStatus.SHIPPED


def _match_parcel(shop: Shop, given: TrackParcel) -> Match[Order]:
    if given.order_number is not None:
        return named("order", given.order_number, shop.orders())
    return choose(shop.orders(), _is_shipped, is_open, none=say("refusals.none.order"))


def _show_parcel(shop: Shop, order: Order) -> Parcel:
    return Parcel(
        order_number=order.number,
        status=order.status,
        carrier=order.carrier,
        tracking=order.tracking,
        expected_on=order.expected_on,
        delivered_on=order.delivered_on,
        delivery_address=order.delivery_address,
        late=is_late(order, shop.today),
    )


track_parcel = reading_operation(
    name="track_parcel",
    title="Track a parcel",
    summary="Carrier, tracking number and expected day of an order's parcel.",
    example="Track the parcel for SB-10482, please.",
    arguments=TrackParcel,
    result=Parcel,
    field="order_number",
    match=_match_parcel,
    label=order_label,
    show=_show_parcel,
)


class GetInvoice(Arguments):
    invoice_number: InvoiceNumber = number_field("invoice", WHICH_INVOICE)
    order_number: OrderNumber = number_field("order", WHICH_ORDER)


class InvoiceFound(Record):
    invoice: Invoice
    cancelled: bool = False  #: Its order was cancelled, so that nothing of it is to be paid.
    due_on: date | None = (
        None  #: Until when it is to be paid, where it is not and somebody buys on invoice.
    )


#: How long a business customer has to pay an invoice; see knowledge/business-invoice-payment.md.
PAYMENT_DAYS = 30


def _show_invoice(shop: Shop, invoice: Invoice) -> InvoiceFound:
    order = next((one for one in shop.orders() if one.number == invoice.order_number), None)
    cancelled = order is not None and order.status == "cancelled"
    on_invoice = order is not None and order.payment == "invoice"
    open_ = not invoice.paid and not cancelled and on_invoice
    due_on = invoice.issued_on + timedelta(days=PAYMENT_DAYS) if open_ else None
    return InvoiceFound(invoice=invoice, cancelled=cancelled, due_on=due_on)


def match_invoice(
    shop: Shop, invoice_number: str | None, order_number: str | None
) -> Match[Invoice]:
    """The named invoice, else the named order's, else the only one, else a choice."""
    invoices = shop.invoices()
    if invoice_number is not None:
        return named("invoice", invoice_number, invoices)
    if order_number is None:
        return choose(invoices, none=say("refusals.none.invoice"))
    order = named("order", order_number, shop.orders()).only()
    billed = [invoice for invoice in invoices if invoice.order_number == order.number]
    return choose(billed, none=say("refusals.no_invoice_for", number=order.number))


get_invoice = reading_operation(
    name="get_invoice",
    title="Look up an invoice",
    summary="Amount, date and payment of one invoice.",
    example="Has invoice INV-20931 been paid?",
    arguments=GetInvoice,
    result=InvoiceFound,
    field="invoice_number",
    match=lambda shop, given: match_invoice(shop, given.invoice_number, given.order_number),
    label=invoice_label,
    show=_show_invoice,
)


class GetSubscription(Arguments):
    subscription_number: SubscriptionNumber = number_field("subscription", WHICH_PLAN)


class SubscriptionFound(Record):
    subscription: Subscription
    plan: str


def match_subscription(shop: Shop, number: str | None) -> Match[Subscription]:
    """The named plan, else the running one, else what there is to choose from."""
    subscriptions = shop.subscriptions()
    if number is not None:
        return named("subscription", number, subscriptions)
    return choose(
        subscriptions,
        lambda one: one.status != "cancelled",
        none=say("refusals.none.subscription"),
    )


get_subscription = reading_operation(
    name="get_subscription",
    title="Look up your plan",
    summary="Status, price and renewal of a maintenance plan.",
    example="When does my Care plan renew?",
    arguments=GetSubscription,
    result=SubscriptionFound,
    field="subscription_number",
    match=lambda shop, given: match_subscription(shop, given.subscription_number),
    label=subscription_label,
    show=lambda shop, one: SubscriptionFound(subscription=one, plan=PLAN_TITLES[one.plan]),
)


class GetRefundStatus(Arguments):
    refund_number: RefundNumber = number_field("refund", WHICH_REFUND)
    order_number: OrderNumber = number_field("order", WHICH_ORDER)


class RefundFound(Record):
    refund: Refund


def _match_refund(shop: Shop, given: GetRefundStatus) -> Match[Refund]:
    refunds = shop.refunds()
    if given.refund_number is not None:
        return named("refund", given.refund_number, refunds)
    if given.order_number is None:
        return choose(
            refunds,
            lambda refund: refund.status in {"requested", "approved"},
            none=say("refusals.none.refund"),
        )
    order = named("order", given.order_number, shop.orders()).only()
    theirs = [refund for refund in refunds if refund.order_number == order.number]
    return choose(theirs, none=say("refusals.no_refund_for", number=order.number))


get_refund_status = reading_operation(
    name="get_refund_status",
    title="Look up a refund",
    summary="Status and amount of one refund.",
    example="What happened to my refund RF-30112?",
    arguments=GetRefundStatus,
    result=RefundFound,
    field="refund_number",
    match=_match_refund,
    label=refund_label,
    show=lambda shop, refund: RefundFound(refund=refund),
)

READS = (get_order, list_orders, track_parcel, get_invoice, get_subscription, get_refund_status)
