"""The app over the fake desk: in this process, or behind a real uvicorn."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest
import uvicorn
from fastapi import FastAPI

from app.config import Settings
from app.desk import Desk
from app.main import create_app
from app.server import server_config

from .fake_desk import FakeDesk

OPERATOR_KEY = "the-operators-key"
ADMIN_KEY = "the-admins-own-key"


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(  # pyright: ignore[reportCallIssue]
        _env_file=None,
        data_dir=tmp_path / "data",
        operators={"olga": OPERATOR_KEY, "quirin:admin": ADMIN_KEY},
        secret="a secret for the tests",
        shutdown_seconds=2,
    )


@pytest.fixture
def desk() -> FakeDesk:
    return FakeDesk()


def over(desk: FakeDesk) -> Callable[[Settings], AbstractAsyncContextManager[Desk]]:
    @asynccontextmanager
    async def factory(_: Settings) -> AsyncIterator[Desk]:
        yield desk

    return factory


@pytest.fixture
def app(settings: Settings, desk: FakeDesk) -> FastAPI:
    return create_app(settings, over(desk))


@pytest.fixture
async def client(app: FastAPI) -> AsyncIterator[httpx.AsyncClient]:
    """The app in this process, its lifespan running."""
    async with app.router.lifespan_context(app) as state:

        async def with_state(scope, receive, send):
            await app({**scope, "state": dict(state)}, receive, send)

        transport = httpx.ASGITransport(with_state, raise_app_exceptions=False)
        async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as client:
            yield client


@pytest.fixture
async def ana(client: httpx.AsyncClient) -> dict[str, str]:
    """Headers of a logged-in customer; the cookie is dropped, so that each test says who asks."""
    return await log_in(client, "ana")


async def log_in(client: httpx.AsyncClient, customer: str) -> dict[str, str]:
    response = await client.post("/v1/login", json={"customer": customer})
    client.cookies.clear()
    return {"Authorization": f"Bearer {response.json()['token']}"}


@pytest.fixture
def operator() -> dict[str, str]:
    return {"X-API-Key": OPERATOR_KEY}


@pytest.fixture
def admin() -> dict[str, str]:
    return {"X-API-Key": ADMIN_KEY}


@dataclass
class Served:
    url: str
    server: uvicorn.Server
    task: asyncio.Task[None]


@asynccontextmanager
async def served(app: FastAPI, settings: Settings | None = None) -> AsyncIterator[Served]:
    """The app behind a real server on a free port of this machine; with settings, as `serve` sets it up."""
    listener = socket.socket()
    listener.bind(("127.0.0.1", 0))
    config = (
        server_config(settings, app)
        if settings is not None
        else uvicorn.Config(app, log_level="error", timeout_graceful_shutdown=1, ws="none")
    )
    server = uvicorn.Server(config)
    # The signal handlers belong to the test run.
    task = asyncio.create_task(server._serve([listener]))
    while not server.started:  # noqa: ASYNC110 - uvicorn offers no event to wait for
        await asyncio.sleep(0.01)
    try:
        yield Served(f"http://127.0.0.1:{listener.getsockname()[1]}", server, task)
    finally:
        server.should_exit = True
        await task
        listener.close()


@pytest.fixture
async def live(app: FastAPI) -> AsyncIterator[Served]:
    async with served(app) as running:
        yield running
