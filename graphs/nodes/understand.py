"""Understand: write down what a turn could mean among the customer's own records, and choose."""

from __future__ import annotations

import re
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from langchain_core.messages import AIMessage, AnyMessage
from langgraph.runtime import Runtime

import prompts
from graphs import replies
from graphs.context import Context
from graphs.deciding import by_rule, decided, decision, log, ms_since
from graphs.extraction import fields, fits
from graphs.nodes.operation import choices_of
from graphs.nodes.turn import CLARIFY, NOBODY, last_words, top
from graphs.state import Pending, Route, SupportState, Turn
from graphs.understanding import dialogue
from graphs.understanding.acts import (
    HINTED,
    MOST_ACTS,
    UNSURE,
    Act,
    Read,
    allowed,
    dealt_out,
    problem_in,
    wishes,
)
from graphs.understanding.clauses import conditional, forbids, mentions, split
from graphs.understanding.grounding import (
    Grounds,
    Memory,
    Said,
    Which,
    ground,
    means_all,
    with_item,
)
from graphs.understanding.words import alike, folded, tokens
from prompts.replies import speaking
from tools.decisions import Alternative, Decision
from tools.intents import Intent
from tools.ports import BackendUnavailable, Choice, ModelOutputInvalid, PortError
from tools.privacy import find_pii
from tools.reading import Spans
from tools.records import RecordView
from tools.values import Approval, Lane

#: The part of the agent's last message that a message is read with: its end, where the question stands.
_BEFORE_CHARS = 300
#: What was wanted before lends a short message its meaning from here on, and by so much.
_UNSURE, _LENT, _SHORT = 0.5, 0.6, 9
_POSSIBLE = 0.03
#: How many alternatives the log keeps.
_LOGGED = 5


async def understand(state: SupportState, runtime: Runtime[Context]) -> dict[str, Any]:
    """What is wanted, of which record, and what it does to the open question; logged before it takes effect."""
    # Read once, outside what a listening candidate makes again: it may not reach the books.
    views, unreachable = await _records(runtime.context)
    waiting = await runtime.context.approvals.waiting(runtime.context.customer)
    known = _Known(views, tuple(waiting), unreachable)
    return await decided(runtime, "router", lambda who: _understood(state, who, known))


@dataclass(frozen=True)
class _Known:
    """What the books say of the customer before the message is read."""

    views: tuple[RecordView, ...]
    waiting: tuple[Approval, ...]  #: What waits for a colleague.
    unreachable: str = ""  #: Why there are no records.


@dataclass(frozen=True)
class _Turn:
    """Everything that a turn's meaning is chosen by."""

    context: Context
    text: str
    spans: Spans
    views: tuple[RecordView, ...]
    memory: Memory
    whole: Read
    parts: tuple[Read, ...]
    choice: Choice
    asked: Choice | None  #: What a dearer tier chose, where the heads were not sure.
    several: Choice
    upset: Choice
    incident: float
    degraded: tuple[str, ...]

    def said(self, text: str) -> Said:
        """One clause with the values that stand in it."""
        return said_in(text, self.spans)

    def grounds(self, intent: str, text: str) -> Grounds:
        known = self.context.intents.get(intent)
        if not known.records:
            return Grounds()
        return ground(
            self.said(text),
            self.views,
            known.records,
            lexicon=self.context.lexicon,
            memory=self.memory,
            first=known.first,
        )


async def _understood(
    state: SupportState, runtime: Runtime[Context], known: _Known
) -> dict[str, Any]:
    context, turn = runtime.context, state["turn"]
    views = known.views
    pending, stack = top(state), state.get("pending", ())
    memory = Memory(focus=state.get("focus"), offered=_offered(state, pending))
    spans = context.reader.read(
        turn.text,
        today=context.clock.today(),
        own_ids=[view.id for view in views],
        offered=_shown(pending, memory),
    )
    text = spans.new_text.strip() or turn.text
    heard = await _heard(state, context, text, spans, views, memory)
    if known.unreachable:
        heard = replace(heard, degraded=(*heard.degraded, known.unreachable))
    if pending is None:
        heard = _of_waiting(heard, known.waiting, state.get("last_turn", ""))
    agreed: str | None = None
    if pending is not None and pending.operation == CLARIFY:
        stack = stack[:-1]
        if (meant := _clarified(pending, heard)) is not None:
            agreed = meant
            original = str(pending.arguments["text"])
            if only_names(heard.text, views):
                original = f"{original}\n{heard.text}"  # what it is about was said now
            turn = turn.model_copy(update={"text": original})
            spans = context.reader.read(
                original, today=context.clock.today(), own_ids=[view.id for view in views]
            )
            whole = Read(conditional(original), {meant: 1.0})
            heard = replace(heard, text=original, spans=spans, whole=whole, parts=(whole,))
        pending = stack[-1] if stack else None
    chosen = await choose(state, heard, pending)
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
    views, _ = await _records(context)
    memory = Memory(offered=_offered(state, pending))
    spans = context.reader.read(
        text, today=context.clock.today(), own_ids=[view.id for view in views]
    )
    said = spans.new_text.strip() or text
    heard = await _heard(state, context, said, spans, views, memory)
    return await choose(state, heard, pending)


# --- what was said ------------------------------------------------------------------------------


async def _records(context: Context) -> tuple[tuple[RecordView, ...], str]:
    """The customer's records; without them the words alone are understood, and the turn says so."""
    try:
        return await context.backend.records(context.customer), ""
    except BackendUnavailable as error:
        return (), f"records: {error}"


