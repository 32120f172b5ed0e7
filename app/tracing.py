"""One trace a turn, for reviewers: spans around every model, tool and gate call.

Without keys nothing of Langfuse is imported and every call here is a few empty frames. With keys it is
imported in a thread, so that the first answer does not wait for it; turns that start earlier are not traced.
"""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal, TypeVar

from pydantic import BaseModel, JsonValue

from graphs.context import Actions, Context
from tools.ports import (
    Backend,
    Choice,
    Encoder,
    Filled,
    Knowledge,
    LargeModel,
    Ledger,
    Observation,
    Passage,
    SmallModel,
    Tracer,
)
from tools.records import RecordView
from tools.values import Action, Approval, Attempt, Customer, Operation, Outcome, Preview, Verdict

if TYPE_CHECKING:
    from app.tracing_langfuse import Connection

log = logging.getLogger(__name__)

Kind = Literal["agent", "generation", "tool", "guardrail", "retriever", "evaluator", "span"]
AnyContext = TypeVar("AnyContext", bound=Context)

#: How long closing may wait for the last spans to leave.
CLOSE_SECONDS = 3.0


class Unobserved:
    """A span nobody looks at."""

    def update(self, **attributes: JsonValue) -> None:
        """Take attributes and keep none."""

    def end(self) -> None:
        """Nothing was begun."""


@dataclass(frozen=True)
class TracedTurn:
    """A turn while it runs: callbacks for the graph's config, and its own span."""

    callbacks: Sequence[Any] = ()
    observation: Observation = Unobserved()  # noqa: RUF009 - stateless
    trace_id: str | None = None

    def annotate(self, **attributes: JsonValue) -> None:
        """Add to the turn's span: ``output=`` is its output, everything else metadata."""
        self.observation.update(**attributes)


class Tracing:
    """Traces that are off."""

    @property
    def state(self) -> Literal["off", "starting", "on", "failing"]:
        return "off"

    def turn(
        self, turn_id: str, thread: str, customer_id: str, input: JsonValue
    ) -> AbstractAsyncContextManager[TracedTurn]:
        """One trace, found again by ``turn_id``: an approval's resume with the same id joins it.

        Enter it in the task that runs the graph, and give the graph its ``callbacks``."""
        return self._untraced_turn()

    def span(
        self, name: str, kind: Kind, **attributes: JsonValue
    ) -> AbstractAsyncContextManager[Observation]:
        return self._untraced_span()

    def begin(self, name: str, kind: Kind, **attributes: JsonValue) -> Unobserved | _Observed:
        """A span that the caller ends, for generators: nothing nests below it."""
        return UNOBSERVED

    def wrap(self, context: AnyContext) -> AnyContext:
        """The context with every port traced."""
        return context

    @asynccontextmanager
    async def _untraced_turn(self) -> AsyncGenerator[TracedTurn]:
        yield UNTRACED_TURN

    @asynccontextmanager
    async def _untraced_span(self) -> AsyncGenerator[Observation]:
        yield UNOBSERVED


UNOBSERVED = Unobserved()
UNTRACED_TURN = TracedTurn()


