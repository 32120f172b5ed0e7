"""What decides the turns that begin now, and how it is exchanged when a release is promoted or rolled back."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from app.config import Settings
from app.domains import domain_of
from app.drift_watch import DriftWatch
from app.health import Checks
from app.models.chain import ChainedLargeModel
from app.models.manifest import Manifest, ManifestError
from app.models.masked import MaskedLargeModel
from app.serving import Models, Serving
from app.shadow import Candidate, Shadow
from graphs.context import Context, Thresholds
from tools.injection import HEAD
from tools.intents import SPOKEN, Intents, IntentsInvalid, check_intents
from tools.ports import BackendUnavailable
from tools.values import Customer, Lane

if TYPE_CHECKING:
    from app.knowledge.knowledge import HybridKnowledge
    from app.knowledge.pruner import Pruner
    from app.models.router import Router

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Live:
    """What decides; exchanged as a whole, so that no turn is decided by two releases."""

    models: Models
    intents: Intents
    thresholds: Thresholds
    second_opinion: bool  #: May the small model be asked what a message means?


@dataclass
class Roster:
    """Who decides. A turn takes its context from here when it begins, and keeps it."""

    settings: Settings
    serving: Serving
    knowledge: HybridKnowledge
    own: Router | None  #: The deployment's own router.
    live: Live
    drift: DriftWatch
    shared: Callable[..., Context]  #: A context of what all turns have in common.
    public: tuple[str, ...] = ()  #: Addresses of the business itself, which are not masked.
    shadow: Shadow | None = None

    def context_for(self, customer: Customer, thread: str) -> Context:
        """What a turn of this customer on this thread is decided by."""
        live = self.live
        large = live.models.large
        context = self.shared(
            customer=customer,
            thread=thread,
            intents=live.intents,
            encoder=live.models.encoder,
            small=live.models.small,
            large=large,
            thresholds=live.thresholds,
            second_opinion=live.second_opinion,
        )
        if not self.settings.llm_leaves:
            return context
        masked = MaskedLargeModel(large, customer, context.backend, public=self.public)
        return replace(context, large=masked)

    async def take_up(self) -> None:
        """Make what was promoted, or rolled back to, what decides from the next turn on. Raises ReleaseError,
        ManifestError, IntentsInvalid and OSError; then all stays as it was."""
        async with self.serving.exchange() as models:
            pruner = None
            if not self.settings.pruner and _pruner_of(models) != _pruner_of(self.live.models):
                folder = models.manifest.folder_of("cross-encoder-lora", "pruner")
                pruner = await self.knowledge.loaded(lambda: opened_pruner(self.settings, folder))
            new = await asyncio.to_thread(live_of, models, self.settings, self.own)
            candidate = await asyncio.to_thread(
                candidate_of, self.settings, new, self.knowledge, self.own
            )
        # Nothing of this can fail: a turn that begins from here on is decided by the new release alone.
        self.live = new
        if pruner is not None:
            self.knowledge.use(pruner)
        if self.shadow is not None:
            self.shadow.candidate = candidate or replace(self.shadow.candidate, roles=frozenset())
        self.drift.since = self.drift.clock.now()

    async def health(self) -> Checks:
        """The artefacts, the candidate, the embedded models' server and the large models."""
        models = self.live.models
        return {**models.health(), **await self._large(models)}

    async def _large(self, models: Models) -> Checks:
        if not isinstance(models.large, ChainedLargeModel):
            return {}
        each = models.large.health()
        try:
            spent = await self.serving.budgets.day_is_spent(domain_of(self.settings).tenant)
        except BackendUnavailable:
            spent = False  # The database says so itself.
        well = all(one == "ok" for one in each.values()) and not spent
        found: dict[str, Any] = {"status": "ok" if well else "degraded", "models": dict(each)}
        if spent:
            found["reason"] = "the day's budget is spent"
        return {"large model": found}


def live_of(models: Models, settings: Settings, own: Router | None) -> Live:
    """The models with the intents their router knows: a deployment's own, a release's, or the shipped ones."""
    thresholds = thresholds_of(models.manifest, settings)
    if own is not None:
        models.encoder.adopt("intent", own.classifier, own.version)
        known = router_knows(models.manifest, settings, own.intents)
        return Live(models, own.intents, own_thresholds(thresholds, own), known)
    intents = models.manifest.catalogue(domain_of(settings))
    return Live(models, intents, thresholds, router_knows(models.manifest, settings, intents))


