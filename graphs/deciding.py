"""How a decision is written down before it takes effect, and left for a candidate to make again."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Sequence
from typing import TypeVar

from langgraph.runtime import Runtime

from graphs.context import Context
from graphs.state import SupportState
from tools.decisions import Alternative, Decision
from tools.ports import Choice
from tools.values import Lane

Found = TypeVar("Found")


async def decided(
    runtime: Runtime[Context], role: str, decide: Callable[[Runtime[Context]], Awaitable[Found]]
) -> Found:
    """What ``decide`` comes to and logs. Where a candidate listens it is kept, to be called again with the
    candidate's models: it holds its input, and does nothing but decide and log."""
    if (overheard := runtime.context.overheard) is not None:
        overheard.again.append((role, decide))
    return await decide(runtime)


async def log(
    runtime: Runtime[Context],
    state: SupportState,
    *decisions: Decision,
    input: str | None = None,
) -> None:
    """Decisions are stored before they take effect. ``input``: what was read, where not the whole message."""
    context, turn = runtime.context, state["turn"]
    read = turn.text if input is None else input
    where = {"tenant": context.customer.tenant, "thread": context.thread, "turn": turn.id}
    await record(context, read, decisions, **where)


async def record(
    context: Context,
    input: str,
    decisions: Sequence[Decision],
    *,
    tenant: str,
    thread: str,
    turn: str,
) -> None:
    """The same, wherever it belongs."""
    if (overheard := context.overheard) is not None:
        overheard.chosen |= {(each.role, input): each.chosen for each in decisions}
    await context.decisions.record(
        tenant=tenant, thread=thread, turn=turn, input=input, decisions=decisions
    )


def decision(
    role: str,
    choice: Choice,
    *,
    abstained: bool = False,
    reason: str = "",
    lane: Lane | None = None,
) -> Decision:
    """One option out of a closed set, as a model chose it."""
    ranked = sorted(choice.probabilities.items(), key=lambda item: -item[1])[:5]
    return Decision(
        role=role,
        chosen=choice.option,
        probability=choice.probabilities.get(choice.option, 0.0),
        alternatives=tuple(Alternative(option=o, probability=p) for o, p in ranked),
        abstained=abstained,
        reason=reason,
        tier=choice.tier,
        model=choice.model,
        adapter=choice.adapter,
        prompt="" if choice.adapter else choice.version,
        ms=choice.ms,
        lane=lane,
    )


def by_rule(
    role: str,
    chosen: str,
    reason: str = "",
    *,
    abstained: bool = False,
    ms: float = 0.0,
) -> Decision:
    """What a rule says, or what is done in place of a model that did not answer (``abstained``)."""
    return Decision(
        role=role,
        chosen=chosen,
        probability=0.0 if abstained else 1.0,
        abstained=abstained,
        reason=reason,
        tier="rule",
        model="rules",
        ms=ms,
    )


def ms_since(started: float) -> float:
    """Milliseconds since a reading of ``time.perf_counter``."""
    return (time.perf_counter() - started) * 1000
