"""The direct lane and the escalation: replies that need no knowledge and no operation."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

from langchain_core.messages import AIMessage, HumanMessage
from langgraph.runtime import Runtime
from pydantic import JsonValue

import prompts
from graphs import replies
from graphs.casefile import case_file
from graphs.context import Context
from graphs.deciding import by_rule, log, ms_since
from graphs.nodes.turn import REFUSED, offer_hand_off, top
from graphs.state import Draft, Extraction, Next, Pending, SupportState
from tools.decisions import Decision
from tools.ports import PortError

#: How many earlier messages a prompt may show.
_SHOWN = 6
#: Four sentences in any language; a small model says less before it repeats itself.
_TOKENS, _FEW_TOKENS = 220, 110


async def converse(state: SupportState, runtime: Runtime[Context]) -> dict[str, Any]:
    """Small talk and simple facts from templates; a no to what was asked drops it."""
    route, pending = state.get("route"), top(state)
    assert route is not None
    if route.move in ("leave", "decline") and pending is not None:
        left = state.get("pending", ()) if route.move == "leave" else (pending,)
        await _drop(runtime.context, left)
    if route.move == "leave" and pending is not None:
        return {"pending": (), "plan": None, "draft": Draft(text=replies.left())}
    if route.move == "decline" and pending is not None:
        update: dict[str, Any] = {
            "pending": state.get("pending", ())[:-1],
            "draft": Draft(text=replies.dropped(pending, runtime.context)),
        }
        if pending.operation == "plan":
            update["plan"] = None
        return update
    return {"draft": Draft(text=replies.direct(route.intent, runtime.context))}


async def _drop(context: Context, left: Sequence[Pending]) -> None:
    """What is not wanted any more is a new request when it is asked for again."""
    if context.requests is not None:
        for one in left:
            await context.requests.drop(context.customer, one.request)


async def escalate(state: SupportState, runtime: Runtime[Context]) -> dict[str, Any]:
    """An upset customer gets the LLM's words and the offer of a person; asking for one gets one."""
    context, route = runtime.context, state.get("route")
    assert route is not None
    if context.intents.get(route.intent).role == "person":
        return hand_off(state, reason="asked")
    reason = f"{route.intent}, frustration {route.frustration:.2f}"
    offer = offer_hand_off(state, reason="upset")
    draft: Draft | None = None
    calls = state.get("llm_calls", 0)
    degraded = state.get("degraded", ())
    asking, started = prompts.load("escalation"), time.perf_counter()
    file = await case_file(state, context, open_ones=True)
    facts = f"Customer since {context.customer.since:%B %Y}.\n{file.text}".strip()
    history, said = transcript(state, context), state["turn"].text
    there = replies.availability(context.opens())
    messages = asking.messages(
        shop=replies.business(),
        availability=there,
        facts=facts,
        history=history,
        message=said,
    )
    given = "\n".join([facts, history, said, there, replies.business(), offer.question])
    calls += 1
    try:
        written = "".join(
            [
                token
                async for token in context.large.write(
                    "escalation",
                    messages.system,
                    messages.user,
                    quotes=replies.upset_sentences(context.customer.since),
                    bare=f"A customer writes: {state['turn'].text}\nA kind reply:",
                    max_tokens=_TOKENS if context.large_decides else _FEW_TOKENS,
                )
            ]
        )
    except PortError as error:
        degraded = (*degraded, f"escalation: {error}")
        failed = by_rule("escalation", "template", str(error), abstained=True, ms=ms_since(started))
        await log(runtime, state, failed)
    else:
        wrote = Decision(
            role="escalation",
            chosen="a reply",
            probability=1.0,
            reason=reason,
            tier="large",
            model=context.writer,
            prompt=asking.version,
            ms=ms_since(started),
        )
        await log(runtime, state, wrote)
        draft = Draft(
            text=f"{replies.whole_sentences(written)}\n\n{offer.question}",
            source="large",
            asks=True,
            given=given,
        )
    return {
        "pending": (*state.get("pending", ()), offer),
        "draft": draft,
        "llm_calls": calls,
        "degraded": degraded,
    }


def hand_off(state: SupportState, *, reason: str) -> dict[str, Any]:
    """Give the conversation to a person: the request goes to the gate like any other operation."""
    arguments: dict[str, JsonValue] = {"reason": reason}
    request = state["turn"].id
    return {
        "extraction": Extraction(operation="hand_off", request=request, arguments=arguments),
        "next": Next(step="act", arguments=arguments),
    }


def transcript(state: SupportState, context: Context) -> str:
    """The messages before this one, as lines a prompt can show; without those that were refused."""
    earlier = [m for m in state.get("messages", [])[:-1] if REFUSED not in m.additional_kwargs]
    lines = [
        f"{'Customer' if isinstance(m, HumanMessage) else 'Agent'}: {m.text[:300]}"
        for m in earlier[-_SHOWN:]
        if isinstance(m, HumanMessage | AIMessage)
    ]
    return "\n".join(lines)
