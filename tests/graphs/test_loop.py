"""Requests with several steps: plan, act, observe, evaluate."""

from __future__ import annotations

from dataclasses import replace

import pytest

from domains.northfell.data_model import OrderStatus
from graphs.context import Limits
from graphs.judging import evaluator_input, guard, judged, next_step, outcome_input
from graphs.state import Plan, Step
from tests.graphs.world import OPERATIONS, Slow, World
from tests.northfell import REPLIES
from tools.ports import BackendUnavailable, ModelOutputInvalid, ModelUnavailable
from tools.values import Attempt, Outcome

THREE = "cancel SB-10482, refund it to my card and tell me how long the refund takes"
FAILURES = [ModelUnavailable(), ModelOutputInvalid(), Slow()]


@pytest.fixture
def ana() -> World:
    return World("ana")


@pytest.fixture
def ben() -> World:
    return World("ben")


async def ask(world, text, *steps):
    world.large.enqueue("planner", {"steps": [*steps]})
    return await world.say(text, "several_requests")


async def three(world):
    """The request of the issue, up to where the refund waits."""
    asked = await ask(world, THREE, "cancel_order", "request_refund", "answer")
    return asked, await world.say("yes", "affirm")


# --- the way it should go -----------------------------------------------------------------------


async def test_three_steps_one_confirmation_one_llm_call(ana):
    """Plan named record by record, one yes, cancellation done, refund waiting, question answered."""
    asked, played = await three(ana)
    assert asked.lane == "agent"
    assert "1. Cancel an order: SB-10482" in asked.reply
    assert "2. Refund an order" in asked.reply
    assert ana.large.roles == ["planner"]

    assert ana.order("SB-10482").status is OrderStatus.CANCELLED
    assert ana.account.refunds == {}
    assert "is cancelled" in played.reply
    assert "I have asked for the refund of 323.90 EUR" in played.reply
    assert asked.reply.startswith(
        "Standard delivery takes 3-5 working days."
    )  # what the articles say, at once
    assert "Standard delivery" not in played.reply
    assert ana.large.roles == ["planner"]
    assert ana.logged("evaluator")
    assert played.kinds == ["route", "ack", "tool", "tool", "approval_required", "final"]
    assert ana.logged("pruner") == ["delivery-1, refunds-1"]
    assert ana.logged("router")[1:]  # each part of the request, too

    told = await ana.tell(await ana.decide((await ana.approvals.pending())[0].id))
    assert "A colleague has approved it" in told.reply
    assert len(ana.account.refunds) == 1
    assert (await ana.state())["plan"] is None


async def test_nothing_runs_before_the_yes(ana):
    """A plan is a question."""
    await ask(ana, THREE, "cancel_order", "request_refund", "answer")
    assert ana.ledger.calls == []
    assert ana.order("SB-10482").status is OrderStatus.PAID


async def test_reads_need_no_confirmation(ana):
    """What only reads is done at once."""
    played = await ask(
        ana, "status of SB-10482 and my plan please", "get_order", "get_subscription"
    )
    assert "SB-10482" in played.reply
    assert "SUB-4021" in played.reply
    assert not played.state["pending"]


async def test_a_write_without_a_record_is_confirmed_too(ana):
    """A ticket has no record to name, and is a write all the same."""
    ana.small.enqueue("extractor", {"subject": "zip jams"})
    played = await ask(
        ana, "open a ticket: zip jams, and show SB-10482", "create_ticket", "get_order"
    )
    assert played.state["pending"][-1].stage == "confirm"
    assert ana.account.tickets == {}


# --- approvals in the middle --------------------------------------------------------------------


async def middle(ana):
    """A refund that waits, with a write behind it that waits for the refund: the question, and what came of a yes."""
    asked = await ask(
        ana,
        "refund SB-10482 and then cancel my plan SUB-4021 and show my orders",
        "request_refund", "cancel_subscription", "list_orders",
    )  # fmt: skip
    return asked, await ana.say("yes", "affirm")


