"""What a model (or the rule standing in for it) chose, with why, and what came of it."""

from __future__ import annotations

from enum import StrEnum

from tools.values import Lane, Record, Tier


class Alternative(Record):
    option: str
    probability: float


class Decision(Record):
    """What a model (or the rule standing in for it) chose, with why. Logged before it takes effect."""

    role: str
    chosen: str
    probability: float
    alternatives: tuple[Alternative, ...] = ()
    abstained: bool = False
    reason: str = ""
    tier: Tier
    model: str
    adapter: str = ""  #: Digest of the adapter or head, where one answered.
    prompt: str = ""  #: Version (content hash) of the prompt, where one was asked.
    ms: float = 0.0
    lane: Lane | None = None  #: Where the turn went, on the router's decision that settled it.


class Aftermath(StrEnum):
    """What came of a decision. A later one replaces an earlier one of the same or a lower line."""

    RESOLVED = "resolved"  #: The turn ended with an answer, and nothing is open.
    FAILED = "failed"  #: The turn ended with an apology.
    ESCALATED = "escalated"  #: A person took over.
    CORRECTED = "corrected"  #: The customer said that something else was meant.
    EDITED = "edited"  #: An operator changed what was proposed.
    REJECTED = "rejected"  #: An operator refused what was proposed.
