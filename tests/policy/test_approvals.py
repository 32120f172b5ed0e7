"""Approving, editing and rejecting, as the desk, the agent inbox and Studio do it; and the one right record."""

from __future__ import annotations

import pytest
from langgraph.types import Command
from pydantic import ValidationError

from app.desk import (
    AlreadyVoted,
    ApprovalDecided,
    ApprovalNotFound,
    EditInvalid,
    OwnEdit,
    RoleNotAccepted,
)
from app.wire import shown_approval
from domains.northfell.operations import OPERATIONS
from graphs.action import thread_of
from graphs.nodes.operation import what_next
from graphs.state import Answer
from tools.values import Vote

# --- several persons ------------------------------------------------------------------------------


async def test_the_question_shows_what_is_decided_and_why(gate):
    """Exact arguments, effects, the rule that asked with its version, the votes so far."""
    action = await gate.refund()
    await gate.propose(action)
    approval, _ = await gate.approvals.decide(
        action.id, approve=True, reviewer="olga", role="admin", note="seen the photo"
    )
    assert approval.action.arguments == {
        "order_number": "SB-10217",
        "reason": "damaged",
        "amount": "189.00",
    }
    assert approval.action.effects[0].startswith("189.00 EUR for SB-10217 go back")
    assert (approval.verdict.rules, approval.verdict.votes_needed) == (("big",), 2)
    assert approval.verdict.policy == gate.policy.version
    assert "Above 100." in approval.verdict.reason
    vote = approval.votes[0]
    assert (vote.reviewer, vote.role, vote.approve, vote.note) == (
        "olga",
        "admin",
        True,
        "seen the photo",
    )
    assert (await gate.approvals.get(action.id)) == approval
    assert (await gate.approvals.pending()) == [approval]


async def test_two_persons_one_effect(gate):
    """The second yes runs it; who decided it is the second, both are on record."""
    action = await gate.refund()
    await gate.propose(action)
    await gate.vote(action, "olga")
    assert gate.refunds() == 0
    await gate.vote(action, "piet", "admin")
    approval = await gate.approvals.get(action.id)
    assert gate.refunds() == 1
    assert (approval.status, approval.reviewer) == ("executed", "piet")
    assert [each.reviewer for each in approval.votes] == ["olga", "piet"]


async def test_one_person_is_enough_below_the_limit(gate):
    """What the operation declares still asks for one."""
    action = await gate.refund("SB-9874")
    assert (await gate.propose(action)).status == "pending"
    await gate.vote(action, "olga")
    assert gate.refunds() == 1


async def test_an_admin_decides_what_asks_for_one(gate):
    """An agent's yes does not count, an agent's no does."""
    action = await gate.refund("SB-10482")
    await gate.propose(action)
    assert not (await gate.vote(action, "olga"))[1]
    for name in ("quirin", "ruth"):
        assert (await gate.vote(action, name, "admin"))[1]
    assert gate.refunds() == 1


async def test_a_rule_refuses_with_its_sentence(gate):
    """Nobody is asked; the customer reads why."""
    action = await gate.refund("SB-10482", "unwanted")
    outcome = await gate.propose(action)
    assert (outcome.status, outcome.reason, gate.refunds()) == ("blocked", "No way.", 0)
    assert await gate.status(action) is None


@pytest.mark.parametrize(("reason", "step"), [("unwanted", "refuse"), ("damaged", "confirm")])
async def test_what_the_rules_refuse_is_not_put_to_the_customer(gate, reason, step):
    """Nobody confirms what would be refused afterwards."""
    following = await what_next(
        gate.context,
        OPERATIONS["request_refund"],
        {"order_number": "SB-10482", "reason": reason},
        "",
        confirmed=None,
    )
    assert following.step == step
    assert ("No way." in following.question) is (step == "refuse")


async def test_a_rule_asks_about_what_needs_nobody_otherwise(gate):
    """A retry-safe write waits because a rule says so, and runs after the yes."""
    action = await gate.write(
        "change_delivery_address",
        order_number="SB-10482",
        address="Lindenweg 4, 50674 Köln",
    )
    assert (await gate.propose(action)).status == "pending"
    await gate.vote(action, "olga")
    assert await gate.status(action) == "executed"


async def test_without_rules_it_runs_at_once(gate):
    """The same write, the rules emptied while running."""
    gate.rules.write_text("rules: []")
    action = await gate.write(
        "change_delivery_address",
        order_number="SB-10482",
        address="Lindenweg 4, 50674 Köln",
    )
    assert (await gate.propose(action)).status == "executed"


# --- the inbox's and Studio's words ---------------------------------------------------------------


