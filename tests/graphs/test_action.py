"""The life of one action: every path through the gate, and every way around it."""

from __future__ import annotations

from dataclasses import replace

import pytest
from langgraph.types import Command
from pydantic import ValidationError

from domains.northfell.data_model import OrderStatus
from graphs.action import question, thread_of
from graphs.editing import edited
from graphs.state import Answer
from tests.graphs.world import OPERATIONS, Slow, World
from tools.ports import BackendUnavailable, ModelOutputInvalid, ModelUnavailable
from tools.values import Consequence, Reviewer

APPROVE = Answer(decision="approve", reviewer="olga")


@pytest.fixture
def world() -> World:
    return World("ana")


def undeclared(world: World, preview: Consequence = Consequence.UNKNOWN) -> None:
    """An operation that nobody classified."""
    ticket = OPERATIONS["create_ticket"]
    world.operations["create_ticket"] = replace(
        ticket,
        consequence=Consequence.UNKNOWN,
        preview=lambda shop, given: ticket.preview(shop, given).model_copy(
            update={"consequence": preview}
        ),
    )


async def propose(world, operation, **arguments):
    action = world.an_action(operation, **arguments)
    return action, await world.actions.propose(action, world.context)


async def waiting_refund(world):
    action, outcome = await propose(world, "request_refund", order_number="SB-10482")
    assert outcome.status == "pending"
    return action


async def resume_raw(world, action, value):
    return await world.actions.compiled.ainvoke(
        Command(resume=value), thread_of(action.id), context=world.context
    )


def refunds(world):
    return len(world.account.refunds)


# --- paths --------------------------------------------------------------------------------------


async def test_a_read_runs_at_once_and_leaves_no_thread(world):
    """Safe: nothing to resume, nothing to remember."""
    action, outcome = await propose(world, "get_order", order_number="SB-10482")
    assert outcome.status == "executed"
    assert not (await world.actions.compiled.aget_state(thread_of(action.id))).values
    assert world.ledger.calls == []


async def test_a_retry_safe_write_runs_through_the_ledger(world):
    """Declared harmless: executed without a question."""
    action, outcome = await propose(world, "cancel_order", order_number="SB-10482")
    assert (outcome.status, world.ledger.calls) == ("executed", ["execute"])
    assert world.order("SB-10482").status is OrderStatus.CANCELLED
    assert world.logged("consequence") == ["retry_safe"]
    assert action.id == outcome.action_id


async def test_money_waits_for_a_person(world):
    """Irreversible by declaration."""
    action = await waiting_refund(world)
    assert refunds(world) == 0
    (asked,) = await world.approvals.pending()
    assert (asked.id, asked.verdict.consequence) == (action.id, Consequence.IRREVERSIBLE)


async def test_the_records_state_can_make_it_irreversible():
    """The same operation on a packed order needs a person."""
    ben = World("ben")
    _, outcome = await propose(ben, "cancel_order", order_number="SB-10479", seen_status="packed")
    assert outcome.status == "pending"
    assert ben.order("SB-10479").status is OrderStatus.PACKED


@pytest.mark.parametrize(
    ("operation", "arguments", "why"),
    [
        ("launch_rocket", {}, "cannot do that"),
        ("cancel_order", {"order_number": "SB-10496"}, "can't find"),  # Ben's
        ("cancel_order", {"order_number": "SB-10217"}, "delivered"),
    ],
)
async def test_blocked_before_anything(world, operation, arguments, why):
    """Unknown operations, other people's records and the shop's rules end in a block."""
    _, outcome = await propose(world, operation, **arguments)
    assert outcome.status == "blocked"
    assert why in outcome.reason
    assert world.ledger.calls == []


async def test_several_records_are_not_one():
    """An action that does not say which record is not run on the first."""
    ben = World("ben")
    _, outcome = await propose(ben, "cancel_order")
    assert outcome.status == "blocked"
    assert ben.ledger.calls == []


