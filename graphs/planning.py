"""The parts of a request that a plan is made of: which steps each can mean, and what is named for which."""

from __future__ import annotations

import re
from typing import Any

from langgraph.runtime import Runtime
from pydantic import JsonValue

from graphs import extraction
from graphs.context import Context
from graphs.deciding import by_rule, log
from graphs.deciding import decision as decided_by
from graphs.state import Step, SupportState
from tools.ports import Choice, PortError
from tools.values import Operation

_CLAUSE = re.compile(r"\s*(?:[,;.!?]|\b(?:and|then|also|plus|afterwards)\b)+\s*", re.IGNORECASE)
#: The step that looks something up in the knowledge base instead of calling an operation.
ANSWER = "answer"


def as_often_as_named(steps: list[str], goal: str, context: Context) -> list[str]:
    """A step counts again only where the request names another record for it: a small planner repeats
    itself, and a customer who cancels two orders gives two numbers."""
    kept: list[str] = []
    for name in steps:
        most = 1
        if name != ANSWER:
            numbered = (f for f in extraction.fields(context.operations[name]) if f.record)
            most = max([1, *(len(_numbers(field, goal)) for field in numbered)])
        if kept.count(name) < most:
            kept.append(name)
    return kept


def named_for(
    steps: list[Step], index: int, operation: Operation, goal: str
) -> dict[str, JsonValue]:
    """The number that belongs to this one of several steps of the same operation."""
    same = [i for i, s in enumerate(steps) if s.name == operation.name and not s.action_id]
    if len(same) < 2:
        return {}
    for field in extraction.fields(operation):
        if field.record and len(found := _numbers(field, goal)) >= len(same):
            return {field.name: found[same.index(index)]}
    return {}


def _numbers(field: extraction.Field, text: str) -> list[str]:
    certain, possible = extraction.numbers(field.record or "", text, field.form)
    return certain or possible


async def narrowed(
    runtime: Runtime[Context], state: SupportState, goal: str
) -> dict[str, Any] | None:
    """The plan's schema with, for each part of the request, only the steps its likely intents stand for.

    None where the parts say too little: then the whole schema is used."""
    context, places = runtime.context, list[list[str]]()
    for clause in clauses(goal):
        choice = await _intent_of_part(runtime, state, clause)
        if choice is None:
            return None
        likely = sorted(choice.probabilities.items(), key=lambda item: -item[1])[:3]
        floor = max(0.1, likely[0][1] / 2)
        steps = [_step_for(context, name) for name, probability in likely if probability >= floor]
        if found := [step for step in dict.fromkeys(steps) if step is not None]:
            places.append(found)
    if len(places) < 2:
        return None
    return {
        "type": "object",
        "properties": {
            "steps": {
                "type": "array",
                "prefixItems": [{"enum": steps} for steps in places[: context.limits.plan_steps]],
            }
        },
        "required": ["steps"],
        "additionalProperties": False,
    }


def clauses(goal: str) -> list[str]:
    """The parts of a request, as far as punctuation and joining words show them."""
    return [part for part in _CLAUSE.split(goal) if len(part.split()) >= 2]


def _step_for(context: Context, intent: str) -> str | None:
    """The plan's step that serves an intent; None for small talk."""
    if context.intents.lane(intent) == "operation":
        return context.intents.operation(intent)
    return ANSWER if _is_asked(context, intent) else None


def _is_asked(context: Context, intent: str) -> bool:
    """Whether an intent is a question: to the articles, or for a fact that everybody is told."""
    of = context.intents.get(intent)
    return of.lane == "answer" or (of.lane == "direct" and of.role is None)


async def _intent_of_part(
    runtime: Runtime[Context], state: SupportState, clause: str
) -> Choice | None:
    """The intent head on one part of a request; logged like any other decision, also that it failed."""
    part = "a part of the request"
    try:
        choice = await runtime.context.encoder.classify("intent", clause)
    except PortError as error:
        nothing = by_rule("router", "nothing", f"{part}; {error}", abstained=True)
        await log(runtime, state, nothing, input=clause)
        return None
    await log(runtime, state, decided_by("router", choice, reason=part), input=clause)
    return choice


async def question_in(runtime: Runtime[Context], state: SupportState, goal: str) -> str:
    """The part of the request that asks for knowledge, by the intent of each of its clauses."""
    context, best, best_probability = runtime.context, goal, 0.0
    for clause in clauses(goal):
        choice = await _intent_of_part(runtime, state, clause)
        if choice is None:
            return goal
        answers = sum(p for name, p in choice.probabilities.items() if _is_asked(context, name))
        if answers > best_probability:
            best, best_probability = clause, answers
    return best if best_probability >= 0.5 else goal


__all__ = ["ANSWER", "as_often_as_named", "clauses", "named_for", "narrowed", "question_in"]
