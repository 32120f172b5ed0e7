"""Whether a message that quality is measured on stands among the examples, word for word or nearly so."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from rapidfuzz import fuzz, process, utils

#: Up to so many words ("yes please", "where is my order") many people write the same; they tell nothing.
SHORT = 4
ALIKE = 92.0
_ROWS = 512


@dataclass(frozen=True)
class Leak:
    """An example that is, or is nearly, a message of an evaluation set."""

    example: int  #: Its place among the examples.
    text: str
    measured: str
    likeness: float

    def __str__(self) -> str:
        return f"{self.text!r} is {self.measured!r} ({self.likeness:.0f} %)"


def leaks(examples: Sequence[str], measured: Sequence[str]) -> list[Leak]:
    """Every example of more than four words that says the same as a message of an evaluation set."""
    kept = {
        normal: one
        for one in measured
        if len((normal := utils.default_process(one)).split()) > SHORT
    }
    places = {
        place: normal
        for place, one in enumerate(examples)
        if len((normal := utils.default_process(one)).split()) > SHORT
    }
    if not kept or not places:
        return []
    found: list[Leak] = []
    choices, numbers = list(kept), list(places)
    for start in range(0, len(numbers), _ROWS):  # In parts, so that memory stays small.
        some = numbers[start : start + _ROWS]
        likeness = process.cdist(
            [places[place] for place in some],
            choices,
            scorer=fuzz.ratio,
            score_cutoff=ALIKE,
            dtype=np.float32,
        )
        for row, column in zip(*np.nonzero(likeness), strict=True):
            place = some[int(row)]
            found.append(
                Leak(
                    place,
                    examples[place],
                    kept[choices[int(column)]],
                    float(likeness[row, column]),
                )
            )
    return found
