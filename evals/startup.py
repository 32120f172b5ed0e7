"""A real server process: how long from its start to the first answers, and how much memory it takes."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx

from evals.figures import Figure, Report, Table, at_most, percentile
from evals.world import Folders, Progress, quiet

ROOT = Path(__file__).parents[1]
#: So long a start may take before it counts as failed.
PATIENCE = 180.0

ORDER = "What's my order status?"
KNOWLEDGE = "How does your pricing work for enterprise?"
#: Messages that between them load every model and every part.
EVERYTHING = (
    "please deliver SB-10482 to Birkenweg 7, 50667 Köln",
    "cancel my last order, refund it to my card and tell me how long the refund takes",
    "no",
    "This is broken and I've been a customer for 5 years, I'm furious",
)


class Failed(Exception):
    """The server did not start or did not answer as it should."""


@dataclass
class Start:
    """One start, in seconds since the process was created."""

    listening: float = 0.0
    order: float = 0.0
    knowledge: float = 0.0
    megabytes: float = 0.0
    processes: dict[str, float] = field(default_factory=dict[str, float])


@contextmanager
def server(folder: Path, port: int, **settings: str) -> Generator[subprocess.Popen[bytes]]:
    """`signalbox serve` on a data folder, with these settings beside the environment's."""
    environment = os.environ | {
        "SIGNALBOX_DATA_DIR": str(folder),
        "SIGNALBOX_PORT": str(port),
        "SIGNALBOX_LOG_LEVEL": "warning",
        "PYTHONPATH": str(ROOT),
        **settings,
    }
    with (folder / "server.log").open("wb") as log:
        # Not in the repository's folder, where a developer's .env lies.
        process = subprocess.Popen(
            [sys.executable, "-c", "from app.cli import main; main()", "serve"],
            cwd=folder,
            env=environment,
            stdout=log,
            stderr=log,
        )
        try:
            yield process
        finally:
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(30)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def measure(folder: Path) -> Start:
    """Start the server once and ask it."""
    start = Start()
    port = free_port()
    with httpx.Client(
        base_url=f"http://127.0.0.1:{port}", timeout=PATIENCE, trust_env=False
    ) as client:
        began = time.perf_counter()
        with server(folder, port) as process:
            token = _logged_in(client, process, folder, began)
            start.listening = time.perf_counter() - began
            client.headers["Authorization"] = f"Bearer {token}"
            reply = _said(client, ORDER)
            start.order = time.perf_counter() - began
            _must("SB-10482" in reply["reply"], reply)
            reply = _said(client, KNOWLEDGE)
            start.knowledge = time.perf_counter() - began
            _must(bool(reply.get("citations")), reply)
            thread = None
            for text in EVERYTHING:
                thread = _said(client, text, thread)["thread"]
            start.processes = memory(process.pid)
            start.megabytes = sum(start.processes.values())
    return start


def _must(true: bool, reply: Any) -> None:
    if not true:
        raise Failed(f"not the answer that was expected: {reply}")


def _logged_in(
    client: httpx.Client, process: subprocess.Popen[bytes], folder: Path, began: float
) -> str:
    while time.perf_counter() - began < PATIENCE:
        try:
            answer = client.post("/v1/login", json={"customer": "ana"})
        except httpx.TransportError:
            if process.poll() is not None:
                raise Failed((folder / "server.log").read_text("utf-8")[-2000:]) from None
            time.sleep(0.02)
            continue
        return str(answer.raise_for_status().json()["token"])
    raise Failed(f"the server did not listen within {PATIENCE:.0f} s")


def _said(client: httpx.Client, text: str, thread: str | None = None) -> dict[str, Any]:
    body = {"text": text} | ({"thread": thread} if thread else {})
    return dict(client.post("/v1/chat", json=body).raise_for_status().json())


def memory(pid: int) -> dict[str, float]:
    """Proportional set size of a process and all its children in MB, by command; shared pages count once."""
    sizes: dict[str, float] = {}
    for each in sorted(family(pid)):
        rollup = Path(f"/proc/{each}/smaps_rollup").read_text()
        pss = next(line for line in rollup.splitlines() if line.startswith("Pss:"))
        command = Path(f"/proc/{each}/cmdline").read_bytes().decode().split("\0")
        name = "model server" if any("embedded_server" in part for part in command) else "agent"
        sizes[f"{name} ({each})"] = int(pss.split()[1]) / 1024
    return sizes


def family(pid: int) -> set[int]:
    """A process and all its children."""
    parents, found = _parents(), {pid}
    while more := {child for child, parent in parents.items() if parent in found} - found:
        found |= more
    return found


def _parents() -> dict[int, int]:
    parents: dict[int, int] = {}
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        try:
            # The command's name is in parentheses and may hold spaces.
            after = (entry / "stat").read_text().rpartition(")")[2].split()
        except OSError:
            continue  # It has ended meanwhile.
        parents[int(entry.name)] = int(after[1])
    return parents


def report(starts: Sequence[Start]) -> Report:
    found = Report("startup")
    middle = {
        name: percentile([getattr(start, name) for start in starts], 0.5)
        for name in ("listening", "order", "knowledge")
    }
    found.figures += [
        Figure("second start to listening", middle["listening"], "s"),
        Figure("second start to first answered order question", middle["order"], "s", at_most(5)),
        Figure(
            "second start to first answered knowledge question",
            middle["knowledge"],
            "s",
            at_most(25),
        ),
        Figure(
            "memory with everything loaded",
            max(start.megabytes for start in starts),
            "MB",
            at_most(1024),
        ),
    ]
    table = Table("Each start", ("listening s", "order s", "knowledge s", "memory MB"))
    for start in starts:
        table.rows.append(
            (
                f"{start.listening:.2f}",
                f"{start.order:.2f}",
                f"{start.knowledge:.2f}",
                ", ".join(f"{name} {size:.0f}" for name, size in start.processes.items()),
            )
        )
    found.tables.append(table)
    return found


def run(folders: Folders, progress: Progress = quiet, *, rounds: int = 3) -> Report:
    folder = folders.prepared()
    starts: list[Start] = []
    for number in range(rounds):
        progress("Starting the server", number, rounds)
        try:
            starts.append(measure(folder))
        except (Failed, httpx.HTTPError) as error:
            return Report("startup", failures=[f"start {number + 1}: {error}"])
    progress("Starting the server", rounds, rounds)
    return report(starts)