@pytest.mark.parametrize(
    ("sent", "decision", "arguments"),
    [
        ({"type": "accept", "args": None}, "approve", None),
        ([{"type": "accept", "args": {"action": "x", "args": {}}}], "approve", None),
        ({"type": "ignore", "args": None}, "reject", None),
        ({"type": "edit", "args": {"action": "x", "args": {"a": 1}}}, "edit", {"a": 1}),
        ({"decisions": [{"type": "approve"}]}, "approve", None),
        ({"decisions": [{"type": "reject", "message": "no"}]}, "reject", None),
        (
            {"decisions": [{"type": "edit", "edited_action": {"name": "x", "args": {"a": 1}}}]},
            "edit",
            {"a": 1},
        ),
        ({"decision": "approve", "reviewer": "olga"}, "approve", None),
    ],
)
def test_answers_in_other_clients_words(sent, decision, arguments):
    """LangChain's agent inbox and HITL middleware are understood."""
    answer = Answer.model_validate(sent)
    assert (answer.decision, answer.arguments) == (decision, arguments)


@pytest.mark.parametrize(
    "sent",
    [
        "approve",
        "yes",
        None,
        True,
        [],
        {},
        {"type": "response", "args": "approve"},
        {"type": "respond", "message": "approve"},
        {"type": "ACCEPT"},
        {"type": "accept", "args": None, "approve": True},
        {"type": "edit", "args": "5 EUR please"},
        {"type": "edit", "args": None},
        {"type": "edit", "args": {"action": "x"}},
        {"decisions": [{"type": "approve"}, {"type": "approve"}]},
        {"decisions": "approve"},
        {"decision": "edit"},
        {"decision": "approve", "arguments": {"amount": "1"}},
        [{"type": "accept"}, {"type": "accept"}],
    ],
)
def test_free_text_and_half_answers_are_none(sent):
    """Whatever is not exactly an answer decides nothing."""
    with pytest.raises(ValidationError):
        Answer.model_validate(sent)


async def test_the_interrupt_is_what_the_inbox_shows(gate):
    """action_request, config and description, and ours beside them."""
    action = await gate.refund()
    await gate.propose(action)
    asked = (await gate.snapshot(action)).interrupts[0].value
    assert asked["action_request"] == {"action": "request_refund", "args": action.arguments}
    assert asked["config"] == {
        "allow_accept": True,
        "allow_edit": True,
        "allow_respond": False,
        "allow_ignore": True,
    }
    assert "189.00 EUR" in asked["description"]
    assert (asked["rules"], asked["votes_needed"], asked["votes"]) == (["big"], 2, [])


async def test_studio_approves_ignores_and_edits_as_its_reviewer(gate):
    """Answered through the graph: accept runs, ignore rejects, an edit is another question."""

    async def asked(request):
        action = await gate.refund("SB-9874", request=request)
        await gate.propose(action)
        return action

    graph, studio = gate.actions.compiled, gate.as_studio()

    async def answer(action, sent):
        await graph.ainvoke(Command(resume=sent), thread_of(action.id), context=studio)

    one = await asked("a")
    await answer(one, [{"type": "edit", "args": {"action": "cancel_order", "args": {}}}])
    assert (await gate.status(one), gate.refunds()) == ("pending", 0)
    await answer(one, [{"type": "ignore", "args": None}])
    assert await gate.status(one) == "rejected"
    edit = {"action": "request_refund", "args": {"amount": "20.00"}}
    two = await asked("b")
    await answer(two, [{"type": "edit", "args": edit}])
    state = await gate.snapshot(two)
    edited = state.values["action"]
    assert (await gate.status(two), await gate.status(edited)) == ("rejected", "pending")
    assert (edited.arguments["amount"], edited.actor, gate.refunds()) == ("20.00", "admin", 0)
    assert state.interrupts[0].value["action_request"]["args"]["amount"] == "20.00"
    await answer(two, [{"type": "accept", "args": None}])
    assert (await gate.status(edited), gate.refunds()) == ("executed", 1)


# --- at the desk ----------------------------------------------------------------------------------


def yes(reviewer="olga", role="agent"):
    return Answer(decision="approve", reviewer=reviewer, role=role)


def edit(amount, reviewer="olga", role="agent", **more):
    return Answer(
        decision="edit", reviewer=reviewer, role=role, arguments={"amount": amount, **more}
    )


