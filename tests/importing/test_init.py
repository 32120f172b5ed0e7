"""``signalbox domain init``: what it proposes from real documents and servers, and that none of it acts unconfirmed."""

from __future__ import annotations

import asyncio
import io
import json
import shutil
import subprocess
import sys
import threading
import time
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import httpx
import mcp.client.stdio  # noqa: F401 - it keeps the stderr of its first import, which must be a real one
import pytest
import yaml
from rich.console import Console
from typer.testing import CliRunner

from app.beginning import Sources, begin
from app.checking import check_folder
from app.cli import app
from app.commands.init import ask, write
from app.domains import load_domain
from models.train.kept_out import leaks, measured
from tests.importing.conftest import FJELL, HERE, free_port
from tests.importing.world import World, business_in
from tools.values import Consequence, Customer

ROOT = HERE.parents[1]
SERVER = str(HERE / "mcp_service.py")


@pytest.fixture(autouse=True)
def _addresses(monkeypatch):
    """What the proposed files read from the environment."""
    monkeypatch.setenv("BIKES_API", "http://127.0.0.1:9")
    monkeypatch.setenv("BIKES_KEY", "k")


def run(*arguments: str, **env: str):
    return CliRunner().invoke(app, ["domain", "init", *arguments], env={"COLUMNS": "200", **env})


def told(*arguments: str, **env: str) -> dict:
    """What a program that starts the command is told."""
    done = CliRunner().invoke(app, ["domain", "init", *arguments, "--yes", "--json"], env=env)
    assert done.exit_code == 0, done.output
    return json.loads(done.stdout)


