"""The extractor on our own labelled conversations: the very code of the role, with its baselines beside it."""

from __future__ import annotations

import asyncio
import json
import re
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import yaml

from app.config import Settings
from app.extracting import Target, extracted, seen_from, target_of
from app.wiring import open_models
from evals.figures import Figure, Report, Table, at_least, at_most, percentile
from evals.scenarios import CASES, Case
from evals.world import Folders, Progress, quiet
from graphs.extraction import numbers, prompt_for, schema_for
from graphs.reading.fields import Field
from tools.domain import now
from tools.operations import OPERATIONS
from tools.ports import Encoder, PortError, SmallModel

TODAY = "2026-11-18"
Part = Literal["dev", "kept"]
#: Every third case was left alone until the extractor was finished.
KEPT_EVERY = 3


class Asked(Case):
    """One conversation and what must be made of it."""

    id: str
    op: str
    text: str
    want: dict[str, Any]
    history: tuple[str, ...] = ()  #: "user: ..." and "assistant: ..."
    refused: tuple[str, ...] = ()
    today: str = TODAY
    timezone: str | None = None
    locale: str | None = None
    records: Any = None

    @property
    def said(self) -> list[tuple[bool, str]]:
        turns = [(one.startswith("user:"), one.partition(": ")[2]) for one in self.history]
        return [*turns, (True, self.text)]

    @property
    def source(self) -> str:
        return "own operations" if self.op in OPERATIONS else "foreign schemas"


class _File(Case):
    operations: dict[str, dict[str, Any]]
    cases: tuple[Asked, ...]


@dataclass(frozen=True)
class Suite:
    """The cases, each with its target and its part."""

    cases: tuple[tuple[Asked, Target, Part], ...]

    def of(self, part: Part | None) -> list[tuple[Asked, Target, Part]]:
        return [one for one in self.cases if part in (None, one[2])]


def load_cases(path: Path = CASES / "extraction.yaml") -> Suite:
    read = _File.model_validate(yaml.safe_load(path.read_text("utf-8")))
    made: list[tuple[Asked, Target, Part]] = []
    for place, case in enumerate(read.cases):
        given = read.operations.get(case.op)
        described = case.op if given is None else {"name": case.op, **given}
        part: Part = "kept" if place % KEPT_EVERY == KEPT_EVERY - 1 else "dev"
        made.append((case, target_of(described, OPERATIONS), part))
    return Suite(tuple(made))


# --- grading ------------------------------------------------------------------------------------


@dataclass
class Graded:
    """One answer beside what was wanted, field by field."""

    id: str
    source: str
    part: Part
    right: int = 0
    wrong: dict[str, tuple[Any, Any]] = field(default_factory=dict[str, tuple[Any, Any]])
    lost: dict[str, Any] = field(default_factory=dict[str, Any])
    invented: dict[str, Any] = field(default_factory=dict[str, Any])
    unheard: list[str] = field(default_factory=list[str])  #: Values that nobody said.
    missing_ok: bool = True
    refused_ok: bool = True
    ms: float = 0.0

    @property
    def exact(self) -> bool:
        return not (self.wrong or self.lost or self.invented) and self.missing_ok

    @property
    def given(self) -> int:
        return self.right + len(self.wrong) + len(self.invented)


def grade(
    case: Asked, target: Target, part: Part, answer: Mapping[str, Any], ms: float
) -> Graded:
    """Compare an answer with what is wanted; free text regardless of case and edge punctuation."""
    found = Graded(case.id, case.source, part, ms=ms)
    wanted, given = _flat(case.want), _flat(answer["arguments"])
    for name, value in given.items():
        if name not in wanted:
            found.invented[name] = value
        elif same(value, wanted[name]):
            found.right += 1
        else:
            found.wrong[name] = (value, wanted[name])
        if not heard(value, next((f for f in target.fields if f.name == name), None), case):
            found.unheard.append(name)
    found.lost = {name: value for name, value in wanted.items() if name not in given}
    needed = {f.name for f in target.fields if f.required and f.name not in wanted}
    if target.own is None:
        found.missing_ok = set(answer["missing"]) == needed or bool(found.lost or found.wrong)
    found.refused_ok = set(case.refused) <= set(answer["refused"])
    return found


