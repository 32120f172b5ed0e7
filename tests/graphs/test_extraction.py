"""From words to typed arguments, and what is refused."""

from __future__ import annotations

from datetime import datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domains.northfell.operations import OPERATIONS
from graphs import extraction
from graphs.extraction import by_rules, checked, fields, fits, invalid, missing, picked, quantity
from graphs.reading.dates import When
from graphs.state import Pending

WEDNESDAY = When(datetime.fromisoformat("2026-11-18T12:00"))
TWO = ({"order_number": "SB-10496"}, {"order_number": "SB-10479"})


def pending(operation, stage, **more):
    return Pending(request="t", operation=operation, stage=stage, **more)


@pytest.mark.parametrize(
    ("kind", "text", "certain", "possible"),
    [
        ("order", "SB-10482", ["SB-10482"], []),
        ("order", "sb10482", ["SB-10482"], []),
        ("order", "Sb 10482?", ["SB-10482"], []),
        ("order", "cancel order 10482 please", ["SB-10482"], []),
        ("order", "order no. 10482", ["SB-10482"], []),
        ("order", "my order number: #10482", ["SB-10482"], []),
        ("order", "orders 10482", ["SB-10482"], []),
        # bare: may be one
        ("order", "where is 10482", [], ["SB-10482"]),
        ("order", "#10482", [], ["SB-10482"]),
        ("order", "10482 or 10217", [], ["SB-10482", "SB-10217"]),
        # of another kind
        ("order", "INV-20931", [], []),
        ("order", "invoice 20931", [], []),
        ("invoice", "invoice 20931", ["INV-20931"], []),
        ("invoice", "bill no 20931", ["INV-20931"], []),
        ("subscription", "SUB-4021", ["SUB-4021"], []),
        ("subscription", "plan 4021", ["SUB-4021"], []),
        ("refund", "RF-30112", ["RF-30112"], []),
        ("refund", "refund no. 30112", ["RF-30112"], []),
        # a verb here, not the kind of the number
        ("order", "refund 10482", [], ["SB-10482"]),
        ("refund", "refund 30112", [], ["RF-30112"]),
        ("order", "the invoice for order SB-10482", ["SB-10482"], []),
        ("invoice", "the invoice for order SB-10482", [], []),
        # no number of ours
        ("order", "I paid 129.90 for it", [], []),
        ("order", "1,299 EUR", [], []),
        ("order", "in 2 days", [], []),
        ("order", "version 123456789012", [], []),
        ("order", "", [], []),
        # twice the same is once
        ("order", "SB-10482, yes SB 10482", ["SB-10482"], []),
        ("order", "SB-10482 and SB-10217", ["SB-10482", "SB-10217"], []),
    ],
)
def test_record_numbers(kind, text, certain, possible):
    """Numbers that say what they are, and bare ones that may be."""
    assert extraction.numbers(kind, text) == (certain, possible)