async def test_a_pending_approval_keeps_the_plan(ana):
    """Reads are told before the question, writes wait; the customer can chat; the outcome goes on with the rest."""
    asked, played = await middle(ana)
    assert (
        "SB-10217" in asked.reply
    )  # the list of orders waited neither for the yes nor for the refund
    assert "SB-10217" not in played.reply
    assert "After that is decided I go on with: cancel your plan" in played.reply
    assert ana.account.subscriptions["SUB-4021"].status == "active"

    chat = await ana.say("when are you open?", "ask_hours")
    assert "8:00-18:00" in chat.reply
    (waiting,) = await ana.approvals.pending()
    told = await ana.tell(await ana.decide(waiting.id))
    assert ana.account.subscriptions["SUB-4021"].status == "cancelled"
    assert told.reply.startswith("A colleague has approved it")
    assert "plan SUB-4021 is cancelled" in told.reply
    assert "SB-10217" not in told.reply  # told before
    assert told.state["plan"] is None
    assert ana.large.roles == ["planner"]


@pytest.mark.parametrize("ending", ["rejected", "expired"])
async def test_the_rest_goes_on_when_the_approval_is_refused(ana, ending):
    """One step's no is not the others': they were confirmed on their own."""
    await middle(ana)
    (waiting,) = await ana.approvals.pending()
    if ending == "expired":
        ana.hands.pass_(days=4)
    outcome = await ana.decide(waiting.id, approve=False)
    assert outcome.status == ending
    await ana.tell(outcome)
    assert ana.account.refunds == {}
    assert ana.account.subscriptions["SUB-4021"].status == "cancelled"


async def test_an_edited_approval_goes_on_too(ana):
    """The reviewer changed the amount: the new action's outcome is this step's outcome."""
    await middle(ana)
    (waiting,) = await ana.approvals.pending()
    done = (await ana.decide(waiting.id)).model_copy(update={"action_id": f"{waiting.id}.0a1b2c3d"})
    await ana.tell(done)
    assert ana.account.subscriptions["SUB-4021"].status == "cancelled"


async def test_another_actions_outcome_does_not_move_the_plan(ana):
    """News of something else is only told."""
    await middle(ana)
    other = ana.an_action("cancel_order", "elsewhere", order_number="SB-10482")
    outcome = (await ana.actions.propose(other, ana.context)).model_copy(
        update={"status": "rejected", "reason": ""}
    )
    before = (await ana.state())["plan"]
    await ana.tell(outcome)
    assert (await ana.state())["plan"] == before
    assert ana.account.subscriptions["SUB-4021"].status == "active"


async def test_an_outcome_after_the_plan_is_finished_is_news(ana):
    """The last step waited: its outcome is told, nothing is run again."""
    await three(ana)
    calls = len(ana.ledger.calls)
    outcome = await ana.decide((await ana.approvals.pending())[0].id)
    await ana.tell(outcome)
    await ana.tell(outcome)
    assert len(ana.ledger.calls) == calls + 1
    assert len([r for r in await ana.replies() if "approved it" in r]) == 1


async def test_a_second_request_keeps_the_plan_that_waits(ana):
    """What was confirmed and waits is not lost because the customer asks for more."""
    await middle(ana)
    ana.small.enqueue("extractor", {"subject": "zip jams"})
    asked = await ask(
        ana, "open a ticket zip jams and show SUB-4021", "create_ticket", "get_subscription"
    )
    assert "Cancel your plan" in asked.reply
    await ana.say("yes", "affirm")
    (waiting,) = await ana.approvals.pending()
    await ana.tell(await ana.decide(waiting.id))
    assert ana.account.subscriptions["SUB-4021"].status == "cancelled"
    assert len(ana.account.tickets) == 1
    assert len(ana.account.refunds) == 1


async def test_a_second_request_that_cannot_be_planned_keeps_it_too(ana):
    """The planner is down for the new request: the old one still goes on."""
    await middle(ana)
    ana.large.enqueue("planner", ModelUnavailable())
    sorry = await ana.say("two more things, and a third", "several_requests")
    assert "could not complete" in sorry.reply
    (waiting,) = await ana.approvals.pending()
    await ana.tell(await ana.decide(waiting.id))
    assert ana.account.subscriptions["SUB-4021"].status == "cancelled"


# --- questions ----------------------------------------------------------------------------------