def _offered(state: SupportState, pending: Pending | None) -> tuple[str, ...]:
    """The records that were shown last: those of the open question, else those of the last reply."""
    if pending is not None and pending.candidates:
        own = set(state.get("own", ()))
        shown = [
            next((str(v) for v in candidate.values() if str(v) in own), "")
            for candidate in pending.candidates
        ]
        if any(shown):
            return tuple(shown)
    return state.get("offered", ())


def _shown(pending: Pending | None, memory: Memory) -> int:
    """How many things a bare "2" may point at: the meanings that were offered, else the records."""
    if pending is not None and pending.operation == CLARIFY:
        return len(pending.candidates)
    return len(memory.offered)


async def _heard(
    state: SupportState,
    context: Context,
    text: str,
    spans: Spans,
    views: tuple[RecordView, ...],
    memory: Memory,
) -> _Turn:
    degraded: list[str] = []
    before = last_reply(state)
    choice = await _intent(context, text, before, degraded)
    several = await _head(context, "complexity", text, before, degraded)
    clauses = split(text, _verbs(context))
    parts: list[Read] = []
    top = max(choice.probabilities, key=choice.probabilities.__getitem__)
    forbidden = top in context.intents.names and forbids(text, context.intents.get(top).verbs)
    likely = (
        forbidden
        or several.probabilities.get("several", 0.0) >= HINTED
        or choice.probabilities[top] < UNSURE
    )
    if len(clauses) > 1 and likely and choice.model != NOBODY:
        for number, clause in enumerate(clauses):
            said = await _intent(context, clause.text, before if number == 0 else "", degraded)
            parts.append(Read(clause, allowed(_known(said, context), clause.text, context.intents)))
    chances = _lent(
        _known(choice, context), text, state, context, said_in(text, spans).which, views
    )
    if forbidden and parts:
        # "I do NOT want to cancel; I only want to know ...": what is wanted stands in another clause.
        chances = dict(_wanted_part(parts, top, context).chances)
    chances = _named(chances, text, context)
    chances = _holding(chances, spans, context)
    chances = _of_kind(chances, said_in(text, spans), views, context)
    chances = _asking(chances, text, context)
    chances, asked = await _next_tier(state, context, text, chances, degraded)
    return _Turn(
        context=context,
        text=text,
        spans=spans,
        views=views,
        memory=memory,
        whole=Read(conditional(text), allowed(chances, text, context.intents)),
        parts=tuple(parts),
        choice=choice,
        asked=asked,
        several=several,
        upset=await _head(context, "frustration", text, "", degraded),
        incident=await _incident(context, text, degraded),
        degraded=tuple(degraded),
    )


def _verbs(context: Context) -> list[str]:
    """Every beginning of a word that names a change."""
    return list(dict.fromkeys(verb for one in context.intents.intents for verb in one.verbs))


async def _next_tier(
    state: SupportState,
    context: Context,
    text: str,
    chances: dict[str, float],
    degraded: list[str],
) -> tuple[dict[str, float], Choice | None]:
    """Where the heads are not sure, a dearer model chooses among the same candidates."""
    best = max(chances, key=chances.__getitem__)
    if chances[best] >= context.thresholds.floor(context.intents.get(best), context.operations):
        return chances, None
    options = _ranked(chances, _CANDIDATES)
    found: Choice | None = None
    try:
        if context.second_opinion:
            found = await context.small.choose("router", text, options)
            if found.option not in options:
                raise ModelOutputInvalid(f"router answered {found.option!r}")
    except PortError as error:
        degraded.append(f"router: {error}")
        found = None
    sure = found is not None and found.probabilities[found.option] >= context.thresholds.small
    if not sure and context.large_decides:
        try:
            found = await _large_choice(state, context, text, options)
            sure = True
        except PortError as error:
            degraded.append(f"understanding: {error}")
    if found is None or not sure:
        return chances, found
    return {**dict.fromkeys(chances, 0.0), found.option: found.probabilities[found.option]}, found


#: So many candidates are put before a dearer tier.
_CANDIDATES = 8


async def _large_choice(
    state: SupportState, context: Context, text: str, options: Sequence[str]
) -> Choice:
    """The large model's choice among the candidates, by their descriptions; it can name nothing else."""
    asking, started = prompts.load("understand"), time.perf_counter()
    described = [f"- {name}: {context.intents.get(name).description}" for name in options]
    messages = asking.messages(
        candidates="\n".join(described), history=last_reply(state), message=text
    )
    schema: dict[str, Any] = {
        "type": "object",
        "properties": {"intent": {"enum": list(options)}},
        "required": ["intent"],
        "additionalProperties": False,
    }
    filled = await context.large.fill(
        "understand", messages.system, messages.user, schema, bare=text
    )
    option = str(filled.values.get("intent"))
    if option not in options:
        raise ModelOutputInvalid(f"the large model answered {option!r}")
    return Choice(
        option=option,
        probabilities={option: 1.0},
        model=filled.model,
        version=asking.version,
        tier="large",
        ms=ms_since(started),
    )


def _wanted_part(parts: Sequence[Read], forbidden: str, context: Context) -> Read:
    """The clause that surely wants something, of those that do not speak of what is forbidden."""
    verbs = context.intents.get(forbidden).verbs
    free = [part for part in parts if not mentions(tokens(part.clause.text), verbs)] or list(parts)
    told = [part for part in free if context.intents.get(part.best).role != "courtesy"] or free
    return max(told, key=lambda part: part.chance)


def last_reply(state: SupportState) -> str:
    """The end of what the agent said last."""
    said = [m.text for m in state.get("messages", []) if isinstance(m, AIMessage)]
    return said[-1][-_BEFORE_CHARS:] if said else ""


