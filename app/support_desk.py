"""The running agent behind the Desk protocol: turns, approvals, deliveries, hand-offs."""

from __future__ import annotations

import asyncio
import hashlib
import json
import logging
import time
import uuid
from collections.abc import (
    AsyncGenerator,
    AsyncIterator,
    Awaitable,
    Callable,
    Mapping,
    Sequence,
)
from contextlib import AbstractAsyncContextManager, asynccontextmanager, nullcontext, suppress
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from langchain_core.messages import AIMessage, AnyMessage
from langgraph.graph.state import CompiledStateGraph
from langgraph.types import StateSnapshot
from pydantic import JsonValue

from app.desk import (
    AlreadyVoted,
    ApprovalDecided,
    ApprovalNotFound,
    Case,
    EditInvalid,
    EffectNotFound,
    EffectSettled,
    Event,
    HandOff,
    IntentUnknown,
    KeyConflict,
    KeyInFlight,
    Message,
    OwnEdit,
    RoleNotAccepted,
    ThreadNotFound,
    ThreadSummary,
    TurnNotFound,
    TwinApproved,
)
from app.drift_watch import Drift, DriftWatch
from app.housekeeping import Housekeeping
from app.identity.tokens import NotKnown, Reader
from app.inbox import TURN, Inbox, shown
from app.knowledge.library import Library
from app.models.metering import Meter
from app.privacy import Erased, Privacy
from app.release_watch import ReleaseState, ReleaseWatch
from app.shadow import Shadow
from app.stores.access import SqlAccess
from app.stores.actions import LedgerAction, SqlActions
from app.stores.actions import State as LedgerState
from app.stores.approvals import SqlApprovals
from app.stores.decisions import LoggedDecision, SqlDecisionLog, Wanted
from app.stores.fences import HoldLost, kept
from app.stores.holds import SqlHolds
from app.stores.ledger import Settled, SqlLedger
from app.stores.outbox import Delivery, SqlOutbox
from app.stores.requests import SqlRequests
from app.stores.reviews import Item, SqlReviews
from app.stores.traces import SqlRatings, SqlTraces
from app.stores.turns import Conflict, Fresh, InFlight, Replay, SqlThreads, SqlTurns, Thread
from app.stores.waiting import SqlWaiting, Waiting
from app.tracing import Tracing
from graphs import replies
from graphs.action import ActionGraph, edited
from graphs.context import Context
from graphs.corrections import corrects
from graphs.state import Answer, SupportState, Turn
from prompts.replies import speaking
from tools.decisions import Aftermath
from tools.domain import Books, Domain
from tools.ports import PortError
from tools.values import (
    Action,
    Approval,
    Customer,
    OperationFailed,
    Outcome,
    Preview,
    Reviewer,
    Ticket,
    Unsettled,
    accepts,
)

log = logging.getLogger(__name__)

#: Nodes one turn may run; a loop of ten steps needs about forty.
RECURSION_LIMIT = 80
#: How often what nobody delivered is looked for, in seconds.
COURIER_SECONDS = 5.0
#: How many of those it works on at once.
COURIER_HANDS = 4
#: How often what is past its time is cleared away, in seconds.
PRUNE_SECONDS = 3600.0
#: So long both may finish what they are at when the desk closes, in seconds.
GRACE_SECONDS = 2.0
#: After how long an answer that another process works on is looked for again, and the longest such pause.
ANSWER_POLL_SECONDS, ANSWER_POLL_LONGEST = 0.05, 0.5
#: How often a turn begins again when another process got its thread meanwhile.
TAKEN_OVER = 5

Support = CompiledStateGraph[SupportState, Context, SupportState, SupportState]


@dataclass(frozen=True)
class Stores:
    """What is kept in SQL."""

    actions: SqlActions
    approvals: SqlApprovals
    decisions: SqlDecisionLog
    reviews: SqlReviews
    outbox: SqlOutbox
    requests: SqlRequests
    turns: SqlTurns
    holds: SqlHolds
    threads: SqlThreads
    waiting: SqlWaiting
    traces: SqlTraces
    ratings: SqlRatings
    access: SqlAccess


@dataclass(frozen=True)
class Asked:
    """One message of a customer's."""

    customer: Customer
    thread: str
    text: str
    key: str | None
    title: str  #: Of its thread, so far.
    turn: str


