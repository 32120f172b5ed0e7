"""The rules of the conversation: every move and every edge."""

from __future__ import annotations

import pytest

from graphs import routing
from graphs.context import Thresholds
from graphs.state import (
    Draft,
    Extraction,
    Next,
    Pending,
    Plan,
    Route,
    Screening,
    Step,
    Turn,
    Validation,
)
from tests.graphs.world import ARTICLES, INTENTS, NOON, a_choice
from tools.ports import Choice
from tools.values import Outcome

SURE, UNSURE = 0.97, 0.4
ASKED, LATER = True, False
FITS, NOT = True, False


def pending(stage, operation="cancel_order"):
    return Pending(request="t1", operation=operation, stage=stage)


@pytest.mark.parametrize(
    ("stage", "intent", "probability", "fits", "asked_last", "expected"),
    [
        # nothing is open
        (None, "affirm", SURE, NOT, LATER, "new"),
        (None, "cancel_order", SURE, FITS, ASKED, "new"),
        # a yes: only to a question that asks for one, and only right after it
        ("confirm", "affirm", SURE, NOT, ASKED, "confirm"),
        ("confirm", "affirm", SURE, NOT, LATER, "repeat"),
        ("offer", "affirm", SURE, NOT, ASKED, "confirm"),
        ("offer", "affirm", SURE, NOT, LATER, "repeat"),
        # a yes that may be none lets nothing happen
        ("confirm", "affirm", 0.6, NOT, ASKED, "repeat"),
        ("offer", "affirm", 0.6, NOT, ASKED, "repeat"),
        ("field", "affirm", SURE, NOT, ASKED, "repeat"),
        ("field", "affirm", SURE, FITS, ASKED, "continue"),
        ("choice", "affirm", SURE, NOT, ASKED, "repeat"),
        ("choice", "affirm", SURE, FITS, ASKED, "continue"),
        # a no drops what was just asked, unless it comes with a correction
        ("confirm", "deny", SURE, NOT, ASKED, "decline"),
        ("confirm", "deny", SURE, NOT, LATER, "new"),
        ("confirm", "deny", SURE, FITS, ASKED, "continue"),
        ("field", "deny", SURE, NOT, ASKED, "decline"),
        ("choice", "deny", SURE, NOT, ASKED, "decline"),
        ("offer", "deny", SURE, NOT, ASKED, "decline"),
        # the same thing named again goes on with it
        ("confirm", "cancel_order", SURE, NOT, ASKED, "continue"),
        ("field", "cancel_order", UNSURE, NOT, LATER, "continue"),
        ("choice", "cancel_order", SURE, NOT, ASKED, "continue"),
        # a value that was asked for is an answer, whatever the intent head thinks of it
        ("field", "change_address", SURE, FITS, ASKED, "continue"),
        ("choice", "track_parcel", SURE, FITS, ASKED, "continue"),
        ("confirm", "order_status", SURE, FITS, ASKED, "continue"),
        # unless it is a question for sure: "first tell me what it costs" picks no first one
        ("choice", "ask_returns", SURE, FITS, ASKED, "new"),
        ("field", "ask_billing", SURE, FITS, ASKED, "new"),
        ("choice", "ask_returns", 0.8, FITS, ASKED, "continue"),
        ("field", "several_requests", SURE, FITS, ASKED, "continue"),
        # something else, for sure: a change of subject
        ("field", "ask_returns", SURE, NOT, ASKED, "new"),
        ("choice", "ask_returns", SURE, NOT, ASKED, "new"),
        ("confirm", "ask_returns", SURE, NOT, ASKED, "new"),
        ("offer", "ask_returns", SURE, NOT, ASKED, "new"),
        ("offer", "ask_returns", UNSURE, NOT, ASKED, "new"),
        # something else, perhaps: the question is asked again
        ("field", "ask_returns", UNSURE, NOT, ASKED, "repeat"),
        ("choice", "ask_returns", UNSURE, NOT, ASKED, "repeat"),
        ("confirm", "ask_returns", UNSURE, NOT, ASKED, "repeat"),
        # nonsense in place of a value
        ("field", "out_of_scope", SURE, NOT, ASKED, "repeat"),
        ("choice", "out_of_scope", SURE, NOT, ASKED, "new"),
    ],
)
def test_every_row_of_move(stage, intent, probability, fits, asked_last, expected):
    """What a message does to the operation that waits for the customer's word."""
    made = routing.move(
        None if stage is None else pending(stage),
        a_choice(intent, probability, INTENTS.names, "encoder"),
        fits=fits,
        asked_last=asked_last,
        sure=0.75,
        operation=INTENTS.operation(intent),
    )
    assert made == expected


