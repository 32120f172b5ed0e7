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
#: How much more a word counts that stands in the passage as it does in the question than one that is only near.
EXACT = 4

Floats = NDArray[np.float32]


@dataclass(frozen=True)
class Row:
    """Token ids of one text; spans are half-open token positions."""

    ids: tuple[int, ...]
    sentences: tuple[tuple[int, int], ...] = ()  #: Empty span where a sentence did not fit.

    @property
    def fitting(self) -> list[int]:
        """The places of the sentences that fit, in part at least."""
        return [place for place, (first, last) in enumerate(self.sentences) if last > first]


@dataclass(frozen=True)
class EncodedText:
    """A text as the encoder reads it."""

    row: Row
    lower: Floats  #: Tokens x 384 behind the fourth layer: still near to the words themselves.
    upper: Floats  #: Tokens x 384 behind the last: words in their context.

    @property
    def vector(self) -> Floats:
        """The embedding of the text: the mean of its token states, at length one."""
        return unit(self.upper.mean(0))

    def sentences(self) -> Floats:
        """Each sentence as its passage makes it read; zero where it did not fit."""
        found = np.zeros((len(self.row.sentences), self.upper.shape[1]), np.float32)
        for place in self.row.fitting:
            first, last = self.row.sentences[place]
            found[place] = unit(self.upper[first:last].mean(0))
        return found


def unit(states: Floats) -> Floats:
    """At length one along the last axis."""
    length = np.linalg.norm(states, axis=-1, keepdims=True)
    return (states / np.maximum(length, 1e-8)).astype(np.float32)


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
    """What is known of a question's passages before question and passage are read together."""

    passages: Floats  #: One row a passage: SIGNS in order.
    sentences: tuple[Floats, ...]  #: For each passage one row a sentence: SENTENCE_SIGNS in order.


#: Cosine; share of the question's words, rare ones counting more; how near the best sentence comes to each token
#: of the question, in context (the late interaction of ColBERT, without its training); the same of the whole
#: passage, near to the words themselves, rare ones counting more; cosine of the nearest sentence, read in its
#: passage; of the section's heading, beside the other headings; 1 over each place that retrieval gave passages of
#: the same article, together; the best cosine of the same article.
SIGNS = (
    "cosine",
    "words",
    "tokens",
    "rare tokens",
    "nearest sentence",
    "section",
    "places",
    "article",
)
#: Of a sentence: cosine; share of the question's words; its tokens, in context; its rare tokens.
SENTENCE_SIGNS = ("cosine", "words", "tokens", "rare tokens")
#: What a file of weights says it weighs.
NAMED = f"{', '.join(SIGNS)}; {', '.join(SENTENCE_SIGNS)}"


def evidence(
    question: EncodedText,
    passages: Sequence[EncodedText],
    *,
    cosines: Sequence[float] | NDArray[np.floating[Any]],
    sections: Sequence[float] | NDArray[np.floating[Any]],
    articles: Sequence[str],
    rarity: Floats,
) -> Evidence:
    """The signs of each passage, in the order in which retrieval has them. ``sections``: the cosine of each
    one's heading, nan where it has none; ``articles``: what each belongs to."""
    asked = Asked.of(question, rarity)
    sentences = [asked.sentences(passage) for passage in passages]
    near = np.asarray(cosines, np.float64)
    columns = [
        near,
        [asked.words(passage.row.ids) for passage in passages],
        [found[:, 2].max(initial=0.0) for found in sentences],
        [asked.rare_tokens(passage) for passage in passages],
        [found[:, 0].max(initial=0.0) for found in sentences],
        beside_the_others(np.asarray(sections, np.float64)),
        *together(articles, near),
    ]
    return Evidence(np.stack(columns, axis=1).astype(np.float32), tuple(sentences))


@dataclass(frozen=True)
class Asked:
    """A question's words and tokens with what each of them counts."""

    wanted: NDArray[np.int64]
    rare: NDArray[np.float64]
    meaning: Floats
    weights: Floats  #: Of each token, 1 together; none for the marks at both ends.
    lower: Floats
    upper: Floats

    @classmethod
    def of(cls, question: EncodedText, rarity: Floats) -> Asked:
        ids = np.array(question.row.ids[1:-1], np.int64)
        wanted = np.unique(ids)
        weights = rarity[ids].astype(np.float32)
        return cls(
            wanted=wanted,
            rare=rarity[wanted].astype(np.float64),
            meaning=question.vector,
            weights=weights / max(float(weights.sum()), 1e-8),
            lower=unit(question.lower[1:-1]),
            upper=unit(question.upper[1:-1]),
        )

    def words(self, ids: Sequence[int]) -> float:
        has = np.isin(self.wanted, np.array(ids, np.int64))
        return float(self.rare[has].sum() / max(float(self.rare.sum()), 1e-8))

    def rare_tokens(self, passage: EncodedText) -> float:
        near = (self.lower @ unit(passage.lower[1:-1]).T).max(1, initial=0.0)
        return float(self.weights @ near**EXACT)

    def sentences(self, passage: EncodedText) -> Floats:
        """SENTENCE_SIGNS of each sentence; zero where it did not fit."""
        row = passage.row
        found = np.zeros((len(row.sentences), len(SENTENCE_SIGNS)), np.float32)
        if not len(found):
            return found
        found[:, 0] = passage.sentences() @ self.meaning
        lower = self.lower @ unit(passage.lower).T
        upper = self.upper @ unit(passage.upper).T
        for place, (first, last) in enumerate(row.sentences):
            if last > first and len(self.weights):
                found[place, 1] = self.words(row.ids[first:last])
                found[place, 2] = upper[:, first:last].max(1).mean()
                found[place, 3] = self.weights @ lower[:, first:last].max(1)
        return found


def beside_the_others(near: NDArray[np.float64]) -> NDArray[np.float64]:
    """How far each is above their mean; 0 where there is none."""
    known = ~np.isnan(near)
    found = np.zeros(len(near))
    if known.any():
        found[known] = near[known] - near[known].mean()
    return found


def together(
    articles: Sequence[str], near: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """What speaks for each passage's article: the places of its passages, and the nearest of them."""
    same = np.array([[one == other for other in articles] for one in articles])
    same = same.reshape(len(articles), len(articles))
    places = same @ (1 / (1 + np.arange(len(articles))))
    return places, np.where(same, near, -1.0).max(1, initial=-1.0)
