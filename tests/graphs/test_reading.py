"""Reading a customer's words for any operation's schema: forms, evidence, days, several turns."""

from __future__ import annotations

from datetime import datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from graphs.extraction import nearest_option, read_turn, supported
from graphs.reading import turns
from graphs.reading.dates import When, days, moments, times
from graphs.reading.dialogue import collect, nested
from graphs.reading.fields import fields_of, shape_of
from tests.graphs.world import ScriptedEncoder, ScriptedSmallModel
from tools.ports import ModelUnavailable

WEDNESDAY = When(datetime.fromisoformat("2026-11-18T12:00"))


def schema(required=(), **properties):
    return fields_of({"type": "object", "properties": properties, "required": [*required]})


def read(text, *, asked=(), **properties):
    found = turns.read(schema(**properties), text, WEDNESDAY, asked=frozenset(asked))
    return found.values, found.refused


async def said(fields, *talk, records=None, small=None):
    """What comes of a conversation; what the assistant says begins with ``>``."""

    async def listen(text, asked):
        return await read_turn(
            small, None, "op", fields, text, WEDNESDAY, asked=asked, trained=False
        )

    spoken = [(not one.startswith(">"), one.removeprefix("> ")) for one in talk]
    return await collect(fields, spoken, WEDNESDAY, listen, records=records)


# --- days ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "day"),
    [
        ("today", "2026-11-18"),
        ("tomorrow", "2026-11-19"),
        ("the day after tomorrow", "2026-11-20"),
        ("on Friday", "2026-11-20"),
        ("this Friday", "2026-11-20"),
        ("next Friday", "2026-11-27"),
        ("Wednesday", "2026-11-25"),
        ("a week from Monday", "2026-11-30"),
        ("in two weeks", "2026-12-02"),
        ("in a month", "2026-12-18"),
        ("three weeks ago", "2026-10-28"),
        ("the 3rd", "2026-12-03"),
        ("the 25th", "2026-11-25"),
        ("end of the month", "2026-11-30"),
        ("end of February", "2027-02-28"),
        ("5 January", "2027-01-05"),
        ("Dec 1st", "2026-12-01"),
        ("03.12.2026", "2026-12-03"),
        ("12/24", "2026-12-24"),
        ("2026-12-03", "2026-12-03"),
    ],
)
def test_days_as_people_say_them(text, day):
    """Seen from a Wednesday; without a year the next such day."""
    assert [one.value for one in days(f"please {text} if you can", WEDNESDAY)] == [day]


@pytest.mark.parametrize(
    "text", ["may I", "next month", "12.50", "SB-10482", "in the sun", "the second one", "march on"]
)
def test_what_is_no_day(text):
    """A word that may be a month, a price, a number."""
    assert days(text, WEDNESDAY) == []


@pytest.mark.parametrize(
    ("text", "day_first", "day", "why"),
    [
        ("03/04/2027", None, None, "3 April"),
        ("03/04/2027", True, "2027-04-03", ""),
        ("03/04/2027", False, "2027-03-04", ""),
        ("31 November", None, None, "there is no 31 November"),
        ("29 February 2027", None, None, "there is no"),
    ],
)
def test_a_day_with_two_readings_or_none_is_said_to_be_so(text, day_first, day, why):
    """Only the locale may settle it."""
    (one,) = days(text, When(WEDNESDAY.now, day_first))
    assert one.value == day
    assert why in one.why


def test_a_day_that_lies_behind():
    """A purchase on 3 December was last year's, and "Monday" the last one."""
    assert [d.value for d in days("3 December", WEDNESDAY, past=True)] == ["2025-12-03"]
    assert [d.value for d in days("Monday", WEDNESDAY, past=True)] == ["2026-11-16"]


def test_moments_need_a_day_and_a_time():
    """In the customer's time zone where it is known; what is lacking is named."""
    berlin = When(datetime.fromisoformat("2026-11-18T12:00+01:00"))
    assert moments("Monday at 9:30", berlin)[0].value == "2026-11-23T09:30:00+01:00"
    assert moments("tomorrow at noon", WEDNESDAY)[0].value == "2026-11-19T12:00:00"
    assert moments("in two hours", WEDNESDAY)[0].value == "2026-11-18T14:00:00"
    assert "no time" in moments("tomorrow", WEDNESDAY)[0].why
    assert "no day" in moments("at 3pm", WEDNESDAY)[0].why
    assert [t.value for t in times("half past seven in the evening")] == ["19:30:00"]


@given(st.text(max_size=80))
def test_no_text_breaks_the_reading(text):
    """Whatever is written, every reader ends with values or reasons."""
    fields = schema(
        day={"type": "string", "format": "date"},
        at={"type": "string", "format": "date-time"},
        n={"type": "integer", "minimum": 1},
        price={"type": "number"},
        who={"type": "string", "format": "email"},
        code={"type": "string", "pattern": "^A[0-9]+$"},
        kind={"enum": ["a thing", "other"]},
        name={"type": "string"},
        city={"type": "string"},
        gift={"type": "boolean"},
    )
    found = turns.read(fields, text, WEDNESDAY)
    assert found.values.keys() <= {f.name for f in fields}


