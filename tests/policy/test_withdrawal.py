"""A customer takes back what waits, and sees what waits; nobody else can."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tools.values import Approval


async def _waits(gate, order: str = "SB-10482", request: str = "r1"):
    action = await gate.refund(order, request=request)
    assert (await gate.propose(action)).status == "pending"
    return action


async def test_what_waits_is_listed_newest_first(gate):
    """With its operation, what it would do, and since when."""
    first = await _waits(gate, "SB-10217", "r1")
    gate.hands.pass_(minutes=5)
    second = await _waits(gate, "SB-9874", "r2")

    waiting: list[Approval] = await gate.approvals.waiting(gate.context.customer)

    assert [each.action.id for each in waiting] == [second.id, first.id]
    assert waiting[1].action.operation == "request_refund"
    assert waiting[1].action.effects == first.effects
    assert (waiting[0].requested_at - waiting[1].requested_at).total_seconds() == 300
    stranger = gate.context.customer.model_copy(update={"id": "somebody"})
    assert await gate.approvals.waiting(stranger) == []


async def test_a_request_taken_back_ends_blocked(gate):
    """Its thread is at its end with the sentence, and asking for it again says so too."""
    action = await _waits(gate)

    taken_back, changed = await gate.actions.withdraw(action.id, gate.context)

    assert (changed, taken_back.status) == (True, "withdrawn")
    after = await gate.snapshot(action)
    assert (after.interrupts, after.next) == ((), ())
    outcome = await gate.propose(action)
    assert (outcome.status, outcome.reason) == (
        "blocked",
        "You took this request back, so nothing was carried out.",
    )
    assert await gate.approvals.waiting(gate.context.customer) == []
    assert gate.refunds() == 0


async def test_a_process_that_died_while_taking_it_back(gate):
    """The store has it already: the next look at the action brings its thread to the end."""
    action = await _waits(gate)
    await gate.approvals.withdraw(action.id, gate.context.customer)

    assert (await gate.propose(action)).status == "blocked"
    assert not (await gate.snapshot(action)).interrupts


async def test_the_same_may_be_asked_for_anew(gate):
    """Another request for the same refund is a question of its own."""
    await gate.actions.withdraw((await _waits(gate)).id, gate.context)

    again = await _waits(gate, request="r2")

    assert [each.id for each in await gate.approvals.waiting(gate.context.customer)] == [again.id]


async def test_what_was_decided_is_not_taken_back(gate):
    """The first word counts: here the reviewer's."""
    action = await _waits(gate)
    await gate.approvals.decide(action.id, approve=False, reviewer="olga", role="admin")

    stored, changed = await gate.actions.withdraw(action.id, gate.context)

    assert (stored.status, changed) == ("rejected", False)


async def test_another_customers_request_is_not_there(gate):
    """Neither its state nor that it exists is told."""
    action = await _waits(gate)
    stranger = replace(
        gate.context, customer=gate.context.customer.model_copy(update={"id": "somebody"})
    )

    with pytest.raises(KeyError):
        await gate.actions.withdraw(action.id, stranger)
    with pytest.raises(KeyError):
        await gate.actions.withdraw("act_unknown", gate.context)
    assert await gate.status(action) == "pending"
