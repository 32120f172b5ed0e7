"""The running desk: keys, owners, approvals, deliveries, crashes. On SQLite and on PostgreSQL."""

from __future__ import annotations

import asyncio
import hashlib
import json
from dataclasses import fields, replace

import pytest
from langchain_core.messages import AIMessage, HumanMessage
from langgraph.runtime import Runtime

from app.desk import (
    ApprovalDecided,
    ApprovalNotFound,
    ClaimedByAnother,
    EditInvalid,
    KeyConflict,
    KeyInFlight,
    NotHandedOff,
    ThreadNotFound,
    TurnNotFound,
)
from app.rooms.approvals import SupportApprovals
from app.rooms.turns import turn_id_of
from app.shadow import WAITING, Candidate, Shadow, chosen
from app.stores.comparisons import SqlComparisons
from app.stores.decisions import Wanted
from graphs.context import Thresholds
from graphs.nodes.understand import understand
from graphs.state import Answer, Turn
from tests.desk.world import Killed
from tests.graphs.world import INTENTS, a_choice
from tools.decisions import Aftermath
from tools.ports import BackendUnavailable

APPROVE = Answer(decision="approve", reviewer="olga")
REJECT = Answer(decision="reject", reviewer="olga", note="sent already")


@pytest.fixture
async def desk(world):
    async with world.process() as desk:
        yield desk


@pytest.fixture
async def thread(world, desk):
    return await desk.turns.open_thread(world.customers["ana"])


async def texts(world, desk, thread, role="agent"):
    return [
        m.text for m in await desk.turns.history(world.customers["ana"], thread) if m.role == role
    ]


async def waiting_refund(world, desk, thread):
    await world.say(desk, thread, "refund SB-10482", "request_refund")
    events = await world.say(desk, thread, "yes", "affirm")
    return next(e.data["id"] for e in events if e.event == "approval_required")


# --- keys and owners ----------------------------------------------------------------------------


async def test_the_same_key_is_the_same_turn(world, desk, thread):
    """A retry gets the stored events; nothing is played twice."""
    first = await world.say(desk, thread, "open a ticket", "human_request", key="k1")
    again = await world.say(desk, thread, "open a ticket", "human_request", key="k1")
    assert again == first
    assert len(world.rows("tickets", customer_id="ana")) == 1
    assert len(await texts(world, desk, thread, "customer")) == 1


async def test_a_key_is_for_one_message_on_one_thread(world, desk, thread):
    """Other words or another thread under the same key are a conflict."""
    await world.say(desk, thread, "hello", "greeting", key="k1")
    with pytest.raises(KeyConflict):
        await world.say(desk, thread, "goodbye", "goodbye", key="k1")
    other = await desk.turns.open_thread(world.customers["ana"])
    with pytest.raises(KeyConflict):
        await world.say(desk, other, "hello", "greeting", key="k1")


async def test_a_double_click_gets_the_first_ones_answer(world, desk, thread):
    """While the first is being played, the second waits for it."""
    first, second = await asyncio.gather(
        world.say(desk, thread, "hello", "greeting", key="k1"),
        world.say(desk, thread, "hello", "greeting", key="k1"),
    )
    assert first == second
    assert len(await texts(world, desk, thread, "customer")) == 1


async def test_a_message_that_is_worked_on_for_long_is_not_played_beside_it(world, desk, thread):
    """Another process has its key, and says nothing for longer than anybody waits."""
    ana = world.customers["ana"]
    digest = hashlib.sha256(json.dumps([thread, "hello"]).encode()).hexdigest()
    await desk.stores.turns.begin(ana.tenant, "ana", "k1", digest)
    desk.turns.wait_seconds = 0.2
    with pytest.raises(KeyInFlight):
        await world.say(desk, thread, "hello", "greeting", key="k1")
    assert await texts(world, desk, thread, "customer") == []


async def test_a_rating_stays_with_its_answer(world, desk, thread):
    """The customer's own answers only; the last word counts, and the history shows it."""
    events = await world.say(desk, thread, "hello", "greeting")
    turn = events[-1].data["turn"]
    ana = world.customers["ana"]
    await desk.turns.rate(ana, thread, turn, good=True)
    await desk.turns.rate(ana, thread, turn, good=False, comment="no date")
    with pytest.raises(TurnNotFound):
        await desk.turns.rate(ana, thread, "t_nowhere", good=True)

    rated = [(m.role, m.turn, m.good) for m in await desk.turns.history(ana, thread)]
    assert rated == [("customer", None, None), ("agent", turn, False)]


