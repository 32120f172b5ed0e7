"""What a message does to a request that waits for a colleague: ask about it, or take it back."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from graphs.understanding import dialogue
from graphs.understanding.acts import Read, dealt_out
from graphs.understanding.clauses import mentions
from graphs.understanding.heard import HeardTurn
from graphs.understanding.words import tokens
from tools.values import Approval


def of_waiting(
    heard: HeardTurn, waiting: Sequence[Approval], last_turn: str, wanted: str
) -> HeardTurn:
    """Who drops what waits for a colleague ("forget the refund") takes it back, where the words name it; who asks
    "when?" right after asking for something asks about that."""
    intents = heard.context.intents
    just_asked = any(one.action.turn == last_turn for one in waiting)
    if just_asked and dialogue.asks_when(heard.text) and (told := intents.of_role("waiting")):
        return _meaning(heard, told[0], least=_PLAIN)
    names = intents.of_role("withdraw")
    told_of = wanted in intents.names and intents.get(wanted).case is not None
    if told_of and not waiting and intents.get(heard.whole.best).role == "waiting":
        return _meaning(heard, wanted)  # how far the case is that was just told
    if names and waiting and dialogue.retracts(heard.text):
        return replace(heard, whole=Read(heard.whole.clause, {names[0]: 1.0}), parts=())
    if names and not waiting and dialogue.asks(heard.text) and not dialogue.requests(heard.text):
        heard = _without(heard, names)  # a question takes nothing back, where nothing waits
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


def _asked_again(heard: HeardTurn, waiting: Sequence[Approval]) -> bool:
    """Whether the message wants what waits already, for the same record and not for another part of it."""
    intent = heard.context.intents.get(heard.whole.best)
    same = [one for one in waiting if one.action.operation == intent.operation]
    if not same or len(heard.parts) > 1:
        return False
    record = heard.grounds(intent.name, heard.text).record
    return record is not None and any(
        record in map(str, one.action.arguments.values()) for one in same
    )


def _without(heard: HeardTurn, names: Sequence[str]) -> HeardTurn:
    """The same message, read as anything but these."""
    chances = heard.whole.chances
    kept = {name: 0.0 if name in names else chance for name, chance in chances.items()}
    return replace(heard, whole=Read(heard.whole.clause, dealt_out(kept, chances)))


#: So sure a question is that can be about nothing else: "when do I get it?" right after asking for it.
_PLAIN = 0.8


def _meaning(heard: HeardTurn, intent: str, *, least: float = 0.0) -> HeardTurn:
    """The same message, read as this."""
    chances = {**dict.fromkeys(heard.whole.chances, 0.0), intent: max(heard.whole.chance, least)}
    return replace(heard, whole=Read(heard.whole.clause, chances), parts=())
