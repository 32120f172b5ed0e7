"""The rules of the conversation: every edge."""

from __future__ import annotations

import pytest

from graphs import routing
from graphs.state import (
    Draft,
    Extraction,
    Next,
    Plan,
    Route,
    Screening,
    Step,
    Turn,
    Validation,
)
from tests.graphs.world import ARTICLES, NOON
from tools.values import Outcome


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
        # what was begun is dropped, whatever it was
        ({"lane": "operation", "move": "leave"}, "converse"),
        ({"lane": "agent", "move": "leave"}, "converse"),
        # a case, what waits, an incident and a day to come have their own node in their lane
        ({"lane": "operation", "served": "advise"}, "advise"),
        ({"lane": "operation", "served": "tell_waiting"}, "tell_waiting"),
        ({"lane": "escalate", "served": "respond_to_incident"}, "respond_to_incident"),
        ({"lane": "operation", "served": "defer"}, "defer"),
        # the articles are asked before anything is called unclear or not ours
        ({"lane": "operation", "served": "recall", "otherwise": "clarify"}, "recall"),
        ({"lane": "direct", "served": "recall", "otherwise": "out_of_scope"}, "recall"),
    ],
)
def test_after_understand(route, to):
    """Each lane has its first node."""
    assert routing.after_understand(state(route=Route(intent="x", **route))) == to


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


@pytest.mark.parametrize(
    ("passages", "otherwise", "to"),
    [
        ((), "", "admit"),
        (ARTICLES, "", "synthesize"),
        # what may have been no question at all
        ((), "clarify", "clarify"),
        ((), "out_of_scope", "converse"),
        ((), "advise", "advise"),
        (ARTICLES, "clarify", "synthesize"),
        (ARTICLES, "out_of_scope", "synthesize"),
        (ARTICLES, "advise", "synthesize"),
    ],
)
def test_after_prune(passages, otherwise, to):
    """Nothing above the floor is never synthesized; only then is a message unclear or not ours."""
    route = Route(intent="x", lane="answer", otherwise=otherwise)
    assert routing.after_prune(state(passages=passages, route=route)) == to


@pytest.mark.parametrize(("parts", "to"), [({"next": Next(step="act")}, "act"), ({}, "validate")])
def test_after_incident(parts, to):
    """A person is told through the gate; where one is only offered, the offer is the reply."""
    assert routing.after_incident(state(**parts)) == to


@pytest.mark.parametrize(
    ("draft", "passages", "to"),
    [
        (None, (ARTICLES[0],), "quote"),
        (None, (), "admit"),  # It was asked, and said that it does not know.
        (Draft(text="x"), (ARTICLES[0],), "validate"),
    ],
)
def test_after_synthesize(draft, passages, to):
    """A silent LLM is replaced by the sources themselves, an honest no stays one."""
    assert routing.after_synthesize(state(draft=draft, passages=passages)) == to


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


@pytest.mark.parametrize(("draft", "to"), [(None, "retrieve"), (Draft(text="x"), "validate")])
def test_after_recall(draft, to):
    """A known answer is checked like a new one; without one the articles are searched."""
    assert routing.after_recall(state(draft=draft)) == to
