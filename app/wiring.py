"""The composition root: opens what the settings name, hands it to the graphs, closes it again."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import AsyncGenerator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import timedelta
from functools import partial
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from app.answer_cache import ProcessAnswers
from app.config import LARGE_ROLES, Settings, prepare_environment
from app.domains import domain_of, replies_of
from app.drift import sketch_of
from app.drift_watch import DriftWatch
from app.economics import Limits as Spendable
from app.health import Health, Systems
from app.housekeeping import Housekeeping, Retention
from app.identity.tokens import reader_of
from app.live import (
    Roster,
    candidate_of,
    live_of,
    opened_pruner,
    own_router,
)
from app.models.encoder import OnnxEncoder
from app.models.manifest import Manifest
from app.models.metering import read_prices
from app.models.release import ReleaseError, Releases
from app.privacy import Privacy
from app.release_watch import ReleaseWatch
from app.releases import adopt_releases, releases_on
from app.serving import Models, Serving, resident
from app.shadow import Shadow
from app.spending import REFERENCE, Budgets
from app.stores.access import SqlAccess
from app.stores.actions import SqlActions
from app.stores.answers import SqlAnswers
from app.stores.approvals import SqlApprovals
from app.stores.audit import SqlAudit
from app.stores.checkpoints import checkpoints_at
from app.stores.database import create_engine, migrate
from app.stores.decisions import Sketcher, SqlDecisionLog
from app.stores.health import StoreHealth
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
from graphs.context import Context, Limits
from graphs.support import support_graph
from tools.domain import Domain, Opening, Progress
from tools.policy import FilePolicy
from tools.ports import PortError
from tools.privacy import mask_pii
from tools.values import Clock

if TYPE_CHECKING:
    from app.knowledge.knowledge import HybridKnowledge
    from app.knowledge.pruner import Pruner
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
        releases = await asyncio.to_thread(ReleaseWatch.of, known, lambda: roster.take_up())
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
        own = await asyncio.to_thread(own_router, settings)
        limits = Limits(
            message_chars=settings.message_chars,
            # The embedded planner loses its thread beyond a handful of steps.
            plan_steps=10 if settings.hosted_llm else 4,
            class_declared=settings.class_declared,
        )
        answers = (
            None
            if settings.answer_cache == "off"
            else ProcessAnswers(models.encoder, settings.answer_cache, register=stores.answers)
        )

        drift = await asyncio.to_thread(_drift_watch, settings, known, stores.decisions, clock)
        contact = domain.profile.contact
        roster = Roster(
            settings,
            serving,
            knowledge,
            own,
            live_of(models, settings, own),
            drift,
            shared=partial(
                Context,
                operations=domain.operations,
                replies=replies,
                language=domain.profile.languages[0],
                knowledge=knowledge,
                backend=books.backend,
                ledger=ledger,
                approvals=approvals,
                decisions=stores.decisions,
                requests=stores.requests,
                audit=audit,
                actions=actions,
                answers=answers,
                writer=settings.llm_chain[0].model if settings.hosted_llm else "embedded",
                clock=clock,
                limits=limits,
                large_decides=settings.hosted_llm,
                policy=policy,
                reader=domain.reader,
                lexicon=domain.lexicon,
                cases=domain.advice,
                hours=domain.profile.hours,
            ),
            public=(contact.mail, contact.phone),
        )
        candidate = await asyncio.to_thread(candidate_of, settings, roster.live, knowledge, own)
        if candidate is not None:
            roster.shadow = Shadow(candidate, stores.decisions, settings.shadow_share)
            await stack.enter_async_context(roster.shadow.reading())

        await stack.enter_async_context(releases.watching())
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
            context_for=roster.context_for,
            domain=domain,
            books=books,
            identity=reader_of(domain.profile.identity, clock),
            health=Health(
                tuple(
                    part
                    for part in (
                        Systems(books.health),
                        StoreHealth(engine, saver),
                        payments,
                        roster,
                        releases,
                        knowledge,
                        policy,
                        traces,
                    )
                    if part is not None
                )
            ),
            info=lambda: asyncio.to_thread(
                _info, settings, known, roster.live.models, knowledge, traces
            ),
            meter=serving.meter,
            budgets=budgets,
            library=library,
            tracing=traces,
            intent_names=lambda: sorted(roster.live.intents.names),
            drift=drift,
            shadow=roster.shadow,
            releases=releases,
            privacy=privacy,
            housekeeping=Housekeeping(stores, ledger, privacy, engine, _retention(settings)),
        )
        await stack.enter_async_context(desk.deliveries.running())
        if traces.provider is not None:
            from app.tracing.relay import relaying

            await stack.enter_async_context(relaying(traces, stores.traces))
        yield desk


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
        return opened_pruner(settings, manifest.folder_of("cross-encoder-lora", "pruner"))

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


# --- what others ask about it -------------------------------------------------------------------


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
