"""The people's side of a conversation: who waits, the whole case, and what a person may do with it.

One colleague at a time answers a customer: whoever answers has taken the conversation, and another one is told
whose it is instead of talking over them."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

from langchain_core.messages import AIMessage, AnyMessage, HumanMessage

from app.desk import (
    Case,
    ClaimedByAnother,
    HandOff,
    Message,
    NotHandedOff,
    ThreadNotFound,
    Tried,
)
from app.stores.actions import SqlActions
from app.stores.approvals import SqlApprovals
from app.stores.decisions import LoggedDecision, SqlDecisionLog, Wanted
from app.stores.holds import SqlHolds
from app.stores.turns import SqlThreads, Thread
from app.stores.usage import SqlUsage
from graphs.context import Context
from tools.domain import Books
from tools.ports import BackendUnavailable
from tools.records import RecordView
from tools.values import Customer

if TYPE_CHECKING:
    from app.rooms.playing import Support

#: So many routed messages of one conversation are shown as what was tried.
TRIED = 30
#: Before the id of a customer's turn; the turn that tells what came of an action has another.
TURN = "t_"


@dataclass(frozen=True)
class Inbox:
    """What waits for people, and what they do with it."""

    support: Support
    threads: SqlThreads
    approvals: SqlApprovals
    decisions: SqlDecisionLog
    actions: SqlActions
    usage: SqlUsage
    holds: SqlHolds
    books: Books
    context_for: Callable[[Customer, str], Context]

    # --- reading ----------------------------------------------------------------------------------

    async def hand_offs(self, *, tenant: str | None = None) -> list[HandOff]:
        """Conversations that a person has, or should have: who waits longest comes first."""
        waiting = [
            await self._listed(thread)
            for thread in await self.threads.list_handed_off(tenant=tenant)
        ]
        return sorted(waiting, key=lambda each: (each.waits_since is None, each.since))

    async def _listed(self, thread: Thread) -> HandOff:
        values = await self._values(thread.id)
        who = await self.books.customers.find(thread.customer)
        raw: list[AnyMessage] = values.get("messages", [])
        said = [message for each in raw if (message := shown(each))]
        return HandOff(
            thread=thread.id,
            customer=thread.customer,
            name=who.name if who is not None else thread.customer,
            title=thread.title,
            handed_off_at=thread.handed_off_at or thread.created_at,
            waits_since=waits_since(thread, said),
            claimed_by=thread.claimed_by,
            summary=values.get("hand_off_note", ""),
            last=next((each for each in reversed(said) if each.role != "agent"), None),
        )

    async def case(self, thread: str, *, tenant: str | None = None) -> Case:
        """Everything about one conversation, whoever has it."""
        found = await self._found(thread, tenant)
        values = await self._values(thread)
        customer = await self.books.customers.find(found.customer)
        raw: list[AnyMessage] = values.get("messages", [])
        said = tuple(message for each in raw if (message := shown(each, operators=True)))
        context = None if customer is None else self.context_for(customer, thread)
        wanted = Wanted(tenant=found.tenant, thread=thread, role="router")
        asked = [] if customer is None else await self.approvals.waiting(customer)
        return Case(
            thread=thread,
            title=found.title,
            created_at=found.created_at,
            handed_off=found.handed_off,
            handed_off_at=found.handed_off_at,
            waits_since=waits_since(found, said) if found.handed_off else None,
            claimed_by=found.claimed_by,
            opens_at=None if context is None else context.opens(),
            summary=values.get("hand_off_note", ""),
            customer=customer,
            messages=said,
            notes=tuple(await self.threads.notes(thread)),
            records=None if context is None else await _records(context),
            tried=tuple(
                _tried(each, context)
                for each in reversed(await self.decisions.list(wanted, limit=TRIED))
            ),
            actions=tuple(
                await self.actions.list(found.customer, thread=thread, tenant=found.tenant)
            ),
            approvals=tuple(each for each in asked if each.action.thread == thread),
            tickets=tuple(await self.books.tickets(found.customer, found.tenant)),
            usage=tuple(await self.usage.of_thread(thread, limit=TRIED)),
        )

    # --- what a person does -----------------------------------------------------------------------

    async def claim(
        self, thread: str, operator: str, *, over: bool = False, tenant: str | None = None
    ) -> None:
        """Take the conversation; ``over`` somebody else's claim only where the operator says so."""
        found = await self._handed_off(thread, tenant)
        taken = await self.threads.claim(found.id, operator, over=over)
        if taken is None:
            raise NotHandedOff
        if taken.claimed_by != operator:
            raise ClaimedByAnother(taken.claimed_by or "")

    async def leave(self, thread: str, operator: str, *, tenant: str | None = None) -> None:
        """Leave the conversation to the others; it goes on waiting for a person."""
        found = await self._handed_off(thread, tenant)
        if found.claimed_by not in (None, operator):
            raise ClaimedByAnother(found.claimed_by or "")
        await self.threads.claim(found.id, None)

    async def reply(
        self, thread: str, operator: str, text: str, *, tenant: str | None = None
    ) -> None:
        """Say something to the customer; whoever does has taken the conversation."""
        await self.claim(thread, operator, tenant=tenant)
        await self._say(thread, operator, text, tenant, give_back=False)

    async def note(
        self, thread: str, operator: str, text: str, *, tenant: str | None = None
    ) -> None:
        await self.threads.note(await self._found(thread, tenant), operator, text)

    async def release(
        self, thread: str, operator: str, text: str | None = None, *, tenant: str | None = None
    ) -> None:
        """Give the conversation back to the agent, with a last word if there is one."""
        await self.claim(thread, operator, tenant=tenant)
        await self._say(thread, operator, text, tenant, give_back=True)

    async def _say(
        self, thread: str, operator: str, text: str | None, tenant: str | None, *, give_back: bool
    ) -> None:
        async with self.holds.holding(thread):
            # Somebody may have given it back while the thread was held by them.
            found = await self._handed_off(thread, tenant)
            customer = await self.books.customers.find(found.customer)
            assert customer is not None
            at = self.context_for(customer, thread).clock.now()
            extra = {"at": at.isoformat(), "operator": operator}
            name = f"op_{uuid.uuid4().hex[:16]}"
            said = (
                [AIMessage(text, id=name, name="operator", additional_kwargs=extra)] if text else []
            )
            await self.support.aupdate_state(
                _config(thread),
                {"handed_off": not give_back, "messages": said},
                as_node="deliver",
            )
            if give_back:
                await self.threads.set_handed_off(thread, False, actor=f"operator:{operator}")

    # --- inside -----------------------------------------------------------------------------------

    async def _found(self, thread: str, tenant: str | None = None) -> Thread:
        found = await self.threads.find(thread)
        if found is None or tenant not in (None, found.tenant):
            raise ThreadNotFound
        return found

    async def _handed_off(self, thread: str, tenant: str | None = None) -> Thread:
        found = await self._found(thread, tenant)
        if not found.handed_off:
            raise NotHandedOff
        return found

    async def _values(self, thread: str) -> dict[str, Any]:
        return (await self.support.aget_state(_config(thread))).values


