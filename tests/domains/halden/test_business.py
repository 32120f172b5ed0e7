"""Halden as configuration alone: it reads, it writes once, and lost answers are settled."""

from __future__ import annotations

import asyncio
import re

import pytest

from graphs.understanding.grounding import Memory, ground
from graphs.understanding.heard import said_in
from tools.reading import Spans
from tools.records import Lexicon
from tools.values import Consequence, RecordNotFound


async def test_a_line_is_told(world):
    """Only what the file names is told of an answer."""
    told = await world.read("line_status", line_id="L-2001")

    assert (told["status"], told["signal"], told["plan"]) == ("active", "good", "Fibre 250")
    assert told["label"] == "line L-2001 (Fibre 250, Lindenallee 4, Hamburg)"
    assert "customer_id" not in told


async def outages(world, line):
    shown = await world.preview("area_outages", line_id=line)
    return await world.read("area_outages", **shown.arguments)


async def test_outages_are_those_of_the_lines_area(world):
    """The postcode comes from the customer's record, never from words."""
    assert (await outages(world, "L-2001"))["count"] == 0

    world.customer = world.customer.model_copy(update={"id": "H-1002"})
    told = await outages(world, "L-2002")
    assert (told["count"], told["town"]) == (1, "Kiel")


async def test_what_we_have_of_a_customer_is_told(world):
    """Their own address and number, whoever asks; when a bill is due, and why a SIM is blocked."""
    world.customer = world.customer.model_copy(update={"id": "H-1006"})
    told = await world.read("contact_details")
    blocked = await world.read("sim_status", sim_id="S-3006")
    bills = [
        v.label for v in await world.books.backend.records(world.customer) if v.kind == "invoice"
    ]

    assert told["email"] == "karl@mail.example"
    assert blocked["because"] == "lost"
    assert re.search(r"overdue since \d+ \w+ \d{4}$", bills[0])


async def test_somebody_elses_line_is_not_found(world):
    with pytest.raises(RecordNotFound, match="can't find line L-2002"):
        await world.read("line_status", line_id="L-2002")


async def test_an_esim_waits_for_a_colleague(world):
    """A card is ordered after a yes; an eSIM, the way of a SIM swap, needs a person."""
    card = await world.preview("replace_sim", sim_id="S-3001", kind="card")
    esim = await world.preview("replace_sim", sim_id="S-3001", kind="esim")

    assert (card.consequence, esim.consequence) == (
        Consequence.RETRY_UNSAFE,
        Consequence.IRREVERSIBLE,
    )


async def test_a_data_pack_is_booked_once(world, service):
    action = await world.action("book_data_pack", sim_id="S-3001", size="gb_5")
    done = await world.execute(action)
    again = await world.execute(action)

    assert (done.status, again.result) == ("executed", done.result)
    assert service.get("/sims/S-3001/usage")["data_gb"] == 25.0


async def lose_the_answer(world, service, action, has_happened):
    """Do an action, and kill the service after the write and before its answer."""
    service.kill()
    await asyncio.to_thread(service.start, hold=30)
    sent = asyncio.create_task(world.execute(action))
    for _ in range(400):
        if has_happened():
            break
        await asyncio.sleep(0.05)
    else:
        raise TimeoutError("The write did not arrive.")
    service.kill()
    lost = await sent
    await asyncio.to_thread(service.start)
    return lost


async def test_a_write_with_a_key_survives_the_death_of_the_service(world, service):
    """The answer is lost; the same key gives it again, and there is one pack."""
    action = await world.action("book_data_pack", sim_id="S-3001", size="gb_5")

    def happened() -> bool:
        return service.get("/sims/S-3001/usage")["data_gb"] > 20

    lost = await lose_the_answer(world, service, action, happened)
    assert lost.status == "unknown"
    world.hands.pass_(minutes=2)

    assert (await world.reconcile(action)).status == "executed"
    assert service.get("/sims/S-3001/usage")["data_gb"] == 25.0


async def test_a_write_with_a_reference_is_looked_up(world, service):
    """The answer is lost; our reference finds the dispute, and there is one."""
    action = await world.action(
        "dispute_charge", invoice_id="F-5012", amount=39.9, reason="It is on the bill twice."
    )

    def happened() -> bool:
        return service.get("/invoices/F-5012")["disputed"]

    lost = await lose_the_answer(world, service, action, happened)
    assert lost.status == "unknown"
    world.hands.pass_(minutes=2)

    assert (await world.reconcile(action)).status == "executed"
    assert len(service.get("/customers/H-1001/disputes")["data"]) == 1


async def test_a_write_with_neither_is_settled_by_state(world, service):
    """The answer is lost; the invoice counts its copies, so the mail is not sent again."""
    action = await world.action("send_invoice", invoice_id="F-5012")

    def happened() -> bool:
        return service.get("/invoices/F-5012")["copies_sent"] == 1

    lost = await lose_the_answer(world, service, action, happened)
    assert lost.status == "unknown"
    world.hands.pass_(minutes=2)

    assert (await world.reconcile(action)).status == "executed"
    assert service.get("/invoices/F-5012")["copies_sent"] == 1


async def test_a_contract_ends_only_with_an_approval(world, service):
    action = await world.action("cancel_contract", contract_id="C-7001")
    assert (await world.execute(action, approved=True)).status == "executed"

    assert service.get("/contracts/C-7001")["status"] == "cancelled"


@pytest.mark.parametrize(
    ("said", "meant"),
    [
        ("cancel my mobile, i keep the rest", "C-7001"),
        ("how long does my internet run", "C-6001"),
        ("wie lange läuft das Handy noch", "C-7001"),
        ("die Glasfaser kündigen", "C-6001"),
    ],
)
async def test_a_contract_is_named_by_what_it_is_for(world, said, meant):
    views = await world.books.backend.records(world.customer)
    grounds = ground(
        said_in(said, Spans(said)), views, ["contract"], lexicon=Lexicon(), memory=Memory()
    )

    assert grounds.record == meant