def _flat(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    made: dict[str, Any] = {}
    for name, value in values.items():
        if isinstance(value, Mapping) and "any" not in value:
            made |= _flat(value, f"{prefix}{name}.")
        else:
            made[f"{prefix}{name}"] = value
    return made


def same(value: Any, wanted: Any) -> bool:
    if isinstance(wanted, Mapping):
        return any(same(value, one) for one in wanted["any"])
    if isinstance(value, list) and isinstance(wanted, list):
        return len(value) == len(wanted) and all(same(a, b) for a, b in zip(value, wanted, strict=True))
    if isinstance(value, bool) or isinstance(wanted, bool):
        return value is wanted
    if isinstance(value, str) and isinstance(wanted, str):
        return _folded(value) == _folded(wanted)
    return value == wanted


def _folded(text: str) -> str:
    return " ".join(text.casefold().strip(" .,;:!?\"'").split())


def heard(value: Any, one: Field | None, case: Asked) -> bool:
    """Does a copied value stand in what the customer said, in their records, or among what they picked from?"""
    if isinstance(value, list):
        return all(heard(v, one, case) for v in value)
    if one is None or one.kind not in ("text", "name", "place", "email", "phone", "url", "code", "record"):
        return True
    words = " ".join([case.text, *case.history, json.dumps(case.records, ensure_ascii=False)])
    if one.record is not None:
        return value == "last" or str(value) in sum(numbers(one.record, words), [])
    plain = lambda s: re.sub(r"[\W_]+", "", s.casefold())  # noqa: E731
    return plain(str(value)) in plain(words)


# --- playing ------------------------------------------------------------------------------------

Answers = Callable[[Asked, Target], Awaitable[Mapping[str, Any]]]


def whole(small: SmallModel | None, encoder: Encoder | None) -> Answers:
    """The role itself; without models, its rules."""

    async def answer(case: Asked, target: Target) -> Mapping[str, Any]:
        when = seen_from(case.today, case.timezone, case.locale, now())
        return await extracted(
            target, case.said, when, small=small, encoder=encoder, records=case.records
        )

    return answer


def model_only(small: SmallModel) -> Answers:
    """The adapter under its grammar with nothing around it: all the customer's words, all the fields."""

    async def answer(case: Asked, target: Target) -> Mapping[str, Any]:
        text = " ".join(words for by_customer, words in case.said if by_customer)
        wanted = target.fields
        try:
            filled = await small.fill(
                "extractor", prompt_for(target.name, wanted, text), schema_for(target.name, wanted, text)
            )
        except PortError:
            return {"arguments": {}, "missing": [], "refused": {}}
        values = {name: value for name, value in filled.values.items() if value is not None}
        lack = [f.name for f in wanted if f.required and f.name not in values]
        return {"arguments": values, "missing": lack, "refused": {}}

    return answer


async def play(
    answers: Answers,
    cases: Iterable[tuple[Asked, Target, Part]],
    progress: Progress = quiet,
    what: str = "Extracting",
) -> list[Graded]:
    listed, graded = list(cases), list[Graded]()
    for place, (case, target, part) in enumerate(listed):
        progress(what, place, len(listed))
        started = time.perf_counter()
        answer = await answers(case, target)
        ms = (time.perf_counter() - started) * 1000
        graded.append(grade(case, target, part, answer, ms))
    return graded


@dataclass(frozen=True)
class Totals:
    """What a set of graded answers comes to."""

    cases: int
    f1: float
    exact: float
    invented: float  #: Share of the values given for fields of which the customer said nothing.
    unheard: int
    refusals: float
    p50: float
    p95: float


def totals(graded: Sequence[Graded]) -> Totals:
    right = sum(g.right for g in graded)
    given = sum(g.given for g in graded)
    wanted = right + sum(len(g.wrong) + len(g.lost) for g in graded)
    times = [g.ms for g in graded]
    return Totals(
        cases=len(graded),
        f1=2 * right / (given + wanted) if given + wanted else 1.0,
        exact=sum(g.exact for g in graded) / max(len(graded), 1),
        invented=sum(len(g.invented) for g in graded) / max(given, 1),
        unheard=sum(len(g.unheard) for g in graded),
        refusals=sum(g.refused_ok for g in graded) / max(len(graded), 1),
        p50=percentile(times, 0.5),
        p95=percentile(times, 0.95),
    )
