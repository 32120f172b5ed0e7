"""An operation touches the part of an order that was named: never more, and never another one."""

from __future__ import annotations

from collections.abc import Callable, Generator
from decimal import Decimal
from typing import Any

import pytest
import sqlalchemy as sa
from pydantic import BaseModel, ValidationError

from app.stores.database import create_engine, writing
from domains.northfell.data_model import Order, OrderStatus
from domains.northfell.demo_accounts import invoice_for, line, shipping_for
from domains.northfell.memory import MemoryBooks
from domains.northfell.operations import OPERATIONS, SeveralMatch
from domains.northfell.seed import rows_of
from domains.northfell.shop import Shop
from domains.northfell.store import SqlShop, tickets_of
from tests.domains.northfell.accounts import (
    SOCKS,
    STOVE,
    TENT,
    TODAY,
    account,
    ago,
    customer,
    order,
)
from tests.domains.northfell.conftest import OpenShop
from tools.values import NotAllowed, PaymentOrder, Preview

MAT, HEADLAMP, HAT, BOOTS, GLACIER = "SLP-715", "LGT-801", "CLO-620", "BOT-301", "BOT-320"


def _preview(shop: Shop, name: str, **given: Any) -> Preview:
    operation = OPERATIONS[name]
    return operation.preview(shop, operation.arguments.model_validate(given))


def _do(shop: Shop, name: str, **given: Any) -> BaseModel:
    """Preview, and do what the preview said."""
    shown = _preview(shop, name, **given)
    assert shown.refusal is None
    operation = OPERATIONS[name]
    again = operation.preview(shop, operation.arguments.model_validate(shown.arguments))
    assert (again.effects, again.arguments) == (shown.effects, shown.arguments), "read twice alike"
    return operation.run(shop, operation.arguments.model_validate(shown.arguments))


def _books(order_: Order) -> Any:
    return account(order_)


def _several(status: str, sku: str, pieces: int) -> Order:
    """An order of several pieces of one product."""
    one = order(status, 10482, sku)
    lines = (line(sku, pieces),)
    total = lines[0].unit_price * pieces
    return one.model_copy(
        update={
            "lines": lines,
            "shipping": shipping_for(total),
            "total": total + shipping_for(total),
        }
    )


def _one(*words: str) -> list[dict[str, str]]:
    return [{"product": word} for word in words]


# --- paying back a part ---------------------------------------------------------------------------


def test_one_item_of_a_delivered_order_is_paid_back(open_shop: OpenShop) -> None:
    """The mat goes back, the tent stays: its price moves, and nothing else is touched."""
    shop = open_shop(account(order("delivered", 10482, TENT, MAT)))

    shown = _preview(shop, "request_refund", items=_one("the mat"))
    result = _do(shop, "request_refund", items=_one("the mat"))

    assert shown.effects[0] == (
        "34.90 EUR for 1 x Foam Mat of SB-10482 go back to your card; the rest of the order stays as it is."
    )
    assert shown.arguments["items"] == [{"product": "Foam Mat", "quantity": 1}]
    assert result.model_dump()["items"] == "1 x Foam Mat"
    (one,) = shop.orders()
    assert (one.status, one.refunded) == (OrderStatus.DELIVERED, Decimal("34.90"))
    assert [each.refunded for each in one.lines] == [0, 1]
    assert [each.amount for each in shop.refunds()] == [Decimal("34.90")]


def test_an_item_is_paid_back_once(open_shop: OpenShop) -> None:
    """The second time there is nothing left of it, though the rest of the order is still paid for."""
    shop = open_shop(account(order("delivered", 10482, TENT, MAT)))
    _do(shop, "request_refund", items=_one("mat"))

    again = _preview(shop, "request_refund", items=_one("mat"))
    rest = _preview(shop, "request_refund", items=_one("tent"))

    assert again.refusal == "Of SB-10482, no Foam Mat is left that could be refunded."
    assert rest.arguments["amount"] == "289.00"