def encoder(probability, option="greeting"):
    return a_choice(option, probability, INTENTS.names, "encoder")


def small(probability, option="thanks"):
    return a_choice(option, probability, INTENTS.names, "small")


@pytest.mark.parametrize(
    ("choices", "option", "abstained"),
    [
        ([encoder(0.75)], "greeting", False),
        ([encoder(0.74)], "greeting", True),
        ([encoder(0.74), small(0.5)], "thanks", False),
        ([encoder(0.3), small(0.49)], "thanks", True),
        ([encoder(0.6), small(0.49)], "greeting", True),
    ],
)
def test_the_cascade(choices, option, abstained):
    """The cheapest tier that is sure decides; when none is, the best guess is kept, abstaining."""
    settled, gave_up = routing.settle(choices, Thresholds(encoder=0.75, small=0.5))
    assert (settled.option, gave_up) == (option, abstained)


def state(**parts):
    return {"turn": Turn(id="t", at=NOON), **parts}


@pytest.mark.parametrize(
    ("verdict", "to"),
    [
        ("ok", "understand"),
        ("outcome", "tell_outcome"),
        ("handed_off", "stay_silent"),
        ("empty", "refuse"),
        ("no_words", "refuse"),
        ("too_long", "refuse"),
        ("injection", "refuse"),
    ],
)
def test_after_screen(verdict, to):
    """Only a clean message reaches a model."""
    assert routing.after_screen(state(screening=Screening(verdict=verdict))) == to


@pytest.mark.parametrize(
    ("route", "to"),
    [
        ({"lane": "direct"}, "converse"),
        ({"lane": "operation"}, "extract"),
        ({"lane": "operation", "move": "continue"}, "extract"),
        ({"lane": "operation", "move": "confirm"}, "resolve"),
        ({"lane": "operation", "move": "decline"}, "converse"),
        ({"lane": "answer"}, "recall"),
        ({"lane": "agent"}, "loop"),
        ({"lane": "agent", "move": "confirm"}, "loop"),
        ({"lane": "agent", "move": "decline"}, "converse"),
        ({"lane": "escalate"}, "escalate"),
        # abstaining wins over every lane
        ({"lane": "operation", "abstained": True}, "clarify"),
        ({"lane": "escalate", "abstained": True}, "clarify"),
        ({"lane": "operation", "move": "repeat"}, "clarify"),
        ({"lane": "agent", "move": "repeat"}, "clarify"),
    ],
)
def test_after_route(route, to):
    """Each lane has its first node."""
    assert routing.after_route(state(route=Route(intent="x", **route))) == to


@pytest.mark.parametrize(
    ("step", "to"),
    [
        ("ask", "ask"),
        ("choose", "ask"),
        ("confirm", "confirm"),
        ("act", "act"),
        ("refuse", "decline"),
    ],
)
def test_after_resolve(step, to):
    """What the operation needs is what happens."""
    assert routing.after_resolve(state(next=Next(step=step))) == to


@pytest.mark.parametrize(("passages", "to"), [((), "admit"), (ARTICLES, "synthesize")])
def test_after_prune(passages, to):
    """Nothing above the floor is never synthesized."""
    assert routing.after_prune(state(passages=passages)) == to


@pytest.mark.parametrize(("draft", "to"), [(None, "quote"), (Draft(text="x"), "validate")])
def test_after_synthesize(draft, to):
    """A silent LLM is replaced by the sources themselves."""
    assert routing.after_synthesize(state(draft=draft)) == to


@pytest.mark.parametrize(
    ("ok", "draft", "to"),
    [
        (True, {}, "deliver"),
        (False, {"source": "large", "passages": ARTICLES, "attempt": 1}, "synthesize"),
        (False, {"source": "large", "passages": ARTICLES, "attempt": 2}, "quote"),
        (False, {"source": "quotes", "passages": ARTICLES}, "fall_back"),
        (False, {"source": "large"}, "fall_back"),
        (False, {"source": "template"}, "fall_back"),
        (True, {"source": "large", "passages": ARTICLES}, "remember"),
        (True, {"source": "large", "passages": ARTICLES, "known": "exact"}, "deliver"),
        (True, {"source": "quotes", "passages": ARTICLES}, "deliver"),
    ],
)
def test_after_validate(ok, draft, to):
    """A bad draft is written once more, then quoted, then apologised for; never sent, never endless."""
    given = state(validation=Validation(ok=ok), draft=Draft(text="x", **draft))
    assert routing.after_validate(given) == to


