"""Bring a collection to the state of files and folders, and an index to the state of the collection.

Reading comes first and is durable: every document is kept as it was read. Indexing then compares what
there is with what an index has, so that an interrupted run, a new embedding model and a roll-back are
all the same thing: catching up.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from app.knowledge.documents import (
    CHUNK_TOKENS,
    CHUNKING,
    Chunk,
    Document,
    DocumentUnreadable,
    FrontMatter,
    Status,
    chunks_of,
    digest_of,
)
from app.knowledge.embeddings import BATCH, Embedder
from app.knowledge.formats import Options, find
from app.knowledge.index import Index
from app.knowledge.manifest import Entry, File, Generation, Manifest
from app.knowledge.reader import content_of, read_file

#: Called with what is being done, how much of it is done, and how much there is.
Progress = Callable[[str, int, int], None]
#: Called now and then by whoever writes, to go on being the one who may.
Renew = Callable[[], None]
#: How the chunks of an index were cut.
CUT = f"{CHUNKING}/{CHUNK_TOKENS}"
#: Documents that are looked up at a time.
AT_ONCE = 16
LONGEST_NAME = 600  #: Bytes of a document's name: a database index holds no more.
ORDERS = "it tells a model what to do: kept as text, never followed"


@dataclass
class IngestReport:
    """What one run did, by source."""

    added: list[str] = field(default_factory=list[str])
    changed: list[str] = field(default_factory=list[str])
    removed: list[str] = field(default_factory=list[str])
    unchanged: int = 0  #: Documents.
    embedded: int = 0  #: Chunks whose vectors were put into the index.
    failed: list[tuple[str, str]] = field(default_factory=list[tuple[str, str]])
    warned: list[tuple[str, str]] = field(default_factory=list[tuple[str, str]])


@dataclass(frozen=True)
class Target:
    """An index that can be brought up to date: with the model that its vectors are made by."""

    generation: Generation
    index: Index
    embedder: Embedder


def quiet(what: str, done: int, total: int) -> None:
    """Progress that nobody looks at."""


def unshared() -> None:
    """What is renewed where nobody else can write."""


# --- reading ------------------------------------------------------------------------------------


async def read_all(
    paths: Sequence[Path],
    manifest: Manifest,
    *,
    options: Options,
    progress: Progress = quiet,
    renew: Renew = unshared,
) -> IngestReport:
    """Read files and folders; of a folder given before, files that are gone are forgotten."""
    report = IngestReport()
    found, given = await asyncio.to_thread(listed, paths)
    known = await asyncio.to_thread(manifest.files)
    documents = await asyncio.to_thread(manifest.by_file)
    for done, (source, (file, root)) in enumerate(found.items(), start=1):
        before = known.get(source), documents.get(source, {})
        await read_one(source, file, root, manifest, before, options, report)
        progress("Reading documents", done, len(found))
        renew()
    missing = [file for file in known.values() if file.source not in found]
    for file in await asyncio.to_thread(gone_of, missing, given):
        report.removed += await forget_file(file.source, manifest)
    return report


def listed(paths: Sequence[Path]) -> tuple[dict[str, tuple[Path, str]], set[str]]:
    """Every file under these paths with the folder it belongs to, by its name; and the folders."""
    roots = {path: str(path.resolve()) if path.is_dir() else "" for path in paths}
    found = {source: (file, root) for path, root in roots.items() for source, file in find(path)}
    return found, {root for root in roots.values() if root}


def gone_of(missing: Sequence[File], roots: set[str]) -> list[File]:
    return [file for file in missing if left(file, roots)]


def left(file: File, roots: Iterable[str]) -> bool:
    """Whether a file belonged to one of these folders, or to one of the same name that has moved."""
    if file.root in roots:
        return True
    name = file.source.split("/")[0]
    return any(Path(root).name == name for root in roots) and not (
        file.root == "" or Path(file.root).exists()
    )


async def read_one(
    source: str,
    path: Path,
    root: str,
    manifest: Manifest,
    before: tuple[File | None, dict[str, str]],
    options: Options,
    report: IngestReport,
) -> None:
    """Read a file if it changed since ``before``, keep its documents, and note what happened."""
    earlier, known = before
    digest = ""
    try:
        if len(source.encode("utf-8", "replace")) > LONGEST_NAME:
            raise DocumentUnreadable(f"its name is longer than {LONGEST_NAME} bytes")
        content = await asyncio.to_thread(content_of, path)
        digest = digest_of(content, options.key)
        if earlier is not None and (earlier.digest, earlier.root) == (digest, root):
            report.unchanged += len(known)
            report.failed += earlier.failures
            return
        found = await read_file(source, path, content, options)
    except (DocumentUnreadable, OSError) as error:
        report.failed.append((source, str(error)))
        # What may be mended without changing the file is tried again by the next run.
        lasting = isinstance(error, DocumentUnreadable) and error.lasting
        failed = File(source, root, digest if lasting else "", ((source, str(error)),))
        await asyncio.to_thread(manifest.save_file, failed)
        return
    fresh = [each for each in found.documents if known.get(each.source) != each.digest]
    warned = await asyncio.to_thread(warnings_of, fresh)
    for start in range(0, len(fresh), AT_ONCE):
        part = fresh[start : start + AT_ONCE]
        rows = [(each, warned.get(each.source, ())) for each in part]
        await asyncio.to_thread(manifest.save_documents, rows)
    gone = [name for name in known if name not in {each.source for each in found.documents}]
    if gone:
        await asyncio.to_thread(manifest.forget, gone)
    # Written last: a run that dies before this line reads the file again.
    await asyncio.to_thread(manifest.save_file, File(source, root, digest, found.failed))
    report.added += [each.source for each in fresh if each.source not in known]
    report.changed += [each.source for each in fresh if each.source in known]
    report.removed += gone
    report.unchanged += len(found.documents) - len(fresh)
    report.failed += found.failed
    report.warned += [(name, reason) for name, reasons in warned.items() for reason in reasons]


def warnings_of(documents: Sequence[Document]) -> dict[str, tuple[str, ...]]:
    """What a person should look at: text that reads like orders to a model."""
    if not documents:
        return {}
    from datetime import UTC, datetime

    from graphs.screening import screen_text
    from graphs.state import Turn

    found: dict[str, tuple[str, ...]] = {}
    for document in documents:
        text = "\n".join(block for section in document.sections for block in section.blocks)
        turn = Turn(id="", text=text, at=datetime.min.replace(tzinfo=UTC))
        if screen_text(turn, handed_off=False, max_chars=len(text)).verdict == "injection":
            found[document.source] = (ORDERS,)
    return found


async def forget_file(source: str, manifest: Manifest) -> list[str]:
    """Forget a file and its documents; the documents' names."""
    documents = list(await asyncio.to_thread(manifest.digests, source))
    await asyncio.to_thread(manifest.forget, documents, [source])
    return documents


