"""The roles of the small model used alone, on the embedded server."""

from __future__ import annotations

import pytest

pytestmark = [pytest.mark.models, pytest.mark.process]


def test_the_router_reads_messages_and_what_they_answer(role):
    """Intent, lane and operation; a yes belongs to what was asked last."""
    asked = [
        {"role": "user", "text": "please cancel my order SB-10482"},
        {"role": "assistant", "text": "Shall I cancel order SB-10482?"},
    ]
    ran = role(
        "router",
        {"id": "hi", "text": "hello there"},
        {"id": "cancel", "text": "please cancel my order SB-10482"},
        {"id": "yes", "text": "yes please", "history": asked},
        {"id": "yes alone", "text": "yes please"},
        {"id": "angry", "text": "This is the worst shop ever, I am furious, it broke again!"},
        {"id": "mail", "text": "change my email to ana@example.com"},
        {"id": "empty", "text": ""},
        {"text": 5},
    )
    by = {row["id"]: row for row in ran.rows}

    assert ran.code == 1
    assert list(by) == ["hi", "cancel", "yes", "yes alone", "angry", "mail", "empty"]
    assert by["hi"]["lane"] == "direct"
    assert (by["cancel"]["lane"], by["cancel"]["operation"]) == ("operation", "cancel_order")
    assert (by["yes"]["intent"], by["yes"]["operation"]) == ("affirm", "cancel_order")
    assert by["yes alone"]["operation"] is None
    assert by["angry"]["frustration"] > 0.5
    assert by["mail"]["sensitivity"] == "personal"
    assert by["empty"]["abstain"]
    for row in ran.rows:
        assert {"complexity", "probability", "alternatives", "reason", "tier", "ms"} <= set(row)
        assert 0 <= row["probability"] <= 1


TABLE = {
    "type": "object",
    "required": ["guests", "day"],
    "properties": {
        "guests": {"type": "integer", "maximum": 12},
        "day": {"type": "string", "format": "date"},
    },
}


def test_the_extractor_takes_only_what_the_customer_said(role):
    """Several turns are put together; what is lacking is named."""
    ran = role(
        "extractor",
        {"operation": "pause_subscription", "text": "pause SUB-4021 for two months please"},
        {"operation": "pause_subscription", "text": "pause my plan", "today": "2026-11-20"},
        {
            "operation": "change_delivery_address",
            "text": "Lindenweg 4, 10115 Berlin",
            "history": [
                {"role": "user", "text": "please send order SB-10482 somewhere else"},
                {"role": "assistant", "text": "Which address should we deliver to?"},
            ],
        },
        {"operation": "no_such_operation", "text": "hello"},
        {"operation": "get_order"},
        {
            "operation": {"name": "book_table", "parameters": TABLE},
            "history": [
                {"role": "user", "text": "a table for two next Friday"},
                {"role": "assistant", "text": "For two, on 27 November?"},
            ],
            "text": "make it four",
            "today": "2026-11-18",
        },
        {"operation": {"name": "x", "parameters": {"properties": 5}}, "text": "hello"},
        {"operation": {"name": "x"}, "text": "hello", "today": "yesterday"},
    )

    assert ran.code == 1
    first, second, third, foreign = ran.rows
    assert foreign == {
        "arguments": {"guests": 4, "day": "2026-11-27"},
        "missing": [],
        "refused": {},
    }
    assert "line 7: operation.parameters" in ran.errors
    assert "line 8: today" in ran.errors
    assert first["arguments"] == {"subscription_number": "SUB-4021", "months": 2}
    assert first["missing"] == []
    assert second["missing"] == ["months"]
    assert third["arguments"]["order_number"] == "SB-10482"
    assert third["arguments"]["address"].startswith("Lindenweg 4")
    assert "line 4: operation" in ran.errors
    assert "line 5: text" in ran.errors


def test_the_evaluator_keeps_to_what_a_plan_allows(role):
    """Probabilities over the four ways to go on; nothing left means done, whatever the model says."""
    ran = role(
        "evaluator",
        {"goal": "cancel and refund", "step": "cancel_order", "result": "ok cancelled", "left": 0},
        {"goal": "cancel and refund", "step": "cancel_order", "result": "ok cancelled", "left": 1},
        {"goal": "cancel and refund", "step": "cancel_order", "result": "ok", "left": -1},
    )

    assert ran.code == 1
    assert [row["choice"] for row in ran.rows] == ["done", "continue"]
    for row in ran.rows:
        assert set(row["probabilities"]) == {"continue", "done", "replan", "escalate"}
        assert sum(row["probabilities"].values()) == pytest.approx(1, abs=0.001)