def test_an_item_of_an_order_not_sent_is_taken_out_of_it(open_shop: OpenShop) -> None:
    """The rest is still sent, and costs what it costs."""
    shop = open_shop(account(order("paid", 10482, TENT, MAT)))

    shown = _preview(shop, "request_refund", items=_one("foam mat"))
    _do(shop, "request_refund", items=_one("foam mat"))

    assert shown.effects[:2] == (
        "34.90 EUR for 1 x Foam Mat of SB-10482 go back to your card.",
        "1 x Foam Mat is taken out of SB-10482; the rest is sent: 1 x Ridgeline Tent 2P.",
    )
    (one,) = shop.orders()
    assert (one.status, one.total, one.refunded) == (
        OrderStatus.PAID,
        Decimal("289.00"),
        Decimal("34.90"),
    )
    assert [(each.product, each.quantity) for each in one.kept] == [("Ridgeline Tent 2P", 1)]
    assert _preview(shop, "request_refund").arguments["amount"] == "289.00"


def test_what_falls_below_free_shipping_pays_for_it(open_shop: OpenShop) -> None:
    """An order below 60 EUR costs 4.95 EUR for standard shipping, also when it became so."""
    shop = open_shop(account(order("paid", 10482, HEADLAMP, HAT)))

    shown = _preview(shop, "request_refund", items=_one("hat"))
    _do(shop, "request_refund", items=_one("hat"))

    assert shown.arguments["amount"] == "24.05"
    assert "4.95 EUR for standard shipping are taken off" in " ".join(shown.effects)
    (one,) = shop.orders()
    assert (one.total, one.shipping) == (Decimal("63.95"), Decimal("4.95"))


def test_all_items_are_the_whole_order(open_shop: OpenShop) -> None:
    """Whoever names everything gets the shipping back as well."""
    shop = open_shop(account(order("delivered", 10482, HEADLAMP)))

    shown = _preview(shop, "request_refund", items=_one("headlamp"))

    assert shown.arguments["amount"] == "63.95"
    assert shown.effects[0] == "63.95 EUR for SB-10482 go back to your card."


def test_an_amount_is_a_price_reduction(open_shop: OpenShop) -> None:
    """Twenty euros back, and the goods stay where they are."""
    shop = open_shop(account(order("delivered", 10482, "JKT-501")))

    shown = _preview(shop, "request_refund", amount="20", reason="damaged")
    _do(shop, "request_refund", amount="20", reason="damaged")

    assert shown.effects[0] == (
        "20.00 EUR for SB-10482 go back to your card, of the 279.00 EUR paid; the order stays as it is."
    )
    assert not any("label" in effect for effect in shown.effects)
    (one,) = shop.orders()
    assert (one.status, one.refunded) == (OrderStatus.DELIVERED, Decimal(20))
    assert _preview(shop, "request_refund").arguments["amount"] == "259.00"


def test_an_amount_of_an_item_is_no_more_than_the_item(open_shop: OpenShop) -> None:
    """Fifty euros for a mat of 34.90 are not taken from the tent beside it."""
    shop = open_shop(account(order("delivered", 10482, TENT, MAT)))

    shown = _preview(shop, "request_refund", items=_one("mat"), amount="50")
    less = _preview(shop, "request_refund", items=_one("mat"), amount="10")

    assert shown.refusal is not None
    assert "At most 34.90 EUR can be refunded for 1 x Foam Mat of SB-10482" in shown.refusal
    assert less.effects[0].startswith("10.00 EUR for 1 x Foam Mat of SB-10482 go back")


def test_too_much_is_answered_with_the_true_figure(open_shop: OpenShop) -> None:
    """Whoever asks for 129 where 119 were paid is told of the 119, and asked."""
    shop = open_shop(account(order("delivered", 10390, "STV-402")))

    shown = _preview(shop, "request_refund", amount="129")

    assert shown.refusal == (
        "At most 119.00 EUR can be refunded for SB-10390: that is what was paid. "
        "Shall I ask for those 119.00 EUR?"
    )
    assert shown.instead is not None
    offered = _preview(shop, shown.instead.operation, **shown.instead.arguments)
    assert (offered.refusal, offered.arguments["amount"]) == (None, "119.00")


