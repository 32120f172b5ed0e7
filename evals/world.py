"""Where suites play: the demo world in a folder of its own, on the models the settings name."""

from __future__ import annotations

import asyncio
import shutil
import sqlite3
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager, closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

from app.config import Settings, prepare_environment
from tools.values import Clock, Customer

if TYPE_CHECKING:
    from app.support_desk import SupportDesk

Progress = Callable[[str, int, int], None]

#: Longer than any lease and any grace time: with a clock that far ahead, what a dead process held is free.
LATER_SECONDS = 300


def quiet(what: str, done: int, total: int) -> None:
    """Progress that nobody looks at."""


def settings_in(folder: Path, **changes: Any) -> Settings:
    """The settings of the environment (so that other models can be graded too), but books and index of its
    own in ``folder``, and no traces."""
    own: dict[str, Any] = {
        "data_dir": folder,
        "database_url": "",
        "qdrant_url": None,
        "langfuse_public_key": None,
        "langfuse_secret_key": None,
    }
    return Settings(_env_file=None, **(own | changes))  # type: ignore[call-arg]


@asynccontextmanager
async def running(
    folder: Path, progress: Progress = quiet, *, clock: Clock | None = None, **changes: Any
) -> AsyncGenerator[SupportDesk]:
    """The real agent on ``folder``, with everything loaded."""
    settings = settings_in(folder, **changes)
    # Before LangGraph is imported, as in the server.
    prepare_environment(settings)
    from app.knowledge.knowledge import HybridKnowledge
    from app.wiring import wiring

    async with wiring(settings, progress, clock=clock) as desk:
        await models_ready(desk)
        somebody = (await desk.sign_in.demo_customers())[0]
        knowledge = desk.player.context_for(somebody, "").knowledge
        if isinstance(knowledge, HybridKnowledge):
            await knowledge.pruner_ready()
            await knowledge.sentences_ready()
        yield desk


async def models_ready(
    desk: SupportDesk, *, within: float = 120.0, restarts: int = 0
) -> dict[str, Any]:
    """Wait until the embedded model, started again ``restarts`` times, answers; its state."""
    elsewhere = {"state": "ready", "restarts": restarts}
    async with asyncio.timeout(within):
        while True:
            state: dict[str, Any] = (await desk.health()).get("embedded model", elsewhere)
            if state["state"] == "ready" and state["restarts"] >= restarts:
                return state
            await asyncio.sleep(0.05)


async def demo_customer(desk: SupportDesk, name: str) -> Customer:
    customer = await desk.sign_in.customer(name)
    assert customer is not None, f"the demo shop has no customer {name}"
    return customer


class Folders:
    """Data folders with a business's demo data in them; it is made once and copied."""

    def __init__(self, root: Path, progress: Progress = quiet) -> None:
        self._root = root
        self._progress = progress
        self._made = 0

    def prepared(self, domain: Path | None = None) -> Path:
        """A folder of its own, as a first start leaves it; of the business of the settings unless one is named."""
        folder = domain or Settings().domain
        template = self._root / f"template-{folder.name}"
        if not template.exists():
            asyncio.run(self._prepare(template, folder))
        self._made += 1
        copy = self._root / f"copy-{self._made}"
        shutil.copytree(template, copy)
        return copy

    def empty(self) -> Path:
        """Where nothing is yet, for a start on another day."""
        self._made += 1
        return self._root / f"empty-{self._made}"

    async def _prepare(self, template: Path, domain: Path) -> None:
        # Made elsewhere and moved: a half-made template must not be taken for one.
        draft = self._root / "draft"
        async with running(draft, self._progress, domain=domain):
            pass
        draft.rename(template)


def database_in(folder: Path) -> str:
    """The URL of the books in a data folder."""
    return f"sqlite:///{folder.absolute() / 'signalbox.db'}"


class Books:
    """The shop's database as a scenario finds it, so that the next one finds it the same."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / "signalbox.db"
        self._kept = sqlite3.connect(":memory:", check_same_thread=False)
        with closing(sqlite3.connect(self._path)) as live:
            live.backup(self._kept)

    def restore(self) -> None:
        with closing(sqlite3.connect(self._path, timeout=10)) as live:
            self._kept.backup(live)

    def close(self) -> None:
        self._kept.close()
