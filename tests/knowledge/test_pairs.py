"""What is known of a question's passages before question and passage are read together."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from app.knowledge import pairs
from app.knowledge.pruner import Halves, plain_tokenizer
from tools.sentences import split

FEES = "A return label costs 3.95 EUR. Labels are printed at home."
STOVES = "Gas stoves may only be used outdoors. Let the stove cool before you pack it."
RARITY = np.ones(30522, np.float32)


@pytest.fixture(scope="module")
def halves(tmp_path_factory: pytest.TempPathFactory) -> Halves:
    """The real int8 MiniLM, cut in two."""
    return Halves.cut(tmp_path_factory.mktemp("halves"))


def signs(
    halves: Halves,
    question: str,
    texts: list[str],
    *,
    articles: list[str] | None = None,
    sections: list[float] | None = None,
) -> dict[str, list[float]]:
    """Each sign of the passages, by its name."""
    tokenizer = plain_tokenizer()
    rows = [pairs.passage_row(tokenizer, "", split(text)) for text in texts]
    asked, *read = halves.read([pairs.question_row(tokenizer, question), *rows])
    found = pairs.evidence(
        asked,
        read,
        cosines=[float(one.vector @ asked.vector) for one in read],
        sections=sections or [float("nan")] * len(texts),
        articles=articles or texts,
        rarity=RARITY,
    )
    assert [len(one) for one in found.sentences] == [len(row.sentences) for row in rows]
    return dict(zip(pairs.SIGNS, found.passages.T.tolist(), strict=True))


def test_each_sign_of_the_text_prefers_the_passage_that_answers(halves: Halves) -> None:
    """In other words, the cosines and tokens tell; in the same words, the shared ones do too."""
    other = signs(halves, "what do I pay to post something back to you", [STOVES, FEES])
    same = signs(halves, "what does a return label cost", [STOVES, FEES])

    for name in ("cosine", "tokens", "nearest sentence"):
        assert other[name][1] > other[name][0], name
    for name in ("words", "rare tokens", "tokens"):
        assert same[name][1] > same[name][0], name


def test_a_text_has_all_of_its_own_words_and_tokens(halves: Halves) -> None:
    """A passage that is the question: nothing is nearer."""
    [question] = split("A return label costs 3.95 EUR.")
    found = signs(halves, question, [question])

    assert found["words"] == [pytest.approx(1.0)]
    assert found["rare tokens"][0] > 0.95
    assert found["tokens"][0] > 0.9


def test_passages_speak_for_the_others_of_their_article(halves: Halves) -> None:
    """Places are counted together and the nearest stands for all; a passage alone has its own."""
    found = signs(halves, "return label", [FEES, STOVES, STOVES], articles=["a", "b", "a"])

    assert found["places"] == pytest.approx([1 + 1 / 3, 1 / 2, 1 + 1 / 3])
    assert found["article"][2] == pytest.approx(found["cosine"][0])
    assert found["article"][1] == pytest.approx(found["cosine"][1])


def test_headings_count_beside_the_others(halves: Halves) -> None:
    """How near a heading is says something only beside the others'; no heading says nothing."""
    some = signs(halves, "label", [FEES, STOVES, FEES], sections=[0.8, 0.2, float("nan")])
    none = signs(halves, "label", [FEES, STOVES])

    assert some["section"] == pytest.approx([0.3, -0.3, 0.0])
    assert none["section"] == [0.0, 0.0]


def test_what_did_not_fit_is_no_evidence(halves: Halves) -> None:
    """Sentences behind the window, empty texts and questions of marks alone have zeros, not errors."""
    tokenizer = plain_tokenizer()
    sentences = [f"Sentence {n} speaks of tents and pegs and poles." for n in range(60)]
    row = pairs.passage_row(tokenizer, "", sentences)
    asked, long = halves.read([pairs.question_row(tokenizer, "pegs"), row])
    by_sentence = pairs.Asked.of(asked, RARITY).sentences(long)
    found = signs(halves, "pegs", [" ".join(sentences), "", FEES])
    nothing = signs(halves, "", [FEES])

    assert 0 < len(row.fitting) < 60
    assert (by_sentence[row.fitting, 2] > 0).all()
    assert not by_sentence[row.fitting[-1] + 1 :].any()
    assert found["tokens"][1] == 0
    assert np.isfinite(list(found.values())).all()
    assert nothing["words"] == [0.0]


def test_the_halves_together_are_the_encoder(halves: Halves, tmp_path: Path) -> None:
    """A text read by both halves has the vector that the encoder gives it."""
    import asyncio

    from app.models.encoder import OnnxEncoder

    [reading] = halves.read([pairs.question_row(plain_tokenizer(), FEES)])
    [whole] = asyncio.run(OnnxEncoder().embed([FEES]))

    assert float(reading.vector @ np.array(whole)) > 0.999
