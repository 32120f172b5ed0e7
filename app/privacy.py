"""A customer's words: handed out as one document, and erased.

Erasing goes conversation by conversation, each under its hold: a turn that runs there comes to its end first, and one
that waits finds the conversation gone. What a dead process left half done is gone on with by any other."""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Protocol

from langchain_core.messages import BaseMessage
from langgraph.types import StateSnapshot
from pydantic import JsonValue, TypeAdapter

from app.answer_cache import ProcessAnswers
from app.stores.holds import SqlHolds
from app.stores.privacy import Erasure, Open, SqlPrivacy, StillOpen
from app.stores.sizes import earliest_of
from tools.domain import Books
from tools.values import Clock, Customer, Record

log = logging.getLogger(__name__)

_JSON = TypeAdapter[Any](object)


class Checkpoints(Protocol):
    """What the savers of both databases offer."""

    async def adelete_thread(self, thread_id: str) -> None: ...
    async def acts_of(self, thread: str) -> list[str]:
        """The threads of actions that were proposed on this one."""
        ...

    async def newest(self, thread: str) -> str | None:
        """The id of a thread's newest checkpoint."""
        ...

    async def idle_since(self, moment: datetime, limit: int, *, acts: bool) -> list[str]: ...
    async def vacuum(self) -> None: ...
    async def scrub(self) -> None:
        """Leave nothing of what was deleted in the files, where that is ours to do."""
        ...


class Conversations(Protocol):
    """The support graph, as far as it is read here."""

    async def aget_state(self, config: Any) -> StateSnapshot: ...


class NothingKept(Exception):
    """Nothing is kept of a customer with this id."""


class Erased(Record):
    """What an erasure did: how many rows of each kind."""

    customer: str
    begun_at: datetime
    finished_at: datetime
    gone: dict[str, int]


@dataclass
class Privacy:
    """What is kept of a customer, from every store."""

    rows: SqlPrivacy
    support: Conversations
    saver: Checkpoints
    holds: SqlHolds
    books: Books
    clock: Clock
    answers: ProcessAnswers | None = None  #: This process's own memory of questions.
    #: Called with the name of each step once it is committed.
    passed: Callable[[str], None] = lambda _: None
    _seen: datetime | None = None

    async def export(self, tenant: str, customer: str) -> dict[str, JsonValue]:
        """Everything that is kept of a customer's words, readable, by kind. Raises NothingKept."""
        known = await asyncio.to_thread(self.rows.threads, tenant, customer, self.clock.now())
        found = await asyncio.to_thread(self.rows.rows, tenant, customer, known)
        who = await self._known(tenant, customer)
        tickets = await self.books.tickets(customer, tenant)
        if who is None and not tickets and not any(found.values()):
            raise NothingKept
        said = {thread: await self._said(thread) for thread in known}
        return _JSON.dump_python(
            {
                "customer": customer,
                "tenant": tenant,
                "exported_at": self.clock.now(),
                "profile": who,
                "messages": said,
                "tickets": tickets,
                **found,
            },
            mode="json",
            fallback=str,
        )

    async def open(self, tenant: str, customer: str) -> list[Open]:
        """What has to come to its end before this customer's words can be erased."""
        return await asyncio.to_thread(self.rows.open, tenant, customer)

    async def erase(self, tenant: str, customer: str, by: str) -> Erased:
        """Erase a customer's words everywhere; a second time finds nothing more. Raises StillOpen or NothingKept."""
        # Of an id that was mistyped nothing is written down.
        if await self._known(tenant, customer) is None:
            await self.export(tenant, customer)
        return await self._erase(await asyncio.to_thread(self.rows.begin, tenant, customer, by))

    async def go_on(self) -> None:
        """Finish what a dead process left undone, and forget in this process what was erased by another."""
        for erasure in await asyncio.to_thread(self.rows.due):
            try:
                await self._erase(erasure)
            except StillOpen as error:
                log.warning("an erasure waits for %d open actions", len(error.items))
        last = await asyncio.to_thread(self.rows.last)
        if last is not None and last != self._seen:
            self._seen = last
            if self.answers is not None:
                self.answers.kept.clear()

    async def forget(
        self, thread: str, tenant: str, *, actor: str, why: str, before: datetime | None = None
    ) -> Counter[str]:
        """Erase one conversation: its checkpoints, those of its actions, and every row about it. Raises StillOpen.

        ``before``: only if nobody wrote on it since then."""
        async with AsyncExitStack() as stack:
            await stack.enter_async_context(self.holds.holding(thread))
            if before is not None and await self._written_since(thread, before):
                return Counter()
            acts = {*await asyncio.to_thread(self.rows.actions, thread)}
            acts |= {*await self.saver.acts_of(thread)}
            for act in sorted(acts):
                # A process that slept over its action finds it somebody else's, too.
                async with self.holds.holding(act):
                    await self.saver.adelete_thread(act)
            await self.saver.adelete_thread(thread)
            self.passed("checkpoints")
            gone = await asyncio.to_thread(
                self.rows.forget_thread, thread, tenant=tenant, actor=actor, why=why
            )
        self.passed("conversation")
        return gone

    async def _erase(self, erasure: Erasure) -> Erased:
        tenant, customer = erasure.tenant, erasure.customer
        self.passed("begun")
        gone = Counter[str]()
        by = f"operator:{erasure.begun_by}"
        for thread in await asyncio.to_thread(
            self.rows.threads, tenant, customer, erasure.begun_at
        ):
            gone += await self.forget(thread, tenant, actor=by, why="asked for")
        gone += await asyncio.to_thread(self.rows.finish, erasure, self.books.forget)
        self.passed("finished")
        if self.answers is not None:
            self.answers.kept.clear()
        await asyncio.to_thread(self.rows.scrub)
        await self.saver.scrub()
        log.info("the words of a customer were erased: %s", dict(gone))
        return Erased(
            customer=customer,
            begun_at=erasure.begun_at,
            finished_at=self.clock.now(),
            gone=dict(gone),
        )

    async def _known(self, tenant: str, customer: str) -> Customer | None:
        who = await self.books.customers.find(customer)
        return who if who is not None and who.tenant == tenant else None

    async def _written_since(self, thread: str, moment: datetime) -> bool:
        newest = await self.saver.newest(thread)
        return newest is not None and newest >= earliest_of(moment)

    async def _said(self, thread: str) -> list[dict[str, JsonValue]]:
        state = await self.support.aget_state({"configurable": {"thread_id": thread}})
        messages: Sequence[BaseMessage] = state.values.get("messages", ())
        return [
            {"from": each.name or each.type, "text": each.text, **each.additional_kwargs}
            for each in messages
        ]
