"""A question and a passage as one row of token ids, with the place of every sentence in it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from tokenizers import Tokenizer

CLS, SEP = 101, 102
LONGEST_QUERY = 48
LONGEST_TITLE = 24


@dataclass(frozen=True)
class Pair:
    """One row for the cross-encoder; spans are half-open token positions."""

    ids: tuple[int, ...]
    query: tuple[int, int]
    passage: tuple[int, int]
    sentences: tuple[tuple[int, int], ...]  #: Empty span where a sentence did not fit.


def encode_pair(
    tokenizer: Tokenizer, query: str, title: str, sentences: Sequence[str], *, longest: int = 256
) -> Pair:
    """Lay out ``[CLS] query [SEP] title sentences [SEP]`` within ``longest`` tokens."""
    pieces = [
        encoding.ids
        for encoding in tokenizer.encode_batch([query, title, *sentences], add_special_tokens=False)
    ]
    asked, named = pieces[0][:LONGEST_QUERY], pieces[1][:LONGEST_TITLE]
    ids = [CLS, *asked, SEP]
    start = len(ids)
    ids += named
    spans: list[tuple[int, int]] = []
    for piece in pieces[2:]:
        first = min(len(ids), longest - 1)
        ids += piece
        spans.append((first, min(len(ids), longest - 1)))
    ids = [*ids[: longest - 1], SEP]
    return Pair(tuple(ids), (1, 1 + len(asked)), (start, len(ids) - 1), tuple(spans))


def batch(pairs: Sequence[Pair]) -> dict[str, NDArray[np.int64]]:
    """Pad rows to one length and name the inputs as a BERT graph does."""
    width = max(len(pair.ids) for pair in pairs)
    ids = np.zeros((len(pairs), width), np.int64)
    mask = np.zeros_like(ids)
    types = np.zeros_like(ids)
    for row, pair in enumerate(pairs):
        ids[row, : len(pair.ids)] = pair.ids
        mask[row, : len(pair.ids)] = 1
        types[row, pair.passage[0] : len(pair.ids)] = 1
    return {"input_ids": ids, "attention_mask": mask, "token_type_ids": types}
