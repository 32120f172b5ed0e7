"""The gate on each kind of books."""

from __future__ import annotations

import pytest

from tests.policy.gate import Gate


@pytest.fixture(params=["memory", "sqlite", pytest.param("postgres", marks=pytest.mark.postgres)])
def gate(request, tmp_path):
    url = f"sqlite:///{tmp_path / 'gate.db'}"
    if request.param == "postgres":
        url = request.getfixturevalue("new_postgres_url")
    gate = Gate(request.param, tmp_path, url)
    yield gate
    gate.close()


@pytest.fixture
def office(tmp_path):
    """The gate with a desk in front of it."""
    gate = Gate("sqlite", tmp_path, f"sqlite:///{tmp_path / 'office.db'}")
    yield gate
    gate.close()