async def test_a_missing_field_in_a_step(ana):
    """What is only told comes first; then one question, and after its answer the plan is confirmed."""
    asked = await ask(ana, "pause my plan and show SB-10482", "pause_subscription", "get_order")
    assert asked.reply.startswith("**SB-10482** is paid")
    assert "how many months" in asked.reply
    confirm = await ana.say("two", "out_of_scope", 0.6)
    assert "Shall I go ahead" in confirm.reply
    done = await ana.say("yes", "affirm")
    assert ana.account.subscriptions["SUB-4021"].status == "paused"
    assert "SB-10482" not in confirm.reply + done.reply  # told once
    assert ana.large.roles == ["planner"]


async def test_a_choice_in_a_step(ben):
    """Several records fit a step: one is picked, the others steps follow it."""
    asked = await ask(ben, "cancel my order and refund it", "cancel_order", "request_refund")
    assert asked.state["pending"][-1].stage == "choice"
    confirm = await ben.say("SB-10496", "order_status", 0.6)
    assert "Cancel an order: SB-10496" in confirm.reply
    await ben.say("yes", "affirm")
    assert ben.order("SB-10496").status is OrderStatus.CANCELLED
    (waiting,) = await ben.approvals.pending()
    assert waiting.action.arguments["order_number"] == "SB-10496"


async def test_a_change_of_subject_while_a_plan_waits_for_its_yes(ana):
    """The question is answered, the plan is asked about again, the yes is for the plan."""
    await ask(ana, THREE, "cancel_order", "request_refund", "answer")
    digression = await ana.say("when are you open", "ask_hours")
    assert "Shall I go ahead" in digression.reply
    await ana.say("yes", "affirm")
    assert ana.order("SB-10482").status is OrderStatus.CANCELLED


async def test_a_declined_plan_is_forgotten(ana):
    """No step of it runs, now or later."""
    await ask(ana, THREE, "cancel_order", "request_refund", "answer")
    assert "leave it" in (await ana.say("no", "deny")).reply
    assert "nothing open" in (await ana.say("yes", "affirm")).reply
    assert (await ana.state())["plan"] is None
    assert ana.ledger.calls == []


async def test_two_orders_are_two_steps(ben):
    """The same operation on two records: each its own action."""
    asked = await ask(
        ben, "cancel SB-10501 and cancel SB-10496 please", "cancel_order", "cancel_order"
    )
    assert "SB-10501" in asked.reply
    assert "SB-10496" in asked.reply
    await ben.say("yes", "affirm")
    assert ben.order("SB-10501").status is OrderStatus.CANCELLED
    assert ben.order("SB-10496").status is OrderStatus.CANCELLED


async def test_a_planner_that_repeats_itself_does_not_repeat_the_work(ana):
    """One number, one cancellation."""
    asked = await ask(ana, "cancel SB-10482 and more", *["cancel_order"] * 4)
    assert len(asked.state["plan"].steps) == 1


async def test_a_step_refused_by_the_rules_is_told(ana):
    """What cannot be done is said before the rest is confirmed."""
    asked = await ask(
        ana, "cancel SB-10217 and cancel my plan", "cancel_order", "cancel_subscription"
    )
    assert "delivered" in asked.reply
    assert "Cancel an order" not in asked.reply.split("This is what I would do")[1]
    await ana.say("yes", "affirm")
    assert ana.account.subscriptions["SUB-4021"].status == "cancelled"


async def test_another_customers_record_in_a_plan(ana):
    """Not found, like anywhere else."""
    played = await ask(ana, "cancel SB-10496 and refund SB-10496", "cancel_order", "request_refund")
    assert "can't find" in played.reply
    assert ana.ledger.calls == []


# --- models and backend that fail ---------------------------------------------------------------


@pytest.mark.parametrize("failure", [*FAILURES, {"steps": []}, {"steps": "all"}, {"plan": 1}])
async def test_the_planner_fails(ana, failure):
    """A person is offered; nothing runs."""
    ana.large.enqueue("planner", failure)
    played = await ana.say(THREE, "several_requests")
    assert "could not complete" in played.reply
    assert "colleague" in played.reply
    assert ana.ledger.calls == []
    assert (await ana.say("yes", "affirm")).state["handed_off"]


@pytest.mark.parametrize("failure", [*FAILURES, ("escalate", 0.9), ("done", 0.9), ("replan", 0.3)])
async def test_the_evaluator_fails_or_wants_to_stop(ana, failure):
    """Rules go on with what was confirmed; the evaluator cannot drop a step that nothing stopped."""
    ana.small.always["evaluator"] = failure
    _, played = await three(ana)
    assert ana.order("SB-10482").status is OrderStatus.CANCELLED
    assert "I have asked for the refund" in played.reply
    assert ana.large.roles == ["planner"]