@pytest.mark.parametrize(
    ("operation", "text", "found"),
    [
        ("cancel_order", "cancel order SB-10482", {"order_number": "SB-10482"}),
        ("cancel_order", "cancel my last order", {"order_number": "last"}),
        ("get_order", "where is 10482", {"order_number": "SB-10482"}),
        ("get_order", "status of 10482 or 10217", {}),
        ("get_order", "my order", {}),
        ("get_invoice", "the invoice for order SB-10482", {"order_number": "SB-10482"}),
        ("get_invoice", "INV-20931 of SB-10482",
         {"invoice_number": "INV-20931", "order_number": "SB-10482"}),
        # a postcode is no order, and an address is whole
        ("change_delivery_address", "deliver it to Lindenweg 4, 50674 Köln",
         {"address": "Lindenweg 4, 50674 Köln"}),
        ("change_delivery_address", "SB-10482 to Lindenweg 4, 50674 Köln",
         {"order_number": "SB-10482", "address": "Lindenweg 4, 50674 Köln"}),
        ("change_delivery_address", "SB-10482:\nLindenweg 4\n50674 Köln",
         {"order_number": "SB-10482", "address": "Lindenweg 4, 50674 Köln"}),
        ("change_delivery_address", "please to c/o Brennan, Lindenweg 4, 50674 Köln",
         {"address": "c/o Brennan, Lindenweg 4, 50674 Köln"}),
        # cut values are not taken
        ("change_delivery_address", "send it to Lindenweg 4", {}),
        ("change_delivery_address", "send it to 48157 Münster", {}),
        ("update_contact", "my number is now 0251 12", {}),
        ("update_contact", "call me on +49 171 55", {}),
        ("update_contact", "it's o'brien@example.com", {"email": "o'brien@example.com"}),
        ("update_contact", "anna..b@example.com is my mail", {}),
        # days and towns are no records
        ("get_order", "the order from November 2026", {}),
        ("get_order", "last week's order", {}),
        ("get_order", "the order to 48157 Münster", {}),
        # however a number is written
        ("get_order", "10 714 not 10 741", {"order_number": "SB-10714"}),
        ("get_order", "it is sb10482", {"order_number": "SB-10482"}),
        ("pause_subscription", "no, 1 month", {"months": 1}),
        ("pause_subscription", "2 months. no, make it a month", {"months": 1}),
        ("pause_subscription", "SUB-4021, zwei Monate", {"subscription_number": "SUB-4021", "months": 2}),
        ("pause_subscription", "pause SUB-4021 for 2 months",
         {"subscription_number": "SUB-4021", "months": 2}),
        ("update_contact", "my new mail is a@b.example", {"email": "a@b.example"}),
        # what the text itself takes back or excludes is not meant
        ("cancel_order", "cancel SB-10482, no sorry, SB-10488", {"order_number": "SB-10488"}),
        ("cancel_order", "cancel SB-10488 instead of SB-10482", {"order_number": "SB-10488"}),
        ("cancel_order", "sorry, I meant 10488", {"order_number": "SB-10488"}),
        # of two orders none is guessed
        ("cancel_order", "SB-10482 or SB-10488", {}),
        ("request_refund", "it arrived torn", {"reason": "damaged"}),
        ("request_refund", "it is not damaged", {}),
    ],
)  # fmt: skip
def test_what_rules_can_find(operation, text, found):
    """No model is needed for a number that cannot be anything else."""
    assert by_rules(fields(OPERATIONS[operation]), text, WEDNESDAY).values == found


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("two months", 2),
        ("3", 3),
        ("for a month", 1),
        ("one", 1),
        ("a pause", None),
        ("seven months", None),
        ("12 months", None),
        ("4 months, no, 3", 3),
        ("", None),
    ],
)
def test_quantities(text, number):
    """A whole number within its bounds, in digits or as a word."""
    assert quantity(text, (1, 3)) == number


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("SB-10479", 1),
        ("the 10496 one", 0),
        ("the first", 0),
        ("second one please", 1),
        ("the last one", 1),
        ("2", 1),
        (" 1. ", 0),
        ("3", None),
        ("the third", None),
        ("SB-104799", None),
        ("neither", None),
        ("yes", None),
    ],
)
def test_the_choice_among_records(text, place):
    """By number, by place in the list, and by nothing else."""
    offered = pending("cancel_order", "choice", candidates=TWO)
    assert picked(offered, text) == (None if place is None else TWO[place])


@pytest.mark.parametrize(
    ("operation", "proposed", "text", "taken", "refused"),
    [
        ("cancel_order", {"order_number": "SB-10482"}, "cancel 10482", {"order_number": "SB-10482"}, ()),
        ("cancel_order", {"order_number": "SB-99999"}, "cancel 10482", {}, ("order_number",)),
        ("cancel_order", {"order_number": "SB-10482"}, "cancel it", {}, ("order_number",)),
        ("cancel_order", {"reason": "ordered twice"}, "I ordered twice", {"reason": "ordered twice"}, ()),
        ("cancel_order", {"reason": "too expensive"}, "I ordered twice", {}, ("reason",)),
        ("cancel_order", {"reason": None}, "cancel", {}, ()),
        ("cancel_order", {"seen_status": "packed"}, "cancel, it is packed", {}, ()),
        ("request_refund", {"amount": "9999"}, "refund 9999", {}, ()),
        ("request_refund", {"reason": "damaged"}, "it broke", {"reason": "damaged"}, ()),
        ("request_refund", {"reason": "revenge"}, "for revenge", {}, ("reason",)),
        ("pause_subscription", {"months": 2}, "2 months", {"months": 2}, ()),
        ("pause_subscription", {"months": 12}, "12 months", {}, ("months",)),
        ("update_contact", {"email": "a@b.example"}, "use a@b.example", {"email": "a@b.example"}, ()),
        ("update_contact", {"email": "not an email"}, "it is not an email", {}, ("email",)),
        ("update_contact", {"email": "evil@x.example"}, "use a@b.example", {}, ("email",)),
        ("change_delivery_address", {"address": "Lindenweg 4, 50674 Köln"},
         "please send it to Lindenweg 4, 50674 Köln.", {"address": "Lindenweg 4, 50674 Köln"}, ()),
        ("change_delivery_address", {"address": "somewhere nice"}, "somewhere nice", {}, ("address",)),
        ("get_order", {"customer": "ben"}, "I am ben", {}, ()),
    ],
)  # fmt: skip
def test_what_is_taken(operation, proposed, text, taken, refused):
    """A value must stand in the customer's words, fit its type, and be one the customer may set."""
    found, why = checked(OPERATIONS[operation], proposed, text)
    assert found == taken
    assert tuple(why) == refused


