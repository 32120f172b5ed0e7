"""Chunks that give orders to whoever reads them for a customer: found by the head `injection`, and read by nobody."""

from __future__ import annotations

import asyncio
import hashlib
from collections import OrderedDict
from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from app.knowledge.embeddings import CachedEmbedder, Embedder, EmbeddingCache
from app.knowledge.nearest import in_its_context
from app.models.turn_heads import TurnHead
from tools.injection import instructs
from tools.sentences import split

#: Verdicts that are remembered; the vectors behind them are on the disk.
REMEMBERED = 60_000
#: Sentences that are judged in one call of a thread.
BATCH = 64
#: A chunk as it is judged: its title and its text.
Text = tuple[str, str]


class Quarantine:
    """Judges chunks sentence by sentence, by the vectors that the search for single sentences reads too."""

    def __init__(
        self,
        head: Callable[[], tuple[TurnHead, float] | None],
        embedder: Embedder,
        cache: EmbeddingCache | None = None,
    ) -> None:
        """``head``: the head and the probability from which on a sentence counts as an order; without one the
        rules alone tell."""
        self._load = head
        self._head: tuple[TurnHead, float] | None = None
        self._loaded = False
        self._embedder = CachedEmbedder(embedder, cache) if cache else embedder
        self._known: OrderedDict[bytes, float] = OrderedDict()

    async def flagged(self, texts: Sequence[Text]) -> list[float | None]:
        """Of each chunk the probability that it gives orders, where it counts as doing so; else None."""
        keys = [_key(text) for text in texts]
        unknown = {
            key: text for key, text in zip(keys, texts, strict=True) if key not in self._known
        }
        if unknown:
            judged = await self._judged(list(unknown.values()))
            for key, probability in zip(unknown, judged, strict=True):
                self._known[key] = probability
            while len(self._known) > max(REMEMBERED, len(keys)):
                self._known.popitem(last=False)
        return [found if (found := self._known[key]) >= 0 else None for key in keys]

    async def _judged(self, texts: Sequence[Text]) -> list[float]:
        """Probabilities; -1 for a chunk that is ordinary."""
        if not self._loaded:
            self._head = await asyncio.to_thread(self._load)
            self._loaded = True
        # A title is read by whoever reads the text.
        sentences = await asyncio.to_thread(
            lambda: [[*split(text), title] for title, text in texts]
        )
        found = [1.0 if any(map(instructs, said)) else -1.0 for said in sentences]
        if self._head is None:
            return found
        head, line = self._head
        lines = [
            (n, title, sentence)
            for n, ((title, _), said) in enumerate(zip(texts, sentences, strict=True))
            if found[n] < 0
            for sentence in said
            if any(letter.isalpha() for letter in sentence)
        ]
        for start in range(0, len(lines), BATCH):
            part = lines[start : start + BATCH]
            vectors = np.asarray(
                await self._embedder.embed([in_its_context(title, s) for _, title, s in part]),
                np.float32,
            )
            chances = await asyncio.to_thread(_chances, head, [s for *_, s in part], vectors)
            for (n, *_), chance in zip(part, chances, strict=True):
                if chance >= line:
                    found[n] = max(found[n], chance)
        return found


def _chances(head: TurnHead, sentences: Sequence[str], vectors: NDArray[np.float32]) -> list[float]:
    order = head.classifier.classes[1]
    return [
        head.decide(sentence, vector, None)[1][order]
        for sentence, vector in zip(sentences, vectors, strict=True)
    ]


def _key(text: Text) -> bytes:
    return hashlib.blake2b("\0".join(text).encode(), digest_size=16).digest()


def reason(probability: float) -> str:
    """What an operator is told of a quarantined chunk."""
    return f"it tells a model what to do ({probability:.0%}): put aside, not read and not quoted"
