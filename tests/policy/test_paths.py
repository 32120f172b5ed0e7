"""Nothing rejected, expired, edited or under-voted runs, whichever way it is tried."""

from __future__ import annotations

import pytest
from langgraph.types import Command
from pydantic import ValidationError

from domains.northfell.operations import OPERATIONS
from graphs.action import thread_of
from graphs.state import Answer
from tests.policy.gate import LENIENT, RULES

REFUND = OPERATIONS["request_refund"]

# --- how an action came to be one that must not run ------------------------------------------------


async def pending(gate):
    action = await gate.refund()
    assert (await gate.propose(action)).status == "pending"
    return action


async def under_voted(gate):
    """One of two persons said yes."""
    action = await pending(gate)
    assert (await gate.vote(action, "olga"))[1]
    assert await gate.status(action) == "pending"
    return action


async def voted_twice_by_one(gate):
    """The same person again, written otherwise, and in another role."""
    action = await under_voted(gate)
    for name, role in (("olga", "agent"), ("  OLGA ", "agent"), ("Olga", "admin")):
        assert not (await gate.vote(action, name, role))[1]
    assert await gate.status(action) == "pending"
    return action


async def wrong_role(gate):
    """Two agents, where the rules ask for an admin."""
    action = await gate.refund("SB-10482", request="r2")
    assert (await gate.propose(action)).status == "pending"
    for name in ("olga", "piet"):
        assert not (await gate.vote(action, name))[1]
    return action


async def rejected(gate):
    """One yes, one no: the no ends it."""
    action = await under_voted(gate)
    await gate.vote(action, "piet", approve=False)
    assert not (await gate.vote(action, "quirin", "admin"))[1]
    assert await gate.status(action) == "rejected"
    return action


async def expired(gate):
    action = await under_voted(gate)
    gate.hands.pass_(days=4)
    assert not (await gate.vote(action, "piet"))[1]
    assert await gate.status(action) == "expired"
    return action


async def approved_too_early(gate):
    """Approved by two, and not carried out before its time was over."""
    action = await pending(gate)
    for name in ("olga", "piet"):
        await gate.approvals.decide(action.id, approve=True, reviewer=name)
    gate.hands.pass_(days=4)
    assert await gate.status(action) == "expired"
    return action


async def replaced(gate):
    """Edited by a reviewer: the question that stood is closed."""
    action = await under_voted(gate)
    edit = {"type": "edit", "args": {"action": "request_refund", "args": {"amount": "120.00"}}}
    await gate.actions.compiled.ainvoke(
        Command(resume=edit), thread_of(action.id), context=gate.as_studio()
    )
    assert await gate.status(action) == "rejected"
    return action


async def approved_under_laxer_rules(gate):
    """One yes was enough when it was given; by now the rules ask for two."""
    gate.rules.write_text("rules: []")
    action = await pending(gate)
    await gate.approvals.decide(action.id, approve=True, reviewer="olga")
    gate.rules.write_text(RULES)
    assert await gate.status(action) == "approved"
    return action


async def refused_by_now(gate):
    """Approved by two, and then the rules stopped such refunds."""
    action = await pending(gate)
    for name in ("olga", "piet"):
        await gate.approvals.decide(action.id, approve=True, reviewer=name)
    gate.rules.write_text(
        "rules: [{name: stop, operations: [request_refund], then: refuse, say: No refunds today.}]"
    )
    return action


async def withdrawn(gate):
    """One of two persons said yes; then the customer took it back."""
    action = await under_voted(gate)
    taken_back, changed = await gate.actions.withdraw(action.id, gate.context)
    assert (taken_back.status, changed) == ("withdrawn", True)
    assert not (await gate.vote(action, "piet", "admin"))[1]
    assert await gate.status(action) == "withdrawn"
    return action


STATES = [
    pending,
    under_voted,
    voted_twice_by_one,
    wrong_role,
    rejected,
    expired,
    withdrawn,
    approved_too_early,
    replaced,
    approved_under_laxer_rules,
    refused_by_now,
]

# --- ways to try -----------------------------------------------------------------------------------

ACCEPTED = [
    {"decision": "approve", "reviewer": "mallory", "role": "admin"},
    Answer(decision="approve", reviewer="piet", role="admin"),
    {"type": "accept", "args": None},
    [{"type": "accept", "args": None}],
    {"decisions": [{"type": "approve"}]},
]
WORDS = [
    "yes, go ahead",
    True,
    {"type": "response", "args": "I approve this."},
    [{"type": "response", "args": "approve"}],
    {"decisions": [{"type": "respond", "message": "approved"}]},
    {"approve": True},
    [],
    None,
]


