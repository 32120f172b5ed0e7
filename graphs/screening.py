"""Which messages may go on: pure checks before any model sees the text."""

from __future__ import annotations

import re

from graphs.state import Screening, Turn
from tools.injection import INJECTION, brought_along, instructs

_WORD = re.compile(r"\w", re.UNICODE)


def screen_text(turn: Turn, *, handed_off: bool, max_chars: int) -> Screening:
    """The first gate of a turn; the verdict names the reply a stopped message gets."""
    if turn.outcome is not None:
        return Screening(verdict="outcome")
    if handed_off:
        return Screening(verdict="handed_off", reason="a person has taken over this conversation")
    if not turn.text.strip():
        return Screening(verdict="empty", reason="no text")
    if len(turn.text) > max_chars:
        return Screening(verdict="too_long", reason=f"{len(turn.text)} characters")
    if not _WORD.search(turn.text):
        return Screening(verdict="no_words", reason="no letter or digit")
    if found := INJECTION.search(turn.text):
        return Screening(
            verdict="injection", reason=f"looks like an instruction to the agent at {found.start()}"
        )
    if instructs(brought_along(turn.text)):
        return Screening(verdict="injection", reason="brings along a text that instructs an agent")
    return Screening(verdict="ok")
