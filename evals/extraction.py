"""The extractor on our own labelled conversations: the very code of the role, with its baselines beside it."""

from __future__ import annotations

import asyncio
import json
import re
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, cast

import yaml

from app.config import Settings
from app.extracting import Target, extracted, seen_from, target_of
from app.serving import open_models
from evals import tau2
from evals.domain import CASES, DOMAIN
from evals.figures import Figure, NotPossible, Report, Table, at_least, at_most, percentile
from evals.scenarios import Case
from evals.world import Folders, Progress, quiet
from graphs.extraction import numbers, prompt_for, schema_for
from graphs.reading.fields import Field
from tools.ports import Encoder, PortError, SmallModel
from tools.values import now

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
        # A dialogue that is given whole has its last words among the others.
        return turns if (True, self.text) in turns else [*turns, (True, self.text)]

    @property
    def source(self) -> str:
        return "own operations" if self.op in DOMAIN.operations else "foreign schemas"


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
        made.append((case, target_of(described, DOMAIN.operations), part))
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


def grade(case: Asked, target: Target, part: Part, answer: Mapping[str, Any], ms: float) -> Graded:
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
            made |= _flat(cast("Mapping[str, Any]", value), f"{prefix}{name}.")
        else:
            made[f"{prefix}{name}"] = value
    return made


def same(value: Any, wanted: Any) -> bool:
    if isinstance(wanted, Mapping):
        return any(same(value, one) for one in cast("Mapping[str, list[Any]]", wanted)["any"])
    if isinstance(value, list) and isinstance(wanted, list):
        pairs = cast("tuple[list[Any], list[Any]]", (value, wanted))
        alike = len(pairs[0]) == len(pairs[1])
        return alike and all(same(a, b) for a, b in zip(*pairs, strict=True))
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
        return all(heard(v, one, case) for v in cast("list[Any]", value))
    if one is None or one.kind not in (
        "text",
        "name",
        "place",
        "email",
        "phone",
        "url",
        "code",
        "record",
    ):
        return True
    words = " ".join([case.text, *case.history, json.dumps(case.records, ensure_ascii=False)])
    if one.record is not None:
        certain, possible = numbers(one.record, words)
        return value == "last" or str(value) in [*certain, *possible]
    return _bare(str(value)) in _bare(words)


def _bare(text: str) -> str:
    return re.sub(r"[\W_]+", "", text.casefold())


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
                "extractor",
                prompt_for(target.name, wanted, text),
                schema_for(target.name, wanted, text),
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


async def play_calls(answers_of: Answers, data: Path, progress: Progress) -> list[Graded]:
    """The calls of tau2's retail dialogues, with everything the desk had looked up as the customer's records."""
    described = tau2.tools(data)
    listed = tau2.calls(data)
    graded: list[Graded] = []
    for place, call in enumerate(listed):
        progress("Playing tau2's calls", place, len(listed))
        case = Asked(
            id=call.id,
            op=call.tool,
            text=[text for who, text in call.said if who][-1],
            history=tuple(f"{'user' if who else 'assistant'}: {text}" for who, text in call.said),
            want=call.arguments,
            locale="en-US",
            records=list(call.records),
        )
        target = target_of(described[call.tool], {})
        started = time.perf_counter()
        answer = await answers_of(case, target)
        ms = (time.perf_counter() - started) * 1000
        listed_alike = {**answer, "arguments": _sorted(answer["arguments"])}
        wanted = case.model_copy(update={"want": _sorted(case.want)})
        found = grade(wanted, target, "kept" if call.kept else "dev", listed_alike, ms)
        found.source = call.tool
        graded.append(found)
    return graded


def _sorted(values: Mapping[str, Any]) -> dict[str, Any]:
    """Lists of ids in one order: which item comes first says nothing."""
    return {
        k: sorted(cast("list[str]", v)) if isinstance(v, list) else v for k, v in values.items()
    }


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


# --- the report ---------------------------------------------------------------------------------

_COLUMNS = (
    "part", "cases", "field F1", "exact", "invented", "not said", "refusals right", "p50 ms", "p95 ms",
)  # fmt: skip