# --- indexing -----------------------------------------------------------------------------------


async def catch_up(
    target: Target,
    manifest: Manifest,
    *,
    progress: Progress = quiet,
    renew: Renew = unshared,
) -> int:
    """Bring an index to the state of the collection; how many chunks were put in."""
    number = target.generation.number
    wanted = await asyncio.to_thread(manifest.digests)
    await remove_gone(target, manifest, wanted)
    had = await asyncio.to_thread(manifest.indexed, number)
    stale = [source for source, digest in wanted.items() if had.get(source, ("",))[0] != digest]
    standing = await asyncio.to_thread(standings, manifest)
    made = 0
    for start in range(0, len(stale), AT_ONCE):
        names = stale[start : start + AT_ONCE]
        documents = await asyncio.to_thread(manifest.read_documents, names)
        made += await take_in(documents, had, standing, target, manifest)
        progress("Embedding", min(start + AT_ONCE, len(stale)), len(stale))
        renew()
    await asyncio.to_thread(settle_standing, target, manifest, standing)
    await asyncio.to_thread(target.index.flush)
    return made


async def remove_gone(target: Target, manifest: Manifest, wanted: Mapping[str, str]) -> None:
    """Delete the chunks of documents that are not in the collection any more."""
    had = await asyncio.to_thread(manifest.indexed, target.generation.number)
    gone = [source for source in had if source not in wanted]
    if gone:
        chunks = [chunk for source in gone for chunk in had[source][1]]
        await asyncio.to_thread(target.index.delete, chunks)
        await asyncio.to_thread(manifest.unindex, target.generation.number, gone)


