"""What the graphs' code runs on when a role is used alone: the real models, and a business without customers."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import date
from typing import TYPE_CHECKING, Any, cast

from app.domains import domain_of
from app.models.encoder import OnnxEncoder
from app.releases import live_manifest
from tools.decisions import Decision
from tools.ports import (
    BackendUnavailable,
    Choice,
    Filled,
    LargeModel,
    ModelUnavailable,
    Passage,
    SmallModel,
)
from tools.values import Customer, Outcome

if TYPE_CHECKING:
    from app.config import Settings
    from app.models.router import Router
    from graphs.context import Context

NOBODY = Customer(id="nobody", name="", email="", since=date(2000, 1, 1))


class _Unlogged:
    """No decision of a role alone takes effect, so none is kept."""

    async def record(
        self, *, tenant: str, thread: str, turn: str, input: str, decisions: Sequence[Decision]
    ) -> None:
        return None


class _NoKnowledge:
    """A role alone looks nothing up."""

    version = ""
    pruned_by = ""
    pruner_digest = ""

    async def retrieve(
        self,
        query: str,
        *,
        limit: int = 15,
        audience: str = "public",
        tenant: str | None = None,
        language: str | None = None,
    ) -> list[Passage]:
        return []

    async def prune(
        self, query: str, passages: Sequence[Passage], *, keep: int = 4
    ) -> list[Passage]:
        return []

    async def nearest(
        self,
        question: str,
        *,
        limit: int,
        tenant: str | None = None,
        language: str | None = None,
    ) -> list[Passage]:
        return []


class _NoLargeModel:
    """A role alone writes nothing."""

    async def write(self, *args: Any, **more: Any) -> AsyncIterator[str]:
        raise ModelUnavailable("A role that is used alone has no large model.")
        yield ""


class _NoActions:
    """A role alone carries nothing out."""

    async def withdraw(self, action_id: str, context: Any) -> Any:
        raise BackendUnavailable("A role that is used alone runs no action.")

    async def propose(self, action: Any, context: Any) -> Outcome:
        raise BackendUnavailable("A role that is used alone runs no action.")


class _NoSmallModel:
    """The generative tier is left out."""

    async def choose(self, role: str, input: str, options: Sequence[str]) -> Choice:
        raise ModelUnavailable("the small model is left out")

    async def fill(self, role: str, input: str, schema: dict[str, Any]) -> Filled:
        raise ModelUnavailable("the small model is left out")

    async def write(self, role: str, input: str, *, max_tokens: int = 80) -> str:
        raise ModelUnavailable("the small model is left out")


@asynccontextmanager
async def context_alone(
    settings: Settings, *, own: Router | None = None, small: bool = True
) -> AsyncGenerator[Context]:
    """The graphs' context with the real models, and a business without customers."""
    from app.live import own_thresholds, thresholds_of
    from app.serving import open_models
    from graphs.context import Context
    from tools.memory import MemoryApprovals, MemoryLedger, NoRecords

    books, approvals, domain = NoRecords(), MemoryApprovals(), domain_of(settings)

    def made(encoder: OnnxEncoder, model: SmallModel, large: LargeModel) -> Context:
        thresholds = thresholds_of(manifest, settings)
        if own is not None:
            encoder.adopt("intent", own.classifier, own.version)
            thresholds = own_thresholds(thresholds, own)
        return Context(
            customer=NOBODY,
            operations=domain.operations,
            intents=own.intents if own is not None else manifest.catalogue(domain),
            encoder=encoder,
            small=model,
            large=large,
            knowledge=_NoKnowledge(),
            backend=books,
            ledger=MemoryLedger(books, approvals),
            approvals=approvals,
            decisions=_Unlogged(),
            actions=_NoActions(),
            thresholds=thresholds,
            second_opinion=small,
        )

    if not small:
        manifest = await asyncio.to_thread(live_manifest, settings)
        yield made(OnnxEncoder(manifest), _NoSmallModel(), cast("LargeModel", _NoLargeModel()))
        return
    async with open_models(settings) as models:
        manifest = models.manifest
        yield made(models.encoder, models.small, models.large)
