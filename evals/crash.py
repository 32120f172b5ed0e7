"""``python -m evals crash``: processes killed in the middle of writes, and the books beside what was told.

Clients and reviewers live here and survive; application processes, two at a time on one database, are
killed with SIGKILL at random moments and at every named boundary, and started again."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import subprocess
import sys
import tempfile
import time
import uuid
from collections import Counter, deque
from collections.abc import Callable, Generator, Sequence
from contextlib import AbstractAsyncContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from evals.crash_books import Compared, Job, Records, Reviewed, Said, Wish, compare
from evals.crash_business import KINDS, PROVIDER_KEY, provider_port
from evals.crash_people import PATIENCE, Clients, Reviewers
from evals.crash_slots import AT_RANDOM, PROCESSES, Slots
from evals.figures import Figure, NotPossible, Report, Table, at_most
from evals.world import Folders, Progress, quiet

POSTGRES = "postgresql://postgres@127.0.0.1:5432/test"
#: Most of them wait for the lease of a dead process at any time.
CLIENTS = 64
DAY = 25 * 3600.0
#: How long what the last processes left behind may take to be delivered, in seconds.
SETTLING = 120.0


@dataclass
class Run:
    """One run on one database with one kind of backend."""

    database: str
    backend: str
    kills: int = 0
    seconds: float = 0.0
    at: Counter[str] = field(default_factory=Counter[str])
    jobs: int = 0
    actions: int = 0
    retries: int = 0
    compared: Compared = field(default_factory=Compared)

    @property
    def ok(self) -> bool:
        return self.compared.ok


# --- a run --------------------------------------------------------------------------------------


async def play(
    site: Any,
    folder: Path,
    kills: int,
    *,
    backend: str = "books",
    seed: int = 1,
    seconds: float = 3600.0,
    assemble: Any = None,
    boundaries: Sequence[str] = (),
    slots_of: type[Slots] = Slots,
    trouble: Callable[[Any], AbstractAsyncContextManager[None]] = nullcontext,
    crowd: int = CLIENTS,
    only: Sequence[str] = (),
    progress: Progress = quiet,
) -> Run:
    """Kill ``kills`` processes (or for ``seconds``), let everything settle, and compare.

    ``slots_of`` says what else befalls them, ``trouble`` what befalls what they stand on; ``crowd`` customers
    ask at once, for ``only`` these operations."""
    from app.stores.database import create_engine
    from evals.crash_process import boundaries_of, desk_on, sound

    kind = "postgres" if site.database.startswith("postgresql") else "sqlite"
    run = Run(kind, backend)
    started = time.monotonic()
    engine = create_engine(site.database)
    records = _records_of(site, backend, folder, engine)
    before = records.read()
    source = records.jobs(seed, only)
    asked: list[Job] = []
    of_thread: dict[str, Job] = {}
    reviewed = Reviewed()
    slots = slots_of(site, folder, assemble or sound, seed)
    slots.wanted = kills
    clients = Clients(slots)

    def wish_of(thread: str) -> Wish:
        if thread not in of_thread:
            of_thread.update({job.thread: job for job in asked if job.thread})
        return of_thread[thread].wish if thread in of_thread else "ignore"

    reviewers = Reviewers(slots, reviewed, wish_of, records.edits)

    async def client() -> None:
        while slots.kills < slots.wanted:
            job = next(source)
            asked.append(job)
            await clients.play(job)
            job.finished = True

    async def watch() -> None:
        while slots.kills < slots.wanted:
            progress(f"Killing on {kind}, {backend}", slots.kills, kills)
            if time.monotonic() - started > seconds:
                slots.wanted = 0
                return
            await asyncio.sleep(0.2)

    processes = [
        asyncio.create_task(slots.run(n, boundaries or boundaries_of(backend)))
        for n in range(PROCESSES)
    ]
    deciding = asyncio.create_task(reviewers.work())
    talking = [asyncio.create_task(client()) for _ in range(crowd)]
    try:
        everybody = asyncio.gather(*talking, watch())
        async with trouble(site):
            done, _ = await asyncio.wait(
                [everybody, *processes, deciding], return_when=asyncio.FIRST_COMPLETED
            )
        for task in done:
            task.result()
        progress(f"Settling on {kind}, {backend}", 0, 0)
        await _settled(slots, reviewers)
    finally:
        tasks = [*talking, deciding, *processes]
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)
    run.kills, run.at, run.retries = slots.kills, slots.at, clients.retries
    run.jobs, run.actions = len(asked), len({a for job in asked for a in job.actions})

    # What nobody answered expires, and the customers hear of it.
    calm = replace(site, ahead=0.0)
    threads: dict[str, Sequence[Said]] = {}
    left_to_person = 0
    given_up: list[str] = []
    for ahead in (0.0, DAY):
        async with desk_on(replace(calm, ahead=ahead)) as (desk, _):
            given_up += await _delivered(desk, engine)
            if ahead:
                for job in asked:
                    threads[job.thread] = await _said(desk, job.thread)
            else:
                left_to_person = await _vouched_for(desk, records, asked, before)
    run.compared = await asyncio.to_thread(
        compare, asked, threads, reviewed, engine, records, before
    )
    if run.compared.problems:
        run.compared.problems += given_up
    run.compared.unknown_to_person = left_to_person
    run.compared.unknown_settled = await asyncio.to_thread(_looked_up, engine)
    engine.dispose()
    run.seconds = time.monotonic() - started
    return run


async def _settled(slots: Slots, reviewers: Reviewers) -> None:
    """Wait until no process dies any more and the reviewers have had nothing to do for a while."""
    reviewers.idle = time.monotonic()
    until = time.monotonic() + PATIENCE
    left = 1.5
    while left > 0:
        await asyncio.sleep(left)
        left = min(reviewers.idle + 1.5, until) - time.monotonic()


async def _delivered(desk: Any, engine: sa.Engine) -> list[str]:
    """Deliver until nothing is left that can be delivered, or for so long; what is left then, and what was said of it."""
    from app.stores.database import reading
    from app.stores.tables import approvals, ledger, outbox

    unfinished = (
        (outbox, outbox.c.delivered_at.is_(None)),
        (approvals, approvals.c.status == "approved"),
        (ledger, ledger.c.state.in_(("started", "unknown")) & ledger.c.called_at.is_not(None)),
    )

    def left() -> list[str]:
        with reading(engine) as connection:
            return [
                f"{table.name}: {dict(row)}"
                for table, which in unfinished
                for row in connection.execute(sa.select(table).where(which)).mappings()
            ]

    until, rounds = time.monotonic() + SETTLING, 0
    with _complaints() as heard:
        while True:
            await desk.deliveries.deliver_due()
            rounds += 1
            waiting = await asyncio.to_thread(left)
            if not waiting:
                return []
            if time.monotonic() > until:
                begun = f"after {rounds} rounds in {SETTLING:.0f} s there is still"
                return [
                    *(f"{begun} {one}" for one in waiting),
                    *(f"it said: {one}" for one in heard),
                ]
            await asyncio.sleep(0.2)


class _Complaints(logging.Handler):
    """The last warnings of the deliveries, for whoever reads why something was never delivered."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.last: deque[str] = deque(maxlen=6)

    def emit(self, record: logging.LogRecord) -> None:
        raised = f": {record.exc_info[1]!r}" if record.exc_info else ""
        self.last.append(f"{record.getMessage()}{raised}")


