"""What a turn means: incidents first, then the open question, then what is new, each wish with its record."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from functools import partial

from graphs.apart import apart
from graphs.choices import choices_of
from graphs.context import Context
from graphs.extraction import fields
from graphs.state import Pending, Route, SupportState
from graphs.understanding import dialogue
from graphs.understanding.acts import MOST_ACTS, Act, Read, one_each, problem_in, wishes
from graphs.understanding.conditions import fails
from graphs.understanding.grounding import Grounds, ground, means_all, with_item
from graphs.understanding.heard import NOBODY, HeardTurn
from graphs.understanding.open_question import answer_to, case_asked
from graphs.understanding.routes import route_of
from graphs.understanding.weighing import only_names
from graphs.understanding.words import folded
from tools.values import Operation


async def choose(state: SupportState, heard: HeardTurn, pending: Pending | None) -> Route:
    """Incidents first, then the open question, then what is new."""
    if (incident := _incident_act(heard)) is not None:
        return route_of(heard, (incident,), reason="an incident comes before everything else")
    if pending is not None:
        case = case_asked(heard, pending)
        answered = case if case is not None else answer_to(state, heard, pending)
        if answered is not None:
            return answered
        if pending.arguments.get("intent") is not None or (
            pending.stage == "confirm" and dialogue.says_no(heard.text)
        ):
            # Which record a problem is about is not asked again once the customer speaks of something else.
            return (await _new(heard, state.get("wanted", ""))).model_copy(
                update={"replaces": True}
            )
    return await _new(heard, state.get("wanted", ""))


#: So sure must the head for incidents be to carry an intent that only half says so.
_SURE_INCIDENT = 0.95


def _incident_act(heard: HeardTurn) -> Act | None:
    """The incident that is told, where the heads or the domain's own words for it say so."""
    context = heard.context
    names = context.intents.of_role("incident")
    if not names:
        return None
    chances = {name: heard.whole.chances.get(name, 0.0) for name in names}
    for part in heard.parts:
        chances = {
            name: max(chance, part.chances.get(name, 0.0)) for name, chance in chances.items()
        }
    certain = context.cases.certain_in(heard.text) if context.cases is not None else None
    if certain in names:
        return Act(intent=certain, probability=1.0, text=heard.text, grounds=_any_record(heard))
    named = context.cases.incident_in(heard.text) if context.cases is not None else None
    best = max(chances, key=chances.__getitem__)
    # As the head said it: what a record named or a word said does to the wishes makes nothing an incident.
    sure = sum(heard.choice.probabilities.get(name, 0.0) for name in names)
    thresholds = context.thresholds
    if named is not None:
        # The domain's own words for it and either head: an incident is rather heard once too often.
        if max(sure, heard.incident / 2) < thresholds.incident_named:
            return None
    elif sure < thresholds.incident and not (
        sure >= thresholds.incident / 2 and heard.incident >= _SURE_INCIDENT
    ):
        return None
    kind = named if named in chances and chances[best] < 0.5 else best
    assert kind is not None
    return Act(
        intent=kind,
        probability=min(max(sure, chances[kind]), 1.0),
        text=heard.text,
        grounds=_any_record(heard),
    )


def _any_record(heard: HeardTurn) -> Grounds:
    """The one record that a message names, whatever it wants of it."""
    kinds = {view.kind for view in heard.views if view.items and view.parent is None}
    found = ground(
        heard.said(heard.text),
        heard.views,
        kinds,
        lexicon=heard.context.lexicon,
        memory=heard.memory,
    )
    return found if found.record is not None else Grounds()


