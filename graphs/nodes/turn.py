"""Where a turn begins and ends: screen, route, clarify, validate, deliver."""

from __future__ import annotations

import re
import time
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from typing import Any

from langchain_core.messages import AIMessage, HumanMessage
from langgraph.runtime import Runtime

from graphs import replies, routing
from graphs.context import Context
from graphs.deciding import by_rule, decided, decision, log, ms_since
from graphs.extraction import fits, picked
from graphs.sameness import refers_back
from graphs.screening import screen_text
from graphs.state import Draft, Pending, Route, SupportState
from graphs.validation import validate_draft
from tools.decisions import Decision
from tools.ports import Choice, ModelOutputInvalid, PortError
from tools.privacy import find_pii
from tools.values import Lane

_CITATION = re.compile(r"\[(\d+)\]")
#: What a tier that did not answer goes by; its guess is none.
NOBODY = "none"
#: Stands in a pending question for the message that was not understood.
CLARIFY = "clarify"
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
    if screening.verdict not in ("ok", "outcome"):
        stopped = by_rule("screening", screening.verdict, screening.reason, ms=ms_since(started))
        await log(runtime, state, stopped, input=turn.text[: limits.message_chars])
    screening = screening.model_copy(
        update={"sensitive": tuple(sorted({s.kind for s in find_pii(turn.text)}))}
    )
    update: dict[str, Any] = {**_FRESH, "screening": screening}
    if turn.outcome is None:
        # The turn's id makes a replayed turn overwrite its message instead of adding one.
        at = {"at": turn.at.isoformat()}
        update["messages"] = [HumanMessage(turn.text, id=f"{turn.id}:in", additional_kwargs=at)]
    return update


async def refuse(state: SupportState, runtime: Runtime[Context]) -> dict[str, Any]:
    screening = state.get("screening")
    assert screening is not None
    text = replies.refusal(screening.verdict, runtime.context.limits.message_chars)
    return {"draft": Draft(text=text)}


async def stay_silent(state: SupportState, runtime: Runtime[Context]) -> dict[str, Any]:
    """A person has taken over: the message is kept for them, the agent says nothing."""
    return {"draft": None}


async def route(state: SupportState, runtime: Runtime[Context]) -> dict[str, Any]:
    """Intent, lane and move, by the cheapest tier that is sure; the model's part of it is logged first."""
    return await decided(runtime, "router", lambda who: _routed(state, who))


async def _routed(state: SupportState, runtime: Runtime[Context]) -> dict[str, Any]:
    context, turn = runtime.context, state["turn"]
    pending, stack = top(state), state.get("pending", ())
    # What was not understood itself lends no meaning to what follows.
    before = last_words(state) if pending is None and not state.get("misses") else ()
    reading = await read_message(
        context, turn.text, before=before, expected=expected(pending, context)
    )
    if pending is not None and pending.operation == CLARIFY:
        # An answer to our own question stands for the message that raised it; anything else is new.
        stack = stack[:-1]
        if (meant := _clarified(pending, turn.text, reading)) is not None:
            turn = turn.model_copy(update={"text": str(pending.arguments["text"])})
            reading = replace(reading, settled=meant, abstained=False)
        pending = stack[-1] if stack else None
    chosen = decide_route(
        reading.settled,
        abstained=reading.abstained,
        pending=pending,
        frustration=reading.frustration.probabilities.get("frustrated", 0.0),
        several=reading.complexity.probabilities.get("several", 0.0),
        asked_last=pending is not None and pending.asked_in == state.get("last_turn"),
        text=turn.text,
        sensitive=bool(find_pii(turn.text)),  # of the message that is meant, not of "the second"
        context=context,
    )
    await log(runtime, state, *reading.decisions(chosen.lane))
    runtime.stream_writer(
        {
            "event": "route",
            "data": {
                "lane": chosen.lane,
                "intent": chosen.intent,
                "operation": chosen.operation,
                "probability": round(chosen.probability, 4),
                "tier": chosen.tier,
                "abstained": chosen.abstained,
            },
        }
    )
    if (understood := replies.acknowledgement(chosen, context)) is not None:
        runtime.stream_writer({"event": "ack", "data": {"text": understood}})
    return {"turn": turn, "pending": stack, "route": chosen, "degraded": reading.degraded}


