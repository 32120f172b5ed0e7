"""What operators look at: what was done and decided, samples to label, drift, releases, what waits."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import timedelta

from app.desk import IntentUnknown
from app.drift_watch import Drift, DriftWatch
from app.economics import Economics, baseline_of
from app.models.metering import Meter
from app.release_watch import ReleaseState, ReleaseWatch
from app.shadow import Shadow
from app.spending import Budgets
from app.stores.actions import LedgerAction
from app.stores.actions import State as LedgerState
from app.stores.answers import CachedAnswer
from app.stores.decisions import LoggedDecision, Wanted
from app.stores.reviews import Item
from app.stores.stores import Stores
from app.stores.waiting import Waiting
from tools.domain import Books
from tools.values import Ticket


@dataclass
class SupportViews:
    """Reads the stores for operators; all it writes is what they say of a sample or an answer."""

    stores: Stores
    books: Books
    tenant: str  #: Of the business that this desk serves.
    budgets: Budgets
    meter: Meter
    intent_names: Callable[[], list[str]] = list
    drift: DriftWatch | None = None
    shadow: Shadow | None = None
    releases: ReleaseWatch | None = None

    async def done(
        self,
        customer_id: str,
        *,
        thread: str | None = None,
        state: LedgerState | None = None,
        tenant: str | None = None,
    ) -> list[LedgerAction]:
        return await self.stores.actions.list(
            customer_id, thread=thread, state=state, tenant=tenant
        )

    async def tickets(self, customer_id: str, *, tenant: str | None = None) -> list[Ticket]:
        return await self.books.tickets(customer_id, tenant)

    async def decisions(
        self, wanted: Wanted, *, limit: int = 50, before: int | None = None
    ) -> list[LoggedDecision]:
        return await self.stores.decisions.list(wanted, limit=limit, before=before)

    async def reviews(self, *, tenant: str | None, limit: int = 50) -> list[Item]:
        return await self.stores.reviews.list(tenant=tenant, waiting=True, limit=limit)

    async def draw_reviews(self, n: int, *, days: float, tenant: str | None) -> list[Item]:
        since = self.stores.reviews.now() - timedelta(days=days)
        return await self.stores.reviews.draw(n, since=since, tenant=tenant)

    async def label(
        self, sample: str, decision: int, label: str | None, *, operator: str, tenant: str | None
    ) -> Item:
        if label is not None and label not in self.intents():
            raise IntentUnknown(label)
        return await self.stores.reviews.label(
            sample, decision, label=label, reviewer=operator, tenant=tenant
        )

    def intents(self) -> list[str]:
        return self.intent_names()

    async def drift_now(self, *, tenant: str | None) -> Drift:
        if self.drift is None:
            return Drift(problem="Drift is not watched here.")
        return self.drift.last if tenant is None else await self.drift.of(tenant)

    def release_state(self) -> ReleaseState:
        return ReleaseState() if self.releases is None else self.releases.state

    async def waiting(self) -> Waiting:
        return await self.stores.waiting.now()

    async def spent_today(self) -> float:
        return await self.budgets.today(self.tenant)

    async def economics(self, days: float, *, tenant: str | None = None) -> Economics:
        budgets, spent = self.budgets, await self.stores.usage.over(days, tenant=tenant)
        return Economics(
            days=days,
            currency=budgets.prices.currency,
            spent=spent,
            baseline=baseline_of(spent, budgets.prices, budgets.reference),
            budgets=await budgets.told(tenant or self.tenant),
            process=self.meter.told(),
        )

    async def answers(self, *, tenant: str | None, limit: int = 200) -> list[CachedAnswer]:
        return await self.stores.answers.list(tenant=tenant, limit=limit)

    async def withdraw(self, answer: str, operator: str, *, tenant: str | None) -> CachedAnswer:
        return await self.stores.answers.withdraw(answer, operator, tenant=tenant)

    def counts(self) -> Mapping[str, int]:
        return {} if self.shadow is None else self.shadow.counts
