"""One application process of the crash eval: the real desk and stores behind a Unix socket, without models.

It is forked, so that it serves within milliseconds, and it is there to be killed."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import signal
import sqlite3
import subprocess
import sys
import time
from collections import Counter
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path
from typing import Any

import psycopg
import sqlalchemy as sa
from langgraph.types import Command

from app.config import ROOT
from app.desk import (
    AlreadyVoted,
    ApprovalDecided,
    ApprovalNotFound,
    EditInvalid,
    KeyConflict,
    KeyInFlight,
    OwnEdit,
    RoleNotAccepted,
)
from app.domains import read_domain, replies_of
from app.payments import HttpPayments
from app.privacy import Privacy
from app.rooms.playing import Support
from app.stores.access import SqlAccess
from app.stores.actions import SqlActions
from app.stores.answers import SqlAnswers
from app.stores.approvals import SqlApprovals
from app.stores.checkpoints import SqliteCheckpoints, sqlite_checkpoints
from app.stores.database import create_engine
from app.stores.decisions import SqlDecisionLog
from app.stores.fences import HoldLost
from app.stores.holds import SqlHolds
from app.stores.ledger import CHECKPOINTS, OUTSIDE_CHECKPOINTS, SqlLedger
from app.stores.outbox import Delivery, SqlOutbox
from app.stores.postgres_checkpoints import (
    PostgresCheckpoints,
    make_tables,
    postgres_checkpoints,
)
from app.stores.privacy import SqlPrivacy
from app.stores.requests import SqlRequests
from app.stores.reviews import SqlReviews
from app.stores.stores import Stores
from app.stores.traces import SqlRatings, SqlTraces
from app.stores.turns import Fresh, SqlThreads, SqlTurns
from app.stores.usage import SqlUsage
from app.stores.waiting import SqlWaiting
from app.support_desk import SupportDesk, furnished
from evals.crash_business import KINDS, provider_environment, speech_of
from graphs.action import ActionGraph, thread_of
from graphs.context import Context
from graphs.state import Answer
from graphs.support import support_graph
from prompts.replies import Replies
from tools.domain import Books, Domain, Opening
from tools.effects import Answer as Answered
from tools.effects import Effects, Found
from tools.intents import Intents
from tools.policy import FilePolicy
from tools.ports import Choice, Filled, ModelUnavailable, Passage, PortError, SmallModel
from tools.values import Action, Approval, Clock, Customer, Verdict

#: Boundaries beside the ledger's own; each is passed right after what it names was done.
BOUNDARIES = (
    "approval_requested",
    "decision_committed",
    "turn_begun",
    "turn_finished",
    "delivery_claimed",
    "delivery_confirmed",
    "state_saved",
)


def boundaries_of(backend: str) -> tuple[str, ...]:
    """Where a process can die by its own hand; those around a call only where there is somebody to call."""
    kind = KINDS[backend]
    ours = CHECKPOINTS if kind.ours else ()
    outside = OUTSIDE_CHECKPOINTS if kind.outside else ()
    return (*dict.fromkeys((*ours, *outside)), *BOUNDARIES)


Reached = Callable[[str], None]

#: What a store or saver raises when the other process holds the file, or the server ends the connection.
UNAVAILABLE = (PortError, sqlite3.Error, psycopg.Error)


@dataclass(frozen=True)
class Site:
    """Where a process works, and when it dies by its own hand."""

    database: str
    checkpoints: str
    business: str = "northfell"  #: The folder of its domain.
    socket: str = ""
    #: Time runs this much faster since ``origin``, so that leases and graces of production pass in seconds.
    speed: float = 7.0
    origin: float = 0.0
    ahead: float = 0.0
    payments: str = (
        ""  #: Where the payment service listens; without one, money moves in our own books.
    )
    keys: bool = False  #: Whether it takes keys.
    dies_at: str = ""
    dies_after: int = 1
    #: Where it stops by its own hand, and after how many seconds it is woken.
    stalls_at: str = ""
    stalls_for: float = 0.0
    #: When its clock jumps, in seconds of the real one, and by how much.
    jumps_at: float = 0.0
    jumps_by: float = 0.0

    def clock(self) -> Clock:
        def now() -> datetime:
            real = time.time()
            passed = (real - self.origin) * self.speed + self.ahead
            if self.jumps_by and real >= self.jumps_at:
                passed += self.jumps_by
            return datetime.fromtimestamp(self.origin + passed, UTC)

        return Clock(now)


def unreached(name: str) -> None:
    """A boundary of a process that nobody kills on purpose."""


# --- the stores, telling which boundary they passed ---------------------------------------------


class MarkedApprovals(SqlApprovals):
    reached: Reached = staticmethod(unreached)

    async def request(self, action: Action, verdict: Verdict) -> Approval:
        approval = await super().request(action, verdict)
        self.reached("approval_requested")
        return approval

    async def decide(self, action_id: str, **answer: Any) -> tuple[Approval, bool]:  # type: ignore[override]
        decided = await super().decide(action_id, **answer)
        self.reached("decision_committed")
        return decided


class MarkedOutbox(SqlOutbox):
    reached: Reached = staticmethod(unreached)

    async def due(self, limit: int = 50) -> list[Delivery]:
        claimed = await super().due(limit)
        if claimed:
            self.reached("delivery_claimed")
        return claimed

    async def delivered(self, action_id: str) -> bool:
        confirmed = await super().delivered(action_id)
        self.reached("delivery_confirmed")
        return confirmed


class MarkedTurns(SqlTurns):
    reached: Reached = staticmethod(unreached)

    async def begin(self, tenant: str, customer: str, key: str, fingerprint: str) -> Any:
        begun = await super().begin(tenant, customer, key, fingerprint)
        if isinstance(begun, Fresh):
            self.reached("turn_begun")
        return begun

    async def finish(self, turn: Fresh, response: Any) -> bool:
        finished = await super().finish(turn, response)
        self.reached("turn_finished")
        return finished


class MarkedSqliteSaver(SqliteCheckpoints):
    reached: Reached = staticmethod(unreached)

    async def aput(self, *args: Any, **named: Any) -> Any:
        saved = await super().aput(*args, **named)
        self.reached("state_saved")
        return saved


class MarkedPostgresSaver(PostgresCheckpoints):
    reached: Reached = staticmethod(unreached)

    async def aput(self, *args: Any, **named: Any) -> Any:
        saved = await super().aput(*args, **named)
        self.reached("state_saved")
        return saved


@dataclass(frozen=True)
class MarkedEffects:
    """Another system, telling when a request to it has left and come back."""

    system: Effects
    reached: Reached

    def ready(self) -> None:
        self.system.ready()

    def send(self, request: Any, key: str) -> Answered:
        answer = self.system.send(request, key)
        self.reached("called")
        return answer

    def find(self, request: Any) -> Found:
        return self.system.find(request)

    def keyed(self, request: Any, since: datetime) -> bool:
        return self.system.keyed(request, since)

    def absent(self, request: Any, since: datetime) -> bool:
        return self.system.absent(request, since)


@cache
def business_of(name: str) -> tuple[Domain, Replies]:
    """A business as it is loaded, once for all processes that are forked from this one.

    It is read anew: whoever loaded it in this process before had another address of its provider."""
    os.environ.update(provider_environment())
    domain = read_domain(ROOT / "domains" / name)
    return domain, replies_of(domain)


@dataclass(frozen=True)
class Parts:
    """What a desk is made of; a self-test puts broken ones in their place."""

    stores: Stores
    ledger: SqlLedger
    policy: FilePolicy
    payments: HttpPayments | None = None


def sound(site: Site, engine: sa.Engine, clock: Clock, reached: Reached, books: Books) -> Parts:
    """The stores as they are."""
    domain, _ = business_of(site.business)
    policy = FilePolicy(domain.rules, domain.operations)
    payments = None
    if site.payments:
        payments = HttpPayments(
            site.payments,
            clock,
            keys_kept=timedelta(days=2) if site.keys else timedelta(0),
            settles_within=timedelta(minutes=3),
            sent=lambda: reached("called"),
        )
    outbox = MarkedOutbox(engine, clock)
    approvals = MarkedApprovals(engine, clock, outbox=outbox)
    # Four seconds of the machine's: on a busy one they are soon over, and then another process goes on.
    lease = timedelta(seconds=30)
    turns = MarkedTurns(engine, clock, lease=lease)
    for marked in (outbox, approvals, turns):
        marked.reached = reached
    return Parts(
        Stores(
            actions=SqlActions(engine),
            approvals=approvals,
            decisions=SqlDecisionLog(engine, lambda text: text, 90, clock),
            reviews=SqlReviews(engine, clock),
            outbox=outbox,
            requests=SqlRequests(engine, clock),
            turns=turns,
            holds=SqlHolds(engine, clock, lease=lease, beat=0.5),
            threads=SqlThreads(engine, clock),
            waiting=SqlWaiting(engine, clock),
            traces=SqlTraces(engine, str, 90, clock),
            ratings=SqlRatings(engine, clock),
            access=SqlAccess(engine, clock),
            usage=SqlUsage(engine, 90, clock),
            answers=SqlAnswers(engine, clock),
        ),
        SqlLedger(
            engine,
            books.transaction,
            clock,
            approvals,
            outbox=outbox,
            payments=payments,
            systems={name: MarkedEffects(one, reached) for name, one in books.systems.items()},
            policy=policy,
            checkpoint=reached,
        ),
        policy,
        payments,
    )


Assemble = Callable[[Site, sa.Engine, Clock, Reached, Books], Parts]


# --- what stands in for the models --------------------------------------------------------------

#: How a customer of every business begins a message -> what the intent head makes of it.
OPENINGS = {"yes": "affirm", "no": "deny", "thank": "thanks"}


class Scripted:
    """Stands in for every model: this eval's customers write in a few fixed forms."""

    def __init__(self, business: str, intents: Intents) -> None:
        self._names = intents.names
        self._openings, self._values = speech_of(business)

    async def embed(self, texts: Sequence[str]) -> list[list[float]]:
        return [[1.0, *[0.0] * 383] for _ in texts]

    async def classify(self, head: str, text: str, *, before: str = "") -> Choice:
        if head != "intent":
            calm = "calm" if head == "frustration" else "single"
            return _choice(calm, (calm, "frustrated" if calm == "calm" else "several"))
        said = text.casefold()
        known = {**OPENINGS, **self._openings}
        intent = next((i for words, i in known.items() if said.startswith(words)), "thanks")
        return _choice(intent, self._names)

    async def choose(self, role: str, input: str, options: Sequence[str]) -> Choice:
        return _choice(options[0], options)

    async def fill(
        self, role: str, input: str, schema: dict[str, Any], *args: Any, **named: Any
    ) -> Filled:
        said = self._values(input.partition("message: ")[2])
        values: dict[str, Any] = {name: said.get(name) for name in schema["properties"]}
        return Filled(values=values, model="scripted", version="1", ms=0.0)

    async def write(self, role: str, input: str, *, max_tokens: int = 80) -> str:
        return ""


