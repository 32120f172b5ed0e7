"""One development server for the tests that talk to it as its clients do."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Generator

import pytest
from langgraph_sdk import get_client
from langgraph_sdk.client import LangGraphClient

from tests.studio.server import development_server


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Generator[str]:
    """The address of a development server that runs for these tests."""
    with development_server(tmp_path_factory.mktemp("studio")) as url:
        yield url


@pytest.fixture
async def studio(server: str) -> AsyncGenerator[LangGraphClient]:
    async with get_client(url=server) as client:
        yield client
