"""Known questions: a customer's question is looked up among those that articles are known to answer."""

from __future__ import annotations

import asyncio
import logging
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from tools.questions import Answered

log = logging.getLogger(__name__)

Vector = NDArray[np.float32]
#: Questions that are looked at, and what the second of a group counts.
NEAREST, SECOND = 300, 0.3
#: Questions read before others may go on.
BATCH = 64
#: A sentence as a place: its chunk, and where it stands in it.
Place = tuple[str, int]


class Asking(Protocol):
    """Reads a text as a question."""

    async def embed_query(self, text: str) -> list[float]: ...


class KnownQuestions:
    """Known questions as vectors, each with the sentences that answer it."""

    def __init__(self, answered: Sequence[Answered]) -> None:
        self.answered = answered
        self.unanswered = [n for n, one in enumerate(answered) if not one.sentences]
        #: Groups whose questions have nothing in common, and those of one.
        self._alone = {
            *self.unanswered,
            *(n for n, one in enumerate(answered) if len(one.questions) == 1),
        }
        self._groups = np.empty(0, np.int64)
        self._matrix: Vector = np.empty((0, 0), np.float32)

    async def read(self, embedder: Asking, mean: Vector | None) -> None:
        """Make the matrix, once. ``mean``: what questions have in common."""
        if len(self._groups) or not self.answered:
            return
        rows = [(n, text) for n, one in enumerate(self.answered) for text in one.questions]
        read: list[list[float]] = []
        for _, text in rows:
            read.append(await embedder.embed_query(text))
            if not len(read) % BATCH:
                await asyncio.sleep(0)  # What was prepared is there at once, and other turns wait.
        self._matrix = await asyncio.to_thread(_centred, read, mean)
        self._groups = np.array([n for n, _ in rows])

    def near(self, asked: Vector) -> dict[int, float]:
        """Of the groups of questions that are near how like they are to the question, which is centred and of
        length one: the cosine of the nearest, and a part of the next one's, so that one odd question decides
        nothing."""
        if not len(self._groups):
            return {}
        cosines = self._matrix @ asked
        best: dict[int, float] = {}
        second: dict[int, float] = {}
        looked_at = np.argsort(-cosines)[:NEAREST]
        for row in looked_at.tolist():
            group = int(self._groups[row])
            (second if group in best else best).setdefault(group, float(cosines[row]))
        least = float(cosines[looked_at[-1]])
        return {
            group: cosine
            if group in self._alone
            else (1 - SECOND) * cosine + SECOND * second.get(group, least)
            for group, cosine in best.items()
        }

    def places(
        self, texts: Mapping[str, Sequence[str]], chunks: Mapping[str, Mapping[str, Any]]
    ) -> dict[int, tuple[Place, ...]]:
        """Where the sentences of each group stand now. A group of which one stands no more answers nothing:
        half an answer may be without its exception."""
        # By its source too: an article for others may have the same name, and its sentences are not told.
        by: dict[tuple[str, str], dict[str, list[tuple[Place, str]]]] = {}
        for chunk, sentences in texts.items():
            held = chunks[chunk]
            source = str(held["source"])
            article = (Path(source).stem, str(held.get("language") or "en"))
            by.setdefault(article, {}).setdefault(source, []).extend(
                ((chunk, place), _bare(text)) for place, text in enumerate(sentences)
            )
        found: dict[int, tuple[Place, ...]] = {}
        lost = 0
        for number, one in enumerate(self.answered):
            sources = by.get((one.article, one.language), {})
            for standing in sources.values():
                wanted = [_standing(_bare(text), standing) for text in one.sentences]
                if wanted and all(wanted):
                    found[number] = tuple(dict.fromkeys(place for some in wanted for place in some))
                    break
            else:
                lost += bool(sources)
        if lost:
            log.warning(
                "%d groups of known questions are answered by sentences that their articles have no more; "
                "`signalbox domain check` names them",
                lost,
            )
        return found


def _centred(read: Sequence[Sequence[float]], mean: Vector | None) -> Vector:
    """The vectors without what all have in common, of length one."""
    made = np.asarray(read, np.float32)
    moved: Vector = made if mean is None else made - mean
    return moved / np.maximum(np.linalg.norm(moved, axis=1, keepdims=True), 1e-9)


def _standing(text: str, sentences: Iterable[tuple[Place, str]]) -> list[Place]:
    """Where a sentence stands: as one, as a part of a longer one, or split into several that make it up."""
    whole = [
        place for place, known in sentences if text == known or (" " in text and text in known)
    ]
    if whole:
        return whole
    parts = [(place, known) for place, known in sentences if known and known in text]
    return [place for place, _ in parts] if " ".join(known for _, known in parts) == text else []


def _bare(text: str) -> str:
    """The text without what may differ: spaces, and in a table's row the heads that a chunk has beside each cell."""
    if text.startswith("|"):
        cells = re.split(r"\s*[|;]\s*", text.strip("| "))
        return " | ".join(cell.rpartition(": ")[2] for cell in cells)
    return " ".join(text.split())
