"""A candidate beside the live router: it reads the same messages afterwards, and nobody acts on what it says."""

from __future__ import annotations

import asyncio
import hashlib
import logging
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from typing import Any, cast

from langchain_core.messages import AnyMessage, HumanMessage
from langgraph.runtime import Runtime

from app.stores.decisions import SqlDecisionLog
from graphs.context import Context, Thresholds
from graphs.intents import Intents
from graphs.nodes.turn import route
from graphs.state import SupportState, Turn
from tools.domain import Decision
from tools.ports import Encoder, PortError, SmallModel

log = logging.getLogger(__name__)

#: Messages that may wait for the candidate; more are left out rather than kept in memory.
WAITING = 32


@dataclass(frozen=True)
class Candidate:
    """What a folder of artefacts would decide with; what it does not bring is the live one's."""

    digest: str
    encoder: Encoder
    small: SmallModel
    thresholds: Thresholds
    intents: Intents

    def context(self, live: Context, decisions: SqlDecisionLog) -> Context:
        """The live context with the candidate's models, writing where it takes no effect."""
        return replace(
            live,
            encoder=self.encoder,
            small=self.small,
            thresholds=self.thresholds,
            intents=self.intents,
            decisions=_Aside(decisions, self.digest),
        )


@dataclass(frozen=True)
class _Aside:
    """The decision log as a candidate sees it: everything is marked as its own."""

    log: SqlDecisionLog
    digest: str

    async def record(
        self, *, tenant: str, thread: str, turn: str, input: str, decisions: Sequence[Decision]
    ) -> None:
        await self.log.record(
            tenant=tenant,
            thread=thread,
            turn=turn,
            input=input,
            decisions=decisions,
            shadow=self.digest,
        )


@dataclass
class Shadow:
    """Reads a share of the messages again when no turn is being played."""

    candidate: Candidate
    decisions: SqlDecisionLog
    share: float
    counts: dict[str, int] = field(
        default_factory=lambda: {"offered": 0, "compared": 0, "dropped": 0, "failed": 0}
    )
    _queue: asyncio.Queue[Callable[[], Any]] = field(
        default_factory=lambda: asyncio.Queue[Callable[[], Any]](WAITING)
    )
    _idle: asyncio.Event = field(default_factory=asyncio.Event)
    _playing: int = 0

    def __post_init__(self) -> None:
        self._idle.set()

    @asynccontextmanager
    async def aside(self) -> AsyncGenerator[None]:
        """A turn is played inside the block; the candidate waits until none is."""
        self._playing += 1
        self._idle.clear()
        try:
            yield
        finally:
            self._playing -= 1
            if self._playing == 0:
                self._idle.set()

    def offer(self, live: Context, turn: Turn, before: SupportState) -> None:
        """Let the candidate read this turn's message later, if it belongs to the share and there is room.

        ``before`` is the thread as it was when the message came."""
        if not chosen(turn.id, self.share):
            return
        self.counts["offered"] += 1
        context = self.candidate.context(live, self.decisions)
        try:
            self._queue.put_nowait(lambda: self._read(context, turn, before))
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
            await self._idle.wait()
            try:
                await work()
                self.counts["compared"] += 1
            except PortError as error:
                self.counts["failed"] += 1
                log.warning("shadow: %s", error)
            except Exception:
                # Whatever is wrong with a candidate is found in the log, never by a customer.
                self.counts["failed"] += 1
                log.exception("shadow: the candidate broke")
            finally:
                self._queue.task_done()

    async def _read(self, context: Context, turn: Turn, before: SupportState) -> None:
        said = HumanMessage(turn.text, id=f"{turn.id}:in")
        messages: list[AnyMessage] = [*before.get("messages", []), said]
        state = cast("SupportState", {**before, "turn": turn, "messages": messages})
        await route(state, Runtime(context=context, stream_writer=lambda _: None))


def chosen(turn: str, share: float) -> bool:
    """Whether a turn belongs to the share: the same answer for the same turn, in every process."""
    number = int.from_bytes(hashlib.sha256(turn.encode()).digest()[:8], "big")
    return number < share * 2**64
