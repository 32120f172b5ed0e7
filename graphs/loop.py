"""Plan, act, observe, evaluate. The LLM plans once; the small model judges each step; every step that
writes goes through the action graph."""

from __future__ import annotations

import re
import time
from collections.abc import Mapping, Sequence
from typing import Any, Literal, cast

from langgraph.graph import END, START, StateGraph
from langgraph.runtime import Runtime
from pydantic import JsonValue

import prompts
from graphs import replies
from graphs.context import Context
from graphs.deciding import by_rule, decided, log, ms_since
from graphs.deciding import decision as decided_by
from graphs.judging import (
    Evaluation,
    believed,
    evaluator_input,
    guard,
    judged,
    next_step,
    writes,
)
from graphs.keys import same_request
from graphs.nodes.advise import advice_of, waiting_of
from graphs.nodes.answer import LookUpFailed, answering, best_quotes, foreword, near_enough
from graphs.nodes.converse import transcript
from graphs.nodes.extract import grounded, pick, picked_by, read_arguments, reason_of
from graphs.nodes.operation import carry_out, propose, what_next
from graphs.nodes.result import implausible, log_implausible
from graphs.nodes.turn import offer_hand_off, top
from graphs.orders import for_a_prompt
from graphs.planning import ANSWER, as_often_as_named, named_for, narrowed, question_in
from graphs.speaking import SpeakingGraph
from graphs.state import Draft, Next, Pending, Plan, Step, SupportState, Turn
from graphs.understanding.acts import Act
from tools.decisions import Decision
from tools.ports import BackendUnavailable, PortError
from tools.values import OperationFailed, Outcome, Preview


def loop_graph(
    input_schema: type[Any] = SupportState,
) -> StateGraph[SupportState, Context, Any, SupportState]:
    """The agent lane, as a graph of its own."""
    graph = SpeakingGraph(SupportState, context_schema=Context, input_schema=input_schema)
    graph.add_node(plan)
    graph.add_node(prepare)
    graph.add_node(confirm_plan)
    graph.add_node(act)
    graph.add_node(observe)
    graph.add_node(evaluate)
    graph.add_node(compose)
    graph.add_node(give_up)
    graph.add_conditional_edges(START, where_to_begin)
    graph.add_conditional_edges("plan", after_plan)
    graph.add_conditional_edges("prepare", after_prepare)
    graph.add_edge("confirm_plan", END)
    graph.add_edge("act", "observe")
    graph.add_conditional_edges("observe", after_observe)
    graph.add_conditional_edges("evaluate", after_evaluate)
    graph.add_edge("compose", END)
    graph.add_edge("give_up", END)
    return graph


# --- nodes --------------------------------------------------------------------------------------


async def plan(state: SupportState, runtime: Runtime[Context]) -> dict[str, Any]:
    """The LLM turns the request into steps; what it may name is a closed set."""
    context, turn, previous = runtime.context, state["turn"], state.get("plan")
    again = state.get("next_move") == "replan" and previous is not None
    if previous is not None and not previous.confirmed and not again:
        previous = None  # never begun: the customer asks for something else now
    route = state.get("route")
    if route is not None and len(route.acts) > 1 and not again:
        return {"plan": _of_acts(route.acts, previous, turn, context)}
    goal = previous.goal if again and previous is not None else turn.text
    # Without new steps a plan that failed is reported, and one that still waits is kept.
    unplanned = {"plan": previous, "next_move": "escalate" if again else "unplanned"}
    calls = state.get("llm_calls", 0) + 1
    try:
        steps = await decided(runtime, "planner", lambda who: _planned(state, who, goal, previous))
    except PlannerFailed as error:
        return {
            **unplanned,
            "llm_calls": calls,
            "degraded": (*state.get("degraded", ()), f"planner: {error}"),
        }
    if not steps:
        return {**unplanned, "llm_calls": calls}
    begun = previous.steps if previous is not None else ()
    if again:
        # Tried is tried: what failed, or may have happened, is not repeated under another key.
        begun = tuple(s for s in begun if s.status != "waiting")
        steps = [n for n in steps if n not in {s.name for s in begun}]
        if not steps:
            return {**unplanned, "llm_calls": calls}
    else:
        # What an earlier request still waits for stays part of the plan.
        begun = tuple(s for s in begun if s.status in ("waiting", "pending"))
    return {
        "plan": Plan(
            request=previous.request if again and previous is not None else turn.id,
            goal=goal,
            steps=(
                *begun,
                *(Step(name=n, writes=n != ANSWER and context.operations[n].writes) for n in steps),
            ),
            confirmed=False,
            replans=previous.replans + 1 if again and previous is not None else 0,
        ),
        "llm_calls": calls,
    }


