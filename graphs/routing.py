"""The support graph's decisions that need no model: pure functions of what the state already says.

Conditional edges read a decision; they never make one. What a message does to an open question is decided in
``graphs/understanding/dialogue.py``.
"""

from __future__ import annotations

from typing import Literal

from graphs.keys import same_request
from graphs.state import Route, SupportState

#: The class of the ``follow_up`` head for a message that says nothing without the one before it.
LEANS = "leans"

# --- conditional edges --------------------------------------------------------------------------


def after_screen(
    state: SupportState,
) -> Literal["understand", "tell_outcome", "stay_silent", "refuse"]:
    screening = state.get("screening")
    assert screening is not None
    if screening.verdict == "ok":
        return "understand"
    if screening.verdict == "outcome":
        return "tell_outcome"
    return "stay_silent" if screening.verdict == "handed_off" else "refuse"


def after_understand(
    state: SupportState,
) -> Literal[
    "converse", "extract", "resolve", "recall", "loop", "escalate", "clarify", "advise", "tell_waiting",
    "respond_to_incident", "defer",
]:  # fmt: skip
    """Where the turn is served: the lane, and in the operation lane whether an operation or a case answers."""
    route = _route(state)
    if route.abstained or route.move == "repeat":
        return "clarify"
    if route.move in ("decline", "leave"):
        return "converse"
    if route.served != "lane":
        return route.served
    if route.lane == "operation":
        return "resolve" if route.move == "confirm" else "extract"
    lanes: dict[str, Literal["converse", "recall", "loop", "escalate"]] = {
        "direct": "converse",
        "answer": "recall",
        "agent": "loop",
        "escalate": "escalate",
    }
    return lanes[route.lane]


def after_extract(state: SupportState) -> Literal["resolve", "extract_by_rules"]:
    extracted = state.get("extraction")
    return "extract_by_rules" if extracted is not None and extracted.degraded else "resolve"


def after_resolve(
    state: SupportState,
) -> Literal["ask", "confirm", "act", "decline", "tell_standing"]:
    following = state.get("next")
    assert following is not None
    match following.step:
        case "ask" | "choose":
            return "ask"
        case "refuse":
            return "decline"
        case "stands":
            return "tell_standing"
        case "confirm" | "act" as step:
            return step


def after_recall(state: SupportState) -> Literal["retrieve", "validate"]:
    """A known answer is checked like a new one."""
    return "retrieve" if state.get("draft") is None else "validate"


def after_prune(
    state: SupportState,
) -> Literal["synthesize", "admit", "clarify", "converse", "advise"]:
    """Nothing found: a question is admitted to be open; what was none is asked about, or is not our business."""
    if state.get("passages"):
        return "synthesize"
    otherwise = _route(state).otherwise
    if otherwise in ("clarify", "advise"):
        return otherwise
    return "converse" if otherwise in ("out_of_scope", "direct") else "admit"


def after_synthesize(state: SupportState) -> Literal["validate", "quote", "admit"]:
    """Nothing written: the passages themselves are quoted; said not to be known: admitted, and a person offered."""
    if state.get("draft") is not None:
        return "validate"
    return "quote" if state.get("passages") else "admit"


def after_validate(
    state: SupportState,
) -> Literal["deliver", "remember", "synthesize", "quote", "fall_back"]:
    """A bad draft is written again once, then replaced by something that cannot be wrong."""
    validation, draft = state.get("validation"), state.get("draft")
    assert validation is not None
    if validation.ok:
        new = draft is not None and draft.source == "large" and not draft.known
        return "remember" if new and draft is not None and draft.passages else "deliver"
    if draft is not None and draft.passages and draft.source == "large":
        return "synthesize" if draft.attempt == 1 else "quote"
    return "fall_back"


def after_escalate(state: SupportState) -> Literal["validate", "act", "fall_back"]:
    """Who asked for a person gets one, through the gate; who is upset gets a reply and the offer."""
    if state.get("next") is not None:
        return "act"
    return "validate" if state.get("draft") is not None else "fall_back"


def after_incident(state: SupportState) -> Literal["act", "validate"]:
    """A person is told through the gate; where the domain only wants one offered, the offer is made."""
    return "act" if state.get("next") is not None else "validate"


def after_outcome(state: SupportState) -> Literal["loop", "deliver"]:
    """A plan that waited for this outcome goes on."""
    plan, outcome = state.get("plan"), state["turn"].outcome
    waits = (
        plan is not None
        and outcome is not None
        and any(same_request(step.action_id, outcome.action_id) for step in plan.steps)
    )
    return "loop" if waits else "deliver"


def _route(state: SupportState) -> Route:
    route = state.get("route")
    assert route is not None
    return route