def _clarified(asked: Pending, text: str, reading: Reading) -> Choice | None:
    """The intent the customer picked from the clarifying question."""
    names = [str(candidate["intent"]) for candidate in asked.candidates]
    chosen = picked(asked, text)
    yes = reading.settled.option == "affirm" and len(names) == 1
    if chosen is None and not yes:
        return None
    name = names[0] if chosen is None else str(chosen["intent"])
    return reading.settled.model_copy(
        update={"option": name, "probabilities": {name: 1.0}, "model": "customer"}
    )


@dataclass(frozen=True)
class Reading:
    """What the cheapest tier that is sure makes of a message, before anything pending is considered."""

    choices: tuple[Choice, ...]  #: Every tier that was asked, cheapest first.
    settled: Choice
    abstained: bool
    frustration: Choice
    complexity: Choice
    degraded: tuple[str, ...] = ()

    def decisions(self, lane: Lane) -> list[Decision]:
        """For the log; the one that settled the turn says which lane it went to."""
        tiers = [
            decision(
                "router",
                c,
                abstained=c is not self.settled or self.abstained,
                lane=lane if c is self.settled else None,
            )
            for c in self.choices
        ]
        if why := self._failed("router"):
            # The small model was asked and did not answer; the encoder's guess is all there is.
            tiers.append(by_rule("router", "nothing", why, abstained=True))
        return [
            *(self._explained(each, "encoder") for each in tiers),
            self._explained(decision("frustration", self.frustration), "frustration"),
            self._explained(decision("complexity", self.complexity), "complexity"),
        ]

    def _explained(self, decision: Decision, part: str) -> Decision:
        """What stands in for a tier that did not answer is no choice of a model's."""
        if decision.model != NOBODY:
            return decision
        said = {"abstained": True, "tier": "rule", "model": "rules", "reason": self._failed(part)}
        return decision.model_copy(update=said)

    def _failed(self, part: str) -> str:
        return "; ".join(why for why in self.degraded if why.startswith(f"{part}: "))


#: So many of the customer's messages before this one may lend it their meaning.
_BEFORE = 3


def last_words(state: SupportState) -> tuple[str, ...]:
    """What the customer said before this turn, oldest first."""
    current = f"{state['turn'].id}:in"
    said = [
        str(m.content)
        for m in state.get("messages", [])
        if isinstance(m, HumanMessage) and m.id != current
    ]
    return tuple(said[-_BEFORE:])


async def in_full(state: SupportState, context: Context) -> str:
    """The customer's question, behind the messages that it says nothing without: "and to Norway?" asks what
    was asked about France."""
    *before, said = *last_words(state), state["turn"].text
    question = [said]
    while before and await _leans(context, said):
        said = before.pop()
        question.insert(0, said)
    return " ".join(question)


async def _leans(context: Context, text: str) -> bool:
    if refers_back(text):
        return True
    try:
        follows = await context.encoder.classify("follow_up", text)
    except PortError:
        return False  # Without that head only a pronoun tells.
    return follows.option == routing.LEANS


async def _in_context(context: Context, text: str, before: Sequence[str]) -> Choice:
    """The heads' word on a message, with what the customer wanted before it where that lends it a meaning."""
    subject: Choice | None = None
    for said in before[-_BEFORE:]:
        wanted = await _read(context, said, subject)
        subject = subject if routing.says_little(wanted) else wanted
    return await _read(context, text, subject)


async def _read(context: Context, text: str, subject: Choice | None) -> Choice:
    alone = await context.encoder.classify("intent", text)
    if subject is None:
        return alone
    try:
        follows = await context.encoder.classify("follow_up", text)
    except PortError:
        return alone  # Without that head every message stands alone.
    return routing.put_together(alone, subject, follows.probabilities.get(routing.LEANS, 0.0))


def expected(pending: Pending | None, context: Context) -> frozenset[str]:
    """The intents that answer what the customer was just asked."""
    if pending is None:
        return frozenset()
    same = (i.name for i in context.intents.intents if i.operation == pending.operation)
    return frozenset({"affirm", "deny", *same})


