"""Which of a customer's own records words point to, in a business that only declares what its records are."""

from __future__ import annotations

from dataclasses import replace

import pytest
from pydantic import JsonValue

from app.domains import load_domain
from graphs.choices import choices_of
from graphs.extraction import by_rules, fields, other_values
from graphs.nodes.extract import is_beside, own_day
from graphs.nodes.operation import what_next
from graphs.reading.dates import When
from graphs.understanding.grounding import Grounds, Memory, ground
from graphs.understanding.heard import options_of, said_in
from tests.domains.halden.conftest import HALDEN
from tests.graphs.world import World as Support


@pytest.fixture(scope="module")
def reader():
    return load_domain(HALDEN).reader


def context_for(world, customer):
    """A desk's context around the business's own system."""
    world.customer = world.customer.model_copy(update={"id": customer})
    return replace(
        Support("ana").context,
        backend=world.books.backend,
        customer=world.customer,
        operations=world.operations,
    )


async def pointed(world, reader, customer, said, operation, focus=None):
    """What the words point to among the customer's records, for one operation."""
    world.customer = world.customer.model_copy(update={"id": customer})
    views = await world.books.backend.records(world.customer)
    (kind,) = {f.record for f in fields(world.operations[operation]) if f.record}
    spans = reader.read(said, today=world.hands.at.date(), own_ids=[view.id for view in views])
    return ground(
        said_in(said, spans),
        views,
        [kind],
        lexicon=world.business.lexicon,
        memory=Memory(focus=focus),
        operation=operation,
        options=options_of(context_for(world, customer), operation),
    )


@pytest.mark.parametrize(
    ("customer", "said", "operation", "meant"),
    [
        ("H-1004", "block SIM S-3004, it was stolen", "block_sim", "S-3004"),
        ("H-1004", "block the one with 0151 1000014", "block_sim", "S-3014"),
        ("H-1004", "please block the esim", "block_sim", "S-3014"),
        ("H-1004", "block the card, not the esim", "block_sim", "S-3004"),
        ("H-1004", "block the one ending in 004, not the 014", "block_sim", "S-3004"),
        ("H-1005", "the bill I've paid, not the new one", "send_invoice", "F-5051"),
        # What is wanted of it tells no record.
        ("H-1004", "a new card for 0151 1000014", "replace_sim", "S-3014"),
        ("H-1001", "leave the internet alone, cancel just the mobile", "cancel_contract", "C-7001"),
        ("H-1001", "das Handy kündigen, das Internet bleibt", "cancel_contract", "C-7001"),
        ("H-1001", "don't cancel the mobile, only the internet", "cancel_contract", "C-6001"),
        ("H-1001", "kündigen, aber nicht das Handy", "cancel_contract", "C-6001"),
        ("H-1001", "end the contract for L-2001", "cancel_contract", "C-6001"),
        ("H-1004", "cancel the contract for 0151 1000014", "cancel_contract", "C-7014"),
        # What nobody kept is over: only what is still to come can be moved, unless it is named.
        ("H-1003", "move the technician to friday", "reschedule_appointment", "A-4013"),
        ("H-1003", "move A-4003 to friday", "reschedule_appointment", "A-4003"),
        ("H-1006", "unblock my sim", "unblock_sim", "S-3006"),
        ("H-1004", "block the sim of my kid, the 14 one", "block_sim", "S-3014"),
        ("H-1004", "cancel the small contract", "cancel_contract", "C-7014"),
        ("H-1004", "swap the L one", "replace_sim", "S-3004"),
        ("H-1004", "the one with the 50 gigs", "block_sim", "S-3004"),
        ("H-1004", "i don't need the cheap one any more, end it", "cancel_contract", "C-7014"),
        # November's invoice was written then; October's was due then.
        ("H-1005", "send me the november bill", "send_invoice", "F-5052"),
    ],
)
async def test_the_record_is_the_one_that_is_told(world, reader, customer, said, operation, meant):
    assert (await pointed(world, reader, customer, said, operation)).record == meant


@pytest.mark.parametrize(
    ("customer", "said", "operation", "among"),
    [
        ("H-1004", "block my sim card", "block_sim", {"S-3004", "S-3014"}),
        ("H-1004", "send me a new sim as a card", "replace_sim", {"S-3004", "S-3014"}),
        ("H-1004", "cancel my mobile contract", "cancel_contract", {"C-7004", "C-7014"}),
        ("H-1004", "end a contract, but not the internet", "cancel_contract", {"C-7004", "C-7014"}),
    ],
)
async def test_what_fits_several_is_left_open(world, reader, customer, said, operation, among):
    """All that fit and nothing that was ruled out."""
    grounds = await pointed(world, reader, customer, said, operation)

    assert set(grounds.records) == among


async def test_a_visit_that_is_over_is_not_moved_because_it_was_spoken_of(world, reader):
    grounds = await pointed(
        world,
        reader,
        "H-1003",
        "can it be moved to friday",
        "reschedule_appointment",
        focus="A-4003",
    )

    assert grounds.record == "A-4013"


async def test_the_one_before_that_is_the_older_one(world, reader):
    said = "oh and the one before that too"

    assert (
        await pointed(world, reader, "H-1005", said, "send_invoice", "F-5052")
    ).record == "F-5051"
    assert (
        await pointed(world, reader, "H-1005", said, "send_invoice", "F-5051")
    ).record != "F-5051"


async def test_the_same_day_is_the_records_own(world):
    context = context_for(world, "H-1004")
    views = await world.books.backend.records(world.customer)
    visit = next(view for view in views if view.id == "A-4004")

    assert await own_day(context, world.operations["reschedule_appointment"], "A-4004") == {
        "day": visit.dates["day_of_visit"].isoformat()
    }
    assert await own_day(context, world.operations["block_sim"], "S-3004") == {}


