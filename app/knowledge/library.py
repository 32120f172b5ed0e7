"""The knowledge base as its operators see it: files in and out, its state, a re-index in the background."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from datetime import datetime
from pathlib import Path, PurePosixPath
from tempfile import TemporaryDirectory
from typing import Any, Literal

import anyio
from pydantic import BaseModel

from app.knowledge.formats import SUFFIXES, Options, format_of
from app.knowledge.ingest import IngestReport
from app.knowledge.knowledge import HybridKnowledge, IndexUnhealthy, KnowledgeBusy
from app.knowledge.report import STALE_DAYS, KnowledgeReport, report_on
from tools.ports import PortError

log = logging.getLogger(__name__)

LONGEST_NAME = 300


class NameRefused(ValueError):
    """A file's name is a relative path with a known ending, such as guides/returns.md."""


class Job(BaseModel):
    """A re-index that runs, or the last one that did."""

    state: Literal["running", "done", "failed"]
    done: int = 0
    total: int = 0
    error: str | None = None
    started_at: datetime
    finished_at: datetime | None = None


class Library:
    """One process's door to the collection; what others must know is in the manifest."""

    def __init__(self, knowledge: HybridKnowledge) -> None:
        self.knowledge = knowledge
        self.job: Job | None = None
        self.task: asyncio.Task[None] | None = None

    async def status(self) -> dict[str, Any]:
        manifest = self.knowledge.manifest
        files = await asyncio.to_thread(manifest.files)
        generations = await asyncio.to_thread(manifest.generations)
        uses = self.knowledge.live
        return {
            "version": self.knowledge.version,
            "model": uses.generation.model if uses else self.knowledge.model,
            "outdated": self.knowledge.outdated,
            "files": len(files),
            "documents": len(await asyncio.to_thread(manifest.digests)),
            "chunks": len(self.knowledge.places),
            "generations": {state: each.number for state, each in generations.items()},
            "reindex": self.job.model_dump(mode="json") if self.job else None,
            "failed": [
                {"source": source, "reason": reason}
                for file in files.values()
                for source, reason in file.failures
            ],
        }

    async def files(self) -> list[dict[str, Any]]:
        """Every file with its digest, so that a caller need not send what is there already."""
        found = await asyncio.to_thread(self.knowledge.manifest.files)
        documents = await asyncio.to_thread(self.knowledge.manifest.by_file)
        return [
            {
                "name": each.source,
                "documents": len(documents.get(each.source, {})),
                "root": each.root,
                "digest": each.digest,
                "failed": [{"source": source, "reason": why} for source, why in each.failures],
            }
            for each in found.values()
        ]

    async def put(
        self, name: str, body: AsyncIterator[bytes], *, root: str, options: Options
    ) -> IngestReport:
        """Take a file in under its name; raises NameRefused or KnowledgeBusy."""
        check_name(name)
        with TemporaryDirectory(prefix="signalbox-upload-") as folder:
            path = Path(folder, PurePosixPath(name).name)
            async with await anyio.open_file(path, "wb") as file:
                async for part in body:
                    await file.write(part)
            return await self.knowledge.take(name, path, root=root, options=options)

    async def delete(self, name: str) -> list[str]:
        return await self.knowledge.remove(name)

    async def report(self, stale_days: int = STALE_DAYS) -> KnowledgeReport:
        return await report_on(self.knowledge, stale_days=stale_days)

    def reindex(self) -> Job:
        """Start a re-index in the background; raises KnowledgeBusy when one runs."""
        if self.task and not self.task.done():
            raise KnowledgeBusy(KnowledgeBusy.__doc__)
        self.job = Job(state="running", started_at=self.knowledge.clock.now())
        self.task = asyncio.create_task(self.run(self.job))
        return self.job

    async def run(self, job: Job) -> None:
        def progress(what: str, done: int, total: int) -> None:
            job.done, job.total = done, total

        try:
            await self.knowledge.reindex(progress=progress)
            job.state = "done"
        except (PortError, OSError, IndexUnhealthy, KnowledgeBusy) as error:
            log.warning("the re-index failed, the old index goes on answering: %s", error)
            job.state, job.error = "failed", str(error)
        finally:
            job.finished_at = self.knowledge.clock.now()

    async def rollback(self) -> dict[str, Any]:
        """Go back to the index before; raises NothingBefore or KnowledgeBusy."""
        await self.knowledge.rollback()
        return await self.status()

    async def close(self) -> None:
        """Stop a running re-index; the next one goes on where it was."""
        if self.task and not self.task.done():
            self.task.cancel()
            await asyncio.wait([self.task])


def check_name(name: str) -> None:
    path = PurePosixPath(name)
    if (
        len(name) > LONGEST_NAME
        or path.is_absolute()
        or name != path.as_posix()
        or ".." in path.parts
        or not name.isprintable()
        or "#" in name
    ):
        raise NameRefused(NameRefused.__doc__)
    if format_of(name) is None:
        raise NameRefused(f"{NameRefused.__doc__} Known endings: {', '.join(sorted(SUFFIXES))}.")