# --- the judge ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("judged", "status"),
    [
        ("safe", "executed"),
        ("retry_safe", "executed"),
        ("retry_unsafe", "executed"),
        ("irreversible", "pending"),
    ],
)
async def test_the_judge_is_asked_once_about_the_unknown(world, judged, status):
    """Its word goes through the same table."""
    undeclared(world)
    world.large.enqueue("judge", {"consequence": judged, "reason": "because"})
    action, outcome = await propose(world, "create_ticket", subject="Zip jams")
    assert (outcome.status, world.large.roles) == (status, ["judge"])
    assert world.logged("judge") == [judged]
    await world.actions.propose(action, world.context)
    assert world.large.roles == ["judge"]


@pytest.mark.parametrize(
    "answer",
    [
        ModelUnavailable(),
        ModelOutputInvalid(),
        Slow(),
        {"consequence": "harmless", "reason": "trust me"},
        {"consequence": "unknown", "reason": "?"},
        {},
    ],
)
async def test_a_judge_that_cannot_tell_leaves_it_to_a_person(world, answer):
    """Down, slow, or talking nonsense: a person decides."""
    undeclared(world)
    world.large.enqueue("judge", answer)
    _, outcome = await propose(world, "create_ticket", subject="Zip jams")
    assert (outcome.status, world.account.tickets) == ("pending", {})
    assert world.large.roles == ["judge"]


async def test_a_judge_cannot_talk_down_the_record(world):
    """Where the record's state says irreversible, nobody is asked for a milder view."""
    undeclared(world, preview=Consequence.IRREVERSIBLE)
    world.large.enqueue("judge", {"consequence": "safe", "reason": "trust me"})
    _, outcome = await propose(world, "create_ticket", subject="Zip jams")
    assert (outcome.status, world.large.calls) == ("pending", [])


async def test_a_declared_class_is_never_judged(world):
    """No model is asked about what was declared."""
    world.large.enqueue("judge", {"consequence": "safe", "reason": "trust me"})
    await waiting_refund(world)
    assert world.large.calls == []


# --- deciding -----------------------------------------------------------------------------------


async def test_approved_runs_once(world):
    """One approval, one refund, however often the answer comes."""
    action = await waiting_refund(world)
    first = await world.decide(action.id)
    again = await world.decide(action.id)
    reproposed = await world.actions.propose(action, world.context)
    assert (first.status, again.status, refunds(world)) == ("executed", "executed", 1)
    assert reproposed.replayed
    assert (await world.approvals.get(action.id)).status == "executed"


async def test_rejected_does_not_run(world):
    """And stays rejected, whatever comes afterwards."""
    action = await waiting_refund(world)
    outcome = await world.decide(action.id, approve=False, note="sent already")
    assert (outcome.status, outcome.reason) == ("rejected", "sent already")
    assert (await world.decide(action.id)).status == "rejected"
    assert (await world.actions.propose(action, world.context)).status == "rejected"
    assert refunds(world) == 0


async def test_expired_does_not_run(world):
    """Too late is no."""
    action = await waiting_refund(world)
    world.hands.pass_(days=4)
    assert (await world.decide(action.id)).status == "expired"
    assert refunds(world) == 0


async def test_approved_but_out_of_date_does_not_run(world):
    """An approval is for now, not for ever."""
    action = await waiting_refund(world)
    await world.approvals.decide(action.id, approve=True, reviewer="olga")
    world.hands.pass_(days=4)
    outcome = await world.actions.resume(
        await world.approvals.get(action.id), APPROVE, world.context
    )
    assert outcome.status in ("expired", "blocked")
    assert refunds(world) == 0


async def test_the_rules_are_asked_again_when_it_runs(world):
    """Approved, but refunded in the meantime: failed, with the reason."""
    action = await waiting_refund(world)
    world.set_order("SB-10482", status=OrderStatus.REFUNDED)
    outcome = await world.decide(action.id)
    assert (outcome.status, refunds(world)) == ("failed", 0)
    assert "already been refunded" in outcome.reason


