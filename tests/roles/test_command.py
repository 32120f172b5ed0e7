"""`signalbox role`: lines in, lines out; what goes wrong is said and does not stop the rest."""

from __future__ import annotations

import io
import json
import subprocess
import time

import pytest
from typer.testing import CliRunner

from app import roles
from app.cli import app
from app.roles.opening import OPEN
from tools.ports import ModelUnavailable

from .conftest import command, environment

pytestmark = pytest.mark.process

READ = {"name": "get_order", "description": "Status of one order."}
WRITE = {"name": "delete_order", "description": "Removes the order."}


def test_the_answers_come_in_the_order_of_the_lines(role):
    """One object a line, each with the class, its probabilities and whether it writes."""
    ran = role("consequence", READ, WRITE, READ, WRITE)

    assert ran.code == 0
    assert [row["write"] for row in ran.rows] == [False, True, False, True]
    for row in ran.rows:
        assert set(row) >= {"class", "probabilities", "write"}
        assert set(row["probabilities"]) == {"safe", "retry_safe", "retry_unsafe", "irreversible"}
        assert sum(row["probabilities"].values()) == pytest.approx(1, abs=0.001)


def test_lines_that_cannot_be_used_are_named_and_left_out(role):
    """The others are answered all the same, and the exit code says that something was left out."""
    ran = role(
        "consequence",
        {"id": "a", **READ},
        b"this is not JSON",
        b'["a", "list"]',
        b'{"name": "caf\xe9"}',
        b'{"description": "no name"}',
        b'{"name": "\\ud800"}',
        b"[" * 100_000,
        b'{"name": NaN}',
        {"id": "b", **WRITE},
    )

    assert ran.code == 1
    assert [row["id"] for row in ran.rows] == ["a", "b"]
    for number in (2, 3, 4, 5, 6, 7, 8):
        assert f"line {number}: " in ran.errors
    assert "line 1:" not in ran.errors
    assert "line 9:" not in ran.errors
    assert "Traceback" not in ran.errors


@pytest.mark.parametrize("ending", [b"", b"\n", b"\n\n\n", b"\r\n"])
def test_blank_lines_and_a_missing_last_line_break_are_no_mistakes(role, ending):
    """However the input ends, every object in it is answered."""
    ran = role("consequence", READ, b"", b"   ", WRITE, ending=ending)

    assert (ran.code, len(ran.rows)) == (0, 2)


def test_nothing_in_gives_nothing_out(role):
    """Empty input is no mistake."""
    ran = role("consequence")

    assert (ran.code, ran.rows) == (0, [])


def test_text_comes_back_as_it_was_written(role):
    """Umlauts, other scripts, emoji, a byte order mark and line separators survive."""
    odd = "ü-中文-🙂-\u2028-\x00-\u202e"

    ran = role("consequence", b"\xef\xbb\xbf" + json.dumps({"id": odd, **READ}).encode(), WRITE)

    assert ran.code == 0
    assert ran.rows[0]["id"] == odd


@pytest.mark.parametrize(
    "arguments",
    [None, [], ["order_id"], [{"name": "order_id"}], {"order_id": {"type": "string"}}],
)
def test_arguments_may_be_given_in_any_usual_shape(role, arguments):
    """Names, described names, or properties."""
    ran = role("consequence", {**READ, "method": None, "arguments": arguments})

    assert (ran.code, ran.rows[0]["class"]) == (0, "safe")


def test_a_thousand_lines_take_seconds(role):
    """The encoder is loaded once, and each line costs milliseconds."""
    rows = [{"id": n, **READ, "description": f"Status of order {n}."} for n in range(1000)]
    begun = time.monotonic()

    ran = role("consequence", *rows)

    assert time.monotonic() - begun < 120
    assert [row["id"] for row in ran.rows] == list(range(1000))


