"""A capable model in the answer and the escalation lane: what it is given, what of its words is said, what is not."""

from __future__ import annotations

import pytest

from app.answer_cache import ProcessAnswers
from tests.graphs.test_claims import HOSTILE
from tests.graphs.world import MemoryKnowledge, Played, World
from tools.ports import Passage

DELIVERY = "how long does standard delivery take?"
WARRANTY = Passage(
    id="warranty-1",
    title="Warranty",
    text="The warranty on products is 2 years. It begins on the day of delivery. Worn soles are not covered by the warranty.",
    source="warranty.md",
)


@pytest.fixture
def ana() -> World:
    return World("ana", large_decides=True)


def streamed(played: Played) -> str:
    return "".join(e["data"]["text"] for e in played.events if e["event"] == "token")


async def test_a_sentence_that_is_not_sound_is_never_shown(ana: World) -> None:
    """The first one was; what comes behind the second is not even read."""
    ana.large.enqueue(
        "synthesizer",
        "Standard delivery takes 3-5 working days [1]. Express takes 9 days [1]. And so on and on.",
        "Standard delivery takes 3-5 working days [1].",
    )
    played = await ana.say(DELIVERY, "ask_delivery")

    assert played.reply == "Standard delivery takes 3-5 working days [1]."
    assert "9 days" not in streamed(played)


async def test_the_second_attempt_is_told_what_was_wrong(ana: World) -> None:
    """Not the same request again."""
    ana.large.enqueue(
        "synthesizer",
        "Express takes 9 days [1].",
        "Express takes 1-2 working days [1].",
    )
    await ana.say(DELIVERY, "ask_delivery")

    first, second = (asked for role, asked in ana.large.calls if role == "synthesizer")
    assert "figure not in its source: 9" not in first
    assert "figure not in its source: 9" in second


async def test_an_honest_no_stays_one_and_offers_a_person(ana: World) -> None:
    """No quotes of something else in its place."""
    ana.large.enqueue("synthesizer", "I do not know that from our information.")
    played = await ana.say("do you give a standard discount to climbing schools?", "ask_delivery")

    assert "working days" not in played.reply
    assert played.state["pending"][-1].operation == "hand_off"
    assert len(ana.large.calls) == 1


async def test_a_part_that_is_not_known_is_said_beside_the_part_that_is(ana: World) -> None:
    said = "Standard delivery takes 3-5 working days [1]. I do not know what it costs to Norway."
    ana.large.enqueue("synthesizer", said)

    assert (await ana.say(DELIVERY, "ask_delivery")).reply == said


@pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE)
async def test_what_an_upset_customer_reads_is_checked(ana: World, text: str) -> None:
    """A hostile model's words are replaced by ours."""
    ana.large.enqueue("escalation", text)
    ana.encoder.frustrated["this is a disgrace"] = 0.999
    played = await ana.say("this is a disgrace", "complaint")

    assert ana.large.roles == ["escalation"]
    assert text[:40] not in played.reply
    assert text[:40] not in streamed(played)


async def test_who_writes_to_an_upset_customer_knows_their_records(ana: World) -> None:
    """State and days of what they name, and what they may be told of it."""
    number = next(iter(ana.account.orders))
    ana.large.enqueue("escalation", f"{number} should not take this long, and I am sorry.")
    text = f"where is {number}, this is a disgrace"
    ana.encoder.frustrated[text] = 0.999
    played = await ana.say(text, "complaint")

    (_, asked) = ana.large.calls[0]
    assert f"{number}" in asked.partition("<facts>")[2].partition("</facts>")[0]
    assert "State: " in asked
    assert f"{number} should not take this long" in played.reply


async def test_a_question_about_a_record_gets_record_and_knowledge(ana: World) -> None:
    """Whole chunks and the customer's own record, each with its number; the answer may cite both."""
    ana.knowledge = MemoryKnowledge(articles=(WARRANTY,))
    order = next(o for o in ana.account.orders.values() if o.lines)
    thing = order.lines[0].product.split()[-1]
    question = f"is the warranty for the {thing} of {order.number} still running?"
    ana.large.enqueue("synthesizer", "The warranty on products is 2 years [1].")
    played = await ana.say(question, "ask_product")

    (_, asked) = ana.large.calls[0]
    given = asked.partition("<passages>")[2].partition("</passages>")[0]
    assert "Worn soles are not covered" in given
    assert order.number in given
    assert "[2]" in given
    assert played.reply.startswith("The warranty on products is 2 years [1].")


async def test_an_answer_from_somebody_s_records_is_given_to_nobody_else(ana: World) -> None:
    """A question that speaks of nobody's own is answered without records, and kept."""
    ana.answers = ProcessAnswers(ana.encoder, "exact")
    ana.knowledge = MemoryKnowledge(articles=(WARRANTY,))
    questions = ("how long is the warranty on my tent?", "how long is the warranty on tents?")
    for question in questions:
        ana.large.enqueue("synthesizer", "The warranty on products is 2 years [1].")
        await ana.another("ana", thread=question).say(question, "ask_product")
    kept = [
        await ana.another("ana", thread=f"again {question}").say(question, "ask_product")
        for question in questions
    ]

    assert ["State: " in asked for _, asked in ana.large.calls[:2]] == [True, False]
    assert [bool(p.data("final").get("cached")) for p in kept] == [False, True]
