"""A candidate beside the live models: it makes the same decisions afterwards, and nobody acts on what it says."""

from __future__ import annotations

import asyncio
import hashlib
import logging
import time
from collections import deque
from collections.abc import AsyncGenerator, Collection, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from typing import Any, Protocol, cast

from langgraph.runtime import Runtime

from app.stores.decisions import SqlDecisionLog
from graphs.context import Actions, Again, Context, Overheard, Thresholds
from tools.decisions import Decision
from tools.intents import Intents
from tools.ports import Approvals, Backend, Encoder, Ledger, PortError, SmallModel
from tools.ports import Knowledge as KnowledgePort
from tools.ports import LargeModel as LargeModelPort

log = logging.getLogger(__name__)

#: Turns that may wait for the candidate; more are left out rather than kept in memory.
WAITING = 32
#: Seconds after a turn before the candidate begins: what is in the middle of a computation cannot be stopped.
QUIET = 0.25
#: Said behind a choice whose difference from the live one the mask would hide.
MASKED = " (differs in what is masked)"


class Pruning(Protocol):
    """Who looks chunks through for a candidate; it can do nothing else with the knowledge base."""

    async def prune(self, query: str, passages: Sequence[Any], *, keep: int = 4) -> list[Any]: ...
    @property
    def pruned_by(self) -> str: ...
    @property
    def pruner_digest(self) -> str: ...


class OutOfReach(Exception):
    """A candidate only decides: it may not write, answer, look anything up or run an operation."""

    def __init__(self, message: str | None = None) -> None:
        super().__init__(message or self.__doc__)


class _Closed:
    """In place of every port through which something could be done."""

    def __getattr__(self, name: str) -> Any:
        raise OutOfReach(f"A candidate asked for {name!r}. {OutOfReach.__doc__}")


@dataclass(frozen=True)
class Candidate:
    """What a folder of artefacts would decide with; what it does not bring is the live one's.

    ``roles``: whose decisions it makes again, because something that they depend on is its own."""

    digest: str
    roles: Collection[str]
    encoder: Encoder
    small: SmallModel
    thresholds: Thresholds
    intents: Intents
    pruning: Pruning | None = None
    large: LargeModelPort | None = None  #: Only one that costs nothing to ask.
    second_opinion: bool = True  #: Does its small model know its intents?

    def context(self, live: Context, decisions: SqlDecisionLog, heard: Overheard) -> Context:
        """The live context with the candidate's models, and closed to everything that has an effect."""
        closed: Any = _Closed()
        return replace(
            live,
            encoder=self.encoder,
            small=self.small,
            large=self.large or cast("LargeModelPort", closed),
            knowledge=cast("KnowledgePort", self.pruning or closed),
            thresholds=self.thresholds,
            intents=self.intents,
            second_opinion=self.second_opinion,
            decisions=_Aside(decisions, self.digest, heard.chosen),
            backend=cast("Backend", closed),
            ledger=cast("Ledger", closed),
            approvals=cast("Approvals", closed),
            actions=cast("Actions", closed),
            audit=None,
            answers=None,
            reviewer=None,
            overheard=None,
        )


@dataclass(frozen=True)
class _Aside:
    """The decision log as a candidate sees it: everything is marked as its own."""

    log: SqlDecisionLog
    digest: str
    heard: dict[tuple[str, str], str]  #: What the live one chose, by role and input.

    async def record(
        self, *, tenant: str, thread: str, turn: str, input: str, decisions: Sequence[Decision]
    ) -> None:
        await self.log.record(
            tenant=tenant,
            thread=thread,
            turn=turn,
            input=input,
            decisions=[self._told_apart(each, input) for each in decisions],
            shadow=self.digest,
        )

    def _told_apart(self, decision: Decision, input: str) -> Decision:
        """Two addresses look alike once they are masked; that they differ is no secret."""
        live, mask = self.heard.get((decision.role, input)), self.log.mask
        if live is None or live == decision.chosen or mask(live) != mask(decision.chosen):
            return decision
        return decision.model_copy(update={"chosen": decision.chosen + MASKED})