@dataclass
class SupportDesk:
    """One process's agent; everything another process needs is in the stores and the saver."""

    support: Support
    actions: ActionGraph
    stores: Stores
    ledger: SqlLedger
    context_for: Callable[[Customer, str], Context]
    domain: Domain
    books: Books
    check_health: Callable[[], Awaitable[Mapping[str, Any]]]
    describe: Callable[[], Mapping[str, Any]]
    tracing: Tracing = field(default_factory=Tracing)
    identity: Reader | None = None  #: The company's own login; None: there is only the demo's.
    meter: Meter = field(default_factory=Meter)
    intent_names: Callable[[], list[str]] = list
    drift: DriftWatch | None = None
    shadow: Shadow | None = None
    releases: ReleaseWatch | None = None
    library: Library | None = None
    privacy: Privacy | None = None
    housekeeping: Housekeeping | None = None
    #: How long a message that is being answered already is waited for.
    wait_seconds: float = 25.0

    # --- customers and threads -------------------------------------------------------------------

    async def customer(self, customer_id: str) -> Customer | None:
        return await self.books.customers.find(customer_id)

    async def demo_customers(self) -> list[Customer]:
        return list(await self.books.customers.demo())

    async def may_try(self, customer_id: str) -> bool:
        if self.identity is None:
            return True
        return any(one.id == customer_id for one in await self.demo_customers())

    async def identified(self, token: str) -> Customer | None:
        if self.identity is None:
            return None
        try:
            known = await asyncio.to_thread(self.identity.read, token)
        except NotKnown:
            # The demo login's sessions are tokens of ours, not of the company's.
            if await self.demo_customers():
                return None
            raise
        customer = await self.books.customers.find(known.id)
        if customer is None:
            raise NotKnown("This customer is not known to us.")
        return known.of(customer)

    async def open_thread(self, customer: Customer, *, key: str | None = None) -> str:
        # Nobody can guess the id without the secret part of the session: it is checked for its owner.
        name = None if key is None else f"th_{_digest(customer.tenant, customer.id, key)[:32]}"
        return (await self.stores.threads.create(customer.tenant, customer.id, id=name)).id

    async def threads(self, customer: Customer) -> list[ThreadSummary]:
        found = await self.stores.threads.list_for_customer(customer.tenant, customer.id)
        return [
            ThreadSummary(
                id=t.id,
                title=t.title,
                created_at=t.created_at,
                handed_off=t.handed_off,
                claimed=t.claimed_by is not None,
            )
            for t in found
        ]

    def opens(self, customer: Customer) -> datetime | None:
        return self.context_for(customer, "").opens()

    async def history(self, customer: Customer, thread: str) -> list[Message]:
        await self._owned(customer, thread)
        messages = [message for m in await self._messages(thread) if (message := shown(m))]
        rated = await self.stores.ratings.of(m.turn for m in messages if m.turn is not None)
        return [m.model_copy(update={"good": rated.get(m.turn or "")}) for m in messages]

    async def rate(
        self, customer: Customer, thread: str, turn: str, *, good: bool, comment: str = ""
    ) -> None:
        await self._owned(customer, thread)
        if not any(m.id == f"{turn}:out" for m in await self._messages(thread)):
            raise TurnNotFound
        await self.stores.ratings.rate(
            customer.tenant, customer.id, thread, turn, good=good, comment=comment
        )
        await self.tracing.rated(turn, good=good, comment=comment)

    # --- turns ------------------------------------------------------------------------------------

    async def turn(
        self, customer: Customer, thread: str, text: str, *, key: str | None = None
    ) -> AsyncIterator[Event]:
        owned = await self._owned(customer, thread)
        # A retry after a crash is the same turn: same message ids, same action keys.
        turn = f"{TURN}{uuid.uuid4().hex[:20]}" if key is None else turn_id_of(customer, key)
        asked = Asked(customer, thread, text, key, owned.title, turn)
        claim: Fresh | None = None
        if key is not None:
            match await self._begun(asked):
                case Replay() as known:
                    for event in _stored(known):
                        yield event
                    return
                case InFlight():
                    raise KeyInFlight
                case Conflict():
                    raise KeyConflict
                case Fresh() as claim:
                    pass
        # In a task of its own, so that a lost hold ends the turn, and not whoever reads its events.
        async for event in streamed(lambda tell: self._answer(asked, claim, tell)):
            yield event

    async def _begun(self, asked: Asked) -> Fresh | Replay | InFlight | Conflict:
        """Take the message's key; while another process, or another click, is at it, wait for its answer."""
        customer, pause = asked.customer, ANSWER_POLL_SECONDS
        until = time.monotonic() + self.wait_seconds
        while True:
            begun = await self.stores.turns.begin(
                customer.tenant, customer.id, asked.key or "", _digest(asked.thread, asked.text)
            )
            if not isinstance(begun, InFlight) or time.monotonic() > until:
                return begun
            await asyncio.sleep(pause)
            pause = min(pause * 1.5, ANSWER_POLL_LONGEST)

    async def _answer(
        self, asked: Asked, claim: Fresh | None, tell: Callable[[Event], None]
    ) -> None:
        """Play the turn under its holds; where they are lost, tell what whoever took over answers."""
        context = self.tracing.wrap(self.context_for(asked.customer, asked.thread))
        # What is longer is refused; no more of it than shows that comes into any checkpoint.
        text = asked.text[: context.limits.message_chars + 1]
        turn = Turn(id=asked.turn, text=text, at=context.clock.now())
        answered = False
        try:
            for _ in range(TAKEN_OVER):
                events: list[Event] = []
                lost = False
                try:
                    async with (
                        self._keeping(claim),
                        self.stores.holds.holding(asked.thread),
                        self._first(),
                    ):
                        async for event in self._play(turn, context):
                            events.append(event)
                            tell(event)
                            answered = answered or event.event == "final"
                except HoldLost:
                    lost = True
                    log.warning("turn %s of thread %s goes on elsewhere", turn.id, asked.thread)
                if answered:
                    await self._settle(claim, events, asked)
                if answered or not lost:
                    return
                # Is the key still ours? Then whoever had the thread played something else on it.
                if claim is not None and not await self.stores.turns.renew(claim):
                    # Whoever has the key answers; its answer is the one that stands in the thread.
                    match await self._begun(asked):
                        case Replay() as known:
                            for event in _stored(known):
                                tell(event)
                            return
                        case Fresh() as claim:
                            pass
                        case _:
                            break
            tell(_elsewhere())
        except PortError as error:
            log.warning("turn %s of thread %s failed: %s", turn.id, asked.thread, error)
            if not answered:
                tell(_failed())
        finally:
            if claim is not None and not answered:
                with suppress(PortError):  # Its lease ends it, later.
                    await asyncio.shield(self.stores.turns.abandon(claim))

    def _keeping(self, claim: Fresh | None) -> AbstractAsyncContextManager[None]:
        if claim is None:
            return nullcontext()
        return kept(lambda: self.stores.turns.renew(claim), self.stores.holds.beat)

    async def _play(
        self, turn: Turn, context: Context, *, of: str | None = None
    ) -> AsyncIterator[Event]:
        """Run the support graph for one turn, finishing first what a crash left undone. ``of``: the turn whose
        trace it joins."""
        config = _config(context.thread)
        if self.shadow is not None:
            context = self.shadow.listening(context, turn.id)
        async with self.tracing.turn(
            turn.id, context.thread, context.customer.id, turn.text, of=of
        ) as traced:
            config["callbacks"] = list(traced.callbacks)
            snapshot = await self.support.aget_state(config)
            if (left := _left_in(snapshot)) is not None and left.id != turn.id:
                await self._finish_crashed(config, context, left)
                # It may have been this very turn, whose id no step had written down yet.
                snapshot = await self.support.aget_state(config)
                left = _left_in(snapshot)
            # What was begun goes on where it stopped, also when finishing it just failed once more.
            given: Any = None if left is not None and left.id == turn.id else {"turn": turn}
            new = turn.outcome is None and not snapshot.values
            if new and await self.stores.threads.find(context.thread) is None:
                raise ThreadNotFound  # It was erased while this turn waited for it.
            if snapshot.values.get("handed_off"):
                # A process that died after the hand-off may not have put it on the operators' list.
                await self.stores.threads.set_handed_off(context.thread, True)
            if given is not None and (
                reply := _reply_to(turn, snapshot.values) or _said_since(turn, snapshot.values)
            ):
                # Somebody finished it after a crash: playing it again would answer another question.
                yield _final(reply, turn, context.thread)
                if turn.outcome is not None:
                    await self.stores.outbox.delivered(turn.outcome.action_id)
                return
            written: set[str] = set()
            told: set[str] = set()
            seen: list[Event] = []
            final: Event | None = None
            # With the subgraphs': a plan's steps announce their actions from inside the loop.
            async for _, data in self.support.astream(
                given,
                config,
                context=context,
                stream_mode="custom",
                # Each step is on disk before the next begins: a write must never outlive what the thread
                # remembers of the request it belongs to.
                durability="sync",
                subgraphs=True,
            ):
                event = Event.model_validate(data)
                if event.event != "token":
                    seen.append(event)
                if event.event == "tool" and _is_write(event, context):
                    written.add(str(event.data.get("action", "")))
                if event.event == "final":
                    # Only what this reply tells: an action that still waited may be decided by now.
                    told = written & _told_by(event)
                    event = event.model_copy(
                        update={"data": {**event.data, "turn": turn.id, "thread": context.thread}}
                    )
                    traced.annotate(**told_of(seen))
                    if isinstance(groundedness := event.data.get("groundedness"), float):
                        traced.score(groundedness=groundedness)
                    # Not told before it is in the thread: until then another process may have gone on.
                    final = event
                else:
                    yield event
            if any(event.event == "handoff" for event in seen):
                await self.stores.threads.set_handed_off(context.thread, True)
            for action in told:
                await self.stores.outbox.delivered(action)
            if turn.outcome is not None:
                await self.stores.outbox.delivered(turn.outcome.action_id)
            if final is not None:
                yield final
        await self._draw_conclusions(turn, snapshot.values, seen, context)

    async def _draw_conclusions(
        self, turn: Turn, before: dict[str, Any], seen: list[Event], context: Context
    ) -> None:
        """What the turn says of the decisions made so far. The customer has the reply already."""
        decisions, previous = self.stores.decisions, before.get("last_turn")
        try:
            if previous is not None and corrects(turn.text):
                await decisions.outcome(previous, Aftermath.CORRECTED, turn.text)
            lost = unanswered(seen, context)
            if lost is not None:
                # What the turn was taken for is not what it was answered with: no success of anybody's.
                await decisions.outcome(turn.id, Aftermath.FAILED, lost)
            elif (aftermath := aftermath_of(seen)) is not None:
                await decisions.settle(context.thread, aftermath)
        except PortError as error:
            log.warning("what came of turn %s is not in the decision log: %s", turn.id, error)
        if self.shadow is not None:
            self.shadow.offer(context)

    async def _finish_crashed(self, config: Any, context: Context, left: Turn) -> None:
        log.warning("finishing turn %s, which an earlier process left undone", left.id)
        try:
            await self.support.ainvoke(None, config, context=context, durability="sync")
        except PortError as error:
            log.warning("turn %s could not be finished: %s", left.id, error)
        except HoldLost:
            raise
        except Exception:
            # Whatever broke that turn must not break every later one on this thread.
            log.exception("turn %s is given up", left.id)

    async def _settle(self, claim: Fresh | None, events: list[Event], asked: Asked) -> None:
        """Store what a retry would get. The thread has the answer already, so nothing here may deny it."""
        try:
            if claim is not None:
                answer: list[JsonValue] = [event.model_dump(mode="json") for event in events]
                await asyncio.shield(self.stores.turns.finish(claim, answer))
            if not asked.title and asked.text.strip():
                title = " ".join(asked.text.split())[:60]
                await asyncio.shield(self.stores.threads.set_title(asked.thread, title))
        except PortError as error:
            log.warning("the answer to turn %s is not stored for a retry: %s", asked.turn, error)

    # --- approvals --------------------------------------------------------------------------------

    async def approvals(
        self, status: str | None = "pending", limit: int = 50, *, tenant: str | None = None
    ) -> list[Approval]:
        return await self.stores.approvals.list(status, limit, tenant=tenant)  # type: ignore[arg-type]

    async def decide(
        self, action_id: str, answer: Answer, *, tenant: str | None = None
    ) -> Approval:
        waiting = await self.stores.approvals.get(action_id)
        if waiting is None or tenant not in (None, waiting.action.tenant):
            raise ApprovalNotFound
        if answer.decision == "edit":
            return await self._edit(waiting, answer)
        approval, changed = await self.stores.approvals.decide(
            action_id,
            approve=answer.decision == "approve",
            reviewer=answer.reviewer,
            role=answer.role,
            note=answer.note,
        )
        if not changed:
            raise _unchanged(approval, answer)
        if approval.status != "pending":
            await self._judged_by_person(approval.action, answer)
            # The decision stands; whoever took over carries it out.
            with suppress(HoldLost):
                await self._carry_out(approval, answer)
        return await self.stores.approvals.get(action_id) or approval

    async def _edit(self, waiting: Approval, answer: Answer) -> Approval:
        """Other arguments are another action: the old question is closed, the new one goes to the gate."""
        if waiting.status != "pending":
            raise ApprovalDecided(waiting)
        if answer.operation not in (None, waiting.action.operation):
            raise EditInvalid("an edit changes the arguments, not the operation")
        context = self.tracing.wrap(
            self.context_for(waiting.action.customer, waiting.action.thread)
        )
        operation = context.operations[waiting.action.operation]
        with speaking(context.replies.voice(waiting.action.language or context.language)):
            reviewer = Reviewer(name=answer.reviewer, role=answer.role)
            action = await edited(waiting.action, operation, answer, context, by=reviewer)
        if isinstance(action, str):
            raise EditInvalid(action)
        action = await self._described(action, context)
        closed, changed = await self.stores.approvals.replace(
            waiting.id, action, reviewer=answer.reviewer, role=answer.role, note=answer.note
        )
        if not changed:
            raise ApprovalDecided(closed)
        await self._judged_by_person(waiting.action, answer)
        with suppress(HoldLost):
            await self._succeed(closed, action)
        return await self.stores.approvals.get(action.id) or closed

    async def _succeed(self, closed: Approval, action: Action) -> None:
        """Bring the action that took a question's place to the gate; a second time changes nothing."""
        context = self.tracing.wrap(self.context_for(action.customer, action.thread))
        answer = Answer(decision="reject", reviewer=closed.reviewer or "")
        await self.actions.resume(closed, answer, context)
        outcome = await self.actions.propose(action, context)
        if outcome.settled:
            await self._tell(action, outcome)
        await self.stores.approvals.succeeded(closed.id)

    async def _judged_by_person(self, action: Action, answer: Answer) -> None:
        """The operator's answer is what came of the decisions that led to the action."""
        said = f"{answer.decision} by {answer.reviewer}" + (
            f": {answer.note}" if answer.note else ""
        )
        aftermath = {
            "approve": Aftermath.RESOLVED,
            "edit": Aftermath.EDITED,
            "reject": Aftermath.REJECTED,
        }[answer.decision]
        try:
            await self.stores.decisions.outcome(action.turn, aftermath, said)
        except PortError as error:
            log.warning("what came of action %s is not in the decision log: %s", action.id, error)

    async def _described(self, action: Action, context: Context) -> Action:
        """The edited action with what it would do now; what the rules refuse is no valid edit."""
        operation = context.operations[action.operation]
        try:
            with speaking(context.replies.voice(action.language or context.language)):
                preview: Preview = await context.backend.preview(
                    action.customer, operation, operation.arguments.model_validate(action.arguments)
                )
        except OperationFailed as error:
            raise EditInvalid(str(error)) from error
        if preview.refusal is not None:
            raise EditInvalid(preview.refusal)
        return action.model_copy(
            update={"label": preview.record or action.label, "effects": preview.effects}
        )

    async def _carry_out(self, approval: Approval, answer: Answer) -> None:
        action = approval.action
        context = self.tracing.wrap(self.context_for(action.customer, action.thread))
        async with self.tracing.turn(
            f"a_{action.id}",
            action.thread,
            action.customer.id,
            f"{answer.decision} {action.operation}",
            of=action.turn,
        ):
            outcome = await self.actions.resume(approval, answer, context)
        # What nobody knows yet is told when it is settled: one action has one outcome in the thread.
        if outcome.settled:
            await self._tell(action, outcome)

    async def _tell(self, action: Action, outcome: Outcome) -> None:
        """Bring an outcome into the customer's thread; its action id makes a second delivery the same."""
        context = self.tracing.wrap(self.context_for(action.customer, action.thread))
        turn = Turn(id=f"o_{action.id}", at=context.clock.now(), outcome=outcome)
        try:
            async with self.stores.holds.holding(action.thread):
                async for _ in self._play(turn, context, of=action.turn):
                    pass
        except HoldLost:
            log.warning("the outcome of %s is delivered from elsewhere", action.id)

    # --- the courier ------------------------------------------------------------------------------

    @asynccontextmanager
    async def courier(self) -> AsyncGenerator[None]:
        """Delivers in the background what a dead process left behind, and clears away what is past its time, until
        the block ends."""
        over = asyncio.Event()
        tasks = [
            asyncio.create_task(self._deliver_until(over), name="courier"),
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
            await _pause(over, COURIER_SECONDS)

    async def _clear_until(self, over: asyncio.Event) -> None:
        while self.housekeeping is not None and not over.is_set():
            await self.housekeeping.round()
            await _pause(over, PRUNE_SECONDS)

    async def deliver_due(self) -> None:
        """Expire what was not answered, go on with what was decided and left at that, tell what was not
        told. What another process, or this one, is doing at the same time happens once all the same."""
        await self.stores.approvals.expire_due()
        left = timedelta(seconds=COURIER_SECONDS)
        decided = await self.stores.approvals.left_undone(left)
        await _each(self._go_on, {each.id: (each, successor) for each, successor in decided})
        settled = await self.ledger.settle_due(self.domain.operations)
        await _each(self._tell, {action.id: (action, outcome) for action, outcome in settled})
        due = await self.stores.outbox.due()
        await _each(self._deliver, {each.action_id: (each,) for each in due})

    async def _go_on(self, approval: Approval, successor: Action | None) -> None:
        """Do what a decision asked for, where whoever took it did not come to it."""
        if successor is not None:
            await self._succeed(approval, successor)
        else:
            answer = Answer(decision="approve", reviewer=approval.reviewer or "unknown")
            await self._carry_out(approval, answer)

    async def _deliver(self, delivery: Delivery) -> None:
        customer = await self.books.customers.find(delivery.customer_id)
        if customer is None:
            return
        context = self.tracing.wrap(self.context_for(customer, delivery.thread))
        turn = Turn(id=f"o_{delivery.action_id}", at=context.clock.now(), outcome=delivery.outcome)
        async with self.stores.holds.holding(delivery.thread):
            if not await self.stores.outbox.claimed(delivery):
                return
            async for _ in self._play(turn, context):
                pass

    # --- effects nobody can vouch for ---------------------------------------------------------------

    async def unsettled(self, *, tenant: str | None = None) -> list[Unsettled]:
        return await self.ledger.unsettled(tenant=tenant)

    async def vouch(
        self,
        action_id: str,
        operator: str,
        *,
        happened: bool,
        note: str | None = None,
        tenant: str | None = None,
    ) -> Outcome:
        try:
            action, outcome = await self.ledger.vouch(
                action_id,
                self.domain.operations,
                happened=happened,
                operator=operator,
                note=note,
                tenant=tenant,
            )
        except KeyError:
            raise EffectNotFound from None
        except Settled as error:
            raise EffectSettled(error.outcome) from None
        if outcome.status != "unknown":
            await self._tell(action, outcome)
        return outcome

    # --- operators --------------------------------------------------------------------------------

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

    def counts(self) -> Mapping[str, int]:
        return {} if self.shadow is None else self.shadow.counts

    async def hand_offs(self, *, tenant: str | None = None) -> list[HandOff]:
        return await self.inbox.hand_offs(tenant=tenant)

    async def case(self, thread: str, *, tenant: str | None = None) -> Case:
        return await self.inbox.case(thread, tenant=tenant)

    async def claim(
        self, thread: str, operator: str, *, over: bool = False, tenant: str | None = None
    ) -> None:
        await self.inbox.claim(thread, operator, over=over, tenant=tenant)

    async def leave(self, thread: str, operator: str, *, tenant: str | None = None) -> None:
        await self.inbox.leave(thread, operator, tenant=tenant)

    async def reply(
        self, thread: str, operator: str, message: str, *, tenant: str | None = None
    ) -> None:
        await self.inbox.reply(thread, operator, message, tenant=tenant)

    async def note(
        self, thread: str, operator: str, text: str, *, tenant: str | None = None
    ) -> None:
        await self.inbox.note(thread, operator, text, tenant=tenant)

    async def release(
        self,
        thread: str,
        operator: str,
        message: str | None = None,
        *,
        tenant: str | None = None,
    ) -> None:
        await self.inbox.release(thread, operator, message, tenant=tenant)

    async def export_words(self, customer_id: str, *, tenant: str | None = None) -> dict[str, Any]:
        return await self._kept.export(tenant or self.domain.tenant, customer_id)

    async def erase_words(
        self, customer_id: str, operator: str, *, tenant: str | None = None
    ) -> Erased:
        return await self._kept.erase(tenant or self.domain.tenant, customer_id, operator)

    @property
    def _kept(self) -> Privacy:
        assert self.privacy is not None
        return self.privacy

    @property
    def inbox(self) -> Inbox:
        """The people's side of the conversations."""
        return Inbox(
            support=self.support,
            threads=self.stores.threads,
            approvals=self.stores.approvals,
            decisions=self.stores.decisions,
            actions=self.stores.actions,
            holds=self.stores.holds,
            books=self.books,
            context_for=self.context_for,
        )

    @property
    def access(self) -> SqlAccess:
        return self.stores.access

    async def health(self) -> Mapping[str, Any]:
        return await self.check_health()

    async def info(self) -> Mapping[str, Any]:
        return await asyncio.to_thread(self.describe)

    def _first(self) -> AbstractAsyncContextManager[None]:
        """A candidate in the shadow waits while a turn is played."""
        return nullcontext() if self.shadow is None else self.shadow.aside()

    # --- inside -----------------------------------------------------------------------------------

    async def _owned(self, customer: Customer, thread: str) -> Thread:
        owned = await self.stores.threads.owner(thread, customer.tenant, customer.id)
        if owned is None:
            raise ThreadNotFound
        return owned

    async def _messages(self, thread: str) -> list[AnyMessage]:
        snapshot = await self.support.aget_state(_config(thread))
        return list(snapshot.values.get("messages", []))


async def _pause(over: asyncio.Event, seconds: float) -> None:
    """Until it is over, or for so long."""
    with suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await over.wait()


def _unchanged(approval: Approval, answer: Answer) -> Exception:
    """Why a vote changed nothing."""
    if approval.status != "pending":
        return ApprovalDecided(approval)
    if not accepts(approval.verdict.reviewer, answer.role):
        return RoleNotAccepted()
    if approval.approved_twin is not None:
        return TwinApproved(approval)
    if approval.is_own_edit(answer.reviewer):
        return OwnEdit()
    return AlreadyVoted(approval)


async def _each(
    work: Callable[..., Awaitable[None]], actions: Mapping[str, tuple[Any, ...]]
) -> None:
    """A few at a time: one action that breaks, or waits for another process's lease, must not keep the
    others from their delivery; it comes back later."""
    free = asyncio.Semaphore(COURIER_HANDS)

    async def attempt(action_id: str, given: tuple[Any, ...]) -> None:
        async with free:
            try:
                await work(*given)
            except (PortError, HoldLost) as error:
                log.warning("action %s waits: %s", action_id, error)
            except Exception:
                log.exception("action %s could not be delivered", action_id)

    await asyncio.gather(*(attempt(action_id, given) for action_id, given in actions.items()))


def turn_id_of(customer: Customer, key: str) -> str:
    """The turn that a customer's key names."""
    return f"{TURN}{_digest(customer.tenant, customer.id, key)[:20]}"


def _config(thread: str) -> Any:
    return {"configurable": {"thread_id": thread}, "recursion_limit": RECURSION_LIMIT}


def _digest(*parts: str) -> str:
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()


def _left_in(snapshot: StateSnapshot) -> Turn | None:
    """The turn that a crash left undone on a thread."""
    left: Turn | None = snapshot.values.get("turn")
    return left if snapshot.next else None


def _told_by(reply: Event) -> set[str]:
    """The actions whose outcome a reply reports."""
    actions = reply.data.get("actions")
    return {str(each) for each in actions} if isinstance(actions, list) else set()


def _is_write(event: Event, context: Context) -> bool:
    operation = context.operations.get(str(event.data.get("operation", "")))
    return operation is None or operation.writes


def told_of(events: Sequence[Event]) -> dict[str, Any]:
    """What a turn's events say of it, for whoever reads its trace."""
    routes = [event.data for event in events if event.event == "route"]
    finals = [event.data for event in events if event.event == "final"]
    nothing: Mapping[str, JsonValue] = {}
    route = routes[-1] if routes else nothing
    final = finals[-1] if finals else nothing
    aftermath = aftermath_of(events)
    told: dict[str, Any] = {
        name: given.get(name)
        for given, names in (
            (route, ("lane", "intent", "operation", "probability", "tier", "abstained")),
            (final, ("llm_calls", "groundedness", "cached")),
        )
        for name in names
    }
    degraded = bool(final.get("degraded"))
    tags = [f"{name}:{told[name]}" for name in ("lane", "tier") if told[name] is not None]
    tags += ["degraded"] if degraded else []
    tags += ["handoff"] if any(event.event == "handoff" for event in events) else []
    waits = any(event.event == "approval_required" for event in events)
    tags += ["approval"] if waits else []
    told |= {"degraded": degraded, "tags": tags, "output": final.get("text")}
    return told | ({"outcome": str(aftermath)} if aftermath is not None else {})


def aftermath_of(events: Sequence[Event]) -> Aftermath | None:
    """What a turn's events say of the decisions behind them; None while something is open."""
    names = {event.event for event in events}
    if "handoff" in names:
        return Aftermath.ESCALATED
    last = events[-1] if events else None
    if "route" not in names or last is None or last.event != "final":
        return None
    if last.data.get("open") or "approval_required" in names:
        return None
    results = {str(event.data.get("status")) for event in events if event.event == "tool"}
    if "unknown" in results:
        return None
    sorry = "failed" in results or last.data.get("apology") is True
    return Aftermath.FAILED if sorry else Aftermath.RESOLVED


def unanswered(events: Sequence[Event], context: Context) -> str | None:
    """What the customer surely asked for and was not answered, where the turn went on with something else."""
    routes = [event.data for event in events if event.event == "route"]
    if not routes or routes[-1].get("abstained"):
        return None
    intent, went = str(routes[-1].get("intent")), routes[-1].get("operation")
    if went is None or intent not in context.intents.names:
        return None
    asked = context.intents.get(intent).operation
    return f"asked for {asked}, answered {went}" if asked not in (None, went) else None


def _said_since(turn: Turn, values: Mapping[str, Any]) -> AIMessage | None:
    """The last thing said after this turn's message, when a crash cut the turn off and the thread went on.

    Playing it now would answer what was asked in the meantime: a yes would find nothing to confirm."""
    messages: list[AnyMessage] = values.get("messages", [])
    places = [i for i, m in enumerate(messages) if m.id == f"{turn.id}:in"]
    if not places:
        return None
    later = [m for m in messages[places[0] + 1 :] if isinstance(m, AIMessage)]
    return later[-1] if later else None


def _reply_to(turn: Turn, values: Mapping[str, Any]) -> AIMessage | None:
    """The reply to this turn, or the one that told this outcome, if it stands in the thread already."""
    action = turn.outcome.action_id if turn.outcome is not None else None
    messages: list[AnyMessage] = values.get("messages", [])
    for message in messages:
        if isinstance(message, AIMessage) and (
            message.id == f"{action or turn.id}:out"
            or (action is not None and action in message.additional_kwargs.get("actions", ()))
        ):
            return message
    return None


def _final(reply: AIMessage, turn: Turn, thread: str) -> Event:
    data = {"text": reply.text, **reply.additional_kwargs, "turn": turn.id, "thread": thread}
    return Event(event="final", data=data)


async def streamed(
    work: Callable[[Callable[[Event], None]], Awaitable[None]],
) -> AsyncGenerator[Event]:
    """What the work tells, as it happens; it is ended when nobody reads on."""
    events: asyncio.Queue[Event | None] = asyncio.Queue()

    async def run() -> None:
        try:
            await work(events.put_nowait)
        finally:
            events.put_nowait(None)

    task = asyncio.create_task(run())
    try:
        while (event := await events.get()) is not None:
            yield event
        await task
    finally:
        task.cancel()
        await asyncio.wait([task])
        if not task.cancelled():
            task.exception()  # Raised above, or nobody is left to raise it to.


def _stored(known: Replay) -> list[Event]:
    stored = known.response if isinstance(known.response, list) else []
    return [Event.model_validate(event) for event in stored]


def _elsewhere() -> Event:
    return Event(
        event="error", data={"text": replies.elsewhere(), "retry": True, "elsewhere": True}
    )


def _failed() -> Event:
    return Event(event="error", data={"text": replies.apology(), "retry": True})
