"""Whether a message that quality is measured on stands among the examples, word for word or nearly so."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np
import yaml
from rapidfuzz import fuzz, process, utils

#: Up to so many words ("yes please", "where is my order") many people write the same; they tell nothing.
SHORT = 4
ALIKE = 92.0
_ROWS = 512
#: Under these names the files of cases hold what customers write.
SAID = frozenset({"say", "text", "question", "asked", "same", "other", "goal"})


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


def measured(cases: Path, *more: Path) -> list[str]:
    """Every message of a customer in a domain's files of cases, and in ``more`` files of conversations."""
    found: list[str] = []
    for file in sorted(cases.glob("*.yaml")):
        found += _said(yaml.safe_load(file.read_text("utf-8")))
    for file in (*sorted(cases.glob("*.jsonl")), *more):
        for line in file.read_text("utf-8").splitlines():
            found += _said(json.loads(line)["turns"])
    return found


def _said(node: Any, name: str = "") -> Iterator[str]:
    if isinstance(node, str):
        if name in SAID:
            yield node
    elif isinstance(node, list):
        for one in cast("list[Any]", node):
            yield from _said(one, name)
    elif isinstance(node, dict):
        for key, one in cast("dict[str, Any]", node).items():
            yield from _said(one, key)
