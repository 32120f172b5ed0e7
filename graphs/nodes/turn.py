"""Where a turn begins and ends: screen, route, clarify, validate, deliver."""

from __future__ import annotations

import re
import time
from datetime import datetime
from typing import Any

from langchain_core.messages import AIMessage, HumanMessage
from langgraph.runtime import Runtime

from graphs import replies, routing
from graphs.apart import apart
from graphs.beside import aside
from graphs.context import Context
from graphs.deciding import by_rule, decision, log, ms_since
from graphs.orders import order_said
from graphs.sameness import refers_back
from graphs.screening import screen_text
from graphs.state import CLARIFY, Draft, Pending, Route, Screening, SupportState
from graphs.validation import validate_draft
from tools.intents import Intents
from tools.ports import PortError
from tools.privacy import find_pii

_CITATION = re.compile(r"\[(\d+)\]")
#: Of a message that is refused no more is kept, in the thread or in the log.
REFUSED_CHARS = 200
#: Marks a message in the thread that was refused because it gives orders: no prompt shows it.
REFUSED = "refused"
#: What each turn starts with; everything else in the state outlives it.
_FRESH: dict[str, Any] = {
    "screening": None,
    "route": None,
    "extraction": None,
    "next": None,
    "outcome": None,
    "question": "",
    "passages": (),
    "draft": None,
    "validation": None,
    "next_move": None,
    "llm_calls": 0,
    "degraded": (),
}


async def screen(state: SupportState, runtime: Runtime[Context]) -> dict[str, Any]:
    """May the message go on? What is stopped is logged first; what passes is decided about by the router."""
    turn, limits, started = state["turn"], runtime.context.limits, time.perf_counter()
    screening = screen_text(
        turn, handed_off=state.get("handed_off", False), max_chars=limits.message_chars
    )
    order = await order_said(runtime.context, turn.text) if screening.verdict == "ok" else None
    if order is not None:
        screening = Screening(verdict="injection", reason="gives orders to the agent")
    if screening.verdict not in ("ok", "outcome"):
        stopped = by_rule("screening", screening.verdict, screening.reason, ms=ms_since(started))
        if order is not None:
            stopped = decision("screening", order, reason=screening.reason).model_copy(
                update={"chosen": screening.verdict}
            )
        if screening.verdict != "handed_off":
            turn = turn.model_copy(update={"text": _cut(turn.text)})
        await log(runtime, state, stopped, input=turn.text[: limits.message_chars])
    text = turn.text[: limits.message_chars]
    kinds = {span.kind for span in await apart(text, lambda: find_pii(text))}
    screening = screening.model_copy(update={"sensitive": tuple(sorted(kinds))})
    update: dict[str, Any] = {**_FRESH, "screening": screening, "turn": turn}
    if turn.outcome is None:
        # The turn's id makes a replayed turn overwrite its message instead of adding one.
        at = {"at": turn.at.isoformat()}
        if screening.verdict == "injection":
            at[REFUSED] = screening.verdict
        update["messages"] = [HumanMessage(turn.text, id=f"{turn.id}:in", additional_kwargs=at)]
    return update


def _cut(text: str) -> str:
    """What is kept of a refused message: enough to know it by."""
    return text if len(text) <= REFUSED_CHARS else f"{text[:REFUSED_CHARS]}…"


async def refuse(state: SupportState, runtime: Runtime[Context]) -> dict[str, Any]:
    screening = state.get("screening")
    assert screening is not None
    text = replies.refusal(screening.verdict, runtime.context.limits.message_chars)
    return {"draft": Draft(text=text)}


async def stay_silent(state: SupportState, runtime: Runtime[Context]) -> dict[str, Any]:
    """A person has taken over: the message is kept for them, and the agent says nothing. Where nobody is
    there, it says that, once until they open again; and what must not wait is said until somebody is."""
    if (warned := await _warning(state, runtime)) is not None:
        return {"draft": Draft(text=warned)}
    opens = runtime.context.opens()
    told = opens is None or state.get("told_closed") == opens.isoformat()
    if opens is None or told or _somebody_is_there(state, runtime.context, opens):
        return {"draft": None}
    text = replies.nobody_there(opens)
    return {"draft": Draft(text=text), "told_closed": opens.isoformat()}


