"""The answer lane: retrieve, prune, synthesize; quote or admit when that does not work out."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from langgraph.runtime import Runtime

import prompts
from graphs import replies
from graphs.context import Context
from graphs.nodes.converse import may_ask_large, transcript
from graphs.nodes.turn import log, offer_hand_off
from graphs.state import Draft, SupportState
from tools.domain import Decision
from tools.ports import Passage, PortError


async def retrieve(state: SupportState, runtime: Runtime[Context]) -> dict[str, Any]:
    context = runtime.context
    try:
        found = await context.knowledge.retrieve(
            state["turn"].text,
            limit=context.limits.retrieved_chunks,
            tenant=context.customer.tenant,
        )
    except PortError as error:
        return {"passages": (), "degraded": (*state.get("degraded", ()), f"knowledge: {error}")}
    return {"passages": tuple(found)}


async def prune(state: SupportState, runtime: Runtime[Context]) -> dict[str, Any]:
    """Keep the few chunks worth reading; none above the floor means that we do not know."""
    context, passages = runtime.context, state.get("passages", ())
    try:
        kept = await context.knowledge.prune(
            state["turn"].text, passages, keep=context.limits.kept_chunks
        )
    except PortError as error:
        return {"passages": (), "degraded": (*state.get("degraded", ()), f"pruner: {error}")}
    await log(
        runtime,
        state,
        pruned(passages, kept),
    )
    return {"passages": tuple(kept)}


async def synthesize(state: SupportState, runtime: Runtime[Context]) -> dict[str, Any]:
    """The LLM writes a cited answer from the kept sentences, token by token."""
    context, passages = runtime.context, state.get("passages", ())
    previous = state.get("draft")
    if not may_ask_large(state, context):
        return {"draft": None}
    messages = prompts.load("synthesizer").messages(
        shop=replies.SHOP,
        unknown_reply=replies.unknown(),
        passages=shown(passages),
        history=transcript(state, context),
        question=state["turn"].text,
    )
    quotable = await closest(context, state["turn"].text, quotes(passages))
    pieces: list[str] = []
    if previous is not None:
        runtime.stream_writer({"event": "token", "data": {"text": "", "reset": True}})
    try:
        async for token in context.large.write(
            "synthesizer",
            messages.system,
            messages.user,
            quotes=quotable,
            bare="\n".join([*quotable, "", f"Question: {state['turn'].text}", "Answer:"]),
        ):
            pieces.append(token)
            runtime.stream_writer({"event": "token", "data": {"text": token}})
    except PortError as error:
        return {
            "draft": None,
            "llm_calls": state.get("llm_calls", 0) + 1,
            "degraded": (*state.get("degraded", ()), f"synthesizer: {error}"),
        }
    return {
        "draft": Draft(
            text="".join(pieces).strip(),
            source="large",
            passages=passages,
            attempt=1 if previous is None else previous.attempt + 1,
        ),
        "llm_calls": state.get("llm_calls", 0) + 1,
    }


async def quote(state: SupportState, runtime: Runtime[Context]) -> dict[str, Any]:
    """The synthesizer's fallback: the kept sentences themselves, cited. Cannot be ungrounded."""
    passages = state.get("passages", ())
    return {"draft": Draft(text=replies.quoted(passages), source="quotes", passages=passages[:2])}


async def admit(state: SupportState, runtime: Runtime[Context]) -> dict[str, Any]:
    """Nothing worth reading was found: say so and offer a person."""
    offer = offer_hand_off(
        state,
        reason="The knowledge base has no answer to the customer's question.",
        question=replies.unknown_offer(),
    )
    return {
        "pending": (*state.get("pending", ()), offer),
        "draft": Draft(text=offer.question, asks=True),
    }


def pruned(found: Sequence[Passage], kept: Sequence[Passage]) -> Decision:
    """What the pruner chose, for the log."""
    return Decision(
        role="pruner",
        chosen=", ".join(p.id for p in kept) or "nothing",
        probability=max((p.score for p in kept), default=0.0),
        abstained=not kept,
        reason=f"{len(kept)} of {len(found)} chunks",
        tier="encoder",
        model="pruner",
    )


def quotes(passages: tuple[Passage, ...]) -> list[str]:
    """The kept sentences, each with the citation it needs."""
    return [
        f"{sentence} [{n}]"
        for n, passage in enumerate(passages, 1)
        for sentence in (passage.sentences or (passage.text,))
    ]


async def closest(
    context: Context, question: str, sentences: list[str], most: int = 4
) -> list[str]:
    """The sentences nearest in meaning to the question, nearest first: all that a small model that may
    only quote should have to choose from."""
    if not sentences:
        return []
    try:
        asked, *vectors = await context.encoder.embed([question, *sentences])
    except PortError:
        return sentences[:most]
    nearness = [sum(a * b for a, b in zip(asked, v, strict=True)) for v in vectors]
    best = sorted(range(len(sentences)), key=lambda i: -nearness[i])[:most]
    return [sentences[i] for i in best]


def shown(passages: tuple[Passage, ...]) -> str:
    """Numbered passages for a prompt, kept sentences only."""
    return "\n".join(
        f"[{n}] {p.title}{f' (updated {p.updated})' if p.updated else ''}: "
        f"{' '.join(p.sentences) or p.text}"
        for n, p in enumerate(passages, 1)
    )
