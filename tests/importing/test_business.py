"""A business of files alone: real HTTP, a real ledger, one effect whatever gets lost."""

from __future__ import annotations

import pytest

from tests.importing.conftest import FJELL
from tests.importing.world import World, business_in
from tools.ports import BackendUnavailable
from tools.values import Consequence, NotAllowed, RecordNotFound


@pytest.fixture
async def world(service, database):
    business = business_in(FJELL, FJELL_API=service, FJELL_KEY="the-key")
    async with World(business, service, database).opened() as opened:
        yield opened


async def test_records_are_the_customers_own(world):
    """What the list operation gives is what a customer has, with labels, states, days and words."""
    views = await world.books.backend.records(world.customer)

    assert [view.id for view in views] == ["F-20011", "F-20013", "F-20009"]
    assert views[0].label == "F-20011, Gravel 2 from Bergen until 1 Dec 2026"
    assert (views[0].state, views[0].open, views[2].open) == ("running", True, False)
    assert {"green", "Bergen", "Fahrrad"} <= set(views[0].words)


async def test_a_read_tells_only_what_the_file_names(world):
    """Everything else of the answer is dropped: nobody ever sees the internal note."""
    told = await world.read("get_rental", rental_id="f 20011")

    assert told == {
        "label": "F-20011, Gravel 2 from Bergen until 1 Dec 2026",
        "station": "Bergen",
        "ends_on": "2026-12-01",
        "status": "running",
        "model": "Gravel 2",
    }


async def test_somebody_elses_record_is_not_found(world):
    """The list is the proof of ownership: an id that is not on it is not there."""
    with pytest.raises(RecordNotFound, match="can't find rental F-30001"):
        await world.preview("extend_rental", rental_id="F-30001", until="2026-12-05")


async def test_a_preview_is_made_of_the_record_as_it_is_now(world):
    """One rental runs, so it is the one; the price is worked out and never asked for."""
    shown = await world.preview("extend_rental", until="2026-12-03")

    assert shown.arguments == {"rental_id": "F-20011", "until": "2026-12-03", "price": 240.0}
    assert shown.effects == (
        "F-20011 runs until 3 Dec 2026.",
        "NOK240.00 are charged to your card.",
    )
    assert shown.consequence is Consequence.RETRY_UNSAFE


async def test_a_call_may_be_graver_than_its_class(world):
    """What the record and the arguments make of it may raise the class."""
    shown = await world.preview("extend_rental", until="2026-12-20")

    assert shown.consequence is Consequence.IRREVERSIBLE


async def test_a_refusal_is_said_in_the_customers_language(world):
    world.customer = world.customer.model_copy(update={"facts": {"language": "de"}})
    shown = await world.preview("extend_rental", rental_id="F-20011", until="2026-11-30")

    assert shown.refusal == "F-20011 läuft bereits bis 1 Dez. 2026."


async def test_a_write_with_a_key_is_done_once(world):
    """The answer is lost; the key settles it, with one effect."""
    action = await world.action("extend_rental", until="2026-12-03")
    await world.faults(drop_after=1)
    lost = await world.execute(action)
    assert lost.status == "unknown"
    world.hands.pass_(minutes=2)
    settled = await world.reconcile(action)

    assert settled.status == "executed"
    assert settled.result["until"] == "2026-12-03"
    assert await world.effects() == ["extend 2026-12-03 240.0"]


async def test_a_refusal_of_the_other_system_has_its_sentence(world):
    """A long extension is graver and approved first; then the other system says no, in the file's words."""
    action = await world.action("extend_rental", until="2026-12-24")
    blocked = await world.execute(action)
    refused = await world.execute(action, approved=True)

    assert (blocked.status, await world.effects()) == ("blocked", [])
    assert (refused.status, refused.reason) == (
        "failed",
        "Somebody else has booked this bike from then on.",
    )


@pytest.mark.parametrize(
    ("fault", "minutes", "status", "effects"),
    [
        # It was done and the answer got lost: found under our reference.
        ("drop_after", 2, "executed", ["charge lock"]),
        # It never arrived: not listed yet says nothing ...
        ("drop_before", 2, "unknown", []),
        # ... until so much time has passed that it never will be.
        ("drop_before", 11, "failed", []),
    ],
)
async def test_a_write_without_a_key_is_looked_up_by_reference(
    world, fault, minutes, status, effects
):
    """The API ignores its own filter: only an entry with our reference counts."""
    other = await world.action("add_extra", rental_id="F-20013", extra="helmet")
    await world.execute(other)
    action = await world.action("add_extra", rental_id="F-20011", extra="lock")
    await world.faults(**{fault: 1})
    assert (await world.execute(action)).status == "unknown"
    world.hands.pass_(minutes=minutes)

    assert (await world.reconcile(action)).status == status
    assert await world.effects() == ["charge helmet", *effects]


