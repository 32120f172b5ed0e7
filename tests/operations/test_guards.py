"""The guards of conftest.py hold."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path

import psycopg
import pytest

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("host", ["192.0.2.1", "signalbox.example"])
def test_other_machines_are_out_of_reach(host: str, hosts_tried: list[str]) -> None:
    """Connecting beyond loopback raises, and the attempt is remembered."""
    with pytest.raises(RuntimeError, match=f"reach {host}"):
        socket.create_connection((host, 443), timeout=1)

    assert [host] == hosts_tried

    hosts_tried.clear()


def run_pytest(folder: Path, *options: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Play a folder's tests with no plugin but xdist; the others take seconds to load."""
    return subprocess.run(
        [
            *(sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider"),
            *("-p", "xdist.plugin", *options, folder),
        ],
        capture_output=True,
        text=True,
        cwd=folder,
        env={**os.environ, "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1", **environment},
    )


def test_a_swallowed_attempt_fails_the_test(tmp_path: Path) -> None:
    """Code that catches the guard's exception does not hide the attempt."""
    (tmp_path / "conftest.py").write_text((ROOT / "tests/conftest.py").read_text())
    (tmp_path / "test_it.py").write_text(
        "import contextlib, socket\n"
        "def test_it():\n"
        "    with contextlib.suppress(RuntimeError):\n"
        "        socket.create_connection(('192.0.2.1', 443))\n"
    )
    ran = run_pytest(tmp_path)

    assert "tried to reach ['192.0.2.1']" in ran.stdout
    assert ran.returncode == 1


def test_loopback_is_in_reach() -> None:
    """A server on this machine can be reached."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        socket.create_connection(("localhost", server.getsockname()[1]), timeout=5).close()


@pytest.mark.parametrize(
    ("required", "workers", "returncode"),
    [
        ("", 0, 0),
        ("models", 1, 0),  # What is required reaches the workers, and so does where to look.
        ("postgres", 0, 1),
        ("all", 1, 1),
    ],
)
def test_a_missing_service_skips_or_fails(
    tmp_path: Path, required: str, workers: int, returncode: int, free_port: int
) -> None:
    """What is missing is skipped at a desk and fails where it is required."""
    (tmp_path / "conftest.py").write_text((ROOT / "tests/conftest.py").read_text())
    (tmp_path / "test_it.py").write_text(
        "import pytest\n@pytest.mark.postgres\ndef test_it():\n    pass\n"
    )
    ran = run_pytest(
        tmp_path,
        f"-n{workers}",
        SIGNALBOX_REQUIRE=required,
        SIGNALBOX_TEST_POSTGRES=f"postgresql://nobody@127.0.0.1:{free_port}/none",
    )

    assert returncode == ran.returncode, ran.stdout
    assert ("1 skipped" in ran.stdout) is (returncode == 0)


@pytest.mark.postgres
def test_each_new_database_is_empty_and_its_own(postgres_url: str, new_postgres_url: str) -> None:
    """A test's database is not the session's."""
    assert postgres_url != new_postgres_url

    with psycopg.connect(new_postgres_url) as connection:
        tables = connection.execute(
            "SELECT count(*) FROM information_schema.tables WHERE table_schema = 'public'"
        ).fetchone()

    assert tables == (0,)


def test_the_developers_settings_are_not_seen() -> None:
    """A key in the environment cannot turn a test into a call to a hosted model."""
    assert not [name for name in os.environ if name.startswith(("SIGNALBOX_", "LANGFUSE_"))]
