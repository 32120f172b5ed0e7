"""Record numbers: how the shop writes them and how customers do."""

from __future__ import annotations

import re
from typing import Literal

RecordKind = Literal["order", "invoice", "subscription", "refund"]
NumberedKind = Literal["order", "invoice", "subscription", "refund", "charge", "ticket"]

PREFIXES: dict[str, str] = {
    "order": "SB",
    "invoice": "INV",
    "subscription": "SUB",
    "refund": "RF",
    "charge": "CH",
    "ticket": "T",
}
#: The number a shop with empty books starts from.
FIRST_NUMBERS: dict[str, int] = {
    "order": 10001,
    "invoice": 20001,
    "subscription": 4001,
    "refund": 30001,
    "charge": 50001,
    "ticket": 70001,
}
#: What people put before a number besides its prefix.
_WORDS = {
    "order": "orders?|bestellung|purchase",
    "invoice": "invoices?|bills?|rechnung",
    "subscription": "subscriptions?|plans?|membership|abo",
    "refund": "refunds?",
    "charge": "charges?",
    "ticket": "tickets?",
}
#: What customers call a record in front of its number, without accents or endings.
CALLED: dict[str, tuple[str, ...]] = {
    "order": ("order", "bestellung", "purchase"),
    "invoice": ("invoice", "bill", "rechnung"),
    "subscription": ("subscription", "plan", "membership", "abo"),
    "refund": ("refund", "erstattung"),
    "charge": ("charge", "abbuchung"),
    "ticket": ("ticket",),
}
_NEWEST = re.compile(
    r"\b(last(?! (?:week|month|year|night|time|monday|tuesday|wednesday|thursday|friday|saturday|sunday|weekend)\b)|latest|newest|"
    r"(most )?recent|just placed|letzten?|letztes|letzter|neuesten?|neuestes)\b(?! (?:woche|monat|jahr|freitag|montag|mal))",
    re.IGNORECASE,
)


def number_for(kind: str, digits: int) -> str:
    return f"{PREFIXES[kind]}-{digits}"


def normalise_number(kind: str, text: str) -> str | None:
    """``SB-10482`` for "10482", "#10482", "sb 10482", "order no. 10482"; None when it is no such number. A number of
    a kind that is none of the shop's stands as it is written."""
    if kind not in PREFIXES:
        return text.strip() or None
    pattern = (
        rf"\s*(?:my\s+)?(?:{_WORDS[kind]})?\s*(?:number|no\.?|nr\.?|id)?[\s:#]*"
        rf"(?:{PREFIXES[kind]})?[\s\-_#.:\u2010-\u2015]*(\d{{3,9}})\s*[.!?,]*\s*"
    )
    match = re.fullmatch(pattern, text, re.IGNORECASE)
    return f"{PREFIXES[kind]}-{int(match[1])}" if match else None


def means_newest(text: str) -> bool:
    """Whether the customer named the record by its place in time: "my last order"."""
    return _NEWEST.search(text) is not None