_FILLERS = re.compile(
    r"\b(?:btw|pls|plz|lol|jk|tho|thx|hey|hi|hello|hallo|moin|sorry|ok|okay|just|well|so)\b[,.!]*\s*",
    re.IGNORECASE,
)


def _plain(text: str) -> str:
    """The message without words that carry nothing, where others are left."""
    plain = _FILLERS.sub("", text).strip()
    return plain if len(tokens(plain)) >= _PLAINLY else text


_PLAINLY = 3


async def _intent(context: Context, text: str, before: str, degraded: list[str]) -> Choice:
    try:
        return await context.encoder.classify("intent", _plain(text), before=before)
    except PortError as error:
        degraded.append(f"encoder: {error}")
        return _blank(context.intents.names)


async def _head(context: Context, head: str, text: str, before: str, degraded: list[str]) -> Choice:
    """A head that only colours the turn; without it the turn is as it would be for a calm, single wish."""
    try:
        return await context.encoder.classify(head, text, before=before)
    except PortError as error:
        degraded.append(f"{head}: {error}")
        return _blank(("calm" if head == "frustration" else "single",))


async def _incident(context: Context, text: str, degraded: list[str]) -> float:
    """How likely something happened that must not wait."""
    if not context.intents.of_role("incident"):
        return 0.0
    try:
        found = await context.encoder.classify("incident", text)
    except PortError as error:
        degraded.append(f"incident: {error}")
        return 0.0
    return found.probabilities.get("incident", 0.0)


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


def _known(choice: Choice, context: Context) -> dict[str, float]:
    """The chances of the intents that the catalogue knows."""
    known = set(context.intents.names)
    found = {name: chance for name, chance in choice.probabilities.items() if name in known}
    return found or {choice.option: 1.0}


def _lent(
    chances: dict[str, float],
    text: str,
    state: SupportState,
    context: Context,
    references: Sequence[object] = (),
    views: Sequence[RecordView] = (),
) -> dict[str, float]:
    """A short message that says little for itself goes on with what was wanted before it; so does one that puts
    another thing in the place of what was talked about."""
    wanted, unclear = state.get("wanted", ""), state.get("unclear", "")
    best = max(chances, key=chances.__getitem__)
    points = len(tokens(text)) <= _SHORT and any(which != "none" for which in references)
    if (unclear or wanted) in chances and only_names(text, views):
        return _mixed(chances, unclear or wanted, _CORRECTED)
    if wanted in chances and (dialogue.again_for(text) or (chances[best] < _SURELY and points)):
        return _mixed(chances, wanted, _CORRECTED)
    if wanted in chances and chances[best] < _SURELY and _corrects(text):
        if _names_another_change(text, wanted, context):
            return chances
        return _mixed(chances, wanted, _CORRECTED)
    if (
        chances.get(wanted, 0.0) < _POSSIBLE
        or chances[best] >= _UNSURE
        or len(tokens(text)) > _SHORT
        or context.intents.get(best).role in ("affirm", "deny", "leave", "courtesy")
    ):
        return chances
    return _mixed(chances, wanted, _LENT)


def _mixed(chances: Mapping[str, float], wanted: str, share: float) -> dict[str, float]:
    lent = {name: chance * (1 - share) for name, chance in chances.items()}
    lent[wanted] += share
    return lent


#: A correction goes on with what was wanted, unless it surely wants something else.
_CORRECTED, _SURELY = 0.8, 0.7
_CORRECTION = re.compile(
    r"^(?:(?:no|nope|hm+|wait|sorry|oh|actually|ok|nein|ne|moment|doch|non|pas|attends|espera|aspetta|nee|wacht)[, .!]+)*"
    r"(?:(?:no|not|wait|i mean|i meant|sorry|actually|rather|the other|instead|nein|nicht|ich meine|ich meinte|doch|non|pas|"
    r"je veux dire|digo|quiero decir|intendo|nee|ik bedoel)\b|the other one|die andere)"
)


def _corrects(text: str) -> bool:
    """Whether a short message only puts one thing in the place of another."""
    return len(tokens(text)) <= _SHORT and _CORRECTION.match(folded(text).strip()) is not None


def _names_another_change(text: str, wanted: str, context: Context) -> bool:
    """Whether a change is named that is not the one wanted before: "no wait, undo that"."""
    said = tokens(text)
    return not mentions(said, context.intents.get(wanted).verbs) and any(
        mentions(said, one.verbs) for one in context.intents.intents
    )


#: Words that stand around a thing and say nothing of what is wanted with it.
_AROUND = frozenset(
    [
        "a",
        "an",
        "the",
        "this",
        "that",
        "these",
        "those",
        "my",
        "our",
        "i",
        "we",
        "it",
        "one",
        "ones",
        "mean",
        "meant",
        "ok",
        "okay",
        "then",
        "and",
        "also",
        "too",
        "as",
        "well",
        "but",
        "no",
        "not",
        "nope",
        "wait",
        "hmm",
        "hm",
        "oh",
        "sorry",
        "please",
        "pls",
        "actually",
        "rather",
        "instead",
        "after",
        "all",
        "other",
        "for",
        "with",
        "of",
        "is",
        "was",
        "it's",
        "its",
        "i'm",
        "just",
        "only",
        "talking",
        "about",
        "both",
        "ah",
        "so",
        "fine",
        "yes",
        "order",
        "orders",
        "der",
        "die",
        "das",
        "den",
        "dem",
        "des",
        "ein",
        "eine",
        "einen",
        "mein",
        "meine",
        "meinen",
        "meins",
        "ich",
        "wir",
        "meinte",
        "doch",
        "nein",
        "ne",
        "nee",
        "nicht",
        "sondern",
        "lieber",
        "dann",
        "und",
        "auch",
        "noch",
        "bitte",
        "ach",
        "halt",
        "moment",
        "aber",
        "mit",
        "von",
        "fur",
        "le",
        "la",
        "les",
        "un",
        "une",
        "mon",
        "ma",
        "mes",
        "non",
        "pas",
        "plutot",
        "et",
        "aussi",
        "el",
        "los",
        "las",
        "mi",
        "mis",
        "digo",
        "y",
        "il",
        "lo",
        "gli",
        "mio",
        "mia",
        "het",
        "de",
        "een",
        "mijn",
        "niet",
    ]
)


