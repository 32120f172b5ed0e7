"""What somebody should look at: stale, contradicting, duplicate and never-retrieved documents."""

from __future__ import annotations

import asyncio
import re
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from itertools import combinations
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import TypeAdapter

from app.knowledge.documents import Document
from app.knowledge.embeddings import BATCH, Embedder
from app.knowledge.ingest import Progress, quiet
from app.knowledge.knowledge import HybridKnowledge
from app.knowledge.manifest import Entry, Use
from tools.sentences import split

STALE_DAYS = 365
#: Two sentences this close, in so many of the same words, are about the same thing.
CLOSE, SAME_WORDS = 0.85, 0.7
#: This share of the shorter document's sentences stands in the other one too.
DUPLICATE = 0.8
#: More sentences than this are not compared: the report says so.
MOST_SENTENCES = 20_000
READ_AT_ONCE = 200

NUMBER = re.compile(r"\d+(?:[.,:]\d+)*")
NEGATION = re.compile(r"\b(?:no|not|never|cannot|none|nor|without|un\w+ed)\b|n't\b", re.IGNORECASE)
#: A product, a plan, a place: what is named otherwise is something else.
NAME = re.compile(r"(?<=\w )[A-Z]\w+")
WORD = re.compile(r"[^\W\d_]{2,}")
COMMON = frozenset(
    [
        "the",
        "and",
        "for",
        "are",
        "with",
        "can",
        "may",
        "must",
        "will",
        "that",
        "this",
        "from",
        "have",
        "has",
        "its",
        "you",
        "your",
        "our",
        "they",
        "their",
        "was",
    ]
)


@dataclass(frozen=True)
class Standing:
    """One document today."""

    source: str
    title: str
    status: str  #: current, superseded, outdated, draft or expired.
    audience: str
    tenant: str
    owner: str | None
    version: str | None
    updated: date | None
    expires: date | None
    chunks: int
    retrieved: int
    kept: int


@dataclass(frozen=True)
class Contradiction:
    """Two sentences about the same thing that cannot both be right."""

    why: str
    one: str
    one_says: str
    other: str
    other_says: str


@dataclass(frozen=True)
class Duplicate:
    """Two documents of which one says nothing new."""

    one: str
    other: str
    share: float  #: Of the shorter one's sentences.


@dataclass(frozen=True)
class KnowledgeReport:
    """Everything the report shows."""

    version: str
    model: str
    outdated: str | None
    documents: list[Standing]
    stale: list[tuple[str, str]]
    contradictions: list[Contradiction]
    duplicates: list[Duplicate]
    never_retrieved: list[str]
    failed: list[tuple[str, str]]
    warned: list[tuple[str, str]]
    compared: int  #: Sentences.
    sentences: int


async def report_on(
    knowledge: HybridKnowledge, *, stale_days: int = STALE_DAYS, progress: Progress = quiet
) -> KnowledgeReport:
    """Look at every document; sentences are embedded once and then known."""
    await asyncio.to_thread(knowledge.write_counts)
    manifest, live = knowledge.manifest, knowledge.live
    entries = await asyncio.to_thread(manifest.entries, live.generation.number) if live else {}
    uses = await asyncio.to_thread(manifest.uses)
    today = knowledge.clock.today()
    standings = [standing(entry, uses.get(entry.source), today) for entry in entries.values()]
    current = [each.source for each in standings if each.status == "current"]
    said: list[tuple[str, str]] = []
    for start in range(0, len(current), READ_AT_ONCE):
        part = current[start : start + READ_AT_ONCE]
        documents = await asyncio.to_thread(manifest.read_documents, part)
        said += await asyncio.to_thread(sentences_of, documents)
    compared = said[:MOST_SENTENCES]
    found: list[Contradiction] = []
    if live:
        vectors = await embedded([text for _, text in compared], live.embedder, progress)
        found = await asyncio.to_thread(lambda: list(contradictions(compared, vectors)))
    return KnowledgeReport(
        version=knowledge.version,
        model=live.generation.model if live else knowledge.model,
        outdated=knowledge.outdated,
        documents=standings,
        stale=list(stale(standings, today, stale_days)),
        contradictions=found,
        duplicates=duplicates(said),
        never_retrieved=[source for source in current if source not in uses],
        failed=await asyncio.to_thread(manifest.failures),
        warned=[(e.source, reason) for e in entries.values() for reason in e.warnings],
        compared=len(compared),
        sentences=len(said),
    )


def standing(entry: Entry, use: Use | None, today: date) -> Standing:
    front = entry.front
    expired = front.expires is not None and front.expires <= today
    return Standing(
        source=entry.source,
        title=entry.title,
        status="expired" if expired and entry.status == "current" else entry.status,
        audience=front.audience,
        tenant=front.tenant,
        owner=front.owner,
        version=front.version,
        updated=front.updated,
        expires=front.expires,
        chunks=len(entry.chunks),
        retrieved=use.retrieved if use else 0,
        kept=use.kept if use else 0,
    )


