"""The lane of what was chosen, and whether anybody is sure enough of it."""

from __future__ import annotations

import re
from typing import Any

from graphs.context import Context
from graphs.state import Route
from graphs.understanding import dialogue
from graphs.understanding.acts import Act
from graphs.understanding.clauses import mentions, split
from graphs.understanding.heard import NOBODY, HeardTurn, ranked, verbs_of
from graphs.understanding.words import folded, tokens
from tools.intents import Intent
from tools.privacy import find_pii
from tools.values import Lane

#: So sure of a simple fact is nobody who asks more than that.
_PLAINLY = 0.8


def route_of(heard: HeardTurn, acts: tuple[Act, ...], reason: str = "") -> Route:
    """The lane of the acts, or that nobody is sure enough."""
    context = heard.context
    first = acts[0]
    intent = context.intents.get(first.intent)
    upset = heard.upset.probabilities.get("frustrated", 0.0)
    lane: Lane = "agent" if len(acts) > 1 else intent.lane
    sure = _settled(heard, first) or first.probability >= _floor(heard, first, intent)
    otherwise = ""
    abstained = False
    ours = mentions(tokens(first.text), verbs_of(context))
    if len(acts) == 1 and intent.role == "out_of_scope" and (sure or not ours):
        otherwise = "out_of_scope"
    elif len(acts) == 1 and not sure and intent.role != "incident":
        otherwise = "clarify"
        # What asks nothing finds no answer in the articles.
        abstained = heard.choice.model == NOBODY or not (
            intent.lane == "answer" or _questions(first.text)
        )
    elif len(acts) == 1 and lane == "direct" and intent.role in (None, "other_person"):
        # A fact that everybody asks for, unless the articles know nearer what was asked.
        line = _PLAINLY if intent.role is None else _MEANT
        otherwise = "direct" if first.probability < line else ""
    elif len(acts) == 1 and _asks_a_rule(heard, first, intent):
        otherwise = "advise"  # the articles first, and the case where they hold nothing of it
    furious = upset >= context.thresholds.furious
    unplaced = not first.grounds.records and (intent.problem or intent.remedy)
    if len(acts) == 1 and furious and unplaced:
        lane, otherwise, abstained = (
            "escalate",
            "",
            False,
        )  # a person is offered sooner than a question
    served = _served(heard, intent, acts, lane, otherwise)
    return Route(
        intent=intent.name,
        lane=lane,
        served=served,  # type: ignore[arg-type]
        operation=intent.operation if lane == "operation" else None,
        probability=first.probability,
        lane_probability=_lane_chance(heard, lane, first),
        candidates=ranked(heard.whole.chances),
        frustration=upset,
        complexity="several" if len(acts) > 1 else "single",
        sensitivity=sensitivity_of(heard),
        abstained=abstained,
        reason=reason or intent.description,
        tier=heard.asked.tier if heard.asked is not None else heard.choice.tier,
        acts=acts,
        otherwise=otherwise,  # type: ignore[arg-type]
    )


def _questions(text: str) -> bool:
    """Whether anything in the message is a question, and not a request put as one."""
    if dialogue.requests(text):
        return dialogue.asks_which(text)
    return "?" in text or any(dialogue.asks(clause.text) for clause in split(text))


def _settled(heard: HeardTurn, act: Act) -> bool:
    """Whether a dearer tier was asked and was sure of this: the heads' lines are not asked a second time."""
    asked = heard.asked
    if asked is None or act.intent != asked.option:
        return False
    return asked.probabilities[asked.option] >= heard.context.thresholds.small


#: With the record named, or its own word said, less will do: what would be changed is shown before it is.
_GROUNDED, _SAID = 0.65, 0.6
#: A case opens a ticket at once: about a record that is only the one there is, it has to be likelier.
_UNNAMED = 0.4
#: What changes something is hardly meant by a question that does not name it, and never by a supposition.
_ASKED, _NEVER = 0.8, 2.0


