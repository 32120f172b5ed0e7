"""The web app in a process of its own: ``app_child.py DATABASE CHECKPOINTS FOLDER [require]``.

Real routes, sessions, graphs, stores and saver; scripted models. Prints the address it listens on."""

from __future__ import annotations

import socket
import sys
import time
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path

import uvicorn

from app.config import Settings
from app.main import create_app
from app.support_desk import SupportDesk
from evals.crash_process import Site, desk_on


def main(database: str, checkpoints: str, folder: str, require: str = "") -> None:
    site = Site(database, checkpoints, speed=1.0, origin=time.time())

    @asynccontextmanager
    async def desk(_: Settings) -> AsyncGenerator[SupportDesk]:
        async with desk_on(site) as (running, _engine):
            yield running

    settings = Settings(
        _env_file=None,
        data_dir=Path(folder),
        secret="the same for every replica",
        require_keys=bool(require),
    )
    listener = socket.create_server(("127.0.0.1", 0))
    sys.stdout.write(f"http://127.0.0.1:{listener.getsockname()[1]}\n")
    sys.stdout.flush()
    config = uvicorn.Config(create_app(settings, desk), log_level="critical", ws="none")
    uvicorn.Server(config).run([listener])


if __name__ == "__main__":
    main(*sys.argv[1:])
