"""One cluster of two replicas for all tests of this folder, with a place for a third."""

from __future__ import annotations

import pytest

from app.stores.database import create_engine, migrate
from domains.northfell.seed import seed
from tests.replicas.cluster import cluster
from tools.values import Clock


def _filled(url: str) -> None:
    migrate(url)
    engine = create_engine(url)
    seed(engine, Clock().today())
    engine.dispose()


@pytest.fixture(scope="module")
def replicas(require, templates, tmp_path_factory):
    for name in ("postgres", "redis", "haproxy"):
        require(name)
    folder = tmp_path_factory.mktemp("replicas")
    with (
        templates.copy("postgres", _filled, folder) as url,
        cluster(folder, url, running=2, places=3) as running,
    ):
        yield running