@contextmanager
def _complaints() -> Generator[deque[str]]:
    deliveries, listening = logging.getLogger("app.rooms.deliveries"), _Complaints()
    deliveries.addHandler(listening)
    try:
        yield listening.last
    finally:
        deliveries.removeHandler(listening)


async def _vouched_for(desk: Any, records: Records, asked: Sequence[Job], before: Any) -> int:
    """What no lookup settled, a person looks up in the other system's books; how much that was."""
    of_thread = {job.thread: job for job in asked}
    unsettled = await desk.approvals.unsettled()
    for effect in unsettled:
        job = of_thread[effect.action.thread]
        happened = await asyncio.to_thread(records.happened, effect, job, before)
        await desk.approvals.settle(effect.action.id, "olga", happened=happened)
    return len(unsettled)


def _looked_up(engine: sa.Engine) -> int:
    """How many unknown outcomes were settled without a person, by the audit."""
    from app.stores.database import reading
    from app.stores.tables import audit

    entries = sa.select(audit.c.action, audit.c.facts, audit.c.actor).where(
        audit.c.kind == "reconciliation"
    )
    with reading(engine) as connection:
        rows = connection.execute(entries).all()
    return len(
        {
            row.action
            for row in rows
            if row.actor == "signalbox" and json.loads(row.facts)["status"] != "unknown"
        }
    )