async def test_proposing_while_it_waits_changes_nothing(world):
    """The same action again is the same question."""
    action = await waiting_refund(world)
    assert (await world.actions.propose(action, world.context)).status == "pending"
    assert len(await world.approvals.pending()) == 1


# --- around the gate ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    "value",
    ["yes", "approve", True, 1, {"reviewer": "olga"}, {"decision": "sure", "reviewer": "olga"}, []],
)  # fmt: skip
async def test_free_text_approves_nothing(world, value):
    """Only a typed answer resumes; the question stays open."""
    action = await waiting_refund(world)
    with pytest.raises(ValidationError):
        await resume_raw(world, action, value)
    assert refunds(world) == 0
    assert (await world.approvals.get(action.id)).status == "pending"
    assert (await world.decide(action.id)).status == "executed"


@pytest.mark.parametrize("reviewer", ["", "olga"])
async def test_a_typed_answer_by_nobody_approves_nothing(world, reviewer):
    """Who answers is known from the context; what a resume says of it is not believed."""
    action = await waiting_refund(world)
    await resume_raw(world, action, {"decision": "approve", "reviewer": reviewer})
    assert refunds(world) == 0
    assert (await world.approvals.get(action.id)).status == "pending"
    assert (await world.decide(action.id)).status == "executed"


async def test_an_answer_to_another_question_does_nothing(world):
    """A resume for another interrupt's id is not an answer to this one."""
    action = await waiting_refund(world)
    await resume_raw(world, action, {"0" * 32: APPROVE.model_dump()})
    assert refunds(world) == 0
    assert (await world.approvals.get(action.id)).status == "pending"


async def test_a_raw_edit_runs_nothing(world):
    """An edit by nobody changes nothing: the question stays as it was."""
    action = await waiting_refund(world)
    edit = Answer(decision="edit", reviewer="olga", arguments={"amount": "9999"})
    await resume_raw(world, action, edit)
    assert (await world.actions.propose(action, world.context)).status == "pending"
    assert (await world.approvals.get(action.id)).action == action
    assert refunds(world) == 0


@pytest.mark.parametrize("ending", ["rejected", "expired", "executed"])
async def test_a_raw_resume_after_the_end(world, ending):
    """Whatever resumes the thread, the approvals store has the last word."""
    action = await waiting_refund(world)
    if ending == "expired":
        world.hands.pass_(days=4)
    else:
        await world.approvals.decide(action.id, approve=ending == "executed", reviewer="olga")
    await resume_raw(world, action, APPROVE)
    await resume_raw(world, action, APPROVE)
    assert refunds(world) == (1 if ending == "executed" else 0)


async def test_a_resume_of_an_action_nobody_asked_about(world):
    """No stored question, no execution."""
    action = await waiting_refund(world)
    world.approvals._approvals.clear()
    await resume_raw(world, action, APPROVE)
    assert refunds(world) == 0
    assert (await world.actions.propose(action, world.context)).status == "blocked"


# --- crashes ------------------------------------------------------------------------------------


class Killed(BaseException):
    """The process is gone."""


@pytest.mark.parametrize("when", ["before", "after"])
async def test_a_crash_around_the_write(world, when):
    """Dead just before or just after the effect: proposing again gives one effect."""
    action = world.an_action("cancel_order", order_number="SB-10482")
    getattr(world.ledger, when)["execute"].append(Killed())
    with pytest.raises(Killed):
        await world.actions.propose(action, world.context)
    outcome = await world.actions.propose(action, world.context)
    assert outcome.status == "executed"
    assert world.order("SB-10482").status is OrderStatus.CANCELLED
    again = await world.actions.propose(action, world.context)
    assert again.replayed


@pytest.mark.parametrize("when", ["before", "after"])
async def test_a_crash_around_an_approved_write(world, when):
    """Approved, killed in the ledger, resumed by another process: one refund."""
    action = await waiting_refund(world)
    getattr(world.ledger, when)["execute"].append(Killed())
    with pytest.raises(Killed):
        await world.decide(action.id)
    assert (await world.decide(action.id)).status == "executed"
    assert refunds(world) == 1


