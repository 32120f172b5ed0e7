"""How much of a turn is told: at most so many bytes, however long the turn is."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from contextvars import ContextVar
from typing import Any, cast

from app.tracing.conventions import as_text

#: A turn's spans with everything they say, in bytes of OTLP before it is compressed. Below 20 kB with the request's
#: span and with what Langfuse's longer names add.
TURN_BYTES = 17_500
#: The longest text of a span.
TEXT_BYTES = 1_600
#: A text as short as this is told while calls are.
SHORT_BYTES = 120
#: Kept for the turn's own last words, for calls, and for calls before the nodes they are in.
TURN_KEPT, CALLS_KEPT, NODES_UNTIL = 2_200, 600, 4_000
#: Long texts share what is above this.
TEXTS_UNTIL = 7_500
#: A span's ids, times and name.
BARE_SPAN = 130


class Budget:
    """What one turn's trace has left."""

    def __init__(self) -> None:
        self.left = TURN_BYTES - TURN_KEPT
        self.dropped = 0

    def span(self, kind: str) -> bool:
        """May a span of this kind be told?"""
        floor = NODES_UNTIL if kind in ("node", "workflow", "embedding") else CALLS_KEPT
        if self.left < floor:
            self.dropped += 1
            return False
        self.left -= BARE_SPAN
        return True

    def spend(self, attributes: Mapping[str, Any]) -> None:
        """These are said of a span."""
        self.left -= sum(len(key) + len(str(value)) + 8 for key, value in attributes.items())

    def room(self, text: str, *, last: bool = False) -> int:
        """How many bytes of a text may be told; ``last``: of the turn's own span, for which some is kept."""
        if last:
            return TURN_KEPT // 2 - 150
        room = max((self.left - TEXTS_UNTIL) // 2, SHORT_BYTES if self.left > CALLS_KEPT else 0)
        room = min(room, TEXT_BYTES)
        self.left -= min(len(text.encode()), room)
        return room


#: Stands where a text was cut before it was masked.
CUT = "\u2026\u2063"
#: So much before such a cut is not told: what was cut in half there may be half an address, which no mask knows.
UNSURE = 160


def bounded(value: Any) -> str:
    """The value as text or JSON, so short that masking it is quick, and longer than what will be told of it."""
    return as_text(_shortened(value, 2 * TEXT_BYTES + UNSURE, 12, CUT))


def told(text: str, mask: Callable[[str], str]) -> str:
    """A leaf of the above, masked, without what stands close to its cut."""
    head, cut, _ = text.rpartition(CUT)
    return f"{mask(head)[:-UNSURE]}\u2026" if cut else mask(text)


def clipped(text: str, room: int) -> str:
    """The text in at most about ``room`` bytes; JSON stays JSON, with its longest texts and lists cut."""
    if len(text.encode()) <= room:
        return text
    try:
        read = json.loads(text)
    except ValueError:
        read = None
    if not isinstance(read, list | dict):
        return _cut(text, room, "\u2026")
    for most in (room, room * 2 // 3, room // 2, room // 3, room // 6, room // 12):
        shorter = as_text(_shortened(read, most, 8, "\u2026"))
        if len(shorter.encode()) <= room:
            return shorter
    return json.dumps("\u2026", ensure_ascii=False)


def _shortened(value: Any, most: int, items: int, mark: str) -> Any:
    """The same with each text of at most ``most`` bytes, each list of so many items, and not too deep."""
    if isinstance(value, str):
        return _cut(value, most, mark)
    if isinstance(value, list | tuple):
        some = cast("Sequence[Any]", value)[:items]
        return [_shortened(each, most, items, mark) for each in some]
    if isinstance(value, dict):
        return {key: _shortened(each, most, items, mark) for key, each in value.items()}  # pyright: ignore[reportUnknownVariableType]
    return value


def _cut(text: str, room: int, mark: str) -> str:
    whole = text.encode(errors="replace")
    if len(whole) <= room:
        return text
    return whole[: max(room - len(mark.encode()), 0)].decode(errors="ignore") + mark


_current: ContextVar[Budget | None] = ContextVar("trace_budget", default=None)


def of_this_turn() -> Budget | None:
    return _current.get()


def begin_turn() -> Any:
    return _current.set(Budget())


def end_turn(token: Any) -> None:
    _current.reset(token)
