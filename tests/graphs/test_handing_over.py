"""What the colleague is told who takes over, and what the customer is told when there is none."""

from __future__ import annotations

from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import pytest
from langchain_core.messages import AIMessage

from tests.graphs.world import Hands, World
from tools.hours import Hours

BERLIN = ZoneInfo("Europe/Berlin")
SUNDAY = datetime(2026, 11, 22, 12, tzinfo=UTC)
OPENS = "Monday, 23 November at 08:00 CET"


@pytest.fixture
def ana() -> World:
    return World("ana", hands=Hands(SUNDAY), hours=Hours("Mo-Fr 08:00-18:00", BERLIN, "DE"))


async def test_a_note_as_somebody_would_write_it(ana: World):
    """Who, why, about what, what was begun, and the words that say something; no scores, no names of code."""
    await ana.say("I want a refund for SB-10482, it arrived damaged", "request_refund")
    played = await ana.say("a human please", "human_request")

    note = played.state["hand_off_note"]
    assert note.startswith("Ana Keller asked for a person. It is about SB-10482.")
    assert "Begun and not done: " in note
    assert note.endswith("“I want a refund for SB-10482, it arrived damaged”")
    for code in ("_", "0.", "request_refund", "/"):
        assert code not in note
    (ticket,) = ana.account.tickets.values()
    assert ticket.body == note


async def test_an_offer_that_was_taken_says_why_it_was_made(ana: World):
    """The reason is a sentence, not the router's score."""
    ana.large.enqueue("escalation", "I am sorry that this broke.")
    ana.encoder.frustrated["this broke again, I am furious"] = 0.995
    await ana.say("this broke again, I am furious", "request_replacement")
    played = await ana.say("yes", "affirm")

    assert played.state["hand_off_note"].startswith("Ana Keller is upset and wants a person.")
    assert "“this broke again, I am furious”" in played.state["hand_off_note"]


async def test_out_of_hours_the_hand_off_says_when_somebody_is_there(ana: World):
    """One sentence with the next opening; no promise that somebody answers now."""
    played = await ana.say("a human please", "human_request")

    assert (
        f"Nobody is there right now: somebody reads it and answers you here from {OPENS} on."
        in (played.reply)
    )
    assert "handed our conversation to a colleague" not in played.reply
    assert "handoff" in played.kinds


async def test_it_is_said_once_until_they_open(ana: World):
    """Not again with the next message; anew on the next evening; never while they are open."""
    await ana.say("a human please", "human_request")
    assert (await ana.say("are you there?", "greeting")).reply == ""
    ana.hands.pass_(hours=20)  # Monday, 9:00 there
    assert (await ana.say("and now?", "greeting")).reply == ""
    ana.hands.pass_(hours=12)  # Monday, 21:00
    evening = await ana.say("still waiting", "greeting")
    assert evening.reply == (
        "Your message is kept for our colleagues. Nobody is there right now: "
        "somebody answers you here from Tuesday, 24 November at 08:00 CET on."
    )
    assert (await ana.say("hello?", "greeting")).reply == ""


async def test_who_works_late_is_there(ana: World):
    """A colleague answered after closing time: the customer is not told that nobody is there."""
    ana.hands.pass_(hours=20)
    await ana.say("a human please", "human_request")
    ana.hands.pass_(hours=12)
    at = ana.hands.clock.now().isoformat()
    said = AIMessage("I am here.", id="op_1", name="operator", additional_kwargs={"at": at})
    graph = ana.support
    await graph.aupdate_state(ana.config, {"messages": [said]}, as_node="deliver")

    assert (await ana.say("good", "greeting")).reply == ""


async def test_open_hours_change_nothing(ana: World):
    """While somebody is there, the hand-off says what it always said."""
    ana.hands.pass_(hours=20)
    played = await ana.say("a human please", "human_request")
    assert "handed our conversation to a colleague" in played.reply