def _of_acts(acts: Sequence[Act], previous: Plan | None, turn: Turn, context: Context) -> Plan:
    """A turn that was understood as several wishes is its own plan; what still waits of an earlier one stays."""
    kept = () if previous is None else previous.steps
    begun = tuple(s for s in kept if s.status in ("waiting", "pending"))
    return Plan(
        request=turn.id,
        goal=turn.text,
        steps=(*begun, *(_step_of(act, context) for act in acts)),
        understood=True,
    )


def _step_of(act: Act, context: Context) -> Step:
    intent = context.intents.get(act.intent)
    operation = context.operations.get(intent.operation or "")
    if operation is not None and not act.later:
        return Step(name=operation.name, writes=operation.writes, act=act)
    if intent.case is not None:
        return Step(name=intent.case, kind="case", act=act)
    if intent.role in ("waiting", "withdraw"):
        return Step(name=intent.role, kind=intent.role, act=act)
    if intent.lane == "answer" or intent.role == "out_of_scope":
        case = intent.about_record if act.grounds.how in ("named", "picked") else None
        if case is not None and act.grounds.record is not None:
            return Step(name=case, kind="case", act=act)
        return Step(name=ANSWER, kind="answer", act=act)
    return Step(name=intent.name, kind="talk", act=act)


class PlannerFailed(PortError):
    """The planner did not answer, and that is in the log."""


async def _planned(
    state: SupportState, runtime: Runtime[Context], goal: str, previous: Plan | None
) -> list[str]:
    """The steps that the planner names, logged. Raises PlannerFailed."""
    context, started = runtime.context, time.perf_counter()
    names = [*(n for n in context.operations if n != "hand_off"), ANSWER]
    asking = prompts.load("planner")
    messages = asking.messages(
        shop=replies.business(),
        today=context.clock.today().isoformat(),
        max_steps=context.limits.plan_steps,
        operations="\n".join(
            [
                *(f"- {op.name}: {op.summary}" for op in context.operations.values()),
                f"- {ANSWER}: look a question up in the knowledge base.",
            ]
        ),
        history=transcript(state, context),
        message=goal,
        observations="\n".join(
            [
                f"{s.name}: {s.status} {await for_a_prompt(context, s.note)}"
                for s in (previous.steps if previous else ())
            ]
        ),
    )
    schema = {
        "type": "object",
        "properties": {
            "steps": {
                "type": "array",
                "items": {"enum": names},
                "minItems": 1,
                "maxItems": context.limits.plan_steps,
            }
        },
        "required": ["steps"],
        "additionalProperties": False,
    }
    narrow = await narrowed(runtime, state, goal)
    try:
        filled = await context.large.fill(
            "planner", messages.system, messages.user, schema, bare=goal, narrow=narrow
        )
    except PortError as error:
        nothing = by_rule("planner", "nothing", str(error), abstained=True, ms=ms_since(started))
        await log(runtime, state, nothing, input=goal)
        raise PlannerFailed(str(error)) from error
    proposed = filled.values.get("steps")
    steps = [str(s) for s in proposed if s in names] if isinstance(proposed, list) else []
    steps = as_often_as_named(steps, goal, context)[: context.limits.plan_steps]
    await log(
        runtime,
        state,
        Decision(
            role="planner",
            chosen=", ".join(steps) or "nothing",
            probability=filled.probability,
            abstained=not steps,
            tier="large",
            model=filled.model,
            adapter=filled.adapter,
            prompt="" if filled.adapter else asking.version,
            ms=filled.ms,
        ),
        input=goal,
    )
    return steps


