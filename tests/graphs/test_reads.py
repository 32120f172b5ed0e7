"""Unsure between look-ups is not unsure: none of them can do harm."""

from __future__ import annotations

from dataclasses import replace

import pytest

from graphs.context import Thresholds
from graphs.nodes.turn import torn_between_reads
from tests.graphs.world import World
from tools.ports import Choice


@pytest.mark.parametrize(
    ("probabilities", "torn"),
    [
        # Either way the order is looked up.
        ({"order_status": 0.5, "track_parcel": 0.45, "cancel_order": 0.05}, True),
        # Together they are not likely enough.
        ({"order_status": 0.35, "track_parcel": 0.3, "cancel_order": 0.35}, False),
        # A write is never taken for granted, however sure the reads beside it are.
        ({"cancel_order": 0.4, "order_status": 0.35, "track_parcel": 0.25}, False),
        # Nor is what another lane would do.
        ({"ask_delivery": 0.4, "order_status": 0.35, "track_parcel": 0.25}, False),
    ],
)
def test_the_likeliest_look_up_is_taken(probabilities: dict[str, float], torn: bool) -> None:
    """Only reads of the operation lane count, and they must be sure together."""
    choice = Choice(
        option=max(probabilities, key=probabilities.__getitem__),
        probabilities=probabilities,
        model="head",
        version="1",
        tier="encoder",
        ms=0,
    )

    context = replace(World("ana").context, thresholds=Thresholds(encoder=0.8))
    assert torn_between_reads(choice, context) is torn
