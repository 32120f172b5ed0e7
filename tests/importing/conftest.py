"""The bicycle rental's API in a process of its own, and its domain loaded against it."""

from __future__ import annotations

import socket
import subprocess
import sys
import time
from pathlib import Path

import httpx
import pytest

HERE = Path(__file__).parent
FJELL = HERE / "fjell"


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@pytest.fixture(scope="session")
def bikes(tmp_path_factory):
    """The address of the bicycle rental's API."""
    folder = tmp_path_factory.mktemp("bikes")
    port = free_port()
    command = [sys.executable, str(HERE / "service.py"), "--port", str(port)]
    with subprocess.Popen([*command, "--store", str(folder / "bikes.db")]) as process:
        url = f"http://127.0.0.1:{port}"
        for _ in range(200):
            try:
                httpx.get(f"{url}/effects", timeout=1)
                break
            except httpx.HTTPError:
                time.sleep(0.05)
        yield url
        process.kill()  # Requests whose answers were to get lost still wait in it.


@pytest.fixture
def service(bikes):
    """The address of a fresh bicycle rental."""
    httpx.post(f"{bikes}/reset").raise_for_status()
    return bikes


@pytest.fixture
def database(copied_database):
    """The address of an empty desk's database."""
    return copied_database("sqlite")
