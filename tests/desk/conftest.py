"""A prepared shop for each test, copied from one that was filled once."""

from __future__ import annotations

import pytest

from tests.desk.world import DeskWorld, with_stories


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)])
def world(request, tmp_path, copied_database):
    url = copied_database(request.param, with_stories)
    on_postgres = request.param == "postgres"
    return DeskWorld(url, url if on_postgres else str(tmp_path / "checkpoints.db"))