class LangfuseTracing(Tracing):
    """Traces that go to Langfuse (or whatever takes OTLP at its path), from threads of their own."""

    def __init__(self, **connection: Any) -> None:
        self._settings = connection
        self._connection: Connection | None = None
        self._settled = threading.Event()
        self._thread = threading.Thread(target=self._connect, name="langfuse", daemon=True)
        self._thread.start()

    def _connect(self) -> None:
        try:
            from app.tracing_langfuse import Connection

            self._connection = Connection(**self._settings)
        except (ImportError, ValueError) as error:
            log.warning("Langfuse cannot be used, turns are not traced: %s", error)
        finally:
            self._settled.set()

    @property
    def state(self) -> Literal["off", "starting", "on", "failing"]:
        if not self._settled.is_set():
            return "starting"
        return "on" if self._connection is not None and self._connection.taken else "failing"

    async def ready(self, seconds: float = 30) -> bool:
        """Wait until turns are traced; for tests and evals, a server has no reason to."""
        return await asyncio.to_thread(self._settled.wait, seconds)

    def turn(
        self, turn_id: str, thread: str, customer_id: str, input: JsonValue
    ) -> AbstractAsyncContextManager[TracedTurn]:
        if self._connection is None:
            return self._untraced_turn()
        return self._turn(self._connection, turn_id, thread, customer_id, input)

    @asynccontextmanager
    async def _turn(
        self, connection: Connection, turn_id: str, thread: str, customer_id: str, input: JsonValue
    ) -> AsyncGenerator[TracedTurn]:
        with connection.turn(turn_id, thread, customer_id, input) as (observation, handler, trace):
            yield TracedTurn((handler,), _Observed(observation), trace)

    def span(
        self, name: str, kind: Kind, **attributes: JsonValue
    ) -> AbstractAsyncContextManager[Observation]:
        if self._connection is None:
            return self._untraced_span()
        return self._span(self._connection, name, kind, attributes)

    @asynccontextmanager
    async def _span(
        self, connection: Connection, name: str, kind: Kind, attributes: dict[str, JsonValue]
    ) -> AsyncGenerator[Observation]:
        with connection.client.start_as_current_observation(
            name=name, as_type=kind, **_fields(attributes)
        ) as observation:
            yield _Observed(observation)

    def begin(self, name: str, kind: Kind, **attributes: JsonValue) -> Unobserved | _Observed:
        if self._connection is None:
            return UNOBSERVED
        return _Observed(
            self._connection.client.start_observation(
                name=name, as_type=kind, **_fields(attributes)
            )
        )

    def wrap(self, context: AnyContext) -> AnyContext:
        return replace(
            context,
            encoder=TracedEncoder(context.encoder, self),
            small=TracedSmallModel(context.small, self),
            large=TracedLargeModel(context.large, self),
            knowledge=TracedKnowledge(context.knowledge, self),
            backend=TracedBackend(context.backend, self),
            ledger=TracedLedger(context.ledger, self),
            actions=TracedActions(context.actions, self),
        )

    async def close(self) -> None:
        """Send what is left, for at most three seconds."""
        connection, self._connection = self._connection, None
        if connection is None:
            return
        leaving = threading.Thread(target=connection.close, name="langfuse-close", daemon=True)
        leaving.start()
        await asyncio.to_thread(leaving.join, CLOSE_SECONDS)
        if leaving.is_alive():
            log.warning("Langfuse did not take the last spans in %.0f s", CLOSE_SECONDS)


@asynccontextmanager
async def tracing(
    *,
    public_key: str | None,
    secret_key: str | None,
    base_url: str | None = None,
    environment: str | None = None,
    release: str | None = None,
    otlp: str | None = None,
) -> AsyncGenerator[Tracing]:
    """Tracing for one process: to Langfuse with both keys, to the collector ``otlp`` names, to both, or off.
    A key pair is used by one at a time."""
    if not (public_key and secret_key) and not otlp:
        yield Tracing()
        return
    traces = LangfuseTracing(
        public_key=public_key,
        secret_key=secret_key,
        base_url=base_url,
        environment=environment,
        release=release,
        otlp=otlp,
    )
    try:
        yield traces
    finally:
        await traces.close()


class _Observed:
    """A Langfuse observation behind our small interface."""

    def __init__(self, observation: Any) -> None:
        self._observation = observation

    def update(self, **attributes: JsonValue) -> None:
        self._observation.update(**_fields(attributes))

    def end(self) -> None:
        self._observation.end()


#: Attributes that have a place of their own in Langfuse; all others are metadata.
FIELDS = frozenset({"input", "output", "model", "level", "status_message", "version"})


def _fields(attributes: dict[str, JsonValue]) -> dict[str, Any]:
    fields: dict[str, Any] = {name: value for name, value in attributes.items() if name in FIELDS}
    metadata = {name: value for name, value in attributes.items() if name not in FIELDS}
    return {**fields, "metadata": metadata} if metadata else fields


# --- the ports, traced ---------------------------------------------------------------------------


@dataclass(frozen=True)
class TracedEncoder:
    """Encoder heads as generations: which head, what it chose, how sure."""

    inner: Encoder
    tracer: Tracer

    async def embed(self, texts: Sequence[str]) -> list[list[float]]:
        async with self.tracer.span("embed", "span", texts=len(texts)):
            return await self.inner.embed(texts)

    async def classify(self, head: str, text: str, *, before: str = "") -> Choice:
        async with self.tracer.span(head, "generation", input=text, role=head) as seen:
            choice = await self.inner.classify(head, text, before=before)
            seen.update(**_chosen(choice))
            return choice