async def prepare(state: SupportState, runtime: Runtime[Context]) -> dict[str, Any]:
    """Find every step's record and arguments before anything is changed. What only tells something is told first;
    then one question at a time is asked for what is missing."""
    context, current, pending = runtime.context, state.get("plan"), top(state)
    assert current is not None
    answers = state["turn"].outcome is None
    answered = pending if answers and pending is not None and pending.operation == "plan" else None
    steps = list(current.steps)
    shared: dict[str, Any] = {}
    question: tuple[int, Next, dict[str, JsonValue]] | None = None
    for index, step in enumerate(steps):
        if step.status != "waiting" or step.name not in context.operations:
            continue
        operation = context.operations[step.name]
        arguments = await _arguments_of(state, runtime, steps, index, current, answered, shared)
        act = step.act
        following = await what_next(
            context,
            operation,
            arguments,
            act.text if act is not None else current.goal,
            confirmed=None,
            among=act.grounds.records
            if act is not None and len(act.grounds.records) > 1 and not step.arguments
            else (),
            contradiction=act.grounds.missing if act is not None and not step.arguments else "",
        )
        if following.step in ("ask", "choose"):
            steps[index] = step.model_copy(update={"open": True})
            if question is None:
                question = index, following, arguments
            continue
        if following.step == "refuse" and not _after_a_write(steps, index, context):
            steps[index] = step.model_copy(
                update={"status": "failed", "note": following.question, "arguments": arguments}
            )
            continue
        completed = following.arguments or arguments
        shared |= {k: v for k, v in completed.items() if k.endswith("_number") and v}
        steps[index] = step.model_copy(
            update={
                "arguments": completed,
                "label": following.label or step.label,
                "open": False,
                "effects": following.effects,
            }
        )
    current = current.model_copy(update={"steps": tuple(steps)})
    tells_first = not current.confirmed and next_step(current, context) is not None
    if question is None or tells_first:
        return {"plan": current, "pending": _others(state), "draft": None}
    return _asked(state, current, question, answered)


async def _arguments_of(
    state: SupportState,
    runtime: Runtime[Context],
    steps: list[Step],
    index: int,
    current: Plan,
    answered: Pending | None,
    shared: Mapping[str, Any],
) -> dict[str, JsonValue]:
    """What is known of a step: its answer, its own words, and what steps before it were about."""
    context, step = runtime.context, steps[index]
    operation = context.operations[step.name]
    known = set(operation.arguments.model_fields)
    if answered is not None and answered.step == index:
        arguments = {**step.arguments, **await _given(state, runtime, answered)}
    elif step.arguments:
        arguments = step.arguments
    elif step.act is not None:
        found, _, _ = await read_arguments(state, runtime, operation, step.act.text)
        arguments = grounded(operation, found, step.act.grounds)
        arguments |= reason_of(operation, step.act, arguments, context)
    else:
        found, _, _ = await read_arguments(state, runtime, operation, current.goal)
        arguments = {**found, **named_for(steps, index, operation, current.goal)}
    # Steps of one request are about the same records unless the customer says otherwise.
    return {**{k: v for k, v in shared.items() if k in known}, **arguments}


def _asked(
    state: SupportState,
    current: Plan,
    question: tuple[int, Next, dict[str, JsonValue]],
    answered: Pending | None,
) -> dict[str, Any]:
    """The one question that the plan needs answered now; a question asked in vain three times ends it."""
    index, following, arguments = question
    same = answered is not None and (answered.step, answered.field) == (index, following.field)
    attempts = answered.attempts if answered is not None else 0
    if same and attempts >= 2:
        return {"plan": None, "draft": None}
    steps = list(current.steps)
    steps[index] = steps[index].model_copy(update={"arguments": arguments})
    current = current.model_copy(update={"steps": tuple(steps)})
    pending = Pending(
        request=current.request,
        operation="plan",
        stage="choice" if following.step == "choose" else "field",
        arguments=arguments,
        field=following.field,
        step=index,
        about=steps[index].name,
        candidates=following.candidates,
        question=following.question,
        asked_in=state["turn"].id,
        attempts=attempts + 1 if same else 0,
    )
    return {
        "plan": _told(current),
        "pending": (*_others(state), pending),
        "draft": Draft(
            text="\n\n".join([*untold(current), following.question]),
            asks=True,
            tells=finished(current),
        ),
    }


async def confirm_plan(state: SupportState, runtime: Runtime[Context]) -> dict[str, Any]:
    """One confirmation for the whole plan, naming each record."""
    current = state.get("plan")
    assert current is not None
    question = replies.plan_confirmation(current, runtime.context.operations)
    pending = Pending(
        request=current.request,
        operation="plan",
        stage="confirm",
        question=question,
        asked_in=state["turn"].id,
    )
    # A plan made anew first says what became of the old one: a no must not swallow it.
    text = "\n\n".join([*untold(current), question])
    return {
        "plan": _told(current),
        "pending": (*_others(state), pending),
        "draft": Draft(text=text, asks=True, tells=finished(current)),
    }


