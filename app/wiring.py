"""The composition root: opens what the settings name, hands it to the graphs, closes it again."""

from __future__ import annotations

import asyncio
import logging
import sqlite3
import sys
import threading
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, replace
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import sqlalchemy as sa

from app.answer_cache import ProcessAnswers
from app.config import LARGE_ROLES, Settings, prepare_environment
from app.domains import domain_of, replies_of
from app.drift import sketch_of
from app.drift_watch import DriftWatch
from app.economics import Limits as Spendable
from app.housekeeping import Housekeeping, Retention
from app.identity.tokens import reader_of
from app.models.chain import ChainedLargeModel
from app.models.encoder import OnnxEncoder
from app.models.manifest import Manifest, ManifestError
from app.models.masked import MaskedLargeModel
from app.models.metering import read_prices
from app.models.release import ReleaseError, Releases
from app.privacy import Privacy
from app.release_watch import ReleaseState, ReleaseWatch
from app.releases import adopt_releases, releases_on
from app.serving import Models, Serving, resident
from app.shadow import Candidate, Shadow
from app.spending import REFERENCE, Budgets
from app.stores.access import SqlAccess
from app.stores.actions import SqlActions
from app.stores.answers import SqlAnswers
from app.stores.approvals import SqlApprovals
from app.stores.audit import SqlAudit
from app.stores.checkpoints import checkpoints_at
from app.stores.database import create_engine, migrate, writing
from app.stores.decisions import Sketcher, SqlDecisionLog
from app.stores.holds import SqlHolds
from app.stores.ledger import SqlLedger
from app.stores.outbox import SqlOutbox
from app.stores.privacy import SqlPrivacy
from app.stores.requests import SqlRequests
from app.stores.reviews import SqlReviews
from app.stores.stores import Stores
from app.stores.traces import SqlRatings, SqlTraces
from app.stores.turns import SqlThreads, SqlTurns
from app.stores.usage import SqlUsage
from app.stores.waiting import SqlWaiting
from app.tracing import Tracing
from app.tracing.targets import tracing_of
from graphs.action import ActionGraph
from graphs.context import Context, Limits, Thresholds
from graphs.support import support_graph
from tools.domain import Domain, Opening, Progress
from tools.injection import HEAD
from tools.intents import SPOKEN, Intents, IntentsInvalid, check_intents
from tools.policy import FilePolicy
from tools.ports import BackendUnavailable, PortError
from tools.privacy import mask_pii
from tools.values import Clock, Customer, Lane

if TYPE_CHECKING:
    from langgraph.checkpoint.base import BaseCheckpointSaver

    from app.knowledge.index import Indexes
    from app.knowledge.knowledge import HybridKnowledge
    from app.knowledge.pruner import Pruner
    from app.models.router import Router
    from app.payments import HttpPayments
    from app.rooms.playing import Support
    from app.support_desk import SupportDesk

log = logging.getLogger(__name__)

#: Seconds after the index is open until the cross-encoder is loaded behind it.
#: How long the index is waited for when somebody asks whether it can be reached.
REACH_SECONDS = 2.0
PRUNER_WAITS = 2.0
#: The same for the sentences that are read one by one, behind the pruner.
SENTENCES_WAIT = 6.0


def _quiet(what: str, done: int, total: int) -> None:
    """Progress that nobody looks at."""