class NoLargeModel:
    """A large model that is down."""

    async def write(self, *args: Any, **named: Any) -> AsyncIterator[str]:
        raise ModelUnavailable
        yield ""

    async def fill(self, *args: Any, **named: Any) -> Filled:
        raise ModelUnavailable


class NoKnowledge:
    """A knowledge base without articles."""

    version = "0"
    pruned_by = "nobody"
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

    async def nearest(
        self,
        question: str,
        *,
        limit: int,
        tenant: str | None = None,
        language: str | None = None,
    ) -> list[Passage]:
        return []

    async def prune(
        self, query: str, passages: Sequence[Passage], *, keep: int = 4
    ) -> list[Passage]:
        return []


def _choice(option: str, options: Sequence[str]) -> Choice:
    rest = 0.02 / max(len(options) - 1, 1)
    return Choice(
        option=option,
        probabilities={**dict.fromkeys(options, rest), option: 0.98},
        model="scripted",
        version="1",
        tier="encoder",
        ms=0.0,
    )


# --- the desk -----------------------------------------------------------------------------------


@asynccontextmanager
async def saver_of(site: Site, reached: Reached = unreached) -> AsyncGenerator[Any]:
    if site.checkpoints.startswith("postgresql"):
        opening: Any = postgres_checkpoints(site.checkpoints, MarkedPostgresSaver, max_size=6)
    else:
        opening = sqlite_checkpoints(site.checkpoints, MarkedSqliteSaver)
    async with opening as saver:
        saver.reached = reached
        yield saver