async def _new(heard: HeardTurn, wanted: str = "") -> Route:
    """The wishes of a message that answers nothing, each with what it is about."""
    heard = _without_alarm(heard)
    context = heard.context
    if (again := _agreed_to(heard, wanted)) is not None:
        return route_of(heard, (again,), reason="a yes to what a case was said to")
    several = heard.several.probabilities.get("several", 0.0)
    called = [word for words in context.lexicon.kinds.values() for word in words]
    wished = partial(
        wishes,
        heard.whole,
        heard.parts,
        several,
        context.intents,
        context.thresholds.several,
        called=called,
        numbers=lambda text: [*(said := heard.said(text)).numbers, *said.foreign],
    )
    found = await apart(heard.text, wished)
    acts = await apart(
        heard.text, lambda: [act for one in found for act in _acts(heard, one, wanted)]
    )
    acts = _as_asked_for(heard, acts)
    spread = [one for act in _one_question(acts, context) for one in await _spread(heard, act)]
    route = await apart(heard.text, lambda: route_of(heard, tuple(spread[:MOST_ACTS])))
    route = _within_case(heard, route, wanted)
    both = _with_rule(heard, route)
    return await apart(heard.text, lambda: route_of(heard, both)) if both else route


def _as_asked_for(heard: HeardTurn, acts: Sequence[Act]) -> list[Act]:
    """The acts without the changes whose condition does not hold for their record; one of those is all that is left
    where nothing else was asked, and is not done."""
    context = heard.context
    states = {view.id: view for view in heard.views}

    def stands(act: Act) -> bool:
        operation = context.operations.get(context.intents.get(act.intent).operation or "")
        record = states.get(act.grounds.record or "")
        if not act.conditional or operation is None or not operation.writes or record is None:
            return True
        return not fails(act.text, record, context.lexicon)

    left = [act for act in acts if stands(act)]
    return left or [act.model_copy(update={"later": True}) for act in acts[:1]]


def _one_question(acts: Sequence[Act], context: Context) -> list[Act]:
    """Neighbouring questions to the articles are looked up together, part by part."""
    joined: list[Act] = []
    for act in acts:
        last = joined[-1] if joined else None
        lanes = {context.intents.lane(one.intent) for one in (last, act) if one is not None}
        if last is None or lanes != {"answer"} or last.later or act.later:
            joined.append(act)
        elif last.text != act.text:
            joined[-1] = last.model_copy(update={"text": f"{last.text} {act.text}"})
    return joined


#: A question that may be about a record and about a rule is answered by both: so unsure must the record be, and so
#: likely the rule.
_RECORD_ONLY, _RULE_TOO = 0.75, 0.15


def _with_rule(heard: HeardTurn, route: Route) -> tuple[Act, ...]:
    """A look-up that is not surely all that is asked for, with the rule that may be meant: "with my plan, how many
    repairs are free". Nothing where the look-up is all."""
    act = route.act
    if act is None or len(route.acts) != 1 or route.otherwise:
        return ()
    if not dialogue.asks_which(act.text) or act.probability >= _RECORD_ONLY:
        return ()
    context = heard.context
    operation = context.operations.get(context.intents.get(act.intent).operation or "")
    rules = [name for name in heard.whole.chances if context.intents.lane(name) == "answer"]
    if operation is None or operation.writes or not rules or dialogue.requests(act.text):
        return ()
    rule = max(rules, key=heard.whole.chances.__getitem__)
    chance = heard.whole.chances[rule]
    if chance < _RULE_TOO:
        return ()
    return act, Act(intent=rule, probability=chance, text=act.text, beside=True)


#: An incident that neither head half believes is none, even where nothing else is likelier.
_HALF_ALARMED, _HALF_SAID = 0.4, 0.3


def _without_alarm(heard: HeardTurn) -> HeardTurn:
    """The turn without incidents that nobody half believes: a jacket that never came is no hijacked account."""
    names = heard.context.intents.of_role("incident")
    said = sum(heard.choice.probabilities.get(name, 0.0) for name in names)
    if heard.incident >= _HALF_ALARMED or said >= _HALF_SAID:
        return heard
    left = {name: 0.0 if name in names else p for name, p in heard.whole.chances.items()}
    return replace(heard, whole=replace(heard.whole, chances=left)) if any(left.values()) else heard