@asynccontextmanager
async def wiring(
    settings: Settings,
    progress: Progress = _quiet,
    *,
    clock: Clock | None = None,
    traces: Tracing | None = None,
) -> AsyncGenerator[SupportDesk]:
    """A running desk on what the settings name; everything is closed at the end of the block, but traces that
    were handed in."""
    from app.knowledge.library import Library
    from app.support_desk import furnished

    await asyncio.to_thread(prepare_environment, settings)
    clock = clock or Clock()
    domain = await asyncio.to_thread(domain_of, settings)
    settings = resident(settings, domain)
    async with AsyncExitStack() as stack:
        engine = await asyncio.to_thread(_database, settings, progress)
        stack.callback(engine.dispose)
        if await asyncio.to_thread(adopt_releases, settings, engine):
            log.warning(
                "what was promoted in this data folder is from now on live in every replica"
            )
        known = releases_on(settings, engine)
        releases = await asyncio.to_thread(ReleaseWatch.of, known, lambda: take_up())
        usage = SqlUsage(engine, settings.retention_days, clock)
        budgets = budgets_of(settings, usage, domain, clock)
        serving = await stack.enter_async_context(
            await asyncio.to_thread(Serving, settings, known, budgets)
        )
        models = serving.models
        books = await stack.enter_async_context(domain.open_books(Opening(engine, clock, progress)))
        knowledge = await stack.enter_async_context(
            _knowledge(settings, models.encoder, models.manifest, clock, progress)
        )
        saver = await stack.enter_async_context(checkpoints_at(settings.checkpoints))
        if traces is None:
            traces = tracing_of(settings)
            stack.push_async_callback(traces.close)

        audit = SqlAudit(engine, clock)
        outbox = SqlOutbox(engine, clock, audit=audit)
        approvals = SqlApprovals(
            engine,
            clock,
            ttl=timedelta(hours=settings.approval_ttl_hours),
            outbox=outbox,
            audit=audit,
        )
        stores = Stores(
            actions=SqlActions(engine),
            approvals=approvals,
            decisions=SqlDecisionLog(
                engine,
                mask_pii,
                settings.retention_days,
                clock,
                sketch=_sketcher(models.encoder),
            ),
            reviews=SqlReviews(engine, clock),
            outbox=outbox,
            requests=SqlRequests(engine, clock),
            turns=SqlTurns(engine, clock, retention=timedelta(hours=settings.turn_key_hours)),
            holds=SqlHolds(engine, clock, admit=saver.admit),
            threads=SqlThreads(engine, clock, audit=audit),
            waiting=SqlWaiting(engine, clock),
            traces=SqlTraces(engine, mask_pii, settings.retention_days, clock),
            ratings=SqlRatings(engine, clock),
            access=SqlAccess(engine, clock),
            usage=usage,
            answers=SqlAnswers(engine, clock, standing=knowledge.standing, audit=audit),
        )

        policy = await asyncio.to_thread(FilePolicy, settings.rules, domain.operations)
        payments = _payments(settings, clock, stack)
        ledger = SqlLedger(
            engine,
            books.transaction,
            clock,
            approvals,
            retention=timedelta(days=settings.action_key_days),
            outbox=outbox,
            audit=audit,
            payments=payments,
            systems=books.systems,
            policy=policy,
        )
        replies = await asyncio.to_thread(replies_of, domain)
        actions = ActionGraph(saver, stores.holds.holding)
        own = await asyncio.to_thread(_own_router, settings)
        limits = Limits(
            message_chars=settings.message_chars,
            # The embedded planner loses its thread beyond a handful of steps.
            plan_steps=10 if settings.hosted_llm else 4,
            class_declared=settings.class_declared,
        )
        live = _live(models, settings, own)

        answers = (
            None
            if settings.answer_cache == "off"
            else ProcessAnswers(models.encoder, settings.answer_cache, register=stores.answers)
        )

        contact = domain.profile.contact
        public = (contact.mail, contact.phone)

        def context_for(customer: Customer, thread: str) -> Context:
            return Context(
                customer=customer,
                operations=domain.operations,
                intents=live.intents,
                replies=replies,
                language=domain.profile.languages[0],
                encoder=live.models.encoder,
                small=live.models.small,
                large=MaskedLargeModel(live.models.large, customer, books.backend, public=public)
                if settings.llm_leaves
                else live.models.large,
                knowledge=knowledge,
                backend=books.backend,
                ledger=ledger,
                approvals=approvals,
                decisions=stores.decisions,
                requests=stores.requests,
                audit=audit,
                actions=actions,
                thread=thread,
                answers=answers,
                writer=settings.llm_chain[0].model if settings.hosted_llm else "embedded",
                clock=clock,
                limits=limits,
                thresholds=live.thresholds,
                second_opinion=live.second_opinion,
                large_decides=settings.hosted_llm,
                policy=policy,
                reader=domain.reader,
                lexicon=domain.lexicon,
                cases=domain.advice,
                hours=domain.profile.hours,
            )

        shadow = None
        candidate = await asyncio.to_thread(_candidate, settings, live, knowledge, own)
        if candidate is not None:
            shadow = Shadow(candidate, stores.decisions, settings.shadow_share)
            await stack.enter_async_context(shadow.reading())

        async def take_up() -> None:
            nonlocal live
            async with serving.exchange() as models:
                pruner = None
                if not settings.pruner and _pruner_of(models) != _pruner_of(live.models):
                    folder = models.manifest.folder_of("cross-encoder-lora", "pruner")
                    pruner = await knowledge.loaded(lambda: _opened_pruner(settings, folder))
                new = await asyncio.to_thread(_live, models, settings, own)
                candidate = await asyncio.to_thread(_candidate, settings, new, knowledge, own)
            # Nothing of this can fail: a turn that begins from here on is decided by the new release alone.
            live = new
            if pruner is not None:
                knowledge.use(pruner)
            if shadow is not None:
                shadow.candidate = candidate or replace(shadow.candidate, roles=frozenset())
            drift.since = clock.now()

        await stack.enter_async_context(releases.watching())
        drift = await asyncio.to_thread(_drift_watch, settings, known, stores.decisions, clock)
        library = Library(knowledge)
        stack.push_async_callback(library.close)
        support: Support = support_graph().compile(checkpointer=saver, name="support")
        privacy = Privacy(
            SqlPrivacy(engine, clock, audit=audit),
            support,
            saver,
            stores.holds,
            books,
            clock,
            answers,
        )
        desk = furnished(
            support=support,
            actions=actions,
            stores=stores,
            ledger=ledger,
            context_for=context_for,
            domain=domain,
            books=books,
            identity=reader_of(domain.profile.identity, clock),
            health=lambda: _health(
                engine,
                saver,
                live.models,
                knowledge,
                traces,
                policy,
                payments,
                releases.state,
                books.health(),
                partial(budgets.day_is_spent, domain.tenant),
            ),
            info=lambda: asyncio.to_thread(_info, settings, known, live.models, knowledge, traces),
            meter=serving.meter,
            budgets=budgets,
            library=library,
            tracing=traces,
            intent_names=lambda: sorted(live.intents.names),
            drift=drift,
            shadow=shadow,
            releases=releases,
            privacy=privacy,
            housekeeping=Housekeeping(stores, ledger, privacy, engine, _retention(settings)),
        )
        await stack.enter_async_context(desk.deliveries.running())
        if traces.provider is not None:
            from app.tracing.relay import relaying

            await stack.enter_async_context(relaying(traces, stores.traces))
        yield desk