def only_names(text: str, views: Sequence[RecordView]) -> bool:
    """Whether a message names a thing of the customer's and says nothing else: "no wait, the pack"."""
    said = tokens(text)
    names = [
        word
        for view in views
        for item in view.items
        for n in (item.name, *item.words)
        for word in tokens(n)
    ]
    named = [word for word in said if word not in _AROUND and any(alike(word, n) for n in names)]
    return bool(named) and all(word in _AROUND or word in named for word in said)


#: What a write gains whose own word is said, and not forbidden or asked about.
_VERB = 2.5


def _named(chances: dict[str, float], text: str, context: Context) -> dict[str, float]:
    """The chances where the customer says the word itself: "refund 10455 pls"."""
    if dialogue.asks(text) and not dialogue.requests(text):
        return chances
    said = tokens(text)
    weighed = {
        name: chance * (_VERB if mentions(said, context.intents.get(name).verbs) else 1.0)
        for name, chance in chances.items()
    }
    return dealt_out(weighed, chances)


def _asking(chances: dict[str, float], text: str, context: Context) -> dict[str, float]:
    """The chances of a question: nobody agrees by asking."""
    if not dialogue.asks(text):
        return chances
    left = {n: 0.0 if context.intents.get(n).role == "affirm" else p for n, p in chances.items()}
    return dealt_out(left, chances)


def _bare(contact: str) -> str:
    """A mail address or telephone number without what people write differently."""
    return re.sub(r"[^\w@.]", "", contact.casefold()).removeprefix("00")


#: What an intent gains that takes a value of a kind the message holds.
_VALUE = 4.0


def _holding(chances: dict[str, float], spans: Spans, context: Context) -> dict[str, float]:
    """The chances where the message holds an address, a mail address or a telephone number to take."""
    known = {_bare(context.customer.email), _bare(context.customer.phone or "")}
    held = {
        kind
        for kind, found in (
            ("address", spans.addresses),
            ("email", [s for s in spans.emails if _bare(s.text) not in known]),
            ("phone", [s for s in spans.phones if _bare(s.text) not in known]),
        )
        if found
    }
    if not held:
        return chances
    weighed = {
        name: chance * (_VALUE if held & set(context.intents.get(name).values) else 1.0)
        for name, chance in chances.items()
    }
    return dealt_out(weighed, chances)


#: What an intent loses that is about records of another kind than the one that was named, or that is not owned.
_OTHER_KIND, _NOT_OWNED = 0.1, 0.5


def _of_kind(
    chances: dict[str, float], said: Said, views: Sequence[RecordView], context: Context
) -> dict[str, float]:
    """The chances where a record was named: what is about records of other kinds is hardly meant."""
    if not views:
        return chances
    kinds, parents = {v.id: v.kind for v in views}, {v.id: v.parent for v in views}
    numbers = [number for number in said.numbers if number in kinds]
    near = {kinds[n] for n in numbers} | {
        kind
        for id, kind in kinds.items()
        if parents[id] in numbers or id in _above(numbers, parents)
    }
    owned = set(kinds.values())

    def weight(name: str) -> float:
        records = set(context.intents.get(name).records)
        if not records:
            return 1.0
        if numbers and not records & near:
            return _OTHER_KIND
        return 1.0 if records & owned else _NOT_OWNED

    weighed = {name: chance * weight(name) for name, chance in chances.items()}
    return dealt_out(weighed, chances)


def _of_waiting(heard: _Turn, waiting: Sequence[Approval], last_turn: str) -> _Turn:
    """Who drops what waits for a colleague ("forget the refund") takes it back, where the words name it; who asks
    "when?" right after asking for something asks about that."""
    intents = heard.context.intents
    just_asked = any(one.action.turn == last_turn for one in waiting)
    if just_asked and dialogue.asks_when(heard.text) and (told := intents.of_role("waiting")):
        return _meaning(heard, told[0])
    names = intents.of_role("withdraw")
    if names and waiting and dialogue.retracts(heard.text):
        return replace(heard, whole=Read(heard.whole.clause, {names[0]: 1.0}), parts=())
    again = _asked_again(heard, waiting)
    if names and again and dialogue.keeps(heard.text):
        return _meaning(heard, names[0])
    if again and (told := intents.of_role("waiting")):
        return _meaning(heard, told[0])  # the same is not asked for twice; it is said that it waits
    if not names or intents.get(heard.whole.best).role not in ("leave", "deny"):
        return heard
    said = tokens(heard.text)
    numbers = heard.said(heard.text).numbers
    named = [
        one
        for one in waiting
        if any(str(value) in numbers for value in one.action.arguments.values())
        or any(
            mentions(said, i.verbs) for i in intents.intents if i.operation == one.action.operation
        )
    ]
    if not named or not dialogue.takes_back(heard.text):
        return heard
    return _meaning(heard, names[0])


