"""The in-memory world keeps the promises of the ports."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from pydantic import BaseModel

from domains.northfell.data_model import OrderStatus
from domains.northfell.memory import MemoryBackend, MemoryBooks, demo_world
from domains.northfell.operations import OPERATIONS
from domains.northfell.shop import Shop
from tests.domains.northfell.accounts import TODAY, customer
from tools.decisions import Decision
from tools.memory import MemoryApprovals, MemoryDecisionLog, MemoryLedger, NullTracer
from tools.ports import Approvals, Backend, DecisionLog, Ledger, Tracer
from tools.values import (
    Action,
    Arguments,
    Clock,
    Consequence,
    NotAllowed,
    Operation,
    Preview,
    Verdict,
)

NOON = datetime(2026, 11, 22, 12, tzinfo=UTC)


class World:
    """Books, ledger and approvals on one clock that the test moves."""

    def __init__(self) -> None:
        self.time = NOON
        clock = Clock(now=lambda: self.time)
        self.books = demo_world(TODAY)
        self.approvals = MemoryApprovals(clock, lifetime=timedelta(hours=1))
        self.ledger = MemoryLedger(self.books, self.approvals, clock)

    def action(self, operation: str, key: str = "k1", **arguments: Any) -> Action:
        return Action(
            id=f"act_{key}",
            tenant="northfell",
            customer=self.books.customer("ana"),
            thread="t1",
            turn="turn1",
            operation=operation,
            arguments=arguments,
            key=key,
            fingerprint=f"{operation}{sorted(arguments.items())}",
            proposed_at=self.time,
        )

    async def execute(self, action: Action) -> Any:
        operation = OPERATIONS[action.operation]
        return await self.ledger.execute(action, operation, verdict(operation.consequence))

    def shop(self) -> Shop:
        return self.books.view(self.books.customer("ana"), TODAY)


def verdict(consequence: Consequence) -> Verdict:
    irreversible = consequence is Consequence.IRREVERSIBLE
    return Verdict(
        consequence=consequence,
        declared=consequence,
        needs_approval=irreversible,
        reason="declared",
    )


@pytest.fixture
def world() -> World:
    return World()


def test_the_memory_world_fits_the_ports(world: World) -> None:
    """Each in-memory part stands in for its port."""
    assert isinstance(MemoryBackend(world.books), Backend)
    assert isinstance(world.ledger, Ledger)
    assert isinstance(world.approvals, Approvals)
    assert isinstance(MemoryDecisionLog(), DecisionLog)
    assert isinstance(NullTracer(), Tracer)


async def test_the_same_key_runs_once(world: World) -> None:
    """Twenty double clicks open one ticket; nineteen get the stored outcome."""
    action = world.action("create_ticket", subject="Zip jams")

    outcomes = await asyncio.gather(*(world.execute(action) for _ in range(20)))

    assert sum(outcome.replayed for outcome in outcomes) == 19
    assert {"executed"} == {outcome.status for outcome in outcomes}
    assert {"T-70001"} == {outcome.result["ticket_number"] for outcome in outcomes}
    assert len(world.books.account(action.customer).tickets) == 1
    found = await world.ledger.find("northfell", "create_ticket", "k1")
    assert found is not None
    assert found.status == "executed"
    assert await world.ledger.find("northfell", "create_ticket", "k2") is None


async def test_the_same_key_with_other_arguments_is_blocked(world: World) -> None:
    """A key means one thing."""
    await world.execute(world.action("create_ticket", subject="Zip jams"))

    outcome = await world.execute(world.action("create_ticket", subject="Something else"))

    assert outcome.status == "blocked"
    assert len(world.books.account(world.books.customer("ana")).tickets) == 1


async def test_money_needs_an_approval_of_exactly_this(world: World) -> None:
    """Unasked, pending, rejected, edited and expired refunds do not run; the approved one does, once."""
    action = world.action("request_refund", order_number="SB-10482", amount="323.90")
    what = verdict(Consequence.IRREVERSIBLE)
    assert (await world.execute(action)).status == "blocked"

    await world.approvals.request(action, what)
    assert (await world.execute(action)).status == "blocked"
    assert [action.id] == [waiting.id for waiting in await world.approvals.pending()]

    approved, first = await world.approvals.decide(action.id, approve=True, reviewer="olga")
    again, second = await world.approvals.decide(action.id, approve=False, reviewer="paul")
    assert (
        (first, second),
        (approved.status, again.status),
        again.reviewer,
    ) == ((True, False), ("approved", "approved"), "olga")

    edited = action.model_copy(
        update={"arguments": action.arguments | {"amount": "1"}, "fingerprint": "edited"}
    )
    assert (await world.execute(edited)).status == "blocked"
    assert world.shop().refunds() == []

    assert (await world.execute(action)).status == "executed"
    assert (await world.execute(action)).replayed
    assert len(world.shop().refunds()) == 1
    settled = await world.approvals.get(action.id)
    assert settled is not None
    assert settled.status == "executed"
    assert await world.approvals.pending() == []


async def test_a_rejected_or_expired_action_does_not_run(world: World) -> None:
    """A no and a silence both leave everything as it was."""
    rejected = world.action("request_refund", "k1", order_number="SB-10482")
    expired = world.action("request_refund", "k2", order_number="SB-10482")
    for action in (rejected, expired):
        await world.approvals.request(action, verdict(Consequence.IRREVERSIBLE))
    await world.approvals.decide(rejected.id, approve=False, reviewer="olga", note="too early")
    world.time += timedelta(hours=1)

    late, decided = await world.approvals.decide(expired.id, approve=True, reviewer="olga")

    assert (late.status, decided) == ("expired", False)
    for action in (rejected, expired):
        assert (await world.execute(action)).status == "blocked"
    assert world.shop().refunds() == []
    with pytest.raises(KeyError):
        await world.approvals.decide("act_none", approve=True, reviewer="olga")


async def test_a_verdict_cannot_lower_the_declared_class(world: World) -> None:
    """A verdict below the declared class does not get money past the ledger."""
    action = world.action("request_refund", order_number="SB-10482")
    lowered = verdict(Consequence.RETRY_SAFE)

    outcome = await world.ledger.execute(action, OPERATIONS["request_refund"], lowered)

    assert outcome.status == "blocked"
    assert world.shop().refunds() == []


async def test_asking_twice_keeps_the_first_question(world: World) -> None:
    """A replayed turn does not ask the reviewers again."""
    action = world.action("request_refund", order_number="SB-10482")
    first = await world.approvals.request(action, verdict(Consequence.IRREVERSIBLE))
    world.time += timedelta(minutes=5)

    assert first == await world.approvals.request(action, verdict(Consequence.IRREVERSIBLE))


async def test_what_the_rules_refuse_has_failed(world: World) -> None:
    """A refusal at the moment of writing is an outcome with its sentence, and stays it."""
    action = world.action("cancel_order", order_number="SB-10217")

    outcome = await world.execute(action)

    assert outcome.status == "failed"
    assert "already been delivered" in outcome.reason
    assert (await world.execute(action)).replayed


async def test_a_write_that_breaks_halfway_leaves_nothing(world: World) -> None:
    """The books are as before, whether the rules or a crash ended it; a crash may be tried again."""

    def half(error: Exception) -> Operation:
        def run(shop: Shop, _: Any) -> BaseModel:
            shop.save_contact(email="lost@example.com")
            shop.save_order(shop.orders()[0].model_copy(update={"status": OrderStatus.CANCELLED}))
            raise error

        return Operation(
            name="half", title="", summary="", arguments=Arguments, result=BaseModel,
            consequence=Consequence.RETRY_SAFE, run=run, example="",
            preview=lambda shop, given: Preview(consequence=Consequence.RETRY_SAFE),
        )  # fmt: skip

    before = world.shop().orders()
    what = verdict(Consequence.RETRY_SAFE)

    with pytest.raises(ZeroDivisionError):
        await world.ledger.execute(world.action("half"), half(ZeroDivisionError()), what)
    assert await world.ledger.find("northfell", "half", "k1") is None
    failed = await world.ledger.execute(world.action("half"), half(NotAllowed("no")), what)

    assert (failed.status, failed.reason) == ("failed", "no")
    assert before == world.shop().orders()
    assert world.shop().customer.email == "ana@example.com"


async def test_the_backend_reads_and_does_not_write(world: World) -> None:
    """A write can be previewed, but not run, outside the ledger."""
    backend = MemoryBackend(world.books, Clock(now=lambda: NOON))
    operation = OPERATIONS["cancel_order"]
    ana = world.books.customer("ana")

    preview = await backend.preview(ana, operation, operation.arguments())

    assert preview.arguments["order_number"] == "SB-10482"
    with pytest.raises(ValueError, match="through the ledger"):
        await backend.read(ana, operation, operation.arguments())


async def test_a_read_is_not_for_the_ledger(world: World) -> None:
    """Only writes take a key."""
    with pytest.raises(ValueError, match="is not the write"):
        await world.execute(world.action("list_orders"))


def test_a_customer_without_books_has_an_empty_account() -> None:
    """Somebody who signed in and never bought anything is not an error."""
    shop = MemoryBooks().view(customer("new"), TODAY)

    assert (shop.orders(), shop.customer.email) == ([], "new@example.com")


async def test_decisions_are_kept_in_order() -> None:
    """The log holds what was decided, oldest first."""
    log = MemoryDecisionLog()
    decision = Decision(
        role="router", chosen="greeting", probability=0.9, tier="rule", model="rule"
    )
    for turn in ("t1", "t2"):
        await log.record(
            tenant="northfell", thread="th", turn=turn, input="hi", decisions=[decision]
        )

    assert [entry.turn for entry in log.entries] == ["t1", "t2"]
    assert (decision,) == log.entries[0].decisions


async def test_no_tracer_swallows_nothing() -> None:
    """Without traces a turn's own exceptions still come through."""

    async def refused() -> None:
        async with NullTracer().span("turn", "agent") as span:
            span.update(lane="direct")
            raise NotAllowed

    with pytest.raises(NotAllowed):
        await refused()