@pytest.mark.parametrize("amount", ["0", "-5"])
def test_nothing_is_no_amount(amount: str, open_shop: OpenShop) -> None:
    """Neither nothing nor less than that is paid back."""
    shop = open_shop(account(order("delivered")))

    assert _preview(shop, "request_refund", amount=amount).refusal is not None


def test_a_part_of_a_cent_is_no_amount() -> None:
    """What no payment can move is not taken down."""
    with pytest.raises(ValidationError):
        OPERATIONS["request_refund"].arguments.model_validate({"amount": "20.005"})


@pytest.mark.parametrize(
    ("name", "status"), [("request_refund", "delivered"), ("cancel_order", "paid")]
)
def test_more_than_was_bought_is_refused(name: str, status: str, open_shop: OpenShop) -> None:
    """The true number is told, and nothing is done with fewer."""
    shop = open_shop(account(order(status, 10482, TENT, MAT)))

    shown = _preview(shop, name, items=[{"product": "mat", "quantity": 3}])

    assert shown.refusal is not None
    assert "SB-10482 has 1 x Foam Mat, so 3 cannot be" in shown.refusal


@pytest.mark.parametrize(
    ("name", "status"), [("request_refund", "delivered"), ("cancel_order", "paid")]
)
def test_what_is_not_in_the_order_is_said(name: str, status: str, open_shop: OpenShop) -> None:
    """Boots that are in no such order never stand for the tent that is."""
    shop = open_shop(account(order(status, 10482, TENT, MAT)))

    named = _preview(shop, name, order_number="SB-10482", items=_one("my boots"))
    unnamed = _preview(shop, name, items=_one("my boots"))

    assert named.refusal == (
        "There is no “my boots” in SB-10482; it contains Ridgeline Tent 2P and Foam Mat."
    )
    assert unnamed.refusal == "I can't find “my boots” in any of your orders."
    with pytest.raises(NotAllowed):
        OPERATIONS[name].run(
            shop, OPERATIONS[name].arguments.model_validate({"items": _one("my boots")})
        )


def test_another_model_is_not_the_one_that_was_bought(open_shop: OpenShop) -> None:
    """ "Fellwalker boots" names no Glacier boots, though both are boots."""
    shop = open_shop(account(order("delivered", 10398, GLACIER)))

    assert _preview(shop, "request_refund", items=_one("the fellwalker boots")).refusal
    assert _preview(shop, "request_refund", items=_one("the red boots")).refusal is None


def test_an_item_finds_its_order(open_shop: OpenShop) -> None:
    """Of several orders the one that holds the item is meant."""
    shop = open_shop(
        account(order("delivered", 10401, TENT, placed=9), order("delivered", 10402, STOVE))
    )

    shown = _preview(shop, "request_refund", items=_one("tent"))

    assert shown.arguments["order_number"] == "SB-10401"


@pytest.mark.parametrize(
    ("words", "product"),
    [
        ("Ridgeline Tent 2P", "Ridgeline Tent 2P"),
        ("tnt-101", "Ridgeline Tent 2P"),
        ("das Zelt", "Ridgeline Tent 2P"),
        ("meine Isomatte", "Foam Mat"),
        ("sleeping mat", "Foam Mat"),
        ("the other tent", "Ridgeline Tent 2P"),
    ],
)
def test_an_item_goes_by_many_names(words: str, product: str, open_shop: OpenShop) -> None:
    """By its name, its stock number, or what people call it."""
    shop = open_shop(account(order("delivered", 10482, TENT, MAT)))

    shown = _preview(shop, "request_refund", items=_one(words))

    assert shown.arguments["items"] == [{"product": product, "quantity": 1}]


