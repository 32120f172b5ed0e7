"""Which questions share an answer, and which never do."""

from __future__ import annotations

import pytest

from app.answer_cache import ProcessAnswers
from app.models.encoder import OnnxEncoder
from evals.caching import load_cases, served
from graphs.sameness import personal, stands_alone
from tools.ports import Passage

SCOPE = ("northfell", "public", "v1")
LABEL = "How much does a return label cost?"
SOURCE = (
    Passage(id="1", text="A return label costs 3.95 EUR.", title="Labels", source="labels.md"),
)


@pytest.fixture(scope="session")
def encoder() -> OnnxEncoder:
    return OnnxEncoder()


async def kept(encoder: OnnxEncoder, how: str = "semantic", **options: int) -> ProcessAnswers:
    answers = ProcessAnswers(encoder, how, **options)  # type: ignore[arg-type]
    await answers.keep(LABEL, SCOPE, "A return label costs 3.95 EUR. [1]", SOURCE)
    return answers


async def test_the_same_words_are_an_exact_hit(encoder: OnnxEncoder) -> None:
    """Case, spacing and the mark at the end make no difference."""
    known = await (await kept(encoder, "exact")).find("how much does a  return label cost", SCOPE)

    assert known is not None
    assert (known.how, known.text) == ("exact", "A return label costs 3.95 EUR. [1]")
    assert known.passages == SOURCE


async def test_another_wording_is_a_semantic_hit_where_that_is_on(encoder: OnnxEncoder) -> None:
    """And only there."""
    on, off = await kept(encoder), await kept(encoder, "exact")
    known = await on.find("What does a return label cost?", SCOPE)

    assert known is not None
    assert known.how == "semantic"
    assert known.nearness > 0.85
    assert await off.find("What does a return label cost?", SCOPE) is None


@pytest.mark.parametrize(
    "scope",
    [
        ("other shop", "public", "v1"),  # another tenant
        ("northfell", "internal", "v1"),  # another audience
        ("northfell", "public", "v2"),  # the articles changed
    ],
)
async def test_nothing_crosses_a_scope(encoder: OnnxEncoder, scope: tuple[str, ...]) -> None:
    """An answer is for one tenant, one audience, one state of the knowledge."""
    assert await (await kept(encoder)).find(LABEL, scope) is None


async def test_old_answers_go(encoder: OnnxEncoder) -> None:
    """Those of an earlier state of the knowledge at once, others when there are too many."""
    answers = await kept(encoder, capacity=2)
    await answers.keep(
        "Do you deliver to Norway?", ("other shop", "public", "v1"), "Yes. [1]", SOURCE
    )
    await answers.keep("Are dogs welcome?", ("northfell", "public", "v2"), "Yes. [1]", SOURCE)
    assert [one.answer.question for one in answers.kept.values()] == [
        "Do you deliver to Norway?",
        "Are dogs welcome?",
    ]
    await answers.keep("Are cats welcome?", ("northfell", "public", "v2"), "No. [1]", SOURCE)
    assert len(answers.kept) == 2


async def test_no_look_alike_is_ever_served(encoder: OnnxEncoder) -> None:
    """Our paraphrases and hard negatives: numbers, negations, directions and things that differ."""
    wrong, hits = await served(load_cases(), encoder)

    assert wrong == []
    assert hits > 0.8


@pytest.mark.parametrize(
    ("question", "shared"),
    [
        ("How long does shipping take?", True),
        ("Where is my order?", False),
        ("What happens to SB-10482?", False),
        ("Send it to ana@example.com please", False),
        ("And how much is that?", False),
        ("Does it work in winter?", False),
        ("and for Norway?", False),
    ],
)
def test_only_questions_about_nobody_are_shared(question: str, shared: bool) -> None:
    """Nothing about one customer, nothing that leans on the conversation before it."""
    assert (stands_alone(question) and not personal(question)) == shared
