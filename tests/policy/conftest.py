"""The gate on each kind of books."""

from __future__ import annotations

import pytest

from tests.desk.world import with_stories
from tests.policy.gate import Gate


@pytest.fixture(params=["memory", "sqlite", pytest.param("postgres", marks=pytest.mark.postgres)])
def gate(request, tmp_path, copied_database):
    url = "" if request.param == "memory" else copied_database(request.param, with_stories)
    gate = Gate(request.param, tmp_path, url)
    yield gate
    gate.close()


@pytest.fixture
def office(tmp_path, copied_database):
    """The gate with a desk in front of it."""
    gate = Gate("sqlite", tmp_path, copied_database("sqlite", with_stories))
    yield gate
    gate.close()