def test_words_for_two_items_are_asked_about(open_shop: OpenShop) -> None:
    """Two boots in one order: neither is picked."""
    shop = open_shop(account(order("delivered", 10482, BOOTS, "BOT-302")))

    shown = _preview(shop, "request_refund", items=_one("the boots"))

    assert shown.candidates == ("Fellwalker Boots", "Fellwalker Mid Boots")
    picked = _preview(shop, "request_refund", **shown.candidate_arguments[1])
    assert picked.arguments["amount"] == "169.00"
    with pytest.raises(SeveralMatch):
        OPERATIONS["request_refund"].run(
            shop, OPERATIONS["request_refund"].arguments.model_validate({"items": _one("boots")})
        )


def test_one_of_several_pieces_is_asked_about(open_shop: OpenShop) -> None:
    """ "The tent" of six is one or all; "the tents" are all, and a number is that number."""
    shop = open_shop(_books(_several("paid", TENT, 6)))

    assert _preview(shop, "cancel_order", items=_one("the tent")).candidates == (
        "1 x Ridgeline Tent 2P",
        "6 x Ridgeline Tent 2P",
    )
    two = _preview(shop, "cancel_order", items=[{"product": "tents", "quantity": 2}])
    assert two.effects[0] == (
        "2 x Ridgeline Tent 2P are taken out of SB-10482; the rest is sent: 4 x Ridgeline Tent 2P."
    )
    assert "SB-10482 (6 x" in _preview(shop, "cancel_order", items=_one("the tents")).effects[0]


# --- cancelling a part ----------------------------------------------------------------------------


@pytest.mark.parametrize("status", ["pending", "paid"])
def test_an_item_is_cancelled_and_the_rest_is_sent(status: str, open_shop: OpenShop) -> None:
    """As long as the order is not packed; the money is a step of its own."""
    shop = open_shop(account(order(status, 10482, TENT, MAT)))

    result = _do(shop, "cancel_order", items=_one("mat")).model_dump(mode="json")

    (one,) = shop.orders()
    assert (one.status.value, one.total) == (status, Decimal("289.00"))
    assert result["items"] == "1 x Foam Mat"
    assert result["paid"] == ("34.90" if status == "paid" else "0")
    assert shop.invoices()[0].total == Decimal("289.00" if status == "pending" else "323.90")


def test_what_was_taken_out_is_paid_back_first(open_shop: OpenShop) -> None:
    """A refund after an item was cancelled pays for the item, and never cancels the rest with it."""
    shop = open_shop(account(order("paid", 10482, TENT, MAT)))
    _do(shop, "cancel_order", items=_one("mat"))

    shown = _preview(shop, "request_refund", order_number="SB-10482")
    _do(shop, "request_refund", order_number="SB-10482")

    assert shown.effects[0] == (
        "34.90 EUR for 1 x Foam Mat, taken out of SB-10482, go back to your card; "
        "the rest of the order is sent as it is."
    )
    (one,) = shop.orders()
    assert (one.status, one.refunded) == (OrderStatus.PAID, Decimal("34.90"))
    assert _preview(shop, "request_refund", order_number="SB-10482").arguments["amount"] == "289.00"


@pytest.mark.parametrize("name", ["cancel_order", "request_refund"])
def test_single_items_of_a_packed_order_stay(name: str, open_shop: OpenShop) -> None:
    """Refused as the articles say, and never widened to the whole order."""
    shop = open_shop(account(order("packed", 10482, TENT, MAT)))

    shown = _preview(shop, name, items=_one("mat"))

    assert shown.refusal is not None
    assert "already packed" in shown.refusal
    assert "only the delivery address" in shown.refusal


def test_nobody_is_asked_how_many_of_a_packed_order(open_shop: OpenShop) -> None:
    """Of several pieces one or all: neither can be taken out any more beside the tent."""
    packed = order("packed", 10482, TENT, MAT)
    first, second = packed.lines
    many = packed.model_copy(update={"lines": (first, second.model_copy(update={"quantity": 20}))})
    shown = _preview(open_shop(account(many)), "cancel_order", items=_one("mat"))

    assert "already packed" in (shown.refusal or "")
    assert len(shown.candidates) == 1


