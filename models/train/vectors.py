"""Vectors of what a domain's articles say and its customers ask, so that no start of the agent has to read them."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from app.knowledge.knowledge import HybridKnowledge
from app.knowledge.nearest import NearestSentences, SentenceEmbedder
from app.knowledge.prepared import FILE, PreparedEmbedder, Recorder, read_vectors, write_vectors
from app.knowledge.questions import KnownQuestions
from app.models.encoder import OnnxEncoder
from app.models.multilingual import DIMENSIONS, made_by
from models.train.kept_out import leaks
from models.train.understanding import ExamplesInvalid
from tools.domain import Domain

#: What all have in common is taken off where they are used.
_NOTHING = np.zeros(DIMENSIONS, np.float32)


def prepare_vectors(domain: Domain, kept_out: Sequence[str] = ()) -> int:
    """Read every sentence and known question that has no vector yet, and write the domain's file of them; how
    many it holds. ExamplesInvalid is raised where a question is one of ``kept_out``, the messages of the
    evaluation sets."""
    asked = [text for one in domain.answered for text in one.questions]
    if found := leaks(asked, kept_out):
        raise ExamplesInvalid(
            f"{len(found)} known questions are in an evaluation set, which would measure nothing any more. Take them "
            f"out: {'; '.join(map(str, found[:5]))}"
        )
    return asyncio.run(_prepare(domain))


async def _prepare(domain: Domain) -> int:
    file, encoder = domain.folder / FILE, OnnxEncoder()
    bare = SentenceEmbedder(encoder.multilingual, made_by(), DIMENSIONS)
    recorder = Recorder(PreparedEmbedder(bare, read_vectors(file, made_by(), DIMENSIONS)))

    def sentences(_: object) -> NearestSentences:
        return NearestSentences(
            recorder, questions=lambda: _NOTHING, known=KnownQuestions(domain.answered)
        )

    with tempfile.TemporaryDirectory() as folder:
        knowledge = HybridKnowledge.open(Path(folder), encoder, sentences=sentences)
        try:
            await knowledge.ingest([domain.knowledge])
            await knowledge.sentences_ready()
        finally:
            knowledge.close()
    write_vectors(file, recorder.made, made_by())
    return len(recorder.made)
