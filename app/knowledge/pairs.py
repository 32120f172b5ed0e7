"""A question and passages as token rows, and as the joined states the pruner's upper layers read."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from tokenizers import Tokenizer

CLS, SEP = 101, 102
#: The end of a long question is kept: of a dialogue it is what was asked last.
LONGEST_QUERY = 62
LONGEST_TITLE = 24
LONGEST = 384
#: How many of the nearest passages stand for what the question is about.
COMPANY = 4

Floats = NDArray[np.float32]


@dataclass(frozen=True)
class Row:
    """Token ids of one text; spans are half-open token positions."""

    ids: tuple[int, ...]
    sentences: tuple[tuple[int, int], ...] = ()  #: Empty span where a sentence did not fit.

    @property
    def start(self) -> int:
        """Where the title ends."""
        return self.sentences[0][0] if self.sentences else len(self.ids)


def question_row(tokenizer: Tokenizer, query: str) -> Row:
    """``[CLS] query [SEP]``."""
    ids = tokenizer.encode(query, add_special_tokens=False).ids[-LONGEST_QUERY:]
    return Row((CLS, *ids, SEP))


def passage_row(
    tokenizer: Tokenizer, title: str, sentences: Sequence[str], *, longest: int = LONGEST
) -> Row:
    """``[CLS] title sentences [SEP]`` within ``longest`` tokens."""
    named, *pieces = (
        encoding.ids
        for encoding in tokenizer.encode_batch([title, *sentences], add_special_tokens=False)
    )
    ids = [CLS, *named[:LONGEST_TITLE]]
    spans: list[tuple[int, int]] = []
    for piece in pieces:
        first = min(len(ids), longest - 1)
        ids += piece
        spans.append((first, min(len(ids), longest - 1)))
    return Row((*ids[: longest - 1], SEP), tuple(spans))


def batch(rows: Sequence[Row]) -> dict[str, NDArray[np.int64]]:
    """Pad rows to one length and name the inputs as a BERT graph does."""
    ids = np.zeros((len(rows), max(len(row.ids) for row in rows)), np.int64)
    mask = np.zeros_like(ids)
    for number, row in enumerate(rows):
        ids[number, : len(row.ids)] = row.ids
        mask[number, : len(row.ids)] = 1
    return {"input_ids": ids, "attention_mask": mask, "token_type_ids": np.zeros_like(ids)}


def joined(question: Floats, passages: Sequence[Floats]) -> tuple[Floats, NDArray[np.int64]]:
    """The question's states before each passage's, padded, and the mask of what is not padding."""
    longest = max(len(states) for states in passages)
    hidden = np.zeros((len(passages), len(question) + longest, question.shape[1]), np.float32)
    mask = np.zeros(hidden.shape[:2], np.int64)
    for number, states in enumerate(passages):
        end = len(question) + len(states)
        hidden[number, : len(question)] = question
        hidden[number, len(question) : end] = states
        mask[number, :end] = 1
    return hidden, mask


@dataclass(frozen=True)
class Evidence:
    """What is known of a question's passages before a model reads them together."""

    passages: Floats  #: One row a passage: SIGNS in order.
    sentences: tuple[tuple[float, ...], ...]  #: How much of the question each sentence has, 0 to 1.


#: Cosine; share of the question's words, rare words counting more; the same of the best sentence under its
#: title; the share by how rare the words are among these passages; cosine with what the nearest passages have
#: in common; cosine of the nearest sentence, read in its passage; 1 over the place in which retrieval put it.
SIGNS = (
    "cosine",
    "words",
    "words in a sentence",
    "telling words",
    "company",
    "nearest sentence",
    "place",
)


def evidence(
    question: Row,
    passages: Sequence[Row],
    cosines: Sequence[float] | NDArray[np.floating[Any]],
    vectors: Sequence[Sequence[float]] | NDArray[np.floating[Any]],
    nearest: Sequence[float],
    rarity: Floats,
) -> Evidence:
    """The signs of each passage, all from things already at hand: token ids, vectors and their order."""
    wanted = np.array(sorted(set(question.ids[1:-1])), np.int64)
    rare = rarity[wanted].astype(np.float64)
    has = np.array([np.isin(wanted, np.array(row.ids, np.int64)) for row in passages])
    has = has.reshape(len(passages), len(wanted))
    among = has.sum(0)
    local = np.log1p((len(passages) - among + 0.5) / (among + 0.5))
    words = shares(has, rare)
    telling = shares(has, local)
    sentences: list[tuple[float, ...]] = []
    best: list[float] = []
    for row in passages:
        said = np.array(
            [np.isin(wanted, np.array(row.ids[a:b], np.int64)) for a, b in row.sentences]
        ).reshape(len(row.sentences), len(wanted))
        title = np.isin(wanted, np.array(row.ids[: row.start], np.int64))
        sentences.append(tuple(shares(said, rare).tolist()))
        # A sentence is read under its heading, and need not repeat it.
        best.append(float(shares(said | title, rare).max(initial=0.0)))
    known = np.array(vectors, np.float32)
    near = np.asarray(cosines, np.float64)
    company = known @ known[np.argsort(-near)[:COMPANY]].mean(0)
    place = 1 / (1 + np.arange(len(passages)))
    rows = np.stack([near, words, np.array(best), telling, company, nearest, place], axis=1)
    return Evidence(rows.astype(np.float32), tuple(sentences))


def shares(has: NDArray[np.bool_], weights: NDArray[np.float64]) -> NDArray[np.float64]:
    total = float(weights.sum())
    return has @ weights / total if total else np.zeros(len(has))


def sentence_vectors(states: Floats, row: Row) -> Floats:
    """Each sentence as its passage makes it read: the mean of its token states, at length one; zero where it
    did not fit."""
    found = np.zeros((max(len(row.sentences), 1), states.shape[1]), np.float32)
    for place, (first, last) in enumerate(row.sentences):
        if last > first:
            mean = states[first:last].mean(0)
            found[place] = mean / np.linalg.norm(mean)
    return found