async def test_two_customers_may_use_the_same_key(world, desk, thread):
    """Keys belong to their customer."""
    bens = await desk.turns.open_thread(world.customers["ben"])
    await world.say(desk, thread, "hello", "greeting", key="k1")
    events = await world.say(desk, bens, "hello", "greeting", who="ben", key="k1")
    assert "Hello Ben" in events[-1].data["text"]


async def test_a_thread_is_its_customers(world, desk, thread):
    """Nobody else can write in it, read it, or see that it is there."""
    ben = world.customers["ben"]
    with pytest.raises(ThreadNotFound):
        await world.say(desk, thread, "hello", "greeting", who="ben")
    with pytest.raises(ThreadNotFound):
        await desk.turns.history(ben, thread)
    with pytest.raises(ThreadNotFound):
        await desk.turns.history(ben, "th_nothing")
    assert await desk.turns.threads(ben) == []


async def test_two_messages_at_once_are_played_one_after_the_other(world, desk, thread):
    """Both are answered, and both stand in the history."""
    await asyncio.gather(
        world.say(desk, thread, "hello", "greeting"), world.say(desk, thread, "bye", "goodbye")
    )
    assert len(await texts(world, desk, thread, "customer")) == 2
    assert len(await texts(world, desk, thread)) == 2


# --- approvals ----------------------------------------------------------------------------------


async def test_an_approval_runs_it_once_and_tells_the_customer(world, desk, thread):
    """Asked, approved, executed, told; a second decision changes nothing."""
    action = await waiting_refund(world, desk, thread)
    assert world.rows("refunds", customer_id="ana") == []
    assert (await desk.approvals.decide(action, APPROVE)).status == "executed"
    with pytest.raises(ApprovalDecided):
        await desk.approvals.decide(action, APPROVE)
    with pytest.raises(ApprovalDecided):
        await desk.approvals.decide(action, REJECT)
    assert len(world.rows("refunds", customer_id="ana")) == 1
    assert "A colleague has approved it" in (await texts(world, desk, thread))[-1]


async def test_a_plans_steps_are_announced(world, desk, thread):
    """What waits in a plan is announced like any other approval."""
    world.large.enqueue("planner", {"steps": ["cancel_order", "request_refund"]})
    await world.say(desk, thread, "cancel SB-10482 and refund it", "several_requests")
    events = await world.say(desk, thread, "yes", "affirm")
    kinds = [e.event for e in events]
    assert kinds == ["route", "ack", "tool", "tool", "approval_required", "final"]


async def test_a_rejection_leaves_no_effect(world, desk, thread):
    """And the customer reads why."""
    action = await waiting_refund(world, desk, thread)
    assert (await desk.approvals.decide(action, REJECT)).status == "rejected"
    with pytest.raises(ApprovalDecided):
        await desk.approvals.decide(action, APPROVE)
    assert world.rows("refunds", customer_id="ana") == []
    assert "sent already" in (await texts(world, desk, thread))[-1]


async def test_two_reviewers_at_once(world, desk, thread):
    """One decides; the other is told that it was decided."""
    action = await waiting_refund(world, desk, thread)
    results = await asyncio.gather(
        desk.approvals.decide(action, APPROVE),
        desk.approvals.decide(action, REJECT),
        return_exceptions=True,
    )
    assert sum(isinstance(r, ApprovalDecided) for r in results) == 1
    assert len(world.rows("refunds", customer_id="ana")) <= 1


async def test_nothing_to_decide(world, desk):
    """An id nobody asked about."""
    with pytest.raises(ApprovalNotFound):
        await desk.approvals.decide("act_nothing", APPROVE)


