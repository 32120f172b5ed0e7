"""What the pruner is trained on, and the rule that is fitted to it; the shipped file has tests of its own."""

from __future__ import annotations

import random

import numpy as np
import pytest

from app.knowledge import pairs
from models.train.pruner_corpus import (
    Corpus,
    Document,
    Question,
    paragraphs,
    part_of,
    sentence_at,
    sentences_of,
    wordings,
)
from models.train.pruner_lists import Listed, gold_of, public_lists
from tools.ports import Passage

pytestmark = pytest.mark.training


def passage(name: str, text: str) -> Passage:
    return Passage(id=name, text=text, title=name, source=f"{name}.txt")


def test_half_sentences_are_joined_and_paragraphs_end_with_one() -> None:
    """Spans may be clauses; no paragraph begins in the middle of a sentence."""
    sentences = sentences_of(["If you move,", "tell us. ", "Fees:", "none"])
    long = [" ".join(["word"] * 40) + "." for _ in range(3)]

    assert sentences == ["If you move, tell us.", "Fees:", "none"]
    assert list(paragraphs(long)) == long


def test_a_bare_yes_is_no_wording() -> None:
    """The last message, the last two, and the end of the dialogue; what is too short is left out."""
    history = [
        {"role": "user", "text": "my insurance has ended today"},
        {"role": "agent", "text": "Do you still drive?"},
        {"role": "user", "text": "yes"},
    ]

    assert wordings(history) == (
        "my insurance has ended today yes",
        "my insurance has ended today Do you still drive? yes",
    )


TEXT = "A return label costs 3.95 EUR. It is sent by mail. Fourteen boxes are free."


def asked(*spans: str, document: str = "d") -> Question:
    return Question("doc2dial", ("what does a return label cost",), spans, document, document)


@pytest.mark.parametrize(
    ("span", "own", "gold"),
    [
        ("costs 3.95 EUR", True, (True, False, False)),
        ("A return label costs 3.95 EUR. It is sent by mail.", True, (True, True, False)),
        ("A return label costs 3.95 EUR. It is sent by mail.", False, (True, True, False)),
        ("somewhere else entirely", True, (False, False, False)),
        ("four", True, (False, False, False)),
        ("boxes", True, (False, False, True)),
        ("boxes", False, (False, False, False)),
    ],
)
def test_gold_is_by_sentence_and_never_by_chance(
    span: str, own: bool, gold: tuple[bool, ...]
) -> None:
    """Whole words only; in another document a span counts only where it is long enough to be said on purpose."""
    assert gold_of(asked(span), passage("a", TEXT), own=own) == gold


def test_an_answer_stands_in_the_sentence_that_begins_before_it() -> None:
    """SQuAD's sets give the place of the answer, not its sentence."""
    assert sentence_at(TEXT, TEXT.index("mail")) == "It is sent by mail."
    assert sentence_at(TEXT, 0) == "A return label costs 3.95 EUR."


class Found:
    """A knowledge base that finds the same passages, best first, whatever is asked."""

    def __init__(self, *passages: Passage) -> None:
        self.passages = passages

    async def retrieve(self, query: str, *, limit: int) -> list[Passage]:
        return list(self.passages)[:limit]


async def test_what_is_left_without_the_answer_does_not_hold_it() -> None:
    """The question's document goes, and so does another page that says the same; what is near stays."""
    corpus = Corpus.__new__(Corpus)
    corpus.documents = [Document("doc2dial", n, n, TEXT, n) for n in ("d", "twin", "other")]
    own = passage("0000", "A return label costs 3.95 EUR.")
    twin = passage("0001", "As always. A return label costs 3.95 EUR.")
    other = passage("0002", "Boxes are free.")
    question = asked("A return label costs 3.95 EUR.")
    found: object = Found(own, twin, other)

    [(first, without)] = await public_lists(found, corpus, [question], lambda *_: None)  # type: ignore[arg-type]

    assert first.right == [True, True, False]
    assert first.gold[1] == (False, True)
    assert first.parts == tuple(part_of(name) for name in ("d", "twin", "other"))
    assert [p.id for p in without.passages] == ["0002"]
    assert not without.answered


@pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::DeprecationWarning")
def test_the_rule_finds_the_sign_that_tells() -> None:
    """Of eight signs one is true and seven are noise: the fitted weights rank by the true one."""
    from models.train.pruner import Case, ranking

    chance = np.random.default_rng(3)
    chooser = random.Random(3)
    cases: list[Case] = []
    for _ in range(60):
        right = chooser.randrange(5)
        rows = chance.normal(size=(5, len(pairs.SIGNS))).astype(np.float32)
        rows[right, 2] += 2.5
        passages = tuple(passage(str(n), "One.") for n in range(5))
        gold = tuple((n == right,) for n in range(5))
        listed = Listed("doc2dial", "train", "q", passages, gold, ("train",) * 5)
        cases.append(Case(listed, pairs.Evidence(rows, ())))
    weights = ranking(cases)

    assert np.abs(weights).argmax() == 2
    assert weights[2] > 3 * np.abs(np.delete(weights, 2)).max()
