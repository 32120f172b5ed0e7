"""The knowledge base from outside: the admins' API, and the commands."""

from __future__ import annotations

import gzip
import json
import os
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest

from app.commands.remote import Remote
from app.config import Settings
from app.knowledge.formats import Options
from app.knowledge.index import EdgeIndexes
from app.knowledge.ingest import quiet
from app.knowledge.knowledge import HybridKnowledge
from app.knowledge.library import Library
from app.models.encoder import OnnxEncoder

from .conftest import ADMIN_KEY, OPERATOR_KEY
from .fake_desk import FakeDesk

ADMIN = {"X-API-Key": ADMIN_KEY}
FILES = "/v1/knowledge/files/"


@pytest.fixture(scope="module")
def encoder() -> OnnxEncoder:
    return OnnxEncoder()


@pytest.fixture
async def desk(tmp_path: Path, encoder: OnnxEncoder) -> AsyncIterator[FakeDesk]:
    """A desk with a real, empty knowledge base."""
    knowledge = HybridKnowledge.open(tmp_path / "kb", encoder)
    desk = FakeDesk()
    desk.library = Library(knowledge)
    yield desk
    await desk.library.close()
    knowledge.close()


@pytest.fixture
def settings(settings: Settings) -> Settings:
    return settings.model_copy(update={"upload_bytes": 100_000})


@pytest.mark.parametrize(
    ("headers", "status"),
    [({}, 401), ({"X-API-Key": OPERATOR_KEY}, 403), (ADMIN, 200)],
    ids=["nobody", "agent", "admin"],
)
async def test_only_admins_change_what_customers_are_told(
    client: httpx.AsyncClient, headers: dict[str, str], status: int
) -> None:
    """An agent's key opens none of it, neither does a customer."""
    note = b"Kites are sold in spring."
    answers = [
        await client.put(FILES + "notes/kites.txt", headers=headers, content=note),
        await client.get("/v1/knowledge", headers=headers),
        await client.get("/v1/knowledge/report", headers=headers),
        await client.delete(FILES + "notes/kites.txt", headers=headers),
    ]

    assert [answer.status_code for answer in answers] == [status] * 4


async def test_files_go_in_and_out(client: httpx.AsyncClient, desk: FakeDesk) -> None:
    """A file is found after its upload, embedded once, and gone after its deletion."""
    knowledge = desk.library.knowledge
    note = b"# Kites\n\nKites are sold in spring."
    first = await client.put(FILES + "notes/kites.md", headers=ADMIN, content=note)
    again = await client.put(FILES + "notes/kites.md", headers=ADMIN, content=note)
    secret = await client.put(
        FILES + "staff.txt?audience=internal", headers=ADMIN, content=b"Kites cost us 2 EUR."
    )
    found = [p.source for p in await knowledge.retrieve("when are kites sold")]
    status = (await client.get("/v1/knowledge", headers=ADMIN)).json()
    gone = await client.delete(FILES + "notes/kites.md", headers=ADMIN)
    twice = await client.delete(FILES + "notes/kites.md", headers=ADMIN)

    assert first.json()["added"] == ["notes/kites.md"]
    assert (again.json()["embedded"], again.json()["unchanged"]) == (0, 1)
    assert secret.status_code == 200
    assert found == ["notes/kites.md"]
    assert (status["files"], status["chunks"]) == (2, 2)
    assert (gone.json()["removed"], twice.json()["removed"]) == (["notes/kites.md"], [])
    assert await knowledge.retrieve("when are kites sold") == []


@pytest.mark.parametrize(
    ("name", "content", "status", "said"),
    [
        ("broken.md", b"---\ntitle: [open\n---\nText.", 422, "not YAML"),
        ("thing.exe", b"MZ", 422, "Known endings"),
        ("%2e%2e/%2e%2e/etc/x.md", b"x", 422, "relative path"),
        ("a%23b.md", b"x", 422, "relative path"),
        ("large.txt", b"x" * 100_001, 413, "too large"),
    ],
)
async def test_what_cannot_be_taken_says_why(
    client: httpx.AsyncClient, name: str, content: bytes, status: int, said: str
) -> None:
    """A problem document with a reason; nothing is kept of it."""
    answer = await client.put(FILES + name, headers=ADMIN, content=content)

    assert answer.status_code == status
    assert said in answer.json()["detail"]
    assert (await client.get("/v1/knowledge", headers=ADMIN)).json()["documents"] == 0


