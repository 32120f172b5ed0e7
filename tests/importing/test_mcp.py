"""Operations that come from an MCP server, over stdio and over streamable HTTP, through the same gate."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import time

import httpx
import pytest
import yaml

from app.outside.mcp import tools_of
from tests.importing.conftest import HERE, free_port
from tests.importing.world import World, business_in
from tools.importing.declared import Mcp
from tools.importing.mcp_tools import Confirmed, file_of
from tools.ports import NotSent
from tools.values import Customer

pytestmark = pytest.mark.process

SERVER = str(HERE / "mcp_service.py")


def written(folder, **reached) -> None:
    """The domain's folder with how the server is reached, its tools confirmed."""
    shutil.copytree(HERE / "lockers", folder, dirs_exist_ok=True)
    declared = yaml.safe_load((folder / "domain.yaml").read_text())
    declared["systems"]["lockers"] |= reached
    (folder / "domain.yaml").write_text(yaml.safe_dump(declared))
    tools = tools_of(Mcp.model_validate(declared["systems"]["lockers"]))
    confirmed = Confirmed(tools=tuple(tools)).model_dump_json()
    (folder / file_of("lockers")).write_text(confirmed)


def over_stdio(store, *more: str) -> dict:
    return {"command": [sys.executable, SERVER, "--store", str(store), *more]}


@pytest.fixture(params=["stdio", "http"])
def folder(request, tmp_path):
    made, store = tmp_path / "domain", tmp_path / "lockers.json"
    if request.param == "stdio":
        written(made, **over_stdio(store))
        yield made
        return
    port = free_port()
    command = [sys.executable, SERVER, "--store", str(store), "--port", str(port)]
    with subprocess.Popen(command) as process:
        for _ in range(200):
            try:
                httpx.get(f"http://127.0.0.1:{port}/mcp", timeout=1)
                break
            except httpx.HTTPError:
                time.sleep(0.05)
        written(made, url=f"http://127.0.0.1:{port}/mcp")
        yield made
        process.terminate()


def opened_on(folder, database):
    world = World(business_in(folder), "", database)
    world.customer = Customer(id="K-1", tenant="fjell", name="Kim Lee")
    return world.opened()


async def test_a_tool_is_an_operation_like_any_other(folder, database, tmp_path):
    """Who it is for is filled in and never asked for; the answer tells what the file names."""
    async with opened_on(folder, database) as world:
        operation = world.operations["open_locker"]
        assert list(operation.arguments.model_fields) == ["locker_id"]
        action = await world.action("open_locker")
        done = await world.execute(action)

    assert (done.status, done.result) == (
        "executed",
        {"label": "L-7001 at Hauptbahnhof", "state": "open"},
    )
    assert json.loads((tmp_path / "lockers.json").read_text())["L-7001"]["opened"] == [action.id]


async def test_a_tools_own_error_says_neither_yes_nor_no(folder, database):
    async with opened_on(folder, database) as world:
        action = await world.action("break_locker")
        unknown = await world.execute(action)

    assert unknown.status == "unknown"


async def test_a_tool_that_changed_is_off_until_it_is_confirmed_again(tmp_path, database):
    """The same schema with another description may be another thing; what has not changed goes on."""
    folder, store = tmp_path / "domain", tmp_path / "lockers.json"
    written(folder, **over_stdio(store))
    declared = yaml.safe_load((folder / "domain.yaml").read_text())
    declared["systems"]["lockers"] |= over_stdio(store, "--description", "Open every locker.")
    (folder / "domain.yaml").write_text(yaml.safe_dump(declared))
    async with opened_on(folder, database) as world:
        assert "open_locker has changed" in world.books.health()["lockers"]
        assert len(await world.books.backend.records(world.customer)) == 1
        action = await world.action("open_locker")
        with pytest.raises(NotSent):
            await world.execute(action)

    assert not store.exists()


async def test_hints_are_kept_for_the_proposal(tmp_path):
    folder = tmp_path / "domain"
    written(folder, **over_stdio(tmp_path / "lockers.json"))
    kept = Confirmed.model_validate_json((folder / file_of("lockers")).read_text())
    hints = {one.name: (one.reads, one.destroys) for one in kept.tools}

    assert hints == {
        "list_lockers": (True, True),
        "open_locker": (False, False),
        "break_locker": (False, True),
    }
