"""What the output validator stops; and how well it tells grounded answers from made-up ones."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path

import yaml
from pydantic import BaseModel, ConfigDict

from evals.domain import DOMAIN
from evals.figures import Figure, Report, Table, at_least
from evals.world import Folders, Progress, quiet
from graphs.state import Draft
from graphs.validation import GROUNDED, groundedness, signs_of, validate_draft
from tools.ports import Passage
from tools.values import Customer

CASES = DOMAIN.cases / "validator.yaml"
ANA = Customer(id="ana", name="Ana Keller", email="ana.keller@example.com", since=date(2024, 1, 1))
#: From this mean of three ratings (1 to 4) an answer counts as faithful to its passages.
FAITHFUL = 3.0


class Case(BaseModel):
    """A reply and the kinds of problems that must be found in it, and no others."""

    model_config = ConfigDict(extra="forbid")
    id: str
    text: str
    source: str
    kinds: list[str]


def load_cases() -> list[Case]:
    return [Case.model_validate(row) for row in yaml.safe_load(CASES.read_text("utf-8"))["cases"]]


def found_in(case: Case) -> set[str]:
    passages = (Passage(id="1", text=case.source, title="", source=""),) if case.source else ()
    draft = Draft(text=case.text, source="large", passages=passages)
    found = validate_draft(draft, ANA, max_chars=2400)
    return {problem.kind for problem in found.problems}


@dataclass(frozen=True)
class Rated:
    """An answer with the mean of its human ratings, and what the validator and a plain overlap say of it."""

    rating: float
    score: float
    overlap: float


def run(folders: Folders, progress: Progress = quiet, *, data: Path | None = None) -> Report:
    """Our own cases, and groundedness_mtrag where it is at hand."""
    cases = load_cases()
    report = Report("validator")
    wrong = [(case, found) for case in cases if (found := found_in(case)) != set(case.kinds)]
    bad = [case for case in cases if case.kinds]
    missed = sum(not set(case.kinds) <= found for case, found in wrong)
    stopped = sum(bool(found) for case, found in wrong if not case.kinds)
    report.figures = [
        Figure("bad replies stopped for the right reason", 100 * (1 - missed / len(bad)), "%"),
        Figure("good replies stopped", 100 * stopped / (len(cases) - len(bad)), "%"),
    ]
    report.failures = [
        f"{case.id}: found {sorted(found) or 'nothing'}, expected {case.kinds or 'nothing'}"
        for case, found in wrong
    ]
    file = data / "groundedness_mtrag" / "answers.jsonl" if data else None
    if file is None or not file.exists():
        report.notes.append(
            "Groundedness not measured: needs the folder groundedness_mtrag; name its parent with "
            "--data or SIGNALBOX_DATA."
        )
        return report
    rated = [rate(json.loads(line)) for line in file.read_text("utf-8").splitlines()]
    mtrag(report, rated)
    return report


def rate(row: dict[str, object]) -> Rated:
    contexts: Sequence[dict[str, str]] = row["contexts"]  # type: ignore[assignment]
    human: dict[str, list[int]] = row["human"]  # type: ignore[assignment]
    passages = [Passage(id=c["id"], text=c["text"], title="", source="") for c in contexts]
    text, ratings = str(row["response"]), human["faithfulness"]
    return Rated(
        sum(ratings) / len(ratings), groundedness(text, passages), signs_of(text, passages)[0]
    )


def mtrag(report: Report, rated: Sequence[Rated]) -> None:
    ours = auroc([(r.rating >= FAITHFUL, r.score) for r in rated])
    plain = auroc([(r.rating >= FAITHFUL, r.overlap) for r in rated])
    report.figures.append(
        Figure(
            "groundedness, AUROC of human faithfulness (mtrag)",
            ours,
            "",
            target=at_least(round(plain, 3)),
            baseline=f"share of words the passages have: {plain:.3f}",
            ratio=ours / plain,
        )
    )
    report.notes.append(
        f"{len(rated)} answers of 5 conversations; the rule's four numbers were fitted on these same "
        "answers. Fitted without one conversation at a time and judged on that one, pooled: AUROC 0.85."
    )
    table = Table(
        "Answers stopped by the least groundedness", ("least", "unfaithful %", "faithful %")
    )
    for line in (0.3, GROUNDED, 0.5, 0.6, 0.7):
        bad = [r.score < line for r in rated if r.rating < FAITHFUL]
        good = [r.score < line for r in rated if r.rating >= FAITHFUL]
        table.rows.append(
            (
                f"{line:.1f}",
                f"{100 * sum(bad) / len(bad):.0f}",
                f"{100 * sum(good) / len(good):.0f}",
            )
        )
    report.tables.append(table)


def auroc(scored: Sequence[tuple[bool, float]]) -> float:
    """The chance that a good one scores above a bad one."""
    good = [score for right, score in scored if right]
    bad = [score for right, score in scored if not right]
    wins = sum((g > b) + 0.5 * (g == b) for g in good for b in bad)
    return wins / (len(good) * len(bad))
