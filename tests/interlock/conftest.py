"""Payment services in processes of their own, one that honours keys and one that does not."""

from __future__ import annotations

import pytest

from tests.interlock.world import World, payment_service, stocked


@pytest.fixture(scope="session")
def services(tmp_path_factory):
    folder = tmp_path_factory.mktemp("payments")
    with (
        payment_service(folder / "keys.db", keys=True) as honouring,
        payment_service(folder / "no-keys.db", keys=False) as plain,
    ):
        yield {True: honouring, False: plain}


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)])
def kind(request):
    return request.param


@pytest.fixture
def url(kind, copied_database):
    """A migrated database."""
    return copied_database(kind)


@pytest.fixture
def stocked_url(kind, copied_database):
    """A database with Ada and her stove."""
    return copied_database(kind, stocked)


@pytest.fixture(params=[True, False], ids=["keys", "no-keys"])
def keys(request):
    return request.param


@pytest.fixture
def world(stocked_url, services, keys):
    world = World(stocked_url, services[keys], keys=keys)
    world.trouble()
    yield world
    world.trouble()
    world.close()
