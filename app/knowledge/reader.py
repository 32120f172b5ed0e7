"""Files are read where they can do no harm: a process of their own, with a bound on time and memory."""

from __future__ import annotations

import asyncio
from pathlib import Path

from app.knowledge.documents import DocumentUnreadable
from app.knowledge.formats import Options, Read, format_of, largest, read

SECONDS = 60.0
MEMORY = 1_500_000_000
#: Markdown and plain text up to this size are read here: they are what a shop has most of, and a process
#: for them would cost more than they do.
SMALL = 64_000
HARMLESS = frozenset({"markdown", "text"})


async def read_file(
    source: str, path: Path, content: bytes, options: Options, *, seconds: float = SECONDS
) -> Read:
    """Parse one file; DocumentUnreadable says why it cannot be."""
    if len(content) <= SMALL and format_of(path.name) in HARMLESS:
        return await asyncio.to_thread(read_here, source, path, content, options)
    # Not for what is read above: it would cost the first start its time.
    from anyio import BrokenWorkerProcess

    try:
        async with asyncio.timeout(seconds):
            try:
                return await read_there(source, path, options)
            except BrokenWorkerProcess:
                # It may have ended while it was idle. A new one tells whether it was the file.
                return await read_there(source, path, options)
    except TimeoutError as error:
        raise DocumentUnreadable(f"took longer than {seconds:g} s to read") from error
    except BrokenWorkerProcess as error:
        raise DocumentUnreadable("reading it crashed the reader") from error


async def read_there(source: str, path: Path, options: Options) -> Read:
    from anyio import to_process

    return await to_process.run_sync(read_bounded, source, path, options, MEMORY, cancellable=True)


def content_of(path: Path) -> bytes:
    """The bytes of a file that is not too large to be looked at."""
    kind = format_of(path.name)
    limit = largest(kind) if kind else 0
    if kind and path.stat().st_size > limit:
        raise DocumentUnreadable(f"larger than {limit // 1_000_000} MB")
    return path.read_bytes()


def read_here(source: str, path: Path, content: bytes, options: Options) -> Read:
    try:
        return read(source, path, content, options)
    except RecursionError as error:
        raise DocumentUnreadable("nested too deeply") from error
    except MemoryError as error:
        raise DocumentUnreadable("needs too much memory to read") from error


def read_bounded(source: str, path: Path, options: Options, memory: int) -> Read:
    """What the other process does: give itself the bound, then read."""
    import resource

    resource.setrlimit(resource.RLIMIT_AS, (memory, resource.getrlimit(resource.RLIMIT_AS)[1]))
    return read_here(source, path, content_of(path), options)