@given(st.text(max_size=60), st.text(alphabet="abcdefgh 0123456789", min_size=1, max_size=12))
def test_nothing_that_was_not_said_is_taken(text, value):
    """Whatever a model proposes, a copied value is a run of the customer's own words."""
    taken, _ = checked(OPERATIONS["create_ticket"], {"subject": value}, text)
    if taken:
        assert extraction.occurs(str(taken["subject"]), text)


@pytest.mark.parametrize(
    ("operation", "arguments", "field"),
    [
        ("cancel_order", {}, None),
        ("change_delivery_address", {}, "address"),
        ("change_delivery_address", {"address": "Lindenweg 4, 50674 Köln"}, None),
        ("pause_subscription", {"subscription_number": "SUB-4021"}, "months"),
        ("charge_replacement", {}, "product"),
        ("create_ticket", {}, "subject"),
        # any one of several would do
        ("update_contact", {}, ""),
        ("update_contact", {"phone": "+49 171 5550123"}, None),
    ],
)
def test_what_is_missing(operation, arguments, field):
    """The first thing still needed, with its question; optional fields are not asked for."""
    lack = missing(OPERATIONS[operation], arguments)
    assert (None if lack is None else lack[0]) == field
    assert lack is None or lack[1].endswith(("?", "town."))


def test_an_absent_value_is_not_invalid():
    """Missing and wrong are different questions."""
    assert invalid(OPERATIONS["pause_subscription"], {}) == {}
    assert [*invalid(OPERATIONS["pause_subscription"], {"months": "many"})] == ["months"]


@pytest.mark.parametrize(
    ("operation", "stage", "field", "text", "expected"),
    [
        ("cancel_order", "confirm", None, "no, the other one: SB-10479", True),
        ("cancel_order", "confirm", None, "what does it cost?", False),
        ("pause_subscription", "field", "months", "two", True),
        ("pause_subscription", "field", "months", "where is my parcel", False),
        ("change_delivery_address", "field", "address", "Gartenweg 4, 55116 Mainz", True),
        ("change_delivery_address", "field", "address", "Hauptstraße 7", True),
        ("change_delivery_address", "field", "address", "5 Main Street", True),
        ("change_delivery_address", "field", "address", "when does it arrive", False),
        ("update_contact", "field", None, "a@b.example", True),
        ("update_contact", "field", None, "+49 171 5550123", True),
        ("update_contact", "field", None, "why?", False),
        ("request_refund", "field", "reason", "wrong item", True),
        ("plan", "field", "months", "two", False),
    ],
)
def test_an_answer_or_another_subject(operation, stage, field, text, expected):
    """A text that holds the value that was asked for is the answer."""
    asked = pending(operation, stage, field=field)
    assert fits(asked, text, OPERATIONS) is expected


def test_a_plans_step_is_asked_about_by_its_own_operation():
    """A plan's question is about one step's field."""
    asked = pending("plan", "field", field="months", about="pause_subscription")
    assert fits(asked, "two", OPERATIONS)


def test_the_schema_offers_only_what_the_text_supports():
    """The model chooses among the numbers in the text; null is always allowed."""
    of = OPERATIONS["request_refund"]
    schema = extraction.schema_for(of.name, fields(of), "refund 10482 or 10217")
    assert schema["properties"]["order_number"] == {"enum": ["SB-10482", "SB-10217", None]}
    assert schema["properties"]["reason"]["enum"][-1] is None
    assert "amount" not in schema["properties"]
