"""What keeps the event loop from everybody else is seen, by everybody who asks."""

from __future__ import annotations

import asyncio
import time

from app.loop_lag import EVERY, LoopLag
from app.metrics import Metrics


async def test_what_holds_the_loop_is_seen_by_everybody():
    """A call that does not give way for a third of a second; who asks second hears the same."""
    lag = LoopLag()
    async with lag.watched():
        await asyncio.sleep(0)  # It has begun to look.
        time.sleep(EVERY + 0.3)  # noqa: ASYNC251
        await asyncio.sleep(EVERY)
        assert lag.worst() > 0.25
        assert lag.worst() > 0.25


def test_it_is_forgotten_after_its_time():
    """The next longest is told then, and at last none."""
    lag = LoopLag(window=60)
    for at, wait in ((0, 0.0), (10, 0.5), (20, 0.1), (30, 0.3), (69, 0.0)):
        lag.saw(at, wait)
    assert lag.worst() == 0.5
    lag.saw(71, 0.0)
    assert lag.worst() == 0.3
    lag.saw(91, 0.0)
    assert lag.worst() == 0.0


def test_it_is_a_number_for_prometheus():
    metrics = Metrics()
    metrics.lagged(0.5)
    assert b"signalbox_loop_lag_seconds 0.5" in metrics.text()
