"""The loop evaluator on results we labelled: the role itself, beside the rules, the head and the adapter alone."""

from __future__ import annotations

import asyncio
import tempfile
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, cast

import yaml

from app.config import Settings
from app.live import thresholds_of
from app.roles.evaluator import EvaluatorInput, evaluated_step
from app.serving import open_models
from evals.domain import CASES, DOMAIN
from evals.figures import Figure, Report, Table, at_least, percentile
from evals.scenarios import Case
from evals.world import Folders, Progress, quiet
from graphs.context import Thresholds
from graphs.judging import (
    EVALUATIONS,
    Evaluation,
    believed,
    evaluator_input,
    guard,
    in_moves,
    judged,
    outcome_input,
)
from graphs.planning import ANSWER
from graphs.state import Plan, Step
from tools.ports import Choice, Encoder, PortError, SmallModel
from tools.values import Operation

KEPT_EVERY = 3
Part = Literal["dev", "kept"]


class Result(Case):
    """A step's result, and how a careful person would go on."""

    goal: str
    step: str
    result: str
    left: int
    want: Evaluation


class _File(Case):
    cases: tuple[Result, ...]


def load_cases(path: Path = CASES / "evaluator.yaml") -> list[tuple[Result, Part]]:
    read = _File.model_validate(yaml.safe_load(path.read_text("utf-8"))).cases
    return [
        (case, "kept" if place % KEPT_EVERY == KEPT_EVERY - 1 else "dev")
        for place, case in enumerate(read)
    ]


@dataclass(frozen=True)
class Evaluated:
    """What one way of deciding made of a result."""

    case: Result
    part: Part
    chosen: Evaluation | None
    probability: float
    tier: str
    ms: float

    @property
    def right(self) -> bool:
        return self.chosen == self.case.want


Way = Callable[[Step, Result], Awaitable[Choice | None]]


@dataclass(frozen=True)
class Ways:
    """The ways to decide that are compared; each gives a choice, or none where it has nothing to say."""

    small: SmallModel
    encoder: Encoder
    thresholds: Thresholds
    operations: Mapping[str, Operation]

    async def adapter(self, last: Step, case: Result) -> Choice | None:
        text = evaluator_input(case.goal, last, case.left)
        return await self.small.choose("evaluator", text, EVALUATIONS)

    async def head(self, last: Step, case: Result) -> Choice | None:
        return in_moves(await self.encoder.classify("outcome", outcome_input(last)), case.left)

    async def rules(self, last: Step, case: Result) -> Choice | None:
        return None

    async def cascade(self, last: Step, case: Result) -> Choice | None:
        try:
            return await judged(self, case.goal, last, case.left)
        except PortError:
            return None


async def play(
    ways: Ways,
    way: Way,
    cases: Sequence[tuple[Result, Part]],
    *,
    guarded: bool,
    progress: Progress = quiet,
    what: str = "Judging results",
) -> list[Evaluated]:
    found: list[Evaluated] = []
    for place, (case, part) in enumerate(cases):
        progress(what, place, len(cases))
        asked = EvaluatorInput(goal=case.goal, step=case.step, result=case.result, left=case.left)
        last = evaluated_step(asked)
        started = time.perf_counter()
        choice = await way(last, case)
        ms = (time.perf_counter() - started) * 1000
        probability = choice.probabilities[choice.option] if choice is not None else 0.0
        wanted = cast("Evaluation", choice.option) if choice is not None else None
        chosen = wanted
        if guarded:
            steps = (last, *(Step(name=ANSWER) for _ in range(case.left)))
            plan = Plan(request="case", goal=case.goal, steps=steps, confirmed=True)
            sure = choice is not None and believed(choice, ways.thresholds)
            chosen = guard(wanted if sure else None, plan, ways)
        tier = choice.tier if choice is not None else "rule"
        found.append(Evaluated(case, part, chosen, probability, tier, ms))
    return found


def accuracy(judged: Sequence[Evaluated]) -> float:
    return sum(one.right for one in judged) / max(len(judged), 1)


def calibration(judged: Sequence[Evaluated], bins: int = 10) -> float:
    """Expected calibration error of what was chosen."""
    slots: dict[int, list[Evaluated]] = {}
    for one in judged:
        slots.setdefault(min(int(one.probability * bins), bins - 1), []).append(one)
    return sum(
        len(some) / len(judged) * abs(accuracy(some) - sum(o.probability for o in some) / len(some))
        for some in slots.values()
    )


async def measure(folder: Path, progress: Progress = quiet) -> Report:
    cases = load_cases()
    report = Report("evaluator")
    async with open_models(Settings(data_dir=folder)) as models:
        thresholds = thresholds_of(models.manifest, Settings(data_dir=folder))
        ways = Ways(models.small, models.encoder, thresholds, DOMAIN.operations)
        await models.encoder.embed(["warm"])
        named: list[tuple[str, Way, bool]] = [
            ("rules alone", ways.rules, True),
            ("adapter alone", ways.adapter, False),
            ("adapter and rules", ways.adapter, True),
            ("head alone", ways.head, False),
            ("head and rules", ways.head, True),
            ("the role: head, adapter where it is not sure, rules", ways.cascade, True),
        ]
        table = Table("Ways to decide", ("way", "dev", "kept", "ece", "p50 ms", "p95 ms"))
        played: list[Evaluated] = []
        for name, way, guarded in named:
            played = await play(
                ways,
                way,
                cases,
                guarded=guarded,
                progress=progress,
                what=name,
            )
            parts = [[one for one in played if one.part == part] for part in ("dev", "kept")]
            times = [one.ms for one in played]
            table.rows.append(
                (
                    name,
                    *(f"{accuracy(part):.3f}" for part in parts),
                    "" if guarded else f"{calibration(played):.3f}",
                    f"{percentile(times, 0.5):.1f}",
                    f"{percentile(times, 0.95):.1f}",
                )
            )
    kept = [one for one in played if one.part == "kept"]
    report.tables += [table, _misses(played), _tiers(played)]
    report.figures += [
        Figure("right decisions, kept part", 100 * accuracy(kept), "%", at_least(85)),
        Figure(
            "right decisions, dev part", 100 * accuracy([o for o in played if o.part == "dev"]), "%"
        ),
        Figure("decision, p50", percentile([o.ms for o in played], 0.5), "ms"),
        Figure("decision, p95", percentile([o.ms for o in played], 0.95), "ms"),
    ]
    report.notes.append(
        "The rules end a plan that has nothing left to run, so a last step that could be replanned counts as a miss."
    )
    return report


def _misses(judged: Sequence[Evaluated]) -> Table:
    table = Table("Misses", ("part", "result", "left", "right", "chosen", "tier"))
    for one in judged:
        if not one.right:
            case = one.case
            table.rows.append(
                (one.part, case.result[:70], str(case.left), case.want, str(one.chosen), one.tier)
            )
    return table


def _tiers(judged: Sequence[Evaluated]) -> Table:
    table = Table("By tier", ("tier", "results", "right"))
    for tier in ("encoder", "small", "rule"):
        of_tier = [one for one in judged if one.tier == tier]
        table.rows.append((tier, str(len(of_tier)), f"{accuracy(of_tier):.3f}" if of_tier else ""))
    return table


def run(folders: Folders, progress: Progress = quiet) -> Report:
    with tempfile.TemporaryDirectory() as folder:
        return asyncio.run(measure(Path(folder), progress))