@dataclass
class _Work:
    """A turn's decisions that the candidate has still to make."""

    context: Context
    left: deque[Again]


@dataclass
class Shadow:
    """Makes a share of the turns' decisions again when no turn is being played."""

    candidate: Candidate
    decisions: SqlDecisionLog
    share: float
    counts: dict[str, int] = field(
        default_factory=lambda: {"offered": 0, "compared": 0, "dropped": 0, "failed": 0}
    )
    _queue: asyncio.Queue[_Work] = field(default_factory=lambda: asyncio.Queue[_Work](WAITING))
    _idle: asyncio.Event = field(default_factory=asyncio.Event)
    _playing: int = 0
    _ended: float = -QUIET  #: When the last turn did.
    _at_it: asyncio.Task[Any] | None = None

    def __post_init__(self) -> None:
        self._idle.set()

    @asynccontextmanager
    async def aside(self) -> AsyncGenerator[None]:
        """A turn is played inside the block: the candidate stops what it is at, and waits until none is."""
        self._playing += 1
        self._idle.clear()
        if self._at_it is not None:
            self._at_it.cancel()
        try:
            yield
        finally:
            self._playing -= 1
            if self._playing == 0:
                self._ended = time.monotonic()
                self._idle.set()

    def listening(self, context: Context, turn: str) -> Context:
        """The context in which a turn of the share is overheard; of another turn, as it is."""
        return replace(context, overheard=Overheard()) if chosen(turn, self.share) else context

    def offer(self, live: Context) -> None:
        """Let the candidate make this turn's decisions later, if some concern it and there is room."""
        heard = live.overheard
        again = (
            [each for role, each in heard.again if role in self.candidate.roles] if heard else []
        )
        if heard is None or not again:
            return
        self.counts["offered"] += 1
        context = self.candidate.context(live, self.decisions, heard)
        try:
            self._queue.put_nowait(_Work(context, deque(again)))
        except asyncio.QueueFull:
            self.counts["dropped"] += 1

    @asynccontextmanager
    async def reading(self) -> AsyncGenerator[None]:
        """The candidate reads in the background until the block ends."""
        task = asyncio.create_task(self._read_forever(), name="shadow")
        try:
            yield
        finally:
            task.cancel()
            await asyncio.wait([task])

    async def drain(self) -> None:
        """Wait until everything offered so far was read."""
        await self._queue.join()

    async def _read_forever(self) -> None:
        while True:
            work = await self._queue.get()
            try:
                await self._read(work)
                self.counts["compared"] += 1
            except (PortError, OutOfReach) as error:
                self.counts["failed"] += 1
                log.warning("shadow: %s", error)
            except Exception:
                # Whatever is wrong with a candidate is found in the log, never by a customer.
                self.counts["failed"] += 1
                log.exception("shadow: the candidate broke")
            finally:
                self._queue.task_done()

    async def _read(self, work: _Work) -> None:
        runtime = Runtime(context=work.context, stream_writer=lambda _: None)
        while work.left:
            await self._quiet()
            self._at_it = asyncio.ensure_future(work.left[0](runtime))
            try:
                await asyncio.wait([self._at_it])
            finally:
                # Whoever ends the reading ends what is read, too.
                self._at_it.cancel()
                done, self._at_it = self._at_it, None
            if done.cancelled():
                continue  # A turn came in between: from the beginning, once it is over.
            work.left.popleft()
            done.result()

    async def _quiet(self) -> None:
        """Wait until no turn was played for a moment."""
        await self._idle.wait()
        while (pause := self._ended + QUIET - time.monotonic()) > 0:
            await asyncio.sleep(pause)
            await self._idle.wait()


def chosen(turn: str, share: float) -> bool:
    """Whether a turn belongs to the share: the same answer for the same turn, in every process."""
    number = int.from_bytes(hashlib.sha256(turn.encode()).digest()[:8], "big")
    return number < share * 2**64
