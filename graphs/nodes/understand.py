"""Understand: write down what a turn could mean among the customer's own records, and choose."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from langchain_core.messages import AIMessage, AnyMessage
from langgraph.runtime import Runtime

from graphs import replies
from graphs.apart import apart
from graphs.context import Context
from graphs.deciding import by_rule, decided, decision, log
from graphs.nodes.turn import last_words, top
from graphs.state import CLARIFY, Pending, Route, SupportState, Turn
from graphs.understanding import dialogue
from graphs.understanding.acts import Read
from graphs.understanding.choosing import choose
from graphs.understanding.clauses import conditional
from graphs.understanding.grounding import Memory
from graphs.understanding.heard import (
    NOBODY,
    HeardTurn,
    offered_records,
    ranked,
    records_known,
    shown_count,
)
from graphs.understanding.open_question import clarified
from graphs.understanding.tiers import hear
from graphs.understanding.waiting import of_waiting
from graphs.understanding.weighing import only_names
from prompts.replies import speaking
from tools.decisions import Alternative, Decision
from tools.ports import Choice
from tools.reading import Spans
from tools.reading.negation import without_replaced
from tools.records import RecordView
from tools.sentences import split as sentences_of
from tools.values import Approval

#: How many alternatives the log keeps.
_LOGGED = 5


async def understand(state: SupportState, runtime: Runtime[Context]) -> dict[str, Any]:
    """What is wanted, of which record, and what it does to the open question; logged before it takes effect."""
    # Read once, outside what a listening candidate makes again: it may not reach the books.
    views, unreachable = await records_known(runtime.context)
    waiting = await runtime.context.approvals.waiting(runtime.context.customer)
    known = _Known(views, tuple(waiting), unreachable)
    return await decided(runtime, "router", lambda who: _understood(state, who, known))


@dataclass(frozen=True)
class _Known:
    """What the books say of the customer before the message is read."""

    views: tuple[RecordView, ...]
    waiting: tuple[Approval, ...]  #: What waits for a colleague.
    unreachable: str = ""  #: Why there are no records.


async def _understood(
    state: SupportState, runtime: Runtime[Context], known: _Known
) -> dict[str, Any]:
    context, turn = runtime.context, state["turn"]
    views = known.views
    pending, stack = top(state), state.get("pending", ())
    memory = Memory(focus=state.get("focus"), offered=offered_records(state, pending))
    reading = partial(
        context.reader.read,
        turn.text,
        today=context.clock.today(),
        own_ids=[view.id for view in views],
        offered=shown_count(pending, memory),
    )
    spans = await apart(turn.text, reading)
    if (quoted := _quoted(spans, views)) is not None:
        memory = replace(memory, focus=quoted)
    text = without_replaced(spans.record_numbers, spans.new_text).strip() or turn.text
    heard = await hear(state, context, text, spans, views, memory)
    if spans.quoted_text and pending is None and heard.whole.chance < _UNCLEAR:
        heard = _with_its_mail(heard, await hear(state, context, turn.text, spans, views, memory))
    if known.unreachable:
        heard = replace(heard, degraded=(*heard.degraded, known.unreachable))
    if pending is None:
        heard = of_waiting(
            heard, known.waiting, state.get("last_turn", ""), state.get("wanted", "")
        )
    agreed: str | None = None
    if pending is not None and pending.operation == CLARIFY:
        stack = stack[:-1]
        if (meant := clarified(pending, heard)) is not None:
            agreed = meant
            original = str(pending.arguments["text"])
            if only_names(heard.text, views):
                original = f"{original}\n{heard.text}"  # what it is about was said now
            turn = turn.model_copy(update={"text": original})
            ids = [view.id for view in views]
            reading = partial(
                context.reader.read, original, today=context.clock.today(), own_ids=ids
            )
            spans = await apart(original, reading)
            whole = Read(conditional(original), {meant: 1.0})
            heard = replace(heard, text=original, spans=spans, whole=whole, parts=(whole,))
        pending = stack[-1] if stack else None
    chosen = await choose(state, heard, pending)
    if chosen.move in ("decline", "leave") and pending is not None and pending.operation != "plan":
        beside = await _asked_beside(state, context, heard, pending)
        if beside is not None:
            heard, chosen = beside
            turn = turn.model_copy(update={"text": heard.text})
            spans = heard.spans
    if agreed is not None:
        acts = tuple(a.model_copy(update={"agreed": a.intent == agreed}) for a in chosen.acts)
        chosen = chosen.model_copy(update={"acts": acts})
    elif dialogue.again_for(heard.text) and chosen.intent == state.get("wanted"):
        # The values are those that were said for the first one.
        said = "\n".join([*last_words(state)[-2:], heard.text])
        acts = tuple(a.model_copy(update={"text": said}) for a in chosen.acts)
        chosen = chosen.model_copy(update={"acts": acts})
    if chosen.replaces:
        stack = stack[:-1]
    await log(runtime, state, *_decisions(heard, chosen))
    language = spans.language or state.get("language") or context.language
    with speaking(context.replies.voice(language)):
        _announce(runtime, chosen)
    return {
        "turn": turn,
        "pending": stack,
        "route": chosen,
        "degraded": heard.degraded,
        "language": language,
        "own": tuple(view.id for view in views),
    }


#: Customers' own words that are less clear than this are read together with the mail that they sent along.
_UNCLEAR = 0.5


def _with_its_mail(heard: HeardTurn, whole: HeardTurn) -> HeardTurn:
    """ "Is this from you?": what is meant stands in the mail below. A mail tells what is the matter, and never begins
    an operation: that takes the customer's own words."""
    told = whole.whole
    if told.chance <= heard.whole.chance or whole.context.intents.get(told.best).operation:
        return heard
    return replace(heard, whole=told, choice=whole.choice, incident=whole.incident)


