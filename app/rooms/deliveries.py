"""The room behind: what is relayed in the background because nobody came to it, and what is cleared away."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from app.drift_watch import DriftWatch
from app.housekeeping import Housekeeping
from app.privacy import Privacy
from app.rooms.approvals import SupportApprovals
from app.rooms.playing import TurnPlayer
from app.stores.fences import HoldLost
from app.stores.outbox import Delivery, SqlOutbox
from graphs.state import Answer, Turn
from tools.domain import Customers
from tools.ports import PortError
from tools.values import Action, Approval

log = logging.getLogger(__name__)

#: How often what nobody delivered is looked for, in seconds.
RELAY_SECONDS = 5.0
#: How many of those it works on at once.
RELAY_WORKERS = 4
#: How often what is past its time is cleared away, in seconds.
PRUNE_SECONDS = 3600.0
#: So long both may finish what they are at when the desk closes, in seconds.
GRACE_SECONDS = 2.0


@dataclass
class SupportDeliveries:
    """The outbox relay: brings to their end, and to the customer, the actions that a dead process left."""

    player: TurnPlayer
    approvals: SupportApprovals
    outbox: SqlOutbox
    customers: Customers
    privacy: Privacy | None = None
    drift: DriftWatch | None = None
    housekeeping: Housekeeping | None = None

    @asynccontextmanager
    async def running(self) -> AsyncGenerator[None]:
        """Delivers in the background what a dead process left behind, and clears away what is past its time, until
        the block ends."""
        over = asyncio.Event()
        tasks = [
            asyncio.create_task(self._deliver_until(over), name="deliveries"),
            asyncio.create_task(self._clear_until(over), name="housekeeping"),
        ]
        try:
            yield
        finally:
            over.set()
            # A transaction that a thread is at ends before its database is closed.
            await asyncio.wait(tasks, timeout=GRACE_SECONDS)
            for task in tasks:
                task.cancel()
            await asyncio.wait(tasks)

    async def _deliver_until(self, over: asyncio.Event) -> None:
        while not over.is_set():
            try:
                await self.deliver_due()
                if self.privacy is not None:
                    await self.privacy.go_on()
                if self.drift is not None:
                    await self.drift.look_when_due()
            except PortError as error:
                log.warning("deliveries wait: %s", error)
            await _pause(over, RELAY_SECONDS)

    async def _clear_until(self, over: asyncio.Event) -> None:
        while self.housekeeping is not None and not over.is_set():
            await self.housekeeping.round()
            await _pause(over, PRUNE_SECONDS)

    async def deliver_due(self) -> None:
        """Expire what was not answered, go on with what was decided and left at that, tell what was not
        told. What another process, or this one, is doing at the same time happens once all the same."""
        await self.approvals.store.expire_due()
        left = timedelta(seconds=RELAY_SECONDS)
        decided = await self.approvals.store.left_undone(left)
        await _each(self._go_on, {each.id: (each, successor) for each, successor in decided})
        settled = await self.approvals.ledger.settle_due(self.approvals.operations)
        await _each(self.player.tell, {action.id: (action, outcome) for action, outcome in settled})
        due = await self.outbox.due()
        await _each(self._deliver, {each.action_id: (each,) for each in due})

    async def _go_on(self, approval: Approval, successor: Action | None) -> None:
        """Do what a decision asked for, where whoever took it did not come to it."""
        if successor is not None:
            await self.approvals.succeed(approval, successor)
        else:
            answer = Answer(decision="approve", reviewer=approval.reviewer or "unknown")
            await self.approvals.carry_out(approval, answer)

    async def _deliver(self, delivery: Delivery) -> None:
        customer = await self.customers.find(delivery.customer_id)
        if customer is None:
            return
        context = self.player.context(customer, delivery.thread)
        turn = Turn(id=f"o_{delivery.action_id}", at=context.clock.now(), outcome=delivery.outcome)
        async with (
            self.player.budgets.paying(turn.id, delivery.thread, customer),
            self.player.holds.holding(delivery.thread),
        ):
            if not await self.outbox.claimed(delivery):
                return
            async for _ in self.player.play(turn, context):
                pass


async def _pause(over: asyncio.Event, seconds: float) -> None:
    """Until it is over, or for so long."""
    with suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await over.wait()


async def _each(
    work: Callable[..., Awaitable[None]], actions: Mapping[str, tuple[Any, ...]]
) -> None:
    """A few at a time: one action that breaks, or waits for another process's lease, must not keep the
    others from their delivery; it comes back later."""
    free = asyncio.Semaphore(RELAY_WORKERS)

    async def attempt(action_id: str, given: tuple[Any, ...]) -> None:
        async with free:
            try:
                await work(*given)
            except (PortError, HoldLost) as error:
                log.warning("action %s waits: %s", action_id, error)
            except Exception:
                log.exception("action %s could not be delivered", action_id)

    await asyncio.gather(*(attempt(action_id, given) for action_id, given in actions.items()))
