"""Sentences of a passage, so that no chunk and no quotation ends in the middle of one."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from typing import Any, cast

LIST_ITEM = re.compile(r"^\s*(?:[-*+•]|\d+[.)])\s+")


def split(text: str) -> list[str]:
    """The sentences of a text in order; a line of a list or table is a sentence of its own."""
    import sentencex  # 4 MB of rules: not needed before the first chunk

    # The wheel carries no types.
    segment: Callable[[str, str], Iterable[str]] = cast("Any", sentencex).segment
    found: list[str] = []
    prose: list[str] = []

    def close_paragraph() -> None:
        if prose:
            found.extend(segment("en", " ".join(prose)))
            prose.clear()

    for line in text.splitlines():
        bare = line.strip()
        if not bare:
            close_paragraph()
        elif LIST_ITEM.match(line) or bare.startswith("|"):
            close_paragraph()
            found.append(bare)
        else:
            prose.append(bare)
    close_paragraph()
    return [sentence for raw in found if (sentence := raw.strip())]