async def act(state: SupportState, runtime: Runtime[Context]) -> dict[str, Any]:
    """Run the next step: an operation through the gate, or a look into the knowledge base."""
    context, current = runtime.context, state.get("plan")
    assert current is not None
    if _agreed(state) or not any(
        s.open or writes(s, context) for s in current.steps if s.status == "waiting"
    ):
        current = current.model_copy(update={"confirmed": True})
    index = next_step(current, context)
    if index is None:  # confirmed, but every step waits for an approval that is still out
        return {"plan": current, "outcome": None, "pending": _others(state)}
    step = current.steps[index]
    if step.name not in context.operations:
        done = step.model_copy(
            update={"status": "done", "note": await _told_of(runtime, state, current, step)}
        )
        return {"plan": _with(current, index, done), "outcome": None, "pending": _others(state)}
    operation = context.operations[step.name]
    try:
        preview: Preview = await context.backend.preview(
            context.customer, operation, operation.arguments.model_validate(step.arguments)
        )
    except (OperationFailed, BackendUnavailable) as error:
        note = replies.backend_down() if isinstance(error, BackendUnavailable) else str(error)
        failed = step.model_copy(update={"status": "failed", "note": note})
        return {"plan": _with(current, index, failed), "outcome": None, "pending": _others(state)}
    action = propose(
        context,
        operation,
        {**step.arguments, **preview.arguments},
        request=f"{current.request}:{index}",
        turn=state["turn"].id,
        label=preview.record or step.label,
        effects=preview.effects,
    )
    outcome = await carry_out(runtime, operation, action)
    acted = step.model_copy(
        update={
            "action_id": action.id,
            "arguments": action.arguments,
            "label": action.label,
            "effects": action.effects,
        }
    )
    return {"plan": _with(current, index, acted), "outcome": outcome, "pending": _others(state)}


def _agreed(state: SupportState) -> bool:
    """Whether this turn's yes is for the plan as it is: the question goes with the first step, so that a plan made
    anew in the same turn has none."""
    route = state.get("route")
    if route is None or route.move != "confirm" or route.operation != "plan":
        return False
    return any(p.operation == "plan" and p.stage == "confirm" for p in state.get("pending", ()))


async def _told_of(
    runtime: Runtime[Context], state: SupportState, current: Plan, step: Step
) -> str:
    """What is said to a wish that no operation serves."""
    act, context = step.act, runtime.context
    if step.kind == "answer" or act is None:
        asked = act.text if act is not None else None
        return await _look_up(
            runtime, state, current, asked, optional=act is not None and act.beside
        )
    if step.kind == "case":
        return await advice_of(state, runtime, step.name, act)
    if step.kind in ("waiting", "withdraw"):
        return await waiting_of(state, runtime, act, withdraw=step.kind == "withdraw")
    return replies.direct(act.intent, context)


async def observe(state: SupportState, runtime: Runtime[Context]) -> dict[str, Any]:
    """Write down what the step came to, in words for the customer."""
    context, current = runtime.context, state.get("plan")
    outcome = state.get("outcome") or state["turn"].outcome
    assert current is not None
    if outcome is None:
        return {}
    for index, step in enumerate(current.steps):
        if same_request(step.action_id, outcome.action_id):
            operation = context.operations[step.name]
            if (problem := implausible(operation, outcome)) is not None:
                await log_implausible(runtime, state, outcome, problem)
            return {"plan": _with(current, index, observed(step, outcome, context))}
    return {}


async def evaluate(state: SupportState, runtime: Runtime[Context]) -> dict[str, Any]:
    """Small models say how to go on; rules keep them from stopping early or going round in circles."""
    current = state.get("plan")
    assert current is not None
    move, problem = await decided(runtime, "evaluator", lambda who: _evaluated(state, who, current))
    return {"next_move": move, "degraded": (*state.get("degraded", ()), *problem)}