async def test_the_desk_counts_votes(office):
    """A first yes waits, a second by the same person is refused, another person's runs it."""
    action = await office.refund()
    await office.propose(action)
    first = await office.desk.approvals.decide(action.id, yes())
    assert (first.status, len(first.votes), office.refunds()) == ("pending", 1, 0)
    with pytest.raises(AlreadyVoted):
        await office.desk.approvals.decide(action.id, yes("Olga"))
    second = await office.desk.approvals.decide(action.id, yes("piet"))
    assert (second.status, office.refunds()) == ("executed", 1)
    with pytest.raises(ApprovalDecided):
        await office.desk.approvals.decide(action.id, yes("quirin"))
    with pytest.raises(ApprovalNotFound):
        await office.desk.approvals.decide("act_nothing", yes())


async def test_the_desk_wants_the_role_the_rule_names(office):
    """An agent is told that an admin is needed."""
    action = await office.refund("SB-10482")
    await office.propose(action)
    with pytest.raises(RoleNotAccepted):
        await office.desk.approvals.decide(action.id, yes())
    assert await office.status(action) == "pending"


async def test_an_edit_is_another_action_gated_again(office):
    """New id, fingerprint, effects; the rules look at the new amount; votes for the old one are gone."""
    action = await office.refund()
    await office.propose(action)
    await office.desk.approvals.decide(action.id, yes())
    lower = await office.desk.approvals.decide(action.id, edit("90.00"))
    assert (await office.status(action), lower.status) == ("rejected", "pending")
    assert lower.id != action.id
    assert lower.action.fingerprint != action.fingerprint
    assert lower.action.effects[0].startswith("90.00 EUR for SB-10217")
    assert (lower.votes, lower.verdict.votes_needed, lower.action.actor) == ((), 1, "agent")
    higher = await office.desk.approvals.decide(lower.id, edit("150.00"))
    assert (higher.verdict.votes_needed, higher.verdict.rules) == (2, ("big",))
    back = await office.desk.approvals.decide(higher.id, edit("90.00"))
    assert back.id not in {action.id, lower.id, higher.id}
    assert (await office.desk.approvals.decide(back.id, yes())).status == "executed"
    assert office.refunds() == 1
    for stale in (action.id, lower.id, higher.id):
        with pytest.raises(ApprovalDecided):
            await office.desk.approvals.decide(stale, yes("piet"))
        with pytest.raises(ApprovalDecided):
            await office.desk.approvals.decide(stale, edit("1.00"))
    assert office.refunds() == 1


async def test_an_edit_is_not_approved_by_its_editor_where_two_are_asked_for(office):
    """They may reject it; two others approve it. Where one is enough, whoever wrote it may be that one."""
    action = await office.refund()
    await office.propose(action)
    higher = await office.desk.approvals.decide(action.id, edit("150.00"))
    assert (higher.verdict.votes_needed, higher.action.editor) == (2, "olga")
    with pytest.raises(OwnEdit):
        await office.desk.approvals.decide(higher.id, yes("Olga "))
    assert (await office.desk.approvals.decide(higher.id, yes("piet"))).status == "pending"
    assert (await office.desk.approvals.decide(higher.id, yes("quirin"))).status == "executed"


async def test_an_editors_vote_does_not_count_for_rules_that_came_later(office):
    """Approved while one person was enough; by now two are asked for, and one of them wrote it."""
    action = await office.refund()
    await office.propose(action)
    lower = await office.desk.stores.approvals.get(
        (await office.desk.approvals.decide(action.id, edit("90.00"))).id
    )
    votes = tuple(
        Vote(reviewer=name, approve=True, at=lower.requested_at) for name in ("olga", "piet")
    )
    both = lower.model_copy(update={"votes": votes})
    assert (both.approved_by(), both.approved_by(2)) == (True, False)


async def test_an_edit_after_the_decision_is_refused(office):
    """Approved is approved as it was read."""
    action = await office.refund("SB-9874")
    await office.propose(action)
    await office.desk.approvals.decide(action.id, yes())
    with pytest.raises(ApprovalDecided):
        await office.desk.approvals.decide(action.id, edit("1.00"))
    assert office.refunds() == 1


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"amount": "a lot"}, "amount"),
        ({"amount": "5000"}, "At most 189.00 EUR"),
        ({"amount": "-5"}, "nothing would be left"),
        ({"amount": "0.00"}, "nothing would be left"),
        ({"amount": "189.00"}, "nothing is changed"),
        ({"amount": "50", "colour": "red"}, "colour"),
        ({"amount": "50", "order_number": "SB-9874"}, "confirmed another record"),
        ({"amount": "50", "order_number": None}, "confirmed another record"),
    ],
)
async def test_an_edit_that_cannot_be_carried_out_is_refused(office, changes, said):
    """It names what is wrong, and the question stands as it stood."""
    action = await office.refund()
    await office.propose(action)
    with pytest.raises(EditInvalid, match=said):
        await office.desk.approvals.decide(action.id, edit(**changes))
    assert await office.status(action) == "pending"


