"""Every store test runs on SQLite and on PostgreSQL."""

from __future__ import annotations

import pytest

from tests.stores.world import World


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)])
def url(request, tmp_path):
    if request.param == "postgres":
        return request.getfixturevalue("postgres_url")
    return f"sqlite:///{tmp_path / 'stores.db'}"


@pytest.fixture
def world(url):
    world = World(url)
    world.empty()
    yield world
    world.engine.dispose()
