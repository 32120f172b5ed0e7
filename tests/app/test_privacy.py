"""`signalbox privacy` and its routes: who may, what is asked, what is said."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path

import httpx
import pytest
import sqlalchemy as sa
from typer.testing import CliRunner

from app.cli import app as cli
from app.stores import tables
from app.stores.database import create_engine, writing
from app.stores.privacy import Open
from tests.desk.world import with_stories

from .fake_desk import FakeDesk

WORDS = "/v1/customers/ana/words"


@pytest.fixture
def kept(tmp_path: Path, copied_database, monkeypatch: pytest.MonkeyPatch) -> sa.Engine:
    """A database with one conversation of Ana's, which the commands find."""
    url = copied_database("sqlite", with_stories)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SIGNALBOX_DATABASE_URL", url)
    monkeypatch.setenv("SIGNALBOX_DATA_DIR", str(tmp_path / "data"))
    engine = create_engine(url)
    opened = {"tenant": "northfell", "customer_id": "ana", "created_at": datetime.now(UTC)}
    with writing(engine) as conn:
        row = opened | {"id": "th_1", "title": "where is my hat", "handed_off": False}
        conn.execute(sa.insert(tables.threads).values(row))
    return engine


def run(*arguments: str, input: str | None = None):
    return CliRunner().invoke(cli, ["privacy", *arguments], input=input)


def test_the_document_is_written_once_and_for_its_reader_only(kept: sa.Engine, tmp_path: Path):
    """On the terminal or to a new file."""
    out = tmp_path / "ana.json"
    written, shown = run("export", "ana", "--out", str(out)), run("export", "ana")

    assert (written.exit_code, shown.exit_code) == (0, 0)
    assert out.stat().st_mode & 0o777 == 0o600
    found = json.loads(out.read_text("utf-8"))
    assert [each["title"] for each in found["conversations"]] == ["where is my hat"]
    assert json.loads(shown.stdout).keys() == found.keys()
    again = run("export", "ana", "--out", str(out))
    assert (again.exit_code, "is there already" in again.stderr) == (1, True)


def test_erasing_asks_first_and_can_be_repeated(kept: sa.Engine):
    """No is no; a second time nothing is left."""
    refused = run("erase", "ana", input="n\n")
    assert (refused.exit_code, "1 conversations" in refused.stderr) == (1, True)
    assert "hat" in run("export", "ana").stdout

    erased, again = run("erase", "ana", input="y\n"), run("erase", "ana", "--yes")
    assert (erased.exit_code, again.exit_code) == (0, 0)
    assert "1 conversations" in erased.stdout
    assert "nothing was left" in again.stdout
    assert "hat" not in run("export", "ana").stdout


@pytest.mark.parametrize("command", [["export"], ["erase", "--yes"]])
def test_a_customer_of_whom_nothing_is_kept(kept: sa.Engine, command: list[str]):
    """Exit code 3, and nothing is written down of a mistyped id."""
    found = run(*command, "nobody")
    assert (found.exit_code, "Nothing is kept" in found.stderr) == (3, True)
    with kept.connect() as conn:
        assert conn.execute(sa.select(tables.erasures)).all() == []


def test_what_is_under_way_is_named_with_what_to_do(kept: sa.Engine):
    """An outcome that the customer has not been told."""
    at = datetime.now(UTC)
    with writing(kept) as conn:
        conn.execute(
            sa.insert(tables.outbox).values(
                action_id="act_7",
                tenant="northfell",
                customer_id="ana",
                thread="th_1",
                outcome={"operation": "request_refund"},
                created_at=at,
                due_at=at,
            )
        )
    refused = run("erase", "ana", "--yes")
    assert refused.exit_code == 1
    assert "delivery act_7 (request_refund)" in refused.stderr
    assert "try again in a minute" in refused.stderr
    assert "hat" in run("export", "ana").stdout


async def test_only_an_admin_may(
    client: httpx.AsyncClient,
    desk: FakeDesk,
    ana: dict[str, str],
    operator: dict[str, str],
    admin: dict[str, str],
):
    """Neither strangers, nor the customer, nor an agent; the admin is written down."""
    for method in ("GET", "DELETE"):
        answers = [
            await client.request(method, WORDS, headers=who) for who in ({}, ana, operator, admin)
        ]
        assert [answer.status_code for answer in answers] == [401, 403, 403, 200]
        unknown = await client.request(method, "/v1/customers/nobody/words", headers=admin)
        assert unknown.status_code == 404
    assert desk.erased == [("ana", "quirin")]


async def test_a_refusal_names_what_is_open(
    client: httpx.AsyncClient, desk: FakeDesk, admin: dict[str, str]
):
    """409, with each item and what to do about it."""
    item = Open(kind="approval", action="act_1", operation="refund", todo="decide it")
    desk.still_open.append(item)
    refused = await client.delete(WORDS, headers=admin)
    assert refused.status_code == 409
    assert refused.json()["open"] == [item.model_dump()]
