"""The three graphs as `langgraph dev` opens them: on books of their own, without a saver of ours.

Studio sends plain JSON, and no signed session. So each graph begins with a node that turns what was typed
into the values the graph works with, and the customer is a demo customer.

langgraph.json switches the strict checkpoint reader off: the development server's own saver cannot be told
which types are ours, and would hand back dictionaries. Our own savers stay strict.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from typing import Any
from uuid import uuid4

from langchain_core.messages import HumanMessage, RemoveMessage
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.graph import START, StateGraph
from langgraph.graph.state import CompiledStateGraph
from langgraph.runtime import Runtime
from pydantic import BaseModel, ConfigDict, JsonValue
from starlette.applications import Starlette

from app.config import Settings, prepare_environment
from app.domains import domain_of
from app.models.embedded import EmbeddedServer, EmbeddedSmallModel
from app.models.encoder import OnnxEncoder
from app.models.large import EmbeddedLargeModel
from app.models.manifest import base_model, load_manifest
from app.stores.approvals import SqlApprovals
from app.stores.database import create_engine, migrate
from app.stores.ledger import SqlLedger
from graphs.action import ActionGraph, action_graph
from graphs.context import Actions, Context
from graphs.keys import action_id, action_key, fingerprint
from graphs.loop import loop_graph
from graphs.state import ActionState, SupportState, Turn
from graphs.support import support_graph
from tools.domain import Opening
from tools.intents import Intents
from tools.memory import MemoryDecisionLog
from tools.policy import FilePolicy, Policy
from tools.ports import (
    Approvals,
    Backend,
    DecisionLog,
    Encoder,
    Knowledge,
    LargeModel,
    Ledger,
    Passage,
    SmallModel,
)
from tools.values import Action, Clock, Customer, Operation, Reviewer, now

log = logging.getLogger(__name__)


class LateKnowledge:
    """The knowledge base while it is being read: the first question waits for it."""

    def __init__(self) -> None:
        self.opened: asyncio.Task[Knowledge] | None = None

    async def retrieve(
        self, query: str, *, limit: int = 15, audience: str = "public", tenant: str | None = None
    ) -> list[Passage]:
        if self.opened is None:
            return []
        knowledge = await asyncio.shield(self.opened)
        return await knowledge.retrieve(query, limit=limit, audience=audience, tenant=tenant)

    async def prune(
        self, query: str, passages: Sequence[Passage], *, keep: int = 4
    ) -> list[Passage]:
        if self.opened is None:
            return []
        knowledge = await asyncio.shield(self.opened)
        return await knowledge.prune(query, passages, keep=keep)

    @property
    def version(self) -> str:
        if self.opened is None or not self.opened.done():
            return "opening"
        return self.opened.result().version

    @property
    def pruned_by(self) -> str:
        if self.opened is None or not self.opened.done():
            return "opening"
        return self.opened.result().pruned_by

    @property
    def pruner_digest(self) -> str:
        if self.opened is None or not self.opened.done():
            return ""
        return self.opened.result().pruner_digest


class World:
    """The business's books in a folder of their own for all of Studio's runs, and the embedded models."""

    def __init__(self, settings: Settings) -> None:
        prepare_environment(settings)
        base = base_model()
        self.domain = domain_of(settings)
        manifest = load_manifest(base=base)
        self.folder = settings.data_dir / "studio"
        self.articles = settings.knowledge_dir
        self.server = EmbeddedServer(base, manifest.adapter_paths())
        self.encoder = OnnxEncoder(manifest)
        self.small = EmbeddedSmallModel(self.server, manifest, timeout_for=settings_timeout)
        self.large = EmbeddedLargeModel(self.server, timeout_for=settings_timeout)
        self.knowledge = LateKnowledge()
        self.policy = FilePolicy(settings.rules, self.domain.operations)
        self.decisions = MemoryDecisionLog()
        self.actions = ActionGraph(InMemorySaver())
        self.customer: Customer
        self.backend: Backend
        self.approvals: Approvals
        self.ledger: Ledger

    @asynccontextmanager
    async def running(self) -> AsyncGenerator[None]:
        """The models and the knowledge base, for as long as the server runs."""
        async with AsyncExitStack() as stack:
            await stack.enter_async_context(self.server)
            await self._open_books(stack)
            stack.push_async_callback(self.large.aclose)
            self.knowledge.opened = asyncio.create_task(self._open_knowledge(stack))
            stack.callback(self.knowledge.opened.cancel)
            yield

    async def _open_books(self, stack: AsyncExitStack) -> None:
        url, clock = f"sqlite:///{self.folder.absolute() / 'books.db'}", Clock()
        await asyncio.to_thread(migrate, url)
        engine = create_engine(url)
        stack.callback(engine.dispose)
        opening = Opening(engine, clock, lambda what, done, total: None)
        books = await stack.enter_async_context(self.domain.open_books(opening))
        approvals = SqlApprovals(engine, clock)
        self.customer = (await books.customers.demo())[0]
        self.backend, self.approvals = books.backend, approvals
        self.ledger = SqlLedger(engine, books.transaction, clock, approvals, policy=self.policy)

    async def _open_knowledge(self, stack: AsyncExitStack) -> Knowledge:
        from app.knowledge.knowledge import HybridKnowledge

        knowledge = await asyncio.to_thread(HybridKnowledge.open, self.folder, self.encoder)
        stack.push_async_callback(asyncio.to_thread, knowledge.close)
        await knowledge.ingest([self.articles])
        return knowledge


def settings_timeout(role: str) -> float:
    """Generous: a person watches, and the machine may be busy with Studio itself."""
    return 30.0


WORLD = World(Settings())


@dataclass(frozen=True)
class StudioContext(Context):
    """The context with a default for everything, so that Studio need not send one."""

    customer: Customer = field(default_factory=lambda: WORLD.customer)
    operations: Mapping[str, Operation] = field(default_factory=lambda: WORLD.domain.operations)
    intents: Intents = field(default_factory=lambda: WORLD.domain.intents)
    encoder: Encoder = field(default_factory=lambda: WORLD.encoder)
    small: SmallModel = field(default_factory=lambda: WORLD.small)
    large: LargeModel = field(default_factory=lambda: WORLD.large)
    knowledge: Knowledge = field(default_factory=lambda: WORLD.knowledge)
    backend: Backend = field(default_factory=lambda: WORLD.backend)
    ledger: Ledger = field(default_factory=lambda: WORLD.ledger)
    approvals: Approvals = field(default_factory=lambda: WORLD.approvals)
    decisions: DecisionLog = field(default_factory=lambda: WORLD.decisions)
    actions: Actions = field(default_factory=lambda: WORLD.actions)
    thread: str = "studio"
    policy: Policy = field(default_factory=lambda: WORLD.policy)
    #: Whoever sits at the keyboard; being one person, nobody approves for two here.
    reviewer: Reviewer | None = field(default_factory=lambda: Reviewer(name="studio", role="admin"))


class Wanted(BaseModel):
    """The part of an action that a person types; the rest is worked out."""

    model_config = ConfigDict(extra="forbid")
    operation: str
    arguments: dict[str, JsonValue] = {}


def receive_turn(state: SupportState) -> dict[str, Any]:
    """A turn from what Studio sent: ``{"turn": {"text": ...}}``, or a chat message."""
    sent: Any = state.get("turn")
    if sent is not None and not isinstance(sent, Turn):
        return {"turn": Turn.model_validate({"id": uuid4().hex, "at": now(), **sent})}
    said = state.get("messages", [])
    if said and isinstance(said[-1], HumanMessage) and not str(said[-1].id).endswith(":in"):
        turn = Turn(id=uuid4().hex, text=said[-1].text, at=now())
        # The graph writes the customer's message itself, under the turn's id.
        return {"turn": turn, "messages": [RemoveMessage(id=str(said[-1].id))]}
    return {"turn": Turn(id=uuid4().hex, text="", at=now())}


def receive_action(state: ActionState, runtime: Runtime[StudioContext]) -> dict[str, Any]:
    """An action from what Studio sent: ``{"action": {"operation": ..., "arguments": {...}}}``."""
    typed: Any = state.get("action")
    sent = Wanted.model_validate(typed)
    customer, operation, arguments = runtime.context.customer, sent.operation, sent.arguments
    key = action_key(customer.tenant, customer.id, operation, uuid4().hex)
    action = Action(
        id=action_id(key),
        tenant=customer.tenant,
        customer=customer,
        thread="studio",
        turn="studio",
        operation=operation,
        arguments=arguments,
        key=key,
        fingerprint=fingerprint(operation, arguments),
        proposed_at=now(),
    )
    return {"action": action}


def _received(
    graph: StateGraph[Any, Any, Any, Any], name: str, receive: Any
) -> CompiledStateGraph[Any, Any, Any, Any]:
    """The graph with ``receive`` in front of whatever it began with."""
    first = [end for start, end in graph.edges if start == START]
    branches = graph.branches.pop(START, {})
    graph.edges -= {(START, end) for end in first}
    graph.add_node("receive", receive)
    graph.add_edge(START, "receive")
    for end in first:
        graph.add_edge("receive", end)
    for branch in branches.values():
        graph.add_conditional_edges("receive", branch.path)
    return graph.compile(name=name)


support = _received(support_graph(StudioContext), "support", receive_turn)
action = _received(action_graph(StudioContext), "action", receive_action)
loop = _received(loop_graph(StudioContext), "loop", receive_turn)


@asynccontextmanager
async def _lifespan(_: Starlette) -> AsyncGenerator[None]:
    async with WORLD.running():
        yield


app = Starlette(lifespan=_lifespan)
