"""The support graph's decisions that need no model: pure functions of what the state already says.

Conditional edges read a decision; they never make one. What makes them (moves, thresholds) is here too,
so that every rule of the conversation is on one page.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from typing import Literal

from graphs.context import Thresholds
from graphs.keys import same_request
from graphs.state import Pending, Route, SupportState
from tools.ports import Choice
from tools.values import Lane

Move = Literal["new", "continue", "confirm", "decline", "repeat"]


# --- what a message means while something is pending --------------------------------------------


#: So sure must the head be of a question or a complaint for what looks like a value to be none: "first tell me
#: what it costs" picks nothing.
_NO_VALUE = 0.9
#: So sure must a yes be to let happen what was asked about; below it the question is asked again.
_YES = 0.8
#: What is no change of subject in itself. Several requests may begin with the value that was asked for.
_NO_REQUEST = frozenset(
    {"out_of_scope", "affirm", "deny", "greeting", "thanks", "goodbye", "bot_question", "smalltalk",
     "several_requests"}
)  # fmt: skip


def move(
    pending: Pending | None,
    choice: Choice,
    *,
    fits: bool,
    asked_last: bool,
    sure: float,
    operation: str | None,
) -> Move:
    """What the customer does to the operation that waits for their word.

    ``fits``: the text holds a value for what was asked. ``asked_last``: the previous reply ended with this
    question, so a bare yes or no answers it. ``sure``: the probability from which another intent counts
    as a change of subject. ``operation``: the one the intent stands for."""
    if pending is None:
        return "new"
    chance = choice.probabilities.get(choice.option, 0.0)
    confident = chance >= sure
    if operation is None and chance >= max(sure, _NO_VALUE) and choice.option not in _NO_REQUEST:
        return "new"
    if choice.option == "affirm":
        if pending.stage in ("confirm", "offer"):
            return "confirm" if asked_last and chance >= _YES else "repeat"
        return "continue" if fits else "repeat"
    if choice.option == "deny" and not fits:
        return "decline" if asked_last else "new"
    if operation is not None and operation == pending.operation:
        return "continue"
    if pending.stage == "offer":
        return "new"
    if pending.stage == "choice":
        return "continue" if fits else ("new" if confident else "repeat")
    if pending.stage == "field":
        if fits:
            return "continue"
        return "new" if confident and choice.option != "out_of_scope" else "repeat"
    return "continue" if fits else ("new" if confident else "repeat")


_SAYS_NOTHING = _NO_REQUEST - {"several_requests"}
#: The class of the ``follow_up`` head for a message that says nothing without the one before it.
LEANS = "leans"
#: How much what was wanted before counts for a message that stands alone, and for what it never was taken.
#: Of 0.2, 0.35 and 0.5 on our own conversations alike; the least of them is taken.
_SAME_SUBJECT = 0.2
_ANOTHER = 1e-3


def says_little(choice: Choice) -> bool:
    """Courtesies, a yes or a no, and what is about nothing lend no meaning to what follows."""
    return choice.option in _SAYS_NOTHING


def put_together(alone: Choice, before: Choice, leaning: float) -> Choice:
    """One decision from a message read alone and what was wanted before it.

    In so far as it leans on that (``leaning``, a probability) it wants the same; in so far as it stands
    alone, staying with the subject is a little likelier than leaving it."""
    weights = {
        intent: chance * max(before.probabilities.get(intent, 0.0), _ANOTHER) ** _SAME_SUBJECT
        for intent, chance in alone.probabilities.items()
    }
    total = sum(weights.values())
    if total <= 0:
        return alone
    chances = {
        intent: (1 - leaning) * weight / total + leaning * before.probabilities.get(intent, 0.0)
        for intent, weight in weights.items()
    }
    return alone.model_copy(
        update={
            "option": max(chances, key=chances.__getitem__),
            "probabilities": chances,
            "ms": alone.ms + before.ms,
        }
    )


#: How much likelier an answer is than anything else right after a question.
_ANSWERS = 3.0


def answering(choice: Choice, expected: Collection[str]) -> Choice:
    """The same where the desk has just asked something: what is ``expected`` is likelier than the rest."""
    weights = {
        intent: chance * (_ANSWERS if intent in expected else 1.0)
        for intent, chance in choice.probabilities.items()
    }
    total = sum(weights.values())
    if total <= 0:
        return choice
    chances = {intent: weight / total for intent, weight in weights.items()}
    best = max(chances, key=chances.__getitem__)
    return choice.model_copy(update={"option": best, "probabilities": chances})


def lane_chance(choice: Choice, lane_if: Callable[[Choice], Lane], known: Collection[str]) -> float:
    """The chance that the lane is right: of all intents that would have led there had they been meant."""
    lane = lane_if(choice)
    same = (
        chance
        for intent, chance in choice.probabilities.items()
        if intent in known
        and (
            intent == choice.option
            or lane_if(choice.model_copy(update={"option": intent, "probabilities": {intent: 1.0}}))
            == lane
        )
    )
    return min(sum(same), 1.0)


def settle(
    choices: Sequence[Choice],
    thresholds: Thresholds,
    *,
    last: bool = False,
    lane_of: Callable[[str], Lane | None] = lambda intent: None,
) -> tuple[Choice, bool]:
    """The cascade's word: the cheapest tier that is sure enough, else the best guess, abstaining.

    When no tier is left to ask (``last``), the head's guess is taken from ``guess`` on: a wrong
    look-up is put right in the next message, and a wrong write is stopped by its own confirmation."""
    for choice in choices:
        floor = thresholds.sure(choice.tier, lane_of(choice.option))
        if choice.probabilities.get(choice.option, 0.0) >= floor:
            return choice, False
    head = choices[0]
    if last and head.probabilities.get(head.option, 0.0) >= thresholds.guess:
        return head, False
    return max(choices, key=lambda c: c.probabilities.get(c.option, 0.0)), True


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


def after_resolve(state: SupportState) -> Literal["ask", "confirm", "act", "decline"]:
    following = state.get("next")
    assert following is not None
    match following.step:
        case "ask" | "choose":
            return "ask"
        case "refuse":
            return "decline"
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
    return "converse" if otherwise == "out_of_scope" else "admit"


def after_synthesize(state: SupportState) -> Literal["validate", "quote"]:
    return "validate" if state.get("draft") is not None else "quote"


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