async def test_an_edit_is_gated_again(world, desk, thread):
    """Another amount is another question; the old one cannot run any more; the effect is the new one's."""
    action = await waiting_refund(world, desk, thread)
    edit = Answer(decision="edit", reviewer="olga", arguments={"amount": "100.00"})
    new = await desk.approvals.decide(action, edit)
    assert new.id != action
    assert new.status == "pending"
    assert "100.00 EUR" in new.action.effects[0]
    assert world.rows("refunds", customer_id="ana") == []
    assert len(await texts(world, desk, thread)) == 2  # nothing to tell yet
    with pytest.raises(ApprovalDecided):
        await desk.approvals.decide(action, APPROVE)
    await desk.approvals.decide(new.id, APPROVE)
    (refund,) = world.rows("refunds", customer_id="ana")
    assert str(refund["amount"]) == "100.00"
    assert "100.00 EUR" in (await texts(world, desk, thread))[-1]


@pytest.mark.parametrize(
    "arguments", [{"amount": "99999"}, {"amount": "free"}, {"order_number": "SB-10496"}, {"x": 1}]
)
async def test_an_edit_that_cannot_be(world, desk, thread, arguments):
    """Too much, nonsense, another customer's order: refused, and the question stays."""
    action = await waiting_refund(world, desk, thread)
    with pytest.raises(EditInvalid):
        await desk.approvals.decide(
            action, Answer(decision="edit", reviewer="olga", arguments=arguments)
        )
    assert [a.id for a in await desk.approvals.listed()] == [action]


async def test_an_unanswered_question_expires_and_is_told(world, desk, thread):
    """Nobody decided in time: nothing ran, the customer knows."""
    action = await waiting_refund(world, desk, thread)
    world.hands.pass_(hours=25)
    await desk.deliveries.deliver_due()
    world.hands.pass_(minutes=1)
    await desk.deliveries.deliver_due()
    assert "Nobody decided in time" in (await texts(world, desk, thread))[-1]
    with pytest.raises(ApprovalDecided):
        await desk.approvals.decide(action, APPROVE)
    assert world.rows("refunds", customer_id="ana") == []


# --- deliveries and crashes ---------------------------------------------------------------------


async def relay(world, desk):
    for _ in range(3):
        world.hands.pass_(minutes=1)
        await desk.deliveries.deliver_due()


class GoneAfterReplace(SupportApprovals):
    """A room whose process dies between closing a question and proposing what takes its place."""

    async def succeed(self, closed, action):
        raise Killed


async def test_an_edit_outlives_the_process_that_took_it(world, desk, thread):
    """The old question is closed, the new one was never asked: the next relay asks it, and once."""
    action = await waiting_refund(world, desk, thread)
    edit = Answer(decision="edit", reviewer="olga", arguments={"amount": "100.00"})
    names = [f.name for f in fields(SupportApprovals)]
    with pytest.raises(Killed):
        await GoneAfterReplace(**{n: getattr(desk.approvals, n) for n in names}).decide(
            action, edit
        )
    assert await desk.approvals.listed() == []

    async with world.process() as other:
        await relay(world, other)
        (new,) = await other.approvals.listed()
        assert (new.action.arguments["amount"], new.status) == ("100.00", "pending")
        assert len(await texts(world, other, thread)) == 2  # Nobody said that it was declined.
        await other.approvals.decide(new.id, APPROVE)
        await relay(world, other)
    assert [str(r["amount"]) for r in world.rows("refunds", customer_id="ana")] == ["100.00"]
    assert "100.00 EUR" in (await texts(world, desk, thread))[-1]


async def test_a_decision_made_before_the_turn_ends_is_told(world, desk, thread):
    """The customer's turn says that it waits; a no that came in the same moment is still news."""
    await world.say(desk, thread, "refund SB-10482", "request_refund")
    real = desk.approvals.actions.propose

    async def decided_at_once(action, context):
        outcome = await real(action, context)
        await desk.stores.approvals.decide(action.id, approve=False, reviewer="olga")
        return outcome

    desk.approvals.actions.propose = decided_at_once
    await world.say(desk, thread, "yes", "affirm")
    desk.approvals.actions.propose = real
    await relay(world, desk)
    assert "did not approve" in (await texts(world, desk, thread))[-1]


async def test_what_was_told_is_not_told_again(world, desk, thread):
    """The relay finds nothing to do after turns and decisions that ended well."""
    await world.say(desk, thread, "cancel my order", "cancel_order")
    await world.say(desk, thread, "yes", "affirm")
    action = await waiting_refund(world, desk, thread)
    await desk.approvals.decide(action, APPROVE)
    before = await texts(world, desk, thread)
    await relay(world, desk)
    assert await texts(world, desk, thread) == before


