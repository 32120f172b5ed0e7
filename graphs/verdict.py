"""The interlocking: which consequence class an action gets, and what that class may do.

Pure functions over closed sets; ``tests/graphs/test_verdict.py`` has a row for every cell.
"""

from __future__ import annotations

from typing import Literal

from tools.domain import Consequence, Tier, Verdict
from tools.policy import Ruling

Gate = Literal["execute", "approve", "judge", "block"]

_SEVERITY = {
    Consequence.SAFE: 0,
    Consequence.RETRY_SAFE: 1,
    Consequence.RETRY_UNSAFE: 2,
    Consequence.IRREVERSIBLE: 3,
}


def raise_to(declared: Consequence, judged: Consequence | None) -> Consequence:
    """The declared class is a floor: a judgement may raise it, never lower it.

    An operation that nobody declared takes whatever it is judged to be."""
    if judged is None or judged is Consequence.UNKNOWN:
        return declared
    if declared is Consequence.UNKNOWN:
        return judged
    return max(declared, judged, key=_SEVERITY.__getitem__)


def at_least(judged: Consequence, floor: Consequence | None) -> Consequence:
    """What the judge says, but nothing milder than what the small model is sure of already.

    A judge who cannot tell has said nothing that could be raised: a person decides."""
    return judged if judged is Consequence.UNKNOWN else raise_to(judged, floor)


def decide(
    declared: Consequence,
    state: Consequence,
    judged: Consequence | None = None,
    ruling: Ruling | None = None,
    *,
    tier: Tier = "rule",
) -> Verdict:
    """The verdict for one action from its declared class, its record's state, a model's view, and what
    the business rules say; each of them can make it stricter, none laxer."""
    return tightened(_without_rules(declared, state, judged, tier), ruling or Ruling())


def tightened(verdict: Verdict, ruling: Ruling) -> Verdict:
    """The verdict with the business rules' say: they may refuse, or ask for persons, and no more."""
    added = {"rules": ruling.rules, "policy": ruling.version}
    if ruling.effect == "refuse":
        return verdict.model_copy(update={**added, "refusal": ruling.reason})
    if ruling.effect != "approve":
        return verdict.model_copy(update=added)
    return verdict.model_copy(
        update={
            **added,
            "needs_approval": True,
            "approvers": max(verdict.approvers, ruling.approvers, 1),
            "reviewer": "admin" if "admin" in (verdict.reviewer, ruling.reviewer) else "agent",
            "reason": f"{verdict.reason} {ruling.reason}".strip(),
        }
    )


def _without_rules(
    declared: Consequence, state: Consequence, judged: Consequence | None, tier: Tier
) -> Verdict:
    consequence = raise_to(raise_to(declared, state), judged)
    if consequence is Consequence.UNKNOWN and judged is Consequence.UNKNOWN:
        return Verdict(
            consequence=consequence,
            declared=declared,
            judged=judged,
            needs_approval=True,
            approvers=1,
            reason="Nobody could tell what this does, so a person decides.",
            tier="human",
        )
    reasons = {
        Consequence.SAFE: "It only reads.",
        Consequence.RETRY_SAFE: "It writes, and its key makes a retry harmless.",
        Consequence.RETRY_UNSAFE: "It writes and must never be retried blindly.",
        Consequence.IRREVERSIBLE: "It cannot be undone, so a person approves it first.",
        Consequence.UNKNOWN: "Its consequences are not declared.",
    }
    reason = reasons[consequence]
    if consequence is not declared and declared is not Consequence.UNKNOWN:
        who = "the record's state" if judged is None or judged is not consequence else "a model"
        reason = f"{reason} Declared {declared.value}, raised by {who}."
    return Verdict(
        consequence=consequence,
        declared=declared,
        judged=judged,
        needs_approval=consequence is Consequence.IRREVERSIBLE,
        approvers=1 if consequence is Consequence.IRREVERSIBLE else 0,
        reason=reason,
        tier=tier,
    )


def gate(verdict: Verdict) -> Gate:
    """Where an action goes with this verdict."""
    if verdict.refusal is not None:
        return "block"
    if verdict.needs_approval:
        return "approve"
    if verdict.consequence is Consequence.UNKNOWN:
        return "judge"
    return "execute"