# --- values with a form -------------------------------------------------------------------------

ORDER = {"type": "string", "description": "The order id, such as '#W0000000'."}
LICENCE = {"type": "string", "pattern": "^LIC-[0-9]{4}$"}
SEATS = {"type": "integer", "minimum": 1, "maximum": 500, "description": "Number of seats."}
AMOUNT = {"type": "number", "exclusiveMinimum": 0, "maximum": 5000}


@pytest.mark.parametrize(
    ("text", "properties", "values"),
    [
        ("cancel W2378156", {"order_id": ORDER}, {"order_id": "#W2378156"}),
        ("the one with 12345678", {"order_id": ORDER}, {}),
        ("lic-8841, twelve seats", {"licence": LICENCE, "seats": SEATS}, {"licence": "LIC-8841", "seats": 12}),
        ("raise it from 10 to 40 seats", {"seats": SEATS}, {"seats": 40}),
        ("it took 3 days", {"seats": SEATS}, {}),
        ("$1,200 please", {"amount": AMOUNT}, {"amount": 1200}),
        ("1.250,75 EUR", {"amount": AMOUNT}, {"amount": 1250.75}),
        ("20 dollars", {"amount": {"type": "integer", "description": "Amount in cents."}}, {"amount": 2000}),
        ("mail a@b.example or c@d.example", {"emails": {"type": "array", "items": {"format": "email"}}},
         {"emails": ["a@b.example", "c@d.example"]}),
        ("I am Mei Kovacs", {"first_name": {"type": "string"}, "last_name": {"type": "string"}},
         {"first_name": "Mei", "last_name": "Kovacs"}),
        ("I am injured", {"name": {"type": "string"}}, {}),
        ("a default is none", {"retries": {"type": "integer", "default": 3}}, {}),
    ],
)  # fmt: skip
def test_values_with_a_form(text, properties, values):
    """Found by what they look like and by the words beside them; a default is nobody's word."""
    assert read(text, **properties)[0] == values


def test_values_outside_the_bounds_are_refused():
    """With the bound that they break."""
    assert "more than the most, 500" in read("900 seats", seats=SEATS)[1]["seats"]
    assert "more than the most, 5000" in read("9000 EUR", amount=AMOUNT)[1]["amount"]


def test_an_example_shows_the_form():
    """What varies from value to value is left open."""
    assert shape_of("#W0000000") == r"W\d{7}"
    assert shape_of("PO-7731-A") == r"PO\-\d{4}\-[A-Z]{1}"


def test_schemas_of_every_shape_are_read():
    """References, nullable alternatives, nested objects, options in a description."""
    fields = fields_of(
        {
            "properties": {
                "address": {"$ref": "#/$defs/Address"},
                "slot": {"anyOf": [{"enum": ["am", "pm"]}, {"type": "null"}]},
                "reason": {"type": "string", "description": "Either 'not needed' or 'by mistake'."},
                "odd": {"type": "array", "items": {"type": "object"}},
            },
            "required": ["address", "odd"],
            "$defs": {
                "Address": {
                    "type": "object",
                    "properties": {"city": {"type": "string"}},
                    "required": ["city"],
                }
            },
        }
    )
    assert [(f.name, f.kind, f.required) for f in fields] == [
        ("address.city", "place", True),
        ("slot", "choice", False),
        ("reason", "choice", False),
        ("odd", "unknown", True),
    ]
    assert nested({"address.city": "Ulm"}) == {"address": {"city": "Ulm"}}


# --- evidence -----------------------------------------------------------------------------------

FAULT = {
    "oneOf": [
        {"const": "battery", "description": "The battery does not charge."},
        {"const": "screen", "title": "Screen"},
        {"const": "sound", "title": "Sound", "description": "No sound, or it crackles."},
    ]
}


@pytest.mark.parametrize(
    ("text", "option"),
    [
        ("the screen is dark", "screen"),
        ("it is not the screen", None),
        ("the screen is fine but there is no sound", "sound"),
        ("it is not the battery but the screen", "screen"),
        ("it is faulty", None),
        ("screen or battery, who knows", None),
    ],
)
def test_an_option_needs_its_words_and_no_denial(text, option):
    """Of two that are said none is guessed."""
    assert read(text, fault=FAULT)[0].get("fault") == option


@pytest.mark.parametrize(
    ("text", "gift"),
    [
        ("gift wrap it please", True),
        ("no gift wrap", False),
        ("without gift wrap", False),
        ("is gift wrap free?", None),
        ("wrap up", None),
    ],
)
def test_a_flag_needs_its_name(text, gift):
    """Yes, no, or nothing said."""
    assert read(text, gift_wrap={"type": "boolean"})[0].get("gift_wrap") is gift