async def test_a_crash_before_the_question(world):
    """Killed while asking: the answer finds its question."""
    action = world.an_action("request_refund", order_number="SB-10482")
    world.backend.before["preview"].append(Killed())
    with pytest.raises(Killed):
        await world.actions.propose(action, world.context)
    assert (await world.actions.propose(action, world.context)).status == "pending"
    assert (await world.decide(action.id)).status == "executed"


async def test_the_ledger_down_is_tried_again_by_asking_again(world):
    """An outage raises; the action is still where it was."""
    action = world.an_action("cancel_order", order_number="SB-10482")
    world.ledger.before["execute"].append(BackendUnavailable())
    with pytest.raises(BackendUnavailable):
        await world.actions.propose(action, world.context)
    assert (await world.actions.propose(action, world.context)).status == "executed"


async def test_an_unknown_outcome_is_looked_up_and_not_retried(world):
    """Nobody knows whether it went through: the ledger is asked, the write is not repeated."""
    action = world.an_action("cancel_order", order_number="SB-10482")
    real = world.ledger

    class Uncertain:
        calls = 0

        async def execute(self, *given):
            Uncertain.calls += 1
            done = await real.execute(*given)
            return done.model_copy(update={"status": "unknown", "result": {}})

        attempt = staticmethod(real.attempt)
        reconcile = staticmethod(real.reconcile)

    world.ledger = Uncertain()
    outcome = await world.actions.propose(action, world.context)
    assert (outcome.status, Uncertain.calls) == ("executed", 1)


# --- edits and what a reviewer sees -------------------------------------------------------------


async def test_an_edit_is_another_action(world):
    """Other arguments: another id under the same key, of another reason too, which is no other deed; twice
    edited still one root."""
    action = await waiting_refund(world)
    operation = OPERATIONS["request_refund"]
    less = Answer(decision="edit", reviewer="o", arguments={"amount": "50.00"})
    one = await edited(action, operation, less, world.context, by=Reviewer(name="olga"))
    damaged = Answer(decision="edit", reviewer="o", arguments={"reason": "damaged"})
    two = await edited(one, operation, damaged, world.context, by=Reviewer(name="olga"))
    assert len({action.id, one.id, two.id}) == 3
    assert action.fingerprint != one.fingerprint == two.fingerprint
    assert {action.key} == {one.key, two.key}
    assert one.id.split(".")[0] == two.id.split(".")[0] == action.id


@pytest.mark.parametrize("arguments", [{"amount": "much"}, {"reason": "revenge"}, {"bonus": 1}])
async def test_an_edit_that_is_not_valid_says_why(world, arguments):
    """A reviewer cannot smuggle values in either."""
    action = await waiting_refund(world)
    problem = await edited(
        action,
        OPERATIONS["request_refund"],
        Answer(decision="edit", reviewer="o", arguments=arguments),
        world.context,
        by=Reviewer(name="olga"),
    )
    assert isinstance(problem, str)
    assert next(iter(arguments)) in problem


async def test_what_a_reviewer_sees(world):
    """The question in the shape agent inboxes read."""
    action = await waiting_refund(world)
    state = (await world.actions.compiled.aget_state(thread_of(action.id))).values
    shown = question(state)
    assert shown["action_request"] == {
        "action": "request_refund",
        "args": {"order_number": "SB-10482"},
    }
    assert shown["action_id"] == action.id
    assert "cannot be undone" in shown["reason"]


async def test_what_nobody_sees_is_shown_to_a_reviewer(world):
    """A direction mark in an effect: named where it stands, in every text an inbox shows."""
    action = await waiting_refund(world)
    hidden = action.model_copy(
        update={"effects": ("To Lindenweg 4\u202e nilreB",), "label": "A\u200bB"}
    )
    shown = question({"action": hidden})
    assert shown["effects"] == ["To Lindenweg 4⟨U+202E⟩ nilreB"]
    assert shown["record"] == "A⟨U+200B⟩B"
    assert "⟨U+202E⟩" in shown["description"]