def _row(name: str, part: str, graded: Sequence[Graded]) -> tuple[str, ...]:
    if not graded:
        return (name, part, "0", *("" for _ in _COLUMNS[2:]))
    t = totals(graded)
    shares = (f"{t.f1:.3f}", f"{t.exact:.3f}", f"{t.invented:.3f}", str(t.unheard))
    return (name, part, str(t.cases), *shares, f"{t.refusals:.3f}", f"{t.p50:.1f}", f"{t.p95:.1f}")


def _by_part(name: str, graded: Sequence[Graded]) -> list[tuple[str, ...]]:
    """A row for each part that was played."""
    parts: tuple[Part, ...] = ("dev", "kept")
    return [
        _row(name, part, of_part)
        for part in parts
        if (of_part := [one for one in graded if one.part == part])
    ]


def _misses(graded: Sequence[Graded]) -> Table:
    table = Table("Misses", ("part", "case", "wrong", "lost", "invented"))
    for one in graded:
        if not one.exact or one.unheard or not one.refused_ok:
            wrong = ", ".join(f"{n}: {got!r} for {want!r}" for n, (got, want) in one.wrong.items())
            table.rows.append(
                (
                    one.part,
                    one.id,
                    wrong,
                    ", ".join(one.lost),
                    ", ".join(map(str, one.invented.items())),
                )
            )
    return table


async def measure(
    folder: Path, part: Part | None, data: Path | None, progress: Progress = quiet
) -> Report:
    report = Report("extraction")
    cases = load_cases().of(part)
    async with open_models(Settings(data_dir=folder)) as models:
        await models.encoder.embed(["warm"])
        role = whole(models.small, models.encoder)
        played = await play(role, cases, progress)
        rules = await play(whole(None, None), cases, progress, "Rules alone")
        rules_and_encoder = await play(whole(None, models.encoder), cases, progress, "No model")
        alone = await play(model_only(models.small), cases, progress, "Model alone")
        ways = Table("Ways to read", ("way", *_COLUMNS))
        for name, graded in (
            ("the role", played),
            ("rules alone", rules),
            ("rules and encoder", rules_and_encoder),
            ("adapter alone", alone),
        ):
            ways.rows += _by_part(name, graded)
        sources = Table("The role, by source", ("source", *_COLUMNS))
        for source in ("own operations", "foreign schemas"):
            sources.rows += _by_part(source, [one for one in played if one.source == source])
        report.tables += [ways, sources, _misses(played)]
        if data is not None:
            try:
                calls = await play_calls(role, data, progress)
            except NotPossible as reason:
                report.notes.append(f"tau2's calls were not played: {reason}")
            else:
                report.tables.append(_of_calls(calls))
                report.figures += _figures("tau2 retail, ", calls, None)
        else:
            report.notes.append(f"tau2's calls were not played. {tau2.HOW}")
    kept = [one for one in played if one.part == "kept"] or played
    report.figures = [*_figures("", kept, 0.9), *report.figures]
    return report


def _figures(what: str, graded: Sequence[Graded], f1: float | None) -> list[Figure]:
    t = totals(graded)
    return [
        Figure(f"{what}field F1", 100 * t.f1, "%", at_least(100 * f1) if f1 else None),
        Figure(f"{what}exact", 100 * t.exact, "%"),
        Figure(f"{what}values for what was not said", 100 * t.invented, "%"),
        Figure(f"{what}copied values that nobody said", t.unheard, "", at_most(0)),
    ]


def _of_calls(graded: Sequence[Graded]) -> Table:
    table = Table("tau2 retail, by tool", ("tool", *_COLUMNS))
    for tool in sorted({one.source for one in graded}):
        table.rows += _by_part(tool, [one for one in graded if one.source == tool])
    table.rows += _by_part("all", graded)
    return table


def run(
    folders: Folders, progress: Progress = quiet, *, part: str = "all", data: Path | None = None
) -> Report:
    """``part``: dev, kept or all."""
    if part not in ("dev", "kept", "all"):
        raise NotPossible(f"--part {part}: is not dev, kept or all.")
    chosen: Part | None = None if part == "all" else part
    with tempfile.TemporaryDirectory() as folder:
        return asyncio.run(measure(Path(folder), chosen, data, progress))
