"""What a turn's events say of the decisions behind it."""

from __future__ import annotations

from typing import Any

import pytest

from app.desk import Event
from app.rooms.outcomes import unanswered
from tests.graphs.world import World


def route(**data: Any) -> list[Event]:
    final = Event(event="final", data={"text": "It is cancelled, so no parcel is on its way."})
    return [Event(event="route", data={"lane": "operation", "abstained": False, **data}), final]


@pytest.mark.parametrize(
    ("events", "lost"),
    [
        # Taken for a refund, answered with the parcel that was asked for before.
        (
            route(intent="request_refund", operation="track_parcel"),
            "asked for request_refund, answered track_parcel",
        ),
        (route(intent="request_refund", operation="request_refund"), None),
        # A yes, a number or a question has no operation of its own.
        (route(intent="affirm", operation="request_refund"), None),
        # Nobody was sure what it meant.
        (route(intent="request_refund", operation="track_parcel", abstained=True), None),
        (route(intent="request_refund", operation=None, lane="agent"), None),
        (route(intent="an intent of an earlier release", operation="track_parcel"), None),
        ([], None),
    ],
)
def test_what_was_surely_asked_for_and_not_answered_is_named(events, lost):
    """Only a sure request that went on as something else is lost."""
    assert unanswered(events, World().context) == lost
