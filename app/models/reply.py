"""What a large model's reply passes on its way in: bounds on our side, and its thinking aloud taken out."""

from __future__ import annotations

import re
from email.utils import parsedate_to_datetime

from tools.ports import ModelOutputInvalid
from tools.values import Clock

#: A token is a word or a piece of one; longer ones on average are no language.
CHARS_PER_TOKEN = 8
#: Reasoning is not shown and may be longer than the reply.
REASONING_CHARS = 60_000

_OPENING = re.compile(r"<(think|thinking|reasoning|thought)>", re.IGNORECASE)
_CLOSING = re.compile(r"</(?:think|thinking|reasoning|thought)>", re.IGNORECASE)
_LONGEST = len("</reasoning>")


class Said:
    """A reply as it comes: what is meant for the reader, without reasoning in tags, no longer than asked for."""

    def __init__(self, max_tokens: int) -> None:
        self._room = max_tokens * CHARS_PER_TOKEN
        self._reasoning = REASONING_CHARS
        self._held = ""
        self._closing: re.Pattern[str] | None = None
        self._begun = False

    def take(self, piece: str) -> str:
        """What of it can be said already. Raises ModelOutputInvalid where it does not end."""
        self._held += piece
        said = ""
        while self._held:
            if self._closing is not None:
                inside = self._closing.search(self._held)
                self._reasoning -= inside.end() if inside else len(self._held) - _LONGEST
                if self._reasoning < 0:
                    raise ModelOutputInvalid("The large model did not come to an end.")
                if inside is None:
                    self._held = self._held[-_LONGEST:]
                    break
                self._held, self._closing = self._held[inside.end() :], None
                continue
            opening = _OPENING.search(self._held)
            if opening is not None:
                said += self._held[: opening.start()]
                self._closing = re.compile(f"</{opening[1]}>", re.IGNORECASE)
                self._held = self._held[opening.end() :]
                continue
            if _CLOSING.search(self._held):
                raise ModelOutputInvalid(
                    "The large model's reasoning cannot be told from its reply."
                )
            # A tag may come in two pieces.
            at = self._held.rfind("<")
            whole = len(self._held) if at < 0 or len(self._held) - at > _LONGEST else at
            said, self._held = said + self._held[:whole], self._held[whole:]
            break
        return self._counted(said)

    def rest(self) -> str:
        """What was held back, at the end; of reasoning that never ended nothing."""
        held = self._held
        self._held = ""
        return "" if self._closing is not None else self._counted(held)

    def _counted(self, said: str) -> str:
        if not self._begun:
            said = said.lstrip()
        self._begun = self._begun or bool(said)
        self._room -= len(said)
        if self._room < 0:
            raise ModelOutputInvalid("The large model wrote more than it was asked for.")
        return said


def seconds_to_wait(header: str | None, clock: Clock) -> float | None:
    """What ``Retry-After`` says, in seconds from now; None where it says nothing that can be read."""
    if not header:
        return None
    try:
        return max(0.0, float(header))
    except ValueError:
        pass
    try:
        return max(0.0, (parsedate_to_datetime(header) - clock.now()).total_seconds())
    except (TypeError, ValueError):
        return None