#: So sure the head for incidents must be before the agent speaks in a conversation that a person has.
_ALARMING = 0.5


async def _warning(state: SupportState, runtime: Runtime[Context]) -> str | None:
    """What is said to danger that is told while nobody has answered yet; None where there is none."""
    context, text = runtime.context, state["turn"].text[: runtime.context.limits.message_chars]
    names = context.intents.of_role("incident")
    answered = any(m.name == "operator" for m in state.get("messages", []))
    if context.cases is None or not names or answered:
        return None
    try:
        alarm = await context.encoder.classify("incident", text)
        if alarm.probabilities.get("incident", 0.0) < _ALARMING:
            return None
        meant = await context.encoder.classify("intent", text)
    except PortError:
        return None
    chances = {name: meant.probabilities.get(name, 0.0) for name in names}
    kind = context.cases.incident_in(text) or max(chances, key=chances.__getitem__)
    if kind not in chances or sum(chances.values()) < context.thresholds.incident / 2:
        return None
    reason = f"told while a person is awaited: {kind}"
    await log(runtime, state, decision("incident", alarm, reason=reason), input=text)
    return context.cases.incident(kind, state.get("language") or context.language).text


def _somebody_is_there(state: SupportState, context: Context, opens: datetime) -> bool:
    """Whether a colleague has answered since they closed: who works late is there, whatever the hours say."""
    answers = [m for m in state.get("messages", []) if m.name == "operator"]
    if not answers:
        return False
    at = datetime.fromisoformat(answers[-1].additional_kwargs["at"])
    return context.opens(at) == opens


#: So many of the customer's messages before this one may lend it their meaning.
_BEFORE = 3


def last_words(state: SupportState) -> tuple[str, ...]:
    """What the customer said before this turn, oldest first."""
    current = f"{state['turn'].id}:in"
    said = [
        str(m.content)
        for m in state.get("messages", [])
        if isinstance(m, HumanMessage) and m.id != current and REFUSED not in m.additional_kwargs
    ]
    return tuple(said[-_BEFORE:])


async def in_full(state: SupportState, context: Context) -> str:
    """The customer's question, behind the messages that it says nothing without: "and to Norway?" asks what
    was asked about France."""
    *before, said = *last_words(state), state["turn"].text
    question = [said]
    route = state.get("route")
    ours = route is None or route.otherwise != "out_of_scope"
    further = ours and bool(just_told(state)[1]) and len(said.split()) <= _FURTHER
    while before and ((further and len(question) == 1) or await _leans(context, said)):
        said = before.pop()
        question.insert(0, said)
    return " ".join(question)


def just_told(state: SupportState) -> tuple[str, dict[str, str]]:
    """The last reply, and the titles of the articles that it quoted."""
    for message in reversed(state.get("messages", [])):
        if isinstance(message, AIMessage):
            cited = message.additional_kwargs.get("citations", ())
            titles = {str(one["source"]): str(one["title"]).partition(" > ")[0] for one in cited}
            return str(message.content), titles
    return "", {}


#: A question of so few words right after a quoted answer asks further.
_FURTHER = 5


async def _leans(context: Context, text: str) -> bool:
    if refers_back(text):
        return True
    try:
        follows = await context.encoder.classify("follow_up", text)
    except PortError:
        return False  # Without that head only a pronoun tells.
    return follows.option == routing.LEANS