def told_to_a_process(*arguments: str) -> dict:
    """The same from a process of its own: a server over stdio writes to a real stderr."""
    command = [sys.executable, "-m", "app.cli", "domain", "init", *arguments, "--yes", "--json"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def confirmed(folder: Path, **classes: str) -> None:
    """A person goes through the file: these classes, and every record's list."""
    file = folder / "operations.yaml"
    declared = yaml.safe_load(file.read_text())
    for kind in declared["records"].values():
        del kind["proposed"]
    for name, chosen in classes.items():
        declared["operations"][name]["consequence"] = chosen
    file.write_text(yaml.safe_dump(declared))


# --- from a document ------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def proposed(tmp_path_factory):
    """The folder that the command wrote for the bicycle rental's document, and what it told."""
    made = tmp_path_factory.mktemp("proposed") / "bikes"
    return made, told(str(made), "--openapi", str(FJELL / "openapi.yaml"))


@pytest.fixture
def folder(proposed, tmp_path):
    """A copy of that folder, for this test alone."""
    return Path(shutil.copytree(proposed[0], tmp_path / "bikes"))


def test_every_operation_of_a_document_is_proposed_and_none_exists(proposed, folder):
    """The folder is complete and loads; the agent can do what every desk can, and nothing of the API."""
    assert {name: one["proposed"] for name, one in proposed[1]["operations"].items()} == {
        "get_rider": "safe",
        "list_rentals": "safe",
        "get_rental": "safe",
        "extend_rental": "irreversible",
        "cancel_rental": "irreversible",
        "list_charges": "safe",
        "add_extra": "irreversible",  # POST /charges: it charges.
        "report_fault": "retry_unsafe",
        "delete_rider": "irreversible",
    }
    assert [one for one in check_folder(folder) if one.grave] == []
    domain = load_domain(folder)
    assert set(domain.operations) == {"create_ticket", "hand_off"}
    assert {"affirm", "deny", "out_of_scope", "hand_off"} <= set(domain.intents.names)
    assert "cancel_rental" not in domain.intents.names


def test_what_a_person_confirms_exists_with_its_record_and_its_intent(folder):
    confirmed(folder, list_rentals="safe", cancel_rental="retry_safe")
    domain = load_domain(folder)

    assert set(domain.operations) == {"create_ticket", "hand_off", "list_rentals", "cancel_rental"}
    assert list(domain.operations["cancel_rental"].arguments.model_fields) == ["rental_id"]
    assert domain.operations["cancel_rental"].consequence is Consequence.RETRY_SAFE
    assert domain.intents.get("cancel_rental").operation == "cancel_rental"


def test_an_operation_waits_as_long_as_its_record_does(folder):
    """Nobody has seen yet that the list holds the customer's own alone: its class alone is not enough."""
    file = folder / "operations.yaml"
    declared = yaml.safe_load(file.read_text())
    declared["operations"]["cancel_rental"]["consequence"] = "retry_safe"
    file.write_text(yaml.safe_dump(declared))

    assert "cancel_rental" not in load_domain(folder).operations


def test_what_is_filled_from_the_login_is_marked_and_never_asked_for(proposed):
    folder, said = proposed
    operations = yaml.safe_load((folder / "operations.yaml").read_text())["operations"]
    marked = {(one["file"], one["what"]) for one in said["to_confirm"]}

    assert operations["get_rider"]["arguments"] == {"rider_id": "{{ customer.id }}"}
    assert operations["extend_rental"]["write"]["key"]["header"] == "Idempotency-Key"
    assert operations["extend_rental"]["arguments"]["Idempotency_Key"] == {"drop": True}
    assert {
        ("operations.yaml", "operations.get_rider.arguments.rider_id"),
        ("operations.yaml", "operations.extend_rental.write.key"),
        ("operations.yaml", "operations.cancel_rental.write.lookup"),
        ("operations.yaml", "records.rental"),
        ("domain.yaml", "identity"),
    } <= marked


def test_what_is_proposed_to_measure_is_not_what_is_learnt(proposed):
    """The training refuses examples that stand in the evals."""
    folder, _ = proposed
    intents = yaml.safe_load((folder / "intents.yaml").read_text())["intents"]
    kept = measured(folder / "evals")

    assert len(kept) > 5
    assert list(leaks([text for one in intents for text in one["examples"]], kept)) == []


def test_a_kind_goes_with_what_lists_it(tmp_path):
    """Unless something else is about it."""
    content = (FJELL / "openapi.yaml").read_bytes()
    begun = begin("bikes", Sources((content, "openapi.yaml")))
    assert set(begun.kinds) == {"rental", "charge"}
    begun.drop("list_charges")
    begun.drop("list_rentals")

    assert set(begun.kinds) == {"rental"}


def test_secrets_of_an_answer_are_not_proposed_for_replies():
    document = {
        "openapi": "3.1.0",
        "info": {"title": "Vault"},
        "paths": {
            "/box": {
                "get": {
                    "operationId": "get_box",
                    "responses": {
                        "200": {
                            "description": "The box",
                            "content": {
                                "application/json": {
                                    "schema": {
                                        "type": "object",
                                        "properties": {
                                            name: {"type": "string"}
                                            for name in ("place", "accessToken", "iban", "card_number")
                                        },
                                    }
                                }
                            },
                        }
                    },
                }
            }
        },
    }  # fmt: skip
    begun = begin("vault", Sources((json.dumps(document).encode(), "a.json")))

    assert begun.proposals[0].told == {"place": "place"}


@pytest.fixture
def served(tmp_path):
    """The address of a document on a web server."""
    (tmp_path / "openapi.yaml").write_bytes((FJELL / "openapi.yaml").read_bytes())
    handler = partial(_Quiet, directory=str(tmp_path))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}/openapi.yaml"
        server.shutdown()
        thread.join()


class _Quiet(SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: object) -> None:
        """Nothing: the test's output is the command's."""


def test_a_document_may_be_at_an_address(served, tmp_path):
    said = told(str(tmp_path / "bikes"), "--openapi", served, "--only", "rental")

    assert sorted(said["operations"]) == [
        "cancel_rental",
        "extend_rental",
        "get_rental",
        "list_rentals",
        "report_fault",
    ]
    assert said["records"] == ["rental"]


def test_help_pages_are_taken_along(tmp_path):
    folder = tmp_path / "bikes"
    told(
        str(folder), "--openapi", str(FJELL / "openapi.yaml"), "--knowledge", str(FJELL / "knowledge")
    )  # fmt: skip

    assert [one.name for one in (folder / "knowledge").iterdir()] == ["extending.md"]


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--openapi", "nowhere.yaml", "--yes"], "cannot be read"),
        (["--openapi", "http://127.0.0.1:9/a.json", "--yes"], "cannot be fetched"),
        (["--openapi", str(HERE / "conftest.py"), "--yes"], "cannot be used"),
        (["--mcp", "/nowhere/server", "--yes"], "/nowhere/server"),
        (["--mcp", "true", "--mcp-key", "NOT_SET_ANYWHERE", "--yes"], "does not set NOT_SET"),
        (["--openapi", str(FJELL / "openapi.yaml"), "--only", "zeppelin", "--yes"], "no operation"),
        (["--yes"], "Say what the agent can use"),
        # A program that cannot be asked says so in place of waiting.
        (["--openapi", str(FJELL / "openapi.yaml")], "--yes"),
    ],
)
def test_what_cannot_be_begun_says_why_and_leaves_nothing(arguments, says, tmp_path):
    done = run(str(tmp_path / "bikes"), *arguments)

    assert done.exit_code == 1
    assert says in done.output.replace("\n", " ")
    assert not (tmp_path / "bikes").exists()


