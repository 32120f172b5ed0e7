"""The role `evaluator`: whether a plan goes on after a step."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, Literal, cast

from pydantic import Field

from app.roles import Answer
from app.roles.alone import context_alone
from app.roles.lines import Input, read_input, rounded
from tools.ports import PortError

if TYPE_CHECKING:
    from app.config import Settings
    from graphs.judging import Evaluation
    from graphs.state import Step


class EvaluatorInput(Input):
    goal: str
    step: str
    result: str
    left: int = Field(ge=0, le=100)


_STATUSES: dict[str, Literal["done", "failed", "pending", "skipped"]] = {
    "ok": "done",
    "done": "done",
    "executed": "done",
    "error": "failed",
    "failed": "failed",
    "not_found": "failed",
    "refused": "failed",
    "blocked": "failed",
    "pending": "pending",
    "skipped": "skipped",
}


def evaluated_step(asked: EvaluatorInput) -> Step:
    """The step as the loop would know it; a result without a status went well."""
    from graphs.state import Step

    first, _, note = asked.result.strip().partition(" ")
    status = _STATUSES.get(first.casefold().rstrip(":,."))
    return Step(name=asked.step, status=status or "done", note=note if status else asked.result)


@asynccontextmanager
async def evaluator(settings: Settings) -> AsyncGenerator[Answer]:
    from graphs.judging import believed, guard, judged
    from graphs.planning import ANSWER
    from graphs.state import Plan, Step

    async with context_alone(settings) as context:

        async def answer(row: dict[str, Any]) -> dict[str, Any]:
            asked = read_input(EvaluatorInput, row)
            last = evaluated_step(asked)
            steps = (last, *(Step(name=ANSWER) for _ in range(asked.left)))
            plan = Plan(request="line", goal=asked.goal, steps=steps, confirmed=True)
            try:
                choice = await judged(context, asked.goal, last, asked.left)
            except PortError:
                ruled = guard(None, plan, context)
                return {
                    "choice": ruled,
                    "probabilities": {},
                    "abstain": True,
                    "overruled": False,
                    "degraded": True,
                }
            sure = believed(choice, context.thresholds)
            wanted = cast("Evaluation", choice.option)
            decided = guard(wanted if sure else None, plan, context)
            return {
                "choice": decided,
                "probabilities": rounded(choice.probabilities),
                "abstain": not sure,
                "overruled": sure and decided != choice.option,
                "tier": choice.tier,
            }

        yield answer