def _asked_again(heard: _Turn, waiting: Sequence[Approval]) -> bool:
    """Whether the message wants what waits already, for the same record and not for another part of it."""
    intent = heard.context.intents.get(heard.whole.best)
    same = [one for one in waiting if one.action.operation == intent.operation]
    if not same or len(heard.parts) > 1:
        return False
    record = heard.grounds(intent.name, heard.text).record
    return record is not None and any(
        record in map(str, one.action.arguments.values()) for one in same
    )


def _meaning(heard: _Turn, intent: str) -> _Turn:
    """The same message, read as this."""
    chances = {**dict.fromkeys(heard.whole.chances, 0.0), intent: heard.whole.chance}
    return replace(heard, whole=Read(heard.whole.clause, chances), parts=())


def _above(numbers: Sequence[str], parents: Mapping[str, str | None]) -> set[str | None]:
    return {parents[number] for number in numbers} - {None}


def said_in(text: str, spans: Spans) -> Said:
    """The values that stand in a clause. A clause's text is a stretch of the message, or two joined."""
    whole = spans.new_text
    start = whole.find(text)
    end = start + len(text) if start >= 0 else len(whole)
    start = max(start, 0)

    def here(at: int) -> bool:
        return start <= at < end

    numbers = [s for s in spans.record_numbers if here(s.start) and s.value]
    return Said.of(
        text,
        numbers=tuple(str(s.value) for s in numbers if not s.negated),
        excluded=tuple(str(s.value) for s in numbers if s.negated),
        foreign=tuple(
            str(s.value) for s in spans.foreign_numbers if here(s.start) and not s.negated
        ),
        days=tuple(
            (s.value.first, s.value.last)
            for s in spans.dates
            if here(s.start) and s.value is not None
        ),
        amounts=tuple(
            s.value.value for s in spans.amounts if here(s.start) and s.value is not None
        ),
        which=tuple(
            which
            for s in spans.references
            if here(s.start) and s.value is not None and not s.negated
            for which in _which(s.value.kind, s.value.place, s.value.noun)
        ),
        quantities=tuple(
            (int(s.value.count), len(tokens(whole[start : s.start])))
            for s in spans.quantities
            if here(s.start) and s.value is not None and s.value.count is not None and not s.negated
        ),
    )


def _which(kind: str, place: int | None, noun: str) -> list[Which]:
    match kind:
        case "ordinal" if place is not None and place > 0:
            return [place]
        case "last":
            return ["newest"] if noun else ["last"]
        case "newest" | "oldest" | "other" | "both" | "all":
            return [kind]
        case "neither":
            return ["none"]
        case _:
            return []


# --- what it means ------------------------------------------------------------------------------


async def choose(state: SupportState, heard: _Turn, pending: Pending | None) -> Route:
    """Incidents first, then the open question, then what is new."""
    if (incident := _incident_act(heard)) is not None:
        return _route(heard, (incident,), reason="an incident comes before everything else")
    if pending is not None:
        case = _case_asked(heard, pending)
        answered = case if case is not None else _answer(state, heard, pending)
        if answered is not None:
            return answered
        if pending.arguments.get("intent") is not None or (
            pending.stage == "confirm" and dialogue.says_no(heard.text)
        ):
            # Which record a problem is about is not asked again once the customer speaks of something else.
            return (await _new(heard, state.get("wanted", ""))).model_copy(
                update={"replaces": True}
            )
    return await _new(heard, state.get("wanted", ""))


#: So sure must the head for incidents be to carry an intent that only half says so.
_SURE_INCIDENT = 0.95


def _incident_act(heard: _Turn) -> Act | None:
    """The incident that is told, where the heads or the domain's own words for it say so."""
    context = heard.context
    names = context.intents.of_role("incident")
    if not names:
        return None
    chances = {name: heard.whole.chances.get(name, 0.0) for name in names}
    for part in heard.parts:
        chances = {
            name: max(chance, part.chances.get(name, 0.0)) for name, chance in chances.items()
        }
    named = context.cases.incident_in(heard.text) if context.cases is not None else None
    best = max(chances, key=chances.__getitem__)
    # As the head said it: what a record named or a word said does to the wishes makes nothing an incident.
    sure = sum(heard.choice.probabilities.get(name, 0.0) for name in names)
    thresholds = context.thresholds
    if named is not None:
        # The domain's own words for it and either head: an incident is rather heard once too often.
        if max(sure, heard.incident / 2) < thresholds.incident_named:
            return None
    elif sure < thresholds.incident and not (
        sure >= thresholds.incident / 2 and heard.incident >= _SURE_INCIDENT
    ):
        return None
    kind = named if named in chances and chances[best] < 0.5 else best
    assert kind is not None
    return Act(
        intent=kind,
        probability=min(max(sure, chances[kind]), 1.0),
        text=heard.text,
        grounds=_any_record(heard),
    )


def _any_record(heard: _Turn) -> Grounds:
    """The one record that a message names, whatever it wants of it."""
    kinds = {view.kind for view in heard.views if view.items and view.parent is None}
    found = ground(
        heard.said(heard.text),
        heard.views,
        kinds,
        lexicon=heard.context.lexicon,
        memory=heard.memory,
    )
    return found if found.record is not None else Grounds()


