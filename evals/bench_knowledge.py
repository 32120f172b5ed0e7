"""How well the knowledge finds, prunes and refuses: ``python -m evals.bench_knowledge``."""

from __future__ import annotations

import argparse
import asyncio
import statistics
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import yaml
from pydantic import BaseModel, ConfigDict

from app.knowledge.documents import tokens_in
from app.knowledge.index import Way
from app.knowledge.knowledge import HybridKnowledge
from app.knowledge.pruner import LoraPruner
from app.models.encoder import OnnxEncoder
from evals.domain import DOMAIN
from tools.ports import Passage

ROOT = Path(__file__).resolve().parents[1]
CASES = DOMAIN.cases / "retrieval.yaml"
ARTICLES = DOMAIN.knowledge
WAYS: tuple[Way, ...] = ("sparse", "dense", "hybrid")


class Case(BaseModel):
    """A question, and the articles any of which answers it (none: it must be refused)."""

    model_config = ConfigDict(extra="forbid")
    id: str
    question: str
    articles: list[str] = []
    why: str | None = None


class Cases(BaseModel):
    """The retrieval cases."""

    model_config = ConfigDict(extra="ignore")
    answerable: list[Case]
    unanswerable: list[Case]


@dataclass
class Figures:
    """What one pruner did on all cases."""

    name: str
    answered: int = 0  #: Answerable, something kept.
    right: int = 0  #: Answerable, a right article among the kept.
    first: int = 0  #: Answerable, the first kept chunk is from a right article.
    refused: int = 0  #: Unanswerable, nothing kept.
    chunks: list[int] = field(default_factory=list[int])
    tokens: list[float] = field(default_factory=list[float])
    ms: list[float] = field(default_factory=list[float])


def slug(passage: Passage) -> str:
    return Path(passage.source).stem


def rank(passages: Sequence[Passage], articles: Sequence[str]) -> int | None:
    """Place (from 1) of the first right article, counting every article once."""
    order = list(dict.fromkeys(slug(passage) for passage in passages))
    return next((place for place, name in enumerate(order, 1) if name in articles), None)


@dataclass(frozen=True)
class Found:
    """How well one way of searching finds."""

    way: Way
    recall: float  #: A right article is among the first five.
    mrr: float
    p50_ms: float


async def retrieval(knowledge: HybridKnowledge, cases: Cases) -> list[Found]:
    ways: list[Found] = []
    print(f"{'retrieval':<12}{'recall@5':>10}{'MRR':>8}{'p50 ms':>9}")
    for way in WAYS:
        ranks: list[int | None] = []
        spent: list[float] = []
        for case in cases.answerable:
            started = time.perf_counter()
            found = await knowledge.retrieve(case.question, way=way, language="en")
            spent.append(1000 * (time.perf_counter() - started))
            ranks.append(rank(found, case.articles))
        recall = sum(place is not None and place <= 5 for place in ranks) / len(ranks)
        mrr = sum(1 / place for place in ranks if place) / len(ranks)
        print(f"{way:<12}{recall:>10.3f}{mrr:>8.3f}{statistics.median(spent):>9.1f}")
        ways.append(Found(way, recall, mrr, statistics.median(spent)))
        if way == "hybrid":
            missed = [
                case.id
                for case, place in zip(cases.answerable, ranks, strict=True)
                if place is None or place > 5
            ]
            print(f"not in the first 5: {', '.join(missed) or 'none'}")
    return ways


async def pruning(knowledge: HybridKnowledge, cases: Cases, *, verbose: bool) -> Figures:
    figures = Figures(knowledge.pruned_by)
    for case in [*cases.answerable, *cases.unanswerable]:
        found = await knowledge.retrieve(case.question, language="en")
        started = time.perf_counter()
        kept = await knowledge.prune(case.question, found)
        figures.ms.append(1000 * (time.perf_counter() - started))
        if case.articles:
            hit = any(slug(passage) in case.articles for passage in kept)
            figures.answered += bool(kept)
            figures.right += hit
            figures.first += bool(kept) and slug(kept[0]) in case.articles
            figures.chunks.append(len(kept))
            whole = sum(tokens_in(passage.text) for passage in found)
            read = sum(tokens_in(text) for passage in kept for text in passage.sentences)
            figures.tokens.append(read / whole)
            wrong = not hit
        else:
            figures.refused += not kept
            wrong = bool(kept)
        if verbose and wrong:
            read = [f"{slug(passage)} {passage.score:.2f}" for passage in kept]
            print(f"  {case.id} {case.question!r}: kept {read}")
    return figures


def show(figures: Figures, cases: Cases) -> None:
    answerable, unanswerable = len(cases.answerable), len(cases.unanswerable)
    print(f"pruned by {figures.name}")
    print(f"  right article kept        {figures.right}/{answerable}")
    print(f"  right article first       {figures.first}/{answerable}")
    print(f"  answerable refused        {answerable - figures.answered}/{answerable}")
    print(f"  unanswerable refused      {figures.refused}/{unanswerable}")
    print(f"  chunks kept (mean)        {statistics.mean(figures.chunks):.2f}")
    print(f"  tokens kept of 15 chunks  {statistics.mean(figures.tokens):.3f}")
    print(f"  prune p50 (15 chunks)     {statistics.median(figures.ms):.0f} ms")


async def measure(*, verbose: bool = False) -> tuple[Cases, list[Found], list[Figures]]:
    """Ingest the articles, search and prune: how each way finds, then how each pruner prunes."""
    cases = Cases.model_validate(yaml.safe_load(CASES.read_text()))
    encoder = OnnxEncoder()
    with tempfile.TemporaryDirectory() as folder:
        cache = Path(folder) / "cache"
        knowledge = HybridKnowledge.open(Path(folder), encoder)
        started = time.perf_counter()
        report = await knowledge.ingest([ARTICLES])
        spent = time.perf_counter() - started
        print(f"{len(report.added)} articles, {report.embedded} chunks, ingested in {spent:.1f} s")
        started = time.perf_counter()
        again = await knowledge.ingest([ARTICLES])
        spent = 1000 * (time.perf_counter() - started)
        print(f"second run: {again.embedded} chunks embedded, {spent:.0f} ms")
        found = await retrieval(knowledge, cases)
        pruned = [await pruning(knowledge, cases, verbose=verbose)]
        knowledge.close()
        knowledge = HybridKnowledge.open(
            Path(folder), encoder, load_pruner=lambda: LoraPruner.load(ROOT / "models", cache)
        )
        await knowledge.pruner_ready()
        pruned.append(await pruning(knowledge, cases, verbose=verbose))
        knowledge.close()
    for figures in pruned:
        show(figures, cases)
    return cases, found, pruned


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--verbose", action="store_true", help="print the cases that went wrong")
    asyncio.run(measure(verbose=options.parse_args().verbose))


if __name__ == "__main__":
    main()