@asynccontextmanager
async def desk_on(
    site: Site, assemble: Assemble = sound, reached: Reached = unreached
) -> AsyncGenerator[tuple[SupportDesk, sa.Engine]]:
    """The real desk on the site's database."""
    clock = site.clock()
    engine = create_engine(site.database)
    domain, _ = business_of(site.business)
    opening = Opening(engine, clock, lambda what, done, of: None)
    try:
        async with domain.open_books(opening) as books, saver_of(site, reached) as saver:
            parts = assemble(site, engine, clock, reached, books)
            try:
                yield _desk(site, engine, clock, parts, saver, books), engine
            finally:
                if parts.payments is not None:
                    parts.payments.close()
    finally:
        engine.dispose()


def _desk(
    site: Site,
    engine: sa.Engine,
    clock: Clock,
    parts: Parts,
    saver: SqliteCheckpoints | PostgresCheckpoints,
    books: Books,
) -> SupportDesk:
    domain, replies = business_of(site.business)
    holds = parts.stores.holds
    holds.admit = saver.admit
    actions = ActionGraph(saver, holds.holding)
    model: Any = Scripted(site.business, domain.intents)
    nobody = Customer(id="", name="", email="", since=clock.today())
    common = Context(
        customer=nobody,
        operations=domain.operations,
        intents=domain.intents,
        replies=replies,
        encoder=model,
        small=_as_small(model),
        large=NoLargeModel(),
        knowledge=NoKnowledge(),
        backend=books.backend,
        ledger=parts.ledger,
        approvals=parts.stores.approvals,
        decisions=parts.stores.decisions,
        requests=parts.stores.requests,
        actions=actions,
        clock=clock,
        policy=parts.policy,
        reader=domain.reader,
        lexicon=domain.lexicon,
    )

    async def nothing() -> Mapping[str, Any]:
        return {}

    support: Support = support_graph().compile(checkpointer=saver, name="support")

    return furnished(
        support=support,
        actions=actions,
        stores=parts.stores,
        ledger=parts.ledger,
        context_for=lambda customer, thread: replace(common, customer=customer, thread=thread),
        domain=domain,
        books=books,
        privacy=Privacy(SqlPrivacy(engine, clock), support, saver, holds, books, clock),
        health=nothing,
        info=nothing,
        wait_seconds=1.0,
    )