@pytest.mark.parametrize(
    ("fault", "minutes", "status", "effects"),
    [
        ("drop_after", 2, "executed", ["cancel"]),
        ("drop_before", 2, "unknown", []),
        ("drop_before", 6, "failed", []),
    ],
)
async def test_a_write_without_reference_is_looked_up_by_state(
    world, fault, minutes, status, effects
):
    """How the record stands tells whether it was cancelled; it is never sent again."""
    action = await world.action("cancel_rental", rental_id="F-20013")
    await world.faults(**{fault: 1})
    assert (await world.execute(action)).status == "unknown"
    world.hands.pass_(minutes=minutes)

    assert (await world.reconcile(action)).status == status
    assert await world.effects() == effects


async def test_what_cannot_be_looked_up_waits_for_a_person(world):
    action = await world.action("report_fault", rental_id="F-20011", what="the chain is off")
    await world.faults(drop_after=1)
    assert (await world.execute(action)).status == "unknown"
    world.hands.pass_(hours=2)
    assert (await world.reconcile(action)).status == "unknown"
    _, settled = await world.ledger.settle(
        action.id, world.operations, happened=True, operator="olga"
    )

    assert settled.status == "executed"
    assert await world.effects() == ["fault the chain is off"]


async def test_a_system_that_is_down_reserves_nothing(world):
    """The rental's API is away while we look: nothing is sent, the key stays free."""
    action = await world.action("add_extra", rental_id="F-20011", extra="lock")
    await world.faults(down=3)
    with pytest.raises(BackendUnavailable):
        await world.execute(action)

    assert await world.ledger.find("fjell", "add_extra", action.key) is None
    assert (await world.execute(action)).status == "executed"


async def test_a_system_that_is_left_alone_says_why(world):
    """The circuit is open after five failures; who reads the log learns what they were."""
    await world.faults(down=5)
    with pytest.raises(BackendUnavailable):
        await world.books.backend.records(world.customer)
    with pytest.raises(BackendUnavailable, match=r"left alone for a while \(.*503\)"):
        await world.books.backend.records(world.customer)


@pytest.mark.parametrize("fault", ["redirect", "large"])
async def test_answers_that_lead_elsewhere_or_are_too_large_are_none(world, fault):
    """No other host is asked, whoever points there; nothing is read beyond its bound."""
    await world.faults(**{fault: 3})
    with pytest.raises(BackendUnavailable):
        await world.books.backend.records(world.customer)


async def test_a_write_is_never_run_as_a_read(world):
    operation = world.operations["report_fault"]
    given = operation.arguments.model_validate({"rental_id": "F-20011", "what": "flat tyre"})
    with pytest.raises(ValueError, match="goes through the ledger"):
        await world.books.backend.read(world.customer, operation, given)
    with pytest.raises(NotAllowed):
        operation.run(world.business.account(world.customer), given)


async def test_the_customer_is_read_by_the_domains_operation(world):
    """Name, mail, first day and facts come from the API; a stranger is none of its customers."""
    ida = await world.books.customers.find("R-1")

    assert (ida.name, ida.facts, str(ida.since)) == (
        "Ida Berg",
        {"membership": "gold"},
        "2024-03-01",
    )
    assert await world.books.customers.find("R-9") is None


async def test_tickets_are_the_desks_own(world):
    """A business without tickets of its own still has some."""
    operation = world.operations["create_ticket"]
    given = {"subject": "Lost my glove", "body": "At the station in Bergen", "record": "F-20011"}
    shown = await world.preview("create_ticket", **given)
    action = (await world.action("create_ticket", **given)).model_copy(
        update={"arguments": shown.arguments}
    )
    done = await world.execute(action)
    found = await world.books.tickets("R-1", "fjell")

    assert (done.status, operation.name) == ("executed", "create_ticket")
    assert [(one.number, one.subject) for one in found] == [("T-10001", "Lost my glove (F-20011)")]
