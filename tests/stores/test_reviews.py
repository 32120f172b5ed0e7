"""Samples stand for all that was routed, and labels are kept one by one."""

from __future__ import annotations

import random
from datetime import timedelta

import pytest
import sqlalchemy as sa

from app.intervals import paired_difference, weighted, wilson
from app.stores.comparisons import SqlComparisons
from app.stores.database import writing
from app.stores.decisions import SqlDecisionLog
from app.stores.reviews import ReviewNotFound, SqlReviews, allotted
from app.stores.tables import threads
from tools.decisions import Decision

RARE = ("chargeback", "small", 0.4)
USUAL = ("order_status", "encoder", 0.97)
OFTEN = ("ask_hours", "encoder", 0.7)


@pytest.fixture
def log(world):
    # A candidate's decisions are kept as long as the conversation is.
    conversation = {
        "id": "th",
        "tenant": "northfell",
        "customer_id": "ana",
        "title": "",
        "handed_off": False,
    }
    with writing(world.engine) as conn:
        conn.execute(sa.insert(threads).values(created_at=world.hands.at, **conversation))
    return SqlDecisionLog(world.engine, str, 90, world.hands.clock)


@pytest.fixture
def reviews(world):
    return SqlReviews(world.engine, world.hands.clock)


async def routed(log, intent, tier, probability, number=0, **where):
    decision = Decision(
        role="router",
        chosen=intent,
        probability=probability,
        tier=tier,
        model="m",
        lane="operation",
        ms=2.0,
    )
    given = {"tenant": "northfell", "thread": "th", "turn": f"{intent}-{number}", "input": intent}
    await log.record(**given | where, decisions=[decision])


async def traffic(log):
    for kind, count in ((USUAL, 40), (OFTEN, 18), (RARE, 2)):
        for number in range(count):
            await routed(log, *kind, number)


async def test_a_sample_holds_what_is_rare_and_its_weights_add_up(log, reviews, world):
    """Two odd ones among sixty are in it, and the sample stands for all sixty."""
    await traffic(log)
    drawn = await reviews.draw(20, since=world.hands.at - timedelta(days=7))
    assert len(drawn) == 20
    assert {item.chosen for item in drawn} == {"order_status", "ask_hours", "chargeback"}
    assert sum(item.weight for item in drawn) == pytest.approx(60)


async def test_a_sample_is_of_the_asked_days_and_tenant_only(log, reviews, world):
    """And as large as what there is."""
    await routed(log, *USUAL, 1)
    world.hands.pass_(days=8)
    await routed(log, *USUAL, 2)
    await routed(log, *USUAL, 3, tenant="elsewhere")
    week = world.hands.at - timedelta(days=7)
    assert [i.turn for i in await reviews.draw(9, since=week, tenant="northfell")] == [
        "order_status-2"
    ]


async def test_every_label_is_kept_at_once_and_the_rest_waits(log, reviews, world):
    """Another process finds the label, who gave it and when; a skipped one does not come back."""
    await traffic(log)
    drawn = await reviews.draw(10, since=world.hands.at - timedelta(days=7))
    await reviews.label(drawn[0].sample, drawn[0].decision, label="ask_hours", reviewer="olga")
    await reviews.label(drawn[1].sample, drawn[1].decision, label=None, reviewer="olga")
    again = SqlReviews(world.engine)
    assert len(await again.list(waiting=True)) == 8
    told = {item.decision: item for item in await again.list(waiting=False)}
    first = told[drawn[0].decision]
    assert (first.label, first.reviewer, first.labelled_at) == ("ask_hours", "olga", world.hands.at)
    assert told[drawn[1].decision].skipped


async def test_nobody_labels_another_tenants_messages(log, reviews, world):
    """It is as if they were not there."""
    await traffic(log)
    [item, *_] = await reviews.draw(3, since=world.hands.at - timedelta(days=7))
    assert await reviews.list(tenant="elsewhere") == []
    with pytest.raises(ReviewNotFound):
        await reviews.label(
            item.sample, item.decision, label="x", reviewer="eve", tenant="elsewhere"
        )


async def test_labels_outlive_the_decisions(log, reviews, world):
    """Retention takes the log, not what people said of it."""
    await traffic(log)
    await reviews.draw(3, since=world.hands.at - timedelta(days=7))
    world.hands.pass_(days=100)
    assert await log.prune() == 60
    assert len(await reviews.list()) == 3


async def test_pairs_are_of_one_message_read_by_both(log, reviews, world):
    """What only one of them settled is no pair; a label belongs to both."""
    for number in range(3):
        await routed(log, *USUAL, number)
    await routed(
        log,
        "track_parcel",
        "small",
        0.8,
        turn="order_status-0",
        input="order_status",
        shadow="cand",
    )
    await routed(log, "track_parcel", "small", 0.8, turn="gone", shadow="cand")
    drawn = await reviews.draw(3, since=world.hands.at - timedelta(days=7))
    for item in drawn:
        await reviews.label(item.sample, item.decision, label="track_parcel", reviewer="olga")
    compared = SqlComparisons(world.engine)
    assert [digest for digest, _, _ in await compared.candidates()] == ["cand"]
    [pair] = await compared.pairs("cand")
    assert (pair.live.intent, pair.candidate.intent, pair.label) == (
        "order_status",
        "track_parcel",
        "track_parcel",
    )
    assert (pair.live.ms, pair.candidate.ms) == (2.0, 2.0)
    assert await compared.pairs("other") == []


def test_what_is_left_goes_where_the_sample_is_thinnest():
    """One each, then in proportion; never more than there are."""
    assert allotted({"a": 80, "b": 15, "c": 1}, 10) == {"a": 7, "b": 2, "c": 1}
    assert allotted({"a": 2, "b": 1}, 10) == {"a": 2, "b": 1}


def test_a_stratified_estimate_is_weighted_back_and_its_interval_holds():
    """Rare strata are oversampled: unweighted, the accuracy would be far off. The interval holds the truth
    about as often as it says."""
    rng = random.Random(5)
    sizes, truth = {"easy": 900, "hard": 100}, {"easy": 0.95, "hard": 0.5}
    right = sum(sizes[k] * truth[k] for k in sizes) / 1000
    inside = 0
    for _ in range(400):
        hits = [(rng.random() < truth[k], sizes[k] / 50) for k in sizes for _ in range(50)]
        share = weighted([hit for hit, _ in hits], [weight for _, weight in hits])
        inside += share.low <= right <= share.high
    assert inside / 400 > 0.9
    assert weighted([True] * 5, [1.0] * 5).low < 0.6
    assert wilson(0, 0).high == 1.0
    assert paired_difference([0, 0, 1, 1] * 25, [0, 1, 1, 1] * 25)[1] > 0