async def clarify(state: SupportState, runtime: Runtime[Context]) -> dict[str, Any]:
    """The router's fallback: ask, rather than guess; after two misses offer a person."""
    route_, pending = state.get("route"), top(state)
    assert route_ is not None
    if route_.move == "repeat" and pending is not None and pending.attempts < 2:
        asked = pending.model_copy(
            update={"asked_in": state["turn"].id, "attempts": pending.attempts + 1}
        )
        return {
            "pending": (*state.get("pending", ())[:-1], asked),
            "draft": Draft(text=pending.question, asks=True),
        }
    misses = state.get("misses", 0) + 1
    if route_.move == "repeat" or misses >= runtime.context.limits.misses_before_hand_off:
        offer = offer_hand_off(state, reason="not_understood")
        return {
            "misses": 0,
            # The question that was asked in vain goes; what else is open stays.
            "pending": (
                *state.get("pending", ())[: -1 if route_.move == "repeat" else None],
                offer,
            ),
            "draft": Draft(text=offer.question, asks=True),
        }
    likely = replies.likely_intents(route_, runtime.context)
    text = replies.clarification(route_, likely, runtime.context)
    asked = Pending(
        request=state["turn"].id,
        operation=CLARIFY,
        stage="choice",
        arguments={"text": state["turn"].text},
        candidates=tuple({"intent": name} for name in likely),
        question=text,
        asked_in=state["turn"].id,
    )
    return {
        "misses": misses,
        "pending": (*state.get("pending", ()), asked) if likely else state.get("pending", ()),
        "draft": Draft(text=text, asks=True),
    }


async def validate(state: SupportState, runtime: Runtime[Context]) -> dict[str, Any]:
    """May the reply be sent? A template that passes was checked when it was written."""
    draft, context, started = state.get("draft"), runtime.context, time.perf_counter()
    assert draft is not None
    validation = validate_draft(draft, context.customer, max_chars=context.limits.reply_chars)
    if draft.source != "template" or not validation.ok:
        said = by_rule(
            "validator",
            "pass" if validation.ok else "fail",
            "; ".join(p.detail for p in validation.problems),
            ms=ms_since(started),
        )
        if validation.groundedness is not None:
            said = said.model_copy(update={"probability": validation.groundedness})
        await log(runtime, state, said, input=draft.text)
    return {"validation": validation}


async def fall_back(state: SupportState, runtime: Runtime[Context]) -> dict[str, Any]:
    """A reply that cannot be wrong, in place of one that was."""
    route_ = state.get("route")
    upset = route_ is not None and route_.lane == "escalate"
    text = replies.upset() if upset else replies.apology()
    return {"draft": Draft(text=text, apology=True)}


async def deliver(state: SupportState, runtime: Runtime[Context]) -> dict[str, Any]:
    """Put the reply into the customer's thread; a digression ends with a reminder of what is open."""
    draft, turn = state.get("draft"), state["turn"]
    pending = state.get("pending", ())
    route_ = state.get("route")
    if route_ is not None:
        # Who was offered a person and talks about something else did not take it.
        pending = tuple(p for p in pending if p.stage != "offer" or p.asked_in == turn.id)
    update: dict[str, Any] = {"last_turn": turn.id, "pending": pending}
    if route_ is not None:
        shown = draft.text if draft is not None else ""
        update |= in_mind(state, route_, shown, runtime.context.intents)
    if route_ is not None and not missed(state, route_):
        update["misses"] = 0
    if draft is None:
        runtime.stream_writer({"event": "final", "data": {"text": "", "silent": True}})
        return update
    text, cited = renumbered(draft.text.strip())
    said = await aside(state, runtime.context, draft)
    if said is not None:
        await log(runtime, state, by_rule("aside", said.case, said.why), input=draft.text)
    beside = said.text if said is not None else ""
    first = ""
    if route_ is not None and route_.dropped:
        first = route_.foreword
        if runtime.context.requests is not None:
            # What is not wanted any more is a new request when it is asked for again.
            await runtime.context.requests.drop(runtime.context.customer, route_.dropped)
    text = "\n\n".join(filter(None, [first, draft.foreword, text, beside]))
    if pending and not draft.asks:
        reminder = pending[-1].model_copy(update={"asked_in": turn.id})
        text = f"{text}\n\n{replies.reminder(reminder, runtime.context)}"
        update["pending"] = (*pending[:-1], reminder)
    sources = dict(enumerate(draft.passages, 1))
    citations = [
        {"n": n, "title": sources[old].title, "source": sources[old].source}
        for n, old in enumerate(cited, 1)
        if old in sources
    ]
    meta: dict[str, Any] = {
        "at": turn.at.isoformat(),
        "citations": citations,
        "llm_calls": state.get("llm_calls", 0),
    }
    if route_ is not None:
        meta["lane"] = route_.lane
        meta["intent"] = route_.intent
    if draft.asks or update["pending"]:
        meta["open"] = True
    if draft.apology:
        meta["apology"] = True
    if draft.known:
        meta["cached"] = draft.known
    checked = state.get("validation")
    if checked is not None and checked.ok and checked.groundedness is not None:
        meta["groundedness"] = round(checked.groundedness, 4)
    if draft.tells:
        meta["actions"] = list(draft.tells)
    if degraded := state.get("degraded"):
        # Which parts failed is for the customer; how is in the decision log, and may be a supplier's business.
        meta["degraded"] = list(dict.fromkeys(part.partition(":")[0] for part in degraded))
    key = turn.outcome.action_id if turn.outcome is not None else turn.id
    update["messages"] = [AIMessage(text, id=f"{key}:out", additional_kwargs=meta)]
    runtime.stream_writer({"event": "final", "data": {"text": text, **meta}})
    return update