async def read_message(
    context: Context,
    text: str,
    *,
    before: Sequence[str] = (),
    expected: Collection[str] = frozenset(),
) -> Reading:
    """The router's cascade: the encoder's head, then the small model where that is unsure.

    ``before``: the customer's last messages, where nothing is pending that this one could answer;
    ``expected``: the intents that would answer it."""
    degraded: list[str] = []
    try:
        read = await _in_context(context, text, before)
        choices = [routing.answering(read, expected) if expected else read]
    except PortError as error:
        degraded.append(f"encoder: {error}")
        choices = [_blank(context.intents.names)]
    lane_of = context.intents.lane
    settled, abstained = routing.settle(choices, context.thresholds, lane_of=lane_of)
    if abstained:
        try:
            if context.second_opinion:
                choices.append(await _second_opinion(context, text, choices[0]))
        except PortError as error:
            degraded.append(f"router: {error}")
        settled, abstained = routing.settle(choices, context.thresholds, last=True, lane_of=lane_of)
    return Reading(
        choices=tuple(choices),
        settled=settled,
        abstained=abstained,
        frustration=await _head(context, "frustration", text, degraded),
        complexity=await _head(context, "complexity", text, degraded),
        degraded=tuple(degraded),
    )


async def _head(context: Context, head: str, text: str, degraded: list[str]) -> Choice:
    """A head that only colours the route; without it the route is as it would be for a calm message."""
    try:
        return await context.encoder.classify(head, text)
    except PortError as error:
        degraded.append(f"{head}: {error}")
        return _blank(("calm" if head == "frustration" else "single",))


def _blank(options: Sequence[str]) -> Choice:
    """What a tier that did not answer is taken to have said: nothing in particular."""
    return Choice(
        option=options[0],
        probabilities={option: 1 / len(options) for option in options},
        model=NOBODY,
        version="",
        tier="encoder",
        ms=0.0,
    )


def decide_route(
    choice: Choice,
    *,
    abstained: bool,
    pending: Pending | None,
    frustration: float,
    several: float,
    asked_last: bool,
    text: str,
    sensitive: bool,
    context: Context,
) -> Route:
    """Put the models' answers, the pending operation and the thresholds together."""
    intent = context.intents.get(choice.option)
    thresholds = context.thresholds
    floor = thresholds.sure(choice.tier, intent.lane)
    fitting = pending is not None and fits(pending, text, context.operations)

    def would(of: Choice) -> routing.Move:
        return routing.move(
            pending,
            of,
            fits=fitting,
            asked_last=asked_last,
            sure=floor,
            operation=context.intents.operation(of.option),
        )

    def lane_if(of: Choice) -> Lane:
        if pending is not None and would(of) != "new":
            return "agent" if pending.operation == "plan" else "operation"
        return context.intents.lane(of.option)

    made = would(choice)
    known = set(context.intents.names)
    ranked = sorted(
        ((name, chance) for name, chance in choice.probabilities.items() if name in known),
        key=lambda item: -item[1],
    )
    lane_probability = routing.lane_chance(choice, lane_if, known)
    common = {
        "intent": intent.name,
        "probability": choice.probabilities.get(choice.option, 0.0),
        "lane_probability": lane_probability,
        "candidates": tuple(name for name, _ in ranked[:3]),
        "frustration": frustration,
        "complexity": "several" if several >= thresholds.several else "single",
        "sensitivity": "personal" if sensitive else "normal",
        "tier": choice.tier,
    }
    if made in ("continue", "confirm", "decline", "repeat") and pending is not None:
        return Route.model_validate(
            {
                **common,
                "lane": lane_if(choice),
                "operation": pending.operation,
                "move": made,
                "reason": f"the customer was asked about {pending.operation}",
            }
        )
    plain = (
        not abstained
        and intent.lane != "escalate"
        and choice.probabilities.get(choice.option, 0.0) >= floor
    )
    upset = frustration >= (thresholds.furious if plain else thresholds.frustration)
    if upset and intent.lane not in ("direct", "agent"):
        return Route.model_validate(
            {
                **common,
                "lane": "escalate",
                "lane_probability": max(lane_probability, frustration),
                "reason": f"frustration {frustration:.2f}",
            }
        )
    # Below this a question costs less than the lane would that is wrong as often.
    costs = context.intents.costs
    abstained = abstained or lane_probability < 1 - costs.ask / costs.wrong(intent.lane)
    if intent.lane == "agent" and several >= thresholds.several:
        abstained = False  # two heads that were trained apart agree
    if abstained and torn_between_reads(choice, context):
        abstained = False
    if intent.lane == "agent" and several < thresholds.several / 2 and abstained:
        return Route.model_validate(
            {**common, "lane": "direct", "abstained": True, "reason": "unsure"}
        )
    return Route.model_validate(
        {
            **common,
            "lane": intent.lane,
            "operation": intent.operation if intent.lane == "operation" else None,
            "abstained": abstained and intent.name != "out_of_scope",
            "reason": "below the threshold of every tier" if abstained else intent.description,
        }
    )