def _answer(state: SupportState, heard: _Turn, pending: Pending) -> Route | None:
    """What the message does to the open question; None where it is about something else."""
    context = heard.context
    operation = pending.about or pending.operation
    field = _record_field(context, operation)
    kinds = (field[1],) if field is not None else ()
    asked = heard
    if pending.stage == "choice" and heard.memory.offered:
        shown = set(heard.memory.offered)
        asked = replace(heard, views=tuple(v for v in heard.views if v.id in shown))
    grounds = (
        ground(
            heard.said(heard.text), asked.views, kinds, lexicon=context.lexicon, memory=heard.memory
        )
        if kinds
        else Grounds()
    )
    if grounds.how == "focus":
        grounds = Grounds()
    plan = state.get("plan")
    planned = frozenset(
        step.name for step in (plan.steps if plan is not None else ()) if step.status == "waiting"
    )
    meant = dialogue.move(
        pending,
        dialogue.Heard(
            text=heard.text,
            chances=heard.whole.chances,
            grounds=grounds,
            fits=fits(pending, heard.text, context.operations),
            asked_last=pending.asked_in == state.get("last_turn"),
            another=_another(pending, grounds),
            points=bool(heard.said(heard.text).which),
        ),
        context.intents,
        planned if pending.operation == "plan" else frozenset({operation}),
    )
    if meant == "new":
        # Who begins with a no and speaks of something else has dropped what was asked.
        return None
    if meant == "continue" and grounds.together and operation in context.operations:
        act = Act(intent=_serving(context, operation, heard), probability=1.0, text=heard.text)
        return _route(heard, _one_each(act, grounds)).model_copy(update={"replaces": True})
    best = heard.whole.best
    act = Act(intent=best, probability=heard.whole.chance, text=heard.text, grounds=grounds)
    lane: Lane = "agent" if pending.operation == "plan" else "operation"
    if pending.operation == "hand_off":
        lane = "operation"
    return Route(
        intent=best,
        lane="direct" if meant in ("decline", "leave") else lane,
        operation=pending.operation,
        move=meant,
        probability=heard.whole.chance,
        lane_probability=heard.whole.chance,
        candidates=_ranked(heard.whole.chances),
        frustration=heard.upset.probabilities.get("frustrated", 0.0),
        sensitivity=_sensitivity(heard),
        reason=f"the customer was asked about {pending.operation}",
        tier=heard.choice.tier,
        acts=(act,),
    )


def _another(pending: Pending, grounds: Grounds) -> bool:
    """Whether a record was named that the question is not about."""
    record = grounds.record
    return (
        record is not None
        and grounds.how in ("named", "picked")
        and pending.stage == "confirm"
        and record not in [str(value) for value in pending.arguments.values()]
    )


def _case_asked(heard: _Turn, pending: Pending) -> Route | None:
    """The answer to the question which record a problem is about."""
    context = heard.context
    intent = str(pending.arguments.get("intent", ""))
    if pending.stage != "choice" or intent not in context.intents.names:
        return None
    shown = set(heard.memory.offered) or {str(v) for c in pending.candidates for v in c.values()}
    views = tuple(view for view in heard.views if view.id in shown)
    kinds = {view.kind for view in views}
    memory = Memory(offered=heard.memory.offered)
    said, lexicon = heard.said(heard.text), context.lexicon
    found = ground(said, views, kinds, lexicon=lexicon, memory=memory)
    if found.record is None:  # Not of those that were shown, but theirs all the same.
        every = [view for view in heard.views if view.kind in kinds]
        found = ground(said, every, kinds, lexicon=lexicon, memory=Memory())
    if found.record is None and not found.together:
        return None
    act = Act(
        intent=intent,
        probability=1.0,
        text=f"{pending.arguments['words']}\n{heard.text}",
        grounds=found,
    )
    acts = _one_each(act, found) if found.together else (act,)
    return _route(heard, acts).model_copy(update={"replaces": True})


def _serving(context: Context, operation: str, heard: _Turn) -> str:
    """The likeliest intent that the operation serves."""
    able = [i.name for i in context.intents.intents if i.operation == operation]
    return max(able, key=lambda name: heard.whole.chances.get(name, 0.0), default=heard.whole.best)


def _clarified(asked: Pending, heard: _Turn) -> str | None:
    """The intent that was picked from the clarifying question."""
    names = [str(candidate["intent"]) for candidate in asked.candidates]
    said = heard.said(heard.text)
    for which in said.which:
        if isinstance(which, int) and 0 < which <= len(names):
            return names[which - 1]
    yes = sum(heard.whole.chances.get(n, 0.0) for n in heard.context.intents.of_role("affirm"))
    if yes >= dialogue.YES and len(names) == 1:
        return names[0]
    if only_names(heard.text, heard.views):
        about = [n for n in names if heard.grounds(n, heard.text).record is not None]
        single = [n for n in about if heard.context.intents.get(n).one is None]
        if single or about:
            return (single or about)[0]
    likely = [name for name in names if heard.whole.chances.get(name, 0.0) >= dialogue.ANOTHER]
    return likely[0] if len(likely) == 1 else None


async def _new(heard: _Turn, wanted: str = "") -> Route:
    """The wishes of a message that answers nothing, each with what it is about."""
    context = heard.context
    if (again := _agreed_to(heard, wanted)) is not None:
        return _route(heard, (again,), reason="a yes to what a case was said to")
    several = heard.several.probabilities.get("several", 0.0)
    found = wishes(heard.whole, heard.parts, several, context.intents, context.thresholds.several)
    acts = [act for one in found for act in _acts(heard, one, wanted)]
    spread = [one for act in acts for one in await _spread(heard, act)]
    route = _route(heard, tuple(spread[:MOST_ACTS]))
    return _within_case(heard, route, wanted)


def _agreed_to(heard: _Turn, wanted: str) -> Act | None:
    """A yes that answers no question: it is about the case that was told, or takes what the reply offered."""
    intents = heard.context.intents
    if wanted not in intents.names or intents.get(heard.whole.best).role != "affirm":
        return None
    meant = wanted if intents.get(wanted).case is not None else intents.get(wanted).then
    if meant is None:
        return None
    grounds = heard.grounds(meant, heard.text)
    return Act(intent=meant, probability=heard.whole.chance, text=heard.text, grounds=grounds)


