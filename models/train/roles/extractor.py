"""The extractor reads a message for one operation and copies its fields out of it."""

from __future__ import annotations

import json
import random
import re
from pathlib import Path
from typing import Any

from models.train.data import rows
from models.train.phrases import Part, fill, kept_out, part_of, read, roughen

LABELS: dict[str, str] | None = None
PASSES = 1.15
MAX_INPUT = 120

#: The fields of each operation that a customer's text can give, in the order they are asked for.
FIELDS: dict[str, tuple[str, ...]] = {
    "get_order": ("order_number",),
    "track_parcel": ("order_number",),
    "get_invoice": ("invoice_number", "order_number"),
    "get_subscription": ("subscription_number",),
    "get_refund_status": ("refund_number", "order_number"),
    "change_delivery_address": ("order_number", "address"),
    "update_contact": ("email", "phone"),
    "pause_subscription": ("subscription_number", "months"),
    "resend_invoice": ("invoice_number", "order_number"),
    "cancel_order": ("order_number", "reason"),
    "cancel_subscription": ("subscription_number", "reason"),
    "request_refund": ("order_number", "reason"),
    "charge_replacement": ("order_number", "product"),
    "create_ticket": ("subject",),
}
#: How often each operation is shown: the ones with one plain number need least.
_SHARE = {
    "get_order": 8, "track_parcel": 5, "get_invoice": 7, "get_subscription": 5, "get_refund_status": 7,
    "change_delivery_address": 12, "update_contact": 9, "pause_subscription": 8, "resend_invoice": 5,
    "cancel_order": 12, "cancel_subscription": 9, "request_refund": 13, "charge_replacement": 10,
    "create_ticket": 5,
}  # fmt: skip

#: What customers say when they want their money back, by the reason it stands for.
REFUND_REASONS = {
    "damaged": ["is broken", "leaks", "is torn", "arrived damaged", "has a hole", "doesn't work", "has a broken zip",
                "fell apart after a week", "is scratched", "stopped working", "is defective", "came in pieces", "is ripped"],
    "late": ["came too late", "arrived two weeks late", "took forever to arrive", "was delivered after my trip",
             "still isn't here", "is ten days late"],
    "wrong_item": ["is the wrong size", "is the wrong colour", "is not what i ordered", "is the wrong model",
                   "is another product", "was sent in size 44 instead of 42", "is someone else's order"],
    "not_as_described": ["looks nothing like the picture", "is smaller than described", "is not waterproof as promised",
                         "isn't as described", "is heavier than it says on the page", "is a different material than stated"],
    "unwanted": ["is not for me after all", "doesn't fit my style", "is not needed any more", "was bought on impulse",
                 "is no longer needed", "is something i regret buying"],
}  # fmt: skip

_VALUES = {
    "order_number": "order", "wrong_order": "order", "invoice_number": "invoice", "wrong_invoice": "invoice",
    "subscription_number": "sub", "refund_number": "refund", "wrong_address": "address", "wrong_email": "email",
    "wrong_phone": "phone", "reason": "why", "plan_reason": "why_plan",
}  # fmt: skip
_MEANS = {"plan_reason": "reason", "subject_clause": "subject", "why_refund": "reason"}
_NUMBER_WORDS = {"a": 1, "one": 1, "two": 2, "three": 3}


def prompt(operation: str, text: str) -> str:
    """What the extractor reads."""
    return f"operation: {operation}\nfields: {', '.join(FIELDS[operation])}\nmessage: {text}"


def answer(operation: str, values: dict[str, Any]) -> str:
    """What it writes: compact JSON, fields in order, null for what was not said."""
    return json.dumps(
        {name: values.get(name) for name in FIELDS[operation]},
        ensure_ascii=False,
        separators=(",", ":"),
    )


def months(text: str) -> int:
    """How many months a customer's words mean."""
    digits = re.search(r"\d+", text)
    return (
        int(digits.group())
        if digits
        else next(_NUMBER_WORDS[w] for w in text.split() if w in _NUMBER_WORDS)
    )


