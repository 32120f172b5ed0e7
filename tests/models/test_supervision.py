"""The child process of the embedded model is watched: killed, hung, orphaned or broken, it is no one's end."""

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from app.models.embedded import EmbeddedServer, EmbeddedSmallModel
from app.models.manifest import Manifest, base_model
from tools.ports import ModelUnavailable

pytestmark = [pytest.mark.models, pytest.mark.process]


def alive(pid: int) -> bool:
    """Whether the process runs; a zombie does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except FileNotFoundError:
        return False


async def test_a_killed_child_is_restarted_and_the_waiting_request_answered(
    manifest: Manifest,
) -> None:
    """Requests in flight and right after a SIGKILL succeed within their own time-out."""
    async with EmbeddedServer(base_model(), manifest.adapter_paths()) as server:
        model = EmbeddedSmallModel(server, manifest, timeout_for=lambda role: 30.0)
        await model.choose("router", "Hi", ["order", "other"])
        assert server.pid
        waiting = asyncio.create_task(model.write("formatter", "Tell a story.", max_tokens=200))
        await asyncio.sleep(0.2)

        os.kill(server.pid, signal.SIGKILL)
        after = await model.choose("router", "Hi", ["order", "other"])
        await asyncio.wait([waiting])

        assert after.option in ("order", "other")
        assert not isinstance(waiting.exception(), ModelUnavailable)
        assert server.status()["restarts"] == 1
        assert server.status()["state"] == "ready"


async def test_a_hung_child_is_ended_and_restarted(manifest: Manifest) -> None:
    """The request that meets a SIGSTOP times out on time; the next one is answered by a new child."""
    async with EmbeddedServer(base_model(), manifest.adapter_paths()) as server:
        await server.ready(within=60)
        hung = server.pid
        assert hung
        os.kill(hung, signal.SIGSTOP)

        async with tenths() as waited:
            with pytest.raises(ModelUnavailable, match=r"did not answer within 1\.0 s"):
                await EmbeddedSmallModel(server, manifest, timeout_for=lambda role: 1.0).choose(
                    "router", "Hi", ["order", "other"]
                )

        assert len(waited) < 15
        patient = EmbeddedSmallModel(server, manifest, timeout_for=lambda role: 60.0)
        await asyncio.sleep(1.5)
        assert (await patient.choose("router", "Hi", ["order", "other"])).ms < 60_000
        assert not alive(hung)
        assert server.pid != hung


async def test_callers_wait_for_a_start_no_longer_than_they_said(tmp_path: Path) -> None:
    """A model file that cannot be loaded leaves the server trying with growing pauses, and callers free."""
    broken = tmp_path / "broken.gguf"
    broken.write_bytes(b"GGUF and nothing more")
    async with EmbeddedServer(broken) as server:
        async with tenths() as waited:
            with pytest.raises(ModelUnavailable, match=r"is not ready.*last: it ended with code"):
                await server.ready(within=3.0)

        assert len(waited) < 35
        assert server.status()["state"] == "restarting"
        # Without back-off there would be a dozen.
        assert 1 <= server.status()["restarts"] <= 6


async def test_leaving_ends_the_child(manifest: Manifest) -> None:
    """No process is left behind, and the port's answer is gone."""
    async with EmbeddedServer(base_model()) as server:
        await server.ready(within=60)
        pid = server.pid
        assert pid
        assert await server.healthy()

    assert not alive(pid)
    assert server.status()["pid"] is None


def test_a_missing_model_file_is_told_at_once(tmp_path: Path) -> None:
    """Construction fails, not the first customer's request."""
    with pytest.raises(FileNotFoundError, match="make install"):
        EmbeddedServer(tmp_path / "none.gguf")


@asynccontextmanager
async def tenths() -> AsyncGenerator[list[int]]:
    """The tenths of a second that this process was awake for, which on a busy machine are fewer than passed."""
    waited: list[int] = []

    async def wait() -> None:
        while True:
            await asyncio.sleep(0.1)
            waited.append(len(waited))

    ticking = asyncio.create_task(wait())
    yield waited
    ticking.cancel()


_PARENT = """
import asyncio
from app.models.embedded import EmbeddedServer
from app.models.manifest import base_model

async def main():
    async with EmbeddedServer(base_model()) as server:
        await server.ready(within=60)
        print(server.pid, flush=True)
        await asyncio.sleep(60)

asyncio.run(main())
"""


def test_the_child_does_not_outlive_a_killed_parent() -> None:
    """After a kill -9 of the agent nothing can tidy up; the child sees its input close and ends."""
    root = Path(__file__).resolve().parents[2]
    with subprocess.Popen(
        [sys.executable, "-c", _PARENT], stdout=subprocess.PIPE, cwd=root, text=True
    ) as parent:
        assert parent.stdout
        child = int(parent.stdout.readline())
        assert alive(child)

        parent.kill()
        parent.wait()

    deadline = time.monotonic() + 5
    while alive(child) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not alive(child)