def waits_since(thread: Thread, said: Sequence[Message]) -> datetime | None:
    """Since when the customer waits for a person's word; None: they have it, and it is their turn."""
    begun = thread.handed_off_at or thread.created_at
    answers = [
        place
        for place, each in enumerate(said)
        if each.role == "operator" and each.at is not None and each.at >= begun
    ]
    if not answers:
        return begun
    since = [each for each in said[answers[-1] + 1 :] if each.role == "customer"]
    return (since[0].at or begun) if since else None


async def _records(context: Context) -> tuple[RecordView, ...] | None:
    try:
        return await context.backend.records(context.customer)
    except BackendUnavailable:
        return None  # The case is shown without them; the page says so.


def _tried(logged: LoggedDecision, context: Context | None) -> Tried:
    """What the agent took a message for, in words where the domain has them."""
    chosen, operation = logged.decision.chosen, None
    if context is not None and chosen in context.intents.names:
        operation = context.operations.get(context.intents.get(chosen).operation or "")
    return Tried(
        at=logged.at,
        turn=logged.turn,
        said=logged.input,
        understood=operation.title if operation is not None else chosen.replace("_", " "),
        sure=not logged.decision.abstained,
        probability=logged.decision.probability,
        tier=logged.decision.tier,
        outcome=logged.outcome,
    )


def shown(message: AnyMessage, *, operators: bool = False) -> Message | None:
    """A message of the thread as people see it; ``operators`` also see which of them wrote."""
    extra = message.additional_kwargs
    if isinstance(message, HumanMessage):
        return Message(id=str(message.id), role="customer", text=message.text, at=extra.get("at"))
    if not isinstance(message, AIMessage):
        return None
    known = ("lane", "intent", "llm_calls", "degraded", *(("operator",) if operators else ()))
    name, _, part = str(message.id).rpartition(":")
    return Message(
        id=str(message.id),
        turn=name if part == "out" and name.startswith(TURN) else None,
        role="operator" if message.name == "operator" else "agent",
        text=message.text,
        at=extra.get("at"),
        citations=tuple(extra.get("citations", ())),
        meta={name: extra[name] for name in known if name in extra},
    )


def _config(thread: str) -> Any:
    return {"configurable": {"thread_id": thread}}
