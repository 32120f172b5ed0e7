"""The interlocking: which consequence class an action gets, and what that class may do.

Pure functions over closed sets; ``tests/graphs/test_verdict.py`` has a row for every cell.
"""

from __future__ import annotations

from typing import Literal

from graphs.consequences import Judged
from tools.policy import Ruling
from tools.values import Attempt, Consequence, Tier, Verdict

Gate = Literal["execute", "approve", "judge", "reconcile", "block"]

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
    guess: Judged | None = None,
    attempt: Attempt | None = None,
    tier: Tier = "rule",
) -> Verdict:
    """The verdict for one action: the worst of its declared class, its record's state, what the models say,
    what the business rules say and what is known of earlier attempts. None of them makes it laxer.

    ``guess`` is the small model's class with its calibrated probability: a sure one counts as it is, an
    unsure one that is graver makes the class unknown, so that the judge is asked. ``judged`` is what the
    judge said to that."""
    known = raise_to(declared, state)
    if guess is not None and guess.sure:
        known = raise_to(known, guess.consequence)
    if judged is not None:
        floor = None if guess is None else guess.floor
        known = raise_to(known, at_least(judged, floor))
    doubtful = judged in (None, Consequence.UNKNOWN) and _raises_a_doubt(guess, known)
    verdict = _of_class(
        Consequence.UNKNOWN if doubtful else known, declared, _model_said(guess, judged), tier
    )
    if judged is Consequence.UNKNOWN and verdict.consequence is Consequence.UNKNOWN:
        verdict = _to_a_person(verdict)
    if guess is not None:
        verdict = verdict.model_copy(update={"probability": guess.probability})
    return settled_first(tightened(verdict, ruling or Ruling()), attempt or Attempt())


def _raises_a_doubt(guess: Judged | None, known: Consequence) -> bool:
    """An unsure guess that is graver than everything certain; the gravest class is asked about anyway."""
    if guess is None or guess.sure or known is Consequence.IRREVERSIBLE:
        return False
    return known is Consequence.UNKNOWN or _SEVERITY[guess.consequence] > _SEVERITY[known]


def _model_said(guess: Judged | None, judged: Consequence | None) -> Consequence | None:
    if judged is not None:
        return at_least(judged, None if guess is None else guess.floor)
    return guess.consequence if guess is not None and guess.sure else None


def settled_first(verdict: Verdict, attempt: Attempt) -> Verdict:
    """The verdict with what is known of earlier attempts: where one may have taken effect, only what a key
    makes harmless, and nobody has to be asked about, is begun again."""
    verdict = verdict.model_copy(update={"attempt": attempt.number})
    harmless = verdict.consequence in (Consequence.SAFE, Consequence.RETRY_SAFE)
    if not attempt.unknown or (harmless and gate(verdict) == "execute"):
        return verdict
    reason = f"{verdict.reason} An earlier attempt may have done it: that is settled first."
    return verdict.model_copy(update={"settle_first": True, "reason": reason})


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


def _of_class(
    consequence: Consequence, declared: Consequence, judged: Consequence | None, tier: Tier
) -> Verdict:
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


def _to_a_person(verdict: Verdict) -> Verdict:
    return verdict.model_copy(
        update={
            "needs_approval": True,
            "approvers": 1,
            "reason": "Nobody could tell what this does, so a person decides.",
            "tier": "human",
        }
    )


def gate(verdict: Verdict) -> Gate:
    """Where an action goes with this verdict."""
    if verdict.settle_first:
        return "reconcile"
    if verdict.refusal is not None:
        return "block"
    if verdict.needs_approval:
        return "approve"
    if verdict.consequence is Consequence.UNKNOWN:
        return "judge"
    return "execute"