async def _said(desk: Any, thread: str) -> list[Said]:
    snapshot = await desk.player.support.aget_state({"configurable": {"thread_id": thread}})
    return [
        Said(str(m.id), m.text, tuple(m.additional_kwargs.get("actions", ())), m.type == "ai")
        for m in snapshot.values.get("messages", [])
    ]


# --- where it runs ------------------------------------------------------------------------------


@contextmanager
def postgres_database(url: str) -> Generator[str]:
    """An empty database of its own on the server of ``url``."""
    import psycopg
    from psycopg import sql

    name = f"signalbox_crash_{uuid.uuid4().hex[:10]}"
    try:
        with psycopg.connect(url, autocommit=True, connect_timeout=3) as admin:
            named = sql.Identifier(name)
            admin.execute(sql.SQL("CREATE DATABASE {}").format(named))
            # The server is not what dies here: waiting for its disk at each commit would prove nothing.
            off = sql.SQL("ALTER DATABASE {} SET synchronous_commit = off")
            admin.execute(off.format(named))
    except psycopg.OperationalError as error:
        raise NotPossible(f"no PostgreSQL at SIGNALBOX_TEST_POSTGRES: {error}") from error
    try:
        yield f"{url.rpartition('/')[0]}/{name}"
    finally:
        with psycopg.connect(url, autocommit=True) as admin:
            drop = sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)")
            admin.execute(drop.format(sql.Identifier(name)))


@contextmanager
def a_site(database: str, folder: Path, business: str = "northfell") -> Generator[Any]:
    """A demo shop of its own, or a desk for the provider, on ``sqlite`` or ``postgres``."""
    from app.stores.database import create_engine, migrate
    from evals.crash_process import Site, prepare

    @contextmanager
    def urls() -> Generator[tuple[str, str]]:
        if database == "sqlite":
            yield f"sqlite:///{folder / 'signalbox.db'}", str(folder / "checkpoints.db")
        else:
            with postgres_database(os.environ.get("SIGNALBOX_TEST_POSTGRES", POSTGRES)) as url:
                yield url, url

    with urls() as (books_url, checkpoints):
        site = Site(books_url, checkpoints, business, origin=time.time())
        migrate(site.database)
        if business == "northfell":
            from domains.northfell.seed import seed

            engine = create_engine(site.database)
            seed(engine, datetime.now(UTC).date())
            engine.dispose()
        prepare(site)
        yield site


#: The file of the provider's own records, in a run's folder.
PROVIDER = "provider.db"


def _records_of(site: Any, backend: str, folder: Path, engine: sa.Engine) -> Records:
    today = site.clock().today()
    if site.business == "northfell":
        from domains.northfell.seed import accounts
        from evals.crash_shop import ShopRecords

        return ShopRecords(engine, accounts(today), today, site.payments)
    from evals.crash_provider import ProviderRecords

    return ProviderRecords(folder / PROVIDER, backend, today)


#: What another system does now and then, beside answering: shares of its requests, and seconds.
TROUBLE = {
    "delay_before": 0.02,
    "delay_after": 0.05,
    "drop_before": 0.03,
    "drop_after": 0.06,
    "error_before": 0.03,
    "error_after": 0.06,
    "decline": 0.03,
}


@contextmanager
def beside(site: Any, backend: str, folder: Path) -> Generator[Any]:
    """The site with the system that it writes to, a process and a store of its own; without one for ``books``."""
    if not KINDS[backend].outside:
        yield site
        return
    if site.business == "northfell":
        module, given = "domains.northfell.payment_service", ["--faults", f"--{backend}"]
        given += ["--store", str(folder / "payments.db")]
        faults = TROUBLE
    else:
        from evals.crash_provider import seed

        seed(folder / PROVIDER, site.clock().today())
        module, given = "evals.crash_provider_service", ["--port", str(provider_port())]
        given += ["--data", str(folder / PROVIDER)]
        # What it refuses is part of its operations, not of its moods.
        faults = {name: share for name, share in TROUBLE.items() if name != "decline"}
    with _serving(module, given) as url:
        import httpx

        headers = {"authorization": f"Bearer {PROVIDER_KEY}"}
        httpx.put(f"{url}/faults", json=faults, headers=headers, timeout=30).raise_for_status()
        yield replace(site, payments=url, keys=backend == "keys") if KINDS[backend].ours else site


@contextmanager
def _serving(module: str, given: Sequence[str]) -> Generator[str]:
    """The address of a service in a process of its own."""
    command = [sys.executable, "-m", module, *given]
    environment = os.environ | {"HALDEN_KEY": PROVIDER_KEY}
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as service:
        try:
            assert service.stdout is not None
            url = service.stdout.readline().strip()
            if not url:
                raise NotPossible(f"{module} did not start")
            yield url
        finally:
            service.kill()