@dataclass(frozen=True)
class _Live:
    """What decides; exchanged as a whole, so that no turn is decided by two releases."""

    models: Models
    intents: Intents
    thresholds: Thresholds
    second_opinion: bool  #: May the small model be asked what a message means?


def budgets_of(settings: Settings, usage: SqlUsage, domain: Domain, clock: Clock) -> Budgets:
    """What may be spent on large models, and where it is written down."""
    return Budgets(
        usage,
        Spendable(
            day=settings.llm_day_budget,
            customer=settings.llm_customer_budget,
            turn=settings.llm_turn_budget,
        ),
        read_prices(settings.prices),
        domain=domain.name[:64],
        reference=settings.llm_chain[0].model if settings.hosted_llm else REFERENCE,
        clock=clock,
    )


def _retention(settings: Settings) -> Retention:
    days = settings.conversation_days
    return Retention(
        conversations=timedelta(days=days) if days else None,
        records=timedelta(days=settings.action_key_days),
        samples=timedelta(days=settings.retention_days),
        labels=timedelta(days=settings.label_days),
    )


def _live(models: Models, settings: Settings, own: Router | None) -> _Live:
    """The models with the intents their router knows: a deployment's own, a release's, or the shipped ones."""
    thresholds = thresholds_of(models.manifest, settings)
    if own is not None:
        models.encoder.adopt("intent", own.classifier, own.version)
        known = router_knows(models.manifest, settings, own.intents)
        return _Live(models, own.intents, own_thresholds(thresholds, own), known)
    intents = models.manifest.catalogue(domain_of(settings))
    return _Live(models, intents, thresholds, router_knows(models.manifest, settings, intents))


