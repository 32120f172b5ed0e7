"""Sentences by their nearness to a question in any language: beside the hybrid search, made in the background."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date
from functools import cached_property
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from app.knowledge.embeddings import CachedEmbedder, Embedder, EmbeddingCache
from app.knowledge.index import Index, Scope
from app.knowledge.questions import KnownQuestions, Place
from app.knowledge.selection import needed_by, with_neighbours
from tools.injection import instructs
from tools.ports import Passage
from tools.sentences import split

log = logging.getLogger(__name__)

Vector = NDArray[np.float32]

#: Sentences embedded in one call; between two of them a question's turn comes.
BATCH = 16
#: More are not held in memory (0.8 kB each); the hybrid search answers alone then.
MOST = 50_000
#: Chunks whose sentences are read from the index at a time.
PAGE = 256
#: So many sentences weigh as much as what all questions have in common: few have no mean of their own.
FEW = 30
#: Questions less alike than the first ask for different things, from the second on they ask for the same.
UNLIKE, ALIKE = 0.45, 0.6
#: What it counts, beside a sentence's own nearness, that a known question with this answer is like the one asked.
KNOWN = 0.9
#: So much nearer a question that nothing answers must be to take the answer from another.
DOUBT = 0.05
#: The encoder was taught to draw together what belongs together, so its cosines are larger than those of the plain one, on
#: which every line of graphs.answering was set. Of 260 questions by strangers, to sentences and to known questions: what one
#: says where the other says that, by their quantiles.
_TAUGHT = (-1.0, 0.168, 0.261, 0.356, 0.44, 0.509, 0.571, 0.628, 0.682, 0.731, 0.759, 0.79, 1.0)
_PLAIN = (-1.0, 0.08, 0.15, 0.2, 0.25, 0.3, 0.35, 0.4, 0.45, 0.5, 0.55, 0.6, 1.0)
_TAUGHT_QUESTIONS = (-1.0, 0.34, 0.59, 0.65, 0.70, 0.76, 1.0)
_PLAIN_QUESTIONS = (-1.0, 0.28, 0.43, 0.48, 0.53, 0.61, 1.0)
#: Sentences whose mean stands in for that of questions where no head brings it.
SAMPLE = 64


class SentenceModel(Protocol):
    """A model that reads questions and what is to be found, each in its own way. Synchronous."""

    def read(self, texts: Sequence[str]) -> Vector: ...
    def passages(self, texts: Sequence[str]) -> Vector: ...


class SentenceEmbedder:
    """That model as an embedder; its name holds its digest, so that no vector outlives its model."""

    def __init__(self, model: SentenceModel, name: str, size: int) -> None:
        self.model = model
        self.name = name
        self._size = size

    async def size(self) -> int:
        return self._size

    async def embed(self, texts: Sequence[str]) -> list[list[float]]:
        return (await asyncio.to_thread(self.model.passages, texts)).tolist()

    async def embed_query(self, text: str) -> list[float]:
        return (await asyncio.to_thread(self.model.read, [text]))[0].tolist()


@dataclass(frozen=True)
class Shelf:
    """The sentences of one state of the knowledge base; replaced as one."""

    version: str
    chunks: Mapping[str, Mapping[str, Any]] = field(default_factory=dict[str, Mapping[str, Any]])
    texts: Mapping[str, tuple[str, ...]] = field(default_factory=dict[str, tuple[str, ...]])
    #: Of each row of the matrix the chunk and the sentence's place in it.
    lines: Sequence[tuple[str, int]] = ()
    matrix: NDArray[np.float16] = field(default_factory=lambda: np.empty((0, 0), np.float16))
    #: Of each group of known questions where the sentences stand that answer it.
    answers: Mapping[int, tuple[Place, ...]] = field(default_factory=dict[int, tuple[Place, ...]])

    @cached_property
    def rows(self) -> dict[Place, int]:
        """The row of each place."""
        return {place: row for row, place in enumerate(self.lines)}


class NearestSentences:
    """Builds the shelf of sentences, one language after the other, and looks a question up in what is there."""

    def __init__(
        self,
        embedder: Embedder,
        *,
        questions: Callable[[], Vector | None] = lambda: None,
        cache: EmbeddingCache | None = None,
        known: KnownQuestions | None = None,
    ) -> None:
        """``questions``: the mean of the vectors of questions, where it is known. ``known``: questions whose
        answers are known."""
        self.embedder = CachedEmbedder(embedder, cache) if cache else embedder
        self._questions = questions
        self._mean: Vector | None = None
        self._known = known or KnownQuestions(())
        self.shelf = Shelf("")
        self.stopped = False

    async def build(self, version: str, index: Index, places: Mapping[str, int]) -> None:
        """Bring the shelf to this state of the index; a sentence that was read before is not read again."""
        started = time.perf_counter()
        chunks = await asyncio.to_thread(_chunks_of, index, places)
        texts = await asyncio.to_thread(
            lambda: {chunk: tuple(split(held["text"])) for chunk, held in chunks.items()}
        )
        lines = [
            (chunk, place)
            for chunk, found in texts.items()
            for place, text in enumerate(found)
            if not instructs(text) and any(letter.isalpha() for letter in text)
        ]
        if len(lines) > MOST:
            log.warning("%d sentences are more than are searched one by one", len(lines))
            self.shelf = Shelf(version)
            return
        if self._mean is None:
            self._mean = await asyncio.to_thread(self._questions)
        if self._mean is None and lines:
            # Sentences read as if they were asked have in common what questions have.
            sample = lines[:: max(1, len(lines) // SAMPLE)]
            asked = [await self.embedder.embed_query(texts[c][place]) for c, place in sample]
            self._mean = np.asarray(asked, np.float32).mean(0)
        await self._known.read(self.embedder, self._mean)
        answers = await asyncio.to_thread(self._known.places, texts, chunks)
        shelf = Shelf(version, chunks, texts, answers=answers)
        for language in _in_turn({chunks[chunk]["language"] for chunk, _ in lines}):
            own = [line for line in lines if chunks[line[0]]["language"] == language]
            read = await self._read([(chunks[c]["title"], texts[c][place]) for c, place in own])
            if read is None:
                return
            made = self._centred(read).astype(np.float16)
            whole = np.concatenate([shelf.matrix, made]) if shelf.lines else made
            shelf = replace(shelf, lines=[*shelf.lines, *own], matrix=whole)
            self.shelf = shelf
        self.shelf = shelf
        log.info("%d sentences to search in %.1f s", len(lines), time.perf_counter() - started)

    async def _read(self, sentences: Sequence[tuple[str, str]]) -> Vector | None:
        """The vectors of sentences with their titles; None where the work was stopped."""
        read = np.empty((len(sentences), await self.embedder.size()), np.float32)
        for start in range(0, len(sentences), BATCH):
            if self.stopped:
                return None
            part = sentences[start : start + BATCH]
            worded = [in_its_context(title, sentence) for title, sentence in part]
            read[start : start + len(part)] = await self.embedder.embed(worded)
        return read

    async def find(self, question: str, version: str, scope: Scope, limit: int) -> list[Passage]:
        """The ``limit`` nearest sentences that may be read, by their chunks, nearest chunk first; nothing
        where the shelf is of another version."""
        shelf = self.shelf
        if shelf.version != version or not shelf.lines or not question.strip():
            return []
        asked = np.asarray(await self.embedder.embed_query(question), np.float32)
        moved = asked - (asked * 0 if self._mean is None else self._mean)
        direction = moved / max(float(np.linalg.norm(moved)), 1e-9)
        near = np.interp(shelf.matrix @ direction, _TAUGHT, _PLAIN).astype(np.float32)
        for row, help_ in self._answering(shelf, direction).items():
            near[row] = max(near[row], help_)
        readable = {chunk for chunk, held in shelf.chunks.items() if _within(held, scope)}
        best: list[int] = []
        for row in np.argsort(-near, kind="stable").tolist():
            if shelf.lines[row][0] in readable:
                best.append(row)
                if len(best) == limit:
                    break
        found: dict[str, dict[int, float]] = {}
        for row in best:
            chunk, place = shelf.lines[row]
            found.setdefault(chunk, {})[place] = float(near[row])
        return [_passage(shelf, chunk, places) for chunk, places in found.items()]

    def _answering(self, shelf: Shelf, direction: Vector) -> dict[int, float]:
        """Rows of the sentences that answer known questions like this one, with what each helps."""
        likeness = {
            group: float(np.interp(near, _TAUGHT_QUESTIONS, _PLAIN_QUESTIONS))
            for group, near in self._known.near(direction).items()
        }
        unanswered = max((likeness.get(n, -1.0) for n in self._known.unanswered), default=-1.0)
        found: dict[int, float] = {}
        for group, near in likeness.items():
            places = shelf.answers.get(group, ())
            if near > unanswered - DOUBT and (help_ := helps_of(near)) > 0:
                for place in places:
                    if (row := shelf.rows.get(place)) is not None:
                        found[row] = max(found.get(row, 0.0), help_)
        return found

    def _centred(self, vectors: Vector) -> Vector:
        """Those of one language without what all have in common, of length one."""
        if not len(vectors):
            return vectors
        mean = vectors.mean(0)
        if self._mean is not None:
            mean = (vectors.sum(0) + FEW * self._mean) / (len(vectors) + FEW)
        moved = vectors - mean
        return moved / np.maximum(np.linalg.norm(moved, axis=1, keepdims=True), 1e-9)


def helps_of(likeness: float) -> float:
    """What it helps that a known question is this like: on the scale of a sentence's nearness."""
    if likeness >= ALIKE:
        return KNOWN * likeness
    return KNOWN * ALIKE * max(0.0, likeness - UNLIKE) / (ALIKE - UNLIKE)


