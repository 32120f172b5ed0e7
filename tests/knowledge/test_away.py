"""The Qdrant server is away, or does not answer: who asks is told soon, and `/ready` says so."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator
from datetime import date

import pytest
from qdrant_client import QdrantClient

from app.health import check
from app.knowledge.index import IndexUnavailable, QdrantIndexes, Scope
from app.knowledge.knowledge import problem_of
from tools.ports import PortError

SCOPE = Scope(("public",), ("northfell",), date(2026, 11, 20))


@pytest.fixture
def away(free_port: int) -> str:
    """Nobody listens there."""
    return f"http://127.0.0.1:{free_port}"


@pytest.fixture
def slow() -> Iterator[str]:
    """A server that takes the connection and never says anything."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield f"http://127.0.0.1:{server.getsockname()[1]}"


@pytest.mark.parametrize("where", ["away", "slow"])
def test_a_search_is_given_up(where: str, request: pytest.FixtureRequest) -> None:
    """The port's own error, by which the turn admits that it found nothing, and no later than it was told to."""
    index = QdrantIndexes(QdrantClient(":memory:")).open(1, 4)
    gone = QdrantIndexes.at(request.getfixturevalue(where), seconds=1)
    index.client = gone.client
    started = time.monotonic()
    with pytest.raises(IndexUnavailable) as raised:
        index.search("returns", [0.0] * 4, limit=3, scope=SCOPE)
    gone.close()
    assert isinstance(raised.value, PortError)
    assert time.monotonic() - started < 6


@pytest.mark.parametrize(("where", "why"), [("away", "Qdrant"), ("slow", "no answer within")])
async def test_ready_says_that_it_is_away(
    where: str, why: str, request: pytest.FixtureRequest
) -> None:
    """Degraded and not down: what needs no article is answered as ever."""
    indexes = QdrantIndexes.at(request.getfixturevalue(where), seconds=2)
    problem = await problem_of(indexes, seconds=20 if where == "away" else 0.5)
    indexes.close()
    assert problem is not None
    assert why in problem
    assert check(problem)["status"] == "degraded"
