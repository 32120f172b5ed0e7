"""What is open for a real deployment is listed, and what is set is not."""

from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import SecretStr
from typer.testing import CliRunner

from app.cli import app
from app.config import Settings
from app.production import in_one_line, open_points


@pytest.fixture
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    monkeypatch.chdir(tmp_path)
    return Settings(_env_file=None, data_dir=tmp_path)


def names(settings: Settings) -> set[str]:
    return {point.what for point in open_points(settings)}


def test_what_a_fresh_checkout_leaves_open(settings: Settings):
    """Each with what to do about it; the line for whoever starts it names them all."""
    points = open_points(settings)
    wanted = {"TLS", "login", "operators", "secret", "database", "large model"}
    assert {point.what for point in points} == wanted
    assert all(point.advice for point in points)
    assert all(name in in_one_line(points) for name in wanted)
    assert in_one_line([]) == ""


def test_what_is_set_is_not_open(settings: Settings):
    """And what one thing opens is named: a proxy behind TLS, counting together on PostgreSQL."""
    given = {
        "public_url": "https://support.example",
        "secret": SecretStr("s" * 40),
        "operators": {"olga": SecretStr("k" * 20)},
        "database_url": "postgresql://postgres@127.0.0.1:1/none",
        "rates": {"turns": "off"},
        "internals": "open",
    }
    wanted = {"proxy", "login", "redis", "index", "large model", "limits", "internals"}
    assert names(settings.model_copy(update=given)) == wanted


def test_the_doctor_lists_them_when_asked(settings: Settings, free_port: int):
    """Something open is exit code 1, as whatever a check finds."""
    said = CliRunner().invoke(
        app,
        ["doctor", "--production", "--json"],
        env={"SIGNALBOX_PORT": str(free_port), "SIGNALBOX_DATA_DIR": str(settings.data_dir)},
    )
    assert said.exit_code == 1
    assert "anybody may be any customer" in said.stdout
