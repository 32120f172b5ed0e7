"""The real desk on real stores and a real checkpointer, with scripted models."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace
from typing import Any

import sqlalchemy as sa

from app.economics import Limits
from app.housekeeping import Housekeeping
from app.models.metering import Prices
from app.privacy import Privacy
from app.spending import Budgets
from app.stores.access import SqlAccess
from app.stores.actions import SqlActions
from app.stores.answers import SqlAnswers
from app.stores.approvals import SqlApprovals
from app.stores.audit import SqlAudit
from app.stores.checkpoints import sqlite_checkpoints
from app.stores.database import create_engine, migrate, reading, writing
from app.stores.decisions import SqlDecisionLog
from app.stores.holds import SqlHolds
from app.stores.ledger import SqlLedger
from app.stores.outbox import SqlOutbox
from app.stores.postgres_checkpoints import make_tables, postgres_checkpoints
from app.stores.privacy import SqlPrivacy
from app.stores.requests import SqlRequests
from app.stores.reviews import SqlReviews
from app.stores.stores import Stores
from app.stores.traces import SqlRatings, SqlTraces
from app.stores.turns import SqlThreads, SqlTurns
from app.stores.usage import SqlUsage
from app.stores.waiting import SqlWaiting
from app.support_desk import SupportDesk, furnished
from domains.northfell import store as shop
from domains.northfell.demo_accounts import stories
from domains.northfell.seed import rows_of
from domains.northfell.store import SqlBackend, sql_books, writing_shop
from graphs.context import Context
from tests.graphs.world import (
    INTENTS,
    OPERATIONS,
    TODAY,
    Hands,
    MemoryKnowledge,
    ScriptedEncoder,
    ScriptedLargeModel,
    ScriptedSmallModel,
    actions_on,
    support_on,
)
from tests.northfell import NORTHFELL, REPLIES
from tools.ports import AnswerCache
from tools.privacy import mask_pii
from tools.values import Customer

#: Whose customers they are.
TENANT = NORTHFELL.tenant


class Killed(BaseException):
    """The process is gone, in the middle of something."""


def with_stories(url: str) -> None:
    """Fill a database with the demo shop's stories."""
    migrate(url)
    engine = create_engine(url)
    with writing(engine) as connection:
        for table, rows in rows_of(stories(TODAY)):
            if rows:
                connection.execute(sa.insert(table), rows)
    engine.dispose()


async def nothing() -> dict[str, Any]:
    """What a desk says of itself that nobody asks."""
    return {}


class _People:
    """The customers of a test."""

    def __init__(self, customers: Mapping[str, Customer]) -> None:
        self._customers = customers

    async def find(self, customer_id: str) -> Customer | None:
        return self._customers.get(customer_id)

    async def demo(self) -> list[Customer]:
        return [*self._customers.values()]


class DeskWorld:
    """A database, and processes that run a desk on it."""

    def __init__(self, url: str, checkpoints: str) -> None:
        self.url, self.checkpoints = url, checkpoints
        self.hands = Hands()
        self.encoder = ScriptedEncoder()
        self.small = ScriptedSmallModel()
        self.large = ScriptedLargeModel()
        self.knowledge = MemoryKnowledge()
        self.operations = dict(OPERATIONS)
        self.answers: AnswerCache | None = None
        self.limits, self.prices = Limits(), Prices()
        #: Checkpoint of the ledger or of an erasure -> raise there, once.
        self.kill_at: str | None = None
        self.customers = {a.customer.id: a.customer for a in stories(TODAY)}

    def _checkpoint(self, name: str) -> None:
        if self.kill_at == name:
            self.kill_at = None
            raise Killed

    @asynccontextmanager
    async def process(self) -> AsyncGenerator[SupportDesk]:
        """One process's desk; another one afterwards finds what this one left."""
        async with AsyncExitStack() as stack:
            if self.checkpoints.startswith("postgresql://"):
                await make_tables(self.checkpoints)
            saver: Any = await stack.enter_async_context(
                postgres_checkpoints(self.checkpoints)
                if self.checkpoints.startswith("postgresql://")
                else sqlite_checkpoints(self.checkpoints)
            )
            engine = create_engine(self.url)
            stack.callback(engine.dispose)
            yield self._desk(engine, saver)

    def _desk(self, engine: sa.Engine, saver: Any) -> SupportDesk:
        clock = self.hands.clock
        outbox = SqlOutbox(engine, clock)
        approvals = SqlApprovals(engine, clock, outbox=outbox)
        ledger = SqlLedger(
            engine,
            writing_shop(clock),
            clock,
            approvals,
            outbox=outbox,
            checkpoint=self._checkpoint,
        )
        stores = Stores(
            actions=SqlActions(engine),
            approvals=approvals,
            decisions=SqlDecisionLog(engine, mask_pii, 30, clock),
            reviews=SqlReviews(engine, clock),
            outbox=outbox,
            requests=SqlRequests(engine, clock),
            turns=SqlTurns(engine, clock),
            holds=SqlHolds(engine, clock, admit=saver.admit),
            threads=SqlThreads(engine, clock),
            waiting=SqlWaiting(engine, clock),
            traces=SqlTraces(engine, str, 90, clock),
            ratings=SqlRatings(engine, clock),
            access=SqlAccess(engine, clock),
            usage=SqlUsage(engine, 30, clock),
            answers=SqlAnswers(engine, clock),
        )
        actions = actions_on(saver, stores.holds.holding)
        backend = SqlBackend(engine, clock)
        audit = SqlAudit(engine, clock)
        books = replace(sql_books(engine, clock), customers=_People(self.customers))

        def context_for(customer: Customer, thread: str) -> Context:
            return Context(
                customer=customer,
                operations=self.operations,
                intents=INTENTS,
                replies=REPLIES,
                encoder=self.encoder,
                small=self.small,
                large=self.large,
                knowledge=self.knowledge,
                backend=backend,
                ledger=ledger,
                approvals=approvals,
                decisions=stores.decisions,
                requests=stores.requests,
                audit=audit,
                actions=actions,
                thread=thread,
                answers=self.answers,
                writer="scripted-large",
                clock=clock,
            )

        support = support_on(saver)
        privacy = Privacy(
            SqlPrivacy(engine, clock, audit=audit),
            support,
            saver,
            stores.holds,
            books,
            clock,
            passed=self._checkpoint,
        )

        return furnished(
            support=support,
            actions=actions,
            stores=stores,
            ledger=ledger,
            context_for=context_for,
            domain=NORTHFELL,
            books=books,
            health=nothing,
            info=nothing,
            privacy=privacy,
            budgets=Budgets(stores.usage, self.limits, self.prices, domain="shop", clock=clock),
            housekeeping=Housekeeping(stores, ledger, privacy, engine),
        )

    def rows(self, table: str, **where: Any) -> list[dict[str, Any]]:
        """What the books hold."""
        of = getattr(shop, table)
        query = sa.select(of).where(*(of.c[name] == value for name, value in where.items()))
        engine = create_engine(self.url)
        with reading(engine) as connection:
            found = [dict(row) for row in connection.execute(query).mappings()]
        engine.dispose()
        return found

    async def say(
        self,
        desk: SupportDesk,
        thread: str,
        text: str,
        intent: str,
        *,
        who: str = "ana",
        key: str | None = None,
    ) -> list[Any]:
        """Play a turn; its events."""
        self.encoder.intents[text] = (intent, 0.97)
        return [e async for e in desk.turns.play(self.customers[who], thread, text, key=key)]
