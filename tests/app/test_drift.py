"""Drift is told from chance."""

from __future__ import annotations

import logging
from datetime import UTC, datetime

import numpy as np
import pytest

from app import drift_watch
from app.drift import Traffic, compare, holm, sketch_of
from app.drift_watch import DriftWatch, ReferenceUnusable, read_reference, write_reference
from app.metrics import Metrics
from tools.values import Clock

INTENTS, NEW = 12, 3
_rng = np.random.default_rng(3)
_CENTRES = _rng.normal(size=(INTENTS + NEW, 384))
_SHARES = _rng.dirichlet(np.full(INTENTS, 2.0))


def messages(n: int, *, new: float = 0.0, seed: int = 0) -> Traffic:
    """Messages around their intent's centre; a share of them of intents the router does not know, which
    it takes for others and is often unsure of."""
    rng = np.random.default_rng(seed)
    strange = rng.random(n) < new
    true = np.where(strange, INTENTS + rng.integers(0, NEW, n), rng.choice(INTENTS, n, p=_SHARES))
    points = _CENTRES[true] + rng.normal(size=(n, 384))
    points /= np.linalg.norm(points, axis=1, keepdims=True)
    taken_for = np.where(strange, rng.integers(0, INTENTS, n), true)
    unsure = rng.random(n) < np.where(strange, 0.4, 0.08)
    return Traffic(
        tuple(f"intent {i}" for i in taken_for),
        tuple(unsure.tolist()),
        tuple(sketch_of(point) for point in points),
    )


def test_old_traffic_is_quiet_and_new_intents_are_not() -> None:
    """Of forty resampled windows at a level of 5 % few alarm; with a third of new messages every one does."""
    reference = messages(800, seed=1)
    quiet = [
        compare(reference, messages(300, seed=s), alpha=0.05, permutations=199, seed=s).alarm
        for s in range(2, 42)
    ]
    changed = [
        compare(reference, messages(300, new=0.33, seed=s), alpha=0.05, permutations=199).alarm
        for s in range(2, 8)
    ]
    assert sum(quiet) <= 5
    assert all(changed)


def test_an_intent_that_grew_is_named() -> None:
    """Only that one, with both its shares."""
    reference = messages(600, seed=1)
    grown = messages(300, seed=2)
    grown = Traffic(("intent 3",) * 90 + grown.intents[90:], grown.abstained, grown.sketches)

    found = compare(reference, grown)

    assert found.alarm
    assert found.p["intents"] <= 0.01
    assert found.shifts[0].intent == "intent 3"
    assert found.shifts[0].now > found.shifts[0].then


def test_too_few_messages_say_nothing() -> None:
    """No test is made, and no alarm."""
    found = compare(messages(500, seed=1), messages(49, new=1.0, seed=2))

    assert (found.p, found.alarm) == ({}, False)


def test_several_tests_are_corrected_together() -> None:
    """After Holm: the smallest by all of them, and never below one that came before."""
    assert holm({"intents": 0.01, "abstentions": 0.04, "words": 0.03}) == pytest.approx(
        {"intents": 0.03, "abstentions": 0.06, "words": 0.06}
    )


def test_sketches_keep_distances() -> None:
    """Near texts stay near, far ones far, within a tenth or two."""
    a, b = (v / np.linalg.norm(v) for v in _rng.normal(size=(2, 384)))
    near = (a + 0.1 * b) / np.linalg.norm(a + 0.1 * b)

    def apart(x: object, y: object) -> float:
        one, two = (np.frombuffer(sketch_of(v), dtype=np.int8) / 254.0 for v in (x, y))  # type: ignore[arg-type]
        return float(np.linalg.norm(one - two))

    assert apart(a, near) == pytest.approx(float(np.linalg.norm(a - near)), rel=0.3)
    assert apart(a, b) == pytest.approx(float(np.linalg.norm(a - b)), rel=0.3)


class Log:
    """A decision log of which the newest messages can be set."""

    def __init__(self, *, new: float) -> None:
        self.new = new

    async def traffic(self, *, tenant=None, since=None, before=None, limit):
        return 1, messages(200, new=0.0 if before else self.new, seed=2 if before else 3)


async def test_an_alarm_is_in_the_log_once_and_in_the_metrics(tmp_path, caplog, monkeypatch):
    """Said when it begins and when it ends; /metrics shows it as long as it lasts."""
    monkeypatch.setattr(drift_watch, "FIRST_LOOK", 0.0)
    monkeypatch.setattr(drift_watch, "EVERY", 0.0)
    clock = Clock(now=lambda: datetime(2026, 11, 22, tzinfo=UTC))
    watch = DriftWatch(Log(new=0.5), tmp_path / "none.npz", clock=clock)
    numbers = Metrics()
    with caplog.at_level(logging.INFO, logger="app.drift_watch"):
        await watch.look_when_due()
        await watch.look_when_due()
        numbers.drifted(watch.last)
        alarmed = numbers.text().decode()
        watch.log = Log(new=0.0)
        await watch.look_when_due()
        numbers.drifted(watch.last)

    assert [record.levelname for record in caplog.records] == ["WARNING", "INFO"]
    assert "NOT LIKE the traffic before" in caplog.records[0].message
    assert 'signalbox_drift_alarm{window="count"} 1.0' in alarmed
    assert 'signalbox_drift_alarm{window="count"} 0.0' in numbers.text().decode()


async def test_a_reference_file_is_used_and_a_broken_one_is_said(tmp_path):
    """A broken one does not stop the watch: the traffic before stands in."""
    file = tmp_path / "reference.npz"
    kept = messages(200, seed=9)
    write_reference(file, kept)
    watch = DriftWatch(Log(new=0.0), file)

    found = await watch.look()
    file.write_bytes(b"half")
    broken = await watch.look()

    assert {each.against for each in found.windows} == {"the reference file"}
    assert {each.against for each in broken.windows} == {"the traffic before"}
    assert "signalbox drift reference" in broken.problem
    with pytest.raises(ReferenceUnusable):
        read_reference(file)
    write_reference(file, kept)
    assert read_reference(file) == kept