async def test_a_meaning_must_be_near_and_ahead_of_the_others():
    """An encoder that finds everything alike decides nothing."""
    (fault,) = schema(fault=FAULT)
    assert (await nearest_option(ScriptedEncoder(), fault, "something is wrong with it"))[1] is None


def test_a_model_may_not_fill_an_option_that_was_not_said():
    """Nor a free text that nobody said."""
    fields = schema(fault=FAULT, product={"type": "string"})
    taken, refused = supported(
        fields, {"fault": "battery", "product": "tent"}, "my stove is broken"
    )
    assert taken == {}
    assert refused == {
        "fault": "is not what the customer said",
        "product": "is not in the customer's words",
    }


# --- several turns ------------------------------------------------------------------------------

STAY = schema(
    ["city", "guests"],
    city={"type": "string"},
    guests={"type": "integer", "minimum": 1, "maximum": 8, "description": "How many guests."},
    day={"type": "string", "format": "date"},
    breakfast={"type": "boolean"},
)


async def test_later_words_win_and_touch_only_their_field():
    """A correction, a reply to a question, a yes."""
    found = await said(
        STAY,
        "a room in Lisbon for two guests on Friday",
        "> Would you like breakfast?",
        "yes please",
        "> Two guests in Lisbon, 20 November?",
        "we'll be three, and better on Saturday",
    )
    assert found.values == {"city": "Lisbon", "guests": 3, "day": "2026-11-21", "breakfast": True}


@pytest.mark.parametrize(
    ("reply", "day"),
    [
        ("the second one", "2026-11-25"),
        ("the last one please", "2026-11-27"),
        ("neither", None),
        ("let me think", None),
        ("yes", None),
    ],
)
async def test_what_was_offered_is_no_value_until_it_is_picked(reply, day):
    """By its place; a yes to several picks none."""
    offer = "> I can offer 1. 24 November 2. 25 November 3. 27 November. Which day?"
    found = await said(STAY, "a room please", offer, reply)
    assert found.values.get("day") == day


async def test_a_listed_record_is_picked_by_its_number():
    """However little of it is said."""
    order = schema(order_number={"type": "string", "x-record": "order"}, why={"type": "string"})
    found = await said(
        order, "cancel my order", "> You have SB-10496 and SB-10479.", "10479 please"
    )
    assert found.values["order_number"] == "SB-10479"


async def test_an_example_of_the_assistant_is_no_offer():
    """Not even for a yes."""
    hook = schema(url={"type": "string", "format": "uri"})
    found = await said(hook, "a hook", "> For example https://example.com/in. Yours?", "yes")
    assert found.values == {}


async def test_records_give_only_what_the_words_point_to():
    """By what only that record is called, within the order that was named; nothing without a word."""
    back = schema(
        order_id=ORDER,
        item_ids={
            "type": "array",
            "items": {"type": "string"},
            "description": "such as '1008292230'",
        },
    )
    items = [
        {"name": "Red Kettle", "item_id": "1000000001"},
        {"name": "Lamp", "item_id": "1000000002"},
    ]
    records = {"orders": [{"order_id": "#W1111111", "items": items}]}
    found = await said(back, "return the lamp of #W1111111", records=records)
    assert found.values == {"order_id": "#W1111111", "item_ids": ["1000000002"]}
    assert (await said(back, "I want to return something", records=records)).values == {}


async def test_without_the_model_rules_still_read():
    """What the model would have read is missing, and the answer says that it is degraded."""
    small = ScriptedSmallModel()
    small.enqueue("extractor", ModelUnavailable())
    fields = schema(["product"], order_id=ORDER, product={"type": "string"})
    found = await said(fields, "the squeaking fan of #W1111111 please", small=small)
    assert found.values == {"order_id": "#W1111111"}
    assert found.degraded


def test_a_schema_that_contains_itself_ends():
    """Its fields are read down to a depth at which nobody speaks."""
    node = {
        "type": "object",
        "properties": {"name": {"type": "string"}, "child": {"$ref": "#/$defs/Node"}},
    }
    fields = fields_of({"properties": {"top": {"$ref": "#/$defs/Node"}}, "$defs": {"Node": node}})
    assert fields[0].name == "top.name"
    assert len(fields) < 10


async def test_the_parts_of_an_address_are_read_where_they_are_taken_word_for_word():
    """A street that is copied is a place all the same."""
    move = schema(
        street={"type": "string", "x-copy": True},
        postcode={"type": "string", "x-copy": True},
        town={"type": "string", "x-copy": True},
    )
    found = await said(move, "in six weeks: Große Bergstraße 12, 22767 Hamburg")

    assert found.values == {
        "street": "Große Bergstraße 12",
        "postcode": "22767",
        "town": "Hamburg",
    }