#: A question of fewer words belongs to the no.
_OWN_QUESTION = 4


async def _asked_beside(
    state: SupportState, context: Context, heard: HeardTurn, pending: Pending
) -> tuple[HeardTurn, Route] | None:
    """The question, or the sure wish, that stands beside a no: "no, I'm keeping it. Can it go into the machine?". What
    was declined is said first, then it is served; None where nothing else is said."""
    said = sentences_of(heard.text)
    question = " ".join(one for one in said[1:] if one.rstrip().endswith("?"))
    asked = question or " ".join(said[1:])
    if len(asked.split()) < _OWN_QUESTION:
        return None
    ids = [view.id for view in heard.views]
    reading = partial(context.reader.read, asked, today=context.clock.today(), own_ids=ids)
    spans = await apart(asked, reading)
    further = await hear(state, context, asked, spans, heard.views, heard.memory)
    route = await choose(state, further, None)
    sure = not route.otherwise and context.intents.get(route.intent).role is None
    if not sure and (not question or route.abstained):
        return None  # What is told beside a no may be its reason.
    told = {
        "replaces": True,
        "dropped": pending.request,
        "foreword": replies.dropped(pending, context),
    }
    return further, route.model_copy(update=told)


def _quoted(spans: Spans, views: Sequence[RecordView]) -> str | None:
    """The one record that a mail speaks of which is quoted below or above the customer's own words."""
    if not spans.quoted_text or any(span.value for span in spans.record_numbers):
        return None
    named = [view for view in views if view.id in spans.quoted_text]
    whole = [view.id for view in named if view.parent is None] or [view.id for view in named]
    return whole[0] if len(whole) == 1 else None