@pytest.mark.parametrize(
    ("said", "amount"),
    [
        ("i have ONE connection, i want that extra one taken off", None),
        ("take 39.90 off", 39.9),
        ("then dispute those 5 euros", 5),
    ],
)
def test_a_word_that_counts_is_no_sum(world, said, amount):
    operation = world.operations["dispute_charge"]
    found = by_rules([f for f in fields(operation) if not f.record], said, When(world.hands.at))

    assert found.values.get("amount") == amount


async def test_a_month_is_the_one_in_which_it_was_written(world, reader):
    """Also right after another month's was spoken of."""
    said = "and november too please"

    assert (
        await pointed(world, reader, "H-1005", said, "send_invoice", "F-5051")
    ).record == "F-5052"


@pytest.mark.parametrize(
    ("said", "meant"),
    [
        ("i got a reminder but i paid last week", "F-5062"),
        ("Mahnung bekommen, dabei habe ich längst bezahlt", "F-5062"),
        ("a reminder for the paid one", "F-5061"),
    ],
)
async def test_what_the_customer_did_tells_no_record(world, reader, said, meant):
    """Whoever has paid does not mean the invoice that is paid in the books."""
    world.customer = world.customer.model_copy(update={"id": "H-1006"})
    views = await world.books.backend.records(world.customer)
    spans = reader.read(said, today=world.hands.at.date(), own_ids=[view.id for view in views])
    found = ground(
        said_in(said, spans),
        views,
        ["invoice"],
        lexicon=world.business.lexicon,
        memory=Memory(),
        first=("overdue",),
    )

    assert found.record == meant


@pytest.mark.parametrize(
    ("operation", "given", "said", "other"),
    [
        ("book_data_pack", {"size": "gb_20"}, "hm no 5 is enough", {"size": "gb_5"}),
        ("book_data_pack", {"size": "gb_20"}, "not 20 gb, 5", {"size": "gb_5"}),
        ("book_data_pack", {"size": "gb_20"}, "no, 20 is too much", {}),
        ("reschedule_appointment", {"day": "2026-12-07", "window": "morning"}, "no wait, in the afternoon", {"window": "afternoon"}),
        ("reschedule_appointment", {"day": "2026-12-07", "window": "morning"}, "no, I am away in the afternoon", {}),
        ("change_internet_plan", {"plan": "fibre_100"}, "no, the 500 one", {"plan": "fibre_500"}),
    ],
)  # fmt: skip
def test_another_value_at_a_preview_is_a_correction(world, operation, given, said, other):
    """And a no that holds none stays a no."""
    when = When(world.hands.at)

    assert other_values(world.operations[operation], given, said, when) == other


async def test_a_visit_is_not_moved_to_where_it_is(world):
    context = context_for(world, "H-1004")
    views = await world.books.backend.records(world.customer)
    visit = next(view for view in views if view.id == "A-4004")
    given = {
        "appointment_id": "A-4004",
        "day": str(visit.dates["day_of_visit"]),
        "window": "morning",
    }
    following = await what_next(
        context, world.operations["reschedule_appointment"], given, "", confirmed=None
    )

    assert following.step == "refuse"
    assert following.question.endswith("(14-18)?")


async def test_an_option_that_is_called_by_a_number_is_no_record(world, reader):
    """Fibre 1000 is a plan, and S-9999 a SIM of somebody else."""
    plan = await pointed(world, reader, "H-1001", "switch me to fibre 1000", "change_internet_plan")
    other = await pointed(world, reader, "H-1001", "block S-9999", "block_sim")

    assert (plan.record, plan.foreign) == ("L-2001", ())
    assert other.foreign == ("S-9999",)


async def test_only_what_its_state_allows_is_offered(world):
    """Also where something else is still to be asked for."""
    context = context_for(world, "H-1003")

    moved = await choices_of(context, world.operations["reschedule_appointment"], {})

    assert list(moved) == ["A-4013"]


@pytest.mark.parametrize(
    ("customer", "operation", "arguments", "why"),
    [
        ("H-1001", "reschedule_appointment", {}, "A-4001 is not booked"),
        ("H-1002", "block_sim", {"sim_id": "S-3004"}, "can't find SIM S-3004"),
        ("H-1004", "unblock_sim", {}, "S-3014 is not blocked"),
    ],
)
async def test_what_is_refused_anyhow_is_refused_at_once(
    world, customer, operation, arguments, why
):
    """Nobody is asked for a day or a reason in vain."""
    following = await what_next(
        context_for(world, customer), world.operations[operation], arguments, "", confirmed=None
    )

    assert following.step == "refuse"
    assert why in following.question


async def test_what_can_be_done_is_asked_for(world):
    """What is still missing, where nothing speaks against it."""
    following = await what_next(
        context_for(world, "H-1003"),
        world.operations["reschedule_appointment"],
        {"appointment_id": "A-4013"},
        "",
        confirmed=None,
    )

    assert (following.step, following.field) == ("ask", "day")


async def test_a_record_beside_an_answer_changes_nothing(world):
    """Asked for the reason, "the card is fine" says nothing of the eSIM that is to be blocked."""
    context = replace(context_for(world, "H-1004"), reader=load_domain(HALDEN).reader)
    block, card = (
        world.operations["block_sim"],
        Grounds(kind="sim", records=("S-3004",), how="named"),
    )
    before: dict[str, JsonValue] = {"sim_id": "S-3014"}

    assert is_beside(before, block, card, "stolen, and I have the card here", context)
    assert not is_beside(before, block, card, "stolen. S-3004 I mean", context)
    assert not is_beside({}, block, card, "stolen, the card", context)
