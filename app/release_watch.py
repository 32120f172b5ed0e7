"""A running app follows the release file: what is promoted or rolled back decides from the next turn on."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass

from app.health import Checks, check
from app.models.manifest import ManifestError
from app.models.release import ReleaseError, Releases
from tools.intents import IntentsInvalid
from tools.ports import PortError
from tools.values import Record

log = logging.getLogger(__name__)

#: How often the release file is looked at, in seconds.
LOOKS = 3.0


class ReleaseState(Record):
    """What decides in this process, and why the last change is not what does."""

    digest: str | None = None  #: None: what is shipped.
    problem: str | None = None


@dataclass
class ReleaseWatch:
    """``take_up`` makes what is live the models of new turns; where it raises, the old ones stay."""

    releases: Releases
    take_up: Callable[[], Awaitable[None]]
    state: ReleaseState
    _seen: int = -1  #: Changes in the file at the last look; -1: it could not be read.

    @classmethod
    def of(cls, releases: Releases, take_up: Callable[[], Awaitable[None]]) -> ReleaseWatch:
        """From here on: make it before the models are opened, so that no change falls in between."""
        try:
            changes = releases.history()
        except ReleaseError as error:
            return cls(releases, take_up, ReleaseState(problem=str(error)))
        digest = changes[-1].digest if changes else None
        return cls(releases, take_up, ReleaseState(digest=digest), len(changes))

    @asynccontextmanager
    async def watching(self) -> AsyncGenerator[None]:
        """Follows in the background until the block ends."""
        task = asyncio.create_task(self._look_forever(), name="releases")
        try:
            yield
        finally:
            task.cancel()
            await asyncio.wait([task])

    async def health(self) -> Checks:
        """Whether the last change is what decides."""
        return {"release": check(self.state.problem, digest=self.state.digest)}

    async def look(self) -> None:
        """Take up what has changed since the last look. A release that is not sound is tried once: promote
        again, or roll back."""
        try:
            changes = await asyncio.to_thread(self.releases.history)
        except PortError:
            return  # /ready says that the database is away; nothing was changed meanwhile.
        except ReleaseError as error:
            self._seen = -1
            self._keep(str(error))
            return
        if len(changes) == self._seen:
            return
        self._seen = len(changes)
        digest = changes[-1].digest if changes else None
        try:
            await self.take_up()
        except (ReleaseError, ManifestError, IntentsInvalid, PortError, OSError) as error:
            self._keep(f"release {(digest or 'shipped')[:12]} is not taken up: {error}")
        else:
            self.state = ReleaseState(digest=digest)
            log.info("new turns are decided by release %s", (digest or "shipped")[:12])

    def _keep(self, problem: str) -> None:
        if problem != self.state.problem:
            log.error("%s; the models that run stay", problem)
            self.state = self.state.model_copy(update={"problem": problem})

    async def _look_forever(self) -> None:
        while True:
            await asyncio.sleep(LOOKS)
            try:
                await self.look()
            except Exception as error:
                # A release that breaks in a new way must not end the watch; the old models decide.
                log.exception("the release could not be taken up")
                self._keep(f"the release could not be taken up: {error!r}")
