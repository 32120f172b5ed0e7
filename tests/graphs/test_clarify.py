"""What happens when the router is not sure: a question whose answer counts."""

from __future__ import annotations

import pytest

from tests.graphs.world import World


@pytest.fixture
def ana() -> World:
    world = World("ana")
    world.small.always["router"] = ("order_status", 0.2)  # never sure enough to overrule the head
    return world


async def test_a_picked_guess_is_that_intent_with_the_first_message(ana):
    """The order number stands in the message that was not understood, not in the pick."""
    asked = await ana.say("SB-10482??", "cancel_order", 0.2)
    assert asked.reply.startswith("I am not sure")

    played = await ana.say("the first one", "affirm", 0.3)
    assert "SB-10482" in played.reply
    assert played.data("route")["operation"] == "get_order"


async def test_another_subject_instead_of_an_answer_drops_the_question(ana):
    """Nothing reminds of a question that was only asked to understand."""
    await ana.say("hmm the thing", "order_status", 0.3)
    played = await ana.say("thanks", "thanks")
    assert "not sure" not in played.reply
    assert not played.state["pending"]


async def test_a_no_to_the_guess_is_no_order(ana):
    """A no drops the guess and nothing is looked up."""
    await ana.say("hmm the thing", "order_status", 0.3)
    played = await ana.say("no", "deny")
    assert "tool" not in played.kinds
    assert not played.state["pending"]
