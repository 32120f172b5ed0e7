"""The crash and stall evals find what broken stores do, and nothing on sound ones."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from app.config import ROOT
from app.domains import load_domain
from evals.crash import a_site, beside, report, run
from evals.crash_process import Site, desk_on
from evals.crash_slots import AtBoundary
from evals.stall import OneSleeper
from tests.evals.mutants import effect_first, keyless, nameless
from tools.values import Customer


def test_the_provider_is_asked_where_it_listens(tmp_path: Path) -> None:
    """Also in a process that loaded the business before, with the address that its files name."""
    load_domain(ROOT / "domains" / "halden")

    async def found(site: Site) -> Customer | None:
        async with desk_on(site) as (desk, _):
            return await desk.sign_in.customer("H-10000")

    with (
        a_site("sqlite", tmp_path, "halden") as alone,
        beside(alone, "rest-key", tmp_path) as site,
    ):
        customer = asyncio.run(found(site))

    assert customer is not None
    assert customer.name == "Kim Probe 0"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("broken", "boundary", "asked", "kind"),
    [
        (keyless, "committed", "create_ticket", "duplicates"),
        (effect_first, "effect_done", "create_ticket", "duplicates"),
        (nameless, "committed", "request_refund", "wrongly_told"),
    ],
)
def test_a_broken_promise_is_found(broken, boundary, asked, kind):
    """A ledger without its key, an effect before its row, and deliveries without an id do not pass.

    Both processes die where it shows, over a request where it shows: nothing is left to chance."""
    runs = run(
        2,
        database="sqlite",
        backend="books",
        assemble=broken,
        boundaries=(boundary,),
        slots_of=AtBoundary,
        crowd=4,
        only=(asked,),
    )

    assert getattr(runs[0].compared, kind) > 0
    assert not report(runs).ok


@pytest.mark.slow
def test_a_process_that_slept_writes_over_nothing():
    """It stops in the middle of a turn; its customer is answered elsewhere and goes on; then it is woken. That this
    is lost without fencing is shown by the model check of tests/stores/test_protocol.py, which needs no luck."""
    runs = run(
        1,
        database="sqlite",
        backend="books",
        boundaries=("state_saved",),
        slots_of=OneSleeper,
        crowd=1,
        only=("cancel_order",),
    )

    assert not runs[0].compared.lost
    assert report(runs).ok


@pytest.mark.slow
def test_nothing_is_lost_or_done_twice():
    """A dozen processes killed while a payment service moves the money; the long run is the eval itself."""
    runs = run(12, database="sqlite", backend="keys", seed=3)

    assert runs[0].kills >= 12
    assert runs[0].compared.effects > 10
    assert runs[0].compared.problems == []
    assert report(runs).ok


@pytest.mark.slow
@pytest.mark.parametrize("settled_by", ["key", "reference", "state"])
def test_nothing_is_lost_or_done_twice_in_another_system(settled_by):
    """Processes killed around calls of a REST service that drops answers; what nobody knows is settled by the key it
    takes, by our reference in it, or by how the record stands."""
    runs = run(6, database="sqlite", backend=f"rest-{settled_by}", seed=3, crowd=16)

    assert runs[0].kills >= 6
    assert runs[0].compared.effects > 3
    assert runs[0].compared.problems == []
    assert report(runs).ok
