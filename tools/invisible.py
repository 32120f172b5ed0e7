"""Characters that nobody sees and that change what is read: direction marks, zero width, fillers."""

from __future__ import annotations

import unicodedata

#: Letters and symbols by their category, and blank all the same.
_BLANK = frozenset("\u115f\u1160\u2800\u3164\uffa0")


def visible(text: str) -> str:
    """The text as a reviewer has to see it: each invisible character is named where it stands."""
    return "".join(f"⟨U+{ord(c):04X}⟩" if _is_invisible(c) else c for c in text)


def _is_invisible(char: str) -> bool:
    return char in _BLANK or unicodedata.category(char) == "Cf"
