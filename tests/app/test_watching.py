"""`signalbox review`, `drift` and `shadow` on a database with a week's traffic in it."""

from __future__ import annotations

import asyncio
import json
import os
import pty
import select
import subprocess
import sys
import time
from datetime import UTC, datetime
from pathlib import Path

import pytest
import sqlalchemy as sa
from typer.testing import CliRunner, Result

from app.cli import app
from app.drift import sketch_of
from app.stores.database import create_engine, migrate
from app.stores.decisions import SqlDecisionLog
from app.stores.reviews import SqlReviews
from app.stores.tables import threads
from tools.decisions import Aftermath, Alternative, Decision

INTENTS = ("order_status", "ask_hours", "greeting")


def said(intent: str, probability: float = 0.95, **more: object) -> Decision:
    other = INTENTS[(INTENTS.index(intent) + 1) % 3]
    return Decision(
        role="router",
        chosen=intent,
        probability=probability,
        alternatives=(
            Alternative(option=intent, probability=probability),
            Alternative(option=other, probability=1 - probability),
        ),
        tier="encoder",
        model="m",
        lane="operation",
        ms=3.0,
    ).model_copy(update=more)


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """A data folder with 120 settled messages; every third was also read by a candidate."""
    url = f"sqlite:///{tmp_path / 'signalbox.db'}"
    migrate(url)
    engine = create_engine(url)
    # A candidate's decisions are kept as long as the conversation is.
    conversation = {
        "id": "th",
        "tenant": "t",
        "customer_id": "ana",
        "title": "",
        "handed_off": False,
    }
    with engine.begin() as conn:
        conn.execute(sa.insert(threads).values(created_at=datetime.now(UTC), **conversation))

    async def sketch(masked: str) -> bytes:
        return sketch_of([float(masked[-1] == str(n)) for n in range(384)])

    async def fill() -> None:
        log = SqlDecisionLog(engine, str, sketch=sketch)
        for number in range(120):
            where = {
                "tenant": "t",
                "thread": "th",
                "turn": f"t-{number}",
                "input": f"word {number}",
            }
            intent = INTENTS[number % 3]
            await log.record(**where, decisions=[said(intent, 0.4 if number % 9 == 0 else 0.95)])
            if number % 3 == 0:
                theirs = said("ask_hours" if number % 2 else intent)
                await log.record(**where, decisions=[theirs], shadow="c0ffee" * 8)

    asyncio.run(fill())
    engine.dispose()
    return tmp_path


@pytest.fixture
def run(data: Path):
    def invoke(*words: str, keys: str | None = None, **env: str) -> Result:
        settings = {"SIGNALBOX_DATA_DIR": str(data), "COLUMNS": "200", **env}
        return CliRunner().invoke(app, [*words], env=settings, input=keys)

    return invoke


async def labels(data: Path) -> list[str | None]:
    engine = create_engine(f"sqlite:///{data / 'signalbox.db'}")
    try:
        return [item.label for item in await SqlReviews(engine).list(waiting=False)]
    finally:
        engine.dispose()


def test_from_a_sample_to_training_lines(run, data: Path) -> None:
    """Draw, label some and stop, go on, report, export."""
    drawn = run("review", "sample", "--n", "12", "--out", str(data / "sample.jsonl"))
    assert drawn.exit_code == 0
    assert len((data / "sample.jsonl").read_text().splitlines()) == 12

    stopped = run("review", "label", "--as", "olga", keys="a2sq")
    assert "3 labelled or skipped, 9 left" in stopped.output
    gone_on = run("review", "label", keys="o" + "greet\n" + "a" * 8)
    assert "9 labelled or skipped, 0 left" in gone_on.output

    told = run("review", "report")
    assert told.exit_code == 0
    assert "11" in told.output
    out = data / "labelled.jsonl"
    run("review", "export", str(out))
    lines = [json.loads(line) for line in out.read_text().splitlines()]
    assert len(lines) == 11
    assert {line["intent"] for line in lines} <= set(INTENTS)


def test_there_is_nothing_to_do_yet(run) -> None:
    """Each command says what to do first."""
    assert "review sample" in run("review", "label").output
    assert run("review", "report").exit_code == 3
    assert run("shadow", "report", "--digest", "beef").exit_code == 1


