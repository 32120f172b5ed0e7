"""Who says what a message may mean: the heads, then a dearer model among the same candidates."""

from __future__ import annotations

import re
import time
from collections.abc import Sequence
from typing import Any

import prompts
from graphs.apart import apart
from graphs.context import Context
from graphs.deciding import ms_since
from graphs.state import SupportState
from graphs.understanding.acts import HINTED, UNSURE, Read, allowed
from graphs.understanding.clauses import (
    all_taken_back,
    conditional,
    forbids,
    mentions,
    split,
    standing,
)
from graphs.understanding.dialogue import holds_off
from graphs.understanding.grounding import Memory
from graphs.understanding.heard import (
    NOBODY,
    HeardTurn,
    known_chances,
    last_reply,
    ranked,
    said_in,
    verbs_of,
)
from graphs.understanding.weighing import (
    asking,
    by_kind,
    by_owner,
    by_person,
    by_phrase,
    by_state,
    by_value,
    by_verb,
    dropped,
    lent,
    unasked,
)
from graphs.understanding.words import tokens
from tools.ports import Choice, ModelOutputInvalid, PortError
from tools.reading import Spans
from tools.records import RecordView


async def hear(
    state: SupportState,
    context: Context,
    text: str,
    spans: Spans,
    views: tuple[RecordView, ...],
    memory: Memory,
) -> HeardTurn:
    degraded: list[str] = []
    before = last_reply(state)
    whole, text = text, standing(text)
    choice = await _intent(context, text, before, degraded)
    several = await _head(context, "complexity", text, before, degraded)
    clauses = await apart(text, lambda: split(text, verbs_of(context)))
    parts: list[Read] = []
    top = max(choice.probabilities, key=choice.probabilities.__getitem__)
    forbidden = top in context.intents.names and await apart(
        text, lambda: forbids(text, context.intents.get(top).verbs)
    )
    likely = (
        forbidden
        or several.probabilities.get("several", 0.0) >= HINTED
        or choice.probabilities[top] < UNSURE
    )
    if len(clauses) > 1 and likely and choice.model != NOBODY:
        for number, clause in enumerate(clauses):
            said = await _intent(context, clause.text, before if number == 0 else "", degraded)
            parts.append(
                Read(clause, allowed(known_chances(said, context), clause.text, context.intents))
            )

    def weighed() -> dict[str, float]:
        chances = lent(
            known_chances(choice, context), text, state, context, said_in(text, spans).which, views
        )
        if forbidden and parts:
            # "I do NOT want to cancel; I only want to know ...": what is wanted stands in another clause.
            chances = dict(_wanted_part(parts, top, context).chances)
        chances = by_verb(chances, text, context)
        chances = by_phrase(chances, text, views, context)
        chances = by_value(chances, spans, context)
        chances = by_kind(chances, said_in(text, spans), views, context)
        chances = by_state(chances, said_in(text, spans), views, context)
        chances = by_owner(chances, text, views, context)
        chances = asking(chances, text, context)
        chances = by_person(chances, text, context)
        chances = unasked(chances, text, state.get("pending", ()), context)
        left = (all_taken_back(text) or holds_off(text)) and not conditional(text).conditional
        return dropped(chances, context) if left else chances

    chances = await apart(text, weighed)
    chances, asked = await _next_tier(state, context, text, chances, degraded)
    return HeardTurn(
        context=context,
        text=whole,
        spans=spans,
        views=views,
        memory=memory,
        whole=Read(conditional(text), allowed(chances, text, context.intents)),
        parts=tuple(parts),
        choice=choice,
        asked=asked,
        several=several,
        upset=await _head(context, "frustration", whole, "", degraded),
        incident=await _incident(context, whole, degraded),
        degraded=tuple(degraded),
    )


def _wanted_part(parts: Sequence[Read], forbidden: str, context: Context) -> Read:
    """The clause that surely wants something, of those that do not speak of what is forbidden."""
    verbs = context.intents.get(forbidden).verbs
    free = [part for part in parts if not mentions(tokens(part.clause.text), verbs)] or list(parts)
    told = [part for part in free if context.intents.get(part.best).role != "courtesy"] or free
    return max(told, key=lambda part: part.chance)


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


#: So many candidates are put before a dearer tier.
_CANDIDATES = 8


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
    options = ranked(chances, _CANDIDATES)
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
