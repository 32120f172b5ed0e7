"""What the running retrieval hands to the pruner, with what is right in it: the pruner is trained on nothing else."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import yaml

from app.knowledge.knowledge import HybridKnowledge
from app.models.encoder import OnnxEncoder
from models.train.domain import DOMAIN
from models.train.pruner_corpus import Corpus, Kind, Part, Question, bare, part_of
from tools.ports import Passage
from tools.sentences import split

RETRIEVED = 15
SHORT = 15  #: Letters; a shorter sentence may stand in a span by chance.
QUESTIONS = DOMAIN.examples / "questions.yaml"
Say = Callable[[str, int, int], None]


@dataclass(frozen=True)
class Listed:
    """A question and the passages found for it, best first."""

    kind: str
    part: Part
    question: str
    passages: tuple[Passage, ...]
    #: For each passage, for each of its sentences: whether it is what answers. Of our own articles one entry a
    #: passage: whether it is of an article that answers.
    gold: tuple[tuple[bool, ...], ...]
    parts: tuple[Part, ...]  #: Of each passage's document.

    @property
    def right(self) -> list[bool]:
        return [any(found) for found in self.gold]

    @property
    def answered(self) -> bool:
        return any(self.right)


async def public_index(folder: Path, corpus: Corpus, kind: Kind) -> HybridKnowledge:
    """A set's documents, ingested; a second time it is quick."""
    articles = folder / kind
    articles.mkdir(parents=True, exist_ok=True)
    names = files_of(corpus)
    for document in corpus.documents:
        if document.kind == kind:
            text = f"---\ntitle: {document.title!r}\n---\n{document.text}"
            (articles / names[document.name]).write_text(text, "utf-8")
    knowledge = HybridKnowledge.open(folder / f"{kind}-index", OnnxEncoder())
    await knowledge.ingest([articles])
    return knowledge


def files_of(corpus: Corpus) -> dict[str, str]:
    """The file that each document is written to."""
    return {each.name: f"{number:04}.txt" for number, each in enumerate(corpus.documents)}


async def public_lists(
    knowledge: HybridKnowledge, corpus: Corpus, questions: Sequence[Question], say: Say
) -> list[tuple[Listed, Listed]]:
    """What is found for each question, and what is left of it without any passage that answers."""
    found: list[tuple[Listed, Listed]] = []
    files = files_of(corpus)
    parts: dict[str, Part] = {files[each.name]: part_of(each.group) for each in corpus.documents}
    for number, question in enumerate(questions):
        form, own = question.form(number), files[question.document]
        first = await knowledge.retrieve(form, limit=RETRIEVED)
        more = await knowledge.retrieve(form, limit=3 * RETRIEVED)
        others = [
            passage
            for passage in more
            if file_of(passage) != own and not any(gold_of(question, passage, own=False))
        ]
        listed = partial(labelled, question, form, own, parts)
        found.append((listed(first), listed(others[:RETRIEVED])))
        say(f"retrieved for {question.kind}", number + 1, len(questions))
    return found


def labelled(
    question: Question,
    form: str,
    own: str,
    parts: Mapping[str, Part],
    passages: Sequence[Passage],
) -> Listed:
    """What was found, with what is right in it. ``own``: the file of the question's document."""
    return Listed(
        kind=question.kind,
        part=part_of(question.group),
        question=form,
        passages=tuple(passages),
        gold=tuple(gold_of(question, p, own=file_of(p) == own) for p in passages),
        parts=tuple(parts[file_of(p)] for p in passages),
    )


def file_of(passage: Passage) -> str:
    return Path(passage.source).name


def gold_of(question: Question, passage: Passage, *, own: bool) -> tuple[bool, ...]:
    """Which sentences have a span in them, or are a part of one that the passage has. In another document
    (not ``own``) only a span that cannot stand there by chance counts: some pages say the same."""
    whole = bare(passage.text)
    spans = [bare(span) for span in question.spans]
    spans = [s for s in spans if s and within(s, whole) and (own or len(s) > SHORT)]
    return tuple(
        any(within(span, text) or (len(text) > SHORT and within(text, span)) for span in spans)
        for text in map(bare, split(passage.text))
    )


def within(part: str, whole: str) -> bool:
    """Whether these words, whole ones, stand in there in this order."""
    return f" {part} " in f" {whole} "


async def own_lists(folder: Path) -> list[Listed]:
    """Questions to the demo shop's articles, answered there or not."""
    given: dict[str, list[Any]] = yaml.safe_load(QUESTIONS.read_text("utf-8"))
    asked: Iterable[tuple[str, str | None]] = [
        *((row["question"], row["article"]) for row in given["answered"]),
        *((question, None) for question in given["nothing"]),
    ]
    knowledge = HybridKnowledge.open(folder / "own-index", OnnxEncoder())
    await knowledge.ingest([DOMAIN.knowledge])
    found: list[Listed] = []
    for question, article in asked:
        passages = tuple(await knowledge.retrieve(question))
        gold = tuple((Path(p.source).stem == article,) for p in passages)
        if article is None or any(any(one) for one in gold):
            parts: tuple[Part, ...] = ("train",) * len(passages)
            found.append(Listed("own", "train", question, passages, gold, parts))
    knowledge.close()
    return found
