"""Bring the index to the state of a folder: embed what changed, remove what is gone, report what failed."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from app.knowledge.documents import (
    FORMAT,
    Chunk,
    Document,
    DocumentUnreadable,
    chunks_of,
    digest_of,
    find,
    read,
)
from app.knowledge.index import Index
from app.knowledge.manifest import Entry, Manifest
from tools.ports import Encoder

#: Called with documents done, documents in all, and the one just finished.
Progress = Callable[[int, int, str], None]
BATCH = 32


@dataclass(frozen=True)
class IngestReport:
    """What one run did, by source."""

    added: tuple[str, ...]
    changed: tuple[str, ...]
    removed: tuple[str, ...]
    unchanged: int
    embedded: int  #: Chunks whose vectors were worked out.
    failed: tuple[tuple[str, str], ...]  #: Source and reason.


async def ingest(
    paths: Sequence[Path],
    index: Index,
    manifest: Manifest,
    encoder: Encoder,
    *,
    model: str,
    progress: Progress | None = None,
) -> IngestReport:
    """Ingest files and folders; of a folder given before, documents that are gone leave the index."""
    made_by = f"{model} {FORMAT}"
    if manifest.fact("made by") != made_by:
        # Vectors of another model, or other chunks, cannot be compared with new ones.
        stale = [chunk for entry in manifest.entries().values() for chunk in entry.chunks]
        await asyncio.to_thread(index.delete, stale)
        manifest.clear()
        manifest.save_fact("made by", made_by)
    found = dict(pair for path in paths for pair in find(path))
    known = manifest.entries()
    added: list[str] = []
    changed: list[str] = []
    failed: list[tuple[str, str]] = []
    embedded = 0
    for done, (source, path) in enumerate(found.items(), start=1):
        before = known.get(source)
        try:
            content = await asyncio.to_thread(path.read_bytes)
            if before is None or before.digest != digest_of(content):
                document = await asyncio.to_thread(read, source, path, content)
                embedded += await take_in(document, before, index, manifest, encoder)
                (changed if before else added).append(source)
        except (DocumentUnreadable, OSError) as error:
            failed.append((source, str(error)))
        if progress:
            progress(done, len(found), source)
    roots = tuple(f"{path.resolve().name}/" for path in paths if path.is_dir())
    removed = [source for source in known if source.startswith(roots) and source not in found]
    for source in removed:
        await asyncio.to_thread(index.delete, known[source].chunks)
        manifest.remove(source)
    await asyncio.to_thread(settle_standing, index, manifest)
    await asyncio.to_thread(index.flush)
    manifest.save_failures(failed)
    return IngestReport(
        added=tuple(added),
        changed=tuple(changed),
        removed=tuple(removed),
        unchanged=len(found) - len(added) - len(changed) - len(failed),
        embedded=embedded,
        failed=tuple(failed),
    )


async def take_in(
    document: Document, before: Entry | None, index: Index, manifest: Manifest, encoder: Encoder
) -> int:
    """Embed one document's chunks and put them in place of its old ones."""
    chunks: list[Chunk] = chunks_of(document, document.front.status)
    for start in range(0, len(chunks), BATCH):
        part = chunks[start : start + BATCH]
        vectors = await encoder.embed([chunk.embedded for chunk in part])
        await asyncio.to_thread(index.upsert, part, vectors)
    ids = tuple(chunk.id for chunk in chunks)
    if before:
        await asyncio.to_thread(index.delete, [old for old in before.chunks if old not in set(ids)])
    # Written last: a run that dies before this line does the document again.
    manifest.save(
        Entry(
            source=document.source,
            digest=document.digest,
            slug=document.slug,
            title=document.title,
            audience=document.front.audience,
            declared=document.front.status,
            status=document.front.status,
            supersedes=document.front.supersedes,
            updated=document.front.updated,
            expires=document.front.expires,
            chunks=ids,
        )
    )
    return len(chunks)


def settle_standing(index: Index, manifest: Manifest) -> None:
    """Mark what another current document supersedes, and unmark what none does any more."""
    entries = manifest.entries().values()
    replaced = {
        name
        for entry in entries
        if entry.declared == "current"
        for name in entry.supersedes
        if name != entry.slug
    }
    for entry in entries:
        superseded = entry.declared == "current" and (
            entry.slug in replaced or Path(entry.source).name in replaced
        )
        status = "superseded" if superseded else entry.declared
        if status != entry.status:
            index.mark(entry.chunks, status)
            manifest.save(replace(entry, status=status))
