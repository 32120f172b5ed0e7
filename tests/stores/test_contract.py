"""What every ledger and approvals store promises, in memory as in SQL, on the real operations."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import timedelta

import pytest
import sqlalchemy as sa

from app.stores.approvals import SqlApprovals
from app.stores.database import create_engine, reading, writing
from app.stores.ledger import SqlLedger
from domains.northfell import store as shop
from domains.northfell.demo_accounts import Account
from domains.northfell.memory import MemoryBooks
from domains.northfell.operations import OPERATIONS
from graphs.keys import action_id, action_key, fingerprint
from tests.stores.world import ADA, BEN, NOON, Hands
from tools.memory import MemoryApprovals, MemoryLedger
from tools.values import Action, Consequence, NotAllowed, Preview, Verdict

TICKET = OPERATIONS["create_ticket"]


class Stores:
    """A ledger and its approvals on one kind of books."""

    def __init__(self, ledger, approvals, hands, count) -> None:
        self.ledger, self.approvals, self.hands, self.tickets = ledger, approvals, hands, count


def in_memory(hands):
    books = MemoryBooks([Account(ADA)])
    approvals = MemoryApprovals(hands.clock, timedelta(hours=24))
    ledger = MemoryLedger(books, approvals, hands.clock)
    return Stores(ledger, approvals, hands, lambda: len(books.account(ADA).tickets))


def in_sql(engine, hands):
    def shop_for(connection, customer):
        return shop.SqlShop(connection, customer, today=hands.clock.today(), writing=True)

    def count():
        with reading(engine) as connection:
            return connection.execute(sa.select(sa.func.count()).select_from(shop.tickets)).scalar()

    with writing(engine) as connection:
        row = ADA.model_dump(exclude={"facts"})
        connection.execute(sa.insert(shop.customers).values(**row))
    approvals = SqlApprovals(engine, hands.clock, ttl=timedelta(hours=24))
    return Stores(SqlLedger(engine, shop_for, hands.clock, approvals), approvals, hands, count)


@pytest.fixture(params=["memory", "sqlite", pytest.param("postgres", marks=pytest.mark.postgres)])
def stores(request, copied_database):
    if request.param == "memory":
        yield in_memory(Hands())
        return
    engine = create_engine(copied_database(request.param))
    yield in_sql(engine, Hands())
    engine.dispose()


def ticket(subject: str = "Broken buckle", request: str = "r1") -> Action:
    key = action_key(ADA.tenant, ADA.id, TICKET.name, request)
    arguments = {"subject": subject}
    return Action(
        id=action_id(key),
        tenant=ADA.tenant,
        customer=ADA,
        thread="th-1",
        turn="turn-1",
        operation=TICKET.name,
        arguments=arguments,
        key=key,
        fingerprint=fingerprint(TICKET.name, arguments),
        proposed_at=NOON,
    )


def a_verdict(**changes) -> Verdict:
    routine = Consequence.RETRY_SAFE
    return Verdict(consequence=routine, declared=routine, reason="").model_copy(update=changes)


ROUTINE = a_verdict()
GRAVE = a_verdict(consequence=Consequence.IRREVERSIBLE, needs_approval=True)


async def test_once_and_then_from_the_ledger(stores):
    """A repeat is the stored outcome."""
    first = await stores.ledger.execute(ticket(), TICKET, ROUTINE)
    again = await stores.ledger.execute(ticket(), TICKET, ROUTINE)
    assert first.status == "executed"
    assert first.result["ticket_number"].startswith("T-")
    assert again == first.model_copy(update={"replayed": True})
    found = await stores.ledger.find(ADA.tenant, TICKET.name, ticket().key)
    assert (found, stores.tickets()) == (first, 1)


async def test_other_arguments_under_the_key_are_blocked(stores):
    """A key stands for one payload."""
    await stores.ledger.execute(ticket(), TICKET, ROUTINE)
    other = await stores.ledger.execute(ticket("Torn strap"), TICKET, ROUTINE)
    assert (other.status, stores.tickets()) == ("blocked", 1)


async def test_duplicates_at_once_have_one_effect(stores):
    """Ten at the same time."""
    outcomes = await asyncio.gather(
        *(stores.ledger.execute(ticket(), TICKET, ROUTINE) for _ in range(10))
    )
    assert sum(each.status == "executed" and not each.replayed for each in outcomes) == 1
    assert stores.tickets() == 1


@pytest.mark.parametrize("verdict", [GRAVE, a_verdict(consequence=Consequence.UNKNOWN)])
async def test_without_an_approval_nothing_runs(stores, verdict):
    """Unasked, pending and rejected are all the same: no."""
    assert (await stores.ledger.execute(ticket(), TICKET, verdict)).status == "blocked"
    await stores.approvals.request(ticket(), verdict)
    assert (await stores.ledger.execute(ticket(), TICKET, verdict)).status == "blocked"
    await stores.approvals.decide(ticket().id, approve=False, reviewer="op")
    assert (await stores.ledger.execute(ticket(), TICKET, verdict)).status == "blocked"
    assert stores.tickets() == 0


async def test_an_approval_permits_one_execution(stores):
    """Approved, run, replayed."""
    await stores.approvals.request(ticket(), GRAVE)
    await stores.approvals.decide(ticket().id, approve=True, reviewer="op")
    first = await stores.ledger.execute(ticket(), TICKET, GRAVE)
    again = await stores.ledger.execute(ticket(), TICKET, GRAVE)
    assert (first.status, again.replayed, stores.tickets()) == ("executed", True, 1)
    assert (await stores.approvals.get(ticket().id)).status == "executed"


@pytest.mark.parametrize("edit", [{"fingerprint": "f" * 64}, {"key": "k"}, {"customer": BEN}])
async def test_an_edited_action_is_not_the_approved_one(stores, edit):
    """The approval is for what the reviewer saw."""
    await stores.approvals.request(ticket(), GRAVE)
    await stores.approvals.decide(ticket().id, approve=True, reviewer="op")
    edited = ticket().model_copy(update=edit)
    assert (await stores.ledger.execute(edited, TICKET, GRAVE)).status == "blocked"
    assert stores.tickets() == 0


async def test_a_question_is_answered_once_and_in_time(stores):
    """Stored once; decided once; past its time it is expired and cannot be decided."""
    asked = await stores.approvals.request(ticket(), GRAVE)
    assert await stores.approvals.request(ticket(), GRAVE) == asked
    assert await stores.approvals.pending() == [asked]
    first, decided = await stores.approvals.decide(ticket().id, approve=False, reviewer="op")
    again = await stores.approvals.decide(ticket().id, approve=True, reviewer="other")
    assert (decided, again) == (True, (first, False))
    late = ticket(request="r2")
    await stores.approvals.request(late, GRAVE)
    stores.hands.pass_(hours=24)
    assert await stores.approvals.pending() == []
    approval, decided = await stores.approvals.decide(late.id, approve=True, reviewer="op")
    assert (approval.status, decided) == ("expired", False)
    with pytest.raises(KeyError):
        await stores.approvals.decide("act_nothing", approve=True, reviewer="op")


async def test_a_read_or_another_operation_is_not_executed(stores):
    """The ledger takes the write that the action names."""
    for name in ("list_orders", "hand_off"):
        with pytest.raises(ValueError, match=name):
            await stores.ledger.execute(ticket(), OPERATIONS[name], ROUTINE)


async def approved(stores, action):
    await stores.approvals.request(action, GRAVE)
    await stores.approvals.decide(action.id, approve=True, reviewer="op")


async def test_an_approval_lapses(stores):
    """What was approved and not carried out in time is expired, and does not run."""
    await approved(stores, ticket())
    stores.hands.pass_(hours=24)
    assert (await stores.approvals.get(ticket().id)).status == "expired"
    assert (await stores.ledger.execute(ticket(), TICKET, GRAVE)).status == "blocked"
    assert stores.tickets() == 0


async def test_the_arguments_count_and_not_only_their_fingerprint(stores):
    """A caller who keeps the fingerprint cannot change what the reviewer read."""
    await approved(stores, ticket())
    edited = ticket().model_copy(update={"arguments": {"subject": "Something else"}})
    assert (await stores.ledger.execute(edited, TICKET, GRAVE)).status == "blocked"
    await stores.ledger.execute(ticket(request="r2"), TICKET, ROUTINE)
    edited = ticket(request="r2").model_copy(update={"arguments": {"subject": "Something else"}})
    assert (await stores.ledger.execute(edited, TICKET, ROUTINE)).status == "blocked"
    assert stores.tickets() == 1


async def test_another_customers_outcome_is_not_replayed(stores):
    """The stored result belongs to whom it was made for."""
    await stores.ledger.execute(ticket(), TICKET, ROUTINE)
    other = ticket().model_copy(update={"customer": BEN})
    assert (await stores.ledger.execute(other, TICKET, ROUTINE)).status == "blocked"


async def test_another_tenants_customer_is_an_error(stores):
    """A customer acts in their own tenant."""
    strange = ticket().model_copy(update={"customer": ADA.model_copy(update={"tenant": "other"})})
    with pytest.raises(ValueError, match="tenant"):
        await stores.ledger.execute(strange, TICKET, ROUTINE)


async def test_a_verdict_below_the_declared_class_needs_the_approval_all_the_same(stores):
    """The operation's own class is a floor."""
    grave = replace(TICKET, consequence=Consequence.IRREVERSIBLE)
    assert (await stores.ledger.execute(ticket(), grave, ROUTINE)).status == "blocked"
    assert stores.tickets() == 0


