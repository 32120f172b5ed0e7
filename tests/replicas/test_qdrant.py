"""The index by URL: what two processes that share a Qdrant server do to each other."""

from __future__ import annotations

import sys
from datetime import date
from pathlib import Path

import pytest
from qdrant_client import QdrantClient

from app.knowledge.documents import Chunk
from app.knowledge.index import IndexUnavailable, QdrantIndexes, Scope
from tests.replicas.cluster import free_port, program

pytestmark = pytest.mark.process

SCOPE = Scope(("public",), ("northfell",), date(2026, 11, 20))
CHUNK = Chunk(
    "5b4c1f1e-0000-4000-8000-000000000001",
    "bags.md",
    "Our bicycle bags are waterproof.",
    "Bags",
    "public",
    "current",
    payload={"tenant": "northfell"},
)


@pytest.fixture(scope="module")
def url(tmp_path_factory):
    port = free_port()
    server = str(Path(__file__).with_name("qdrant_server.py"))
    log = tmp_path_factory.mktemp("qdrant") / "qdrant.log"
    with program([sys.executable, server, str(port)], port, log):
        yield f"http://127.0.0.1:{port}"


class Late(QdrantClient):
    """Looked before the other one made the collection."""

    looked = False

    def collection_exists(self, *args, **options):
        if not self.looked:
            self.looked = True
            return False
        return super().collection_exists(*args, **options)


def test_what_one_replica_writes_the_other_finds(url):
    """Also where both make the collection at the same moment, which the server lets one of them."""
    one = QdrantIndexes.at(url)
    other = QdrantIndexes(Late(url=url, check_compatibility=False))
    vector = [1.0, 0.0, 0.0, 0.0]
    one.open(1, 4).upsert([CHUNK], [vector])
    index = other.open(1, 4)
    short = index.search("bicycle bags", vector, limit=3, scope=SCOPE)
    long = index.search(" ".join(["bicycle bags"] * 12), vector, limit=3, scope=SCOPE)
    index.mark([CHUNK.id], "outdated")
    hidden = one.open(1, 4).search("bicycle bags", vector, limit=3, scope=SCOPE)
    other.point(1)
    counted = (index.count(), index.ids(), index.vectors([CHUNK.id]))
    index.delete([CHUNK.id])

    assert [hit.id for hit in short] == [hit.id for hit in long] == [CHUNK.id]
    assert short[0].payload["text"] == CHUNK.text
    assert hidden == []
    assert counted == (1, {CHUNK.id}, {CHUNK.id: vector})
    assert one.open(1, 4).count() == 0
    for each in (one, other):
        each.close()


def test_a_refusal_for_another_reason_is_not_taken_for_success(url):
    """A collection that could not be made is not there."""

    class Refused(Late):
        def collection_exists(self, *args, **options):
            return False

    refused = QdrantIndexes(Refused(url=url, check_compatibility=False), "refused")
    QdrantIndexes.at(url, collection="refused").open(1, 4)
    with pytest.raises(IndexUnavailable, match="already exists"):
        refused.open(1, 4)
    refused.close()