def router_knows(manifest: Manifest, settings: Settings, intents: Intents) -> bool:
    """Can the router's small model choose among these intents? An adapter knows those it was trained on; the
    base model knows none, unless a prompt tells it what to do."""
    if settings.small_models != "embedded" and settings.profiles["router"].model is not None:
        return True  # A model of the deployment's own choice reads what the intents are called.
    entry = manifest.adapters.get("router")
    if entry is None:
        return manifest.prompt_for("router") is not None
    return entry.labels is None or set(intents.names) <= set(entry.labels)


def _candidate(
    settings: Settings, live: _Live, knowledge: HybridKnowledge, own: Router | None
) -> Candidate | None:
    """What SIGNALBOX_SHADOW names, ready to decide beside the live models."""
    from app.knowledge.beside import PrunedBeside
    from app.knowledge.pruner import shipped_entry

    trial = live.models.trial
    if trial is None or trial.problem is not None:
        return None
    if "pruner" in trial.roles:
        digest = shipped_entry(trial.folder).sha256[:12]
        load = partial(_opened_pruner, settings.model_copy(update={"pruner": ""}), trial.folder)
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


def _own_router(settings: Settings) -> Router | None:
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


# --- parts --------------------------------------------------------------------------------------


def _sketcher(encoder: OnnxEncoder) -> Sketcher:
    async def sketch(masked: str) -> bytes:
        # Usually the vector is at hand: the router has just read the same words.
        return sketch_of((await encoder.embed([masked]))[0])

    return sketch


def _drift_watch(
    settings: Settings, releases: Releases, decisions: SqlDecisionLog, clock: Clock
) -> DriftWatch:
    try:
        live = releases.live()
    except ReleaseError:
        live = None
    return DriftWatch(
        decisions,
        settings.data_dir / "drift-reference.npz",
        messages=settings.drift_window,
        days=settings.drift_days,
        alpha=settings.drift_alpha,
        # Another router answers differently; that is no change of the traffic.
        since=live.at if live else None,
        clock=clock,
    )


def _release(releases: Releases) -> dict[str, Any] | None:
    try:
        live = releases.live()
    except (ReleaseError, PortError):
        return None
    return live.model_dump(mode="json") if live else None


def _payments(settings: Settings, clock: Clock, stack: AsyncExitStack) -> HttpPayments | None:
    if not settings.payments_url:
        return None
    from app.payments import HttpPayments

    settle = settings.payments_settle_minutes
    return stack.enter_context(
        HttpPayments(
            settings.payments_url,
            clock,
            keys_kept=timedelta(hours=settings.payments_keys_hours),
            settles_within=timedelta(minutes=settle) if settle else None,
        )
    )


def _database(settings: Settings, progress: Progress) -> sa.Engine:
    progress("Preparing the database", 0, 0)
    migrate(settings.database)
    return create_engine(settings.database)


