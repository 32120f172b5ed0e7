"""Whether answers say what was asked: our own questions, each with a fact that a good answer must contain."""

from __future__ import annotations

import asyncio
import statistics
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel, ConfigDict

from app.knowledge.knowledge import HybridKnowledge
from app.knowledge.opening import sentence_search
from app.knowledge.pruner import open_pruner
from app.models.encoder import OnnxEncoder
from app.models.manifest import SHIPPED, manifest_for
from domains.northfell.words import LEXICON
from evals.domain import DOMAIN
from evals.figures import Figure, Report, Table, at_least
from evals.world import Folders, Progress, quiet, settings_in
from graphs.answering import ENGLISH, together
from graphs.nodes.answer import NEAREST, best_quotes, quotes
from tools.ports import Encoder, LargeModel, Passage

CASES = DOMAIN.cases / "answers.yaml"
CASES_DE = DOMAIN.cases / "answers_de.yaml"


class Case(BaseModel):
    """A question, the articles that answer it, and words of which a good answer has one."""

    model_config = ConfigDict(extra="forbid")
    id: str
    question: str
    articles: list[str]
    says: list[str]


@dataclass
class Way:
    """One way to choose the sentences of an answer, and what came of it."""

    name: str
    right: list[str] = field(default_factory=list[str])  #: Cases whose answer has the fact.
    first: int = 0  #: Whose first sentence has it.
    words: list[int] = field(default_factory=list[int])
    missed: list[str] = field(default_factory=list[str])

    def take(self, case: Case, sentences: Sequence[str]) -> None:
        texts = [sentence.casefold() for sentence in sentences]
        wanted = [words.casefold() for words in case.says]
        has = [any(words in text for words in wanted) for text in texts]
        (self.right if any(has) else self.missed).append(case.id)
        self.first += bool(has) and has[0]
        self.words.append(sum(len(text.split()) for text in texts))


def load_cases() -> list[Case]:
    return [Case.model_validate(row) for row in yaml.safe_load(CASES.read_text("utf-8"))["answers"]]


def run(folders: Folders, progress: Progress = quiet, *, model: bool = True) -> Report:
    """Each question through retrieval and pruning; then each way of choosing on the same kept sentences."""
    return asyncio.run(_run(folders.prepared(), progress, model))


async def _run(folder: Path, progress: Progress, with_model: bool) -> Report:
    settings = settings_in(folder)
    cases, encoder = load_cases(), OnnxEncoder()
    knowledge = HybridKnowledge.open(
        folder / "answering",
        encoder,
        load_pruner=lambda: open_pruner(settings.pruner, SHIPPED, folder / "knowledge"),
        sentences=sentence_search(encoder.multilingual, manifest_for(DOMAIN), DOMAIN),
    )
    await knowledge.ingest([DOMAIN.knowledge])
    await knowledge.pruner_ready()
    await knowledge.sentences_ready()
    kept: list[list[Passage]] = []
    for done, case in enumerate(cases):
        progress("Retrieving and pruning", done, len(cases))
        found = await knowledge.retrieve(case.question, language=ENGLISH)
        kept.append(await knowledge.prune(case.question, found))
    both = Way("the pruner and the nearest sentences together, at most 3")
    for case, passages in zip(cases, kept, strict=True):
        near = await knowledge.nearest(case.question, limit=NEAREST, language=ENGLISH)
        found = together(passages, near, case.question, LEXICON, english=True)
        both.take(case, best_quotes(found))
    german = await in_german(knowledge, cases)
    knowledge.close()
    ways = [Way(f"the pruner's best {most}") for most in (1, 2, 3)]
    by_meaning = Way("the 2 nearest in meaning")
    for case, passages in zip(cases, kept, strict=True):
        for most, way in enumerate(ways, 1):
            way.take(case, best_quotes(passages, most, share=0.0))
        by_meaning.take(case, (await nearest(encoder, case.question, quotes(tuple(passages))))[:2])
    ways += [by_meaning, both]
    if with_model:
        ways.append(await by_model(settings, cases, kept, encoder, progress))
    report = Report("answers", notes=[f"Pruned by {knowledge.pruned_by}; {len(cases)} questions."])
    table = Table(
        "What the answer is made of",
        ("sentences chosen by", "has the fact %", "in its first %", "words"),
    )
    for way in ways:
        table.rows.append(
            (
                way.name,
                f"{100 * len(way.right) / len(cases):.0f}",
                f"{100 * way.first / len(cases):.0f}",
                f"{statistics.mean(way.words):.0f}",
            )
        )
    report.tables.append(table)
    table.rows.append(
        (
            f"in German ({len(german.words)} questions), the nearest sentences",
            f"{100 * len(german.right) / len(german.words):.0f}",
            f"{100 * german.first / len(german.words):.0f}",
            f"{statistics.mean(german.words):.0f}",
        )
    )
    ours, asked = ways[2], ways[-1]
    held = sum(
        any(Path(p.source).stem in c.articles for p in k) for c, k in zip(cases, kept, strict=True)
    )
    report.figures = [
        Figure("a right article among the kept chunks", 100 * held / len(cases), "%"),
        Figure(
            "answers with the fact that was asked for, the pruner's best three",
            100 * len(ours.right) / len(cases),
            "%",
            target=at_least(round(100 * len(asked.right) / len(cases), 1)),
            baseline=f"{asked.name}: {100 * len(asked.right) / len(cases):.0f} %",
            ratio=len(ours.right) / max(len(asked.right), 1),
        ),
    ]
    report.notes.append(f"Without it: {', '.join(ours.missed) or 'none'}.")
    return report


