"""Texts that give orders to whoever reads them: noticed before a model reads them as anything but data."""

from __future__ import annotations

from graphs.context import Context
from tools.injection import HEAD, ORDER, WITHHELD, brought_along, instructs, windows_of
from tools.ports import Choice, PortError


async def order_said(context: Context, text: str) -> Choice | None:
    """The order that a message gives to the agent; what it brings along from elsewhere is judged like any text that
    is looked up, since nobody needs the agent to obey a mail."""
    lines = context.thresholds
    found = await order_in(context, text, lines.order_said)
    if found is not None and await _furious(context, text):
        found = None  # "Stop sending me canned answers": who is angry gives orders too
    brought = brought_along(text) if found is None else ""
    return await order_in(context, brought, lines.order_read) if brought else found


async def _furious(context: Context, text: str) -> bool:
    try:
        mood = await context.encoder.classify("frustration", text)
    except PortError:
        return False
    return mood.probabilities.get("frustrated", 0.0) >= context.thresholds.furious


async def order_in(context: Context, text: str, line: float) -> Choice | None:
    """What the head says of the part that gives orders most, where that is at least ``line``.

    None where nothing does, and where there is no head: then the rules alone tell."""
    if line > 1:
        return None
    worst: Choice | None = None
    for part in windows_of(text):
        try:
            said = await context.encoder.classify(HEAD, part)
        except PortError:
            return None
        if worst is None or said.probabilities[ORDER] > worst.probabilities[ORDER]:
            worst = said
    return worst if worst is not None and worst.probabilities[ORDER] >= line else None


async def for_a_prompt(context: Context, text: str) -> str:
    """A text from a record or another system as a prompt may show it: not at all where it gives orders."""
    if instructs(text) or await order_in(context, text, context.thresholds.order_read):
        return WITHHELD
    return text
