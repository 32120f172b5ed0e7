"""The knowledge base that the settings name, for the server and for the commands."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable
from functools import cache
from typing import TYPE_CHECKING

from app.config import Settings
from app.knowledge import ANSWERING
from app.knowledge.embeddings import Embedder, EmbeddingCache
from app.knowledge.knowledge import HybridKnowledge
from app.knowledge.manifest import Manifest
from app.knowledge.nearest import NearestSentences, SentenceEmbedder
from app.knowledge.prepared import FILE, Prepared, PreparedEmbedder, read_vectors
from app.knowledge.pruner import Pruner
from app.knowledge.quarantine import Quarantine
from app.knowledge.questions import KnownQuestions
from app.models.manifest import ManifestError
from app.models.multilingual import DIMENSIONS, MultilingualEncoder, made_by
from app.models.turn_heads import TurnHead, read_mean, read_turn_head
from app.stores.database import create_engine, migrate
from tools.injection import HEAD
from tools.ports import Encoder
from tools.values import Clock

if TYPE_CHECKING:
    from pathlib import Path

    import numpy as np
    from numpy.typing import NDArray

    from app.models.manifest import Manifest as ArtefactManifest
    from tools.domain import Domain

log = logging.getLogger(__name__)

NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,39}")


def open_knowledge(
    settings: Settings,
    encoder: Encoder,
    *,
    collection: str = ANSWERING,
    load_pruner: Callable[[], Pruner] | None = None,
    clock: Clock | None = None,
    sentences: Callable[[EmbeddingCache | None], NearestSentences] | None = None,
    quarantine: Callable[[EmbeddingCache | None], Quarantine] | None = None,
) -> HybridKnowledge:
    """Open a collection; raises IndexInUse when another process has the embedded one."""

    def shared_manifest(name: str) -> Manifest:
        migrate(settings.database)
        return Manifest(create_engine(settings.database), name, clock=clock)

    key = settings.qdrant_api_key.get_secret_value() if settings.qdrant_api_key else None
    return HybridKnowledge.open(
        folder_of(settings),
        encoder,
        url=settings.qdrant_url,
        key=key,
        collection=collection,
        open_manifest=shared_manifest,
        load_pruner=load_pruner,
        clock=clock,
        model=settings.embedding_model,
        sentences=sentences,
        quarantine=quarantine,
    )


def sentence_search(
    model: MultilingualEncoder,
    manifest: ArtefactManifest | None,
    domain: Domain | None = None,
) -> Callable[[EmbeddingCache | None], NearestSentences]:
    """The search for single sentences by that model, centred as its heads are; with a domain's known
    questions, and with the vectors that `signalbox domain train` made."""

    def questions() -> NDArray[np.float32] | None:
        entry = manifest.heads.get("intent") if manifest is not None else None
        if manifest is None or entry is None or not entry.reads:
            return None
        return read_mean(manifest.path(entry))

    embedder = _passages(model, domain)
    known = KnownQuestions(domain.answered if domain is not None else ())
    return lambda cache: NearestSentences(embedder, questions=questions, cache=cache, known=known)


def quarantine_by(
    model: MultilingualEncoder, manifest: ArtefactManifest | None, domain: Domain | None = None
) -> Callable[[EmbeddingCache | None], Quarantine]:
    """What keeps chunks that give orders from being read: the head `injection` on the same vectors."""

    def head() -> tuple[TurnHead, float] | None:
        entry = manifest.heads.get(HEAD) if manifest is not None else None
        if manifest is None or entry is None or not isinstance(entry.threshold, int | float):
            return None
        try:
            return read_turn_head(manifest.path(entry), entry), float(entry.threshold)
        except ManifestError as error:
            log.error("the rules alone look for orders in articles: %s", error)
            return None

    embedder = _passages(model, domain)
    return lambda cache: Quarantine(head, embedder, cache)


def _passages(model: MultilingualEncoder, domain: Domain | None) -> Embedder:
    embedder = SentenceEmbedder(model, f"{made_by()} passage", DIMENSIONS)
    if domain is None:
        return embedder
    return PreparedEmbedder(embedder, _prepared(domain.folder / FILE))


@cache
def _prepared(file: Path) -> Prepared:
    return read_vectors(file, made_by(), DIMENSIONS)


def folder_of(settings: Settings) -> Path:
    return settings.data_dir / "knowledge"


def erase(settings: Settings, encoder: Encoder, collection: str) -> None:
    """Throw a collection away, with its index and its list of documents."""
    import shutil

    knowledge = open_knowledge(settings, encoder, collection=collection)
    try:
        for generation in knowledge.manifest.generations().values():
            knowledge.indexes.drop(generation.number)
        knowledge.manifest.erase()
    finally:
        knowledge.close()
    if not settings.qdrant_url:
        shutil.rmtree(folder_of(settings) / collection)
