"""What a turn may spend on large models, and what it spent: held to budgets, and recorded when it ends."""

from __future__ import annotations

import asyncio
import logging
import time
from collections import Counter
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from datetime import datetime
from typing import Protocol

from app.economics import BudgetState, Limits, TurnUse, cost_of, uses_of
from app.models.metering import Noted, Prices, noting
from tools.decisions import Aftermath
from tools.ports import PortError
from tools.values import Clock, Customer

log = logging.getLogger(__name__)


#: Of the price file; where a large model is configured it is that one.
REFERENCE = "gpt-6-luna"


class Usage(Protocol):
    """Where it is kept, for all replicas."""

    async def record(self, tenant: str, domain: str, use: TurnUse) -> None: ...
    async def spent(self, tenant: str, customer: str) -> tuple[float, float]: ...


@dataclass
class Purse:
    """One turn's calls while it is played."""

    turn: str
    thread: str
    customer: Customer
    at: datetime
    prices: Prices
    noted: Noted = field(default_factory=Noted)
    lane: str | None = None
    tier: str | None = None
    outcome: Aftermath | None = None
    begun: float = field(default_factory=time.perf_counter)

    @property
    def spent(self) -> float:
        return cost_of(uses_of(self.noted, self.prices))

    def use(self) -> TurnUse:
        """What there is to record of it."""
        uses = uses_of(self.noted, self.prices)
        return TurnUse(
            turn=self.turn,
            thread=self.thread,
            customer=self.customer.id,
            at=self.at,
            lane=self.lane,
            tier=self.tier,
            outcome=self.outcome,
            seconds=time.perf_counter() - self.begun,
            llm_calls=sum(not call.stands_in for call in self.noted.calls),
            cost=cost_of(uses),
            unpriced=sum(use.calls for use in uses if use.cost is None),
            models=tuple(uses),
        )


_purse: ContextVar[Purse | None] = ContextVar("purse", default=None)


@dataclass
class Budgets:
    """Holds every large-model call to what is left. What turns that are being played have spent counts at once in
    their own process, and elsewhere when they end."""

    usage: Usage | None = None  #: None: nothing is recorded, and a turn's budget alone is held.
    limits: Limits = field(default_factory=Limits)
    prices: Prices = field(default_factory=Prices)
    domain: str = ""
    reference: str = REFERENCE  #: The model that a baseline asks for everything.
    clock: Clock = field(default_factory=Clock)
    #: Which budget -> how many calls were not made because of it.
    refused: Counter[str] = field(default_factory=Counter[str])
    #: Lane and outcome -> turns of this process; what they cost, by lane.
    ended: Counter[tuple[str, str]] = field(default_factory=Counter[tuple[str, str]])
    cost: dict[str, float] = field(default_factory=dict[str, float])
    _open: list[Purse] = field(default_factory=list[Purse])

    @asynccontextmanager
    async def paying(self, turn: str, thread: str, customer: Customer) -> AsyncGenerator[Purse]:
        """Everything asked inside is this turn's; it is recorded when the block ends, however it does."""
        purse = Purse(turn, thread, customer, self.clock.now(), self.prices)
        token = _purse.set(purse)
        self._open.append(purse)
        try:
            with noting(purse.noted):
                yield purse
        finally:
            _purse.reset(token)
            await asyncio.shield(self._recorded(purse))

    async def spent(self) -> str | None:
        """Which budget is spent, for whoever is about to ask a large model; None: there is enough of each."""
        purse = _purse.get()
        if purse is None:
            return None
        if (why := await self._over(purse)) is not None:
            self.refused[why] += 1
            log.warning("the %s's budget for large models is spent", why)
        return why

    async def today(self, tenant: str) -> float:
        """What was spent since midnight UTC, by all replicas."""
        recorded = 0.0 if self.usage is None else (await self.usage.spent(tenant, ""))[0]
        return recorded + sum(each.spent for each in self._open if each.customer.tenant == tenant)

    async def told(self, tenant: str) -> BudgetState:
        """For whoever asks what may be spent, and was."""
        today = await self.today(tenant)
        return BudgetState(limits=self.limits, spent_today=today, refused=dict(self.refused))

    async def day_is_spent(self, tenant: str) -> bool:
        return 0 < self.limits.day <= await self.today(tenant)

    async def _over(self, purse: Purse) -> str | None:
        limits, who = self.limits, purse.customer
        if 0 < limits.turn <= purse.spent:
            return "turn"
        if self.usage is None or not (limits.day or limits.customer):
            return None
        day, own = await self.usage.spent(who.tenant, who.id)
        playing: Sequence[Purse] = [e for e in self._open if e.customer.tenant == who.tenant]
        day += sum(each.spent for each in playing)
        own += sum(each.spent for each in playing if each.customer.id == who.id)
        if 0 < limits.customer <= own:
            return "customer"
        return "day" if 0 < limits.day <= day else None

    async def _recorded(self, purse: Purse) -> None:
        use = purse.use()
        if purse.lane is not None:
            self.ended[purse.lane, purse.outcome or "open"] += 1
            self.cost[purse.lane] = self.cost.get(purse.lane, 0.0) + use.cost
        try:
            if self.usage is not None:
                await self.usage.record(purse.customer.tenant, self.domain, use)
        except PortError as error:
            log.warning("what turn %s used is not recorded: %s", purse.turn, error)
        finally:
            self._open.remove(purse)
