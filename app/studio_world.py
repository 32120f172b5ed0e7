"""What the graphs of `langgraph dev` run on: books of their own, or the real wiring."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Protocol

from langgraph.checkpoint.memory import InMemorySaver

from app.config import Settings, prepare_environment
from app.domains import domain_of, replies_of
from app.models.embedded import EmbeddedServer, EmbeddedSmallModel
from app.models.encoder import OnnxEncoder
from app.models.large import EmbeddedLargeModel
from app.models.manifest import ManifestError, base_model, manifest_for
from app.stores.approvals import SqlApprovals
from app.stores.database import create_engine, migrate
from app.stores.ledger import SqlLedger
from app.stores.requests import SqlRequests
from app.warming import warm_reading
from graphs.action import ActionGraph
from graphs.context import Context
from tools.domain import Books, Opening
from tools.memory import MemoryDecisionLog
from tools.policy import FilePolicy
from tools.ports import Knowledge, Passage, PortError
from tools.values import Clock, Reviewer

if TYPE_CHECKING:
    from app.support_desk import SupportDesk

log = logging.getLogger(__name__)

#: Who asks and who approves, where a run does not say.
CUSTOMER, REVIEWER = "ana", "studio"
#: Generous: a person watches, and the machine may be busy with Studio itself.
SECONDS = 30.0


class NoSuchCustomer(ValueError):
    """There is no customer of this id."""


class KnowledgeNotRead(PortError):
    """The knowledge base could not be read; the next question tries again."""


class World(Protocol):
    """Where a run gets its context from."""

    def running(self) -> AbstractAsyncContextManager[None]:
        """What the runs need, for as long as the server runs."""
        ...

    async def context(self, customer: str, reviewer: str, thread: str) -> Context:
        """Raises NoSuchCustomer."""
        ...


class LateKnowledge:
    """The knowledge base while it is being read: the first question waits for it, and one that could not be
    read is tried again."""

    def __init__(self, open_it: Callable[[], Awaitable[Knowledge]]) -> None:
        self._open = open_it
        self._opening: asyncio.Task[Knowledge] | None = None

    def begin(self) -> asyncio.Task[Knowledge]:
        """The attempt that runs or succeeded; a new one where there is none such."""
        task = self._opening
        if task is None or (task.done() and (task.cancelled() or task.exception() is not None)):
            task = self._opening = asyncio.create_task(self._opened())
        return task

    async def _opened(self) -> Knowledge:
        return await self._open()

    async def close(self) -> None:
        if self._opening is not None:
            self._opening.cancel()
            await asyncio.wait([self._opening])

    async def retrieve(
        self,
        query: str,
        *,
        limit: int = 15,
        audience: str = "public",
        tenant: str | None = None,
        language: str | None = None,
    ) -> list[Passage]:
        knowledge = await self._ready()
        return await knowledge.retrieve(
            query, limit=limit, audience=audience, tenant=tenant, language=language
        )

    async def nearest(
        self,
        question: str,
        *,
        limit: int,
        tenant: str | None = None,
        language: str | None = None,
    ) -> list[Passage]:
        return await (await self._ready()).nearest(
            question, limit=limit, tenant=tenant, language=language
        )

    async def prune(
        self, query: str, passages: Sequence[Passage], *, keep: int = 4
    ) -> list[Passage]:
        return await (await self._ready()).prune(query, passages, keep=keep)

    async def _ready(self) -> Knowledge:
        try:
            return await asyncio.shield(self.begin())
        except (OSError, RuntimeError, ManifestError) as error:
            log.exception("the knowledge base could not be read")
            raise KnowledgeNotRead(f"{KnowledgeNotRead.__doc__} ({error})") from error

    def _there(self) -> Knowledge | None:
        task = self._opening
        if task is None or not task.done() or task.cancelled() or task.exception() is not None:
            return None
        return task.result()

    @property
    def version(self) -> str:
        there = self._there()
        return "opening" if there is None else there.version

    @property
    def pruned_by(self) -> str:
        there = self._there()
        return "opening" if there is None else there.pruned_by

    @property
    def pruner_digest(self) -> str:
        there = self._there()
        return "" if there is None else there.pruner_digest


def _patient(role: str) -> float:
    return SECONDS


class DemoWorld:
    """Fresh books for all of Studio's runs, and the embedded models."""

    def __init__(self, settings: Settings) -> None:
        prepare_environment(settings)
        base = base_model()
        self._domain, self._settings = domain_of(settings), settings
        manifest = manifest_for(self._domain, base=base)
        self._folder = settings.data_dir / "studio"
        self._articles = settings.knowledge_dir
        self._server = EmbeddedServer(base, manifest.adapter_paths())
        self._large = EmbeddedLargeModel(self._server, timeout_for=_patient)
        self._encoder = OnnxEncoder(manifest)
        self._knowledge = LateKnowledge(self._open_knowledge)
        self._closing = AsyncExitStack()
        self._small = EmbeddedSmallModel(self._server, manifest, timeout_for=_patient)
        self._actions = ActionGraph(InMemorySaver())
        self._books: Books
        self._common: Context

    @asynccontextmanager
    async def running(self) -> AsyncGenerator[None]:
        """The models and the knowledge base, for as long as the server runs."""
        async with self._server, self._closing:
            await asyncio.to_thread(warm_reading)
            await self._open_books()
            self._closing.push_async_callback(self._large.aclose)
            self._closing.push_async_callback(self._knowledge.close)
            self._knowledge.begin()
            yield

    async def _open_books(self) -> None:
        file, clock = self._folder.absolute() / "books.db", Clock()
        await asyncio.to_thread(file.unlink, missing_ok=True)
        await asyncio.to_thread(migrate, f"sqlite:///{file}")
        engine = await asyncio.to_thread(create_engine, f"sqlite:///{file}")
        self._closing.callback(engine.dispose)
        opening = Opening(engine, clock, lambda what, done, total: None)
        self._books = await self._closing.enter_async_context(self._domain.open_books(opening))
        operations = self._domain.operations
        policy = await asyncio.to_thread(FilePolicy, self._settings.rules, operations)
        replies = await asyncio.to_thread(replies_of, self._domain)
        approvals = SqlApprovals(engine, clock)
        self._common = Context(
            customer=(await self._books.customers.demo())[0],
            operations=operations,
            intents=self._domain.intents,
            replies=replies,
            encoder=self._encoder,
            small=self._small,
            large=self._large,
            knowledge=self._knowledge,
            backend=self._books.backend,
            ledger=SqlLedger(engine, self._books.transaction, clock, approvals, policy=policy),
            approvals=approvals,
            requests=SqlRequests(engine, clock),
            decisions=MemoryDecisionLog(),
            actions=self._actions,
            policy=policy,
            hours=self._domain.profile.hours,
        )

    async def _open_knowledge(self) -> Knowledge:
        from app.knowledge.knowledge import HybridKnowledge

        knowledge = await asyncio.to_thread(HybridKnowledge.open, self._folder, self._encoder)
        read = False
        try:
            await knowledge.ingest([self._articles])
            read = True
        finally:
            if not read:  # Whoever tries again finds the index free.
                await asyncio.to_thread(knowledge.close)
        self._closing.push_async_callback(asyncio.to_thread, knowledge.close)
        return knowledge

    async def context(self, customer: str, reviewer: str, thread: str) -> Context:
        found = await self._books.customers.find(customer)
        if found is None:
            known = sorted(each.id for each in await self._books.customers.demo())
            raise NoSuchCustomer(f"There is no customer {customer}: {', '.join(known)}.")
        return replace(self._common, customer=found, thread=thread, reviewer=_person(reviewer))


class RealWorld:
    """What `signalbox serve` runs on, as the settings name it: stores, servers, books."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._desk: SupportDesk | None = None

    @asynccontextmanager
    async def running(self) -> AsyncGenerator[None]:
        from app.wiring import wiring

        await asyncio.to_thread(warm_reading)
        async with wiring(self._settings) as desk:
            self._desk = desk
            yield

    async def context(self, customer: str, reviewer: str, thread: str) -> Context:
        assert self._desk is not None
        found = await self._desk.sign_in.customer(customer)
        if found is None:
            raise NoSuchCustomer(f"There is no customer {customer}.")
        return replace(self._desk.player.context_for(found, thread), reviewer=_person(reviewer))


def _person(reviewer: str) -> Reviewer:
    # Being one person, nobody approves for two here.
    return Reviewer(name=reviewer, role="admin")


def world_of(settings: Settings) -> World:
    """The world that SIGNALBOX_STUDIO names."""
    return RealWorld(settings) if settings.studio == "real" else DemoWorld(settings)