async def test_a_step_that_fails_is_replanned_once(ana):
    """A second failure is not planned a third time; what failed is not tried again. What the new plan would
    change is asked about, for nobody has said yes to it."""
    ana.small.always["evaluator"] = ("replan", 0.9)
    steps = ["get_order", "get_invoice", "cancel_subscription"]
    ana.large.enqueue("planner", {"steps": steps})
    # a read fails twice over: once in the plan, once in the new plan
    for _ in range(2):
        ana.backend.before["read"].append(BackendUnavailable())
    again = await ask(ana, "show SB-10482, invoice INV-20931, cancel my plan", *steps)
    assert ana.large.roles == ["planner", "planner"]
    assert again.reply.count("cannot reach our order system") == 2
    assert "Shall I go ahead" in again.reply
    assert ana.account.subscriptions["SUB-4021"].status == "active"

    done = await ana.say("yes", "affirm")
    assert ana.large.roles == ["planner", "planner"]
    assert ana.account.subscriptions["SUB-4021"].status == "cancelled"
    assert "plan SUB-4021 is cancelled" in done.reply


async def test_a_declined_new_plan_has_told_what_the_old_one_did(ana):
    """What was done is in the question, so that a no does not swallow it; the yes before was for the old plan."""
    ana.small.always["evaluator"] = ("replan", 0.9)
    await ask(
        ana,
        "cancel SB-10482, send INV-20931 again, cancel my plan",
        "cancel_order", "resend_invoice", "cancel_subscription",
    )  # fmt: skip
    ana.ledger.before["execute"].extend([None, BackendUnavailable()])
    ana.large.enqueue("planner", {"steps": ["list_orders", "cancel_subscription"]})
    again = await ana.say("yes", "affirm")
    assert "**SB-10482** is cancelled" in again.reply
    assert "SB-10217" in again.reply  # what the new plan only tells
    assert "Shall I go ahead" in again.reply
    assert ana.account.subscriptions["SUB-4021"].status == "active"
    await ana.say("no", "deny")
    assert ana.account.subscriptions["SUB-4021"].status == "active"


async def more(ana):
    """Asked for on top of what waits: the new plan holds the old one's steps, and waits for its yes."""
    ana.small.enqueue("extractor", {"subject": "zip jams"})
    return await ask(
        ana, "open a ticket zip jams and show INV-20931", "create_ticket", "get_invoice"
    )


async def test_news_while_a_new_plan_waits_for_its_yes(ana):
    """The approval of an earlier step comes before the yes: it is told, and the question stands."""
    await middle(ana)
    again = await more(ana)
    assert "INV-20931" in again.reply
    assert "Shall I go ahead" in again.reply
    (waiting,) = await ana.approvals.pending()
    told = await ana.tell(await ana.decide(waiting.id))
    assert "is approved" in told.reply
    assert "Shall I go ahead" in told.reply
    assert ana.account.subscriptions["SUB-4021"].status == "active"
    assert ana.account.tickets == {}
    await ana.say("yes", "affirm")
    assert ana.account.subscriptions["SUB-4021"].status == "cancelled"
    assert len(ana.account.tickets) == 1


async def test_a_yes_to_a_new_plan_whose_writes_are_all_held(ana):
    """Confirmed while an approval is out: nothing to run now, the plan is kept for when it comes."""
    await middle(ana)
    await more(ana)
    held = await ana.say("yes", "affirm")
    assert "After that is decided" in held.reply
    assert ana.account.subscriptions["SUB-4021"].status == "active"
    assert ana.account.tickets == {}
    (waiting,) = await ana.approvals.pending()
    await ana.tell(await ana.decide(waiting.id))
    assert ana.account.subscriptions["SUB-4021"].status == "cancelled"


async def test_the_evaluator_may_give_up_on_a_failure(ana):
    """What was done is told, the rest goes to a person."""
    ana.small.always["evaluator"] = ("escalate", 0.9)
    await ask(
        ana,
        "send INV-20931 again and cancel my plan",
        "resend_invoice", "cancel_subscription",
    )  # fmt: skip
    ana.ledger.before["execute"].append(BackendUnavailable())
    played = await ana.say("yes", "affirm")
    assert "cannot reach our order system" in played.reply
    assert "colleague" in played.reply
    assert ana.account.subscriptions["SUB-4021"].status == "active"


