"""The customers' room: their conversations, and one turn after the other."""

from __future__ import annotations

import asyncio
import hashlib
import json
import logging
import time
import uuid
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, nullcontext, suppress
from dataclasses import dataclass
from datetime import datetime

from pydantic import JsonValue

from app.desk import (
    Event,
    KeyConflict,
    KeyInFlight,
    Message,
    ThreadNotFound,
    ThreadSummary,
    TurnNotFound,
)
from app.inbox import TURN, shown
from app.rooms.outcomes import noted_on
from app.rooms.playing import TurnPlayer
from app.stores.fences import HoldLost, kept
from app.stores.holds import SqlHolds
from app.stores.traces import SqlRatings
from app.stores.turns import Conflict, Fresh, InFlight, Replay, SqlThreads, SqlTurns, Thread
from graphs import replies
from graphs.state import Turn
from tools.ports import PortError
from tools.values import Customer

log = logging.getLogger(__name__)

#: After how long an answer that another process works on is looked for again, and the longest such pause.
ANSWER_POLL_SECONDS, ANSWER_POLL_LONGEST = 0.05, 0.5
#: How often a turn begins again when another process got its thread meanwhile.
TAKEN_OVER = 5


@dataclass(frozen=True)
class Asked:
    """One message of a customer's."""

    customer: Customer
    thread: str
    text: str
    key: str | None
    title: str  #: Of its thread, so far.
    turn: str