def test_the_only_item_of_a_packed_order_is_the_order(open_shop: OpenShop) -> None:
    """Then the whole cancellation is what was asked for, with its warning."""
    shop = open_shop(account(order("packed", 10482, TENT)))

    shown = _preview(shop, "cancel_order", items=_one("tent"))

    assert "cannot be undone" in " ".join(shown.effects)


def test_an_item_of_a_sent_order_is_not_cancelled(open_shop: OpenShop) -> None:
    """The state of the order is told, as for the whole of it."""
    shop = open_shop(account(order("shipped", 10482, TENT, MAT)))

    assert "already been shipped" in str(_preview(shop, "cancel_order", items=_one("mat")).refusal)


# --- through the payment service ------------------------------------------------------------------


@pytest.mark.parametrize("happened", [True, False])
def test_a_part_is_booked_as_the_service_answers(happened: bool, open_shop: OpenShop) -> None:
    """Exactly the part's amount is ordered; the item leaves the order only when the money has moved."""
    shop = open_shop(account(order("paid", 10482, TENT, MAT)))
    operation = OPERATIONS["request_refund"]
    assert operation.outside is not None
    given = operation.arguments.model_validate({"items": _one("mat")})

    begun = operation.outside.begin(shop, given, "act_1")
    stored = PaymentOrder.model_validate_json(begun.model_dump_json())
    assert begun.amount == Decimal("34.90")
    if happened:
        operation.outside.finish(shop, stored)
    else:
        operation.outside.undo(shop, stored)

    (one,) = shop.orders()
    assert one.status is OrderStatus.PAID
    assert [each.product for each in one.kept] == (
        ["Ridgeline Tent 2P"] if happened else ["Ridgeline Tent 2P", "Foam Mat"]
    )
    assert one.refunded == (Decimal("34.90") if happened else 0)


def test_a_part_paid_after_the_parcel_was_closed_is_sent_all_the_same(open_shop: OpenShop) -> None:
    """What the service did is booked; what the warehouse has packed is not taken out on paper."""
    shop = open_shop(account(order("paid", 10482, TENT, MAT)))
    operation = OPERATIONS["request_refund"]
    assert operation.outside is not None
    given = operation.arguments.model_validate({"items": _one("mat")})
    begun = operation.outside.begin(shop, given, "act_1")
    shop.save_order(shop.orders()[0].model_copy(update={"status": OrderStatus.PACKED}))

    operation.outside.finish(shop, begun)

    (one,) = shop.orders()
    assert (len(one.kept), one.refunded) == (2, Decimal("34.90"))


# --- replacements ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("reason", "why"),
    [
        ("defective", "under warranty until"),
        ("damaged", "it arrived damaged"),
        ("wrong_item", "the wrong item was sent"),
        ("missing", "it was missing"),
    ],
)
def test_what_the_shop_owes_is_not_sold(reason: str, why: str, open_shop: OpenShop) -> None:
    """A sole that came off after sixteen days is never offered for 329 EUR."""
    shop = open_shop(account(order("delivered", 10398, GLACIER, placed=21, delivered=16)))

    shown = _preview(shop, "charge_replacement", product="boots", reason=reason)

    assert shown.refusal is not None
    assert why in shown.refusal
    assert "free of charge" in shown.refusal
    assert "EUR" not in shown.refusal
    assert shown.instead is not None
    ticket = _preview(shop, shown.instead.operation, **shown.instead.arguments)
    assert ticket.effects == (
        "A ticket is opened: Free replacement or repair: Glacier B2 Boots of SB-10398",
    )


def test_a_lost_parcel_is_not_paid_for_by_the_customer(open_shop: OpenShop) -> None:
    """Lost on its way is the shop's; lost on the mountain is the customer's."""
    on_its_way = open_shop(account(order("shipped", 10482, TENT)))
    shown = _preview(on_its_way, "charge_replacement", product="tent", reason="lost")

    assert "lost on its way" in str(shown.refusal)


