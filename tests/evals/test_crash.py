"""The crash eval finds what broken stores do, and nothing on sound ones."""

from __future__ import annotations

import pytest

from evals.crash import report, run
from tests.evals.mutants import effect_first, keyless, nameless


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


@pytest.mark.slow
def test_nothing_is_lost_or_done_twice():
    """A dozen processes killed while a payment service moves the money; the long run is the eval itself."""
    runs = run(12, database="sqlite", backend="keys", seed=3)

    assert runs[0].kills >= 12
    assert runs[0].compared.effects > 10
    assert runs[0].compared.problems == []
    assert report(runs).ok