def run(
    kills: int = 100,
    *,
    database: str = "both",
    backend: str = "all",
    seconds: float = 3600.0,
    seed: int = 1,
    assemble: Any = None,
    boundaries: Sequence[str] = (),
    slots_of: type[Slots] = Slots,
    trouble: Callable[[Any], AbstractAsyncContextManager[None]] = nullcontext,
    crowd: int = CLIENTS,
    only: Sequence[str] = (),
    progress: Progress = quiet,
) -> list[Run]:
    """Play a run on each database and backend that was asked for, sharing the kills."""
    databases = ("sqlite", "postgres") if database == "both" else (database,)
    backends = tuple(KINDS) if backend == "all" else (backend,)
    if unknown := set(backends) - set(KINDS):
        raise NotPossible(f"there is no backend {unknown.pop()}: {', '.join(KINDS)} or all")
    wanted = [(d, b) for d in databases for b in backends]
    share = -(-kills // len(wanted))
    runs: list[Run] = []
    for name, kind in wanted:
        with (
            tempfile.TemporaryDirectory(prefix="sb-") as folder,
            a_site(name, Path(folder), KINDS[kind].business) as alone,
            beside(alone, kind, Path(folder)) as site,
        ):
            played = play(
                site,
                Path(folder),
                share,
                backend=kind,
                seed=seed,
                seconds=seconds / len(wanted),
                assemble=assemble,
                boundaries=boundaries,
                slots_of=slots_of,
                trouble=trouble,
                crowd=crowd,
                only=only,
                progress=progress,
            )
            runs.append(asyncio.run(played))
    return runs


def report(runs: Sequence[Run]) -> Report:
    """The runs' figures, their required values beside them."""
    total = Compared()
    table = Table(
        "Runs",
        (
            "database",
            "backend",
            "kills",
            "a second",
            "requests",
            "actions",
            "effects",
            "duplicates",
            "lost",
            "unknown-settled",
            "unknown-to-person",
            "wrongly-told",
            "unapproved",
        ),
    )
    for one in runs:
        found = one.compared
        counted = (
            found.effects,
            found.duplicates,
            found.lost,
            found.unknown_settled,
            found.unknown_to_person,
            found.wrongly_told,
            found.unapproved,
        )
        table.rows.append(
            (
                one.database,
                one.backend,
                str(one.kills),
                f"{one.kills / max(one.seconds, 0.001):.1f}",
                str(one.jobs),
                str(one.actions),
                *map(str, counted),
            )
        )
        for name in ("effects", "duplicates", "lost", "unknown_settled", "unknown_to_person"):
            setattr(total, name, getattr(total, name) + getattr(found, name))
        total.wrongly_told += found.wrongly_told
        total.unapproved += found.unapproved
    at = sum((one.at for one in runs), Counter[str]())
    where = Table("Kills at", ("boundary", "kills"))
    where.rows += [(name, str(at[name])) for name in (*sorted(_named(runs)), AT_RANDOM)]
    none = at_most(0)
    return Report(
        "crash",
        figures=[
            Figure("processes killed", sum(one.kills for one in runs)),
            Figure("of them at a named boundary", sum(at.values()) - at[AT_RANDOM]),
            Figure("named boundaries never reached", len(_named(runs) - set(at))),
            Figure("actions", sum(one.actions for one in runs)),
            Figure("effects in the books", total.effects),
            Figure("duplicate effects", total.duplicates, target=none),
            Figure("lost", total.lost, target=none),
            Figure("unknown, settled by looking it up", total.unknown_settled),
            Figure("unknown, left to a person", total.unknown_to_person),
            Figure("wrongly told", total.wrongly_told, target=none),
            Figure("effects nobody approved", total.unapproved, target=none),
        ],
        tables=[table, where],
        failures=[problem for one in runs for problem in one.compared.problems][:50],
    )


def _named(runs: Sequence[Run]) -> set[str]:
    from evals.crash_process import boundaries_of

    return {name for one in runs for name in boundaries_of(one.backend)}


def suite(folders: Folders, progress: Progress = quiet, **wanted: Any) -> Report:
    """A run as a report; short unless ``wanted`` says otherwise."""
    return report(run(wanted.pop("kills", 60), **wanted, progress=progress))
