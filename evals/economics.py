"""What conversations cost, beside the same conversations with a large model asked for everything."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path

from app.economics import (
    Asked,
    Baseline,
    Line,
    ModelUse,
    Spent,
    added,
    baseline_of,
    cost_of,
)
from app.models.metering import Prices
from evals.conversations import OWN, Player, notes_of, picked_from, suite_of
from evals.dialogues import Conversation, Judge
from evals.domain import DOMAIN
from evals.examples import books_of
from evals.figures import Figure, Report, Table
from evals.outside import Outside, outside_of
from evals.world import Folders, Progress, quiet, running


def run(
    folders: Folders,
    progress: Progress = quiet,
    *,
    file: Path | None = None,
    only: Sequence[str] = (),
) -> Report:
    """Each conversation through the real desk, graded as ``conversations`` does; then what its turns used."""
    path = file or DOMAIN.cases / OWN
    picked = picked_from(path, DOMAIN, only)
    with outside_of(DOMAIN.folder) as outside:
        found = asyncio.run(_run(folders.prepared(), picked, outside, progress))
    found.suite = suite_of(path, DOMAIN, only, "economics")
    return found


async def _run(
    folder: Path, conversations: Sequence[Conversation], outside: Outside, progress: Progress
) -> Report:
    judge = Judge(outside.clock.now().date(), notes_of(DOMAIN))
    each: list[Spent] = []
    right = 0
    async with (
        running(folder, progress, clock=outside.clock) as desk,
        books_of(folder) as (engine, books),
    ):
        player = Player(desk, engine, judge)
        for number, one in enumerate(conversations):
            progress(f"Playing {one.id}", number, len(conversations))
            await asyncio.to_thread(outside.reset)
            right += (await player.play(one)).passed
            # Before the books, and with them what was recorded, are put back.
            each.append(await desk.stores.usage.over(1))
            await asyncio.to_thread(books.restore)
        prices, model = desk.budgets.prices, desk.budgets.reference
    progress("Playing", len(conversations), len(conversations))
    return report(together(each), prices, model, conversations=len(conversations), right=right)


def together(each: Sequence[Spent]) -> Spent:
    """What several spans come to."""
    lanes, models = dict[str, Line](), dict[tuple[str, str, str, bool, bool], ModelUse]()
    asked = dict[tuple[str, str], int]()
    for spent in each:
        for lane, line in spent.lanes.items():
            lanes[lane] = lanes.get(lane, Line()) + line
        for use in spent.models:
            key = (use.tier, use.role, use.model, use.local, use.masked)
            models[key] = added(models[key], use) if key in models else use
        for one in spent.asked:
            asked[one.lane, one.role] = asked.get((one.lane, one.role), 0) + one.turns
    return Spent(
        since=min(spent.since for spent in each),
        until=max(spent.until for spent in each),
        lanes=lanes,
        domains={},
        customers={},
        dearest=(),
        models=tuple(models[key] for key in sorted(models)),
        asked=tuple(
            Asked(lane=lane, role=role, turns=turns)
            for (lane, role), turns in sorted(asked.items())
        ),
    )


def report(spent: Spent, prices: Prices, model: str, *, conversations: int, right: int) -> Report:
    """The table, with the cost of a conversation that ended right, and the ratio of the two."""
    baseline, total = baseline_of(spent, prices, model), spent.total
    large = [use for use in spent.models if use.tier == "large"]
    ours, theirs = _per(cost_of(spent.models), right), _per(baseline.cost, right)
    ratio = theirs / ours if ours and theirs is not None else None
    currency = prices.currency
    found = Report(
        "economics",
        figures=[
            Figure("turns that asked a large model", 100 * (total.llm_share or 0), "%"),
            Figure("turns that went to a person", 100 * (total.escalation_rate or 0), "%"),
            Figure("cost of 1,000 turns", _thousand(cost_of(spent.models), total.turns), currency),
        ],
        notes=[
            f"{conversations} conversations, {total.turns} turns, {right} conversations ended right.",
            f"With {model} for everything, computed: docs/large-model.md says how. Prices as of {prices.as_of}.",
        ],
    )
    if baseline.cost is not None:
        found.figures.append(
            Figure(
                "the same with a large model for everything",
                _thousand(baseline.cost, total.turns),
                currency,
                baseline="" if ratio is None else "as played",
                ratio=ratio,
            )
        )
    found.tables += [
        _beside(large, spent, baseline, right, currency),
        _lanes(spent, currency),
        _models(spent, currency),
    ]
    return found


def _beside(
    large: Sequence[ModelUse], spent: Spent, baseline: Baseline, right: int, currency: str
) -> Table:
    def row(name: str, calls: int, read: int, written: int, cost: float | None) -> tuple[str, ...]:
        figures = (_money(cost), _money(_per(cost, right)))
        return (name, str(calls), str(read), str(written), *figures)

    head = ("", "LLM calls", "tokens read", "tokens written", f"cost, {currency}", "of a task")
    return Table(
        "Beside a large model for everything (of a task: a conversation that ended right)",
        head,
        [
            row(
                "as played",
                sum(use.calls for use in large),
                sum(use.read for use in large),
                sum(use.written for use in large),
                cost_of(spent.models),
            ),
            row(baseline.model, baseline.calls, baseline.read, baseline.written, baseline.cost),
        ],
    )


def _lanes(spent: Spent, currency: str) -> Table:
    head = ("lane", "turns", "with an LLM", "to a person", "resolved", f"cost, {currency}")
    return Table(
        "By lane",
        head,
        [
            (
                lane,
                *map(str, (line.turns, line.with_llm, line.escalated, line.resolved)),
                _money(line.cost),
            )
            for lane, line in sorted(spent.lanes.items())
        ],
    )


def _models(spent: Spent, currency: str) -> Table:
    head = ("tier", "role", "model", "calls", "failed", "read", "written", f"cost, {currency}")
    return Table(
        "By model",
        head,
        [
            (
                use.tier,
                use.role or "(any head)",
                use.model,
                *map(str, (use.calls, use.failed, use.read, use.written)),
                _money(use.cost),
            )
            for use in spent.models
        ],
    )


def _per(cost: float | None, tasks: int) -> float | None:
    return None if cost is None or not tasks else cost / tasks


def _thousand(cost: float, turns: int) -> float:
    return 1000 * cost / turns if turns else 0.0


def _money(cost: float | None) -> str:
    return "not known" if cost is None else f"{cost:.5f}"
