"""The ports with a span around each call: what went in, what came out, how sure, by whom, and what it used."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

from pydantic import BaseModel, JsonValue

import prompts
from app.models.metering import Noted, noting
from app.tracing import AnyContext, Tracing
from graphs.context import Actions, Context
from tools.ports import (
    Backend,
    Choice,
    Encoder,
    Filled,
    Knowledge,
    LargeModel,
    Ledger,
    Passage,
    SmallModel,
)
from tools.records import RecordView
from tools.values import Action, Approval, Attempt, Customer, Operation, Outcome, Preview, Verdict

#: Who runs the encoder and its heads, in the conventions' place for it.
ENCODER = "onnxruntime"


def traced(context: AnyContext, tracer: Tracing) -> AnyContext:
    """The context with every port traced."""
    return replace(
        context,
        encoder=TracedEncoder(context.encoder, tracer),
        small=TracedSmallModel(context.small, tracer),
        large=TracedLargeModel(context.large, tracer),
        knowledge=TracedKnowledge(context.knowledge, tracer),
        backend=TracedBackend(context.backend, tracer),
        ledger=TracedLedger(context.ledger, tracer),
        actions=TracedActions(context.actions, tracer),
    )


@dataclass(frozen=True)
class TracedEncoder:
    """Encoder heads as generations: which head, what it chose, how sure."""

    inner: Encoder
    tracer: Tracing

    async def embed(self, texts: Sequence[str]) -> list[list[float]]:
        noted = Noted()
        async with self.tracer.span(
            "embed", "embedding", provider=ENCODER, tier="encoder", texts=len(texts)
        ) as seen:
            with noting(noted):
                vectors = await self.inner.embed(texts)
            name = getattr(self.inner, "name", "encoder")
            seen.update(model=name, used=noted)
            return vectors

    async def classify(self, head: str, text: str, *, before: str = "") -> Choice:
        noted = Noted()
        async with self.tracer.span(
            head,
            "generation",
            provider=ENCODER,
            operation_name="classify",
            input=text,
            role=head,
        ) as seen:
            with noting(noted):
                choice = await self.inner.classify(head, text, before=before)
            seen.update(**_chosen(choice), used=noted)
            return choice


@dataclass(frozen=True)
class TracedSmallModel:
    """Small-model calls as generations: role, what was chosen, how sure, by which adapter."""

    inner: SmallModel
    tracer: Tracing

    async def choose(self, role: str, input: str, options: Sequence[str]) -> Choice:
        noted = Noted()
        async with self.tracer.span(
            role, "generation", input=input, role=role, tier="small", options=len(options)
        ) as seen:
            with noting(noted):
                choice = await self.inner.choose(role, input, options)
            seen.update(**_chosen(choice), used=noted)
            return choice

    async def fill(self, role: str, input: str, schema: dict[str, Any]) -> Filled:
        noted = Noted()
        async with self.tracer.span(
            role, "generation", input=input, role=role, tier="small", **JSON
        ) as seen:
            with noting(noted):
                filled = await self.inner.fill(role, input, schema)
            seen.update(**_filled(filled), used=noted)
            return filled

    async def write(self, role: str, input: str, *, max_tokens: int = 80) -> str:
        noted = Noted()
        limit: Any = {"gen_ai.request.max_tokens": max_tokens}
        async with self.tracer.span(
            role, "generation", input=input, role=role, tier="small", **limit
        ) as seen:
            with noting(noted):
                text = await self.inner.write(role, input, max_tokens=max_tokens)
            seen.update(output=text, used=noted)
            return text


#: What a call for a JSON object says of its answer.
JSON: dict[str, Any] = {"gen_ai.output.type": "json"}


@dataclass(frozen=True)
class TracedLargeModel:
    """Large-model calls as generations, with the prompt they are made of."""

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
        noted, started = Noted(), time.perf_counter()
        asked: dict[str, Any] = {
            "gen_ai.request.max_tokens": max_tokens,
            "gen_ai.request.stream": True,
            "gen_ai.output.type": "text",
        }
        seen = self.tracer.begin(
            role,
            "generation",
            input={"system": system, "user": user},
            role=role,
            tier="large",
            quotes=len(quotes),
            **asked,
            **_prompt(role),
        )
        pieces: list[str] = []
        writing = self.inner.write(
            role, system, user, quotes=quotes, bare=bare, max_tokens=max_tokens
        )
        ended = "left"
        try:
            while True:
                # Around each step, never around the yield: that would reach into whoever reads.
                with noting(noted), seen.current():
                    piece = await anext(writing, None)
                if piece is None:
                    break
                if not pieces:
                    first: Any = {
                        "gen_ai.response.time_to_first_chunk": time.perf_counter() - started
                    }
                    seen.update(**first)
                pieces.append(piece)
                yield piece
            ended = "whole"
        except Exception as error:
            seen.failed(error)
            ended = "failed"
            raise
        finally:
            if ended == "left" and (close := getattr(writing, "aclose", None)) is not None:
                with noting(noted), seen.current():
                    await close()
            seen.update(output="".join(pieces) or None, ended=ended, used=noted)
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
        noted = Noted()
        async with self.tracer.span(
            role,
            "generation",
            input={"system": system, "user": user},
            role=role,
            tier="large",
            **JSON,
            **_prompt(role),
        ) as seen:
            try:
                with noting(noted):
                    filled = await self.inner.fill(
                        role, system, user, schema, bare=bare, narrow=narrow
                    )
            finally:
                seen.update(used=noted)
            seen.update(**_filled(filled))
            return filled


def _prompt(role: str) -> dict[str, Any]:
    """The prompt of a role that has one of its own: its name, and the hash of its content."""
    if role not in prompts.names():
        return {}
    return {"gen_ai.prompt.name": role, "prompt_version": prompts.load(role).version}


@dataclass(frozen=True)
class TracedKnowledge:
    """Retrieval and pruning as retrievers: what was asked, which chunks came back."""

    inner: Knowledge
    tracer: Tracing

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
    tracer: Tracing

    async def preview(self, customer: Customer, operation: Operation, arguments: Any) -> Any:
        async with self.tracer.span(
            operation.name, "tool", input=_json(arguments), step="preview"
        ) as seen:
            preview = await self.inner.preview(customer, operation, arguments)
            if isinstance(preview, Preview):
                seen.update(output=_json(preview), consequence=preview.consequence.value)
            return preview

    async def read(self, customer: Customer, operation: Operation, arguments: Any) -> BaseModel:
        async with self.tracer.span(
            operation.name, "tool", input=_json(arguments), step="read"
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
    tracer: Tracing

    async def execute(self, action: Action, operation: Operation, verdict: Verdict) -> Outcome:
        async with self.tracer.span(
            operation.name,
            "tool",
            input=action.arguments,
            action=action.id,
            step="execute",
            **{"gen_ai.tool.call.id": action.id},
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
            operation.name,
            "tool",
            action=action.id,
            step="reconcile",
            **{"gen_ai.tool.call.id": action.id},
        ) as seen:
            outcome = await self.inner.reconcile(action, operation)
            seen.update(output=_json(outcome), outcome=outcome.status)
            return outcome


@dataclass(frozen=True)
class TracedActions:
    """A proposal to the gate as a guardrail: what was asked for, what the gate answered."""

    inner: Actions
    tracer: Tracing

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


def _chosen(choice: Choice) -> dict[str, Any]:
    return {
        "output": choice.option,
        "model": choice.model,
        "version": choice.version,
        "probability": choice.probabilities.get(choice.option, 0.0),
        "tier": choice.tier,
    }


def _filled(filled: Filled) -> dict[str, Any]:
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
