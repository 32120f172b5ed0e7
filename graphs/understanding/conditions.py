"""Whether what a change was made to depend on holds for its record: "if it's not packed yet, cancel it"."""

from __future__ import annotations

import re

from graphs.understanding.clauses import mentions
from graphs.understanding.words import folded, tokens
from tools.records import Lexicon, RecordView

_CONDITION = re.compile(
    r"\b(?P<word>if|unless|in case|as long as|wenn|falls|sofern|solange)\b(?P<said>[^,.;:!?]*)"
)
_NOT = frozenset({
    "not", "isn't", "isnt", "hasn't", "hasnt", "haven't", "wasn't", "aren't", "never", "nicht", "kein", "keine",
})  # fmt: skip


def fails(text: str, record: RecordView, lexicon: Lexicon) -> bool:
    """Whether the words make the change depend on a state that the record is not in. The domain names its states in
    the order of a record's life: what is past a state is no longer before it."""
    asked = _CONDITION.search(folded(text))
    order = list(lexicon.states)
    if asked is None or record.state not in order:
        return False
    said = tokens(asked["said"])
    left = [word for word in said if word not in _NOT]
    named = [state for state, words in lexicon.states.items() if mentions(left, words)]
    if len(named) != 1:
        return False
    denied = (len(left) < len(said)) is not (asked["word"] == "unless")
    reached = order.index(record.state) >= order.index(named[0])
    return reached if denied else not reached
