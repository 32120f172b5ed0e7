"""Decisions are stored masked, found again, and forgotten in time."""

from __future__ import annotations

from datetime import timedelta

import pytest
import sqlalchemy as sa

from app.drift import Traffic
from app.stores.database import reading, writing
from app.stores.decisions import SqlDecisionLog, Wanted
from app.stores.tables import decisions, threads
from tools.decisions import Aftermath, Alternative, Decision
from tools.ports import DecisionLog, ModelUnavailable
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
    assert len(await log.list(Wanted(thread="th-1"))) == 2
    assert len(await log.list(Wanted(turn="t-2"))) == 1
    assert len(await log.list(Wanted(role="router"))) == 2
    assert len(await log.list(Wanted(abstained=True))) == 1
    assert len(await log.list(Wanted(thread="th-1", role="router", abstained=False))) == 1
    assert await log.list(Wanted(tenant="elsewhere")) == []


async def test_decisions_are_paged_newest_first(log):
    """The id of the last one seen is where the next page begins."""
    for each in range(5):
        await record(log, ROUTED, turn=f"t-{each}")
    page = await log.list(limit=2)
    rest = await log.list(limit=9, before=page[-1].id)
    assert [each.turn for each in page + rest] == ["t-4", "t-3", "t-2", "t-1", "t-0"]


async def test_every_filter_narrows_the_list(log, world):
    """Lane, option, tier, outcome, doubt and time, each on its own."""
    settled = ROUTED.model_copy(update={"lane": "operation"})
    await record(log, settled, UNSURE)
    await log.outcome("t-1", Aftermath.RESOLVED)
    noon = world.hands.at
    world.hands.pass_(hours=1)
    await record(log, ROUTED, turn="t-2")

    async def turns(**wanted):
        return [each.turn for each in await log.list(Wanted(**wanted))]

    assert await turns(lane="operation") == ["t-1"]
    assert await turns(chosen="order_status") == ["t-2", "t-1"]
    assert await turns(tier="small") == ["t-1"]
    assert await turns(outcome=Aftermath.RESOLVED, role="router") == ["t-1"]
    assert await turns(probability_below=0.5) == ["t-1"]
    assert await turns(since=noon + timedelta(minutes=1)) == ["t-2"]
    assert await turns(until=noon + timedelta(minutes=1), role="router") == ["t-1"]


async def test_what_happened_is_attached_to_the_turn(log):
    """All of the turn's decisions, the detail masked, and no other turn's."""
    await record(log, ROUTED, UNSURE)
    await record(log, ROUTED, turn="t-2")
    assert await log.outcome("t-1", Aftermath.CORRECTED, "no, for ada@example.org") == 2
    outcomes = {(each.turn, each.outcome, each.outcome_detail) for each in await log.list()}
    assert outcomes == {("t-1", Aftermath.CORRECTED, "no, for [email]"), ("t-2", None, "")}


@pytest.mark.parametrize(
    ("first", "then", "stays"),
    [
        # The customer's and the operator's words weigh more than the turn's own good end.
        (Aftermath.RESOLVED, Aftermath.CORRECTED, Aftermath.CORRECTED),
        (Aftermath.ESCALATED, Aftermath.EDITED, Aftermath.EDITED),
        (Aftermath.CORRECTED, Aftermath.RESOLVED, Aftermath.CORRECTED),
        (Aftermath.REJECTED, Aftermath.CORRECTED, Aftermath.REJECTED),
        # Among equals the last one counts.
        (Aftermath.EDITED, Aftermath.REJECTED, Aftermath.REJECTED),
    ],
)
async def test_a_weightier_outcome_replaces_a_lighter_one(log, first, then, stays):
    """And never the other way round."""
    await record(log, ROUTED)
    await log.outcome("t-1", first)
    await log.outcome("t-1", then)
    assert [each.outcome for each in await log.list()] == [stays]


async def test_the_end_of_a_thread_settles_what_was_open(log):
    """Earlier turns that only asked are settled with the one that answered; what is settled stays."""
    await record(log, ROUTED, turn="t-1")
    await log.outcome("t-1", Aftermath.CORRECTED)
    await record(log, ROUTED, turn="t-2")
    await record(log, ROUTED, turn="t-3")
    await record(log, ROUTED, turn="t-9", thread="th-2")
    assert await log.settle("th-1", Aftermath.RESOLVED) == 2
    found = {each.turn: each.outcome for each in await log.list()}
    assert found == {
        "t-1": Aftermath.CORRECTED,
        "t-2": Aftermath.RESOLVED,
        "t-3": Aftermath.RESOLVED,
        "t-9": None,
    }


async def test_a_candidates_decisions_are_kept_apart(log, world):
    """They are no part of the list, of the traffic, or of what came of a turn."""
    # A candidate's decisions are kept as long as the conversation is.
    conversation = {
        "id": "th-1",
        "tenant": "northfell",
        "customer_id": "ana",
        "title": "",
        "handed_off": False,
    }
    with writing(world.engine) as conn:
        conn.execute(sa.insert(threads).values(created_at=world.hands.at, **conversation))
    settled = ROUTED.model_copy(update={"lane": "operation"})
    where = {"tenant": "northfell", "thread": "th-1", "turn": "t-1", "input": "hello"}
    await log.record(**where, decisions=[settled], shadow="abc")
    with reading(world.engine) as conn:
        assert [*conn.execute(sa.select(decisions.c.shadow)).scalars()] == ["abc"]
    assert await log.list() == []
    assert len((await log.traffic(limit=9))[1]) == 0
    assert await log.outcome("t-1", Aftermath.RESOLVED) == 0


async def test_drift_sees_what_was_settled_and_a_sketch_of_its_masked_words(world):
    """Of the router's decisions only the one that settled the turn; a sketch that fails costs nothing."""
    seen: list[str] = []

    async def sketch(masked: str) -> bytes:
        seen.append(masked)
        if "down" in masked:
            raise ModelUnavailable
        return bytes(64)

    log = SqlDecisionLog(world.engine, mask_pii, 30, world.hands.clock, sketch=sketch)
    settled = ROUTED.model_copy(update={"lane": "operation"})
    await record(log, ROUTED, settled, UNSURE, input="I am ada@example.org")
    await record(log, settled, input="the encoder is down", turn="t-2")
    oldest, traffic = await log.traffic(limit=9)
    assert seen == ["I am [email]", "the encoder is down"]
    assert traffic == Traffic(("order_status",) * 2, (False, False), (None, bytes(64)))
    assert len((await log.traffic(limit=9, before=oldest))[1]) == 0


async def test_old_decisions_are_forgotten(log, world):
    """Retention is counted in days from the decision."""
    await record(log, ROUTED, turn="old")
    world.hands.pass_(days=29)
    await record(log, ROUTED, turn="new")
    assert await log.prune() == 0
    world.hands.pass_(days=2)
    assert await log.prune() == 1
    assert [each.turn for each in await log.list()] == ["new"]