def _within_case(heard: _Turn, route: Route, wanted: str) -> Route:
    """What stays unclear right after a case was told is still about it: the articles are asked, then the case."""
    intents = heard.context.intents
    if route.otherwise != "clarify" or wanted not in intents.names:
        return route
    if intents.get(wanted).case is None or intents.get(route.intent).role is not None:
        return route
    act = Act(
        intent=wanted,
        probability=route.probability,
        text=heard.text,
        grounds=heard.grounds(wanted, heard.text),
    )
    if heard.choice.model == NOBODY:
        return route
    if route.abstained:  # It asks nothing, so the articles hold nothing for it.
        told = {"acts": (act,), "intent": wanted, "otherwise": "", "abstained": False}
        return route.model_copy(update={**told, "lane": "operation", "served": "advise"})
    return route.model_copy(update={"acts": (act,), "otherwise": "advise"})


async def _spread(heard: _Turn, act: Act) -> list[Act]:
    """A change of "everything that ..." is one act a record that the rules allow it for."""
    context = heard.context
    operation = context.operations.get(context.intents.get(act.intent).operation or "")
    if act.grounds.records or operation is None or not operation.writes:
        return [act]
    if not means_all(heard.said(act.text)):
        return [act]
    able = await choices_of(context, operation, {})
    if len(able) < 2:
        return [act]
    grounds = Grounds(
        kind=next(iter(context.intents.get(act.intent).records), ""),
        records=tuple(able),
        together=True,
        how="all",
    )
    return list(_one_each(act, grounds))


def _one_each(act: Act, grounds: Grounds) -> tuple[Act, ...]:
    return tuple(
        act.model_copy(
            update={"grounds": grounds.model_copy(update={"records": (record,), "together": False})}
        )
        for record in grounds.records
    )


def _told_before(wanted: str, intent: str, context: Context) -> str:
    """The problem that was talked about when its remedy is asked for now."""
    intents = context.intents
    told = wanted in intents.names and intents.get(wanted).problem
    return wanted if told and intents.get(intent).remedy else ""


def _acts(heard: _Turn, one: Read, wanted: str) -> list[Act]:
    """The act of one wish; one each where it is about several records."""
    context = heard.context
    intent = _fitting(heard, one)
    words = one.clause.text
    grounds = heard.grounds(intent, words)
    if not grounds.records and words != heard.text and not grounds.foreign:
        # "Cancel the tent order and send me the invoice for it": the rest of the message says of what.
        grounds = heard.grounds(intent, heard.text)
    single = context.intents.get(intent).one
    shown = grounds.how == "picked" or only_names(words, heard.views)
    if single is not None and grounds.record is not None and shown:
        intent = single  # one of the list that was shown
    if one.clause.later and (problem := problem_in(heard.whole.chances, context.intents, intent)):
        intent = problem  # "if it isn't here by tomorrow I want my money back": today it is late
    grounds = with_item(grounds, heard.views)
    act = Act(
        intent=intent,
        probability=max(
            one.chances.get(intent, 0.0),
            one.chance if one.clause.later or intent == single else 0.0,
        ),
        text=words,
        grounds=grounds,
        conditional=one.clause.conditional,
        later=one.clause.later,
        reason=problem_in(heard.whole.chances, context.intents, intent)
        or _told_before(wanted, intent, context),
    )
    return list(_one_each(act, grounds)) if grounds.together else [act]


def _fitting(heard: _Turn, one: Read) -> str:
    """The likeliest intent that the named record allows: a refund's number is not an order's status."""
    kinds = {view.id: view.kind for view in heard.views}
    numbers = [n for n in heard.said(one.clause.text).numbers if n in kinds]
    best = one.best
    if not numbers:
        return best
    wanted = {kinds[number] for number in numbers}
    parents = {view.id: view.parent for view in heard.views}
    related = wanted | {kinds[p] for n in numbers if (p := parents.get(n)) in kinds and p}
    records = set(heard.context.intents.get(best).records)
    if not records or records & related or records & _children(heard, numbers):
        return best
    able = {
        name: chance
        for name, chance in one.chances.items()
        if set(heard.context.intents.get(name).records) & wanted
    }
    close = max(able, key=able.__getitem__, default=best)
    return close if able.get(close, 0.0) >= 0.02 else best


def _children(heard: _Turn, numbers: Sequence[str]) -> set[str]:
    return {view.kind for view in heard.views if view.parent in numbers}


def _route(heard: _Turn, acts: tuple[Act, ...], reason: str = "") -> Route:
    """The lane of the acts, or that nobody is sure enough."""
    context = heard.context
    first = acts[0]
    intent = context.intents.get(first.intent)
    upset = heard.upset.probabilities.get("frustrated", 0.0)
    lane: Lane = "agent" if len(acts) > 1 else intent.lane
    sure = _settled(heard, first) or first.probability >= _floor(heard, first, intent)
    otherwise = ""
    abstained = False
    ours = mentions(tokens(first.text), _verbs(context))
    if len(acts) == 1 and intent.role == "out_of_scope" and (sure or not ours):
        otherwise = "out_of_scope"
    elif len(acts) == 1 and not sure and intent.role != "incident":
        otherwise = "clarify"
        # What asks nothing finds no answer in the articles.
        abstained = heard.choice.model == NOBODY or not (
            intent.lane == "answer" or _questions(first.text)
        )
    furious = upset >= context.thresholds.furious
    unplaced = not first.grounds.records and (intent.problem or intent.remedy)
    if len(acts) == 1 and furious and unplaced:
        lane, otherwise, abstained = (
            "escalate",
            "",
            False,
        )  # a person is offered sooner than a question
    served = _served(heard, intent, acts, lane, otherwise)
    return Route(
        intent=intent.name,
        lane=lane,
        served=served,  # type: ignore[arg-type]
        operation=intent.operation if lane == "operation" else None,
        probability=first.probability,
        lane_probability=_lane_chance(heard, lane, first),
        candidates=_ranked(heard.whole.chances),
        frustration=upset,
        complexity="several" if len(acts) > 1 else "single",
        sensitivity=_sensitivity(heard),
        abstained=abstained,
        reason=reason or intent.description,
        tier=heard.asked.tier if heard.asked is not None else heard.choice.tier,
        acts=acts,
        otherwise=otherwise,  # type: ignore[arg-type]
    )