async def test_a_record_that_turned_grave_needs_the_approval(stores):
    """What was harmless when it was judged may not be when it runs."""
    grave = replace(
        TICKET, preview=lambda shop, given: Preview(consequence=Consequence.IRREVERSIBLE)
    )
    assert (await stores.ledger.execute(ticket(), grave, ROUTINE)).status == "blocked"
    assert stores.tickets() == 0


async def test_what_was_judged_harmless_runs(stores):
    """An operation nobody declared takes the class it was judged to be."""
    unknown = replace(TICKET, consequence=Consequence.UNKNOWN)
    judged = a_verdict(declared=Consequence.UNKNOWN, judged=Consequence.RETRY_SAFE)
    assert (await stores.ledger.execute(ticket(), unknown, judged)).status == "executed"


async def test_a_refused_run_uses_the_approval_up(stores):
    """The rules said no when it ran: trying again is a new question."""

    def refuse(shop, given):
        raise NotAllowed("Not today.")

    await approved(stores, ticket())
    outcome = await stores.ledger.execute(ticket(), replace(TICKET, run=refuse), GRAVE)
    assert (outcome.status, outcome.reason) == ("failed", "Not today.")
    assert (await stores.approvals.get(ticket().id)).status == "failed"
    again = await stores.ledger.execute(ticket(), TICKET, GRAVE)
    assert (again.status, again.replayed, stores.tickets()) == ("failed", True, 0)
