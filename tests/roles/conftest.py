"""The roles as somebody at a terminal meets them: lines in, lines out, on the real encoder."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]


@dataclass(frozen=True)
class Ran:
    """What the command left behind."""

    code: int
    rows: list[dict[str, Any]]
    errors: str


def command(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "app.cli", "role", *arguments]


def environment(folder: Path) -> dict[str, str]:
    # Run in a folder of its own, so that no `.env` of a developer is read.
    return {
        **os.environ,
        "PYTHONPATH": str(ROOT),
        "SIGNALBOX_DATA_DIR": str(folder / "data"),
        "COLUMNS": "200",
    }


@pytest.fixture
def role(tmp_path: Path) -> Callable[..., Ran]:
    """Run `signalbox role NAME` on lines (objects, or bytes as they are)."""

    def run(name: str, *lines: Any, ending: bytes = b"\n") -> Ran:
        given = b"\n".join(
            line if isinstance(line, bytes) else json.dumps(line).encode() for line in lines
        )
        done = subprocess.run(
            command(name),
            input=given + ending if lines else b"",
            capture_output=True,
            cwd=tmp_path,
            env=environment(tmp_path),
            timeout=200,
        )
        rows = [json.loads(line) for line in done.stdout.split(b"\n") if line]
        return Ran(done.returncode, rows, done.stderr.decode())

    return run
