"""The crash eval finds nothing in the stores as they are, and finds what a broken one does."""

from __future__ import annotations

import pytest

from evals.crash import report, run
from tests.evals.mutants import effect_first, keyless, nameless


@pytest.mark.slow
@pytest.mark.postgres
@pytest.mark.parametrize("database", ["sqlite", "postgres"])
def test_killed_processes_lose_and_repeat_nothing(database):
    """Thirty processes die on each database; the books agree with what everybody was told."""
    found = report(run(30, database=database, backend="books"))

    assert found.ok, found.failures
    assert found.figures[0].value >= 30
    assert found.figures[2].value > 5, "it did something"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("broken", "boundary", "kind"),
    [
        (keyless, "committed", "duplicates"),
        (effect_first, "effect_done", "duplicates"),
        (nameless, "committed", "wrongly_told"),
    ],
)
def test_a_broken_promise_is_found(broken, boundary, kind):
    """A ledger without its key, an effect before its row, and deliveries without an id do not pass."""
    runs = run(8, database="sqlite", backend="books", assemble=broken, boundaries=(boundary,))

    assert getattr(runs[0].compared, kind) > 0
    assert not report(runs).ok
