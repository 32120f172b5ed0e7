"""`signalbox serve`: the web server with its banner."""

from __future__ import annotations

import logging
import os
import signal
import time
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from types import FrameType
from typing import Any

import uvicorn
from fastapi import FastAPI
from rich.console import Console
from rich.markup import escape
from rich.padding import Padding
from rich.table import Table

from app.config import Keys, Settings, prepare_environment, server_at
from app.connections import bounded
from app.desk import Desk
from app.main import create_app
from app.memory import keep_little
from app.tracing.targets import tracing_of

Progress = Callable[[str, int, int], None]


log = logging.getLogger(__name__)


class AnnouncedServer(uvicorn.Server):
    """A server that says when it accepts connections, and for a while that it soon will not any more.

    ``drains`` is called when it is asked to end; so many seconds later it closes its door."""

    def __init__(
        self,
        config: uvicorn.Config,
        announce: Callable[[], None],
        drains: Callable[[], None],
        drain_seconds: float,
    ) -> None:
        super().__init__(config)
        self._announce = announce
        self._drains = drains
        self._drain_seconds = drain_seconds
        self._ends_at: float | None = None

    async def startup(self, *args: Any, **options: Any) -> None:
        await super().startup(*args, **options)
        if self.started:
            self._announce()

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        # Who asks twice, or sits at the terminal, does not want to wait.
        if sig != signal.SIGTERM or not self._drain_seconds or self._ends_at is not None:
            super().handle_exit(sig, frame)
            return
        self._ends_at = time.monotonic() + self._drain_seconds
        self._drains()

    async def on_tick(self, counter: int) -> bool:
        if self._ends_at is not None and time.monotonic() >= self._ends_at and not self.should_exit:
            super().handle_exit(signal.SIGTERM, None)
        return await super().on_tick(counter)


def run(settings: Settings, console: Console, progress: Progress) -> None:
    """Serve until stopped; running turns are finished first."""
    facts: dict[str, Any] = {}

    @asynccontextmanager
    async def desk(settings: Settings) -> AsyncGenerator[Desk]:
        progress("Loading the models", 0, 0)
        from app.wiring import wiring

        async with wiring(settings, progress, traces=traces) as running:
            facts.update(await running.info())
            progress("Loading the models", 1, 1)
            yield running

    keep_little()
    _log(settings)
    # Databases and logs that are made from here on are nobody else's to read.
    os.umask(0o077)
    prepare_environment(settings)
    traces = tracing_of(settings)
    app = create_app(settings, desk, traces)
    config = server_config(settings, app)
    keys: Keys = app.state.keys

    def announce() -> None:
        # Commands that find the data folder in use ask the one who uses it.
        server_at(settings).write_text(_reached(settings), "utf-8")
        _banner(console, settings, keys, facts)

    def drains() -> None:
        app.state.draining = True
        log.info("ending: not ready any more, and the door closes in %g s", settings.drain_seconds)

    try:
        AnnouncedServer(config, announce, drains, settings.drain_seconds).run()
    finally:
        server_at(settings).unlink(missing_ok=True)


def server_config(settings: Settings, app: FastAPI) -> uvicorn.Config:
    """How it is served: bounded in connections and time, and believing no header it was not told to."""
    return uvicorn.Config(
        app,
        host=settings.host,
        port=settings.port,
        log_config=None,
        access_log=settings.log_level == "debug",
        timeout_graceful_shutdown=settings.shutdown_seconds,
        ws="none",
        server_header=False,
        http=bounded(settings.header_seconds, settings.connections),
        # Whose word on the caller's address and on TLS is taken; nobody's, unless it is said.
        proxy_headers=bool(settings.trusted_proxies),
        forwarded_allow_ips=list(settings.trusted_proxies),
    )


def _reached(settings: Settings) -> str:
    host = "127.0.0.1" if settings.host in {"0.0.0.0", "::"} else settings.host
    return f"http://{host}:{settings.port}"


def _log(settings: Settings) -> None:
    logging.basicConfig(
        level=settings.log_level.upper(), format="%(asctime)s %(levelname)-7s %(name)s: %(message)s"
    )
    # What they say at "info" is their own book-keeping, not ours.
    for name in ("httpx", "uvicorn.error", "alembic"):
        logging.getLogger(name).setLevel(logging.WARNING)


def _banner(console: Console, settings: Settings, keys: Keys, facts: dict[str, Any]) -> None:
    at = _reached(settings)
    rows = Table.grid(padding=(0, 2))
    rows.add_row("Chat", f"[bold]{at}/[/]")
    rows.add_row("Operator desk", f"{at}/desk")
    rows.add_row("API", f"{at}/openapi.json   {at}/info   {at}/ready")
    rows.add_row("Terminal", f"signalbox chat --url {at}")
    if keys.demo:
        rows.add_row(
            "Operator key", f"{escape(keys.operators['demo'])}   [dim](demo, generated)[/]"
        )
    rows.add_row("", "")
    off: dict[str, str] = facts.get("off", {})
    for name, reason in off.items():
        rows.add_row(f"[yellow]off[/] {name}", f"[dim]{escape(str(reason))}[/]")
    console.print()
    console.print("[bold]Signalbox[/] is running. Stop it with Ctrl+C.")
    console.print(Padding(rows, (1, 2)))
    if not settings.hosted_llm:
        console.print(
            "[yellow]Demo quality:[/] long answers come from a 135M model in this process. "
            "Set SIGNALBOX_LLM_MODEL, _BASE_URL and _API_KEY for a real one."
        )
    console.print()
