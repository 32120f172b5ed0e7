"""Databases of tests: one is filled for a session, and each test that asks gets a copy of its own."""

from __future__ import annotations

import shutil
import uuid
from collections import deque
from collections.abc import Callable, Generator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path

import psycopg
from psycopg import sql

Fill = Callable[[str], object]
#: So many copies of a template are ready before somebody asks for them.
AHEAD = 2


@contextmanager
def postgres_database(server: str, template: str = "template1") -> Generator[str]:
    """A new database on the server that an address names, dropped afterwards; its address."""
    url = created(server, template)
    try:
        yield url
    finally:
        dropped(server, url)


def created(server: str, template: str) -> str:
    """The address of a new copy of a database on the server that an address names."""
    name = f"signalbox_{uuid.uuid4().hex[:12]}"
    with psycopg.connect(server, autocommit=True) as admin:
        admin.execute(
            sql.SQL("CREATE DATABASE {} TEMPLATE {}").format(
                sql.Identifier(name), sql.Identifier(template)
            )
        )
        # Tests kill their own processes and never the server, for which alone a commit waits for the disk.
        admin.execute(
            sql.SQL("ALTER DATABASE {} SET synchronous_commit TO off").format(sql.Identifier(name))
        )
    return f"{server.rpartition('/')[0]}/{name}"


def dropped(server: str, url: str) -> None:
    """Drop the database of an address, whoever is still connected to it."""
    name = url.rpartition("/")[2]
    with psycopg.connect(server, autocommit=True) as admin:
        admin.execute(
            sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(name))
        )


class Templates:
    """The filled databases of a session, each made when the first copy of it is asked for.

    PostgreSQL takes a tenth of a second and more for a copy, and computes nothing meanwhile: the next ones are made
    while the test before them plays, and what a test leaves is dropped while the next one plays."""

    def __init__(self, folder: Path, server: str) -> None:
        self._folder = folder
        self._server = server
        self._beside = ThreadPoolExecutor(AHEAD + 1, thread_name_prefix="databases")
        self._next: dict[str, deque[Future[str]]] = {}
        self._made: dict[tuple[str, Fill], str] = {}
        self._stack = ExitStack()

    @contextmanager
    def copy(self, kind: str, fill: Fill, to: Path) -> Generator[str]:
        """The address of a fresh copy of the database that `fill` fills, on SQLite or PostgreSQL."""
        template = self._template(kind, fill)
        if kind == "postgres":
            name = template.rpartition("/")[2]
            ready = self._next.setdefault(name, deque())
            while len(ready) <= AHEAD:
                ready.append(self._beside.submit(created, self._server, name))
            url = ready.popleft().result()
            try:
                yield url
            finally:
                self._beside.submit(dropped, self._server, url)
            return
        file = to / f"{uuid.uuid4().hex[:12]}.db"
        shutil.copyfile(template.removeprefix("sqlite:///"), file)
        yield f"sqlite:///{file}"

    def _template(self, kind: str, fill: Fill) -> str:
        if (kind, fill) not in self._made:
            url = f"sqlite:///{self._folder / f'{len(self._made)}.db'}"
            if kind == "postgres":
                url = self._stack.enter_context(postgres_database(self._server))
            fill(url)
            self._made[kind, fill] = url
        return self._made[kind, fill]

    def close(self) -> None:
        for ready in self._next.values():
            for made in ready:
                self._beside.submit(dropped, self._server, made.result())
        self._beside.shutdown()
        self._stack.close()
