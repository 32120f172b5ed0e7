"""Every operation in front of every state of its record, on every kind of books."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import date
from decimal import Decimal
from typing import Any

import pytest
from pydantic import ValidationError

from domains.northfell.data_model import OrderStatus
from domains.northfell.demo_accounts import Account
from domains.northfell.operations import (
    OPERATIONS,
    SeveralMatch,
    extraction_schema,
    missing_fields,
    question,
)
from tests.domains.northfell.accounts import (
    SOCKS,
    STOVE,
    TENT,
    TODAY,
    account,
    ago,
    order,
    plan,
    refund,
)
from tests.domains.northfell.conftest import OpenShop
from tests.northfell import REPLIES
from tools.values import Consequence, NotAllowed, RecordNotFound

SAFE, RETRY_SAFE, IRREVERSIBLE = (
    Consequence.SAFE,
    Consequence.RETRY_SAFE,
    Consequence.IRREVERSIBLE,
)


@dataclass(frozen=True)
class Case:
    """An operation, the account it meets, and what is to come of it."""

    operation: str
    books: Account
    expected: Consequence | str  #: The class it runs with, or words of the refusal.
    arguments: dict[str, Any] = field(default_factory=dict[str, Any])
    says: str = ""  #: Words of the result or of its effects.
    id: str = ""


def _case(id: str, operation: str, books: Account, expected: Consequence | str, **more: Any) -> Any:
    says = more.pop("says", "")
    return pytest.param(Case(operation, books, expected, more, says, id), id=f"{operation}-{id}")


def _of(status: str, **more: Any) -> Account:
    return account(order(status, **more))


NEW_ADDRESS = "Lindenweg 4, 50674 Köln"
STATES = [status.value for status in OrderStatus]

CASES = [
    # Reads find the record in whatever state it is.
    *[_case(status, "get_order", _of(status), SAFE, says=status) for status in STATES],
    *[_case(status, "track_parcel", _of(status), SAFE, says=status) for status in STATES],
    *[_case(status, "list_orders", _of(status), SAFE, says=status) for status in STATES],
    _case("none", "get_order", account(), "no order"),
    _case("none", "track_parcel", account(), "no order"),
    _case("none", "list_orders", account(), SAFE, says="0"),
    _case("paid", "get_invoice", _of("paid"), SAFE, says="INV-30482"),
    _case("unpaid", "get_invoice", _of("pending"), SAFE, says="False"),
    _case("of order", "get_invoice", _of("paid"), SAFE, order_number="10482", says="INV-30482"),
    _case("none", "get_invoice", account(), "no invoice"),
    *[
        _case(status, "get_subscription", account(subscriptions=(plan(status),)), SAFE, says=status)
        for status in ("active", "paused", "cancelled")
    ],
    _case("none", "get_subscription", account(), "no maintenance plan"),
    *[
        _case(
            status,
            "get_refund_status",
            account(order("returned"), refunds=(refund(status),)),
            SAFE,
            says=status,
        )
        for status in ("requested", "approved", "paid", "rejected")
    ],
    _case("none", "get_refund_status", _of("delivered"), "no refund"),
    _case("other order", "get_refund_status", _of("paid"), "SB-10482", order_number="SB-10482"),
    # An address can change until the parcel leaves.
    *[
        _case(
            status,
            "change_delivery_address",
            _of(status),
            RETRY_SAFE,
            address=NEW_ADDRESS,
            says=NEW_ADDRESS,
        )
        for status in ("pending", "paid", "packed")
    ],
    _case(
        "shipped",
        "change_delivery_address",
        _of("shipped"),
        "already on its way",
        address=NEW_ADDRESS,
    ),
    *[
        _case(
            status,
            "change_delivery_address",
            _of(status),
            f"is {status}",
            address=NEW_ADDRESS,
            order_number="10482",
        )
        for status in ("delivered", "cancelled", "returned", "refunded")
    ],
    _case(
        "same",
        "change_delivery_address",
        _of("paid"),
        "nothing changes",
        address="Rosenstraße 27, 80331 München",
    ),
    # Cancelling is free until packed, final when packed, too late afterwards.
    _case("pending", "cancel_order", _of("pending"), RETRY_SAFE, says="Nothing has been paid"),
    _case("paid", "cancel_order", _of("paid"), RETRY_SAFE, says="does not pay back"),
    _case("packed", "cancel_order", _of("packed"), IRREVERSIBLE, says="cannot be undone"),
    _case("shipped", "cancel_order", _of("shipped"), "return it within 30 days"),
    _case("delivered", "cancel_order", _of("delivered"), "already been delivered"),
    _case("cancelled", "cancel_order", _of("cancelled"), "already cancelled"),
    _case("returned", "cancel_order", _of("returned"), "already returned"),
    _case("refunded", "cancel_order", _of("refunded"), "already refunded"),
    _case("none", "cancel_order", account(), "no order"),
    # A refund needs a payment, a reason the rules know, and time left.
    _case("pending", "request_refund", _of("pending"), "Nothing has been paid"),
    _case("paid", "request_refund", _of("paid"), IRREVERSIBLE, says="will not be sent"),
    _case("packed", "request_refund", _of("packed"), IRREVERSIBLE, says="will not be sent"),
    _case("shipped", "request_refund", _of("shipped"), "Once it has arrived"),
    _case("not late", "request_refund", _of("shipped"), "not late yet", reason="late"),
    _case("late", "request_refund", _of("shipped", expected_in=-3), IRREVERSIBLE, reason="late"),
    _case("broken on the way", "request_refund", _of("shipped"), IRREVERSIBLE, reason="damaged"),
    _case("delivered", "request_refund", _of("delivered"), IRREVERSIBLE, says="3.95 EUR"),
    # Who has not said why may hold something broken in their hands.
    _case("no reason", "request_refund", _of("delivered"), IRREVERSIBLE, says="arrived damaged"),
    _case(
        "unwanted",
        "request_refund",
        _of("delivered"),
        IRREVERSIBLE,
        reason="unwanted",
        says="unused; the return label is 3.95 EUR.",
    ),
    _case(
        "member",
        "request_refund",
        account(order("delivered"), subscriptions=(plan("active"),)),
        IRREVERSIBLE,
        says="free with your plan",
    ),
    _case("day 30", "request_refund", _of("delivered", placed=35, delivered=30), IRREVERSIBLE),
    _case("day 31", "request_refund", _of("delivered", placed=36, delivered=31), "30 days"),
    _case(
        "old but under warranty",
        "request_refund",
        _of("delivered", placed=900, delivered=895),
        IRREVERSIBLE,
        reason="damaged",
    ),
    _case(
        "out of warranty",
        "request_refund",
        account(order("delivered", 10482, STOVE, placed=900, delivered=895)),
        "warranty of SB-10482 ended",
        reason="damaged",
    ),
    _case("cancelled, paid", "request_refund", _of("cancelled"), IRREVERSIBLE, says="289.00"),
    _case(
        "cancelled, unpaid",
        "request_refund",
        account(order("cancelled"), paid=False),
        "Nothing has been paid",
    ),
    _case("returned", "request_refund", _of("returned"), IRREVERSIBLE, says="289.00"),
    _case("refunded", "request_refund", _of("refunded", refunded="289"), "already been refunded"),
    _case("partly", "request_refund", _of("returned", refunded="89"), IRREVERSIBLE, says="200.00"),
    _case(
        "requested",
        "request_refund",
        account(order("returned"), refunds=(refund("requested"),)),
        "already been requested: RF-30112",
    ),
    _case("too much", "request_refund", _of("returned"), "At most 289.00", amount="500"),
    _case("none", "request_refund", account(), "no order"),
    # A replacement is for something that was sent.
    _case(
        "pending",
        "charge_replacement",
        _of("pending"),
        "not been sent yet",
        product="tent",
        reason="lost",
    ),
    _case(
        "paid",
        "charge_replacement",
        _of("paid"),
        "not been sent yet",
        product="tent",
        reason="lost",
    ),
    _case(
        "packed",
        "charge_replacement",
        _of("packed"),
        "not been sent yet",
        product="tent",
        reason="lost",
    ),
    _case(
        "shipped",
        "charge_replacement",
        _of("shipped"),
        IRREVERSIBLE,
        product="the tent",
        reason="broken_by_customer",
    ),
    _case(
        "delivered",
        "charge_replacement",
        _of("delivered"),
        IRREVERSIBLE,
        product="ridgeline tents",
        reason="lost",
        says="289.00",
    ),
    _case(
        "cancelled",
        "charge_replacement",
        _of("cancelled"),
        "is cancelled",
        product="tent",
        reason="lost",
    ),
    _case(
        "returned",
        "charge_replacement",
        _of("returned"),
        "is returned",
        product="tent",
        reason="lost",
    ),
    _case(
        "refunded",
        "charge_replacement",
        _of("refunded"),
        "is refunded",
        product="tent",
        reason="lost",
    ),
    _case(
        "not in it",
        "charge_replacement",
        _of("delivered"),
        "contains Ridgeline Tent 2P",
        product="kettle",
        reason="lost",
        order_number="10482",
    ),
    _case(
        "never bought",
        "charge_replacement",
        _of("delivered"),
        "any of your",
        product="kettle",
        reason="lost",
    ),
    _case(
        "price",
        "charge_replacement",
        _of("delivered"),
        "costs",
        product="tent",
        reason="lost",
        amount="1",
    ),
    # Plans.
    _case(
        "active",
        "pause_subscription",
        account(subscriptions=(plan("active"),)),
        RETRY_SAFE,
        months="two months",
        says="22 Jan 2027",
    ),
    _case(
        "paused",
        "pause_subscription",
        account(subscriptions=(plan("paused"),)),
        "already paused",
        months=1,
    ),
    _case(
        "cancelled",
        "pause_subscription",
        account(subscriptions=(plan("cancelled"),)),
        "is cancelled",
        months=1,
    ),
    _case("none", "pause_subscription", account(), "no maintenance plan", months=3),
    _case(
        "active",
        "cancel_subscription",
        account(subscriptions=(plan("active"),)),
        RETRY_SAFE,
        says="4 Dec",
    ),
    _case(
        "paused",
        "cancel_subscription",
        account(subscriptions=(plan("paused"),)),
        RETRY_SAFE,
        says="today, as it is paused",
    ),
    _case(
        "cancelled",
        "cancel_subscription",
        account(subscriptions=(plan("cancelled"),)),
        "already cancelled; it ended on 19 Nov",
    ),
    _case("none", "cancel_subscription", account(), "no maintenance plan"),
    # No record, or a record of any state.
    _case("paid", "resend_invoice", _of("paid"), RETRY_SAFE, says="zoe@example.com"),
    _case("unpaid", "resend_invoice", _of("pending"), RETRY_SAFE, says="'times_sent': 2"),
    _case("none", "resend_invoice", account(), "no invoice"),
    _case("email", "update_contact", account(), RETRY_SAFE, email="z@example.com", says="z@exam"),
    _case("phone", "update_contact", account(), RETRY_SAFE, phone="+49 30 5550", says="+49 30"),
    _case("new", "create_ticket", account(), RETRY_SAFE, subject="Zip jams", says="T-70001"),
    _case("new", "hand_off", account(), RETRY_SAFE, says="T-70001"),
]


@pytest.mark.parametrize("case", CASES)
def test_operation_in_front_of_a_state(case: Case, open_shop: OpenShop) -> None:
    """The preview tells class or refusal, the run does what the preview said, and it can be told."""
    shop = open_shop(case.books)
    operation = OPERATIONS[case.operation]
    given = operation.arguments.model_validate(case.arguments)
    preview = operation.preview(shop, given)

    if not isinstance(case.expected, Consequence):
        assert preview.refusal is not None
        assert case.expected in preview.refusal
        with pytest.raises(NotAllowed) as raised:
            operation.run(shop, given)
        assert preview.refusal == str(raised.value)
        assert preview.refusal == REPLIES.voice("en").render(
            f"{case.operation}.refused", reason=preview.refusal
        )
        return

    assert preview.refusal is None
    assert case.expected is preview.consequence
    completed = operation.arguments.model_validate(preview.arguments)
    result = operation.run(shop, completed)
    assert isinstance(result, operation.result)
    shown = result.model_dump(mode="json")
    assert case.says in f"{shown} {preview.effects}"
    assert operation.result.model_validate(shown) == result
    assert REPLIES.voice("en").render(f"{case.operation}.done", result=shown, today=TODAY)


def test_every_operation_meets_every_state_of_its_record() -> None:
    """No operation and no state of the records it touches is left out of the table."""
    seen = {(case.values[0].operation, case.values[0].id) for case in CASES}
    by_order = {
        "get_order",
        "track_parcel",
        "list_orders",
        "change_delivery_address",
        "charge_replacement",
        "cancel_order",
        "request_refund",
    }

    assert set(OPERATIONS) == {operation for operation, _ in seen}
    for operation in by_order:
        for status in STATES:
            assert any(op == operation and id.startswith(status) for op, id in seen), (
                operation,
                status,
            )


def test_the_declared_classes_and_confirmations() -> None:
    """Reads are safe, money is irreversible, every other write is retry-safe and confirmed."""
    money = {"request_refund", "charge_replacement"}
    unconfirmed = {"create_ticket", "hand_off"}

    assert len(OPERATIONS) == 16
    for name, operation in OPERATIONS.items():
        assert name == operation.name
        assert operation.title
        assert operation.summary
        assert operation.example
        if not operation.writes:
            assert not operation.confirm
        else:
            assert operation.consequence is (IRREVERSIBLE if name in money else RETRY_SAFE)
            assert operation.confirm is (name not in unconfirmed)


def test_writes_reach_the_books(open_shop: OpenShop) -> None:
    """What an operation says it did is what the books hold afterwards."""
    shop = open_shop(account(order("paid"), subscriptions=(plan("active"),)))

    def run(name: str, **arguments: Any) -> Any:
        operation = OPERATIONS[name]
        preview = operation.preview(shop, operation.arguments.model_validate(arguments))
        return operation.run(shop, operation.arguments.model_validate(preview.arguments))

    run("change_delivery_address", address=NEW_ADDRESS)
    run("update_contact", email="new@example.com")
    run("resend_invoice")
    run("pause_subscription", months=1)
    run("cancel_order")
    refunded = run("request_refund")
    ticket = run("create_ticket", subject="Zip jams", body="At the top.")

    one = shop.order("SB-10482")
    assert one is not None
    assert (one.delivery_address, one.status) == (NEW_ADDRESS, OrderStatus.REFUNDED)
    assert Decimal("289.00") == one.refunded == shop.refunds()[0].amount
    assert (refunded.refund_number, "approved") == (
        shop.refunds()[0].number,
        shop.refunds()[0].status,
    )
    assert "new@example.com" == shop.customer.email == shop.invoices()[0].sent_to
    assert shop.invoices()[0].times_sent == 2
    assert shop.subscriptions()[0].status == "paused"
    assert ticket.ticket_number == "T-70001"


def test_numbers_grow(open_shop: OpenShop) -> None:
    """Every new record gets the next number of its kind."""
    shop = open_shop(account(order("delivered"), refunds=(refund("rejected", 30112),)))
    replace = OPERATIONS["charge_replacement"]
    given = replace.arguments.model_validate({"product": "tent", "reason": "lost"})
    refunding = OPERATIONS["request_refund"]

    first, second = (replace.run(shop, given).model_dump() for _ in range(2))
    paid_back = refunding.run(shop, refunding.arguments.model_validate({})).model_dump()

    assert (first["charge_number"], second["charge_number"]) == ("CH-50001", "CH-50002")
    assert paid_back["refund_number"] == "RF-30113"


# --- which record ------------------------------------------------------------------------------


def test_the_only_open_order_is_taken(open_shop: OpenShop) -> None:
    """Without a number the one open order is meant, also with newer closed ones beside it."""
    shop = open_shop(account(order("paid", 10482, placed=9), order("cancelled", 10490, placed=3)))
    operation = OPERATIONS["get_order"]

    preview = operation.preview(shop, operation.arguments())

    assert preview.record == "SB-10482, placed 13 Nov, Ridgeline Tent 2P, paid"
    assert preview.arguments == {"order_number": "SB-10482"}
    assert preview.record_state == "paid"


@pytest.mark.parametrize("name", ["get_order", "cancel_order", "request_refund"])
def test_several_open_orders_are_offered(name: str, open_shop: OpenShop) -> None:
    """With several that fit nothing is guessed: at most five are offered, newest first."""
    orders = [order("paid", 10400 + day, TENT, SOCKS, placed=20 - day) for day in range(7)]
    shop = open_shop(account(*orders))
    operation = OPERATIONS[name]

    preview = operation.preview(shop, operation.arguments())

    assert preview.record is None
    assert 5 == len(preview.candidates) == len(preview.candidate_arguments)
    assert preview.candidates[0] == "SB-10406, placed 8 Nov, Ridgeline Tent 2P and 1 more, paid"
    assert preview.candidate_arguments[0] == {"order_number": "SB-10406"}
    with pytest.raises(SeveralMatch):
        operation.run(shop, operation.arguments())


@pytest.mark.parametrize("words", ["last", "my last order", "the newest one", "most recent order"])
def test_my_last_order_is_the_newest(words: str, open_shop: OpenShop) -> None:
    """A customer may name an order by its place in time."""
    shop = open_shop(account(order("paid", 10401, placed=9), order("paid", 10402, placed=2)))
    operation = OPERATIONS["cancel_order"]

    preview = operation.preview(shop, operation.arguments.model_validate({"order_number": words}))

    assert preview.arguments["order_number"] == "SB-10402"


def test_several_products_of_one_order_are_offered(open_shop: OpenShop) -> None:
    """Words that fit two products of an order pick neither."""
    shop = open_shop(account(order("delivered", 10482, "BOT-301", "BOT-302")))
    operation = OPERATIONS["charge_replacement"]

    preview = operation.preview(
        shop, operation.arguments.model_validate({"product": "boots", "reason": "lost"})
    )

    assert preview.candidates == (
        "Fellwalker Boots, 189.00 EUR",
        "Fellwalker Mid Boots, 169.00 EUR",
    )
    assert preview.candidate_arguments[1]["product"] == "Fellwalker Mid Boots"
    with pytest.raises(SeveralMatch, match="Which do you mean"):
        operation.run(
            shop, operation.arguments.model_validate({"product": "boots", "reason": "lost"})
        )


@pytest.mark.parametrize(
    ("name", "field", "number", "missing"),
    [
        ("get_order", "order_number", "SB-10999", "SB-77777"),
        ("cancel_order", "order_number", "SB-10999", "SB-77777"),
        ("request_refund", "order_number", "SB-10999", "SB-77777"),
        ("get_invoice", "invoice_number", "INV-30999", "INV-77777"),
        ("get_invoice", "order_number", "SB-10999", "SB-77777"),
        ("resend_invoice", "invoice_number", "INV-30999", "INV-77777"),
        ("get_subscription", "subscription_number", "SUB-4999", "SUB-7777"),
        ("cancel_subscription", "subscription_number", "SUB-4999", "SUB-7777"),
        ("get_refund_status", "refund_number", "RF-30999", "RF-77777"),
    ],
)
def test_other_peoples_numbers_are_not_found(
    name: str, field: str, number: str, missing: str, open_shop: OpenShop
) -> None:
    """A number of another account reads exactly like one that does not exist, and nothing moves."""
    theirs = account(
        order("paid", 10999),
        id="max",
        subscriptions=(plan("active", 4999),),
        refunds=(refund("approved", 30999, "SB-10999"),),
    )
    shop = open_shop(account(order("paid")), theirs)
    operation = OPERATIONS[name]
    sentences: list[str] = []
    for value in (number, missing):
        arguments = operation.arguments.model_validate({field: value})
        for call in (operation.preview, operation.run):
            with pytest.raises(RecordNotFound) as raised:
                call(shop, arguments)
            sentences.append(str(raised.value).replace(value, "it"))

    assert len(set(sentences)) == 1
    assert shop.order("SB-10999") is None
    with pytest.raises(RecordNotFound):
        shop.save_order(order("cancelled", 10999))


# --- between preview and run -------------------------------------------------------------------


def test_an_order_packed_after_the_question_is_not_cancelled(open_shop: OpenShop) -> None:
    """A yes to "cancel the paid order" does not count for the packed one it became."""
    shop = open_shop(account(order("paid")))
    operation = OPERATIONS["cancel_order"]
    agreed = operation.arguments.model_validate(
        operation.preview(shop, operation.arguments()).arguments
    )
    shop.save_order(order("packed"))

    with pytest.raises(NotAllowed, match="packed in the meantime"):
        operation.run(shop, agreed)

    assert shop.orders()[0].status == "packed"


def test_a_packed_order_is_cancelled_only_by_those_who_knew(open_shop: OpenShop) -> None:
    """Arguments that never met the preview cannot do the irreversible thing."""
    shop = open_shop(account(order("packed")))
    operation = OPERATIONS["cancel_order"]

    with pytest.raises(NotAllowed, match="ask for it once more"):
        operation.run(shop, operation.arguments())

    assert shop.orders()[0].status == "packed"


def test_a_second_refund_of_the_same_money_is_refused(open_shop: OpenShop) -> None:
    """Even past the ledger, an order is refunded once."""
    shop = open_shop(account(order("delivered")))
    operation = OPERATIONS["request_refund"]
    agreed = operation.arguments.model_validate(
        operation.preview(shop, operation.arguments()).arguments
    )
    operation.run(shop, agreed)

    with pytest.raises(NotAllowed, match="already been refunded"):
        operation.run(shop, agreed)

    assert len(shop.refunds()) == 1


# --- arguments ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "values", "asked"),
    [
        ("get_order", {}, []),
        ("change_delivery_address", {}, ["address"]),
        ("change_delivery_address", {"address": ""}, ["address"]),
        ("update_contact", {}, ["email"]),
        ("update_contact", {"phone": "+49 30 5550"}, []),
        ("pause_subscription", {"subscription_number": "4021"}, ["months"]),
        ("charge_replacement", {}, ["product", "reason"]),
        ("create_ticket", {}, ["subject"]),
        ("hand_off", {}, []),
        ("request_refund", {}, []),
    ],
)
def test_missing_fields_have_questions(name: str, values: dict[str, Any], asked: list[str]) -> None:
    """Only what nobody else can know is asked for, each with its own question."""
    operation = OPERATIONS[name]

    assert asked == missing_fields(operation, values)
    for field_name in operation.arguments.model_fields:
        assert question(operation, field_name)


@pytest.mark.parametrize(
    ("name", "values", "field_name"),
    [
        ("pause_subscription", {"months": "5 months"}, "months"),  # more than three
        ("pause_subscription", {"months": "2 or 3"}, "months"),  # two numbers
        ("pause_subscription", {"months": "a while"}, "months"),
        ("pause_subscription", {"months": "two weeks"}, "months"),
        ("pause_subscription", {"months": "one year"}, "months"),
        ("change_delivery_address", {"address": "somewhere else"}, "address"),  # no number
        ("change_delivery_address", {"address": "12345678"}, "address"),  # no street
        ("update_contact", {"email": "ana at example"}, "email"),
        ("update_contact", {"phone": "call me"}, "phone"),
        ("request_refund", {"reason": "bored"}, "reason"),
    ],
)
def test_invalid_values_name_their_field(
    name: str, values: dict[str, Any], field_name: str
) -> None:
    """A value that cannot be right is refused where it stands, so that it can be asked again."""
    with pytest.raises(ValidationError) as raised:
        OPERATIONS[name].arguments.model_validate(values)

    assert field_name == raised.value.errors()[0]["loc"][0]


@pytest.mark.parametrize(
    ("words", "months"),
    [("2", 2), ("two months", 2), ("a month", 1), ("a couple of months", 2), (3, 3)],
)
def test_months_in_words(words: Any, months: int) -> None:
    """Months may be written as people do."""
    given = OPERATIONS["pause_subscription"].arguments.model_validate({"months": words})

    assert months == given.model_dump()["months"]


def test_the_extraction_schema_offers_what_a_message_can_hold() -> None:
    """Models see copied strings and closed sets; what the books fill is not theirs to set."""
    refunding = extraction_schema(OPERATIONS["request_refund"])["properties"]
    pausing = extraction_schema(OPERATIONS["pause_subscription"])["properties"]

    assert {"order_number", "reason"} == set(refunding)
    assert (
        refunding["order_number"]["x-record"],
        refunding["order_number"]["x-copy"],
    ) == ("order", True)
    assert refunding["reason"]["enum"] == [
        "damaged",
        "late",
        "wrong_item",
        "not_as_described",
        "unwanted",
        "other",
        None,
    ]
    assert pausing["months"]["type"] == ["string", "null"]
    assert {"order_number", "reason"} == set(
        extraction_schema(OPERATIONS["cancel_order"])["properties"]
    )


def test_a_plan_paused_at_the_end_of_a_month(open_shop: OpenShop) -> None:
    """A month later than the 31st is the last day of a shorter month."""
    running = plan("active", renews_on=date(2027, 1, 31))
    shop = open_shop(account(subscriptions=(running,)))
    operation = OPERATIONS["pause_subscription"]

    operation.run(shop, operation.arguments.model_validate({"months": 1}))

    assert date(2027, 2, 28) == shop.subscriptions()[0].renews_on
    assert ago(-30) == shop.subscriptions()[0].paused_until