async def understood_alone(
    context: Context,
    text: str,
    *,
    before: str = "",
    wanted: str = "",
    pending: Pending | None = None,
) -> Route:
    """The route of a message outside a conversation's graph: for the role alone, for evals."""
    messages: list[AnyMessage] = [AIMessage(before)] if before else []
    turn = Turn(id="alone", text=text, at=context.clock.now())
    state: SupportState = {"messages": messages, "wanted": wanted, "turn": turn}
    if pending is not None:
        state = {**state, "pending": (pending,), "last_turn": pending.asked_in}
    views, _ = await records_known(context)
    memory = Memory(offered=offered_records(state, pending))
    spans = context.reader.read(
        text, today=context.clock.today(), own_ids=[view.id for view in views]
    )
    said = without_replaced(spans.record_numbers, spans.new_text).strip() or text
    heard = await hear(state, context, said, spans, views, memory)
    return await choose(state, heard, pending)


def _decisions(heard: HeardTurn, chosen: Route) -> list[Decision]:
    """What the tiers said, what was chosen among which candidates, and which record it is about."""
    unsure = chosen.otherwise in ("clarify", "advise")
    found = decision(
        "router", heard.choice, abstained=unsure or heard.asked is not None, lane=chosen.lane
    )
    if heard.choice.model == NOBODY:
        why = "; ".join(heard.degraded)
        found = found.model_copy(
            update={"abstained": True, "tier": "rule", "model": "rules", "reason": why}
        )
    elif heard.asked is None:  # Else the heads' own word stands beside what the dearer tier said.
        found = found.model_copy(
            update={
                "chosen": chosen.intent,
                "probability": chosen.probability,
                "alternatives": tuple(
                    Alternative(option=name, probability=heard.whole.chances[name])
                    for name in ranked(heard.whole.chances, _LOGGED)
                ),
                "reason": chosen.reason,
            }
        )
    dearer: list[Decision] = []
    if heard.asked is not None:
        dearer = [decision("router", heard.asked, abstained=unsure, lane=chosen.lane)]
    elif failed := "; ".join(
        w for w in heard.degraded if w.startswith(("router: ", "understanding: "))
    ):
        # The next tier was asked and did not answer; the heads' guess is all there is.
        dearer = [by_rule("router", "nothing", failed, abstained=True)]
    colours = [
        _colour("frustration", heard.upset, heard.degraded),
        _colour("complexity", heard.several, heard.degraded),
    ]
    return [found, *dearer, *colours, *_grounded(chosen)]


def _colour(role: str, choice: Choice, degraded: Sequence[str]) -> Decision:
    """What a head said of the turn's mood or size; one that did not answer is no choice of a model's."""
    if choice.model != NOBODY:
        return decision(role, choice)
    why = "; ".join(failed for failed in degraded if failed.startswith(f"{role}: "))
    return by_rule(role, choice.option, why, abstained=True)


def _grounded(chosen: Route) -> list[Decision]:
    """Which record each act is about, as the rules found it."""
    rows: list[Decision] = []
    for act in chosen.acts:
        grounds = act.grounds
        if not (grounds.records or grounds.missing or grounds.foreign):
            continue
        named = ", ".join(grounds.records) or "none"
        parts = ", ".join(f"{p.quantity or ''} {p.name}".strip() for p in grounds.parts)
        why = "; ".join(
            part
            for part in (
                grounds.how,
                f"only {parts}" if parts else "",
                f"{grounds.missing} is in none" if grounds.missing else "",
                f"{', '.join(grounds.foreign)} not theirs" if grounds.foreign else "",
            )
            if part
        )
        rows.append(by_rule("grounding", named, why, abstained=len(grounds.records) != 1))
    return rows


def _announce(runtime: Runtime[Context], chosen: Route) -> None:
    runtime.stream_writer(
        {
            "event": "route",
            "data": {
                "lane": chosen.lane,
                "intent": chosen.intent,
                "operation": chosen.operation,
                "probability": round(chosen.probability, 4),
                "tier": chosen.tier,
                "abstained": chosen.abstained or chosen.otherwise == "clarify",
            },
        }
    )
    if (understood := replies.acknowledgement(chosen, runtime.context)) is not None:
        runtime.stream_writer({"event": "ack", "data": {"text": understood}})
