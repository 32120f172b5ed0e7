"""The knowledge base that the settings name, for the server and for the commands."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable
from typing import TYPE_CHECKING

from app.config import Settings
from app.knowledge import ANSWERING
from app.knowledge.embeddings import EmbeddingCache
from app.knowledge.knowledge import HybridKnowledge
from app.knowledge.manifest import Manifest
from app.knowledge.nearest import NearestSentences, SentenceEmbedder
from app.knowledge.pruner import Pruner
from app.knowledge.quarantine import Quarantine
from app.models.manifest import ManifestError
from app.models.multilingual import DIMENSIONS, SHA256, MultilingualEncoder
from app.models.multilingual import NAME as NAME_OF_MODEL
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
    model: MultilingualEncoder, manifest: ArtefactManifest | None
) -> Callable[[EmbeddingCache | None], NearestSentences]:
    """The search for single sentences by that model, centred as its heads are."""

    def questions() -> NDArray[np.float32] | None:
        entry = manifest.heads.get("intent") if manifest is not None else None
        if manifest is None or entry is None or not entry.reads:
            return None
        return read_mean(manifest.path(entry))

    embedder = _passages(model)
    return lambda cache: NearestSentences(embedder, questions=questions, cache=cache)


def quarantine_by(
    model: MultilingualEncoder, manifest: ArtefactManifest | None
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

    embedder = _passages(model)
    return lambda cache: Quarantine(head, embedder, cache)


def _passages(model: MultilingualEncoder) -> SentenceEmbedder:
    return SentenceEmbedder(model, f"{NAME_OF_MODEL} {SHA256[:12]} passage", DIMENSIONS)


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
