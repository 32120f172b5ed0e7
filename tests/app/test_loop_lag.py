"""What keeps the event loop from everybody else is seen, once."""

from __future__ import annotations

import asyncio
import time

from app.loop_lag import EVERY, LoopLag
from app.metrics import Metrics


async def test_what_holds_the_loop_is_seen_once():
    """A call that does not give way for a third of a second; the next look begins anew."""
    lag = LoopLag()
    async with lag.watched():
        await asyncio.sleep(0)  # It has begun to look.
        time.sleep(EVERY + 0.3)  # noqa: ASYNC251
        await asyncio.sleep(EVERY)
        assert lag.worst() > 0.25
        assert lag.worst() < 0.25


def test_it_is_a_number_for_prometheus():
    metrics = Metrics()
    metrics.lagged(0.5)
    assert b"signalbox_loop_lag_seconds 0.5" in metrics.text()