@asynccontextmanager
async def _knowledge(
    settings: Settings,
    encoder: OnnxEncoder,
    manifest: Manifest,
    clock: Clock,
    progress: Progress,
) -> AsyncGenerator[HybridKnowledge]:
    from app.knowledge.opening import (
        open_knowledge,
        quarantine_by,
        sentence_search,
    )

    domain = domain_of(settings)
    started = threading.Event()

    def load_pruner() -> Pruner:
        # Its imports would take the interpreter from everything the first answer waits for.
        started.wait()
        return _opened_pruner(settings, manifest.folder_of("cross-encoder-lora", "pruner"))

    knowledge = await asyncio.to_thread(
        lambda: open_knowledge(
            settings,
            encoder,
            load_pruner=load_pruner,
            clock=clock,
            sentences=sentence_search(encoder.multilingual, manifest, domain),
            quarantine=quarantine_by(encoder.multilingual, manifest, domain),
        )
    )
    try:
        report = await knowledge.ingest([settings.knowledge_dir], progress=progress)
        for source, reason in report.failed:
            log.warning("not in the knowledge base: %s: %s", source, reason)
        if knowledge.outdated:
            log.warning(
                "the knowledge index is not what the settings describe: %s; run "
                "`signalbox knowledge reindex`",
                knowledge.outdated,
            )
        loop = asyncio.get_running_loop()
        loop.call_later(PRUNER_WAITS, started.set)
        loop.call_later(SENTENCES_WAIT, knowledge.shelve)
        async with knowledge.following():
            yield knowledge
    finally:
        started.set()
        await asyncio.to_thread(knowledge.close)


def _opened_pruner(settings: Settings, folder: Path) -> Pruner:
    from app.knowledge.opening import folder_of
    from app.knowledge.pruner import open_pruner

    return open_pruner(settings.pruner, folder, folder_of(settings), floor=settings.pruner_floor)


def _pruner_of(models: Models) -> Path:
    return models.manifest.folder_of("cross-encoder-lora", "pruner")


# --- what others ask about it -------------------------------------------------------------------


def _answers(engine: sa.Engine) -> None:
    # Begun as what writes, and nothing is written: a store that only reads is as good as none.
    with writing(engine, fenced=False) as connection:
        connection.execute(sa.text("DELETE FROM holds WHERE name = ''"))


async def _health(
    engine: sa.Engine,
    saver: BaseCheckpointSaver[Any],
    models: Models,
    knowledge: HybridKnowledge,
    traces: Tracing,
    policy: FilePolicy,
    payments: HttpPayments | None,
    release: ReleaseState,
    outside: Mapping[str, str],
    spent: Callable[[], Awaitable[bool]],
) -> Mapping[str, Any]:
    checks: dict[str, Any] = {}
    for name, why in outside.items():
        checks[f"system {name}"] = {"status": "degraded", "reason": why}
    try:
        await asyncio.to_thread(_answers, engine)
        checks["database"] = {"status": "ok"}
    except BackendUnavailable as error:
        checks["database"] = {"status": "down", "reason": str(error)}
    if payments is not None:
        try:
            await asyncio.to_thread(payments.ready)
            checks["payments"] = {"status": "ok"}
        except BackendUnavailable as error:
            checks["payments"] = {"status": "degraded", "reason": str(error)}
    checks["checkpoints"] = await _saver_health(saver)
    refused = {
        f"{kind} {role}".strip(): why for (kind, role), why in models.manifest.refused.items()
    }
    checks["artefacts"] = {"status": "degraded" if refused else "ok"} | (
        {"reason": "; ".join(refused.values()), "refused": refused} if refused else {}
    )
    checks["release"] = {
        "status": "degraded" if release.problem else "ok",
        "digest": release.digest,
    }
    checks["release"] |= {"reason": release.problem} if release.problem else {}
    if models.trial is not None:
        problem = models.trial.problem
        checks["shadow"] = {
            "status": "degraded" if problem else "ok",
            "digest": models.trial.digest,
        }
        checks["shadow"] |= {"reason": problem} if problem else {}
    if models.server is not None:
        state = models.server.status()
        ready = state["state"] == "ready"
        checks["embedded model"] = {"status": "ok" if ready else "degraded", **state}
    if isinstance(models.large, ChainedLargeModel):
        each = models.large.health()
        try:
            nothing_left = await spent()
        except BackendUnavailable:
            nothing_left = False  # Said above, as the database's.
        well = all(state == "ok" for state in each.values()) and not nothing_left
        checks["large model"] = {"status": "ok" if well else "degraded", "models": dict(each)}
        if nothing_left:
            checks["large model"]["reason"] = "the day's budget is spent"
    checks["knowledge"] = await index_health(knowledge.indexes) | {
        "version": knowledge.version,
        "pruned_by": knowledge.pruned_by,
    }
    problem = policy.problem
    checks["rules"] = {
        "status": "ok" if problem is None else "degraded",
        "version": policy.version,
        **({} if problem is None else {"reason": problem}),
    }
    checks["traces"] = {
        "status": "degraded" if traces.state == "failing" else "ok",
        "state": traces.state,
    }
    return checks