@pytest.mark.parametrize("reason", ["lost", "broken_by_customer"])
def test_what_the_customer_lost_or_broke_is_charged(reason: str, open_shop: OpenShop) -> None:
    """At the price that was paid, for as many as were asked for and bought."""
    shop = open_shop(_books(_several("delivered", HEADLAMP, 3)))

    shown = _preview(shop, "charge_replacement", product="headlamp", quantity=2, reason=reason)
    result = _do(shop, "charge_replacement", product="headlamp", quantity=2, reason=reason)
    many = _preview(shop, "charge_replacement", product="headlamp", quantity=4, reason=reason)

    assert shown.arguments["amount"] == "118.00"
    assert shown.effects[0] == (
        "2 x Beacon 400 Headlamp are sent as a replacement, and 118.00 EUR are charged to your card; "
        "sending it is free."
    )
    assert result.model_dump()["product"] == "2 x Beacon 400 Headlamp"
    assert "SB-10482 has 3 x Beacon 400 Headlamp, so 4 cannot" in str(many.refusal)


def test_after_the_warranty_a_faulty_thing_is_charged(open_shop: OpenShop) -> None:
    """As the articles say: a replacement is charged when the warranty has ended."""
    shop = open_shop(account(order("delivered", 9874, STOVE, placed=900, delivered=895)))

    assert _preview(shop, "charge_replacement", product="stove", reason="defective").effects


def test_no_charge_without_knowing_what_happened() -> None:
    """The reason is asked for before any price is named."""
    with pytest.raises(ValidationError, match="reason"):
        OPERATIONS["charge_replacement"].arguments.model_validate({"product": "boots"})


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)])
def engine(
    request: pytest.FixtureRequest, copied_database: Callable[..., str]
) -> Generator[sa.Engine]:
    """Zoe's books in a database of their own."""
    made = create_engine(copied_database(request.param))
    with writing(made) as connection:
        for table, rows in rows_of([account(order("paid", 10482))]):
            if rows:
                connection.execute(sa.insert(table), rows)
    yield made
    made.dispose()


# --- tickets --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "given", "subject"),
    [
        ("create_ticket", {"subject": "Charged twice"}, "Charged twice (SB-10482)"),
        ("hand_off", {}, "Conversation handed over: charged twice (SB-10482)"),
    ],
)
def test_the_customers_words_are_kept_whole(
    name: str, given: dict[str, str], subject: str, engine: sa.Engine
) -> None:
    """With the record and the problem beside them, so that nobody has to ask again."""
    words = "I've been double charged for SB-10482.\n\nSecond line, 289 EUR twice.\n> quoted"
    given |= {"body" if name == "create_ticket" else "reason": words}
    with writing(engine) as connection:
        shop = SqlShop(connection, customer(), today=TODAY, writing=True)
        _do(shop, name, record="SB-10482", case="charged_twice", **given)

    (ticket,) = tickets_of(engine, "zoe")
    assert (ticket.subject, ticket.body) == (subject, words)
    assert (ticket.record, ticket.case) == ("SB-10482", "charged_twice")


def test_a_ticket_names_only_an_own_record(open_shop: OpenShop) -> None:
    """A number of somebody else's is not found, as everywhere."""
    shop = open_shop(account(order("paid", 10482)), account(order("paid", 10999), id="max"))

    with pytest.raises(Exception, match="I can't find SB-10999 on your account"):
        _preview(shop, "create_ticket", subject="Charged twice", record="SB-10999")


def test_the_days_of_an_order_do_not_move() -> None:
    """An order read from before parts existed has all its pieces, and none taken out."""
    stored = order("delivered", 10482, TENT, SOCKS).model_dump(mode="json")
    for each in stored["lines"]:
        del each["cancelled"], each["refunded"]

    read = Order.model_validate(stored)

    assert [(each.quantity, each.cancelled, each.refunded) for each in read.lines] == [
        (1, 0, 0)
    ] * 2
    assert read.placed_on == ago(10)
    assert MemoryBooks((account(read),)).customers()
    assert invoice_for(read, 1, paid=True, sent_to="z@example.com").total == read.total