@dataclass(frozen=True)
class TracedSmallModel:
    """Small-model calls as generations: role, what was chosen, how sure, by which adapter."""

    inner: SmallModel
    tracer: Tracer

    async def choose(self, role: str, input: str, options: Sequence[str]) -> Choice:
        async with self.tracer.span(
            role, "generation", input=input, role=role, tier="small", options=[*options]
        ) as seen:
            choice = await self.inner.choose(role, input, options)
            seen.update(**_chosen(choice))
            return choice

    async def fill(self, role: str, input: str, schema: dict[str, Any]) -> Filled:
        async with self.tracer.span(
            role, "generation", input=input, role=role, tier="small"
        ) as seen:
            filled = await self.inner.fill(role, input, schema)
            seen.update(**_filled(filled))
            return filled

    async def write(self, role: str, input: str, *, max_tokens: int = 80) -> str:
        async with self.tracer.span(
            role, "generation", input=input, role=role, tier="small"
        ) as seen:
            text = await self.inner.write(role, input, max_tokens=max_tokens)
            seen.update(output=text)
            return text


@dataclass(frozen=True)
class TracedLargeModel:
    """Large-model calls as generations."""

    inner: LargeModel
    tracer: Tracing

    async def write(
        self,
        role: str,
        system: str,
        user: str,
        *,
        quotes: Sequence[str] = (),
        bare: str = "",
        max_tokens: int = 400,
    ) -> AsyncIterator[str]:
        seen = self.tracer.begin(
            role,
            "generation",
            input={"system": system, "user": user},
            role=role,
            tier="large",
            quotes=len(quotes),
        )
        pieces: list[str] = []
        whole = False
        try:
            async for piece in self.inner.write(
                role, system, user, quotes=quotes, bare=bare, max_tokens=max_tokens
            ):
                pieces.append(piece)
                yield piece
            whole = True
        finally:
            seen.update(output="".join(pieces), level="DEFAULT" if whole else "ERROR")
            seen.end()

    async def fill(
        self,
        role: str,
        system: str,
        user: str,
        schema: dict[str, Any],
        *,
        bare: str = "",
        narrow: dict[str, Any] | None = None,
    ) -> Filled:
        async with self.tracer.span(
            role,
            "generation",
            input={"system": system, "user": user},
            role=role,
            tier="large",
        ) as seen:
            filled = await self.inner.fill(role, system, user, schema, bare=bare, narrow=narrow)
            seen.update(**_filled(filled))
            return filled


@dataclass(frozen=True)
class TracedKnowledge:
    """Retrieval and pruning as retrievers: what was asked, which chunks came back."""

    inner: Knowledge
    tracer: Tracer

    async def retrieve(
        self,
        query: str,
        *,
        limit: int = 15,
        audience: str = "public",
        tenant: str | None = None,
        language: str | None = None,
    ) -> list[Passage]:
        async with self.tracer.span("retrieve", "retriever", input=query, limit=limit) as seen:
            passages = await self.inner.retrieve(
                query, limit=limit, audience=audience, tenant=tenant, language=language
            )
            seen.update(output=_ranked(passages), knowledge=self.inner.version)
            return passages

    async def prune(
        self, query: str, passages: Sequence[Passage], *, keep: int = 4
    ) -> list[Passage]:
        async with self.tracer.span(
            "prune", "retriever", input=query, candidates=len(passages)
        ) as seen:
            kept = await self.inner.prune(query, passages, keep=keep)
            seen.update(output=_ranked(kept), kept=len(kept), pruned_by=self.inner.pruned_by)
            return kept

    async def nearest(
        self,
        question: str,
        *,
        limit: int,
        tenant: str | None = None,
        language: str | None = None,
    ) -> list[Passage]:
        async with self.tracer.span("nearest", "retriever", input=question, limit=limit) as seen:
            near = await self.inner.nearest(question, limit=limit, tenant=tenant, language=language)
            seen.update(output=_ranked(near), knowledge=self.inner.version)
            return near

    @property
    def version(self) -> str:
        return self.inner.version

    @property
    def pruned_by(self) -> str:
        return self.inner.pruned_by

    @property
    def pruner_digest(self) -> str:
        return self.inner.pruner_digest


