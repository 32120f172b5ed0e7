"""What one process does: turns a second by lane, asked by 1, 4 and 16 customers at once, and what a turn costs.

A closed loop over HTTP: each customer sends the next message when the answer to the one before is there. Whoever asks runs
on the same machine, so turns a second are a lower bound; processor time is the server's and its model server's alone."""

from __future__ import annotations

import asyncio
import itertools
import os
import secrets
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import psycopg

from app.auth import Sessions
from app.config import Keys
from domains.northfell.seed import accounts
from evals.figures import Figure, NotPossible, Report, Table, percentile
from evals.startup import PATIENCE, family, free_port, server
from evals.world import Folders, Progress, quiet
from tools.values import Clock

CLIENTS = (1, 4, 16)
STREETS = ("Birkenweg", "Am Hang", "Gartenstrasse", "Bergstrasse", "Lindenallee")
QUESTIONS = (
    "how long does express shipping take?",
    "how many days do I have to send something back?",
    "how much is taken off for the return label?",
    "do you ship to Canada?",
    "when do I get my money once the refund is approved?",
    "how do I wash a sleeping bag?",
    "what does it cost to ship to Norway?",
    "which sizes do your boots run?",
)
NONSENSE = (
    "write me a poem about the sea, part {n}",
    "who won the football match number {n} yesterday?",
    "what is {n} times {n}?",
    "explain photosynthesis in {n} words",
)


@dataclass(frozen=True)
class Who:
    """A customer with an order that can still be changed."""

    id: str
    order: str


#: What a customer says in round ``n``, one message after the other in one conversation.
Says = Callable[[Who, int], tuple[str, ...]]

LANES: dict[str, Says] = {
    "read": lambda who, n: (f"where is {who.order}?",),
    "write, with its yes": lambda who, n: (
        f"please deliver {who.order} to {STREETS[n % len(STREETS)]} {n + 2}, 50667 Köln instead",
        "yes",
    ),
    "knowledge": lambda who, n: (QUESTIONS[n % len(QUESTIONS)],),
    "out of scope": lambda who, n: (NONSENSE[n % len(NONSENSE)].format(n=n + 2),),
}


@dataclass
class Run:
    """One lane under one load."""

    lane: str
    clients: int
    seconds: float = 0.0
    cpu: float = 0.0  #: Processor seconds of the server and its model server.
    commits: int = 0  #: Transactions of PostgreSQL, where there is one.
    grew: int = 0  #: Bytes that its database grew by.
    ms: list[float] = field(default_factory=list[float])
    failed: list[str] = field(default_factory=list[str])

    @property
    def rate(self) -> float:
        """Turns a second."""
        return len(self.ms) / self.seconds if self.seconds else 0.0

    @property
    def cpu_ms(self) -> float:
        """Processor time of one turn."""
        return 1000 * self.cpu / max(len(self.ms), 1)


def cpu_of(pid: int) -> float:
    """Processor seconds that a process and its children have used."""
    ticks = 0
    for each in family(pid):
        after = Path(f"/proc/{each}/stat").read_text().rpartition(")")[2].split()
        ticks += int(after[11]) + int(after[12])
    return ticks / os.sysconf("SC_CLK_TCK")


def database_of(url: str) -> tuple[int, int]:
    """Committed transactions and bytes of a PostgreSQL database so far; nothing of another kind."""
    if not url:
        return 0, 0
    query = (
        "SELECT xact_commit, pg_database_size(datname) FROM pg_stat_database "
        "WHERE datname = current_database()"
    )
    with psycopg.connect(url) as conn:
        row = conn.execute(query).fetchone()
    assert row is not None
    return int(row[0]), int(row[1])


async def ask(
    client: httpx.AsyncClient, run: Run, who: Who, rounds: Iterator[int], until: float
) -> None:
    """One customer's conversations until the time is over; what began is ended and counted."""
    while time.perf_counter() < until:
        thread: str | None = None
        for text in LANES[run.lane](who, next(rounds)):
            began = time.perf_counter()
            body = {"text": text} | ({"thread": thread} if thread else {})
            answer = await client.post("/v1/chat", json=body)
            if answer.status_code != 200:
                run.failed.append(f"{run.lane}: {answer.status_code} {answer.text[:120]}")
                break
            run.ms.append(1000 * (time.perf_counter() - began))
            thread = answer.json()["thread"]