def torn_between_reads(choice: Choice, context: Context) -> bool:
    """Sure that something is to be looked up, unsure only what: the likeliest look-up does no harm, and
    answers sooner than a question would."""
    thresholds = context.thresholds
    sure = thresholds.sure(choice.tier, "operation")
    known = set(context.intents.names)
    reads = {
        name: probability
        for name, probability in choice.probabilities.items()
        if name in known
        and (intent := context.intents.get(name)).lane == "operation"
        and (operation := context.operations.get(intent.operation or "")) is not None
        and not operation.writes
    }
    return choice.option in reads and sum(reads.values()) >= sure


async def _second_opinion(context: Context, text: str, first: Choice) -> Choice:
    """The generative small model chooses among the encoder's best guesses."""
    names = [name for name in context.intents.names if name in first.probabilities]
    ranked = sorted(names, key=lambda name: -first.probabilities[name])
    options = [*ranked[:8], *(n for n in ("out_of_scope",) if n in ranked[8:])]
    choice = await context.small.choose("router", text, options)
    if choice.option not in options:
        raise ModelOutputInvalid(f"router answered {choice.option!r}")
    return choice


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
        offer = offer_hand_off(state, reason="The agent did not understand twice in a row.")
        return {
            "misses": 0,
            # The question that was asked in vain goes; what else is open stays.
            "pending": (
                *state.get("pending", ())[: -1 if route_.move == "repeat" else None],
                offer,
            ),
            "draft": Draft(text=offer.question, asks=True),
        }
    likely = replies.likely_intents(route_)
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
    if route_ is not None and not route_.abstained and route_.move != "repeat":
        update["misses"] = 0
    if draft is None:
        runtime.stream_writer({"event": "final", "data": {"text": "", "silent": True}})
        return update
    text, cited = renumbered(draft.text.strip())
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
    if draft.tells:
        meta["actions"] = list(draft.tells)
    if degraded := state.get("degraded"):
        meta["degraded"] = list(degraded)
    key = turn.outcome.action_id if turn.outcome is not None else turn.id
    update["messages"] = [AIMessage(text, id=f"{key}:out", additional_kwargs=meta)]
    runtime.stream_writer({"event": "final", "data": {"text": text, **meta}})
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
    turn = state["turn"]
    return Pending(
        request=turn.id,
        operation="hand_off",
        stage="offer",
        arguments={"reason": reason},
        question=question or replies.hand_off_offer(),
        asked_in=turn.id,
    )


def hand_off_summary(state: SupportState, reason: str) -> str:
    """What the colleague needs to know: reason, what was collected, the customer's last words."""
    open_ = "; ".join(
        f"{p.operation} {', '.join(f'{k}={v}' for k, v in p.arguments.items())}".strip()
        for p in state.get("pending", ())
        if p.operation != "hand_off"
    )
    plan = state.get("plan")
    left = (
        ", ".join(s.name for s in plan.steps if s.status in ("waiting", "pending")) if plan else ""
    )
    said = [m.text for m in state.get("messages", []) if isinstance(m, HumanMessage)][-3:]
    parts = [reason, f"Open: {open_}." if open_ else "", f"Left: {left}." if left else ""]
    parts.append("Customer: " + " / ".join(said))
    return " ".join(p for p in parts if p)[:900]


__all__ = [
    "Reading",
    "clarify",
    "decision",
    "deliver",
    "fall_back",
    "log",
    "offer_hand_off",
    "read_message",
    "refuse",
    "route",
    "screen",
    "stay_silent",
    "top",
    "validate",
]