async def test_the_knowledge_base_is_down_for_one_step(ana):
    """The step says that it does not know, before anything is asked; the others are done."""
    ana.knowledge.broken = BackendUnavailable()
    asked, _ = await three(ana)
    assert asked.reply.startswith("I do not know that")
    assert ana.order("SB-10482").status is OrderStatus.CANCELLED


async def test_a_crash_in_the_middle_of_a_plan(ana):
    """Killed after the first write: the next run of the turn goes on, each step once."""

    class Killed(BaseException):
        pass

    await ask(ana, THREE, "cancel_order", "request_refund", "answer")
    ana.ledger.after["execute"].append(Killed())
    with pytest.raises(Killed):
        await ana.say("yes", "affirm")
    played = await ana.play(None)
    assert "is cancelled" in played.reply
    assert len(await ana.approvals.pending()) == 1


async def test_unknown_is_never_repeated(ana):
    """A write that may have happened is not planned again under another key."""
    real = ana.ledger

    class Uncertain:
        keys: list[str] = []

        async def execute(self, action, operation, verdict):
            Uncertain.keys.append(action.key)
            done = await real.execute(action, operation, verdict)
            return done.model_copy(update={"status": "unknown", "result": {}})

        async def find(self, *_):
            return None

        async def attempt(self, action):
            return Attempt()

        async def reconcile(self, action, operation):
            return Outcome(status="unknown", action_id=action.id, operation=operation.name)

    await ask(ana, "cancel SB-10482 and cancel my plan", "cancel_order", "cancel_subscription")
    ana.ledger = Uncertain()
    ana.small.always["evaluator"] = ("replan", 0.9)
    ana.large.enqueue("planner", {"steps": ["cancel_order", "cancel_subscription"]})
    played = await ana.say("yes", "affirm")
    assert "I cannot tell yet whether this went through" in played.reply
    await ana.say("yes", "affirm")
    assert len(Uncertain.keys) == len(set(Uncertain.keys)) == 2


# --- bounds -------------------------------------------------------------------------------------


async def test_ten_steps_cost_one_llm_call(ana):
    """The small model and rules carry a long plan."""
    text = "ten things about SB-10482, INV-20931, SUB-4021: all of them"
    ana.small.always["extractor"] = {"subject": "ten things"}
    names = [
        "get_order", "track_parcel", "get_invoice", "get_subscription", "list_orders",
        "get_refund_status", "answer", "create_ticket", "resend_invoice", "cancel_subscription",
    ]  # fmt: skip
    await ask(ana, text, *names)
    played = await ana.say("yes", "affirm")
    assert len(ana.large.calls) <= 2
    assert ana.account.subscriptions["SUB-4021"].status == "cancelled"
    assert ana.account.invoices["INV-20931"].times_sent == 2
    assert played.data("final")["llm_calls"] == 0


async def test_a_plan_has_a_most_number_of_steps():
    """A longer one is cut."""
    ana = World("ana", limits=replace(Limits(), plan_steps=2))
    played = await ask(ana, "three things", "cancel_subscription", "list_orders", "get_order")
    assert [s.name for s in played.state["plan"].steps] == ["cancel_subscription", "list_orders"]


async def test_a_plan_names_only_operations_there_are(ana):
    """Nothing else can be planned, and people are not handed off by a planner."""
    played = await ask(ana, "several things", "hand_off", "launch_rocket", "list_orders")
    assert "SB-10482" in played.reply
    assert ana.account.tickets == {}


def steps(*statuses, names=None):
    names = names or ["cancel_order"] * len(statuses)
    return tuple(Step(name=n, status=s) for n, s in zip(names, statuses, strict=True))


