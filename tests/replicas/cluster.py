"""Several `signalbox serve` behind a reverse proxy, on one PostgreSQL, one Redis and one Qdrant.

Each replica has a data folder of its own, as on a machine of its own; what they share, they share over the network, and
the rules by a file that is mounted in all of them."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Generator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import httpx

from app.auth import Sessions
from app.config import Keys
from tests.models.fake_ollama import fake_ollama
from tests.models.fake_openai import fake_openai

ROOT = Path(__file__).parents[2]
SECRET = "the same in every replica"
OLGA, QUIRIN = "the-key-of-olga", "the-key-of-quirin"
#: How long a replica may take to start on a busy machine.
STARTS_WITHIN = 90.0
#: The proxy asks this often whether a replica is ready, and believes the first no.
LOOKS = 0.25
#: How long a replica that is about to end still answers.
DRAINS = 1.0

#: Connections to replicas are not kept, so that none is closed while a request is on its way.
PROXY = """
global
    log stdout format raw local0 notice
defaults
    mode http
    log global
    timeout connect 2s
    timeout client 90s
    timeout server 90s
    timeout check 5s
    option http-server-close
    option redispatch
    retries 3
frontend door
    bind 127.0.0.1:{port}
    default_backend replicas
    http-response set-header X-Replica %s
