"""A reply as it is written: each sentence is checked before the customer reads it."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from graphs.context import Context
from graphs.state import Draft
from graphs.validation import cited_in_place, validate_draft
from tools.sentences import split

_ENDS = re.compile(r"[.!?…\n]")


class Checked:
    """Takes a reply piece by piece and says what of it is whole and sound."""

    def __init__(self, draft: Draft, context: Context, *, say: Callable[[Any], Any]) -> None:
        self._draft, self._context, self._say = draft, context, say
        self._said = ""  #: What the customer has been shown, citations before the full stop.
        self._ended = False
        self.text = ""
        self.sound = True

    def take(self, token: str) -> None:
        """Once a sentence is not sound, nothing more is said."""
        self.text += token
        self._ended = self._ended or bool(_ENDS.search(token))
        if self._ended:
            self._say_whole()

    def end(self) -> str:
        """The whole text; what was left of it is said where it is sound."""
        self.text = self.text.strip()
        if self.sound:
            self._say_checked(cited_in_place(self.text))
        return self.text

    def _say_whole(self) -> None:
        text = cited_in_place(self.text)
        begun = split(text[len(self._said) :])
        if len(begun) < 2 or begun[-1].startswith("["):
            return  # The last one may go on, or be given its source.
        self._say_checked(text[: text.rfind(begun[-1])])
        self._ended = bool(_ENDS.search(begun[-1]))

    def _say_checked(self, text: str) -> None:
        if not text.startswith(self._said) or not (new := text[len(self._said) :]).strip():
            return
        draft = self._draft.model_copy(update={"text": new})
        limits = self._context.limits
        found = validate_draft(draft, self._context.customer, max_chars=limits.reply_chars)
        self.sound = found.ok
        if found.ok:
            self._say({"event": "token", "data": {"text": new}})
            self._said = text