@dataclass(frozen=True)
class TracedBackend:
    """Reads and previews as tool calls."""

    inner: Backend
    tracer: Tracer

    async def preview(self, customer: Customer, operation: Operation, arguments: Any) -> Any:
        async with self.tracer.span(
            f"preview {operation.name}", "tool", input=_json(arguments), operation=operation.name
        ) as seen:
            preview = await self.inner.preview(customer, operation, arguments)
            if isinstance(preview, Preview):
                seen.update(output=_json(preview), consequence=preview.consequence.value)
            return preview

    async def read(self, customer: Customer, operation: Operation, arguments: Any) -> BaseModel:
        async with self.tracer.span(
            operation.name, "tool", input=_json(arguments), operation=operation.name
        ) as seen:
            result = await self.inner.read(customer, operation, arguments)
            seen.update(output=_json(result))
            return result

    async def records(self, customer: Customer) -> tuple[RecordView, ...]:
        async with self.tracer.span("records", "tool") as seen:
            views = await self.inner.records(customer)
            # How many and what kinds: their contents are the customer's own.
            seen.update(output=f"{len(views)} records")
            return views


@dataclass(frozen=True)
class TracedLedger:
    """Writes as tool calls: the action, its verdict, its outcome."""

    inner: Ledger
    tracer: Tracer

    async def execute(self, action: Action, operation: Operation, verdict: Verdict) -> Outcome:
        async with self.tracer.span(
            operation.name,
            "tool",
            input=action.arguments,
            action=action.id,
            operation=operation.name,
            verdict=verdict.consequence.value,
            needs_approval=verdict.needs_approval,
        ) as seen:
            outcome = await self.inner.execute(action, operation, verdict)
            seen.update(output=_json(outcome), outcome=outcome.status, replayed=outcome.replayed)
            return outcome

    async def find(self, tenant: str, operation: str, key: str) -> Outcome | None:
        return await self.inner.find(tenant, operation, key)

    async def attempt(self, action: Action) -> Attempt:
        return await self.inner.attempt(action)

    async def reconcile(self, action: Action, operation: Operation) -> Outcome:
        async with self.tracer.span(
            f"reconcile {operation.name}", "tool", action=action.id, operation=operation.name
        ) as seen:
            outcome = await self.inner.reconcile(action, operation)
            seen.update(output=_json(outcome), outcome=outcome.status)
            return outcome


@dataclass(frozen=True)
class TracedActions:
    """A proposal to the gate as a guardrail: what was asked for, what the gate answered."""

    inner: Actions
    tracer: Tracer

    async def withdraw(self, action_id: str, context: Context) -> tuple[Approval, bool]:
        return await self.inner.withdraw(action_id, context)

    async def propose(self, action: Action, context: Context) -> Outcome:
        async with self.tracer.span(
            f"gate {action.operation}",
            "guardrail",
            input=action.arguments,
            action=action.id,
            operation=action.operation,
        ) as seen:
            outcome = await self.inner.propose(action, context)
            seen.update(output=_json(outcome), outcome=outcome.status)
            return outcome


def _chosen(choice: Choice) -> dict[str, JsonValue]:
    return {
        "output": choice.option,
        "model": choice.model,
        "version": choice.version,
        "chosen": choice.option,
        "probability": choice.probabilities.get(choice.option, 0.0),
        "tier": choice.tier,
    }


def _filled(filled: Filled) -> dict[str, JsonValue]:
    return {
        "output": filled.values,
        "model": filled.model,
        "version": filled.version,
        "probability": filled.probability,
    }


def _ranked(passages: Sequence[Passage]) -> JsonValue:
    # Titles, not texts: a reviewer finds the text by its id, and a span stays small.
    return [
        {"id": each.id, "title": each.title, "score": round(each.score, 4)} for each in passages
    ]


def _json(value: Any) -> JsonValue:
    return value.model_dump(mode="json") if isinstance(value, BaseModel) else None