async def test_a_reindex_runs_in_the_background(client: httpx.AsyncClient, desk: FakeDesk) -> None:
    """It is started, watched and taken back over the API."""
    remote = Remote(client, "http://localhost")
    client.headers.update(ADMIN)
    early = await client.post("/v1/knowledge/rollback")
    await client.put(FILES + "kites.txt", content=b"Kites are sold in spring.")
    number = await remote.reindex(quiet)
    back = await remote.rollback()

    assert early.status_code == 409
    assert (number, back) == (2, 1)
    assert (await remote.status())["reindex"]["state"] == "done"


async def test_a_command_sends_only_what_changed(client: httpx.AsyncClient, tmp_path: Path) -> None:
    """While a server has the knowledge open, `signalbox ingest` gives it the files."""
    folder = tmp_path / "notes"
    folder.mkdir()
    (folder / "kites.txt").write_text("Kites are sold in spring.")
    (folder / "boats.txt").write_text("Boats are sold in autumn.")
    (folder / "broken.md").write_text("---\ntitle: [open\n---\nText.")
    client.headers.update(ADMIN)
    remote = Remote(client, "http://localhost")
    first = await remote.ingest([folder], Options(), quiet)
    (folder / "boats.txt").unlink()
    second = await remote.ingest([folder], Options(), quiet)

    assert first.added == ["notes/boats.txt", "notes/kites.txt"]
    assert [source for source, _ in first.failed] == ["notes/broken.md"]
    assert (second.removed, second.unchanged, second.added) == (["notes/boats.txt"], 1, [])
    assert [source for source, _ in second.failed] == ["notes/broken.md"]


def signalbox(folder: Path, *arguments: str, lines: str = "") -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "SIGNALBOX_DATA_DIR": str(folder / "data")}
    return subprocess.run(
        [sys.executable, "-m", "app.cli", *arguments],
        input=lines,
        capture_output=True,
        text=True,
        env=environment,
        timeout=120,
        check=False,
    )


def test_a_collection_of_ones_own_is_searched_by_the_line(tmp_path: Path) -> None:
    """Ingest rows, ask for them, throw them away: ids are the rows' own, bad lines are reported."""
    rows = [
        {"doc_id": "A #1", "title": "Kites", "text": "Kites are sold in spring."},
        {"doc_id": "B", "title": "Boats", "text": "Boats are sold in autumn."},
        {"doc_id": "C"},
    ]
    path = tmp_path / "rows.jsonl.gz"
    path.write_bytes(gzip.compress("\n".join(map(json.dumps, rows)).encode()))
    ingested = signalbox(tmp_path, "ingest", "--collection", "trial", str(path))
    lines = '{"id": 7, "query": "when are boats sold"}\n{"no": 1}\n{"query": "kites?"}\n'
    asked = signalbox(tmp_path, "retrieve", "--collection", "trial", "--k", "1", lines=lines)
    dropped = signalbox(tmp_path, "knowledge", "drop", "trial", "--yes")
    answers = [json.loads(line) for line in asked.stdout.splitlines()]

    assert (ingested.returncode, asked.returncode, dropped.returncode) == (1, 1, 0)
    assert "2 added" in ingested.stdout
    assert "row 3" in ingested.stderr
    assert [(answer.get("id"), answer["ids"]) for answer in answers] == [
        (7, ["B"]),
        (None, ["A #1"]),
    ]
    assert "line 2: query" in asked.stderr
    assert not (tmp_path / "data" / "knowledge" / "trial").exists()


def test_a_knowledge_base_in_use_says_what_to_do(tmp_path: Path) -> None:
    """When nobody can be asked: who has it, and the command that hands a file over."""
    note = tmp_path / "kites.txt"
    note.write_text("Kites are sold in spring.")
    indexes = EdgeIndexes(tmp_path / "data" / "knowledge" / "knowledge")
    said = signalbox(tmp_path, "ingest", str(note))
    indexes.close()

    assert said.returncode == 1
    assert "curl -X PUT" in said.stderr
    assert "Traceback" not in said.stderr