async def in_german(knowledge: HybridKnowledge, cases: Sequence[Case]) -> Way:
    """The same questions as German customers ask them."""
    asked = yaml.safe_load(CASES_DE.read_text("utf-8"))
    by_id = {case.id: case for case in cases}
    way = Way("in German")
    for row in asked["answers"]:
        for language in ("de", ENGLISH):
            near = await knowledge.nearest(row["question"], limit=NEAREST, language=language)
            found = together((), near, row["question"], LEXICON, english=False)
            if found:
                break
        case = by_id[row["id"]]
        # The fact in the words of the German article, or of the English one where that has to do.
        way.take(case.model_copy(update={"says": [*case.says, *row["says"]]}), best_quotes(found))
    return way


async def nearest(encoder: Encoder, question: str, sentences: Sequence[str]) -> list[str]:
    """Sentences by their cosine with the question."""
    if not sentences:
        return []
    asked, *vectors = await encoder.embed([question, *sentences])
    near = [sum(a * b for a, b in zip(asked, v, strict=True)) for v in vectors]
    return [sentences[n] for n in sorted(range(len(near)), key=lambda n: -near[n])]


async def by_model(
    settings: Any,
    cases: Sequence[Case],
    kept: Sequence[Sequence[Passage]],
    encoder: Encoder,
    progress: Progress,
) -> Way:
    """What answers were until now: the 135M model picks two or three of the four nearest in meaning."""
    from app.models.large import EmbeddedLargeModel
    from app.serving import open_models

    way = Way("the 135M model, of the 4 nearest in meaning")
    async with open_models(settings) as models:
        assert models.server is not None
        large = EmbeddedLargeModel(models.server, extractive=0)
        for done, (case, passages) in enumerate(zip(cases, kept, strict=True)):
            progress("Asking the embedded model", done, len(cases))
            offered = (await nearest(encoder, case.question, quotes(tuple(passages))))[:4]
            way.take(case, await written(large, case.question, offered))
    return way


async def written(large: LargeModel, question: str, offered: Sequence[str]) -> list[str]:
    if not offered:
        return []
    bare = "\n".join([*offered, "", f"Question: {question}", "Answer:"])
    text = "".join(
        [token async for token in large.write("synthesizer", "", bare, quotes=offered, bare=bare)]
    )
    return sorted((one for one in offered if one in text), key=text.index)
