"""A candidate for any small role decides the same again, afterwards, and can do nothing else."""

from __future__ import annotations

import asyncio

import pytest

from app.shadow import MASKED, Candidate, OutOfReach, Shadow
from app.stores.comparisons import SqlComparisons
from app.stores.decisions import Wanted
from graphs.context import Overheard, Thresholds
from graphs.deciding import by_rule
from tests.graphs.world import (
    ARTICLES,
    INTENTS,
    MemoryKnowledge,
    ScriptedLargeModel,
    ScriptedSmallModel,
)

SEVERAL = "status of SB-10482, my plan please and how long does standard delivery take?"
MOVE = "please open a ticket: the zip of my bag jams"
ASKED = "how long does standard delivery take?"


class OtherPruning(MemoryKnowledge):
    """Keeps the other article."""

    async def prune(self, query, passages, *, keep=4):
        return [p for p in passages if p.id == ARTICLES[1].id]


@pytest.fixture
async def desk(world):
    async with world.process() as desk:
        yield desk


@pytest.fixture
async def thread(world, desk):
    return await desk.turns.open_thread(world.customers["ana"])


@pytest.fixture
def other(world):
    """The candidate's own small model."""
    return ScriptedSmallModel()


@pytest.fixture
def shadow(world, desk, other):
    planner = ScriptedLargeModel()
    planner.scripts["planner"].extend([{"steps": ["get_order", "answer"]}] * 9)
    candidate = Candidate(
        "c0ffee",
        {"extractor", "evaluator", "pruner", "planner"},
        world.encoder,
        other,
        Thresholds(),
        INTENTS,
        OtherPruning(pruned_by="candidate 7e57", pruner_digest="7e57"),
        planner,
    )
    desk.player.shadow = Shadow(candidate, desk.stores.decisions, 1.0)
    return desk.player.shadow


async def compared(desk):
    found = await SqlComparisons(desk.stores.decisions.engine).roles("c0ffee")
    return {
        role: [(b.live.chosen, b.candidate.chosen, b.same) for b in found if b.role == role]
        for role in {b.role for b in found}
    }


def books(world):
    tables = ("orders", "tickets", "refunds", "subscriptions", "customers")
    return {table: world.rows(table) for table in tables}


async def test_extraction_is_compared_by_what_would_be_taken(world, desk, thread, shadow, other):
    """The same message, the candidate's arguments beside the live ones; the reply follows the live ones."""
    world.small.enqueue("extractor", {"subject": "the zip of my bag jams"})
    other.enqueue("extractor", {"subject": "the zip"})
    async with shadow.reading():
        events = await world.say(desk, thread, MOVE, "open_ticket")
        await shadow.drain()

    assert "the zip of my bag jams" in events[-1].data["text"]
    [(live, theirs, same)] = (await compared(desk))["extractor"]
    assert "subject=the zip of my bag jams" in live
    assert theirs.endswith("subject=the zip")
    assert not same


@pytest.mark.parametrize(
    ("theirs", "same"), [("Gartenweg 4, 10115 Berlin", False), ("Lindenweg 4, 10115 Berlin", True)]
)
async def test_a_difference_that_the_mask_hides_is_still_one(
    world, desk, thread, shadow, theirs, same
):
    """Two streets are both [address] in the log."""
    read = "operation: change_delivery_address"
    said = by_rule("extractor", "address=Lindenweg 4, 10115 Berlin")
    where = {"tenant": "northfell", "thread": thread, "turn": "t", "input": read}
    await desk.stores.decisions.record(**where, decisions=[said])
    live = desk.player.context_for(world.customers["ana"], thread)
    heard = Overheard(chosen={("extractor", read): said.chosen})
    aside = shadow.candidate.context(live, desk.stores.decisions, heard).decisions
    await aside.record(**where, decisions=[by_rule("extractor", f"address={theirs}")])

    [(before, after, found_same)] = (await compared(desk))["extractor"]
    assert before == "address=[address]"
    assert (after, found_same) == (before if same else before + MASKED, same)