def _agreed_to(heard: HeardTurn, wanted: str) -> Act | None:
    """A yes that answers no question: it is about the case that was told, or takes what the reply offered."""
    intents = heard.context.intents
    if wanted not in intents.names or intents.get(heard.whole.best).role != "affirm":
        return None
    meant = intents.get(wanted).then or (wanted if intents.get(wanted).case is not None else None)
    if meant is None:
        return None
    grounds = heard.grounds(meant, heard.text)
    return Act(intent=meant, probability=heard.whole.chance, text=heard.text, grounds=grounds)


def _within_case(heard: HeardTurn, route: Route, wanted: str) -> Route:
    """What stays unclear right after a case was told is still about it: the articles are asked, then the case."""
    intents = heard.context.intents
    further = wanted in intents.names and _asks_further(heard, route, wanted)
    if further:
        route = route.model_copy(update={"served": "recall", "otherwise": "clarify"})
    if route.otherwise != "clarify" or wanted not in intents.names:
        return route
    if intents.get(wanted).case is None:
        return route
    if not further and intents.get(route.intent).role not in (None, "courtesy", "help"):
        return route
    act = Act(
        intent=wanted,
        probability=route.probability,
        text=heard.text,
        grounds=heard.grounds(wanted, heard.text),
    )
    if heard.choice.model == NOBODY:
        return route
    if route.abstained:  # It asks nothing, so the articles hold nothing for it.
        told = {"acts": (act,), "intent": wanted, "otherwise": "", "abstained": False}
        return route.model_copy(update={**told, "lane": "operation", "served": "advise"})
    return route.model_copy(update={"acts": (act,), "otherwise": "advise"})


#: Another case that is surer than this is meant, although it is put as a question.
_ANOTHER_CASE = 0.8
#: A look-up that is surer than this is wanted, although a case was just told.
_LOOKED_UP = 0.65


def _asks_further(heard: HeardTurn, route: Route, wanted: str) -> bool:
    """Whether a question right after a case was told asks how it goes on, rather than for another case of the same
    record or for the record: "since when is it considered lost?", "and what happens then?"."""
    intents, act = heard.context.intents, route.act
    if intents.get(wanted).case is None or act is None or len(route.acts) > 1 or route.otherwise:
        return False
    intent = intents.get(act.intent)
    if intent.name == wanted or act.grounds.how in ("named", "picked", "all"):
        return False
    if dialogue.requests(act.text) or not (
        dialogue.asks(act.text) and dialogue.asks_which(act.text)
    ):
        return False
    operation = heard.context.operations.get(intent.operation or "")
    looked_up = operation is not None and not operation.writes and act.probability < _LOOKED_UP
    return looked_up or (intent.case is not None and act.probability < _ANOTHER_CASE)


async def _spread(heard: HeardTurn, act: Act) -> list[Act]:
    """A change of "everything that ..." is one act a record that the rules allow it for; a look-up that few records
    fit alike is one act each."""
    context = heard.context
    operation = context.operations.get(context.intents.get(act.intent).operation or "")
    if operation is not None and not operation.writes:
        return _all_looked_up(heard, act, operation)
    if operation is None or not means_all(heard.said(act.text)):
        return [act]
    kept = _left_out(heard, act)
    if {*act.grounds.records} - kept or act.grounds.foreign or heard.said(heard.text).numbers:
        # Whoever names a record, one of their own or somebody else's, does not mean all.
        return [act]
    able = [id for id in await choices_of(context, operation, {}) if id not in kept]
    if not able or (len(able) < 2 and not kept):
        return [act]
    grounds = Grounds(
        kind=next(iter(context.intents.get(act.intent).records), ""),
        records=tuple(able),
        together=len(able) > 1,
        how="all",
    )
    if len(able) == 1:
        return [act.model_copy(update={"grounds": grounds})]
    return list(one_each(act, grounds))


#: Of so many records a look-up tells all; of more it is asked which one is meant.
_AT_ONCE = 3