async def _evaluated(
    state: SupportState, runtime: Runtime[Context], current: Plan
) -> tuple[Evaluation, tuple[str, ...]]:
    """The way to go on, logged, and what kept the models from saying it."""
    context, started = runtime.context, time.perf_counter()
    last = [s for s in current.steps if s.status != "waiting"][-1:]
    left = sum(s.status == "waiting" for s in current.steps)
    if current.understood:
        # Each wish stands for itself: what came of one says nothing of whether to go on with the next.
        return guard(None, current, context), ()
    last = [s.model_copy(update={"note": await for_a_prompt(context, s.note)}) for s in last]
    try:
        choice = await judged(context, current.goal, last[0] if last else None, left)
    except PortError as error:
        fallback = guard(None, current, context)
        logged = by_rule("evaluator", fallback, str(error), abstained=True, ms=ms_since(started))
        problem = (f"evaluator: {error}",)
    else:
        sure = believed(choice, context.thresholds)
        wanted = cast("Evaluation", choice.option)
        fallback = guard(wanted if sure else None, current, context)
        reason = "" if fallback == choice.option else f"{choice.option} overruled: {fallback}"
        logged = decided_by("evaluator", choice, abstained=not sure, reason=reason)
        problem = ()
    read = evaluator_input(current.goal, last[0] if last else None, left)
    await log(runtime, state, logged, input=read)
    return fallback, problem


async def compose(state: SupportState, runtime: Runtime[Context]) -> dict[str, Any]:
    """Report every step; a plan that waits for an approval is kept for when it comes."""
    current, context = state.get("plan"), runtime.context
    assert current is not None
    outcome, news = state["turn"].outcome, state.get("draft")
    parts = untold(current, besides=outcome)
    if outcome is not None and news is not None:
        parts.insert(0, news.text)
    if held := replies.plan_waiting(current, context.operations):
        parts.append(held)
    waits = any(s.status == "waiting" for s in current.steps)
    return {
        "plan": _told(current) if waits else None,
        "pending": _others(state),
        "draft": Draft(text="\n\n".join(parts), tells=finished(current)),
    }


async def give_up(state: SupportState, runtime: Runtime[Context]) -> dict[str, Any]:
    """The loop's fallback: say what was done, and offer a person for the rest."""
    current = state.get("plan")
    offer = offer_hand_off(state, reason="several_steps")
    apology = f"{replies.could_not_finish()} {offer.question}"
    if current is not None and state.get("next_move") == "unplanned":
        # It is the new request that could not be planned: the plan that waits has nothing to do with it.
        return {
            "pending": (*_others(state), offer),
            "draft": Draft(text=apology, asks=True),
        }
    outcome, news = state["turn"].outcome, state.get("draft")
    parts = untold(current, besides=outcome) if current is not None else []
    if outcome is not None and news is not None:
        parts.insert(0, news.text)
    return {
        "plan": None,
        "pending": (*_others(state), offer),
        "draft": Draft(
            text="\n\n".join([*parts, apology]),
            asks=True,
            tells=finished(current) if current is not None else (),
        ),
    }


# --- edges and rules ----------------------------------------------------------------------------


def where_to_begin(state: SupportState) -> Literal["plan", "prepare", "act", "observe"]:
    """A new request is planned; a confirmed plan acts; an answer completes it; an outcome is observed."""
    current, route = state.get("plan"), state.get("route")
    if current is not None and state["turn"].outcome is not None:
        return "observe"
    if current is not None and route is not None and route.operation == "plan":
        return "act" if route.move == "confirm" else "prepare"
    return "plan"


def after_plan(state: SupportState) -> Literal["prepare", "give_up"]:
    planned = state.get("next_move") not in ("escalate", "unplanned")
    return "prepare" if planned and state.get("plan") is not None else "give_up"


def after_prepare(state: SupportState) -> Literal["confirm_plan", "act", "give_up", "__end__"]:
    current = state.get("plan")
    if current is None:
        return "give_up"
    if state.get("draft") is not None:
        return "__end__"
    waiting = [s for s in current.steps if s.status == "waiting"]
    if not waiting:
        # Every wish was refused, with its reason: that is an answer too.
        return "act" if current.understood and any(s.note for s in current.steps) else "give_up"
    if any(not s.writes for s in waiting) and not current.confirmed:
        return "act"
    return "confirm_plan" if any(s.writes for s in waiting) else "act"


def after_observe(state: SupportState) -> Literal["evaluate", "prepare"]:
    """News of a step may come while the rest still waits for the customer's yes: it is asked for again."""
    current, news = state.get("plan"), state["turn"].outcome is not None
    return "prepare" if news and current is not None and not current.confirmed else "evaluate"


