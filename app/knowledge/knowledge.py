"""Retrieval and pruning over the ingested articles, as the graphs see them."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import logging
import os
import time
import uuid
from array import array
from collections import Counter, OrderedDict
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import date
from functools import partial
from pathlib import Path

from app.config import EMBEDDED_MODEL
from app.health import Checks, check
from app.knowledge.documents import chunks_of
from app.knowledge.embeddings import (
    CachedEmbedder,
    Embedder,
    EmbeddingCache,
    embedder_for,
)
from app.knowledge.formats import Options
from app.knowledge.index import (
    EdgeIndexes,
    Hit,
    Index,
    IndexBroken,
    Indexes,
    QdrantIndexes,
    Scope,
    Way,
)
from app.knowledge.ingest import (
    AT_ONCE,
    CUT,
    IngestReport,
    Progress,
    Target,
    catch_up,
    forget_file,
    healthy,
    mend,
    quiet,
    read_all,
    read_one,
    remove_gone,
)
from app.knowledge.manifest import Generation, Manifest, OpenManifest, version_of
from app.knowledge.nearest import NearestSentences
from app.knowledge.pruner import CosinePruner, Pruner, PrunerUnusable
from app.knowledge.quarantine import Quarantine, reason
from app.knowledge.selection import TOKEN_BUDGET, select
from tools.ports import Encoder, ModelUnavailable, Passage, PortError
from tools.values import Clock

log = logging.getLogger(__name__)

#: How long the index is waited for when somebody asks whether it can be reached.
REACH_SECONDS = 2.0
REMEMBERED = 2048
#: Earlier messages that a question is searched with. On dialogues about one document, more found it better
#: up to five; the encoder reads no further than its 256 tokens anyway.
TURNS = 5
#: What each further chunk of a document adds to its rank, as a share of the one before.
SECOND = 0.3
#: Seconds after which another replica's changes are seen here.
FOLLOWS = 2.0
#: Seconds a writer that says nothing more keeps the others waiting.
LEASE = 60.0
#: Seconds between two looks whether another writer has finished, and how long is waited for it.
WAITS, PATIENCE = 0.5, 300.0
#: So many chunks are looked through for orders while whoever sent a file waits; the others in the background.
EXAMINED = 60
#: Uses that are counted here before they are written down, and the seconds after which they are anyway.
COUNTED, COUNTED_SECONDS = 500, 60.0


class KnowledgeBusy(Exception):
    """The knowledge base is being changed by another process or re-indexed; try again in a minute."""


class NothingBefore(Exception):
    """There is no earlier index to go back to."""


class IndexUnhealthy(Exception):
    """The new index is not whole, so the old one goes on answering."""


@dataclass(frozen=True)
class Found:
    """A document that was found, with its best chunk."""

    document: str  #: The row's own id, or the file's name.
    source: str
    chunk: str
    title: str
    text: str
    score: float


@dataclass(frozen=True)
class View:
    """What questions are answered from; replaced as one, so that a search sees one index throughout."""

    version: str
    places: Mapping[str, int]  #: Chunk -> its place in its document.
    articles: Mapping[str, str] = field(default_factory=dict[str, str])  #: Source -> its digest.
    target: Target | None = None  #: None: nothing was ingested.


async def problem_of(indexes: Indexes, seconds: float = REACH_SECONDS) -> str | None:
    """Why the index cannot be reached within so many seconds; None where it can."""
    try:
        async with asyncio.timeout(seconds):
            await asyncio.to_thread(indexes.reach)
    except TimeoutError:
        return f"no answer within {seconds:g} s"
    except PortError as error:
        return str(error)
    return None


class HybridKnowledge:
    """Dense and sparse search, fused; then a pruner that may find nothing worth reading."""

    def __init__(
        self,
        indexes: Indexes,
        manifest: Manifest,
        encoder: Encoder,
        *,
        load_pruner: Callable[[], Pruner] | None = None,
        clock: Clock | None = None,
        model: str = EMBEDDED_MODEL,
        embedder_named: Callable[[str], Embedder] | None = None,
        cache: EmbeddingCache | None = None,
        budget: int = TOKEN_BUDGET,
        sentences: Callable[[EmbeddingCache | None], NearestSentences] | None = None,
        quarantine: Callable[[EmbeddingCache | None], Quarantine] | None = None,
    ) -> None:
        self.quarantine = quarantine(cache) if quarantine else None
        self.indexes = indexes
        self.manifest = manifest
        self.encoder = encoder
        self.clock = clock or Clock()
        self.model = model
        self.embedder_named = embedder_named or partial(embedder_for, encoder=encoder)
        self.cache = cache
        self.budget = budget
        self.sentences = sentences(cache) if sentences else None
        self.shelving: asyncio.Task[None] | None = None
        self.stand_in = CosinePruner(encoder)
        # As arrays: a list of floats takes eight times as much.
        self.known_vectors: OrderedDict[str, Sequence[float]] = OrderedDict()
        self.writer = f"{os.getpid()}-{uuid.uuid4().hex[:12]}"
        self.writers = 0
        self.changing = asyncio.Lock()
        self.building = False
        self.targets: dict[int, Target] = {}
        self.retrieved: Counter[str] = Counter()
        self.kept: Counter[str] = Counter()
        self.counted_at = self.followed_at = time.monotonic()
        self.view = View("empty", {})
        self.refresh()
        self.loader = ThreadPoolExecutor(1, thread_name_prefix="pruner")
        self.loading: Future[Pruner] | None = (
            self.loader.submit(load_pruner) if load_pruner else None
        )

    @classmethod
    def open(
        cls,
        folder: Path,
        encoder: Encoder,
        *,
        url: str | None = None,
        key: str | None = None,
        collection: str = "knowledge",
        open_manifest: OpenManifest | None = None,
        load_pruner: Callable[[], Pruner] | None = None,
        clock: Clock | None = None,
        model: str = EMBEDDED_MODEL,
        sentences: Callable[[EmbeddingCache | None], NearestSentences] | None = None,
        quarantine: Callable[[EmbeddingCache | None], Quarantine] | None = None,
    ) -> HybridKnowledge:
        """Open the index in ``folder``, or the collection at ``url``; quick, reads no document.

        The list of documents is beside an embedded index; that of a server's is where ``open_manifest``
        says, for all replicas."""
        indexes: Indexes = (
            QdrantIndexes.at(url, key=key, collection=collection)
            if url
            else EdgeIndexes(folder / collection)
        )
        try:
            manifest = (
                open_manifest(collection)
                if url and open_manifest
                else Manifest.beside(folder / collection, collection, clock=clock)
            )
            return cls(
                indexes,
                manifest,
                encoder,
                load_pruner=load_pruner,
                clock=clock,
                model=model,
                cache=EmbeddingCache(folder / "embeddings.db"),
                sentences=sentences,
                quarantine=quarantine,
            )
        except BaseException:
            indexes.close()
            raise

    def close(self) -> None:
        """Release the folder for another process."""
        if self.sentences is not None:
            self.sentences.stopped = True
        self.loader.shutdown(wait=True, cancel_futures=True)
        self.write_counts()
        for target in self.targets.values():
            target.index.close()
        self.indexes.close()
        self.manifest.close()
        if self.cache:
            self.cache.close()

    # --- which index answers -------------------------------------------------------------------

    @property
    def live(self) -> Target | None:
        """The index that answers; None: nothing was ingested."""
        return self.view.target

    @property
    def index(self) -> Index:
        assert self.live is not None, "nothing was ingested"
        return self.live.index

    @property
    def places(self) -> Mapping[str, int]:
        return self.view.places

    def target(self, generation: Generation) -> Target:
        """A generation's index with the embedder that its vectors were made by."""
        if generation.number not in self.targets:
            try:
                index = self.indexes.open(generation.number, generation.size)
            except IndexBroken:
                log.exception("the index is broken and is made again from the documents")
                self.indexes.drop(generation.number)
                self.manifest.unindex(generation.number, self.manifest.indexed(generation.number))
                index = self.indexes.open(generation.number, generation.size)
            made = Target(generation, index, self.embedder(generation.model))
            if not self.indexes.shared:
                mend(made, self.manifest)
            self.targets[generation.number] = made
        return self.targets[generation.number]

    def embedder(self, model: str) -> Embedder:
        known = next((t.embedder for t in self.targets.values() if t.embedder.name == model), None)
        if known is not None:
            return known
        made = self.embedder_named(model)
        return CachedEmbedder(made, self.cache) if self.cache else made

    def refresh(self) -> None:
        """Read the manifest again after it changed, here or in another replica."""
        self.stamp = self.manifest.stamp()
        generation = self.manifest.generations().get("live")
        entries = self.manifest.entries(generation.number) if generation else {}
        self.view = View(
            version=version_of(generation, entries),
            places={
                chunk: place
                for entry in entries.values()
                for place, chunk in enumerate(entry.chunks)
            },
            articles={entry.source: entry.digest for entry in entries.values()},
            target=self.target(generation) if generation else None,
        )
        self.known_vectors.clear()

    async def follow(self) -> None:
        """See what other replicas changed, every now and then."""
        if not self.indexes.shared or time.monotonic() - self.followed_at < FOLLOWS:
            return
        self.followed_at = time.monotonic()
        if await asyncio.to_thread(self.manifest.stamp) != self.stamp:
            await asyncio.to_thread(self.refresh)

    @asynccontextmanager
    async def following(self) -> AsyncGenerator[None]:
        """Sees inside the block what other replicas changed also while nobody asks: an answer given before is
        kept under the version of what answers."""

        async def look() -> None:
            while True:
                await asyncio.sleep(FOLLOWS)
                # /ready says that the database is away, and the next look is soon.
                with contextlib.suppress(PortError):
                    await self.follow()

        task = asyncio.create_task(look(), name="knowledge")
        try:
            yield
        finally:
            task.cancel()
            await asyncio.wait([task])

    @property
    def version(self) -> str:
        return self.view.version

    def standing(self, sources: Sequence[str]) -> str:
        """A digest of what these articles say now; one that is gone says nothing."""
        told = [f"{each} {self.view.articles.get(each, '')}" for each in sorted({*sources})]
        return hashlib.sha256("\n".join(told).encode()).hexdigest()

    @property
    def outdated(self) -> str | None:
        """Why a re-index would make another index than the one that answers; None: it would not."""
        if self.live is None:
            return None
        generation = self.live.generation
        if generation.model != self.model:
            return f"its vectors are of {generation.model}, the settings name {self.model}"
        if generation.chunking != CUT:
            return "its chunks were cut by an earlier version"
        return None

    @property
    def pruner(self) -> Pruner:
        """The cross-encoder when it is there, else the rule that stands in."""
        if self.loading and self.loading.done() and self.loading.exception() is None:
            return self.loading.result()
        return self.stand_in

    async def health(self) -> Checks:
        """Whether articles can be looked up; without them answers are worse, and never wrong."""
        problem = await problem_of(self.indexes)
        facts = {"version": self.version, "pruned_by": self.pruned_by}
        return {"knowledge": check(problem, **facts)}

    @property
    def pruned_by(self) -> str:
        """Who prunes now, and why it is not the cross-encoder when it is not."""
        pruner = self.pruner
        if pruner is not self.stand_in or self.loading is None:
            return pruner.name
        if not self.loading.done():
            return f"{pruner.name} (cross-encoder still loading)"
        return f"{pruner.name} ({self.loading.exception()})"

    @property
    def pruner_digest(self) -> str:
        return self.pruner.digest

    async def loaded(self, load: Callable[[], Pruner]) -> Pruner:
        """Another pruner, ready to take over; until ``use`` the one that prunes goes on."""
        try:
            return await asyncio.wrap_future(self.loader.submit(load))
        except PrunerUnusable as error:
            raise ModelUnavailable(str(error)) from error

    def use(self, pruner: Pruner) -> None:
        """Let this pruner prune from now on."""
        self.loading = Future()
        self.loading.set_result(pruner)

    async def pruner_ready(self) -> str:
        """Wait until the cross-encoder is there or has failed; who prunes from now on."""
        if self.loading:
            await asyncio.to_thread(self.loading.exception)
        return self.pruned_by

    # --- changing it ---------------------------------------------------------------------------

    async def ingest(
        self,
        paths: Sequence[Path],
        *,
        options: Options = Options(),  # noqa: B008 - it is frozen
        progress: Progress = quiet,
    ) -> IngestReport:
        """Bring the index to the state of these files and folders."""
        async with self.alone():
            try:
                report = await read_all(
                    paths, self.manifest, options=options, progress=progress, renew=self.renew
                )
                report.embedded = await self.index_documents(progress)
                return report
            finally:
                await asyncio.to_thread(self.refresh)

    async def take(self, source: str, path: Path, *, root: str, options: Options) -> IngestReport:
        """Ingest one file under a name of its own."""
        report = IngestReport()
        async with self.alone():
            try:
                files = await asyncio.to_thread(self.manifest.files)
                documents = await asyncio.to_thread(self.manifest.digests, source)
                before = files.get(source), documents
                await read_one(source, path, root, self.manifest, before, options, report)
                report.embedded = await self.index_documents(quiet)
            finally:
                await asyncio.to_thread(self.refresh)
        fresh = [*report.added, *report.changed]
        report.warned = await self.examine(fresh, most=EXAMINED)
        return report

    async def remove(self, source: str) -> list[str]:
        """Remove a file and what came of it; the names of the documents."""
        async with self.alone():
            try:
                removed = await forget_file(source, self.manifest)
                await self.index_documents(quiet)
                return removed
            finally:
                await asyncio.to_thread(self.refresh)

    async def index_documents(self, progress: Progress) -> int:
        """Bring the live index up to date, making it when there is none yet."""
        live = self.live
        if live is None:
            size = await self.embedder(self.model).size()
            made = await asyncio.to_thread(self.manifest.begin, self.model, size, CUT, "live")
            await asyncio.to_thread(self.indexes.drop, made.number)
            live = await asyncio.to_thread(self.target, made)
            await asyncio.to_thread(self.indexes.point, made.number)
        elif self.indexes.shared:
            await asyncio.to_thread(mend, live, self.manifest)
        count = await catch_up(live, self.manifest, progress=progress, renew=self.renew)
        # What is deleted is deleted everywhere, also from an index that is kept to go back to.
        wanted = await asyncio.to_thread(self.manifest.digests)
        for state, generation in (await asyncio.to_thread(self.manifest.generations)).items():
            if state == "previous":
                earlier = await asyncio.to_thread(self.target, generation)
                await remove_gone(earlier, self.manifest, wanted)
        return count

    async def reindex(self, *, progress: Progress = quiet) -> Generation:
        """Build an index beside the live one and let it answer when it is whole.

        Raises IndexUnhealthy, and whatever stops the build; the live index goes on answering."""
        if self.building:
            raise KnowledgeBusy(KnowledgeBusy.__doc__)
        self.building = True
        try:
            async with self.leased():
                target = await self.begun()
                try:
                    # Questions are answered and documents taken in meanwhile.
                    await catch_up(target, self.manifest, progress=progress, renew=self.renew)
                    async with self.changing:
                        await catch_up(target, self.manifest, renew=self.renew)
                        await self.go_live(target)
                except (PortError, OSError, IndexUnhealthy):
                    await self.abandon(target)
                    raise
            return target.generation
        finally:
            self.building = False

    async def begun(self) -> Target:
        """A new generation to build, or the one a killed process left half built."""
        left = (await asyncio.to_thread(self.manifest.generations)).get("building")
        if left and (left.model, left.chunking) == (self.model, CUT):
            return await asyncio.to_thread(self.target, left)
        if left:
            await self.abandon(await asyncio.to_thread(self.target, left))
        size = await self.embedder(self.model).size()
        made = await asyncio.to_thread(self.manifest.begin, self.model, size, CUT, "building")
        await asyncio.to_thread(self.indexes.drop, made.number)
        return await asyncio.to_thread(self.target, made)

    async def abandon(self, target: Target) -> None:
        number = target.generation.number
        await asyncio.to_thread(self.manifest.abandon, number)
        await self.dropped(number)

    async def dropped(self, number: int) -> None:
        target = self.targets.pop(number, None)
        if target:
            await asyncio.to_thread(target.index.close)
        await asyncio.to_thread(self.indexes.drop, number)

    async def go_live(self, target: Target) -> None:
        """From here on a generation answers; the one that did is kept to go back to."""
        if wrong := await asyncio.to_thread(healthy, target, self.manifest):
            raise IndexUnhealthy(f"{IndexUnhealthy.__doc__} ({wrong})")
        await self.swap(target)

    async def swap(self, target: Target) -> None:
        number = target.generation.number
        surplus = await asyncio.to_thread(self.manifest.go_live, number)
        await asyncio.to_thread(self.indexes.point, number)
        await asyncio.to_thread(self.refresh)
        for old in surplus:
            await self.dropped(old)

    async def rollback(self, *, progress: Progress = quiet) -> Generation:
        """Let the index before this one answer again, without what was deleted since; then bring it up
        to date. Raises NothingBefore."""
        if self.building:
            raise KnowledgeBusy(KnowledgeBusy.__doc__)
        async with self.alone():
            before = (await asyncio.to_thread(self.manifest.generations)).get("previous")
            if before is None:
                raise NothingBefore(NothingBefore.__doc__)
            target = await asyncio.to_thread(self.target, before)
            wanted = await asyncio.to_thread(self.manifest.digests)
            await remove_gone(target, self.manifest, wanted)
            await self.swap(target)
            try:
                await catch_up(target, self.manifest, progress=progress, renew=self.renew)
            finally:
                await asyncio.to_thread(self.refresh)
            return target.generation

    @asynccontextmanager
    async def alone(self) -> AsyncGenerator[None]:
        """One change at a time, in this process and among the replicas."""
        async with self.changing, self.leased():
            yield

    @asynccontextmanager
    async def leased(self) -> AsyncGenerator[None]:
        """The only replica that writes; raises KnowledgeBusy when another does not finish."""
        if not self.indexes.shared:
            yield
            return
        until = time.monotonic() + PATIENCE
        while not await asyncio.to_thread(self.manifest.claim, self.writer, LEASE):
            if time.monotonic() > until:
                raise KnowledgeBusy(KnowledgeBusy.__doc__)
            await asyncio.sleep(WAITS)
        self.writers += 1
        try:
            await asyncio.to_thread(self.refresh)
            yield
        finally:
            self.writers -= 1
            if not self.writers:
                await asyncio.to_thread(self.manifest.release, self.writer)

    def renew(self) -> None:
        if self.indexes.shared and not self.manifest.claim(self.writer, LEASE):
            raise KnowledgeBusy(KnowledgeBusy.__doc__)

    async def examine(
        self, sources: Sequence[str], *, most: int | None = None
    ) -> list[tuple[str, str]]:
        """Look for orders to a model in these documents, and write down for the operators which have some; in
        ``most`` chunks of them, where somebody waits. What was not looked at is, before it is read."""
        if self.quarantine is None:
            return await asyncio.to_thread(self.manifest.warnings, sources)
        for start in range(0, len(sources), AT_ONCE):
            part = sources[start : start + AT_ONCE]
            found: dict[str, tuple[str, ...]] = {}
            for document in await asyncio.to_thread(self.manifest.read_documents, part):
                chunks = (await asyncio.to_thread(chunks_of, document, "current"))[:most]
                most = None if most is None else most - len(chunks)
                flags = await self.quarantine.flagged([(c.title, c.text) for c in chunks])
                worst = max((flag for flag in flags if flag is not None), default=None)
                if worst is not None:
                    found[document.source] = (reason(worst),)
            if found:
                await asyncio.to_thread(self.manifest.warn, found)
        return await asyncio.to_thread(self.manifest.warnings, sources)

    async def readable(self, passages: Sequence[Passage]) -> list[Passage]:
        """Without those whose chunk gives orders to whoever reads it."""
        if self.quarantine is None:
            return list(passages)
        flags = await self.quarantine.flagged([(p.title, p.text) for p in passages])
        return [p for p, flag in zip(passages, flags, strict=True) if flag is None]

    # --- searching -----------------------------------------------------------------------------

    async def search(
        self,
        query: str,
        *,
        limit: int,
        audience: str = "public",
        tenant: str | None = None,
        history: Sequence[str] = (),
        way: Way = "hybrid",
        language: str | None = None,
    ) -> tuple[list[Hit], list[float]]:
        """Chunks by fused rank, and the vector they were searched by."""
        await self.follow()
        view = self.view
        if not query.strip() or view.target is None or not view.places:
            return [], []
        asked = in_context(query, history)
        vector = await view.target.embedder.embed_query(asked)
        scope = self.scope(audience, tenant, language)
        hits = await asyncio.to_thread(
            view.target.index.search, asked, vector, limit=limit, scope=scope, way=way
        )
        # A build that was killed may have left chunks that no document has.
        return [hit for hit in hits if hit.id in view.places], vector

    async def retrieve(
        self,
        query: str,
        *,
        limit: int = 15,
        audience: str = "public",
        tenant: str | None = None,
        history: Sequence[str] = (),
        way: Way = "hybrid",
        language: str | None = None,
    ) -> list[Passage]:
        """The best chunks by fused rank; a passage's ``score`` is its cosine with the question."""
        hits, vector = await self.search(
            query,
            limit=limit,
            audience=audience,
            tenant=tenant,
            history=history,
            way=way,
            language=language,
        )
        for hit in hits:
            self.remember(hit.id, hit.vector)
        self.retrieved.update({hit.payload["source"] for hit in hits})
        await self.keep_counts()
        return [passage_of(hit, vector) for hit in hits]

    def scope(self, audience: str, tenant: str | None, language: str | None = None) -> Scope:
        """What may be read now."""
        return Scope(
            audiences=tuple(sorted({"public", audience})),
            tenants=("",) if tenant is None else ("", tenant),
            today=self.clock.today(),
            language=language,
        )

    # --- sentences -----------------------------------------------------------------------------

    async def nearest(
        self,
        question: str,
        *,
        limit: int,
        tenant: str | None = None,
        language: str | None = None,
    ) -> list[Passage]:
        """The sentences nearest to the question; nothing while they are being read, or what was read is of
        an earlier state of the articles."""
        if self.sentences is None:
            return []
        await self.follow()
        if self.shelving is not None:  # Begun before, so what changed since is read too.
            self.shelve()
        found = await self.sentences.find(
            question, self.version, self.scope("public", tenant, language), limit
        )
        return await self.readable(found)

    def shelve(self) -> None:
        """Begin to read the sentences of what answers now, where they are not read or being read."""
        if self.sentences is None or self.sentences.shelf.version == self.version:
            return
        if self.shelving is None or self.shelving.done():
            self.shelving = asyncio.create_task(self._shelve())

    async def _shelve(self) -> None:
        view = self.view
        if self.sentences is None or view.target is None:
            return
        try:
            await self.sentences.build(view.version, view.target.index, view.places)
            # Their vectors are at hand now.
            await self.examine(list(await asyncio.to_thread(self.manifest.digests)))
        except (PortError, OSError, MemoryError):
            log.exception("the sentences cannot be searched one by one")

    async def sentences_ready(self) -> None:
        """Wait until the sentences of what answers now can be searched."""
        self.shelve()
        if self.shelving is not None:
            await self.shelving

    async def documents(
        self,
        query: str,
        *,
        limit: int = 10,
        audience: str = "public",
        tenant: str | None = None,
        history: Sequence[str] = (),
        way: Way = "hybrid",
    ) -> list[Found]:
        """The best documents, each with its best chunk; a second good chunk speaks for a document too."""
        hits, _ = await self.search(
            query, limit=4 * limit, audience=audience, tenant=tenant, history=history, way=way
        )
        found: dict[str, list[Hit]] = {}
        for hit in hits:
            found.setdefault(hit.payload["source"], []).append(hit)
        ranked = [found_by(chunks) for chunks in found.values()]
        return sorted(ranked, key=lambda each: -each.score)[:limit]

    async def keep_counts(self) -> None:
        """Write the uses down, where every replica adds its own; seldom, because nobody waits for it."""
        due = time.monotonic() - self.counted_at > COUNTED_SECONDS
        if due or self.retrieved.total() + self.kept.total() >= COUNTED:
            await asyncio.to_thread(self.write_counts)

    def write_counts(self) -> None:
        retrieved, self.retrieved = self.retrieved, Counter()
        kept, self.kept = self.kept, Counter()
        self.counted_at = time.monotonic()
        if retrieved or kept:
            with contextlib.suppress(PortError):
                self.manifest.count(retrieved, kept)

    async def prune(
        self, query: str, passages: Sequence[Passage], *, keep: int = 4
    ) -> list[Passage]:
        """The chunks worth reading with their kept sentences; empty when nothing is above the floor."""
        kept = await self.kept_by(self.pruner, query, passages, keep=keep)
        self.kept.update({passage.source for passage in kept})
        return kept

    async def kept_by(
        self, pruner: Pruner, query: str, passages: Sequence[Passage], *, keep: int = 4
    ) -> list[Passage]:
        """What this pruner would keep; nothing is counted."""
        if not passages or not query.strip():
            return []
        vectors = await self.vectors_of([passage.id for passage in passages])
        # Vectors of another embedding model mean nothing to the pruner's own.
        own = vectors if self.live and self.live.generation.model == EMBEDDED_MODEL else {}
        judged = await pruner.score(query, passages, own)
        if judged.answerable < pruner.floor:
            return []
        scored = judged.scored
        while True:
            kept = select(
                scored,
                vectors,
                self.places,
                keep=keep,
                noise=pruner.noise,
                sentence_floor=pruner.sentence_floor,
                budget=self.budget,
            )
            clean = {p.id for p in await self.readable(kept)}
            aside = {p.id for p in kept} - clean
            if not aside:
                return kept
            # Another takes the place of what is put aside.
            scored = [s for s in scored if s.passage.id not in aside]

    def remember(self, chunk: str, vector: Sequence[float]) -> None:
        self.known_vectors[chunk] = array("f", vector)
        self.known_vectors.move_to_end(chunk)
        while len(self.known_vectors) > REMEMBERED:
            self.known_vectors.popitem(last=False)

    async def vectors_of(self, chunks: Sequence[str]) -> dict[str, Sequence[float]]:
        missing = [c for c in chunks if c in self.places and c not in self.known_vectors]
        if missing:
            for chunk, vector in (await asyncio.to_thread(self.index.vectors, missing)).items():
                self.remember(chunk, vector)
        return {c: self.known_vectors[c] for c in chunks if c in self.known_vectors}


def in_context(query: str, history: Sequence[str]) -> str:
    """The question with what was said before it, newest first: what it leaves out stands there."""
    return "\n".join([query, *list(history)[: -TURNS - 1 : -1]])


def found_by(chunks: Sequence[Hit]) -> Found:
    """A document by its found chunks, best first."""
    payload = chunks[0].payload
    return Found(
        document=payload["name"],
        source=payload["source"],
        chunk=chunks[0].id,
        title=payload["title"],
        text=payload["text"],
        score=sum(hit.score * SECOND**place for place, hit in enumerate(chunks)),
    )


def passage_of(hit: Hit, query: Sequence[float]) -> Passage:
    payload = hit.payload
    return Passage(
        id=hit.id,
        text=payload["text"],
        title=payload["title"],
        source=payload["source"],
        updated=date.fromisoformat(payload["updated"]) if payload.get("updated") else None,
        language=payload.get("language") or "en",
        score=sum(a * b for a, b in zip(hit.vector, query, strict=True)),
    )