@pytest.mark.parametrize("point", ["before_effect", "before_commit", "committed"])
async def test_killed_in_the_middle_of_a_write(world, thread, desk, point):
    """Another process finds the thread: one effect, told once, and the thread goes on."""
    await world.say(desk, thread, "cancel my order", "cancel_order")
    world.kill_at = point
    with pytest.raises(Killed):
        await world.say(desk, thread, "yes", "affirm")
    world.hands.pass_(minutes=1)
    async with world.process() as restarted:
        await relay(world, restarted)
        await world.say(restarted, thread, "when are you open", "ask_hours")
        await relay(world, restarted)
        said = await texts(world, restarted, thread)
    (order,) = world.rows("orders", number="SB-10482")
    assert order["status"] == "cancelled"
    assert len([t for t in said if "**SB-10482** is cancelled" in t]) == 1
    assert not any("colleague has approved" in t for t in said)
    assert "8:00-18:00" in said[-1]


@pytest.mark.parametrize("point", ["before_effect", "committed"])
async def test_killed_while_carrying_out_an_approval(world, desk, thread, point):
    """Approved and killed: the relay of another process carries it out, once, and tells it, once."""
    action = await waiting_refund(world, desk, thread)
    world.kill_at = point
    with pytest.raises(Killed):
        await desk.approvals.decide(action, APPROVE)
    async with world.process() as restarted:
        await relay(world, restarted)
        said = await texts(world, restarted, thread)
    assert len(world.rows("refunds", customer_id="ana")) == 1
    assert len([t for t in said if "A colleague has approved it" in t]) == 1


async def test_a_turn_that_failed_is_finished_by_the_next_one(world, desk, thread):
    """The store was away in the middle: an apology now, the answer with the next message."""
    context = desk.player.context_for

    class Away:
        async def record(self, **given):
            raise BackendUnavailable

    desk.player.context_for = lambda c, t: replace(context(c, t), decisions=Away())
    events = await world.say(desk, thread, "where is my order", "order_status")
    assert [e.event for e in events] == ["error"]
    desk.player.context_for = context
    await world.say(desk, thread, "when are you open", "ask_hours")
    said = await texts(world, desk, thread)
    assert "SB-10482" in said[0]
    assert "8:00-18:00" in said[1]


async def test_a_turn_that_always_breaks_does_not_break_the_thread(world, desk, thread):
    """A bug met once is not met by every later message."""
    context = desk.player.context_for

    class Broken:
        async def record(self, **given):
            raise RuntimeError("a bug")

    desk.player.context_for = lambda c, t: replace(context(c, t), decisions=Broken())
    with pytest.raises(RuntimeError):
        await world.say(desk, thread, "where is my order", "order_status")
    calls = 0

    class BrokenOnce:
        async def record(self, **given):
            nonlocal calls
            calls += 1
            if calls == 1:
                raise RuntimeError("a bug")

    desk.player.context_for = lambda c, t: replace(context(c, t), decisions=BrokenOnce())
    events = await world.say(desk, thread, "when are you open", "ask_hours")
    assert "8:00-18:00" in events[-1].data["text"]


async def test_a_failed_turn_gives_its_key_back(world, desk, thread):
    """A retry under the same key plays it; it then stands once in the history."""
    context = desk.player.context_for

    class Away:
        async def record(self, **given):
            raise BackendUnavailable

    desk.player.context_for = lambda c, t: replace(context(c, t), decisions=Away())
    events = await world.say(desk, thread, "where is my order", "order_status", key="k1")
    assert events[-1].event == "error"
    desk.player.context_for = context
    events = await world.say(desk, thread, "where is my order", "order_status", key="k1")
    assert events[-1].event == "final"
    assert len(await texts(world, desk, thread, "customer")) == 1


# --- people -------------------------------------------------------------------------------------