async def test_what_the_api_shows(office):
    """The stored approval with the inbox's fields beside it."""
    action = await office.refund()
    await office.propose(action)
    shown = shown_approval(await office.desk.approvals.decide(action.id, yes())).model_dump(
        mode="json"
    )
    assert shown["action_request"] == {"action": "request_refund", "args": action.arguments}
    assert (shown["votes_needed"], len(shown["votes"])) == (2, 1)
    assert (shown["verdict"]["rules"], shown["config"]["allow_respond"]) == (["big"], False)


# --- the one record that was confirmed ------------------------------------------------------------


async def test_several_records_that_fit_stop_a_write(gate):
    """The action graph asks which one is meant, whoever proposed it."""
    action = gate.world.an_action("request_refund", reason="damaged")
    outcome = await gate.propose(action)
    assert outcome.status == "blocked"
    assert "SB-10482" in outcome.reason
    assert "SB-10217" in outcome.reason
    assert (await gate.status(action), gate.refunds()) == (None, 0)


async def test_a_record_that_was_not_named_is_not_touched(gate):
    """One record fits, and still nobody confirmed that one."""
    action = gate.world.an_action("change_delivery_address", address="Lindenweg 4, 50674 Köln")
    outcome = await gate.propose(action)
    assert outcome.status == "blocked"
    assert "SB-10482" in outcome.reason
    assert await gate.status(action) is None


async def test_what_was_confirmed_is_what_would_happen(gate):
    """The books moved on between the yes and the gate: nothing runs, the new effects are told."""
    action = await gate.refund("SB-9874")
    confirmed = action.model_copy(update={"effects": ("5.00 EUR for SB-9874 go back.",)})
    outcome = await gate.propose(confirmed)
    assert outcome.status == "blocked"
    assert "64.80 EUR" in outcome.reason
    assert await gate.status(action) is None


async def test_a_record_of_somebody_else_is_not_found(gate):
    """Another customer's number is nobody's."""
    action = gate.world.an_action("request_refund", order_number="SB-10390", reason="damaged")
    outcome = await gate.propose(action)
    assert outcome.status == "blocked"
    assert "can't find" in outcome.reason


MAT = [{"product": "Foam Mat", "quantity": 1}]


async def _the_mat(office):
    """A refund of one item of an order, which waits."""
    action = await office.write("request_refund", order_number="SB-10482", items=MAT)
    await office.propose(action)
    return action


def edit_of(**arguments):
    return Answer(decision="edit", reviewer="olga", arguments=arguments)


async def test_a_part_waits_and_is_paid_as_a_part(office):
    """What the reviewer reads, approves and what is booked is the item, not the order."""
    action = await _the_mat(office)
    assert action.arguments["amount"] == "34.90"
    stored = await office.approvals.get(action.id)
    assert stored.action.effects[0].startswith("34.90 EUR for 1 x Foam Mat of SB-10482")
    assert (await office.desk.approvals.decide(action.id, yes(role="admin"))).status == "executed"
    assert office.refunds() == 1


async def test_a_reviewer_may_lessen_a_part(office):
    """Less money for the same item is another action, weighed anew."""
    action = await _the_mat(office)
    less = await office.desk.approvals.decide(action.id, edit_of(amount="10.00"))
    assert less.action.effects[0].startswith("10.00 EUR for 1 x Foam Mat of SB-10482")


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"items": [{"product": "Ridgeline Tent 2P"}]}, "Ridgeline Tent 2P"),
        ({"items": [*MAT, {"product": "Ridgeline Tent 2P"}]}, "Ridgeline Tent 2P"),
        ({"items": None}, "the whole"),
        ({"items": [{"product": "Foam Mat", "quantity": 2}]}, "1 x Foam Mat"),
        ({"amount": "289.00"}, "At most 34.90"),
    ],
)
async def test_a_reviewer_does_not_widen_a_part(office, changes, said):
    """Neither another item, nor more of it, nor the whole order: the customer confirmed the mat."""
    action = await _the_mat(office)
    with pytest.raises(EditInvalid, match=said):
        await office.desk.approvals.decide(action.id, edit_of(**changes))
    assert await office.status(action) == "pending"


async def test_the_rules_look_at_the_parts_amount(office):
    """Thirty-five euros of an order of three hundred are not "big"."""
    action = await _the_mat(office)
    assert (await office.approvals.get(action.id)).verdict.rules == ("boss",)
