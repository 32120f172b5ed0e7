"""Halden's service in a process of its own that can be killed, and Halden loaded against it."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from datetime import UTC, datetime
from pathlib import Path

import httpx
import pytest

from tests.importing.world import World, business_in
from tools.values import Customer

HALDEN = Path(__file__).parents[3] / "domains" / "halden"
KEY = "the-key-of-the-tests"


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Service:
    """The service as a process: started, killed and started again over the same file."""

    def __init__(self, folder: Path) -> None:
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.client = httpx.Client(
            base_url=self.url, headers={"Authorization": f"Bearer {KEY}"}, timeout=5
        )
        self._file = folder / "halden.sqlite"
        self._process: subprocess.Popen[bytes] | None = None

    def start(self, *, hold: float = 0) -> None:
        self._process = subprocess.Popen(
            [
                *(sys.executable, "-m", "domains.halden.backend"),
                *("--port", str(self.port), "--data", str(self._file), "--hold", str(hold)),
            ],
            cwd=HALDEN.parents[1],
            env={**os.environ, "HALDEN_KEY": KEY},
        )
        for _ in range(400):
            try:
                self.client.get("/plans?kind=fibre").raise_for_status()
            except httpx.TransportError:
                time.sleep(0.05)
            else:
                return
        raise TimeoutError("Halden's service did not start.")

    def kill(self) -> None:
        assert self._process is not None
        self._process.kill()
        self._process.wait()

    def get(self, path: str):
        return self.client.get(path).raise_for_status().json()


@pytest.fixture
def service(tmp_path):
    """Halden's service with fresh demo data."""
    running = Service(tmp_path)
    running.start()
    yield running
    running.kill()
    running.client.close()


@pytest.fixture
async def world(service, copied_database):
    """Halden as its folder has it, over a real ledger; Maja Brandt asks."""
    business = business_in(HALDEN, HALDEN_API=service.url, HALDEN_KEY=KEY)
    made = World(business, service.url, copied_database("sqlite"))
    made.hands.at = datetime.now(UTC)
    made.customer = Customer(id="H-1001", tenant="halden", name="Maja Brandt")
    async with made.opened() as opened:
        yield opened