def _all_looked_up(heard: HeardTurn, act: Act, operation: Operation) -> list[Act]:
    """A look-up that several records fit alike is one act each: nobody is asked which of two contracts is meant, where
    both are told in a breath."""
    grounds = act.grounds
    kind = next((field.record for field in fields(operation) if field.record), None)
    if kind is None or grounds.record is not None or grounds.foreign or grounds.missing:
        return [act]
    fitting = grounds.records
    if not fitting and not heard.context.intents.get(act.intent).first:
        fitting = tuple(
            view.id
            for view in heard.views
            if view.kind == kind and view.open and view.allowed(operation.name)
        )
    if not 1 < len(fitting) <= _AT_ONCE:
        return [act]
    return list(one_each(act, grounds.model_copy(update={"kind": kind, "records": fitting})))


_EXCEPT = re.compile(
    r"\b(?:except(?: for)?|but not|apart from|other than|besides|ausser|bis auf|ohne|sauf|excepto|salvo|tranne|behalve)\b(.+)"
)


def _left_out(heard: HeardTurn, act: Act) -> set[str]:
    """The records that "everything except ..." leaves as they are."""
    left = {*heard.said(act.text).excluded, *heard.said(heard.text).excluded}
    if (named := _EXCEPT.search(folded(act.text))) is not None:
        left.update(heard.grounds(act.intent, named[1]).records)
    return left


def _told_before(wanted: str, intent: str, context: Context) -> str:
    """The problem that was talked about when its remedy is asked for now."""
    intents = context.intents
    told = wanted in intents.names and intents.get(wanted).problem
    return wanted if told and intents.get(intent).remedy else ""


def _acts(heard: HeardTurn, one: Read, wanted: str) -> list[Act]:
    """The act of one wish; one each where it is about several records."""
    context = heard.context
    intent = _fitting(heard, one)
    words = one.clause.text
    grounds = heard.grounds(intent, words)
    if not grounds.records and words != heard.text and not grounds.foreign:
        # "Cancel the tent order and send me the invoice for it": the rest of the message says of what.
        grounds = heard.grounds(intent, heard.text)
    elif grounds.record is not None and not grounds.parts and words != heard.text:
        # "Can the mat be taken out? I want to keep the tent": what stays is said beside the wish.
        rest = heard.grounds(intent, heard.text)
        if rest.record == grounds.record and rest.parts and dialogue.keeps(heard.text):
            grounds = rest
    single = context.intents.get(intent).one
    shown = grounds.how == "picked" or only_names(words, heard.views)
    if single is not None and grounds.record is not None and shown:
        intent = single  # one of the list that was shown
    if one.clause.later and (problem := problem_in(heard.whole.chances, context.intents, intent)):
        intent = problem  # "if it isn't here by tomorrow I want my money back": today it is late
    grounds = with_item(grounds, heard.views)
    act = Act(
        intent=intent,
        probability=max(
            one.chances.get(intent, 0.0),
            one.chance if one.clause.later or intent == single else 0.0,
        ),
        text=words,
        grounds=grounds,
        conditional=one.clause.conditional,
        later=one.clause.later,
        reason=problem_in(heard.whole.chances, context.intents, intent)
        or _told_before(wanted, intent, context),
    )
    return list(one_each(act, grounds)) if grounds.together else [act]


def _fitting(heard: HeardTurn, one: Read) -> str:
    """The likeliest intent that the named record allows: a refund's number is not an order's status."""
    kinds = {view.id: view.kind for view in heard.views}
    numbers = [n for n in heard.said(one.clause.text).numbers if n in kinds]
    best = one.best
    if not numbers:
        return best
    wanted = {kinds[number] for number in numbers}
    parents = {view.id: view.parent for view in heard.views}
    related = wanted | {kinds[p] for n in numbers if (p := parents.get(n)) in kinds and p}
    records = set(heard.context.intents.get(best).records)
    if not records or records & related or records & _children(heard, numbers):
        return best
    able = {
        name: chance
        for name, chance in one.chances.items()
        if set(heard.context.intents.get(name).records) & wanted
    }
    close = max(able, key=able.__getitem__, default=best)
    return close if able.get(close, 0.0) >= 0.02 else best


def _children(heard: HeardTurn, numbers: Sequence[str]) -> set[str]:
    return {view.kind for view in heard.views if view.parent in numbers}