def test_a_killed_terminal_loses_no_label(run, data: Path) -> None:
    """What was answered is in the database when the process dies."""
    run("review", "sample", "--n", "5")
    parent, child = pty.openpty()
    plain = {"SIGNALBOX_DATA_DIR": str(data), "COLUMNS": "120", "TERM": "dumb", "NO_COLOR": "1"}
    with subprocess.Popen(
        [sys.executable, "-m", "app.cli", "review", "label"],
        stdin=child,
        stdout=child,
        stderr=child,
        env={**os.environ, **plain},
    ) as labelling:
        os.close(child)
        try:
            _press_until(parent, b"a", b"2 of 5")
        finally:
            labelling.kill()
    os.close(parent)
    assert asyncio.run(labels(data))


def _press_until(terminal: int, key: bytes, words: bytes) -> None:
    """Press a key until the words appear: what is typed before the question is thrown away, on purpose."""
    seen, end = b"", time.monotonic() + 60
    while words not in seen:
        assert time.monotonic() < end, seen.decode(errors="replace")
        if b"q: stop" in seen.replace(b"\r\n", b" "):
            os.write(terminal, key)
        ready, _, _ = select.select([terminal], [], [], 0.2)
        seen += os.read(terminal, 4096) if ready else b""


def test_a_candidate_is_compared(run) -> None:
    """Agreement with its interval, by lane, and against the labels that there are."""
    without = run("shadow", "report")
    assert without.exit_code == 0
    assert "Candidate c0ffeec0ffee, 40 messages" in without.output
    assert "same intent: 50.0 % (35.2 to 64.8)" in without.output
    assert "No message of these is labelled" in without.output

    run("review", "sample", "--n", "120")
    run("review", "label", keys="a" * 120)
    assert "right, of 40 labelled: 100.0 %" in run("shadow", "report", "--digest", "c0f").output


def test_drift_compares_with_a_reference_that_is_kept(run, data: Path) -> None:
    """The same traffic is like itself; one that was different is not, and the exit code says so."""
    kept = run("drift", "reference", "--messages", "120")
    assert kept.exit_code == 0
    like = run("drift", "look")
    assert (like.exit_code, "like the reference file" in like.output) == (0, True)

    engine = create_engine(f"sqlite:///{data / 'signalbox.db'}")

    async def flood() -> None:
        log = SqlDecisionLog(engine, str)
        for number in range(100):
            where = {"tenant": "t", "thread": "th", "turn": f"n-{number}", "input": "strike"}
            await log.record(**where, decisions=[said("greeting", 0.3, abstained=True)])

    asyncio.run(flood())
    engine.dispose()
    unlike = run("drift", "look", SIGNALBOX_DRIFT_WINDOW="100")
    assert unlike.exit_code == 1
    assert "NOT LIKE the reference file" in unlike.output
    assert "greeting" in unlike.output
    run("drift", "reference", "--forget")
    assert not (data / "drift-reference.npz").exists()


def test_the_report_compares_each_role_and_says_who_was_right(run, data: Path) -> None:
    """Agreement, time, and by what came of the turns, with intervals; where nobody can know, both bounds."""
    engine = create_engine(f"sqlite:///{data / 'signalbox.db'}")

    def extracted(value: str, ms: float) -> Decision:
        return Decision(
            role="extractor",
            chosen=f"reason={value}",
            probability=0.9,
            tier="small",
            model="m",
            ms=ms,
        )

    async def fill() -> None:
        log = SqlDecisionLog(engine, str)
        for number in range(40):
            turn = f"t-{number}"
            where = {"tenant": "t", "thread": "th", "turn": turn, "input": f"message {number}"}
            await log.record(**where, decisions=[extracted("damaged", 40.0)])
            theirs = extracted("late" if number % 4 == 0 else "damaged", 20.0)
            await log.record(**where, decisions=[theirs], shadow="c0ffee" * 8)
            ended = Aftermath.CORRECTED if number % 8 == 0 else Aftermath.RESOLVED
            await log.outcome(turn, ended)

    asyncio.run(fill())
    engine.dispose()

    told = run("shadow", "report").output

    assert "extractor, 40 decisions on the same inputs" in told
    assert "same choice: 75.0 % (59.8 to 85.8)" in told
    assert "p50 / p95: 40.0 / 40.0 ms live, 20.0 / 20.0 ms candidate" in told
    # Ten differ: five where the turn ended well, five where it did not and nobody knows what would have been.
    worst = "at worst: 87.5 % (73.9 to 94.5) live, 75.0 % (59.8 to 85.8) candidate; -12.5 points"
    best = "at best: 87.5 % (73.9 to 94.5) live, 87.5 % (73.9 to 94.5) candidate; +0.0 points"
    assert worst in told
    assert best in told
