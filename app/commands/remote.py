"""A running server does what a command wants: it has the knowledge base open."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx

from app.config import Settings, load_keys, server_at
from app.knowledge.documents import DocumentUnreadable, digest_of
from app.knowledge.formats import Options, find
from app.knowledge.ingest import IngestReport, Progress
from app.knowledge.reader import content_of

#: Seconds for one file: a large one is read, cut and embedded before the server answers.
PATIENCE = 600.0
#: Seconds between two looks at a running re-index.
LOOKS = 1.0


class NoServer(Exception):
    """The knowledge base is in use by a process that cannot be asked."""


class RemoteRefused(Exception):
    """The server would not do it; the message is its own."""


@asynccontextmanager
async def reached(settings: Settings) -> AsyncGenerator[Remote]:
    """The server that has the data folder open; raises NoServer with what to do instead."""
    said = server_at(settings)
    url = said.read_text("utf-8") if said.exists() else f"http://{settings.host}:{settings.port}"
    keys = load_keys(settings)
    admin = next((name for name, role in keys.roles.items() if role == "admin"), None)
    if admin is None:
        raise NoServer(
            "A running server has the knowledge base open, and SIGNALBOX_OPERATORS names no admin "
            "(name:admin=key) who may change it."
        )
    headers = {"X-API-Key": keys.operators[admin]}
    async with httpx.AsyncClient(base_url=url, headers=headers, timeout=PATIENCE) as client:
        server = Remote(client, url)
        try:
            await server.status()
        except (httpx.HTTPError, RemoteRefused) as error:
            raise NoServer(
                f"Another Signalbox is using this data folder, and nobody answers at {url} ({error}). "
                "Wait until it has started, stop it, or send it each file yourself:\n"
                f"  curl -X PUT -H 'X-API-Key: KEY' --data-binary @FILE {url}/v1/knowledge/files/NAME"
            ) from error
        yield server


class Remote:
    """The operator API for the knowledge base."""

    def __init__(self, client: httpx.AsyncClient, url: str) -> None:
        self.client = client
        self.url = url

    async def call(self, method: str, path: str, **options: Any) -> dict[str, Any]:
        response = await self.client.request(method, f"/v1/knowledge{path}", **options)
        if response.is_success:
            return response.json()
        problem = response.headers.get("content-type", "").endswith("problem+json")
        raise RemoteRefused(
            response.json()["detail"] if problem else f"HTTP {response.status_code}"
        )

    async def status(self) -> dict[str, Any]:
        return await self.call("GET", "")

    async def ingest(
        self, paths: Sequence[Path], options: Options, progress: Progress
    ) -> IngestReport:
        """Send what the server does not have yet, and remove what is gone from a folder sent before."""
        known = {each["name"]: each for each in (await self.call("GET", "/files"))["files"]}
        roots = {path: str(path.resolve()) if path.is_dir() else "" for path in paths}
        found = {name: (file, root) for path, root in roots.items() for name, file in find(path)}
        report = IngestReport()
        for number, (name, (file, root)) in enumerate(found.items(), start=1):
            await self.send(name, file, root, options, known.get(name), report)
            progress("Sending documents", number, len(found))
        for name, each in known.items():
            if name not in found and each["root"] and each["root"] in roots.values():
                report.removed += (await self.call("DELETE", f"/files/{quote(name)}"))["removed"]
        return report

    async def send(
        self,
        name: str,
        file: Path,
        root: str,
        options: Options,
        known: dict[str, Any] | None,
        report: IngestReport,
    ) -> None:
        try:
            content = await asyncio.to_thread(content_of, file)
            if known and (known["digest"], known["root"]) == (
                digest_of(content, options.key),
                root,
            ):
                report.unchanged += known["documents"]
                report.failed += [(each["source"], each["reason"]) for each in known["failed"]]
                return
            sent = await self.call(
                "PUT",
                f"/files/{quote(name)}",
                content=content,
                params={"root": root, **vars(options)},
            )
        except (DocumentUnreadable, RemoteRefused, OSError) as error:
            report.failed.append((name, str(error)))
            return
        for each in ("added", "changed", "removed"):
            getattr(report, each).extend(sent[each])
        report.unchanged += sent["unchanged"]
        report.embedded += sent["embedded"]
        report.failed += [(source, reason) for source, reason in sent["failed"]]
        report.warned += [(source, reason) for source, reason in sent["warned"]]

    async def report(self, stale_days: int) -> dict[str, Any]:
        return await self.call("GET", "/report", params={"stale_days": stale_days})

    async def reindex(self, progress: Progress) -> int:
        """Start it and wait for it; it goes on when the waiting is interrupted."""
        job = await self.call("POST", "/reindex")
        while job["state"] == "running":
            await asyncio.sleep(LOOKS)
            job = (await self.status())["reindex"]
            progress("Embedding", job["done"], job["total"])
        if job["state"] == "failed":
            raise RemoteRefused(job["error"])
        return (await self.status())["generations"]["live"]

    async def rollback(self) -> int:
        return (await self.call("POST", "/rollback"))["generations"]["live"]
