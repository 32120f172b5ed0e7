"""Messages in the middle of conversations, each routed as `signalbox role router` does: the lane that was right."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import yaml
from pydantic import Field, field_validator, model_validator

from app.roles.router import Routing
from evals.domain import CASES
from evals.figures import Figure, NotPossible, Report, Scored, Table, at_least, at_most, percentile
from evals.scenarios import Case
from evals.world import Folders, Progress, demo_customer, quiet, running

WHO = ("user", "assistant")


class Next(Case):
    """One way on, and the lanes it may go to."""

    text: str
    lane: tuple[str, ...]

    @field_validator("lane", mode="before")
    @classmethod
    def _one_or_more(cls, value: object) -> object:
        return (value,) if isinstance(value, str) else value


class Point(Case):
    """Where a conversation has come to, and how it might go on."""

    id: str
    part: Literal["dev", "test"]
    said: tuple[str, ...] = ()
    next: tuple[Next, ...] = Field(min_length=1)

    @model_validator(mode="after")
    def _everybody_is_named(self) -> Point:
        for line in self.said:
            if line.partition(": ")[0] not in WHO:
                raise ValueError(f"{self.id}: {line!r} must begin with one of {', '.join(WHO)}")
        return self

    @property
    def history(self) -> list[dict[str, str]]:
        lines = (line.partition(": ") for line in self.said)
        return [{"role": role, "text": text} for role, _, text in lines]


class _Points(Case):
    points: tuple[Point, ...]


@dataclass(frozen=True)
class Went:
    """What became of one message."""

    point: Point
    message: Next
    answer: dict[str, Any]

    @property
    def right(self) -> bool:
        return self.answer["lane"] in self.message.lane

    @property
    def sure(self) -> bool:
        return not self.answer["abstain"]


def load_points(path: Path = CASES / "lanes_300.yaml") -> tuple[Point, ...]:
    return _Points.model_validate(yaml.safe_load(path.read_text("utf-8"))).points


async def play(folder: Path, points: Sequence[Point], progress: Progress = quiet) -> list[Went]:
    went: list[Went] = []
    async with running(folder, progress) as desk:
        route = Routing(desk.player.context_for(await demo_customer(desk, "ana"), "lanes"))
        for number, point in enumerate(points):
            progress("Routing messages", number, len(points))
            for message in point.next:
                row = {"text": message.text, "history": point.history}
                went.append(Went(point, message, await route(row)))
    progress("Routing messages", len(points), len(points))
    return went


def report(went: Sequence[Went]) -> Report:
    from models.train.classifier import calibration_error

    found = Report("lanes")
    for part in ("dev", "test"):
        of_part = [one for one in went if one.point.part == part]
        if not of_part:
            continue
        sure = [one for one in of_part if one.sure]
        found.figures += [
            Figure(
                f"{part}: right lane where the router was sure",
                100 * sum(one.right for one in sure) / max(len(sure), 1),
                "%",
                at_least(95),
            ),
            Figure(f"{part}: coverage", 100 * len(sure) / len(of_part), "%", at_least(90)),
            Figure(
                f"{part}: right lane, unsure guesses counted",
                100 * sum(one.right for one in of_part) / len(of_part),
                "%",
            ),
        ]
    if went:
        import numpy as np

        confidence = np.array([one.answer["probability"] for one in went])
        error = calibration_error(confidence, np.array([one.right for one in went]))
        found.figures.append(
            Figure("calibration error of the lane", round(error, 4), target=at_most(0.03))
        )
    found.tables += [_tiers(went), _misses(went)]
    for one in went:
        found.scored.append(
            Scored(
                suite=f"lanes {one.point.part}",
                label=one.message.lane[0],
                chosen=one.answer["lane"],
                confidence=one.answer["probability"],
                right=one.right,
                tier=one.answer["tier"],
                ms=one.answer["ms"],
            )
        )
    return found


def _tiers(went: Sequence[Went]) -> Table:
    table = Table("Who settled it", ("tier", "share", "right lane", "p50 ms", "p95 ms"))
    who = [one.answer["tier"] if one.sure else "nobody" for one in went]
    for tier, count in Counter(who).most_common():
        of_tier = [one for one, by in zip(went, who, strict=True) if by == tier]
        times = [one.answer["ms"] for one in of_tier]
        table.rows.append(
            (
                tier,
                f"{100 * count / len(went):.1f} %",
                f"{100 * sum(one.right for one in of_tier) / count:.1f} %",
                f"{percentile(times, 0.5):.1f}",
                f"{percentile(times, 0.95):.1f}",
            )
        )
    return table


def _misses(went: Sequence[Went]) -> Table:
    """Those of the dev part only: whoever reads the others tunes on them."""
    table = Table(
        "Misses of the dev part", ("point", "message", "right", "went to", "intent", "probability")
    )
    for one in went:
        if one.point.part == "dev" and not (one.right and one.sure):
            where = one.answer["lane"] if one.sure else f"({one.answer['lane']})"
            table.rows.append(
                (
                    one.point.id,
                    one.message.text,
                    "/".join(one.message.lane),
                    where,
                    one.answer["intent"],
                    f"{one.answer['probability']:.2f}",
                )
            )
    return table


def run(folders: Folders, progress: Progress = quiet, *, part: str = "all") -> Report:
    if part not in ("dev", "test", "all"):
        raise NotPossible(f"No such part: {part}. It is dev, test or all.")
    points = [point for point in load_points() if part in ("all", point.part)]
    return report(asyncio.run(play(folders.prepared(), points, progress)))
