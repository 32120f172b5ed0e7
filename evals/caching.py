"""How often the answer cache serves another wording, and whether it ever serves the wrong question."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

import yaml
from pydantic import BaseModel, ConfigDict

from app.answer_cache import NEAR, ProcessAnswers, cosine
from app.models.encoder import OnnxEncoder
from evals.domain import DOMAIN
from evals.figures import Figure, Report, Table, at_most
from evals.world import Folders, Progress, quiet
from graphs.sameness import shape

CASES = DOMAIN.cases / "answer_cache.yaml"
LINES = (0.75, 0.8, 0.85, 0.9, 0.95)


class Case(BaseModel):
    """A question whose answer is cached, wordings it serves, and look-alikes it must not."""

    model_config = ConfigDict(extra="forbid")
    part: str
    asked: str
    same: list[str]
    other: list[str]


@dataclass(frozen=True)
class Pair:
    """Two questions, whether one answer serves both, and what the rule looks at."""

    part: str
    asked: str
    again: str
    same: bool
    near: float
    shaped: bool


def load_cases() -> list[Case]:
    return [
        Case.model_validate(row) for row in yaml.safe_load(CASES.read_text("utf-8"))["questions"]
    ]


def run(folders: Folders, progress: Progress = quiet) -> Report:
    """Every cached question against every other wording, look-alike and question."""
    progress("Comparing questions", 0, 0)
    return asyncio.run(_run())


async def _run() -> Report:
    cases = load_cases()
    encoder = OnnxEncoder()
    pairs = await compared(cases, encoder)
    report = Report("cache")
    judged = [pair for pair in pairs if pair.part == "judge"]
    wrong, hits = await served([case for case in cases if case.part == "judge"], encoder)
    cosine_wrong = sum(pair.near >= NEAR for pair in judged if not pair.same)
    others = sum(not pair.same for pair in judged)
    report.figures = [
        Figure(
            "wrong answers served from the cache",
            len(wrong),
            "",
            target=at_most(0),
            baseline=f"cosine alone at {NEAR}: {cosine_wrong} of {others} look-alikes and other questions",
        ),
        Figure(
            "other wordings served from the cache",
            100 * hits,
            "%",
            baseline="0 % by the exact cache, but for case and punctuation",
        ),
    ]
    report.failures = [
        f"{asked!r} was answered with the answer to {known!r}" for asked, known in wrong
    ]
    for part in ("tune", "judge"):
        table = Table(
            f"By the least cosine ({part})",
            (
                "cosine",
                "same served %",
                "wrong, cosine alone",
                "same served %, words too",
                "wrong, words too",
            ),
        )
        some = [pair for pair in pairs if pair.part == part]
        for line in LINES:
            near = [pair for pair in some if pair.near >= line]
            both = [pair for pair in near if pair.shaped]
            total = sum(pair.same for pair in some)
            table.rows.append(
                (
                    f"{line:.2f}",
                    f"{100 * sum(p.same for p in near) / total:.0f}",
                    str(sum(not p.same for p in near)),
                    f"{100 * sum(p.same for p in both) / total:.0f}",
                    str(sum(not p.same for p in both)),
                )
            )
        report.tables.append(table)
    return report


async def compared(cases: list[Case], encoder: OnnxEncoder) -> list[Pair]:
    pairs: list[Pair] = []
    for case in cases:
        others = [*case.other, *(c.asked for c in cases if c is not case)]
        texts = [(text, True) for text in case.same] + [(text, False) for text in others]
        asked, *vectors = await encoder.embed([case.asked, *(text for text, _ in texts)])
        pairs += [
            Pair(
                case.part,
                case.asked,
                text,
                same,
                cosine(asked, vector),
                shape(case.asked) == shape(text),
            )
            for (text, same), vector in zip(texts, vectors, strict=True)
        ]
    return pairs


async def served(cases: list[Case], encoder: OnnxEncoder) -> tuple[list[tuple[str, str]], float]:
    """Through the cache itself, all questions in it at once: wrong answers, and the share of wordings served."""
    cache = ProcessAnswers(encoder, "semantic")
    scope = ("northfell", "public")
    for case in cases:
        await cache.keep(case.asked, scope, case.asked, ())
    wrong: list[tuple[str, str]] = []
    hits = total = 0
    for case in cases:
        for text in case.same:
            known = await cache.find(text, scope)
            total += 1
            hits += known is not None and known.question == case.asked
            if known is not None and known.question != case.asked:
                wrong.append((text, known.question))
        for text in case.other:
            if (known := await cache.find(text, scope)) is not None and known.question != text:
                wrong.append((text, known.question))
    return wrong, hits / total