@pytest.mark.parametrize(
    ("statuses", "wanted", "replans", "expected"),
    [
        # nothing left
        (["done"], "continue", 0, "done"),
        (["done"], "replan", 0, "done"),
        (["done"], None, 0, "done"),
        (["done"], "escalate", 0, "done"),
        (["failed"], "escalate", 0, "escalate"),
        (["failed"], "replan", 0, "done"),
        (["pending"], "continue", 0, "done"),
        # held by an approval
        (["pending", "waiting"], "continue", 0, "done"),
        # steps left
        (["done", "waiting"], "continue", 0, "continue"),
        (["done", "waiting"], "done", 0, "continue"),
        (["done", "waiting"], "escalate", 0, "continue"),
        (["done", "waiting"], "replan", 0, "continue"),
        (["done", "waiting"], None, 0, "continue"),
        (["failed", "waiting"], "replan", 0, "replan"),
        (["failed", "waiting"], "replan", 1, "continue"),
        (["failed", "waiting"], "escalate", 0, "escalate"),
        (["failed", "waiting"], "continue", 0, "continue"),
        (["failed", "waiting"], "done", 0, "continue"),
        (["failed", "waiting"], None, 0, "continue"),
    ],
)
def test_the_guard(statuses, wanted, replans, expected):
    """What really happens: the model's word, as far as the plan allows it."""
    current = Plan(request="t", goal="", steps=steps(*statuses), confirmed=True, replans=replans)
    assert guard(wanted, current, World().context) == expected


@pytest.mark.parametrize(
    ("names", "statuses", "expected"),
    [
        (["cancel_order", "get_order"], ["waiting", "waiting"], 0),
        (["request_refund", "cancel_order", "get_order"], ["pending", "waiting", "waiting"], 2),
        (["request_refund", "cancel_order", "answer"], ["pending", "waiting", "waiting"], 2),
        (["request_refund", "cancel_order"], ["pending", "waiting"], None),
        (["request_refund", "cancel_order"], ["failed", "waiting"], 1),
        (["get_order"], ["done"], None),
    ],
)
def test_the_next_step(names, statuses, expected):
    """In order; a write waits while an earlier write waits, a read does not."""
    current = Plan(request="t", goal="", steps=steps(*statuses, names=names), confirmed=True)
    assert next_step(current, World().context) == expected


@pytest.mark.parametrize(
    ("step", "text"),
    [
        (None, "goal: a b\nstep: none\nresult: ok\nleft: 2"),
        (Step(name="x", status="failed", note="No such order."),
         "goal: a b\nstep: x\nresult: error No such order.\nleft: 2"),
        (Step(name="x", status="pending", note="waits"), "goal: a b\nstep: x\nresult: pending waits\nleft: 2"),
    ],
)  # fmt: skip
def test_the_evaluators_input(step, text):
    """Exactly what its adapter was trained on."""
    assert evaluator_input("a  b", step, 2) == text


def test_every_operation_can_be_a_step():
    """The table of replies has what a plan says about each."""
    known = REPLIES.voice("en").templates

    assert all(f"{name}.done" in known for name in OPERATIONS)
    assert all(f"{name}.pending" in known for name, op in OPERATIONS.items() if op.writes)


# --- who judges a result ------------------------------------------------------------------------

LOST = Step(name="cancel_order", status="failed", note="the order left the warehouse")


@pytest.mark.parametrize(
    ("outcome", "left", "move"),
    [
        (("on", 0.9), 1, "continue"),
        (("on", 0.9), 0, "done"),
        (("again", 0.9), 1, "replan"),
        (("person", 0.9), 1, "escalate"),
    ],
)
async def test_the_head_reads_what_a_result_means(ana, outcome, left, move):
    """Where it is sure, the generative model is not asked."""
    context = ana.context
    ana.encoder.outcomes["error the order left the warehouse"] = outcome
    assert (await judged(context, "cancel it", LOST, left)).option == move
    assert ana.small.calls == []


@pytest.mark.parametrize("known", [True, False])
async def test_the_generative_model_reads_what_the_head_cannot(ana, known):
    """An unsure head, or none at all."""
    if known:
        ana.encoder.outcomes["error the order left the warehouse"] = ("again", 0.4)
    ana.small.enqueue("evaluator", ("escalate", 0.9))
    assert (await judged(ana.context, "cancel it", LOST, 1)).option == "escalate"


def test_a_result_is_worded_as_the_head_was_trained():
    """What went well has its step's name, what failed or waits has only its words."""
    assert outcome_input(LOST) == "error the order left the warehouse"
    done = Step(name="get_order", status="done", note="it is packed")
    assert outcome_input(done) == "ok get order: it is packed"
    assert outcome_input(None) == "ok"
