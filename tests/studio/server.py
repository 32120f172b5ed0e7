"""A real `langgraph dev` in a process of its own."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

import httpx

ROOT = Path(__file__).parents[2]


@contextmanager
def development_server(folder: Path, **settings: str) -> Generator[str]:
    """The address of a development server on these settings; no call may have blocked its event loop."""
    # The server writes its state beside its configuration.
    shutil.copy(ROOT / "langgraph.json", folder)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = str(probe.getsockname()[1])
    log = folder / "log"
    command = f"-m langgraph_cli dev --no-browser --no-reload --host 127.0.0.1 --port {port}"
    with log.open("w") as said:
        process = subprocess.Popen(
            [sys.executable, *command.split()],
            cwd=folder,
            env={
                **os.environ,
                "PYTHONPATH": str(ROOT),
                "SIGNALBOX_DATA_DIR": str(folder / "data"),
                "LANGGRAPH_CLI_NO_ANALYTICS": "1",
                **settings,
            },
            stdout=said,
            stderr=said,
            start_new_session=True,
        )
    try:
        _wait_until_it_answers(process, f"http://127.0.0.1:{port}", log)
        yield f"http://127.0.0.1:{port}"
        process.send_signal(signal.SIGINT)
        assert process.wait(30) == 0
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
    assert "BlockingError" not in log.read_text()


def _wait_until_it_answers(process: subprocess.Popen[bytes], url: str, log: Path) -> None:
    for _ in range(600):
        assert process.poll() is None, log.read_text()
        try:
            if httpx.get(f"{url}/ok").is_success:
                return
        except httpx.TransportError:
            time.sleep(0.2)
    raise AssertionError(log.read_text())