@pytest.mark.parametrize(
    ("parts", "to"),
    [
        ({"next": Next(step="act")}, "act"),
        ({"draft": Draft(text="x")}, "validate"),
        ({"draft": None}, "fall_back"),
    ],
)
def test_after_escalate(parts, to):
    """Who asked for a person gets one through the gate; without the LLM's words there are ours."""
    assert routing.after_escalate(state(**parts)) == to


@pytest.mark.parametrize(("degraded", "to"), [(False, "resolve"), (True, "extract_by_rules")])
def test_after_extract(degraded, to):
    """The extractor's fallback is an edge."""
    extracted = Extraction(operation="get_order", request="t", degraded=degraded)
    assert routing.after_extract(state(extraction=extracted)) == to


def plan(confirmed, action_id):
    steps = (Step(name="cancel_order", action_id=action_id, status="pending"),)
    return Plan(request="t1", goal="", steps=steps, confirmed=confirmed)


@pytest.mark.parametrize(
    ("waiting", "to"),
    [
        (None, "deliver"),
        (plan(True, "act_1"), "loop"),
        # a plan that waits for the customer, or for another action, has nothing to do with it
        (plan(False, None), "deliver"),
        (plan(True, "act_2"), "deliver"),
        # the reviewer changed the arguments: another id, the same root
        (plan(True, "act_1.0a1b2c3d"), "loop"),
    ],
)
def test_after_outcome(waiting, to):
    """An outcome wakes the plan that waits for it, and no other."""
    outcome = Outcome(status="executed", action_id="act_1", operation="cancel_order")
    given = {"turn": Turn(id="o", at=NOON, outcome=outcome), "plan": waiting}
    assert routing.after_outcome(given) == to


def chosen(**chances: float) -> Choice:
    best = max(chances, key=chances.__getitem__)
    return Choice(
        option=best, probabilities=chances, model="m", version="v", tier="encoder", ms=2.0
    )


@pytest.mark.parametrize(
    ("leaning", "option"),
    [
        (0.0, "deny"),  # it stands alone
        (0.9, "track_parcel"),  # it says nothing by itself: the customer wants the same as before
    ],
)
def test_a_message_is_put_together_with_what_was_wanted_before(leaning: float, option: str) -> None:
    """In so far as it leans on that, it wants the same; the chances sum to 1."""
    both = routing.put_together(
        chosen(deny=0.7, track_parcel=0.3), chosen(deny=0.05, track_parcel=0.95), leaning
    )

    assert both.option == option
    assert sum(both.probabilities.values()) == pytest.approx(1)
    assert both.ms == 4.0


def test_staying_with_the_subject_is_a_little_likelier_than_leaving_it() -> None:
    """Of two readings that are alike, the one of before wins; one that is clear stays."""
    before = chosen(ask_delivery=0.95, order_status=0.05)

    torn = routing.put_together(chosen(order_status=0.51, ask_delivery=0.49), before, 0.0)
    clear = routing.put_together(chosen(order_status=0.95, ask_delivery=0.05), before, 0.0)

    assert (torn.option, clear.option) == ("ask_delivery", "order_status")


@pytest.mark.parametrize(
    ("intent", "little"),
    [("thanks", True), ("affirm", True), ("out_of_scope", True), ("ask_hours", False)],
)
def test_courtesies_lend_no_meaning_to_what_follows(intent: str, little: bool) -> None:
    """Nor do a yes or a no, or what is about nothing."""
    assert routing.says_little(chosen(**{intent: 0.9})) is little


def test_what_answers_the_question_is_likelier_right_after_it() -> None:
    """A short word that might be a yes is one where a yes was asked for."""
    read = routing.answering(chosen(greeting=0.5, affirm=0.4, thanks=0.1), {"affirm", "deny"})

    assert read.option == "affirm"
    assert sum(read.probabilities.values()) == pytest.approx(1)


def test_the_chance_of_a_lane_is_that_of_all_intents_that_lead_there() -> None:
    """Which of two operations is meant may be open while the lane is not."""
    choice = chosen(order_status=0.5, track_parcel=0.4, ask_delivery=0.1)

    assert routing.lane_chance(
        choice, lambda of: INTENTS.lane(of.option), INTENTS.names
    ) == pytest.approx(0.9)


@pytest.mark.parametrize(("draft", "to"), [(None, "retrieve"), (Draft(text="x"), "validate")])
def test_after_recall(draft, to):
    """A known answer is checked like a new one; without one the articles are searched."""
    assert routing.after_recall(state(draft=draft)) == to
