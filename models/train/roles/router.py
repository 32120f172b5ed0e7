"""The router reads a message and names its intent."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

from models.train import data as sets
from models.train.phrases import Message

#: One plain token an intent, as close in meaning as single tokens allow.
LABELS: dict[str, str] | None = {
    "greeting": "hello",
    "thanks": "thank",
    "goodbye": "bye",
    "bot_question": "bot",
    "smalltalk": "chat",
    "affirm": "yes",
    "deny": "no",
    "out_of_scope": "other",
    "ask_hours": "hours",
    "ask_contact": "contact",
    "ask_payment_methods": "payment",
    "order_status": "status",
    "list_orders": "orders",
    "track_parcel": "track",
    "get_invoice": "document",
    "resend_invoice": "copy",
    "subscription_status": "subscription",
    "refund_status": "wait",
    "change_address": "address",
    "update_contact": "update",
    "pause_subscription": "pause",
    "cancel_order": "cancel",
    "cancel_subscription": "stop",
    "request_refund": "money",
    "request_replacement": "replace",
    "open_ticket": "issue",
    "ask_delivery": "delivery",
    "ask_returns": "returns",
    "ask_product": "product",
    "ask_plans": "price",
    "ask_account": "account",
    "ask_billing": "bill",
    "ask_ordering": "buy",
    "complaint": "claim",
    "human_request": "human",
    "several_requests": "several",
}
PASSES = 1.25
MAX_INPUT = 60

_OWN, _PUBLIC, _OUTSIDE = 50, 12, 180


def samples(
    data: Path, seed: int
) -> tuple[list[tuple[str, str]], list[tuple[str, str]], dict[str, Any]]:
    """Messages and their intents: our own first, some of each public label, much of what is out of scope."""
    corpus = sets.intents(data, seed)
    rng = random.Random(seed)
    learn: list[Message] = []
    for intent in sorted({m.label for m in corpus.messages}):
        own = [m for m in corpus.part("train", source="own") if m.label == intent]
        public = [m for m in corpus.part("train") if m.label == intent and m.source != "own"]
        amount = _OUTSIDE if intent == "out_of_scope" else _PUBLIC
        learn += rng.sample(own, min(_OWN, len(own))) + rng.sample(public, min(amount, len(public)))
    held = [
        *rng.sample(corpus.part("test", source="own"), 140),
        *rng.sample(corpus.part("test", source="bitext"), 120),
        *rng.sample(
            [m for m in corpus.part("test", source="clinc") if m.label == "out_of_scope"], 60
        ),
    ]
    return (
        _pairs(learn),
        _pairs(held),
        {
            "data": sets.Corpus(learn).lineage,
            "groups": {
                "own": slice(0, 140),
                "bitext": slice(140, 260),
                "out_of_scope": slice(260, 320),
            },
        },
    )


def _pairs(messages: list[Message]) -> list[tuple[str, str]]:
    return [(m.text, m.label) for m in messages]
