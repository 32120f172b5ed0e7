"""What `make install` installs is locked, small, and fits pyproject.toml."""

from __future__ import annotations

import os
import re
import shutil
import stat
import subprocess
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


def locked(name: str) -> dict[str, str]:
    lines = (ROOT / name).read_text().splitlines()
    return dict(line.split("==") for line in lines if not line.startswith("#"))


@pytest.mark.parametrize("name", ["requirements.lock", "requirements-dev.lock"])
def test_a_lock_is_exact_versions_and_nothing_else(name: str) -> None:
    """No index, no path, no marker: the same packages from wherever pip is told to look."""
    for line in (ROOT / name).read_text().splitlines():
        assert line.startswith("#") or re.fullmatch(r"[a-z0-9-]+==[0-9][\w.]*", line), line


def test_the_lock_has_every_dependency_in_a_version_that_fits() -> None:
    """Who adds a dependency runs `make lock`."""
    versions = locked("requirements.lock")

    for line in PROJECT["dependencies"]:
        wanted = Requirement(line)
        assert wanted.specifier.contains(versions[canonicalize_name(wanted.name)], prereleases=True)


def test_the_test_set_extends_the_runtime_set() -> None:
    """Tests run on the versions that users run."""
    runtime, dev = locked("requirements.lock"), locked("requirements-dev.lock")

    assert {name: dev.get(name) for name in runtime} == runtime


def test_the_runtime_set_needs_no_torch() -> None:
    """The first answer does not wait for a gigabyte."""
    heavy = {"torch", "transformers", "sentence-transformers", "peft"}

    assert not heavy & set(locked("requirements.lock"))
    # Its licence allows development only.
    assert "langgraph-api" not in locked("requirements.lock")


def test_every_target_says_what_it_is_for() -> None:
    """`make` alone lists every target with a line of help."""
    makefile = (ROOT / "Makefile").read_text()
    phony = set(re.search(r"(?m)^\.PHONY: (.*)$", makefile)[1].split())  # type: ignore[index]
    shown = subprocess.run(["make"], cwd=ROOT, capture_output=True, text=True, check=True).stdout

    assert phony == set(re.findall(r"(?m)^  make ([a-z]+) +\S", shown))
    assert {"install", "run", "test", "check", "fix", "evals", "studio", "train"} <= phony


def test_the_check_plays_every_test() -> None:
    """What `make test` leaves out for the sake of minutes, CI does not."""

    def pytest_lines(target: str) -> list[str]:
        said = subprocess.run(
            ["make", "-n", target], cwd=ROOT, capture_output=True, text=True, check=True
        ).stdout
        return [line for line in said.splitlines() if "pytest -n" in line]

    (quick,), (whole,) = pytest_lines("test"), pytest_lines("check")

    assert ' -m "not (process or browser or studio or slow)"' in quick
    assert "SIGNALBOX_REQUIRE=all" in whole
    assert "not (" not in whole


def test_an_old_python_is_refused_with_the_way_out(tmp_path: Path) -> None:
    """Nothing is created, and the message names the version and the command."""
    for name in ("Makefile", "requirements.lock", "pyproject.toml"):
        shutil.copy(ROOT / name, tmp_path)
    old = tmp_path / "python3.9"
    old.write_text("#!/bin/sh\nexit 1\n")
    old.chmod(old.stat().st_mode | stat.S_IXUSR)
    ran = subprocess.run(
        ["make", "install", f"PYTHON={old}"], cwd=tmp_path, capture_output=True, text=True
    )

    assert ran.returncode != 0
    assert "needs Python 3.11 or newer" in ran.stdout + ran.stderr
    assert "make install PYTHON=" in ran.stdout + ran.stderr
    assert not (tmp_path / ".venv").exists()


def test_a_second_install_does_nothing(tmp_path: Path) -> None:
    """With the stamps in place and nothing newer, make has nothing to do."""
    for name in ("Makefile", "requirements.lock", "requirements-dev.lock", "pyproject.toml"):
        shutil.copy(ROOT / name, tmp_path)
    (tmp_path / ".venv").mkdir()
    for stamp in (".created", ".installed"):
        (tmp_path / ".venv" / stamp).touch()
    done = subprocess.run(["make", "-q", "install"], cwd=tmp_path)
    os.utime(tmp_path / "requirements.lock", (2**32, 2**32))
    outdated = subprocess.run(["make", "-q", "install"], cwd=tmp_path)

    assert done.returncode == 0
    assert outdated.returncode == 1