def _in_turn(languages: Iterable[str]) -> list[str]:
    """English last: its articles are found by the other search as well, the others by nothing else."""
    return sorted(languages, key=lambda one: (one == "en", one))


def _chunks_of(index: Index, places: Mapping[str, int]) -> dict[str, Mapping[str, Any]]:
    wanted = list(places)
    found: dict[str, Mapping[str, Any]] = {}
    for start in range(0, len(wanted), PAGE):
        found |= index.payloads(wanted[start : start + PAGE])
    return found


def in_its_context(title: str, sentence: str) -> str:
    """A sentence as it is found: what it is about often stands in its headings only."""
    return f"{title.replace(' > ', '. ')}. {sentence}"


def _within(held: Mapping[str, Any], scope: Scope) -> bool:
    """Whether a chunk may be read, as the index's own filter has it."""
    expires = held.get("expires_day")
    return (
        held["audience"] in scope.audiences
        and (held.get("tenant") or "") in scope.tenants
        and held["status"] == "current"
        and scope.language in (None, held.get("language"))
        and (expires is None or expires > scope.today.toordinal())
    )


def _passage(shelf: Shelf, chunk: str, found: Mapping[int, float]) -> Passage:
    """The chunk with its near sentences and those that they need."""
    held, sentences = shelf.chunks[chunk], shelf.texts[chunk]
    wanted = {
        n
        for place in found
        for n in with_neighbours(sentences, place)
        if n == place or not instructs(sentences[n])
    }
    kept = sorted(wanted)
    return Passage(
        id=chunk,
        text=held["text"],
        title=held["title"],
        source=held["source"],
        updated=date.fromisoformat(held["updated"]) if held.get("updated") else None,
        language=held.get("language") or "en",
        score=round(max(found.values()), 4),
        sentences=tuple(sentences[place] for place in kept),
        helps=tuple(round(found.get(place, 0.0), 4) for place in kept),
        needs=needed_by(sentences, kept),
    )


__all__ = ["NearestSentences", "SentenceEmbedder", "SentenceModel"]
