"""A whole turn beside a large model's server that does what it should not: what the customer reads, and how long it takes."""

from __future__ import annotations

import time
from collections.abc import AsyncGenerator, Generator

import pytest

from app.models.chain import ChainedLargeModel
from app.models.large import ChatLargeModel
from tests.graphs.world import Played, World
from tests.models.fake_openai import SECRET, FakeOpenAI, fake_openai

DELIVERY = "how long does standard delivery take?"
#: So long may a server say nothing here, and a whole reply take; a turn has a little more for all else.
SILENCE, REPLY, BESIDE = 1.0, 4.0, 10.0
#: Each failure, by the model's name: no answer, none in time, one without an end, none that can be used.
FAILURES = [
    *("html", "html named json", "bad utf-8", "no choices", "empty choices", "deep", "nothing"),
    *("broken", "locked", "unknown", "strict", "busy", "tired", "an error"),
    *("slow", "stalling", "endless"),
]


@pytest.fixture
def hosted() -> Generator[FakeOpenAI]:
    with fake_openai() as fake:
        fake.pieces = ["Standard delivery takes"]
        yield fake


@pytest.fixture
async def ana(hosted: FakeOpenAI, request) -> AsyncGenerator[World]:
    name: str = request.param
    model = ChatLargeModel(
        name, base_url=hosted.base_url, timeout_for=lambda role: REPLY, silence=SILENCE
    )
    await model.warm()
    world = World("ana", large_decides=True)
    world.large = ChainedLargeModel({name: model})  # type: ignore[assignment]
    yield world
    await model.aclose()


def streamed(played: Played) -> str:
    return "".join(e["data"]["text"] for e in played.events if e["event"] == "token")


# The client library warns of what it reads nevertheless.
@pytest.mark.filterwarnings("ignore:Pydantic serializer")
@pytest.mark.parametrize("ana", FAILURES, indirect=True)
async def test_a_question_is_answered_from_the_articles_all_the_same(ana: World) -> None:
    """With the sentences themselves, in time, and without a word of the supplier's."""
    began = time.perf_counter()
    played = await ana.say(DELIVERY, "ask_delivery")
    waited = time.perf_counter() - began

    assert "3-5 working days" in played.reply
    assert any("synthesizer" in each for each in played.state["degraded"])
    assert waited < REPLY + BESIDE
    for word in ("<html>", "sk-leak", *SECRET.split()[:1]):
        assert word not in played.reply + streamed(played)


@pytest.mark.filterwarnings("ignore:Pydantic serializer")
@pytest.mark.parametrize("ana", ["html", "busy", "slow", "broken", "nothing"], indirect=True)
async def test_an_upset_customer_reads_our_own_words(ana: World) -> None:
    """The template's, with the offer of a person."""
    ana.encoder.frustrated["this is a disgrace"] = 0.999
    played = await ana.say("this is a disgrace", "complaint")

    assert played.state["pending"][-1].operation == "hand_off"
    assert any("escalation" in each for each in played.state["degraded"])
    assert "sk-leak" not in played.reply


@pytest.mark.parametrize("ana", ["busy"], indirect=True)
async def test_a_server_that_asks_for_time_keeps_one_customer_and_no_next(
    ana: World, hosted: FakeOpenAI
) -> None:
    """It is left alone for as long as it asked: the second turn does not even ask it."""
    await ana.say(DELIVERY, "ask_delivery")
    asked, began = len(hosted.requests), time.perf_counter()
    played = await ana.say(DELIVERY, "ask_delivery")

    assert len(hosted.requests) == asked
    assert time.perf_counter() - began < BESIDE
    assert "3-5 working days" in played.reply