async def index_health(indexes: Indexes) -> dict[str, Any]:
    """Whether articles can be looked up; without them answers are worse, and never wrong."""
    try:
        async with asyncio.timeout(REACH_SECONDS):
            await asyncio.to_thread(indexes.reach)
    except TimeoutError:
        return {"status": "degraded", "reason": f"no answer within {REACH_SECONDS:g} s"}
    except PortError as error:
        return {"status": "degraded", "reason": str(error)}
    return {"status": "ok"}


async def _saver_health(saver: BaseCheckpointSaver[Any]) -> dict[str, Any]:
    kind = type(saver).__name__
    try:
        await saver.aget_tuple({"configurable": {"thread_id": "health", "checkpoint_ns": ""}})
        # Begun as what writes, and nothing is written.
        await saver.adelete_thread("health")
    except (BackendUnavailable, *_database_errors(), OSError) as error:
        reason = str(error.__cause__ or error)
        return {"status": "down", "kind": kind, "reason": reason}
    return {"status": "ok", "kind": kind}


def _database_errors() -> tuple[type[Exception], ...]:
    # Only where PostgreSQL is in use is its driver loaded, and can raise.
    driver = sys.modules.get("psycopg")
    return (sqlite3.Error,) if driver is None else (sqlite3.Error, driver.Error)


def _info(
    settings: Settings,
    releases: Releases,
    models: Models,
    knowledge: HybridKnowledge,
    traces: Tracing,
) -> Mapping[str, Any]:
    artefacts = {**models.manifest.adapters, **models.manifest.heads}
    off = {
        "large model": not settings.hosted_llm
        and "no SIGNALBOX_LLM_MODEL: the embedded model stands in, answers are demo quality",
        "ollama": settings.small_models != "ollama"
        and "no SIGNALBOX_OLLAMA_HOST: small models are embedded",
        "qdrant server": not settings.qdrant_url
        and "no SIGNALBOX_QDRANT_URL: the index is embedded",
        "postgresql": settings.database.startswith("sqlite")
        and "no SIGNALBOX_DATABASE_URL: SQLite in the data folder",
        "payment service": not settings.payments_url
        and "no SIGNALBOX_PAYMENTS_URL: payments are booked in the same database",
        "traces": traces.state == "off"
        and "no LANGFUSE_* keys and no OTEL_EXPORTER_OTLP_ENDPOINT: turns are not traced",
    }
    return {
        "roles": {
            role: {
                **profile.model_dump(mode="json"),
                "tier": "large" if role in LARGE_ROLES else "small",
                "digest": artefacts[role].sha256 if role in artefacts else None,
            }
            for role, profile in settings.profiles.items()
        },
        "artefacts": {
            name: {"file": entry.file, "sha256": entry.sha256} for name, entry in artefacts.items()
        },
        "release": _release(releases),
        "knowledge": {"version": knowledge.version, "pruned_by": knowledge.pruned_by},
        "operations": sorted(domain_of(settings).operations),
        "keys": {
            "required": settings.require_keys,
            "turn_hours": settings.turn_key_hours,
            "action_days": settings.action_key_days,
        },
        "traces": traces.state,
        "off": {name: reason for name, reason in off.items() if reason},
    }