def _questions(text: str) -> bool:
    """Whether anything in the message is a question, and not a request put as one."""
    if dialogue.requests(text):
        return _WH.search(folded(text)) is not None
    return "?" in text or any(dialogue.asks(clause.text) for clause in split(text))


_WH = re.compile(
    r"\b(?:who|what|when|where|why|how|which|if|whether|wer|was|wann|wo|warum|wie\w*|welche\w*|ob|qui|quand|comment|"
    r"combien|cuando|como|cuanto|quando|come|quanto|wanneer|hoe\w*)\b"
)


def _settled(heard: _Turn, act: Act) -> bool:
    """Whether a dearer tier was asked and was sure of this: the heads' lines are not asked a second time."""
    asked = heard.asked
    if asked is None or act.intent != asked.option:
        return False
    return asked.probabilities[asked.option] >= heard.context.thresholds.small


#: With the record named, or its own word said, less will do: what would be changed is shown before it is.
_GROUNDED, _SAID = 0.65, 0.6


def _floor(heard: _Turn, act: Act, intent: Intent) -> float:
    """From where on the act is believed: the surer the ground, the sooner."""
    context = heard.context
    floor = context.thresholds.floor(intent, context.operations)
    if act.grounds.how in ("named", "picked") and act.grounds.record is not None:
        floor *= _GROUNDED
    asked = dialogue.asks(act.text) and not dialogue.requests(act.text)
    if mentions(tokens(act.text), intent.verbs) and not asked:
        floor *= _SAID
    operation = context.operations.get(intent.operation or "")
    writes = operation is not None and operation.writes
    return max(floor, context.thresholds.proposal) if writes else floor


def _served(heard: _Turn, intent: Intent, acts: tuple[Act, ...], lane: Lane, otherwise: str) -> str:
    """Which node serves a single wish, where its lane has several."""
    context, act = heard.context, acts[0]
    if otherwise:
        return "recall"  # the knowledge is asked before anything is called unclear or not ours
    if len(acts) > 1 or (lane == "escalate" and intent.role != "incident"):
        return "lane"
    if intent.role == "incident":
        return "respond_to_incident"
    if intent.role in ("waiting", "withdraw"):
        return "tell_waiting"
    operation = context.operations.get(intent.operation or "")
    if act.later and operation is not None and operation.writes:
        return "defer"
    if context.cases is None:
        return "recall" if intent.case is not None else "lane"
    if intent.case is not None:
        return "advise"
    return "advise" if _about_own(heard, intent, act) else "lane"


_DEFINITE = re.compile(
    r"\b(?:my|the|these|this|those|our|mine|mein\w*|unser\w*|dies\w*|die|das|den|dem|mes|mon|ma|mis?|mijn|mio|mia)\b"
)


def _about_own(heard: _Turn, intent: Intent, act: Act) -> bool:
    """Whether a question about the rules is about one thing of the customer's, as it stands now: "can I still return
    the boots"."""
    if intent.about_record is None or act.grounds.how not in ("named", "picked"):
        return False
    record = next((view for view in heard.views if view.id == act.grounds.record), None)
    states = _states_for(heard.context, intent.about_record)
    if record is None or (states and record.state not in states):
        return False
    numbered = bool(heard.said(act.text).numbers)
    return numbered or _DEFINITE.search(folded(act.text)) is not None


def _states_for(context: Context, case: str) -> tuple[str, ...]:
    """The states in which the case is usually meant."""
    return next((i.first for i in context.intents.intents if i.case == case), ())


def _lane_chance(heard: _Turn, lane: Lane, act: Act) -> float:
    """The chance that the lane is right: of all intents that are served there."""
    intents = heard.context.intents
    same = sum(p for name, p in heard.whole.chances.items() if intents.lane(name) == lane)
    return min(max(same, act.probability), 1.0)


def _ranked(chances: Mapping[str, float], most: int = 3) -> tuple[str, ...]:
    return tuple(sorted(chances, key=chances.__getitem__, reverse=True)[:most])


def _sensitivity(heard: _Turn) -> Any:
    return "personal" if find_pii(heard.text) else "normal"


def _record_field(context: Context, operation: str) -> tuple[str, str] | None:
    """The argument that names the operation's record, and the record's kind."""
    known = context.operations.get(operation)
    if known is None:
        return None
    return next(((f.name, f.record) for f in fields(known) if f.record), None)


# --- for the log and the stream -----------------------------------------------------------------


def _decisions(heard: _Turn, chosen: Route) -> list[Decision]:
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
                    for name in _ranked(heard.whole.chances, _LOGGED)
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


__all__ = ["choose", "last_reply", "only_names", "said_in", "understand", "understood_alone"]