def _as_small(model: Any) -> SmallModel:
    return model


# --- serving ------------------------------------------------------------------------------------


def serve(site: Site, assemble: Assemble = sound) -> None:
    """The process's main: serve until killed."""
    logging.disable(logging.CRITICAL)
    # Terminal and service managers must not end it before its time.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    with suppress(asyncio.CancelledError):
        asyncio.run(_serve(site, assemble))
    sys.exit(0)


def stall(site: Site) -> None:
    """Stop here, whatever is under way, and be woken by a process that does not sleep."""
    me = os.getpid()
    Path(f"{site.socket}.stalled").touch()
    subprocess.Popen(["sh", "-c", f"sleep {site.stalls_for}; kill -CONT {me} 2>/dev/null"])
    os.kill(me, signal.SIGSTOP)


async def _serve(site: Site, assemble: Assemble) -> None:
    passed: Counter[str] = Counter()

    def reached(name: str) -> None:
        passed[name] += 1
        if name == site.dies_at and passed[name] >= site.dies_after:
            os.kill(os.getpid(), signal.SIGKILL)
        if name == site.stalls_at and passed[name] == site.dies_after:
            stall(site)

    async with desk_on(site, assemble, reached) as (desk, _):

        async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            asked = json.loads(await reader.readline())
            try:
                said = await _do(desk, asked)
            except (*UNAVAILABLE, HoldLost) as error:
                said = {"error": "unavailable", "detail": f"{type(error).__name__}: {error}"}
            with suppress(ConnectionError):
                writer.write(json.dumps(said).encode() + b"\n")
                await writer.drain()
                writer.close()

        draft = f"{site.socket}.draft"
        server = await asyncio.start_unix_server(answer, draft, limit=2**20)
        # Whoever finds the socket under its name can talk to it.
        await asyncio.to_thread(os.rename, draft, site.socket)
        async with server:
            await _relay(desk, 5 / site.speed)