def after_evaluate(
    state: SupportState,
) -> Literal["act", "plan", "compose", "give_up", "prepare"]:
    """What was only told comes first; then what is to be changed is asked about."""
    current = state.get("plan")
    if (
        current is not None
        and not current.confirmed
        and state.get("next_move") in ("continue", "done")
        and any(s.status == "waiting" for s in current.steps)
    ):
        return "prepare"
    moves: dict[str, Literal["act", "plan", "compose", "give_up"]] = {
        "continue": "act",
        "replan": "plan",
        "done": "compose",
        "escalate": "give_up",
    }
    return moves[state.get("next_move") or "done"]


def observed(step: Step, outcome: Outcome, context: Context) -> Step:
    """The step with its outcome, checked like any other tool output."""
    operation = context.operations[step.name]
    if (problem := implausible(operation, outcome)) is not None:
        outcome = outcome.model_copy(update={"status": "failed", "result": {}, "reason": problem})
    statuses: dict[str, Literal["done", "pending", "failed"]] = {
        "executed": "done",
        "pending": "pending",
    }
    # The reviewers' note and "already done" are for news; what just began to wait says what it will do.
    note = (
        replies.pending(operation, step.arguments, step.label, step.effects)
        if outcome.status == "pending"
        else replies.outcome(operation, outcome)
    )
    return step.model_copy(
        update={
            "status": statuses.get(outcome.status, "failed"),
            "note": note,
            "told": False,
            "settled": outcome.settled,
        }
    )


def untold(current: Plan, *, besides: Outcome | None = None) -> list[str]:
    """What the customer has not heard yet of the steps that were tried, but for this outcome's."""
    return [
        s.note
        for s in current.steps
        if s.note
        and not s.told
        and not (besides is not None and same_request(s.action_id, besides.action_id))
    ]


def finished(current: Plan) -> tuple[str, ...]:
    """The actions of this plan whose outcome is known."""
    return tuple(
        s.action_id
        for s in current.steps
        if s.action_id and s.settled and s.status in ("done", "failed")
    )


def _told(current: Plan) -> Plan:
    steps = tuple(s.model_copy(update={"told": s.told or bool(s.note)}) for s in current.steps)
    return current.model_copy(update={"steps": steps})


async def _look_up(
    runtime: Runtime[Context],
    state: SupportState,
    current: Plan,
    asked: str | None = None,
    *,
    optional: bool = False,
) -> str:
    """Answer the request's question from the kept sentences themselves; no model writes here. ``optional``: nothing
    is said where nothing is near."""
    context = runtime.context
    question = asked or await question_in(runtime, state, current.goal)
    try:
        kept = await answering(state, runtime, question, None, 2)
    except LookUpFailed:
        return "" if optional else replies.unknown()
    if optional and not near_enough(kept):
        return ""
    said = " ".join(re.sub(r" \[\d+\]$", "", s) for s in best_quotes(kept, 3))
    if not said:
        return replies.unknown()
    return "\n\n".join(filter(None, [foreword(state, context, kept), said]))


async def _given(state: SupportState, runtime: Runtime[Context], asked: Pending) -> dict[str, Any]:
    """The customer's answer to a question about one step."""
    route = state.get("route")
    if asked.stage == "choice":
        if route is not None and route.act is not None:
            chosen = picked_by(asked, route.act.grounds)
            if chosen is not None:
                return chosen
        return dict(await pick(state, runtime, asked) or {})
    assert asked.about is not None
    operation = runtime.context.operations[asked.about]
    found, _, _ = await read_arguments(
        state, runtime, operation, state["turn"].text, asked=asked.field
    )
    return found


def _after_a_write(steps: list[Step], index: int, context: Context) -> bool:
    """Would an earlier step change the record, so that today's refusal may not hold then?"""
    return any(s.status == "waiting" and writes(s, context) for s in steps[:index])


def _with(current: Plan, index: int, step: Step) -> Plan:
    steps = (*current.steps[:index], step, *current.steps[index + 1 :])
    return current.model_copy(update={"steps": steps})


def _others(state: SupportState) -> tuple[Pending, ...]:
    """What else is open beside the plan."""
    return tuple(p for p in state.get("pending", ()) if p.operation != "plan")


__all__ = ["loop_graph", "observed"]
