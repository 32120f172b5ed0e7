"""The action graph with business rules, on books in memory or in SQL, and a desk in front of it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import sqlalchemy as sa
from langgraph.checkpoint.memory import InMemorySaver

from app.privacy import Privacy
from app.stores.access import SqlAccess
from app.stores.actions import SqlActions
from app.stores.answers import SqlAnswers
from app.stores.approvals import SqlApprovals
from app.stores.database import create_engine, reading
from app.stores.decisions import SqlDecisionLog
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
from app.support_desk import furnished
from domains.northfell import store as shop
from domains.northfell.demo_accounts import stories
from domains.northfell.operations import OPERATIONS
from graphs.action import thread_of
from graphs.context import Context
from graphs.keys import fingerprint
from graphs.state import Answer
from tests.graphs.world import TODAY, World, actions_on, support_on
from tests.northfell import NORTHFELL
from tools.memory import MemoryLedger
from tools.policy import FilePolicy
from tools.values import Action, Consequence, Outcome, Reviewer, Verdict

RULES = """
rules:
  - {name: big, operations: [request_refund], when: amount > 100, then: two_persons, say: Above 100.}
  - {name: boss, operations: [request_refund], when: 'record_state == "paid"', then: approve, reviewer: admin}
  - {name: never, operations: [request_refund], when: 'reason == "unwanted"', then: refuse, say: No way.}
  - {name: moved, operations: [change_delivery_address], then: approve, say: Moving is looked at.}
"""

#: A verdict somebody made up: the ledger is not to believe it.
LENIENT = Verdict(
    consequence=Consequence.RETRY_SAFE, declared=Consequence.RETRY_SAFE, reason="made up"
)


class Gate:
    """Ana, her orders (SB-10217: 189.00 delivered, SB-9874: 64.80 delivered), and who may decide."""

    def __init__(self, kind: str, folder: Any, url: str = "") -> None:
        self.world = World("ana")
        self.hands = self.world.hands
        self.rules = folder / "rules.yaml"
        self.rules.write_text(RULES)
        self.policy = FilePolicy(self.rules, OPERATIONS)
        self.kind = kind
        self._refunds_before = (
            len(self.world.account.refunds)
            if kind == "memory"
            else sum(len(each.refunds) for each in stories(TODAY))
        )
        clock = self.hands.clock
        saver = InMemorySaver()
        self.actions = actions_on(saver)
        self.approvals: Any = self.world.approvals
        self.requests: Any = self.world.requests
        self.ledger: Any = MemoryLedger(self.world.books, self.approvals, clock, policy=self.policy)
        self.backend: Any = self.world.backend
        self.engine: sa.Engine | None = None
        if kind != "memory":
            self.engine = create_engine(url)
            outbox = SqlOutbox(self.engine, clock)
            self.approvals = SqlApprovals(self.engine, clock, outbox=outbox)
            self.requests = SqlRequests(self.engine, clock)
            self.backend = shop.SqlBackend(self.engine, clock)

            def shop_for(connection: sa.Connection, customer: Any) -> shop.SqlShop:
                return shop.SqlShop(connection, customer, today=clock.today(), writing=True)

            self.ledger = SqlLedger(
                self.engine, shop_for, clock, self.approvals, outbox=outbox, policy=self.policy
            )
            support, books = support_on(saver), shop.sql_books(self.engine, clock)
            holds = SqlHolds(self.engine, clock)
            self.desk = furnished(
                support=support,
                actions=self.actions,
                stores=Stores(
                    actions=SqlActions(self.engine),
                    approvals=self.approvals,
                    decisions=SqlDecisionLog(self.engine, str, 90, clock),
                    reviews=SqlReviews(self.engine, clock),
                    outbox=outbox,
                    requests=self.requests,
                    turns=SqlTurns(self.engine, clock),
                    holds=holds,
                    threads=SqlThreads(self.engine, clock),
                    waiting=SqlWaiting(self.engine, clock),
                    traces=SqlTraces(self.engine, str, 90, clock),
                    ratings=SqlRatings(self.engine, clock),
                    access=SqlAccess(self.engine, clock),
                    usage=SqlUsage(self.engine, 90, clock),
                    answers=SqlAnswers(self.engine, clock),
                ),
                ledger=self.ledger,
                context_for=lambda customer, thread: self.context,
                domain=NORTHFELL,
                books=books,
                privacy=Privacy(
                    SqlPrivacy(self.engine, clock), support, saver, holds, books, clock
                ),
                health=self._nobody,
                info=self._nobody,
            )

    async def _nobody(self, *_: Any) -> Any:
        return None

    def close(self) -> None:
        if self.engine is not None:
            self.engine.dispose()

    @property
    def context(self) -> Context:
        return replace(
            self.world.context,
            approvals=self.approvals,
            requests=self.requests,
            ledger=self.ledger,
            backend=self.backend,
            actions=self.actions,
            policy=self.policy,
        )

    def as_studio(self, name: str = "studio", role: Any = "admin") -> Context:
        """The context of a client that answers by resuming the graph itself."""
        return replace(self.context, reviewer=Reviewer(name=name, role=role))

    def refunds(self) -> int:
        """How many refunds the books hold beyond the story's."""
        if self.engine is None:
            return len(self.world.account.refunds) - self._refunds_before
        with reading(self.engine) as connection:
            counted = sa.select(sa.func.count()).select_from(shop.refunds)
            return connection.execute(counted).scalar_one() - self._refunds_before

    async def refund(
        self, order: str = "SB-10217", reason: str = "damaged", request: str = "r1", **more: Any
    ) -> Action:
        """A refund as the support graph proposes it: completed from the books, confirmed."""
        return await self.write(
            "request_refund", request, order_number=order, reason=reason, **more
        )

    async def write(self, name: str, request: str = "r1", **arguments: Any) -> Action:
        operation, customer = OPERATIONS[name], self.world.customer
        preview = await self.backend.preview(
            customer, operation, operation.arguments.model_validate(arguments)
        )
        action = self.world.an_action(name, request, **{**arguments, **preview.arguments})
        return action.model_copy(update={"label": preview.record or "", "effects": preview.effects})

    async def propose(self, action: Action) -> Outcome:
        return await self.actions.propose(action, self.context)

    async def vote(self, action: Action, reviewer: str, role: Any = "agent", approve: bool = True):
        """One reviewer's vote in the store, and the answer brought to the action as the desk does."""
        approval, changed = await self.approvals.decide(
            action.id, approve=approve, reviewer=reviewer, role=role
        )
        if changed and approval.status != "pending":
            answer = Answer(decision="approve" if approve else "reject", reviewer=reviewer)
            await self.actions.resume(approval, answer, self.context)
        return approval, changed

    async def status(self, action: Action) -> str | None:
        approval = await self.approvals.get(action.id)
        return None if approval is None else approval.status

    async def snapshot(self, action: Action) -> Any:
        return await self.actions.compiled.aget_state(thread_of(action.id))

    def changed(self, action: Action, **arguments: Any) -> Action:
        """The same action with other arguments slipped in, its fingerprint put right."""
        given = {**action.arguments, **arguments}
        return action.model_copy(
            update={"arguments": given, "fingerprint": fingerprint(action.operation, given)}
        )
