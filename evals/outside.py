"""What a business's conversations are played against: its books in this process, its own backend, or a mock of it.

A domain whose operations call another system says in ``evals/backend.yaml`` how that system is started with fresh
data, or that a server made of its document's examples will do. Between two conversations it is put back."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Literal, NamedTuple

import httpx
from pydantic import AwareDatetime, Field, model_validator
from tenacity import retry, retry_if_exception_type, stop_after_delay, wait_fixed

from app.config import ROOT
from app.domains import load_domain
from evals.figures import NotPossible
from tools.importing.declared import Part
from tools.importing.problems import FilesInvalid
from tools.importing.yaml_files import read_file, validated
from tools.values import Clock

#: In the folder ``evals`` of a domain.
BACKEND = "backend.yaml"
#: How long a backend may take to its first answer, in seconds.
STARTS_IN = 60.0


class Reset(Part):
    """The request that puts the backend's data back."""

    method: Literal["POST", "PUT", "DELETE"] = "POST"
    path: str = Field(pattern=r"^/")
    headers: dict[str, str] = {}


class Declared(Part):
    """``evals/backend.yaml``: ``{port}``, ``{folder}`` (empty, for its data) and ``{python}`` are filled in."""

    start: tuple[str, ...] = ()  #: The command; it listens on 127.0.0.1:{port}.
    mock: bool = False  #: In its place, a server made of the examples in the domain's documents.
    environment: dict[str, str] = {}  #: What ``domain.yaml`` and the command read: addresses, keys.
    ready: str = Field(default="/", pattern=r"^/")  #: A path that is answered once it serves.
    reset: Reset | None = None  #: Without one, it is started anew on an empty folder.
    clock: AwareDatetime | None = (
        None  #: When the conversations begin, for the agent; default: now.
    )

    @model_validator(mode="after")
    def _one_backend(self) -> Declared:
        if bool(self.start) == self.mock:
            raise ValueError("say `start` with a command, or `mock: true`")
        return self


class Outside(NamedTuple):
    """What stands outside the agent while conversations are played."""

    reset: Callable[[], None]
    clock: Clock


def in_this_process() -> Outside:
    """Nothing to start: the business keeps its books in our own database."""
    return Outside(lambda: None, Clock())


def declared_of(domain: Path) -> Declared | None:
    """What a domain says of its backend; None where it has none. Raises NotPossible with file and line."""
    file = domain / "evals" / BACKEND
    if not file.exists():
        return None
    try:
        return validated(Declared, read_file(file.read_bytes(), f"evals/{BACKEND}"))
    except (FilesInvalid, OSError) as error:
        raise NotPossible(f"{domain}:\n{error}") from error


@contextmanager
def outside_of(domain: Path) -> Generator[Outside]:
    """The backend that a domain declares, running with fresh data; it ends with the block."""
    declared = declared_of(domain)
    if declared is None:
        yield in_this_process()
        return
    with tempfile.TemporaryDirectory(prefix="signalbox-backend-") as root:
        backend = _Backend(declared, domain, Path(root))
        with _environment(backend.environment):
            # What was loaded before speaks to another address.
            load_domain.cache_clear()
            backend.start()
            try:
                yield Outside(backend.reset, _clock_from(declared.clock))
            finally:
                backend.stop()
                load_domain.cache_clear()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@dataclass
class _Backend:
    declared: Declared
    domain: Path
    root: Path
    port: int = field(default_factory=_free_port)
    _starts: int = 0
    _process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def environment(self) -> dict[str, str]:
        return {name: self._filled(value) for name, value in self.declared.environment.items()}

    def _filled(self, text: str) -> str:
        known = {"{port}": str(self.port), "{python}": sys.executable}
        known["{folder}"] = str(self.root / str(self._starts))
        for name, value in known.items():
            text = text.replace(name, value)
        return text

    def start(self) -> None:
        self._starts += 1
        (self.root / str(self._starts)).mkdir()
        if self.declared.mock:
            mock = ("domain", "mock", str(self.domain), "--port", str(self.port))
            command = [sys.executable, "-c", "from app.cli import main; main()", *mock]
        else:
            command = [self._filled(part) for part in self.declared.start]
        log = self.root / "log"
        try:
            with log.open("ab") as said:
                self._process = subprocess.Popen(command, cwd=ROOT, stdout=said, stderr=said)
            self._wait()
        except (OSError, httpx.TransportError) as error:
            self.stop()
            last = log.read_text("utf-8", "replace").strip()[-600:]
            raise NotPossible(
                f"the backend of evals/{BACKEND} does not answer at {self.url}{self.declared.ready} "
                f"({' '.join(command)}): {last or error}"
            ) from error

    @retry(
        retry=retry_if_exception_type(httpx.TransportError),
        wait=wait_fixed(0.1),
        stop=stop_after_delay(STARTS_IN),
        reraise=True,
    )
    def _wait(self) -> None:
        assert self._process is not None
        if self._process.poll() is not None:
            raise OSError(f"it ended with {self._process.returncode}")
        httpx.get(f"{self.url}{self.declared.ready}", timeout=5)

    def reset(self) -> None:
        asked = self.declared.reset
        if asked is None:
            self.stop()
            self.start()
            return
        try:
            headers = {name: self._filled(value) for name, value in asked.headers.items()}
            answer = httpx.request(
                asked.method, f"{self.url}{asked.path}", headers=headers, timeout=30
            )
            answer.raise_for_status()
        except httpx.HTTPError as error:
            raise NotPossible(f"the backend could not be put back: {error}") from error

    def stop(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()


@contextmanager
def _environment(given: Mapping[str, str]) -> Generator[None]:
    before = {name: os.environ.get(name) for name in given}
    os.environ.update(given)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


def _clock_from(begins: datetime | None) -> Clock:
    if begins is None:
        return Clock()
    started = time.monotonic()
    return Clock(lambda: begins + timedelta(seconds=time.monotonic() - started))