backend replicas
    balance roundrobin
    option forwardfor
    option httpchk
    http-check send meth GET uri /ready ver HTTP/1.1 hdr Host localhost
    default-server check inter {looks}ms fall 1 rise 1 init-addr none
{servers}
"""


T = TypeVar("T")


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def eventually(found: Callable[[], T | None], within: float, what: str) -> T:
    """What is found, as soon as it is; fails when it takes longer."""
    until = time.monotonic() + within
    while (result := found()) is None:
        assert time.monotonic() < until, f"{what}: not within {within:g} s"
        time.sleep(0.05)
    return result


@contextmanager
def program(command: Sequence[str], port: int, log: Path) -> Generator[subprocess.Popen[bytes]]:
    """A server program that listens on the port inside the block."""
    with log.open("ab") as out:
        process = subprocess.Popen(command, stdout=out, stderr=out, cwd=log.parent)
    try:
        eventually(lambda: _listens(port) or None, 30, f"{command[0]} listens")
        yield process
    finally:
        process.terminate()
        process.wait(15)


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


@dataclass
class Replica:
    """One place behind the proxy, and the process that is in it."""

    name: str
    port: int
    folder: Path
    environment: dict[str, str]
    process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def log(self) -> str:
        return (self.folder / "server.log").read_text("utf-8", "replace")

    def start(self) -> None:
        """Start a new process here; the proxy finds out by itself."""
        self.folder.mkdir(exist_ok=True)
        with (self.folder / "server.log").open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-c", "from app.cli import main; main()", "serve"],
                cwd=self.folder,
                env=self.environment,
                stdout=log,
                stderr=log,
            )

    def ready(self) -> dict[str, Any] | None:
        """What /ready says, once it is reached; fails where the process has ended."""
        assert self.process is not None
        assert self.process.poll() is None, self.log[-3000:]
        try:
            answer = httpx.get(f"{self.url}/ready", timeout=10, trust_env=False)
        except httpx.TransportError:
            return None
        return answer.json() if answer.status_code == 200 else None

    def await_ready(self) -> None:
        eventually(self.ready, STARTS_WITHIN, f"{self.name} is ready")

    def stop(self, within: float = 40) -> int:
        """Ask it to end, as a service manager does; its exit status."""
        if self.process is None:
            return 0
        self.process.send_signal(signal.SIGTERM)
        try:
            return self.process.wait(within)
        except subprocess.TimeoutExpired:
            self.process.kill()
            raise
        finally:
            self.process = None


@dataclass
class Cluster:
    """The replicas and what they share."""

    folder: Path
    database: str
    url: str  #: The proxy's.
    rules: Path
    replicas: list[Replica] = field(default_factory=list[Replica])

    @property
    def running(self) -> list[Replica]:
        return [each for each in self.replicas if each.process is not None]

    def client(
        self, customer: str | None = None, *, at: Replica | None = None, **headers: str
    ) -> httpx.Client:
        """Somebody who asks through the proxy, or one replica alone; a customer has a session."""
        if customer is not None:
            # Signed as a replica signs it, so that anybody of the crowd can be asked for.
            signed = Sessions(Keys(SECRET, {}, demo=False), hours=1).sign(customer)
            headers["Authorization"] = f"Bearer {signed}"
        return httpx.Client(
            base_url=at.url if at else self.url, headers=headers, timeout=90, trust_env=False
        )

    def await_served(self, replica: Replica) -> None:
        """Wait until the replica is ready and the proxy sends it requests."""
        replica.await_ready()

        def chosen() -> bool | None:
            answer = httpx.get(f"{self.url}/health", timeout=10, trust_env=False)
            return answer.headers.get("X-Replica") == replica.name or None

        eventually(chosen, 20, f"the proxy asks {replica.name}")

    def operator(self, key: str = OLGA, *, at: Replica | None = None) -> httpx.Client:
        return self.client(at=at, **{"X-API-Key": key})

    def command(self, replica: Replica, *arguments: str) -> subprocess.CompletedProcess[str]:
        """A `signalbox` command with the settings of one replica, whatever its exit status."""
        return subprocess.run(
            [sys.executable, "-c", "from app.cli import main; main()", *arguments],
            cwd=replica.folder,
            env=replica.environment,
            capture_output=True,
            text=True,
            timeout=90,
        )


def environment_of(folder: Path, port: int, shared: dict[str, str]) -> dict[str, str]:
    """What one replica is started with."""
    inherited = {name: value for name, value in os.environ.items() if "SIGNALBOX" not in name}
    return inherited | {
        "PYTHONPATH": str(ROOT),
        "OMP_NUM_THREADS": "1",
        "SIGNALBOX_DATA_DIR": str(folder / "data"),
        "SIGNALBOX_PORT": str(port),
        "SIGNALBOX_SECRET": SECRET,
        "SIGNALBOX_OPERATORS": f"olga:admin={OLGA},quirin:admin={QUIRIN}",
        "SIGNALBOX_TRUSTED_PROXIES": "127.0.0.1",
        "SIGNALBOX_DRAIN_SECONDS": str(DRAINS),
        **shared,
    }


@contextmanager
def cluster(folder: Path, database: str, *, running: int, places: int) -> Generator[Cluster]:
    """So many replicas, started at the same moment, in the first of so many places behind the proxy."""
    with ExitStack() as stack:
        redis, qdrant, door = free_port(), free_port(), free_port()
        redis_server, haproxy = shutil.which("redis-server"), shutil.which("haproxy")
        assert redis_server is not None
        assert haproxy is not None
        stack.enter_context(
            program(
                [redis_server, "--port", str(redis), "--save", "", "--dir", str(folder)],
                redis,
                folder / "redis.log",
            )
        )
        stack.enter_context(
            program(
                [sys.executable, str(Path(__file__).with_name("qdrant_server.py")), str(qdrant)],
                qdrant,
                folder / "qdrant.log",
            )
        )
        rules = folder / "rules.yaml"
        shutil.copyfile(ROOT / "domains/northfell/rules.yaml", rules)
        shared = {
            "SIGNALBOX_DATABASE_URL": database,
            "SIGNALBOX_REDIS_URL": f"redis://127.0.0.1:{redis}/0",
            "SIGNALBOX_QDRANT_URL": f"http://127.0.0.1:{qdrant}",
            "SIGNALBOX_RULES": str(rules),
            # One server of models for all, as where there are many replicas.
            "SIGNALBOX_OLLAMA_HOST": stack.enter_context(fake_ollama()).host,
            "SIGNALBOX_LLM_BASE_URL": stack.enter_context(fake_openai()).base_url,
            "SIGNALBOX_LLM_API_KEY": "none",
            "SIGNALBOX_LLM_MODEL": "fake",
            "SIGNALBOX_KNOWLEDGE_DIR": str(_articles(folder / "articles")),
        }
        made = Cluster(folder, database, f"http://127.0.0.1:{door}", rules)
        for number in range(1, places + 1):
            own, port = folder / f"replica-{number}", free_port()
            each = Replica(f"replica-{number}", port, own, environment_of(own, port, shared))
            made.replicas.append(each)
            stack.callback(each.stop)
        for each in made.replicas[:running]:
            each.start()
        servers = "\n".join(
            f"    server {each.name} 127.0.0.1:{each.port}" for each in made.replicas
        )
        configuration = folder / "haproxy.cfg"
        configuration.write_text(
            PROXY.format(port=door, looks=round(1000 * LOOKS), servers=servers)
        )
        stack.enter_context(
            program([haproxy, "-db", "-f", str(configuration)], door, folder / "haproxy.log")
        )
        for each in made.replicas[:running]:
            made.await_served(each)
        yield made


def _articles(folder: Path) -> Path:
    """A few of the demo shop's articles: reading them all is not what is tried here."""
    folder.mkdir()
    for file in sorted((ROOT / "domains/northfell/knowledge").glob("*.md"))[:6]:
        shutil.copy(file, folder)
    return folder