async def load(
    url: str, run: Run, everybody: Sequence[Who], seconds: float, sign: Sessions
) -> None:
    """Let so many customers ask at once."""
    rounds = itertools.count()
    began = time.perf_counter()
    async with AsyncExitStack() as clients, asyncio.TaskGroup() as asking:
        for who in everybody[: run.clients]:
            client = httpx.AsyncClient(
                base_url=url,
                headers={"Authorization": f"Bearer {sign.sign(who.id)}"},
                timeout=PATIENCE,
                trust_env=False,
            )
            await clients.enter_async_context(client)
            asking.create_task(ask(client, run, who, rounds, began + seconds))
    run.seconds = time.perf_counter() - began


def people() -> list[Who]:
    """Customers of the demo shop with an order that is paid and not packed, each once."""
    found: dict[str, Who] = {}
    for account in accounts(Clock().today()):
        for order in account.orders:
            if order.status == "paid":
                found.setdefault(account.customer.id, Who(account.customer.id, order.number))
    return list(found.values())


def measure(folder: Path, database: str, seconds: float, progress: Progress) -> list[Run]:
    """Start one server and play every lane under every load."""
    secret, port = secrets.token_hex(16), free_port()
    url = f"http://127.0.0.1:{port}"
    settings = {
        "SIGNALBOX_SECRET": secret,
        "SIGNALBOX_DATABASE_URL": database,
        # What is asked again is answered anew, and nobody is told to wait.
        "SIGNALBOX_ANSWER_CACHE": "off",
        "SIGNALBOX_RATES": "ip=off, customer=off, turns=off, thread=off, cost=off",
    }
    sign = Sessions(Keys(secret, {}, demo=False), hours=2)
    everybody = people()
    runs: list[Run] = []
    with server(folder, port, **settings) as process:
        ready(url, process.pid)
        for lane in LANES:
            # Until models and caches are warm.
            asyncio.run(load(url, Run(lane, 1), everybody, seconds / 4, sign))
        _settled(process.pid)
        for number, (lane, clients) in enumerate(itertools.product(LANES, CLIENTS)):
            progress("Asking", number, len(LANES) * len(CLIENTS))
            run = Run(lane, clients)
            cpu, (commits, size) = cpu_of(process.pid), database_of(database)
            asyncio.run(load(url, run, everybody, seconds, sign))
            after = database_of(database)
            run.cpu = cpu_of(process.pid) - cpu
            run.commits, run.grew = after[0] - commits, after[1] - size
            runs.append(run)
    return runs


def ready(url: str, pid: int) -> None:
    until = time.perf_counter() + PATIENCE
    while time.perf_counter() < until:
        try:
            checks = httpx.get(f"{url}/ready", timeout=10, trust_env=False).json()["checks"]
        except (httpx.TransportError, ValueError):
            checks = {}
        if (
            checks.get("embedded model", {"state": "ready"} if checks else {}).get("state")
            == "ready"
        ):
            return
        if not Path(f"/proc/{pid}").exists():
            break
        time.sleep(0.1)
    raise NotPossible(f"The server did not get ready within {PATIENCE:.0f} s.")


def _settled(pid: int) -> None:
    """Wait until nothing is loaded or read in the background any more."""
    until = time.perf_counter() + PATIENCE
    used = cpu_of(pid)
    while time.perf_counter() < until:
        time.sleep(2)
        before, used = used, cpu_of(pid)
        if used - before < 0.2:
            return


def report(runs: Sequence[Run]) -> Report:
    found = Report("scaling")
    table = Table(
        "One process",
        (
            "lane",
            "customers",
            "turns",
            "turns/s",
            "p50 ms",
            "p95 ms",
            "CPU ms a turn",
            "commits a turn",
            "kB a turn",
        ),
    )
    for run in runs:
        found.failures += run.failed[:3]
        if not run.ms:
            continue
        turns = len(run.ms)
        table.rows.append(
            (
                run.lane,
                str(run.clients),
                str(turns),
                f"{run.rate:.1f}",
                f"{percentile(run.ms, 0.5):.0f}",
                f"{percentile(run.ms, 0.95):.0f}",
                f"{run.cpu_ms:.0f}",
                f"{run.commits / turns:.1f}",
                f"{run.grew / turns / 1000:.1f}",
            )
        )
    found.tables.append(table)
    for lane in LANES:
        best = max((run for run in runs if run.lane == lane), key=lambda run: run.rate)
        found.figures.append(
            Figure(
                f"{lane}: turns a second of one process",
                best.rate,
                "/s",
                baseline=f"{best.clients} customers at once, {best.cpu_ms:.0f} ms of processor a turn",
            )
        )
    return found


def run(
    folders: Folders, progress: Progress = quiet, *, seconds: float = 8.0, database: str = ""
) -> Report:
    return report(measure(folders.prepared(), database, seconds, progress))