async def take_in(
    documents: Sequence[Document],
    had: Mapping[str, tuple[str, tuple[str, ...]]],
    standing: Mapping[str, Status],
    target: Target,
    manifest: Manifest,
) -> int:
    """Embed documents' chunks and put them in place of their old ones."""
    rows: list[tuple[str, str, Status, tuple[str, ...]]] = []
    chunks: list[Chunk] = []
    surplus: list[str] = []
    for document in documents:
        status = standing[document.source]
        made = await asyncio.to_thread(chunks_of, document, status)
        ids = tuple(chunk.id for chunk in made)
        surplus += set(had.get(document.source, ("", ()))[1]) - set(ids)
        rows.append((document.source, document.digest, status, ids))
        chunks += made
    # Texts of one length share a batch: the shorter would be padded to the longest.
    chunks.sort(key=lambda chunk: len(chunk.embedded))
    for start in range(0, len(chunks), BATCH):
        part = chunks[start : start + BATCH]
        vectors = await target.embedder.embed([chunk.embedded for chunk in part])
        await asyncio.to_thread(target.index.upsert, part, vectors)
    await asyncio.to_thread(target.index.delete, surplus)
    # Written last: a run that dies before this line does the documents again.
    await asyncio.to_thread(manifest.save_indexed, target.generation.number, rows)
    return len(chunks)


def standings(manifest: Manifest) -> dict[str, Status]:
    """The standing of every document: what it says, or superseded by another current one of its tenant."""
    fronts = manifest.fronts()
    replaced = {
        (front.tenant, name)
        for slug, front in fronts.values()
        if front.status == "current"
        for name in front.supersedes
        if name != slug
    }

    def of(source: str, slug: str, front: FrontMatter) -> Status:
        names = {(front.tenant, slug), (front.tenant, Path(source).name)}
        return "superseded" if front.status == "current" and names & replaced else front.status

    return {source: of(source, slug, front) for source, (slug, front) in fronts.items()}


def settle_standing(target: Target, manifest: Manifest, standing: Mapping[str, Status]) -> None:
    """Mark what another document supersedes, and unmark what none does any more."""
    number = target.generation.number
    moved: list[tuple[Entry, Status]] = [
        (entry, standing[entry.source])
        for entry in manifest.entries(number).values()
        if standing.get(entry.source, entry.status) != entry.status
    ]
    for entry, status in moved:
        target.index.mark(entry.chunks, status)
    if moved:
        manifest.save_indexed(
            number, [(e.source, e.digest, status, e.chunks) for e, status in moved]
        )


def mend(target: Target, manifest: Manifest) -> None:
    """After a crash: what the index has and the list does not is deleted, and the other way round."""
    had = manifest.indexed(target.generation.number)
    listed = {chunk for _, chunks in had.values() for chunk in chunks}
    if target.index.count() == len(listed):
        return
    there = target.index.ids()
    target.index.delete(sorted(there - listed))
    torn = [source for source, (_, chunks) in had.items() if not there.issuperset(chunks)]
    manifest.unindex(target.generation.number, torn)


def healthy(target: Target, manifest: Manifest) -> str | None:
    """What is wrong with a finished index: it has every chunk, and finds some by their own vectors."""
    had = manifest.indexed(target.generation.number)
    chunks = [chunk for _, ids in had.values() for chunk in ids]
    if set(had) != set(manifest.digests()):
        return "documents are missing"
    if (count := target.index.count()) != len(chunks):
        return f"it has {count} chunks instead of {len(chunks)}"
    sample = chunks[:: max(1, len(chunks) // 20)]
    vectors = target.index.vectors(sample)
    if len(vectors) != len(set(sample)):
        return "chunks cannot be read back"
    if any(not 0.98 < sum(x * x for x in vector) < 1.02 for vector in vectors.values()):
        return "its vectors are not of length one"
    return None
