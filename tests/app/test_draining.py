"""A process that is asked to end says so before it closes its door, so that a proxy can look elsewhere."""

from __future__ import annotations

import asyncio
import signal
from contextlib import asynccontextmanager

import httpx
import pytest

from app.main import create_app
from app.server import AnnouncedServer, server_config

from .conftest import over


@asynccontextmanager
async def serving(settings, desk, drain: float):
    """The server as `serve` sets it up, asked from outside."""
    app = create_app(settings, over(desk))

    def drains() -> None:
        app.state.draining = True

    up = asyncio.Event()
    server = AnnouncedServer(server_config(settings, app), up.set, drains, drain)
    # Signals belong to the test run.
    task = asyncio.create_task(server._serve())
    await up.wait()
    port = server.servers[0].sockets[0].getsockname()[1]
    async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}") as client:
        try:
            yield server, client, task
        finally:
            server.should_exit = True
            await task


@pytest.fixture
def anywhere(settings):
    return settings.model_copy(update={"port": 0})


async def test_it_answers_on_while_it_is_not_ready_any_more(anywhere, desk):
    """New requests are served for the time set; then it ends by itself."""
    async with serving(anywhere, desk, drain=3) as (server, client, task):
        before = await client.get("/ready")
        server.handle_exit(signal.SIGTERM, None)
        during = await client.get("/ready")
        answered = await client.get("/v1/login/customers")
        still_open = not server.should_exit
        async with asyncio.timeout(10):
            await task

    assert before.status_code == 200
    assert (during.status_code, during.json()["status"]) == (503, "draining")
    assert answered.status_code == 200
    assert still_open


@pytest.mark.parametrize(
    ("drain", "signals"),
    [
        (60, [signal.SIGINT]),
        (60, [signal.SIGTERM, signal.SIGTERM]),
        (0, [signal.SIGTERM]),
    ],
)
async def test_who_does_not_want_to_wait_need_not(anywhere, desk, drain, signals):
    """Ctrl+C, a second SIGTERM, or a time of zero ends it at once."""
    async with serving(anywhere, desk, drain) as (server, _, task):
        for each in signals:
            server.handle_exit(each, None)
        async with asyncio.timeout(10):
            await task