def stale(standings: Sequence[Standing], today: date, days: int) -> Iterator[tuple[str, str]]:
    for each in standings:
        if each.status == "expired":
            yield each.source, f"expired on {each.expires}"
        elif each.status != "current":
            yield each.source, each.status
        elif each.updated and each.updated < today - timedelta(days=days):
            yield each.source, f"last updated on {each.updated}"
        elif each.expires and each.expires < today + timedelta(days=30):
            yield each.source, f"expires on {each.expires}"


def sentences_of(documents: Sequence[Document]) -> list[tuple[str, str]]:
    """Every sentence with the document it stands in."""
    return [
        (document.source, sentence)
        for document in documents
        for section in document.sections
        for block in section.blocks
        for sentence in split(block)
    ]


def duplicates(said: Sequence[tuple[str, str]]) -> list[Duplicate]:
    """Pairs of documents of which one is nearly contained in the other."""
    sizes: Counter[str] = Counter()
    holders: dict[str, set[str]] = defaultdict(set)
    for source, sentence in said:
        key = " ".join(sentence.lower().split())
        sizes[source] += source not in holders[key]
        holders[key].add(source)
    shared: Counter[tuple[str, str]] = Counter()
    for sources in holders.values():
        # What stands everywhere, such as a footer, makes nothing a duplicate.
        if 1 < len(sources) <= 20:
            shared.update(combinations(sorted(sources), 2))
    found = [
        Duplicate(one, other, round(count / min(sizes[one], sizes[other]), 2))
        for (one, other), count in shared.items()
    ]
    return sorted((d for d in found if d.share >= DUPLICATE), key=lambda d: -d.share)


async def embedded(
    texts: Sequence[str], embedder: Embedder, progress: Progress
) -> NDArray[np.float32]:
    if not texts:
        return np.zeros((0, 1), dtype=np.float32)
    vectors: list[list[float]] = []
    for start in range(0, len(texts), 8 * BATCH):
        vectors += await embedder.embed(texts[start : start + 8 * BATCH])
        progress("Comparing sentences", len(vectors), len(texts))
    return np.asarray(vectors, dtype=np.float32).reshape(len(texts), -1)


def contradictions(
    said: Sequence[tuple[str, str]], vectors: NDArray[np.float32]
) -> Iterator[Contradiction]:
    """Sentences of two documents about the same thing, with other numbers or with a "not" more."""
    words = [words_of(text) for _, text in said]
    for start in range(0, len(said), 1000):
        near = vectors[start : start + 1000] @ vectors.T
        for row, column in np.argwhere(near >= CLOSE).tolist():
            one, other = start + row, column
            if one >= other or said[one][0] == said[other][0]:
                continue
            if why := at_odds(said[one][1], said[other][1], words[one], words[other]):
                yield Contradiction(why, *said[one], *said[other])


def words_of(text: str) -> frozenset[str]:
    return frozenset(WORD.findall(NEGATION.sub(" ", text.lower()))) - COMMON


def at_odds(one: str, other: str, words: frozenset[str], others: frozenset[str]) -> str | None:
    """Why two sentences cannot both be right; None: they can, or are not about the same thing."""
    if len(words & others) < SAME_WORDS * max(len(words | others), 3):
        return None
    if set(NAME.findall(one)) != set(NAME.findall(other)):
        return None
    numbers, others_numbers = set(NUMBER.findall(one)), set(NUMBER.findall(other))
    # One that says more than the other need not say anything else.
    if not (numbers <= others_numbers or others_numbers <= numbers):
        return "other numbers"
    if len(NEGATION.findall(one)) % 2 != len(NEGATION.findall(other)) % 2:
        return "one says not"
    return None


def as_json(report: KnowledgeReport) -> dict[str, Any]:
    """The report as it goes over the wire."""
    return TypeAdapter(KnowledgeReport).dump_python(report, mode="json")


#: Title, columns and rows.
Shown = tuple[str, tuple[str, ...], list[tuple[str, ...]]]


def shown(report: dict[str, Any]) -> list[Shown]:
    """What of a report in JSON is shown as tables."""
    why = ("document", "why")
    return [
        ("Stale", why, [(source, reason) for source, reason in report["stale"]]),
        (
            "Contradicting",
            ("why", "document", "says", "document", "says"),
            [
                (c["why"], c["one"], c["one_says"], c["other"], c["other_says"])
                for c in report["contradictions"]
            ],
        ),
        (
            "Duplicate",
            ("document", "document", "shared"),
            [(d["one"], d["other"], f"{d['share']:.0%}") for d in report["duplicates"]],
        ),
        ("Never retrieved", ("document",), [(source,) for source in report["never_retrieved"]]),
        ("Could not be used", why, [(source, reason) for source, reason in report["failed"]]),
        ("To be looked at", why, [(source, reason) for source, reason in report["warned"]]),
    ]