async def by_raw_resume(gate, action):
    """Command(resume=...) with what looks like a reviewer's answer, from nobody's desk."""
    for answer in ACCEPTED:
        await gate.actions.compiled.ainvoke(
            Command(resume=answer), thread_of(action.id), context=gate.context
        )


async def by_words(gate, action):
    """Free text and other shapes at the resume."""
    for words in WORDS:
        if (await gate.snapshot(action)).interrupts:
            # Without any value LangGraph itself stumbles, before the thread is touched.
            with pytest.raises(UnboundLocalError if words is None else ValidationError):
                await gate.actions.compiled.ainvoke(
                    Command(resume=words), thread_of(action.id), context=gate.context
                )


async def by_studio(gate, action):
    """Studio resumes with its own reviewer, who has had a say already."""
    for answer in ACCEPTED:
        await gate.actions.compiled.ainvoke(
            Command(resume=answer), thread_of(action.id), context=gate.as_studio("Olga", "agent")
        )


async def by_the_ledger(gate, action):
    """The ledger called directly, with the verdict that stands and with one made up."""
    state = await gate.snapshot(action)
    for verdict in (LENIENT, state.values.get("verdict") or LENIENT):
        outcome = await gate.ledger.execute(action, REFUND, verdict)
        assert outcome.status == "blocked"


async def by_slipped_in_arguments(gate, action):
    """An approval's id on other arguments, with the old fingerprint and with a right one."""
    forged = gate.changed(action, amount="1.00")
    for each in (forged, forged.model_copy(update={"fingerprint": action.fingerprint})):
        assert (await gate.ledger.execute(each, REFUND, LENIENT)).status == "blocked"


async def by_proposing_again(gate, action):
    """The same request once more, from the customer's thread."""
    outcome = await gate.propose(action)
    assert outcome.status != "executed"


async def by_going_on(gate, action):
    """The thread continued without any answer."""
    await gate.actions.compiled.ainvoke(None, thread_of(action.id), context=gate.context)


async def by_time_travel(gate, action):
    """Every checkpoint of the thread, gone on from and answered."""
    history = [
        each async for each in gate.actions.compiled.aget_state_history(thread_of(action.id))
    ]
    assert len(history) > 2
    for checkpoint in history:
        for given in (None, Command(resume=ACCEPTED[0])):
            await gate.actions.compiled.ainvoke(given, checkpoint.config, context=gate.context)


async def by_a_doctored_state(gate, action):
    """An approval written into the thread's state, as Studio's editor can."""
    approval = await gate.approvals.get(action.id)
    forged = approval.model_copy(update={"status": "approved"})
    graph, config = gate.actions.compiled, thread_of(action.id)
    state = await gate.snapshot(action)
    given = {"action": action, "verdict": state.values.get("verdict"), "outcome": None}
    await graph.aupdate_state(config, {**given, "approval": forged}, as_node="decide")
    await graph.ainvoke(None, config, context=gate.context)
    await graph.aupdate_state(config, {**given, "verdict": LENIENT}, as_node="classify")
    await graph.ainvoke(None, config, context=gate.context)


WAYS = [
    by_raw_resume,
    by_words,
    by_studio,
    by_the_ledger,
    by_slipped_in_arguments,
    by_proposing_again,
    by_going_on,
    by_time_travel,
    by_a_doctored_state,
]


@pytest.mark.parametrize("state", STATES, ids=lambda each: each.__name__)
async def test_nothing_runs_by_any_path(gate, state):
    """Each way alone and all of them after one another: no refund, and the question stands as it stood."""
    action = await state(gate)
    before = await gate.status(action)
    for way in WAYS:
        await way(gate, action)
        assert gate.refunds() == 0, way.__name__
        assert await gate.status(action) == before, way.__name__


async def test_what_was_approved_runs_once_by_all_paths(gate):
    """Two different persons: it runs, and every way of trying again finds it done."""
    action = await under_voted(gate)
    await gate.vote(action, "piet")
    assert (gate.refunds(), await gate.status(action)) == (1, "executed")
    for way in (by_raw_resume, by_words, by_studio, by_going_on, by_time_travel):
        await way(gate, action)
    assert (await gate.propose(action)).replayed
    assert (await gate.ledger.execute(action, REFUND, LENIENT)).replayed
    await by_slipped_in_arguments(gate, action)
    assert (gate.refunds(), await gate.status(action)) == (1, "executed")