def test_nothing_is_written_over(tmp_path):
    (tmp_path / "notes.txt").write_text("mine")
    done = run(str(tmp_path), "--openapi", str(FJELL / "openapi.yaml"), "--yes")

    assert (done.exit_code, [one.name for one in tmp_path.iterdir()]) == (1, ["notes.txt"])


# --- asking a person ------------------------------------------------------------------------------


def test_a_person_confirms_drops_and_keeps(tmp_path):
    """A class that somebody typed is confirmed; a wrong time zone is asked for again."""
    content = (FJELL / "openapi.yaml").read_bytes()
    begun = begin("bikes", Sources((content, "openapi.yaml"), only=["rental"]))
    names = [one.name for one in begun.proposals]
    answers = {"cancel_rental": "retry_safe", "extend_rental": "drop", "list_rentals": "safe"}
    lines = ["Bergen Bikes", "en", "Europe/Nowhere", "Europe/Oslo", "NOK", "y"]
    lines += [answers.get(name, "keep") for name in names]
    seen = io.StringIO()
    ask(begun, Console(file=seen, width=200), io.StringIO("\n".join(lines) + "\n"))
    write(begun, tmp_path / "bikes", None)
    operations = yaml.safe_load((tmp_path / "bikes" / "operations.yaml").read_text())["operations"]
    domain = yaml.safe_load((tmp_path / "bikes" / "domain.yaml").read_text())

    assert (domain["name"], domain["timezone"], domain["currency"]) == (
        "Bergen Bikes",
        "Europe/Oslo",
        "NOK",
    )
    assert operations["cancel_rental"]["consequence"] == "retry_safe"
    assert operations["list_rentals"]["consequence"] == "safe"
    assert "extend_rental" not in operations
    assert operations["get_rental"]["consequence"]["proposed"] == "safe"
    assert "POST /rentals/{rental_id}/cancel" in seen.getvalue()


# --- from an MCP server ---------------------------------------------------------------------------


@pytest.fixture(params=["stdio", "http"])
def server(request, tmp_path):
    """How the lockers' server is named on the command line, over each transport."""
    store = tmp_path / "lockers.json"
    if request.param == "stdio":
        yield f"{sys.executable} {SERVER} --store {store}"
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
        yield f"http://127.0.0.1:{port}/mcp"
        process.terminate()


@pytest.mark.process
async def test_an_mcp_servers_tools_are_proposed_and_act_once_confirmed(server, tmp_path, database):
    """Hints count for the proposal only; who it is for is filled in for every tool that wants to know."""
    folder = tmp_path / "lockers"
    said = await asyncio.to_thread(told_to_a_process, str(folder), "--mcp", server)
    proposed = {name: one["proposed"] for name, one in said["operations"].items()}

    assert proposed["list_lockers"] == "safe"
    assert proposed["open_locker"] in ("retry_unsafe", "irreversible")
    assert proposed["break_locker"] in ("retry_unsafe", "irreversible")
    assert set(load_domain(folder).operations) == {"create_ticket", "hand_off"}
    load_domain.cache_clear()
    confirmed(folder, open_locker="retry_unsafe")
    world = World(business_in(folder), "", database)
    world.customer = Customer(id="K-1", tenant="lockers", name="Kim Lee")
    async with world.opened() as opened:
        assert "customer_id" not in opened.operations["open_locker"].arguments.model_fields
        action = await opened.action("open_locker", locker_id="L-7001", reference="r-1")
        done = await opened.execute(action)

    assert done.status == "executed"
    assert json.loads((tmp_path / "lockers.json").read_text())["L-7001"]["opened"] == ["r-1"]
