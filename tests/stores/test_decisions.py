"""Decisions are stored masked, found again, and forgotten in time."""

from __future__ import annotations

import pytest

from app.stores.decisions import SqlDecisionLog
from tools.domain import Alternative, Decision
from tools.ports import DecisionLog
from tools.privacy import mask_pii

ROUTED = Decision(
    role="router",
    chosen="order_status",
    probability=0.91,
    alternatives=(
        Alternative(option="order_status", probability=0.91),
        Alternative(option="track_parcel", probability=0.09),
    ),
    reason="above 0.75",
    tier="encoder",
    model="minilm-int8",
    prompt="abc123",
    ms=4.2,
)
UNSURE = Decision(
    role="extractor",
    chosen='{"email": "ada@example.org"}',
    probability=0.3,
    abstained=True,
    reason="below 0.5: ada@example.org",
    tier="small",
    model="smollm2",
)


@pytest.fixture
def log(world):
    return SqlDecisionLog(world.engine, mask_pii, 30, world.hands.clock)


async def record(log, *decisions, thread="th-1", turn="t-1", input="Where is SB-10482?"):
    await log.record(tenant="northfell", thread=thread, turn=turn, input=input, decisions=decisions)


async def test_it_is_the_log_the_graphs_ask_for(log):
    """The SQL log satisfies the port."""
    assert isinstance(log, DecisionLog)


async def test_a_decision_comes_back_as_it_was_made(log, world):
    """Nothing of it is lost."""
    await record(log, ROUTED)
    [logged] = await log.list()
    assert logged.decision == ROUTED
    assert (logged.input, logged.at, logged.outcome) == (
        "Where is SB-10482?",
        world.hands.at,
        None,
    )


async def test_personal_data_is_masked_wherever_it_hides(log):
    """The input, the choice and the reason."""
    await record(log, UNSURE, input="I am ada@example.org, +49 30 5550 1470, order SB-10482")
    [logged] = await log.list()
    assert logged.input == "I am [email], [phone], order SB-10482"
    assert "ada@example.org" not in logged.model_dump_json()


@pytest.mark.parametrize("words", ["nul \0 byte", "half \ud800 pair", "", "🙂", "x" * 20_000])
async def test_any_words_can_be_stored(log, words):
    """What a database cannot hold is replaced, not raised into a customer's turn."""
    await record(log, ROUTED, input=words)
    [logged] = await log.list()
    assert len(logged.input) == len(words)


async def test_nothing_decided_stores_nothing(log):
    """An empty batch is not an error."""
    await record(log)
    assert await log.list() == []


async def test_decisions_are_found_by_thread_turn_role_and_doubt(log):
    """Each filter on its own and together."""
    await record(log, ROUTED, UNSURE)
    await record(log, ROUTED, thread="th-2", turn="t-2")
    assert len(await log.list(thread="th-1")) == 2
    assert len(await log.list(turn="t-2")) == 1
    assert len(await log.list(role="router")) == 2
    assert len(await log.list(abstained=True)) == 1
    assert len(await log.list(thread="th-1", role="router", abstained=False)) == 1
    assert await log.list(tenant="elsewhere") == []


async def test_decisions_are_paged_newest_first(log):
    """The id of the last one seen is where the next page begins."""
    for each in range(5):
        await record(log, ROUTED, turn=f"t-{each}")
    page = await log.list(limit=2)
    rest = await log.list(limit=9, before=page[-1].id)
    assert [each.turn for each in page + rest] == ["t-4", "t-3", "t-2", "t-1", "t-0"]


async def test_what_happened_is_attached_to_the_turn(log):
    """All of the turn's decisions, masked, and no other turn's."""
    await record(log, ROUTED, UNSURE)
    await record(log, ROUTED, turn="t-2")
    await log.outcome("t-1", "executed for ada@example.org")
    outcomes = {(each.turn, each.outcome) for each in await log.list()}
    assert outcomes == {("t-1", "executed for [email]"), ("t-2", None)}


async def test_old_decisions_are_forgotten(log, world):
    """Retention is counted in days from the decision."""
    await record(log, ROUTED, turn="old")
    world.hands.pass_(days=29)
    await record(log, ROUTED, turn="new")
    assert await log.prune() == 0
    world.hands.pass_(days=2)
    assert await log.prune() == 1
    assert [each.turn for each in await log.list()] == ["new"]