@dataclass
class SupportTurns:
    """Takes customers' messages, each once for its key, and answers them."""

    player: TurnPlayer
    keys: SqlTurns
    store: SqlThreads
    ratings: SqlRatings
    holds: SqlHolds
    #: How long a message that is being answered already is waited for.
    wait_seconds: float = 25.0

    async def open_thread(self, customer: Customer, *, key: str | None = None) -> str:
        # Nobody can guess the id without the secret part of the session: it is checked for its owner.
        name = None if key is None else f"th_{digest_of(customer.tenant, customer.id, key)[:32]}"
        return (await self.store.create(customer.tenant, customer.id, id=name)).id

    async def threads(self, customer: Customer) -> list[ThreadSummary]:
        found = await self.store.list_for_customer(customer.tenant, customer.id)
        return [
            ThreadSummary(
                id=t.id,
                title=t.title,
                created_at=t.created_at,
                handed_off=t.handed_off,
                claimed=t.claimed_by is not None,
            )
            for t in found
        ]

    def opens(self, customer: Customer) -> datetime | None:
        return self.player.context_for(customer, "").opens()

    async def history(self, customer: Customer, thread: str) -> list[Message]:
        await self._owned(customer, thread)
        messages = [message for m in await self.player.messages(thread) if (message := shown(m))]
        rated = await self.ratings.of(m.turn for m in messages if m.turn is not None)
        return [m.model_copy(update={"good": rated.get(m.turn or "")}) for m in messages]

    async def rate(
        self, customer: Customer, thread: str, turn: str, *, good: bool, comment: str = ""
    ) -> None:
        await self._owned(customer, thread)
        if not any(m.id == f"{turn}:out" for m in await self.player.messages(thread)):
            raise TurnNotFound
        await self.ratings.rate(
            customer.tenant, customer.id, thread, turn, good=good, comment=comment
        )
        await self.player.tracing.rated(turn, good=good, comment=comment)

    async def play(
        self, customer: Customer, thread: str, text: str, *, key: str | None = None
    ) -> AsyncIterator[Event]:
        owned = await self._owned(customer, thread)
        # A retry after a crash is the same turn: same message ids, same action keys.
        turn = f"{TURN}{uuid.uuid4().hex[:20]}" if key is None else turn_id_of(customer, key)
        asked = Asked(customer, thread, text, key, owned.title, turn)
        claim: Fresh | None = None
        if key is not None:
            match await self._begun(asked):
                case Replay() as known:
                    for event in _stored(known):
                        yield event
                    return
                case InFlight():
                    raise KeyInFlight
                case Conflict():
                    raise KeyConflict
                case Fresh() as claim:
                    pass
        # In a task of its own, so that a lost hold ends the turn, and not whoever reads its events.
        async for event in streamed(lambda tell: self._answer(asked, claim, tell)):
            yield event

    async def _begun(self, asked: Asked) -> Fresh | Replay | InFlight | Conflict:
        """Take the message's key; while another process, or another click, is at it, wait for its answer."""
        customer, pause = asked.customer, ANSWER_POLL_SECONDS
        until = time.monotonic() + self.wait_seconds
        while True:
            begun = await self.keys.begin(
                customer.tenant, customer.id, asked.key or "", digest_of(asked.thread, asked.text)
            )
            if not isinstance(begun, InFlight) or time.monotonic() > until:
                return begun
            await asyncio.sleep(pause)
            pause = min(pause * 1.5, ANSWER_POLL_LONGEST)

    async def _answer(
        self, asked: Asked, claim: Fresh | None, tell: Callable[[Event], None]
    ) -> None:
        """Play the turn under its holds; where they are lost, tell what whoever took over answers."""
        context = self.player.context(asked.customer, asked.thread)
        # What is longer is refused; no more of it than shows that comes into any checkpoint.
        text = asked.text[: context.limits.message_chars + 1]
        turn = Turn(id=asked.turn, text=text, at=context.clock.now())
        answered = False
        try:
            for _ in range(TAKEN_OVER):
                events: list[Event] = []
                lost = False
                try:
                    async with (
                        self.player.budgets.paying(turn.id, asked.thread, asked.customer) as purse,
                        self._keeping(claim),
                        self.holds.holding(asked.thread),
                        self.player.first(),
                    ):
                        async for event in self.player.play(turn, context):
                            events.append(event)
                            tell(event)
                            answered = answered or event.event == "final"
                        noted_on(purse, events, context)
                except HoldLost:
                    lost = True
                    log.warning("turn %s of thread %s goes on elsewhere", turn.id, asked.thread)
                if answered:
                    await self._settle(claim, events, asked)
                if answered or not lost:
                    return
                # Is the key still ours? Then whoever had the thread played something else on it.
                if claim is not None and not await self.keys.renew(claim):
                    # Whoever has the key answers; its answer is the one that stands in the thread.
                    match await self._begun(asked):
                        case Replay() as known:
                            for event in _stored(known):
                                tell(event)
                            return
                        case Fresh() as claim:
                            pass
                        case _:
                            break
            tell(_elsewhere())
        except PortError as error:
            log.warning("turn %s of thread %s failed: %s", turn.id, asked.thread, error)
            if not answered:
                tell(_failed())
        finally:
            if claim is not None and not answered:
                with suppress(PortError):  # Its lease ends it, later.
                    await asyncio.shield(self.keys.abandon(claim))

    def _keeping(self, claim: Fresh | None) -> AbstractAsyncContextManager[None]:
        if claim is None:
            return nullcontext()
        return kept(lambda: self.keys.renew(claim), self.holds.beat)

    async def _settle(self, claim: Fresh | None, events: list[Event], asked: Asked) -> None:
        """Store what a retry would get. The thread has the answer already, so nothing here may deny it."""
        try:
            if claim is not None:
                answer: list[JsonValue] = [event.model_dump(mode="json") for event in events]
                await asyncio.shield(self.keys.finish(claim, answer))
            if not asked.title and asked.text.strip():
                title = " ".join(asked.text.split())[:60]
                await asyncio.shield(self.store.set_title(asked.thread, title))
        except PortError as error:
            log.warning("the answer to turn %s is not stored for a retry: %s", asked.turn, error)

    async def _owned(self, customer: Customer, thread: str) -> Thread:
        owned = await self.store.owner(thread, customer.tenant, customer.id)
        if owned is None:
            raise ThreadNotFound
        return owned


def turn_id_of(customer: Customer, key: str) -> str:
    """The turn that a customer's key names."""
    return f"{TURN}{digest_of(customer.tenant, customer.id, key)[:20]}"


def digest_of(*parts: str) -> str:
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()


async def streamed(
    work: Callable[[Callable[[Event], None]], Awaitable[None]],
) -> AsyncGenerator[Event]:
    """What the work tells, as it happens; it is ended when nobody reads on."""
    events: asyncio.Queue[Event | None] = asyncio.Queue()

    async def run() -> None:
        try:
            await work(events.put_nowait)
        finally:
            events.put_nowait(None)

    task = asyncio.create_task(run())
    try:
        while (event := await events.get()) is not None:
            yield event
        await task
    finally:
        task.cancel()
        await asyncio.wait([task])
        if not task.cancelled():
            task.exception()  # Raised above, or nobody is left to raise it to.


def _stored(known: Replay) -> list[Event]:
    stored = known.response if isinstance(known.response, list) else []
    return [Event.model_validate(event) for event in stored]


def _elsewhere() -> Event:
    return Event(
        event="error", data={"text": replies.elsewhere(), "retry": True, "elsewhere": True}
    )


def _failed() -> Event:
    return Event(event="error", data={"text": replies.apology(), "retry": True})
