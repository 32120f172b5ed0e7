"""The rehearsal of docs/your-own-domain.md: its steps, as they stand there, on a copy of Halden."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from app.checking import check_folder
from app.domains import load_domain
from tools.values import Consequence

ROOT = Path(__file__).parents[3]
HALDEN = ROOT / "domains" / "halden"
DOC = ROOT / "docs" / "your-own-domain.md"
BACKEND = "tests.domains.halden.voicemail"


def rehearsal() -> str:
    """The section of the page."""
    text = DOC.read_text("utf-8")
    begins = text.index("## A rehearsal")
    return text[begins : text.index("\n## ", begins + 1)]


def steps() -> dict[str, str]:
    """File -> what the page says to put at its end."""
    blocks = re.findall(r"^   ```yaml (\S+)\n(.*?)^   ```$", rehearsal(), re.MULTILINE | re.DOTALL)
    return {
        file: "".join(line[3:] for line in block.splitlines(keepends=True)) for file, block in blocks
    }  # fmt: skip


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """A copy of Halden after steps 1 to 4, played against its system with the two operations."""
    at = tmp_path_factory.mktemp("rehearsal")
    # Without its labelled messages and known questions, which only make the training long.
    left = shutil.ignore_patterns("backend", "examples", "questions", "models", "*.safetensors")
    made = Path(shutil.copytree(HALDEN, at / "halden", ignore=left))
    subprocess.run(
        [
            *(sys.executable, "-m", BACKEND),
            *("--data", str(at / "x.sqlite"), "--document", str(made / "openapi.json")),
        ],
        cwd=ROOT,
        check=True,
    )
    for file, lines in steps().items():
        with (made / file).open("a", encoding="utf-8") as written:
            written.write(lines)
    backend = made / "evals" / "backend.yaml"
    backend.write_text(backend.read_text().replace("domains.halden.backend", BACKEND))
    return made


def test_the_page_counts_what_is_touched():
    """Files and lines touched are what stands there."""
    said = re.search(r"Touched: (\d+) files, (\d+) lines", rehearsal())
    assert said is not None
    lines = sum(len(block.splitlines()) for block in steps().values())

    assert (int(said[1]), int(said[2])) == (len(steps()), lines)
    assert set(steps()) == {"operations.yaml", "intents.yaml", "evals/examples.yaml"}


def test_the_folder_is_right_and_can_do_two_things_more(folder):
    assert [str(one) for one in check_folder(folder) if one.grave] == []
    before, after = load_domain(HALDEN).operations, load_domain(folder).operations

    assert set(after) - set(before) == {"voicemail_status", "switch_voicemail"}
    assert after["voicemail_status"].consequence is Consequence.SAFE
    assert after["switch_voicemail"].confirm


@pytest.mark.slow
@pytest.mark.models
@pytest.mark.training
@pytest.mark.timeout(900)
def test_it_is_talked_to(folder, tmp_path):
    """Trained as the page says, it answers the new question, and changes something after a yes alone."""
    environment = {**os.environ, "SIGNALBOX_DATA_DIR": str(tmp_path / "data")}

    def signalbox(*arguments: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-c", "from app.cli import main; main()", *arguments]
        return subprocess.run(
            command, env=environment, capture_output=True, text=True, timeout=800, cwd=ROOT
        )

    trained = signalbox("domain", "train", str(folder))
    assert trained.returncode == 0, trained.stderr
    new = [
        f"--only={one}"
        for one in re.findall(r"id: (\S+)", steps()["evals/examples.yaml"])
    ]  # fmt: skip
    played = signalbox("domain", "eval", str(folder), *new, "--json")

    assert {one["id"]: one["problems"] for one in json.loads(played.stdout)} == {
        "voicemail-is-on": [],
        "voicemail-goes-off-after-a-yes": [],
    }