def test_a_reader_that_has_enough_ends_it_quietly(tmp_path):
    """As with `| head -1`: no traceback, and no answer is made for nobody."""
    running = subprocess.Popen(
        command("validator"),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        cwd=tmp_path,
        env=environment(tmp_path),
    )
    assert running.stdin is not None
    assert running.stdout is not None
    assert running.stderr is not None
    running.stdin.write(b'{"text": "Hello."}\n')
    running.stdin.flush()
    first = running.stdout.readline()
    running.stdout.close()
    running.stdin.write(b'{"text": "Hello."}\n' * 200)
    running.stdin.close()
    said = running.stderr.read().decode()
    running.stderr.close()

    assert json.loads(first)["ok"] is True
    assert running.wait(60) == 141
    assert "Traceback" not in said
    assert "BrokenPipe" not in said


def test_an_unknown_role_is_named_with_those_there_are(role):
    """A slip of the pen gets the list."""
    ran = role("consequences")

    assert ran.code == 1
    assert "consequences" in ran.errors
    for name in roles.ROLES:
        assert name in ran.errors


def test_the_help_lists_every_role_with_a_line_to_try():
    """`signalbox role --help` is enough to begin with."""
    shown = CliRunner().invoke(app, ["role", "--help"], env={"COLUMNS": "200"}).output
    folded = "".join(shown.split())

    assert set(roles.ROLES) == set(OPEN)
    for role in roles.ROLES.values():
        assert role.name in shown
        assert "".join(json.dumps(role.example, ensure_ascii=False).split()) in folded


async def test_a_model_that_does_not_answer_costs_its_line_only():
    """The next line is tried again."""
    answers = iter([{"n": 1}, ModelUnavailable("it restarts"), {"n": 3}])

    async def answer(row):
        given = next(answers)
        if isinstance(given, Exception):
            raise given
        return given

    sink, complaints, seen = io.BytesIO(), [], []
    bad = await roles.run(
        answer,
        io.BytesIO(b"{}\n{}\n{}\n"),
        sink,
        complain=complaints.append,
        progress=lambda lines, size: seen.append((lines, size)),
    )

    assert bad == 1
    assert complaints == ["line 2: it restarts"]
    assert sink.getvalue() == b'{"n": 1}\n{"n": 3}\n'
    assert seen == [(1, 3), (2, 3), (3, 3)]


def test_the_validator_says_what_is_wrong(role):
    """Promises, foreign personal data and unsupported figures are found; the customer's own data is not."""
    ran = role(
        "validator",
        {"text": "We will refund you at once."},
        {"text": "Write to bob@example.com.", "customer": {"email": "bob@example.com"}},
        {"text": "Write to bob@example.com.", "customer": None},
        {
            "text": "Express takes 1-2 working days [1].",
            "passages": ["Express takes 1-2 working days."],
        },
        {
            "text": "Express takes 9 working days [1].",
            "passages": ["Express takes 1-2 working days."],
        },
    )

    assert [row["ok"] for row in ran.rows] == [False, True, False, True, False]
    assert all(row["ok"] is not bool(row["problems"]) for row in ran.rows)


def test_the_pruner_keeps_what_answers(role):
    """Kept ids are those that were given, and nothing kept means that there is no answer."""
    express = {"id": 7, "text": "Express takes 1-2 working days. It costs 9.95."}
    boots = {"id": "boots", "text": "Boots are waxed once a year."}
    ran = role(
        "pruner",
        {"query": "How long does express delivery take?", "chunks": [express, boots]},
        {"query": "Who won the cup in 1974?", "chunks": [boots]},
        {"query": "How long?", "chunks": []},
    )

    first, second, third = ran.rows
    assert first["kept"] == [7]
    assert first["sentences"][0]["sentences"][0] == "Express takes 1-2 working days."
    assert {score["id"] for score in first["scores"]} == {7, "boots"}
    assert (first["answerable"], second["answerable"], third["answerable"]) == (True, False, False)
