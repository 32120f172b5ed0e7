"""The end-to-end test: the conversations that must be held, on the real embedded models."""

from __future__ import annotations

from pathlib import Path

import pytest

from evals import examples
from evals.world import Folders

pytestmark = [pytest.mark.models, pytest.mark.slow, pytest.mark.timeout(900)]


def test_every_example_behaves(tmp_path: Path) -> None:
    """Every scenario and every fault, graded on what happened in the books and what was said."""
    found = examples.run(Folders(tmp_path))

    assert found.failures == []