def router_knows(manifest: Manifest, settings: Settings, intents: Intents) -> bool:
    """Can the router's small model choose among these intents? An adapter knows those it was trained on; the
    base model knows none, unless a prompt tells it what to do."""
    if settings.small_models != "embedded" and settings.profiles["router"].model is not None:
        return True  # A model of the deployment's own choice reads what the intents are called.
    entry = manifest.adapters.get("router")
    if entry is None:
        return manifest.prompt_for("router") is not None
    return entry.labels is None or set(intents.names) <= set(entry.labels)


def candidate_of(
    settings: Settings, live: Live, knowledge: HybridKnowledge, own: Router | None
) -> Candidate | None:
    """What SIGNALBOX_SHADOW names, ready to decide beside the live models."""
    from app.knowledge.beside import PrunedBeside
    from app.knowledge.pruner import shipped_entry

    trial = live.models.trial
    if trial is None or trial.problem is not None:
        return None
    if "pruner" in trial.roles:
        digest = shipped_entry(trial.folder).sha256[:12]
        load = partial(opened_pruner, settings.model_copy(update={"pruner": ""}), trial.folder)
        trial = replace(trial, pruning=PrunedBeside(knowledge, load, digest))
    thresholds = thresholds_of(trial.manifest, settings)
    intents = trial.manifest.catalogue(domain_of(settings))
    if own is not None and ("head", "intent") not in trial.brings:
        # What the candidate does not bring is the live one's, and that is not the manifest's.
        assert trial.encoder is not None
        trial.encoder.adopt("intent", own.classifier, own.version)
        intents, thresholds = own.intents, own_thresholds(thresholds, own)
    return trial.candidate(thresholds, intents, router_knows(trial.manifest, settings, intents))


def thresholds_of(manifest: Manifest, settings: Settings) -> Thresholds:
    """Where each tier is believed: calibrated with the artefacts, else the profiles' own numbers."""
    profiles = settings.profiles

    def of(head: str, default: float) -> float:
        entry = manifest.heads.get(head)
        stored = entry.threshold if entry is not None else None
        if isinstance(stored, dict):
            stored = next((v for v in stored.values() if isinstance(v, int | float)), None)
        return float(stored) if isinstance(stored, int | float) else default

    intent, mood = manifest.heads.get("intent"), manifest.heads.get("frustration")
    orders, stock = manifest.heads.get(HEAD), Thresholds()
    return Thresholds(
        lanes=cast("Mapping[Lane, float]", intent.lanes) if intent is not None else {},
        small=profiles["router"].threshold,
        frustration=of("frustration", 0.5),
        furious=stock.furious if mood is None or mood.sure is None else mood.sure,
        several=of("complexity", 0.5),
        evaluator=profiles["evaluator"].threshold,
        outcome=of("outcome", 0.45),
        incident=of("incident", stock.incident),
        write=manifest.write_line,
        consequence=manifest.class_line,
        order_said=stock.order_said if orders is None or orders.sure is None else orders.sure,
        order_read=of(HEAD, stock.order_read),
    )


def own_router(settings: Settings) -> Router | None:
    """The deployment's router; one that is not sound is refused, and the shipped one answers."""
    if settings.router is None:
        return None
    from app.models.router import load_router

    try:
        router = load_router(settings.router)
        check_intents(router.intents, domain_of(settings).operations, needed=SPOKEN)
    except (ManifestError, IntentsInvalid) as error:
        log.error("SIGNALBOX_ROUTER is not used, the shipped router answers: %s", error)
        return None
    return router


def own_thresholds(thresholds: Thresholds, router: Router) -> Thresholds:
    """The same, with the lines of a deployment's own router."""
    return replace(thresholds, lanes=router.lanes)


def opened_pruner(settings: Settings, folder: Path) -> Pruner:
    from app.knowledge.opening import folder_of
    from app.knowledge.pruner import open_pruner

    return open_pruner(settings.pruner, folder, folder_of(settings), floor=settings.pruner_floor)


def _pruner_of(models: Models) -> Path:
    return models.manifest.folder_of("cross-encoder-lora", "pruner")
