"""How a plan goes on: the small model's word on each result, as far as the plan allows it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, Protocol

from graphs.context import Thresholds
from graphs.state import Plan, Step
from tools.ports import Choice, Encoder, PortError, SmallModel
from tools.values import Operation

Evaluation = Literal["continue", "done", "replan", "escalate"]
EVALUATIONS: tuple[Evaluation, ...] = ("continue", "done", "replan", "escalate")


class Judges(Protocol):
    """Who says what a step's result means."""

    @property
    def encoder(self) -> Encoder: ...
    @property
    def small(self) -> SmallModel: ...
    @property
    def thresholds(self) -> Thresholds: ...


class Knows(Protocol):
    """Who knows the operations a plan names."""

    @property
    def operations(self) -> Mapping[str, Operation]: ...


def writes(step: Step, context: Knows) -> bool:
    """Whether a step changes something."""
    operation = context.operations.get(step.name)
    return operation is not None and operation.writes


def guard(wanted: Evaluation | None, current: Plan, context: Knows) -> Evaluation:
    """What really happens: the model's word, as far as the plan allows it.

    Nothing left to run means done. A failed step may be replanned once. A model may not end a plan that
    the customer confirmed while steps are left, and may not give up when nothing failed."""
    failed = any(s.status == "failed" for s in current.steps)
    asked = not current.confirmed and any(s.status == "waiting" for s in current.steps)
    if next_step(current, context) is None and not asked:
        return "escalate" if wanted == "escalate" and failed and not current.understood else "done"
    if wanted == "replan" and failed and current.replans < 1:
        return "replan"
    if wanted == "escalate" and failed:
        return "escalate"
    return "continue"


def next_step(current: Plan, context: Knows) -> int | None:
    """The step to run now; a write waits for the customer's yes, and while an earlier write waits for approval."""
    held = any(s.status == "pending" for s in current.steps)
    for index, step in enumerate(current.steps):
        if step.status != "waiting" or step.open:
            continue
        if not writes(step, context) or (current.confirmed and not held):
            return index
    return None


async def judged(context: Judges, goal: str, last: Step | None, left: int) -> Choice:
    """How to go on: the encoder's head reads what the result means; where it is not sure, the generative
    model reads goal and result. Raises what the latter raises when neither can tell."""
    try:
        read = await context.encoder.classify("outcome", outcome_input(last))
    except PortError:
        pass
    else:
        if believed(read, context.thresholds):
            return in_moves(read, left)
    text = evaluator_input(goal, last, left)
    return await context.small.choose("evaluator", text, EVALUATIONS)


def believed(choice: Choice, thresholds: Thresholds) -> bool:
    """Is a judgement sure enough for the tier it comes from?"""
    line = thresholds.outcome if choice.tier == "encoder" else thresholds.evaluator
    return choice.probabilities[choice.option] >= line


def in_moves(read: Choice, left: int) -> Choice:
    """What a result means (``on``, ``again``, ``person``) as a way to go on."""
    moves: dict[str, Evaluation] = {
        "on": "continue" if left else "done",
        "again": "replan",
        "person": "escalate",
    }
    probabilities = dict.fromkeys(EVALUATIONS, 0.0)
    probabilities |= {moves[outcome]: p for outcome, p in read.probabilities.items()}
    return read.model_copy(update={"option": moves[read.option], "probabilities": probabilities})


_RESULTS = {"done": "ok", "failed": "error", "pending": "pending", "skipped": "skipped"}


def outcome_input(last: Step | None) -> str:
    """The outcome head's input, worded as it was trained: what went well with its step's name."""
    if last is None:
        return "ok"
    note = " ".join(last.note.split()[:40])
    match last.status:
        case "failed" | "pending":
            return f"{_RESULTS[last.status]} {note}".rstrip()
        case _:
            return f"ok {last.name.replace('_', ' ')}: {note}"


def evaluator_input(goal: str, last: Step | None, left: int) -> str:
    """The evaluator's input, exactly as its adapter was trained."""
    result = _RESULTS.get(last.status, "ok") if last is not None else "ok"
    note = " ".join(last.note.split()[:16]) if last is not None else ""
    name = last.name if last is not None else "none"
    return (
        f"goal: {' '.join(goal.split()[:30])}\nstep: {name}\nresult: {result} {note}".rstrip()
        + f"\nleft: {left}"
    )


__all__ = [
    "EVALUATIONS",
    "Evaluation",
    "Judges",
    "Knows",
    "believed",
    "evaluator_input",
    "guard",
    "in_moves",
    "judged",
    "next_step",
    "outcome_input",
    "writes",
]