def make(operation: str, template: str, rng: random.Random) -> tuple[str, str]:
    """One message of a template, and the answer it asks for."""
    while "(" in template:
        template = re.sub(
            r"\(([^()]*)\)", lambda found: rng.choice(found.group(1).split("|")), template, count=1
        )
    values: dict[str, Any] = {}
    reason: list[str] = []

    def value(found: re.Match[str]) -> str:
        name = found.group(1)
        if name == "why_refund":
            reason.append(rng.choice(sorted(REFUND_REASONS)))
            return rng.choice(REFUND_REASONS[reason[0]])
        text = fill("{" + _VALUES.get(name, name) + "}", rng)[0]
        values[name] = text
        return text

    text = re.sub(r"\{(\w+)\}", value, template).strip()
    rough = roughen(text, rng, keep=values.values())
    if all(said.casefold() in rough.casefold() for said in values.values()):
        text = rough
    wanted: dict[str, Any] = {}
    for name in [*values, *(["why_refund"] if reason else [])]:
        field = _MEANS.get(name, name)
        if field not in FIELDS[operation]:
            continue
        if field == "months":
            wanted[field] = months(values[name])
        elif name == "why_refund":
            wanted[field] = reason[0]
        else:
            # Roughening changes the first letter's case at most; the value is what stands in the text.
            at = text.casefold().find(values[name].casefold())
            wanted[field] = text[at : at + len(values[name])]
    return prompt(operation, text), answer(operation, wanted)


def _public(data: Path, rng: random.Random, count: int) -> list[tuple[str, str]]:
    """Messages with numbers of another shape: order and invoice numbers of Bitext, chats of cucom."""
    found: list[tuple[str, str]] = []
    for row in rows(data / "intent_bitext_support", "train"):
        entity, text = row["entity"], row["text"]
        if not entity or str(entity["value"]) not in text:
            continue
        value = str(entity["value"])
        if entity["type"] == "order_id" and row["intent"] in ("cancel_order", "track_order"):
            operation = {"cancel_order": "cancel_order", "track_order": "track_parcel"}[
                row["intent"]
            ]
            found.append((prompt(operation, text), answer(operation, {"order_number": value})))
        if entity["type"] == "invoice_id":
            number = value.lstrip("#")
            found.append(
                (prompt("get_invoice", text), answer("get_invoice", {"invoice_number": number}))
            )
    chats: list[tuple[str, str]] = []
    for row in rows(data / "dialogues_cucom_ecommerce", "dialogues"):
        text = row["turns"][0]["content"]
        numbers = re.findall(r"\b\d{3}-\d{6,7}-\d{5,7}\b", text)
        if len(numbers) == 1 and len(text) < 140:
            operation = rng.choice(["get_order", "track_parcel"])
            chats.append((prompt(operation, text), answer(operation, {"order_number": numbers[0]})))
    return rng.sample(found, min(count, len(found))) + rng.sample(
        chats, min(count // 2, len(chats))
    )


def samples(
    data: Path, seed: int
) -> tuple[list[tuple[str, str]], list[tuple[str, str]], dict[str, Any]]:
    """Our own messages for every operation, and some public ones."""
    rng = random.Random(seed)
    templates: dict[str, list[str]] = read("extracts")
    made: dict[Part, dict[tuple[str, str], None]] = {"train": {}, "test": {}, "calibration": {}}
    for operation, share in _SHARE.items():
        listed = templates[operation]
        for _ in range(share * 14):
            template = rng.choice(listed)
            pair = make(operation, template, rng)
            if not kept_out(pair[0].split("message: ")[1]):
                made[part_of(template)][pair] = None
    public = _public(data, rng, 50)
    learn = [*made["train"], *public]
    rng.shuffle(learn)
    learn = learn[:1300]
    held = [*made["test"], *made["calibration"]]
    rng.shuffle(held)
    lineage = {
        "data": {
            "own": {"messages": len(learn) - len(public), "licence": "written for this project"},
            "bitext+cucom": {"messages": len(public), "licence": "CDLA-Sharing-1.0, Apache-2.0"},
        }
    }
    return learn, held[:90], lineage
