"""docker-compose.yml is accepted by docker-compose, and each part of it can start alone."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from app.config import Settings

pytestmark = pytest.mark.process

ROOT = Path(__file__).parents[2]
COMPOSE = ROOT / "docker-compose.yml"


@pytest.fixture
def folder(tmp_path: Path, require: Callable[[str], None]) -> Path:
    """A folder with the compose file, and no .env yet."""
    require("docker-compose")
    shutil.copy(COMPOSE, tmp_path)
    return tmp_path


@pytest.fixture(scope="module")
def services(
    tmp_path_factory: pytest.TempPathFactory, require: Callable[[str], None]
) -> dict[str, Any]:
    """The services as docker-compose reads them, with drawn secrets."""
    require("docker-compose")
    folder = tmp_path_factory.mktemp("stack")
    shutil.copy(COMPOSE, folder)
    draw_secrets(folder)
    ran = compose(folder, "config")
    assert ran.returncode == 0, ran.stderr
    return yaml.safe_load(ran.stdout)["services"]


def draw_secrets(folder: Path) -> str:
    subprocess.run([sys.executable, ROOT / ".ci/draw_secrets.py"], cwd=folder, check=True)
    return (folder / ".env").read_text()


def compose(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["docker-compose", *arguments], cwd=folder, capture_output=True, text=True
    )


def test_nothing_starts_with_made_up_secrets(folder: Path) -> None:
    """Without .env the file is refused, with the command that helps."""
    ran = compose(folder, "config")

    assert ran.returncode != 0
    assert "run make secrets" in ran.stderr


def test_one_missing_secret_stops_the_start(folder: Path) -> None:
    """A secret that is there but empty counts as missing."""
    lines = draw_secrets(folder).splitlines()
    name = lines[-1].partition("=")[0]
    (folder / ".env").write_text("\n".join([*lines[:-1], f"{name}="]))

    assert compose(folder, "config", "-q").returncode != 0


def test_secrets_are_drawn_once_and_kept(folder: Path) -> None:
    """Drawing again changes none and fills only what is empty; the file is its owner's alone."""
    (folder / ".env").write_text("SIGNALBOX_PORT=9000\nSTACK_QDRANT_KEY=mine")
    first = draw_secrets(folder)

    assert draw_secrets(folder) == first
    assert first.startswith("SIGNALBOX_PORT=9000\nSTACK_QDRANT_KEY=mine\n")
    assert (folder / ".env").stat().st_mode & 0o077 == 0
    values = [line.partition("=")[2] for line in first.splitlines()[2:]]
    assert len(set(values)) == len(values) >= 10
    assert all(len(value) == 64 for value in values)


def test_a_profile_brings_all_it_depends_on(services: dict[str, Any]) -> None:
    """No service waits for one that its profile leaves out."""
    profiles = {profile for each in services.values() for profile in each["profiles"]}

    assert {"app", "ollama", "qdrant", "postgres", "langfuse"} == profiles
    for profile in profiles:
        started = {name for name, each in services.items() if profile in each["profiles"]}
        waited_for = {
            other for name in started - {"app"} for other in services[name].get("depends_on", {})
        }
        assert waited_for <= started, profile
    assert {"postgres", "qdrant", "ollama-models"} == set(services["app"]["depends_on"])


def test_every_server_says_when_it_is_healthy(services: dict[str, Any]) -> None:
    """Everything but the one-shot has a health check, and waiting is for health, not for a start."""

    unchecked = {name for name, each in services.items() if "healthcheck" not in each}
    assert unchecked == {"ollama-models"}
    conditions = {
        (other, how["condition"])
        for each in services.values()
        for other, how in each.get("depends_on", {}).items()
    }
    assert {other for other, how in conditions if how != "service_healthy"} == {"ollama-models"}


def test_ports_are_open_to_this_machine_only(services: dict[str, Any]) -> None:
    """No database of the stack listens to the network around."""
    ports = [port for each in services.values() for port in each.get("ports", [])]

    assert ports
    assert all(str(port).startswith("127.0.0.1:") for port in ports)


def test_what_must_survive_is_in_a_volume(services: dict[str, Any]) -> None:
    """Every store keeps its data in a named volume."""
    stores = {
        "app",
        "ollama",
        "qdrant",
        "postgres",
        "langfuse-postgres",
        "langfuse-clickhouse",
        "langfuse-valkey",
        "langfuse-minio",
    }

    assert all(services[name]["volumes"] for name in stores)


def test_the_app_is_given_settings_that_exist(services: dict[str, Any]) -> None:
    """Every variable of the app's container is one that app/config.py reads, and they fit it."""
    environment = services["app"]["environment"]
    fields = set(Settings.model_fields)
    signalbox = {
        name.removeprefix("SIGNALBOX_").lower()
        for name in environment
        if name.startswith("SIGNALBOX_")
    }

    assert signalbox <= fields, signalbox - fields
    settings = Settings(
        **{
            name.removeprefix("SIGNALBOX_").lower(): value
            for name, value in environment.items()
            if value and not name.startswith("LANGGRAPH_")
        },
        _env_file=None,  # pyright: ignore[reportCallIssue]
    )
    assert settings.small_models == "ollama"
    assert settings.langfuse
    assert settings.checkpoints.startswith("postgresql://signalbox:")


def test_the_one_shot_makes_the_role_models(services: dict[str, Any]) -> None:
    """The models of the roles are made by our own command before the app starts."""

    assert services["ollama-models"]["command"] == ["signalbox", "ollama", "create"]
    assert services["ollama-models"]["image"] == services["app"]["image"]


def test_no_value_of_a_secret_is_written_down() -> None:
    """Passwords, keys and salts are references to .env in the file itself."""
    values = re.findall(
        r"(?mi)^\s*\S*(?:PASSWORD|SECRET|SALT|_KEY|AUTH):\s*(\S.*)$", COMPOSE.read_text()
    )

    assert len(values) > 10
    assert [value for value in values if "${" not in value] == []