async def test_a_hand_off_and_back(world, desk, thread):
    """On the operators' list, silent, released with a word; then the agent answers again."""
    await world.say(desk, thread, "a human please", "human_request")
    (handed,) = await desk.inbox.hand_offs()
    assert handed.thread == thread
    silent = await world.say(desk, thread, "hello?", "greeting")
    assert silent[-1].data.get("silent")
    await desk.inbox.release(thread, "olga", "I looked into it.")
    assert await desk.inbox.hand_offs() == []
    assert (await texts(world, desk, thread, "operator")) == ["I looked into it."]
    events = await world.say(desk, thread, "thanks", "thanks")
    assert events[-1].data["text"]


async def test_given_back_without_a_word(world, desk, thread):
    """The agent answers again, and nothing was said in between."""
    await world.say(desk, thread, "a human please", "human_request")
    await desk.inbox.release(thread, "olga")
    assert await texts(world, desk, thread, "operator") == []
    assert (await world.say(desk, thread, "thanks", "thanks"))[-1].data["text"]


async def test_the_whole_case_lies_before_whoever_takes_over(world, desk, thread):
    """Customer, records, every message, what was understood and tried, what waits, notes and tickets."""
    await world.say(desk, thread, "where is SB-10482", "order_status")
    await world.say(desk, thread, "I want a refund for SB-10482, it is broken", "request_refund")
    await world.say(desk, thread, "yes", "affirm")
    await world.say(desk, thread, "a human please", "human_request")
    await desk.inbox.note(thread, "olga", "Photo asked for.")
    case = await desk.inbox.case(thread)

    assert (case.customer.name, case.customer.email) == ("Ana Keller", "ana@example.com")
    assert "SB-10482" in {record.id for record in case.records}
    assert [m.text for m in case.messages if m.role == "customer"] == [
        "where is SB-10482",
        "I want a refund for SB-10482, it is broken",
        "yes",
        "a human please",
    ]
    understood = {tried.said: tried.understood for tried in case.tried}
    assert understood["I want a refund for SB-10482, it is broken"] == "Refund an order"
    (approval,) = case.approvals
    assert approval.action.operation == "request_refund"
    assert [note.text for note in case.notes] == ["Photo asked for."]
    assert case.tickets[0].kind == "hand_off"
    assert case.summary.startswith("Ana Keller asked for a person.")
    with pytest.raises(ThreadNotFound):
        await desk.inbox.case(thread, tenant="another")


async def test_who_waits_longest_comes_first_and_who_was_answered_last(world, desk):
    """A customer who has their answer waits for nobody until they write again."""
    threads = [await desk.turns.open_thread(world.customers["ana"]) for _ in range(3)]
    for each in threads:
        await world.say(desk, each, "a human please", "human_request")
        world.hands.pass_(minutes=5)
    await desk.inbox.reply(threads[0], "olga", "Which order is it about?")
    listed = await desk.inbox.hand_offs()
    assert [each.thread for each in listed] == [threads[1], threads[2], threads[0]]
    assert listed[-1].waits_since is None
    assert listed[-1].claimed_by == "olga"

    world.hands.pass_(minutes=5)
    await world.say(desk, threads[0], "SB-10482", "order_status")
    (again,) = [each for each in await desk.inbox.hand_offs() if each.thread == threads[0]]
    assert again.waits_since == world.hands.at


async def test_one_colleague_at_a_time_answers_a_customer(world, desk, thread):
    """Several answers without giving back; another one is refused until they take it over."""
    await world.say(desk, thread, "a human please", "human_request")
    await desk.inbox.reply(thread, "olga", "One moment.")
    await desk.inbox.reply(thread, "olga", "It is on its way.")
    for refused in (
        desk.inbox.reply(thread, "piet", "Hello!"),
        desk.inbox.release(thread, "piet"),
        desk.inbox.leave(thread, "piet"),
        desk.inbox.claim(thread, "piet"),
    ):
        with pytest.raises(ClaimedByAnother, match="olga has taken"):
            await refused
    assert await texts(world, desk, thread, "operator") == ["One moment.", "It is on its way."]

    await desk.inbox.claim(thread, "piet", over=True)
    await desk.inbox.reply(thread, "piet", "I go on.")
    await desk.inbox.leave(thread, "piet")
    (listed,) = await desk.inbox.hand_offs()
    assert listed.claimed_by is None
    case = await desk.inbox.case(thread)
    wrote = [m.meta["operator"] for m in case.messages if m.role == "operator"]
    assert wrote == ["olga", "olga", "piet"]
    history = await desk.turns.history(world.customers["ana"], thread)
    assert all("operator" not in message.meta for message in history)