async def test_plan_evaluation_and_look_up_are_made_again(world, desk, thread, shadow, other):
    """Each on its own input; what the candidate says neither runs nor is told."""
    world.large.enqueue("planner", {"steps": ["get_order", "get_subscription", "answer"]})
    other.always["evaluator"] = ("escalate", 0.97)
    before = books(world)
    async with shadow.reading():
        events = await world.say(desk, thread, SEVERAL, "several_requests")
        await shadow.drain()

    said = events[-1].data["text"]
    assert "SB-10482" in said
    assert "SUB-4021" in said
    assert books(world) == before
    found = await compared(desk)
    assert found["planner"] == [("get_order, get_subscription, answer", "get_order, answer", False)]
    assert len(found["evaluator"]) == 3
    assert {live for live, _, _ in found["evaluator"]} <= {"continue", "done"}
    assert [(theirs, same) for _, theirs, same in found["pruner"]] == [("refunds-1", False)]
    rows = await desk.views.decisions(Wanted(thread=thread), limit=200)
    assert "c0ffee" not in str(rows)
    assert shadow.counts["failed"] == 0


async def test_a_role_it_brings_nothing_for_is_not_made_again(world, desk, thread, shadow):
    """Small talk is the router's alone, and the router is the live one's."""
    async with shadow.reading():
        await world.say(desk, thread, "hello", "greeting")
        await shadow.drain()

    assert shadow.counts["offered"] == 0
    assert await SqlComparisons(desk.stores.decisions.engine).candidates() == []


async def test_a_candidate_reaches_nothing_that_has_an_effect(world, desk, thread, shadow):
    """Writing, looking up, approving, running: each port is closed, and no answer is kept."""
    live = desk.player.context_for(world.customers["ana"], thread)
    context = shadow.candidate.context(live, desk.stores.decisions, Overheard())

    for port in (context.backend, context.ledger, context.approvals, context.actions):
        for name in ("read", "preview", "execute", "request", "propose"):
            with pytest.raises(OutOfReach):
                getattr(port, name)
    assert (context.audit, context.answers, context.overheard) == (None, None, None)


async def test_a_candidate_gives_way_to_a_turn(world, desk, thread, shadow, other):
    """It stops in the middle of a decision when a turn begins, and makes it again afterwards."""
    begun, asked = asyncio.Event(), 0

    async def slow(*_):
        nonlocal asked
        asked += 1
        begun.set()
        if asked == 1:
            await asyncio.sleep(60)
        return {"address": "Haus Birke 7"}

    class Slow(ScriptedSmallModel):
        async def fill(self, role, input, schema):
            values = await slow()
            return (await super().fill(role, input, schema)).model_copy(
                update={"values": {**dict.fromkeys(schema["properties"]), **values}}
            )

    shadow.candidate = Candidate(
        "c0ffee", {"extractor"}, world.encoder, Slow(), Thresholds(), INTENTS
    )
    async with shadow.reading(), asyncio.timeout(20):
        await world.say(desk, thread, MOVE, "change_address")
        await begun.wait()
        other_thread = await desk.turns.open_thread(world.customers["ana"])
        events = await world.say(desk, other_thread, "hello", "greeting")
        await shadow.drain()

    assert events[-1].event == "final"
    assert asked == 2
    assert len((await compared(desk))["extractor"]) == 1


async def test_what_came_of_a_turn_is_kept_with_the_pair(world, desk, thread, shadow):
    """So that the report can say who was right."""
    async with shadow.reading():
        await world.say(desk, thread, ASKED, "ask_delivery")
        await shadow.drain()

    [both] = await SqlComparisons(desk.stores.decisions.engine).roles("c0ffee")
    assert (both.role, both.well, both.same) == ("pruner", True, False)
    assert both.candidate.adapter == "7e57"
