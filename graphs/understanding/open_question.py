"""What a message does to the question that is open, with the record that it names."""

from __future__ import annotations

from dataclasses import replace

from graphs.context import Context
from graphs.extraction import fields, fits, other_values
from graphs.reading.dates import When
from graphs.state import Pending, Route, SupportState
from graphs.understanding import dialogue
from graphs.understanding.acts import Act, one_each
from graphs.understanding.grounding import Grounds, Memory, ground
from graphs.understanding.heard import HeardTurn, options_of, ranked
from graphs.understanding.routes import route_of, sensitivity_of
from graphs.understanding.weighing import only_names
from tools.reading.restating import renumbered, swapped
from tools.values import Lane


def answer_to(state: SupportState, heard: HeardTurn, pending: Pending) -> Route | None:
    """What the message does to the open question; None where it is about something else."""
    context = heard.context
    operation = pending.about or pending.operation
    field = record_field(context, operation)
    kinds = (field[1],) if field is not None else ()
    asked = heard
    if pending.stage == "choice" and heard.memory.offered:
        shown = set(heard.memory.offered)
        asked = replace(heard, views=tuple(v for v in heard.views if v.id in shown))
    grounds = (
        ground(
            heard.said(heard.text),
            asked.views,
            kinds,
            lexicon=context.lexicon,
            memory=heard.memory,
            operation=operation,
            # Of the records that were offered, "the card" picks one; beside another question it answers that.
            options=() if pending.stage == "choice" else options_of(context, operation),
        )
        if kinds
        else Grounds()
    )
    if grounds.how == "focus":
        grounds = Grounds()
    plan = state.get("plan")
    planned = frozenset(
        step.name for step in (plan.steps if plan is not None else ()) if step.status == "waiting"
    )
    meant = dialogue.move(
        pending,
        dialogue.Heard(
            text=heard.text,
            chances=heard.whole.chances,
            grounds=grounds,
            fits=fits(pending, heard.text, context.operations)
            or (pending.stage == "confirm" and _says_otherwise(heard, pending)),
            asked_last=pending.asked_in == state.get("last_turn"),
            another=_another(pending, grounds),
            points=bool(heard.said(heard.text).which),
        ),
        context.intents,
        planned if pending.operation == "plan" else frozenset({operation}),
    )
    if meant == "new":
        # Who begins with a no and speaks of something else has dropped what was asked.
        return None
    if meant == "continue" and grounds.together and operation in context.operations:
        act = Act(intent=_serving(context, operation, heard), probability=1.0, text=heard.text)
        return route_of(heard, one_each(act, grounds)).model_copy(update={"replaces": True})
    best = heard.whole.best
    act = Act(intent=best, probability=heard.whole.chance, text=heard.text, grounds=grounds)
    lane: Lane = "agent" if pending.operation == "plan" else "operation"
    if pending.operation == "hand_off":
        lane = "operation"
    return Route(
        intent=best,
        lane="direct" if meant in ("decline", "leave") else lane,
        operation=pending.operation,
        move=meant,
        probability=heard.whole.chance,
        lane_probability=heard.whole.chance,
        candidates=ranked(heard.whole.chances),
        frustration=heard.upset.probabilities.get("frustrated", 0.0),
        sensitivity=sensitivity_of(heard),
        reason=f"the customer was asked about {pending.operation}",
        tier=heard.choice.tier,
        acts=(act,),
    )


def _says_otherwise(heard: HeardTurn, pending: Pending) -> bool:
    """Whether the words hold another value than one that was shown."""
    if swapped(pending.arguments, heard.text) or renumbered(pending.arguments, heard.text):
        return True
    operation = heard.context.operations.get(pending.operation)
    if operation is None:
        return False
    when = When(heard.context.clock.now())
    return bool(other_values(operation, pending.arguments, heard.text, when))


def _another(pending: Pending, grounds: Grounds) -> bool:
    """Whether a record was named that the question is not about."""
    record = grounds.record
    return (
        record is not None
        and grounds.how in ("named", "picked")
        and pending.stage == "confirm"
        and record not in [str(value) for value in pending.arguments.values()]
    )


def case_asked(heard: HeardTurn, pending: Pending) -> Route | None:
    """The answer to the question which record a problem is about."""
    context = heard.context
    intent = str(pending.arguments.get("intent", ""))
    if pending.stage != "choice" or intent not in context.intents.names:
        return None
    shown = set(heard.memory.offered) or {str(v) for c in pending.candidates for v in c.values()}
    views = tuple(view for view in heard.views if view.id in shown)
    kinds = {view.kind for view in views}
    memory = Memory(offered=heard.memory.offered)
    said, lexicon = heard.said(heard.text), context.lexicon
    found = ground(said, views, kinds, lexicon=lexicon, memory=memory)
    if found.record is None:  # Not of those that were shown, but theirs all the same.
        every = [view for view in heard.views if view.kind in kinds]
        found = ground(said, every, kinds, lexicon=lexicon, memory=Memory())
    if found.record is None and not found.together:
        return None
    act = Act(
        intent=intent,
        probability=1.0,
        text=f"{pending.arguments['words']}\n{heard.text}",
        grounds=found,
    )
    acts = one_each(act, found) if found.together else (act,)
    return route_of(heard, acts).model_copy(update={"replaces": True})


def _serving(context: Context, operation: str, heard: HeardTurn) -> str:
    """The likeliest intent that the operation serves."""
    able = [i.name for i in context.intents.intents if i.operation == operation]
    return max(able, key=lambda name: heard.whole.chances.get(name, 0.0), default=heard.whole.best)


def clarified(asked: Pending, heard: HeardTurn) -> str | None:
    """The intent that was picked from the clarifying question."""
    if dialogue.holds_off(heard.text):
        return None
    names = [str(candidate["intent"]) for candidate in asked.candidates]
    said = heard.said(heard.text)
    for which in said.which:
        if isinstance(which, int) and 0 < which <= len(names):
            return names[which - 1]
    yes = sum(heard.whole.chances.get(n, 0.0) for n in heard.context.intents.of_role("affirm"))
    if yes >= dialogue.YES and len(names) == 1:
        return names[0]
    if only_names(heard.text, heard.views):
        about = [n for n in names if heard.grounds(n, heard.text).record is not None]
        single = [n for n in about if heard.context.intents.get(n).one is None]
        if single or about:
            return (single or about)[0]
    likely = [name for name in names if heard.whole.chances.get(name, 0.0) >= dialogue.ANOTHER]
    return likely[0] if len(likely) == 1 else None


def record_field(context: Context, operation: str) -> tuple[str, str] | None:
    """The argument that names the operation's record, and the record's kind."""
    known = context.operations.get(operation)
    if known is None:
        return None
    return next(((f.name, f.record) for f in fields(known) if f.record), None)