def missed(state: SupportState, route: Route) -> bool:
    """Whether the turn was not understood: nobody was sure, and the articles held nothing either."""
    unclear = route.otherwise == "clarify" and not state.get("passages")
    return unclear or route.abstained or route.move == "repeat"


def in_mind(state: SupportState, route: Route, reply: str, intents: Intents) -> dict[str, Any]:
    """What the next turn is understood by: the record talked about, the list shown, what was wanted."""
    own = state.get("own", ())
    shown = [id for id in sorted(own, key=reply.find) if id in reply]
    following = state.get("next")
    acted = [str(v) for v in following.arguments.values()] if following is not None else []
    about = [
        *(id for act in route.acts for id in act.grounds.records if len(act.grounds.records) == 1),
        *(id for id in acted if id in own),
    ]
    update: dict[str, Any] = {"offered": tuple(shown) if len(shown) > 1 else ()}
    if about:
        update["focus"] = about[0]
    elif len(shown) == 1:
        update["focus"] = shown[0]
    elif len(shown) > 1 and state.get("focus") not in shown:
        update["focus"] = None
    act = route.act
    if act is not None and route.move == "new":
        update["unclear"] = ""
        if not route.otherwise:
            update["wanted"] = act.intent
        elif route.otherwise == "clarify":
            update["unclear"] = next(
                (name for name in route.candidates if intents.get(name).role is None), ""
            )
    return update


def renumbered(text: str) -> tuple[str, list[int]]:
    """The text with its citations counted from 1 as they appear, and which number each one had."""
    order = list(dict.fromkeys(int(n) for n in _CITATION.findall(text)))
    return _CITATION.sub(lambda m: f"[{order.index(int(m[1])) + 1}]", text), order


# --- what every lane uses -----------------------------------------------------------------------


def top(state: SupportState) -> Pending | None:
    """What the customer was last asked about."""
    pending = state.get("pending") or ()
    return pending[-1] if pending else None


def offer_hand_off(state: SupportState, *, reason: str, question: str | None = None) -> Pending:
    """The question whether a person should take over; ``reason`` is one of ``handing_over.REASONS``."""
    turn = state["turn"]
    return Pending(
        request=turn.id,
        operation="hand_off",
        stage="offer",
        arguments={"reason": reason},
        question=question or replies.hand_off_offer(),
        asked_in=turn.id,
    )


__all__ = [
    "clarify",
    "decision",
    "deliver",
    "fall_back",
    "log",
    "offer_hand_off",
    "refuse",
    "screen",
    "stay_silent",
    "top",
    "validate",
]