async def test_what_was_never_handed_off_is_not_given_back(world, desk, thread):
    """Nor answered by a person, nor given back twice."""
    await world.say(desk, thread, "hello", "greeting")
    for refused in (
        desk.inbox.release(thread, "olga", "Done."),
        desk.inbox.reply(thread, "olga", "Hello"),
    ):
        with pytest.raises(NotHandedOff):
            await refused
    await world.say(desk, thread, "a human please", "human_request")
    given = [desk.inbox.release(thread, "olga", "Done.") for _ in range(2)]
    came_of = await asyncio.gather(*given, return_exceptions=True)
    assert [type(each) for each in came_of if each is not None] == [NotHandedOff]
    assert await texts(world, desk, thread, "operator") == ["Done."]


async def test_a_hand_off_survives_a_kill(world, desk, thread):
    """Handed over, killed before it was listed: the next message or delivery lists it."""
    world.kill_at = "committed"
    with pytest.raises(Killed):
        await world.say(desk, thread, "a human please", "human_request")
    world.hands.pass_(minutes=1)
    async with world.process() as restarted:
        await relay(world, restarted)
        assert [h.thread for h in await restarted.inbox.hand_offs()] == [thread]
    assert len(world.rows("tickets", customer_id="ana")) == 1


async def test_a_yes_whose_answer_came_as_news_is_not_asked_about_again(world, desk, thread):
    """A retry of a turn that a crash cut off, on a thread that went on, hears what was said since."""
    cut_off = f"{turn_id_of(world.customers['ana'], 'k-1')}:in"
    said = [HumanMessage("yes", id=cut_off), AIMessage("Done: it is cancelled.", id="act_1:out")]
    config = {"configurable": {"thread_id": thread}}
    async with desk.stores.holds.holding(thread):
        await desk.player.support.aupdate_state(config, {"messages": said}, as_node="deliver")

    events = await world.say(desk, thread, "yes", "affirm", key="k-1")
    assert events[-1].data["text"] == "Done: it is cancelled."
    assert await texts(world, desk, thread) == ["Done: it is cancelled."]


# --- what came of decisions ---------------------------------------------------------------------


async def outcomes(desk, **wanted):
    """Turn's chosen intent -> what came of it."""
    found = await desk.views.decisions(Wanted(role="router", **wanted))
    return {each.decision.chosen: each.outcome for each in found if each.decision.lane}


async def test_a_turn_that_ends_well_settles_what_led_to_it(world, desk, thread):
    """A question leaves its turn open; the answer settles both."""
    await world.say(desk, thread, "cancel SUB-4021", "cancel_subscription")
    assert await outcomes(desk) == {"cancel_subscription": None}
    await world.say(desk, thread, "yes", "affirm")
    assert set((await outcomes(desk)).values()) == {Aftermath.RESOLVED}


async def test_the_customer_says_that_something_else_was_meant(world, desk, thread):
    """The turn before was wrong; this one is not."""
    await world.say(desk, thread, "hours?", "ask_hours")
    await world.say(desk, thread, "no, I meant where is SB-10482", "order_status")
    found = await outcomes(desk)
    assert found == {"ask_hours": Aftermath.CORRECTED, "order_status": Aftermath.RESOLVED}
    [wrong] = await desk.views.decisions(Wanted(outcome=Aftermath.CORRECTED, role="router"))
    assert wrong.outcome_detail == "no, I meant where is SB-10482"


async def test_a_hand_off_is_what_came_of_it(world, desk, thread):
    """The whole turn is escalated."""
    await world.say(desk, thread, "a person please", "human_request")
    assert await outcomes(desk) == {"human_request": Aftermath.ESCALATED}


