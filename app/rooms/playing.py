"""Playing a turn on a conversation: the support graph, run once, whatever crashed before."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AbstractAsyncContextManager, nullcontext
from dataclasses import dataclass, field
from typing import Any

from langchain_core.messages import AIMessage, AnyMessage
from langgraph.graph.state import CompiledStateGraph
from langgraph.types import StateSnapshot

from app.desk import Event, ThreadNotFound
from app.rooms.outcomes import aftermath_of, told_of, unanswered
from app.shadow import Shadow
from app.spending import Budgets
from app.stores.decisions import SqlDecisionLog
from app.stores.fences import HoldLost
from app.stores.holds import SqlHolds
from app.stores.outbox import SqlOutbox
from app.stores.turns import SqlThreads
from app.stores.usage import SqlUsage
from app.tracing import Tracing
from graphs.context import Context
from graphs.corrections import corrects
from graphs.state import SupportState, Turn
from tools.decisions import Aftermath
from tools.ports import PortError
from tools.values import Action, Customer, Outcome

log = logging.getLogger(__name__)

#: Nodes one turn may run; a loop of ten steps needs about forty.
RECURSION_LIMIT = 80

Support = CompiledStateGraph[SupportState, Context, SupportState, SupportState]


@dataclass
class TurnPlayer:
    """Plays turns: a customer's message, or the news of what came of an action."""

    support: Support
    threads: SqlThreads
    outbox: SqlOutbox
    decisions: SqlDecisionLog
    usage: SqlUsage
    holds: SqlHolds
    context_for: Callable[[Customer, str], Context]
    tracing: Tracing = field(default_factory=Tracing)
    budgets: Budgets = field(default_factory=Budgets)
    shadow: Shadow | None = None

    def context(self, customer: Customer, thread: str) -> Context:
        """What a turn on this thread is played with, its ports traced."""
        return self.tracing.wrap(self.context_for(customer, thread))

    async def messages(self, thread: str) -> list[AnyMessage]:
        snapshot = await self.support.aget_state(thread_config(thread))
        return list(snapshot.values.get("messages", []))

    def first(self) -> AbstractAsyncContextManager[None]:
        """A candidate in the shadow waits while a turn is played."""
        return nullcontext() if self.shadow is None else self.shadow.aside()

    async def play(
        self, turn: Turn, context: Context, *, of: str | None = None
    ) -> AsyncIterator[Event]:
        """Run the support graph for one turn, finishing first what a crash left undone. ``of``: the turn whose
        trace it joins."""
        config = thread_config(context.thread)
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
            if new and await self.threads.find(context.thread) is None:
                raise ThreadNotFound  # It was erased while this turn waited for it.
            if snapshot.values.get("handed_off"):
                # A process that died after the hand-off may not have put it on the operators' list.
                await self.threads.set_handed_off(context.thread, True)
            if given is not None and (
                reply := _reply_to(turn, snapshot.values) or _said_since(turn, snapshot.values)
            ):
                # Somebody finished it after a crash: playing it again would answer another question.
                yield _final(reply, turn, context.thread)
                if turn.outcome is not None:
                    await self.outbox.delivered(turn.outcome.action_id)
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
                await self.threads.set_handed_off(context.thread, True)
            for action in told:
                await self.outbox.delivered(action)
            if turn.outcome is not None:
                await self.outbox.delivered(turn.outcome.action_id)
            if final is not None:
                yield final
        await self._draw_conclusions(turn, snapshot.values, seen, context)

    async def _draw_conclusions(
        self, turn: Turn, before: dict[str, Any], seen: list[Event], context: Context
    ) -> None:
        """What the turn says of the decisions made so far. The customer has the reply already."""
        decisions, previous = self.decisions, before.get("last_turn")
        try:
            if previous is not None and corrects(turn.text):
                await decisions.outcome(previous, Aftermath.CORRECTED, turn.text)
                await self.usage.outcome(previous, Aftermath.CORRECTED)
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

    async def tell(self, action: Action, outcome: Outcome) -> None:
        """Bring an outcome into the customer's thread; its action id makes a second delivery the same."""
        context = self.context(action.customer, action.thread)
        turn = Turn(id=f"o_{action.id}", at=context.clock.now(), outcome=outcome)
        try:
            async with (
                self.budgets.paying(action.turn, action.thread, action.customer),
                self.holds.holding(action.thread),
            ):
                async for _ in self.play(turn, context, of=action.turn):
                    pass
        except HoldLost:
            log.warning("the outcome of %s is delivered from elsewhere", action.id)


def thread_config(thread: str) -> Any:
    """Which thread the graph runs on, and how far."""
    return {"configurable": {"thread_id": thread}, "recursion_limit": RECURSION_LIMIT}


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
