"""A message as it was heard: what stands in it, and everything else that its meaning is chosen by."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from langchain_core.messages import AIMessage

from graphs.context import Context
from graphs.extraction import fields
from graphs.state import CLARIFY, Pending, SupportState
from graphs.understanding.acts import Read
from graphs.understanding.grounding import Grounds, Memory, Said, Which, ground
from graphs.understanding.words import tokens
from tools.ports import BackendUnavailable, Choice
from tools.reading import Spans
from tools.records import RecordView

#: The part of the agent's last message that a message is read with: its end, where the question stands.
_BEFORE_CHARS = 300
#: What a tier that did not answer goes by; its guess is none.
NOBODY = "none"


@dataclass(frozen=True)
class HeardTurn:
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
            operation=known.operation or "",
            options=options_of(self.context, known.operation or ""),
        )


def options_of(context: Context, operation: str) -> tuple[str, ...]:
    """What customers say for the options of an operation's arguments."""
    known = context.operations.get(operation)
    if known is None:
        return ()
    return tuple(saying for f in fields(known) for one in f.choices for saying in one.sayings)


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


async def records_known(context: Context) -> tuple[tuple[RecordView, ...], str]:
    """The customer's records; without them the words alone are understood, and the turn says so."""
    try:
        return await context.backend.records(context.customer), ""
    except BackendUnavailable as error:
        return (), f"records: {error}"


def offered_records(state: SupportState, pending: Pending | None) -> tuple[str, ...]:
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


def shown_count(pending: Pending | None, memory: Memory) -> int:
    """How many things a bare "2" may point at: the meanings that were offered, else the records."""
    if pending is not None and pending.operation == CLARIFY:
        return len(pending.candidates)
    return len(memory.offered)


def last_reply(state: SupportState) -> str:
    """The end of what the agent said last."""
    said = [m.text for m in state.get("messages", []) if isinstance(m, AIMessage)]
    return said[-1][-_BEFORE_CHARS:] if said else ""


def verbs_of(context: Context) -> list[str]:
    """Every beginning of a word that names a change."""
    return list(dict.fromkeys(verb for one in context.intents.intents for verb in one.verbs))


def known_chances(choice: Choice, context: Context) -> dict[str, float]:
    """The chances of the intents that the catalogue knows."""
    known = set(context.intents.names)
    found = {name: chance for name, chance in choice.probabilities.items() if name in known}
    return found or {choice.option: 1.0}


def ranked(chances: Mapping[str, float], most: int = 3) -> tuple[str, ...]:
    return tuple(sorted(chances, key=chances.__getitem__, reverse=True)[:most])
