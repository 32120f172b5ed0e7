"""`signalbox domain eval` plays a business's conversations against the backend that its folder declares."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import httpx
import pytest

from evals.figures import NotPossible
from evals.outside import declared_of, outside_of

HALDEN = Path(__file__).parents[2] / "domains" / "halden"


def signalbox(*arguments: str, where: Path) -> subprocess.CompletedProcess[str]:
    """The command as an author runs it, with a data folder of its own."""
    return subprocess.run(
        [sys.executable, "-c", "from app.cli import main; main()", *arguments],
        env={**os.environ, "SIGNALBOX_DATA_DIR": str(where / "data")},
        capture_output=True,
        text=True,
        timeout=400,
    )


@pytest.mark.slow
@pytest.mark.models
@pytest.mark.timeout(450)
def test_conversations_are_played_and_the_records_compared(tmp_path):
    """A write reaches Halden's own system, a fresh one for each conversation; what is not as written fails."""
    folder = shutil.copytree(HALDEN, tmp_path / "halden")
    (folder / "evals" / "examples.yaml").write_text(
        "scenarios:\n"
        "  - id: blocked\n    customer: H-1001\n    steps:\n"
        "      - say: block my sim, it was stolen\n"
        "      - {say: 'yes', expect: {executed: 1}}\n"
        "    end: {records: {S-3001: blocked}}\n"
        "  - id: as-before\n    customer: H-1001\n    steps:\n"
        "      - {say: is my internet up?, expect: {operation: line_status}}\n"
        "    end: {records: {S-3001: active, L-2001: gone}}\n"
    )
    done = signalbox("domain", "eval", str(folder), "--json", where=tmp_path)
    played = {one["id"]: one["problems"] for one in json.loads(done.stdout)}

    assert played == {
        "blocked": [],
        "as-before": ["end of H-1001: L-2001 is 'active', not 'gone'"],
    }
    assert done.returncode == 1


def test_a_business_without_heads_of_its_own_is_told_to_train(tmp_path):
    """The shipped heads know the demo shop's intents; nothing is served with those of another business."""
    folder = shutil.copytree(
        HALDEN, tmp_path / "halden", ignore=shutil.ignore_patterns("models", "backend")
    )
    done = subprocess.run(
        [sys.executable, "-c", "from app.cli import main; main()", "serve", "--port", "0"],
        env={
            **os.environ,
            "SIGNALBOX_DATA_DIR": str(tmp_path / "data"),
            "SIGNALBOX_DOMAIN": str(folder),
        },
        capture_output=True,
        text=True,
        timeout=60,
    )

    assert done.returncode == 1
    assert "run `signalbox domain train" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("written", "why"),
    [
        ("ready: /x\n", "say `start` with a command, or `mock: true`"),
        ("mock: true\nclok: 2026-12-01T09:00:00Z\n", r"backend\.yaml, line 2.*clok"),
        ("mock: true\nclock: 2026-12-01T09:00:00\n", "timezone"),
    ],
)
def test_a_backend_that_is_not_declared_rightly_is_named(tmp_path, written, why):
    (tmp_path / "evals").mkdir()
    (tmp_path / "evals" / "backend.yaml").write_text(written)

    with pytest.raises(NotPossible, match=why):
        declared_of(tmp_path)


def test_a_backend_that_ends_at_once_is_shown_with_its_last_words(tmp_path):
    (tmp_path / "evals").mkdir()
    (tmp_path / "evals" / "backend.yaml").write_text(
        "start: ['{python}', -c, 'raise SystemExit(\"no licence for port {port}\")']\n"
    )

    with pytest.raises(NotPossible, match="no licence for port"), outside_of(tmp_path):
        pass


COUNTING = """
import http.server, pathlib, sys

class Counts(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        folder = pathlib.Path(sys.argv[2])
        (folder / str(len(list(folder.iterdir())))).touch()
        self.send_response(200)
        self.end_headers()
        self.wfile.write(str(len(list(folder.iterdir()))).encode())

http.server.HTTPServer(("127.0.0.1", int(sys.argv[1])), Counts).serve_forever()
"""


def test_between_conversations_the_backend_is_fresh(tmp_path, monkeypatch):
    """An empty folder each time at the same address, and the environment put back afterwards."""
    monkeypatch.setenv("SHOP_API", "before")
    (tmp_path / "counting.py").write_text(COUNTING)
    (tmp_path / "evals").mkdir()
    (tmp_path / "evals" / "backend.yaml").write_text(
        f"start: ['{{python}}', {tmp_path / 'counting.py'}, '{{port}}', '{{folder}}']\n"
        "environment: {SHOP_API: 'http://127.0.0.1:{port}'}\n"
    )
    with outside_of(tmp_path) as outside:
        url = os.environ["SHOP_API"]
        before = [httpx.get(url).text for _ in range(2)]
        outside.reset()
        after = [httpx.get(url).text for _ in range(2)]

    # The first request of each is the one that waits for it to serve.
    assert (before, after) == (["2", "3"], ["2", "3"])
    assert os.environ["SHOP_API"] == "before"