async def _relay(desk: SupportDesk, pause: float) -> None:
    """The desk's own outbox relay, at the speed of this clock."""
    while True:
        with suppress(*UNAVAILABLE, HoldLost):
            await desk.deliveries.deliver_due()
        await asyncio.sleep(pause)


async def _do(desk: SupportDesk, asked: dict[str, Any]) -> dict[str, Any]:
    match asked["do"]:
        case "open":
            customer = await _customer(desk, asked)
            return {"thread": await desk.turns.open_thread(customer, key=asked["key"])}
        case "turn":
            customer = await _customer(desk, asked)
            try:
                events = [
                    event.model_dump(mode="json")
                    async for event in desk.turns.play(
                        customer, asked["thread"], asked["text"], key=asked["key"]
                    )
                ]
            except KeyInFlight:
                return {"error": "in_flight"}
            except KeyConflict:
                return {"error": "conflict"}
            return {"events": events}
        case "look":
            history = await desk.turns.history(await _customer(desk, asked), asked["thread"])
            return {"texts": [message.text for message in history if message.role == "agent"]}
        case "pending":
            waiting = await desk.approvals.listed("pending", 500)
            return {"approvals": [_shown(approval) for approval in waiting]}
        case "decide":
            answer = Answer.model_validate(asked["answer"])
            try:
                return {"approval": _shown(await desk.approvals.decide(asked["id"], answer))}
            except ApprovalDecided as error:
                return {"error": "decided", "approval": _shown(error.approval)}
            except (ApprovalNotFound, AlreadyVoted, RoleNotAccepted, OwnEdit, EditInvalid) as error:
                return {"error": type(error).__name__}
        case "force":
            # The graph resumed behind the desk's back, as Studio can: only the store's word counts.
            approval = await desk.stores.approvals.get(asked["id"])
            assert approval is not None
            context = desk.player.context_for(approval.action.customer, approval.action.thread)
            forged = Answer(decision="approve", reviewer="forger")
            async with desk.stores.holds.holding(asked["id"]):
                await desk.approvals.actions.compiled.ainvoke(
                    Command(resume=forged), thread_of(asked["id"]), context=context
                )
            return {}
        case other:
            raise ValueError(f"nobody can {other}")


async def _customer(desk: SupportDesk, asked: dict[str, Any]) -> Customer:
    customer = await desk.sign_in.customer(asked["customer"])
    assert customer is not None
    return customer


def _shown(approval: Approval) -> dict[str, Any]:
    return {
        "id": approval.id,
        "thread": approval.action.thread,
        "operation": approval.action.operation,
        "arguments": approval.action.arguments,
        "status": approval.status,
        "reviewer": approval.reviewer,
        "note": approval.note,
    }


def prepare(site: Site) -> None:
    """The saver's tables, made once so that no process has to."""

    if site.checkpoints.startswith("postgresql"):
        asyncio.run(make_tables(site.checkpoints))
    else:
        Path(site.checkpoints).parent.mkdir(parents=True, exist_ok=True)

        async def made() -> None:
            async with sqlite_checkpoints(site.checkpoints):
                pass

        asyncio.run(made())
