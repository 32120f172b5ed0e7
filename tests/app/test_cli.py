"""The command line: quick to start, clear when something is wrong, careful with what it deletes."""

from __future__ import annotations

import asyncio
import io
import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import httpx
import pytest
from rich.console import Console
from typer.testing import CliRunner

from app.cli import app
from app.config import Settings
from app.doctor import examine
from app.terminal import Conversation, LocalLine, RemoteLine

from .conftest import OPERATOR_KEY, Served, log_in
from .fake_desk import FakeDesk

ROOT = Path(__file__).parents[2]


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty working folder, with no `.env` of the developer's."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def run(*arguments: str, **env: str):
    return CliRunner().invoke(app, arguments, env={"COLUMNS": "200", **env})


def test_the_command_line_starts_light():
    """Importing it loads no graph, web or model library."""
    code = (
        "import sys, app.cli; "
        "print([m for m in ('langgraph', 'fastapi', 'onnxruntime', 'sqlalchemy', 'httpx', 'app.config')"
        " if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT)

    assert done.stdout == "[]\n"


@pytest.mark.parametrize(
    "command",
    [
        "serve",
        "chat",
        "ingest",
        "retrieve",
        "knowledge",
        "train",
        "ollama",
        "doctor",
        "reset-demo",
        "role",
        "scorecard",
    ],
)
def test_every_command_explains_itself(command):
    """--help works for each command of the list."""
    assert run(command, "--help").exit_code == 0


def test_a_wrong_setting_is_named(here):
    """No traceback: which setting, and why."""
    result = run("serve", SIGNALBOX_PORT="eight")

    assert result.exit_code == 1
    assert "port" in result.output
    assert "Traceback" not in result.output


@pytest.mark.parametrize("command", ["serve", "chat"])
def test_business_rules_that_cannot_be_used_are_named(here, free_port, command):
    """The start stops at once and names the rule and what is wrong with it."""
    rules = here / "rules.yaml"
    rules.write_text("rules: [{name: big, operations: [request_refund], then: ask}]")
    result = run(command, SIGNALBOX_RULES=str(rules), SIGNALBOX_PORT=str(free_port))

    assert result.exit_code == 1
    assert "rule big: then" in result.output
    assert "Traceback" not in result.output
    assert not (here / "data" / "knowledge").exists()


@pytest.mark.parametrize("command", ["serve", "chat"])
def test_articles_that_are_not_there_are_named(here, free_port, command):
    """One sentence, before any model is loaded."""
    result = run(command, SIGNALBOX_KNOWLEDGE_DIR="/nowhere", SIGNALBOX_PORT=str(free_port))

    assert result.exit_code == 1
    assert "SIGNALBOX_KNOWLEDGE_DIR" in result.output
    assert "Loading the models" not in result.output


def test_a_port_in_use_is_said_before_anything_is_loaded(here):
    """The start stops at once and says what to do."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        result = run("serve", SIGNALBOX_PORT=port)

    assert result.exit_code == 1
    assert "SIGNALBOX_PORT" in result.output
    assert not list((here / "data").glob("*.db"))


def test_the_version_is_said():
    """And nothing is read or made for it."""
    result = run("--version")

    assert result.exit_code == 0
    assert result.output.startswith("signalbox 0.")


def test_a_misspelt_setting_is_named_with_the_nearest_known_one(here):
    """In the environment and in .env, by every command; it is a warning, not a stop."""
    (here / ".env").write_text("SIGNALBOX_ROUTERR=x\n")
    result = run("releases", SIGNALBOX_PORTT="1", SIGNALBOX_WHATEVER_THIS_IS="1")

    assert result.exit_code == 0
    assert "There is no setting SIGNALBOX_PORTT. Did you mean SIGNALBOX_PORT?" in result.output
    assert "Did you mean SIGNALBOX_ROUTER?" in result.output
    assert "There is no setting SIGNALBOX_WHATEVER_THIS_IS. See .env.example." in result.output


@pytest.mark.parametrize(
    ("command", "code"),
    [
        (("doctor",), 0),
        (("releases",), 0),
        (("audit", "verify"), 3),
        (("drift", "look"), 3),
    ],
)
def test_tables_are_json_too(here, free_port, command, code):
    """One document on stdout; an empty audit and too little traffic end with 3."""
    result = run(*command, "--json", SIGNALBOX_PORT=str(free_port))

    assert result.exit_code == code
    json.loads(result.stdout)


def test_usage_errors_and_our_own_look_the_same(here, free_port):
    """A line that begins with Error:, no box, and the exit code says which it was."""
    usage = run("releases", "--nothing")
    ours = run("serve", SIGNALBOX_PORT="eight")

    assert (usage.exit_code, ours.exit_code) == (2, 1)
    assert "\nError: No such option" in usage.output
    assert ours.output.startswith("Error: These settings cannot be used")


def test_an_empty_folder_and_an_empty_audit_are_not_a_success(here):
    """Exit code 3 and a sentence: there was nothing to do it with."""
    (here / "empty").mkdir()
    ingested = run("ingest", "empty", "--collection", "trial")
    verified = run("audit", "verify")

    assert (ingested.exit_code, verified.exit_code) == (3, 3)
    assert "nothing to read in empty" in ingested.output
    assert "no row to check" in verified.output


def test_serve_takes_its_port_as_an_option(here):
    """Before the setting; one in use is said with the address."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        result = run("serve", "--port", str(port), SIGNALBOX_PORT="1")

    assert result.exit_code == 1
    assert f"127.0.0.1:{port} cannot be used" in result.output


def test_completion_can_be_installed():
    """The shells' own mechanism, by typer."""
    assert "--install-completion" in run("--help").output


def test_nobody_is_told_before_anything_is_loaded(here):
    """No model, no index, no graph, no rule: an unknown customer is one sentence, and it comes at once."""
    code = (
        "import sys, app.cli\ntry:\n    app.cli.app()\nfinally:\n    print('loaded:', [m for m in"
        " ('langgraph', 'onnxruntime', 'rule_engine', 'app.terminal', 'redis') if m in sys.modules])"
    )
    told = subprocess.run(
        [sys.executable, "-c", code, "chat", "--as", "nobody"],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )

    assert told.returncode == 1
    assert "There is no customer nobody. Demo customers: ana" in told.stderr
    assert told.stdout == "loaded: []\n"
    assert not (here / "data" / "knowledge").exists()


@pytest.mark.parametrize("url", ["mysql://x", "foo://bar", "not a url"])
def test_a_foreign_database_is_no_traceback(here, free_port, url):
    """The doctor finds it, and a command that needs it says so."""
    examined = run("doctor", "--json", SIGNALBOX_DATABASE_URL=url, SIGNALBOX_PORT=str(free_port))
    database = next(each for each in json.loads(examined.stdout) if each["what"] == "database")
    verified = run("audit", "verify", SIGNALBOX_DATABASE_URL=url)

    served = run("serve", "--port", str(free_port), SIGNALBOX_DATABASE_URL=url)

    assert (examined.exit_code, database["state"]) == (1, "bad")
    for result in (verified, served):
        assert result.exit_code == 1
        assert "SIGNALBOX_DATABASE_URL" in result.output
        assert "Traceback" not in result.output
    assert "Traceback" not in examined.output


@pytest.mark.parametrize(
    "words",
    [
        ("review", "sample"),
        ("review", "report"),
        ("review", "report", "--json"),
        ("shadow", "report"),
        ("knowledge", "report"),
        ("knowledge", "report", "--json"),
    ],
)
def test_a_report_on_nothing_is_no_success_and_no_traceback(here, words):
    """Exit code 3 in a data folder that was never served, and of a collection nothing was read into."""
    if words[0] == "knowledge":
        (here / "nothing").mkdir()
        run("ingest", "nothing")
    result = run(*words)

    assert result.exit_code == 3
    assert "Traceback" not in result.output


def test_the_doctor_checks_what_serve_would_refuse(tmp_path, free_port):
    """Rules, a router and articles that are not there, and demo customers for everybody, are bad."""
    settings = Settings(
        _env_file=None,
        data_dir=tmp_path,
        port=free_port,
        rules=tmp_path / "none.yaml",
        router=tmp_path / "none",
        host="0.0.0.0",
        knowledge_dir=tmp_path / "none",
    )
    findings = {finding.what: finding for finding in examine(settings)}

    assert {findings[what].state for what in ("rules", "own router", "log-in", "articles")} == {
        "bad"
    }
    assert "SIGNALBOX_RULES" in findings["rules"].advice


def test_reset_deletes_the_demo_and_keeps_the_keys(here, free_port):
    """Only the embedded default's files go."""
    data = here / "data"
    (data / "knowledge").mkdir(parents=True)
    for name in ("signalbox.db", "signalbox.db-wal", "checkpoints.db", "secret", "mine.txt"):
        (data / name).touch()

    asked = CliRunner().invoke(
        app, ["reset-demo"], input="n\n", env={"SIGNALBOX_PORT": str(free_port)}
    )
    before = len(list(data.iterdir()))
    done = run("reset-demo", "--yes", SIGNALBOX_PORT=str(free_port))

    assert asked.exit_code == 1
    assert before == 6
    assert done.exit_code == 0
    assert sorted(path.name for path in data.iterdir()) == ["mine.txt", "secret"]


def test_reset_does_not_touch_a_database_server(here, free_port):
    """A database that was configured is the operator's."""
    result = run(
        "reset-demo",
        "--yes",
        SIGNALBOX_PORT=str(free_port),
        SIGNALBOX_DATABASE_URL="postgresql://x/y",
    )

    assert result.exit_code == 1
    assert "SIGNALBOX_DATABASE_URL" in result.output


def test_the_doctor_says_what_is_wrong(tmp_path, free_port):
    """Each server that was configured and does not answer is bad, with advice and without secrets."""
    dead = f"http://127.0.0.1:{free_port}"
    settings = Settings(
        _env_file=None,
        data_dir=tmp_path,
        port=free_port,
        database_url=f"postgresql://u:hush@127.0.0.1:{free_port}/x",
        qdrant_url=dead,
        ollama_host=dead,
        llm_model="m",
        llm_base_url=dead,
        llm_api_key="sk-hush",
        redis_url=f"redis://:hush@127.0.0.1:{free_port}/0",
        payments_url=dead,
        langfuse_public_key="p",
        langfuse_secret_key="s",
        langfuse_base_url=dead,
    )

    findings = {finding.what: finding for finding in examine(settings)}

    for what in ("database", "qdrant", "ollama", "large model", "payments"):
        assert findings[what].state == "bad", what
        assert findings[what].advice
    assert findings["langfuse"].state == findings["redis"].state == "warn"
    assert findings["port"].state == "ok"
    assert "hush" not in str(findings)


def test_the_doctor_on_the_defaults(tmp_path, free_port):
    """What is not configured is off, not wrong."""
    findings = {
        finding.what: finding.state
        for finding in examine(Settings(_env_file=None, data_dir=tmp_path, port=free_port))
    }

    assert findings["database"] == "ok"
    assert "log-in" not in findings
    off = ("qdrant", "ollama", "large model", "redis", "payments", "langfuse")
    assert {findings[what] for what in off} == {"off"}


# --- the conversation ---------------------------------------------------------------------------


@pytest.fixture
def printed() -> Console:
    return Console(file=io.StringIO(), width=160)


async def test_a_turn_in_the_terminal(desk: FakeDesk, printed: Console):
    """The route line, what was understood, the reply once, its sources."""
    ana = (await desk.demo_customers())[0]
    conversation = Conversation(LocalLine(desk, ana, await desk.open_thread(ana)), printed)

    await conversation.say("How long?")

    out = printed.file.getvalue()
    assert "answer · fake · encoder" in out
    assert "Understood: a question" in out
    assert out.count("You said: How long?") == 1
    assert "[1] Delivery > Times (delivery.md)" in out
    assert "0 LLM calls" in out


async def test_markup_in_a_reply_is_printed_as_it_is(desk: FakeDesk, printed: Console):
    """Square brackets in a message are not styles."""
    ana = (await desk.demo_customers())[0]
    conversation = Conversation(LocalLine(desk, ana, await desk.open_thread(ana)), printed)

    await conversation.say("[bold]hi[/bold] [/nothing]")

    assert "[bold]hi[/bold] [/nothing]" in printed.file.getvalue()


async def test_an_approval_in_the_terminal(desk: FakeDesk, printed: Console):
    """/approve answers the only waiting action; the outcome is printed; a second answer is refused."""
    ana = (await desk.demo_customers())[0]
    conversation = Conversation(LocalLine(desk, ana, await desk.open_thread(ana)), printed)

    await conversation.say("/approve")
    await conversation.say("refund please")
    await conversation.say("/approve")
    await conversation.say("/reject a-1")

    out = printed.file.getvalue()
    assert "Waiting in this conversation: none." in out
    assert "waiting for approval a-1: Order SB-10482" in out
    assert "a-1: executed" in out
    assert "Your refund was approved." in out
    assert "already decided" in out


async def test_the_same_over_http(live: Served, printed: Console):
    """A remote conversation prints the same, and its operator commands need the key."""
    async with httpx.AsyncClient(base_url=live.url) as client:
        client.headers.update(await log_in(client, "ana"))
        thread = (await client.post("/v1/threads")).json()["id"]
        wrong = Conversation(RemoteLine(client, thread, "Ana", "guess"), printed)
        await wrong.say("refund please")
        await wrong.say("/reject a-1")
        right = Conversation(RemoteLine(client, thread, "Ana", OPERATOR_KEY), printed)
        await right.say("/reject a-1")
        await right.say("break")

    out = printed.file.getvalue()
    assert "You said: refund please" in out
    assert "not a valid operator key" in out
    assert "a-1: rejected" in out
    assert "Something went wrong on our side." in out


async def test_chat_reads_until_the_end_of_input(live: Served, tmp_path):
    """Piped lines are played one after the other, and the command ends by itself."""
    command = [sys.executable, "-m", "app.cli", "chat", "--as", "ben", "--url", live.url]
    process = await asyncio.create_subprocess_exec(
        *command,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
        cwd=tmp_path,
        env={"PYTHONPATH": str(ROOT), "PATH": "/usr/bin:/bin"},
    )
    out, _ = await asyncio.wait_for(process.communicate(b"hello\nhow long?\n"), 60)

    assert process.returncode == 0
    assert "You are Ben Okafor" in out.decode()
    assert "You said: hello." in out.decode()
    assert "You said: how long?." in out.decode()


@pytest.mark.parametrize(
    ("who", "why"), [("nobody", "no such customer"), ("ana", "cannot be reached")]
)
async def test_chat_that_cannot_begin_says_why(live: Served, tmp_path, free_port, who, why):
    """An unknown customer or a dead server is one sentence and exit 1."""
    url = live.url if who == "nobody" else f"http://127.0.0.1:{free_port}"
    process = await asyncio.create_subprocess_exec(
        *[sys.executable, "-m", "app.cli", "chat", "--as", who, "--url", url],
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
        cwd=tmp_path,
        env={"PYTHONPATH": str(ROOT), "PATH": "/usr/bin:/bin", "COLUMNS": "200"},
    )
    out, _ = await asyncio.wait_for(process.communicate(), 60)

    assert process.returncode == 1
    assert why in out.decode()
    assert "Traceback" not in out.decode()