def _floor(heard: HeardTurn, act: Act, intent: Intent) -> float:
    """From where on the act is believed: the surer the ground, the sooner."""
    context = heard.context
    floor = context.thresholds.floor(intent, context.operations)
    if act.grounds.how in ("named", "picked") and act.grounds.record is not None:
        floor *= _GROUNDED
    asked = dialogue.asks(act.text) and not dialogue.requests(act.text)
    if mentions(tokens(act.text), intent.verbs) and not asked:
        floor *= _SAID
    if intent.case is not None and act.grounds.how == "only":
        floor = max(floor, _UNNAMED)
    operation = context.operations.get(intent.operation or "")
    if operation is None or not operation.writes:
        return floor
    if dialogue.supposes(act.text):
        return _NEVER  # nothing is begun that was only supposed
    if asked and not mentions(tokens(act.text), intent.verbs):
        floor = max(floor, _ASKED)
    return max(floor, context.thresholds.proposal)


#: A case that is surer than this is meant, although it is put as a question.
_MEANT = 0.6


def _asks_a_rule(heard: HeardTurn, act: Act, intent: Intent) -> bool:
    """Whether what may be a case is a question that names nothing of the customer's: "do you shorten trousers?"."""
    return (
        intent.case is not None
        and act.probability < _MEANT
        and (
            act.grounds.how not in ("named", "picked", "all", "only")
            or not (intent.problem or _DEFINITE.search(folded(act.text)))
        )
        and any(dialogue.asks(clause.text) for clause in split(heard.text))
        and not dialogue.requests(act.text)
    )


def _served(
    heard: HeardTurn, intent: Intent, acts: tuple[Act, ...], lane: Lane, otherwise: str
) -> str:
    """Which node serves a single wish, where its lane has several."""
    context, act = heard.context, acts[0]
    if otherwise:
        return "recall"  # the knowledge is asked before anything is called unclear or not ours
    if len(acts) > 1 or (lane == "escalate" and intent.role != "incident"):
        return "lane"
    if intent.role == "incident":
        return "respond_to_incident"
    if intent.role in ("waiting", "withdraw"):
        return "tell_waiting"
    operation = context.operations.get(intent.operation or "")
    if act.later and operation is not None and operation.writes:
        return "defer"
    if context.cases is None:
        return "recall" if intent.case is not None else "lane"
    if intent.case is not None:
        return "advise"
    return "advise" if _about_own(heard, intent, act) else "lane"


_DEFINITE = re.compile(
    r"\b(?:my|the|these|this|those|our|mine|mein\w*|unser\w*|dies\w*|die|das|den|dem|mes|mon|ma|mis?|mijn|mio|mia)\b"
)


def _about_own(heard: HeardTurn, intent: Intent, act: Act) -> bool:
    """Whether a question about the rules is about one thing of the customer's, as it stands now: "can I still return
    the boots"."""
    if intent.about_record is None or act.grounds.how not in ("named", "picked"):
        return False
    record = next((view for view in heard.views if view.id == act.grounds.record), None)
    states = _states_for(heard.context, intent.about_record)
    if record is None or (states and record.state not in states):
        return False
    numbered = bool(heard.said(act.text).numbers)
    return numbered or _DEFINITE.search(folded(act.text)) is not None


def _states_for(context: Context, case: str) -> tuple[str, ...]:
    """The states in which the case is usually meant."""
    return next((i.first for i in context.intents.intents if i.case == case), ())


def _lane_chance(heard: HeardTurn, lane: Lane, act: Act) -> float:
    """The chance that the lane is right: of all intents that are served there."""
    intents = heard.context.intents
    same = sum(p for name, p in heard.whole.chances.items() if intents.lane(name) == lane)
    return min(max(same, act.probability), 1.0)


def sensitivity_of(heard: HeardTurn) -> Any:
    return "personal" if find_pii(heard.text) else "normal"