@pytest.mark.parametrize(
    ("answer", "aftermath"),
    [
        (APPROVE, Aftermath.RESOLVED),
        (REJECT, Aftermath.REJECTED),
        (
            Answer(
                decision="edit",
                reviewer="olga",
                arguments={"order_number": "SB-10482", "reason": "damaged"},
            ),
            Aftermath.EDITED,
        ),
    ],
)
async def test_an_operators_answer_is_what_came_of_it(world, desk, thread, answer, aftermath):
    """While it waits nothing is known of the turn that asked; then the reviewer's word, with who it was."""
    action = await waiting_refund(world, desk, thread)
    assert (await outcomes(desk))["affirm"] is None
    await desk.approvals.decide(action, answer)
    [logged] = [
        each
        for each in await desk.views.decisions(Wanted(role="router"))
        if each.decision.chosen == "affirm"
    ]
    assert logged.outcome is aftermath
    assert "olga" in logged.outcome_detail


async def test_the_relay_forgets_old_decisions(world, desk, thread, monkeypatch):
    """Retention is run with the rest of the housekeeping."""
    await world.say(desk, thread, "hello", "greeting")
    world.hands.pass_(days=31)
    async with desk.deliveries.running():
        async with asyncio.timeout(20):
            while await desk.views.decisions(Wanted()):  # noqa: ASYNC110 - nothing says when it is done
                await asyncio.sleep(0.05)


# --- a candidate in the shadow ------------------------------------------------------------------


class Twin:
    """A candidate that takes everything for another intent, or breaks."""

    def __init__(self, inner, broken=False):
        self.inner, self.broken = inner, broken

    async def embed(self, texts):
        return await self.inner.embed(texts)

    async def classify(self, head, text, *, before=""):
        if self.broken:
            raise RuntimeError("a bug in the candidate")
        if head != "intent":
            return await self.inner.classify(head, text)
        return a_choice("order_status", 0.97, INTENTS.names, "encoder")


def shadow_on(desk, world, *, broken=False, share=1.0):
    candidate = Candidate(
        "c0ffee", {"router"}, Twin(world.encoder, broken), world.small, Thresholds(), INTENTS
    )
    desk.player.shadow = Shadow(candidate, desk.stores.decisions, share)
    return desk.player.shadow


async def test_a_candidate_reads_the_same_message_and_nothing_comes_of_it(world, desk, thread):
    """Its decision is recorded beside the live one, which the reply follows."""
    shadow = shadow_on(desk, world)
    async with shadow.reading():
        events = await world.say(desk, thread, "hello", "greeting")
        await shadow.drain()
    assert events[-1].data["intent"] == "greeting"
    [pair] = await SqlComparisons(desk.stores.decisions.engine).pairs("c0ffee")
    assert (pair.live.intent, pair.candidate.intent) == ("greeting", "order_status")
    assert pair.candidate.lane == "operation"
    assert {each.decision.chosen for each in await desk.views.decisions(Wanted(role="router"))} == {
        "greeting"
    }


async def test_a_candidate_that_breaks_is_counted_and_costs_no_turn(world, desk, thread):
    """Turns go on; what does not fit into the queue is left out and counted."""
    shadow = shadow_on(desk, world, broken=True)
    for number in range(3):
        assert (await world.say(desk, thread, f"hello {number}", "greeting"))[-1].event == "final"
    async with shadow.reading():
        await shadow.drain()
    assert shadow.counts == {"offered": 3, "compared": 0, "dropped": 0, "failed": 3}


async def test_a_candidate_waits_while_turns_are_played_and_never_piles_up(world, desk, thread):
    """It reads when nobody waits for an answer."""
    shadow = shadow_on(desk, world)
    context = shadow.listening(desk.player.context_for(world.customers["ana"], thread), "t")
    state = {"turn": Turn(id="t", text="hello", at=world.hands.clock.now())}
    await understand(state, Runtime(context=context, stream_writer=lambda _: None))
    async with shadow.reading():
        async with shadow.aside():
            for _ in range(WAITING + 5):
                shadow.offer(context)
            await asyncio.sleep(0)
            assert shadow.counts["compared"] == 0
        await shadow.drain()
    assert shadow.counts["dropped"] == 5
    assert shadow.counts["compared"] == WAITING


def test_the_share_of_messages_is_kept():
    """And the same message is always in it or never."""
    turns = [f"t_{number}" for number in range(2000)]
    taken = [turn for turn in turns if chosen(turn, 0.1)]
    assert 150 < len(taken) < 250
    assert taken == [turn for turn in turns if chosen(turn, 0.1)]
    assert not any(chosen(turn, 0.0) for turn in turns)
    assert all(chosen(turn, 1.0) for turn in turns)
