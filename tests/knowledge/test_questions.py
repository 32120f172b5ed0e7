"""Known questions find the sentences that answer them, as long as an article says them."""

from __future__ import annotations

import shutil
from collections.abc import AsyncGenerator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from app.checking import check_folder
from app.config import DEMO
from app.domains import load_domain
from app.knowledge.knowledge import HybridKnowledge
from app.knowledge.opening import sentence_search
from app.knowledge.prepared import FILE, key, read_vectors, write_vectors
from app.models.encoder import OnnxEncoder
from app.models.manifest import manifest_for
from app.models.multilingual import MultilingualEncoder
from tests.northfell import NORTHFELL
from tools.domain import Domain
from tools.questions import Answered, QuestionsInvalid, load_questions
from tools.values import Clock

DOMAINS = DEMO.parent
DRYING = Answered(
    article="tent-care",
    sentences=("- let it dry for two days",),
    questions=("it rained the whole weekend, when may I pack everything away for the winter",),
)
NOTHING = Answered(questions=("do you wash tents for me",))


def business(known: Sequence[Answered]) -> Domain:
    """A business that knows these questions, without vectors made before."""
    return replace(load_domain(DEMO), folder=Path("nowhere"), answered=tuple(known))


async def opened(
    folder: Path, articles: Path, encoder: OnnxEncoder, clock: Clock, *known: Answered
) -> HybridKnowledge:
    """The articles with their sentences and these questions read."""
    search = sentence_search(MultilingualEncoder(), manifest_for(NORTHFELL), business(known))
    knowledge = HybridKnowledge.open(folder, encoder, clock=clock, sentences=search)
    await knowledge.ingest([articles])
    await knowledge.sentences_ready()
    return knowledge


@pytest.fixture
async def knowing(
    tmp_path: Path, articles: Path, encoder: OnnxEncoder, clock: Clock
) -> AsyncGenerator[HybridKnowledge]:
    knowledge = await opened(tmp_path / "data", articles, encoder, clock, DRYING, NOTHING)
    yield knowledge
    knowledge.close()


async def test_a_story_finds_what_answers_a_story_like_it(
    tmp_path: Path, articles: Path, encoder: OnnxEncoder, clock: Clock, knowing: HybridKnowledge
) -> None:
    """The sentence shares no word with what happened."""
    story = "we had rain all weekend, when can I pack it all away until next winter?"
    bare = await opened(tmp_path / "bare", articles, encoder, clock)
    [without] = await bare.nearest(story, limit=1)
    bare.close()
    [found] = await knowing.nearest(story, limit=1)

    assert found.sentences[int(np.argmax(found.helps))] == "- let it dry for two days"
    assert max(found.helps) > 0.5 > max(without.helps)


async def test_a_row_of_a_table_answers_as_it_stands_in_the_article(
    tmp_path: Path, articles: Path, encoder: OnnxEncoder, clock: Clock
) -> None:
    """A chunk says the row with its heads."""
    row = Answered(
        article="tent-care", sentences=("| Nylon | 12 |",), questions=("my nylon tent is soaked",)
    )
    knowledge = await opened(tmp_path / "data", articles, encoder, clock, row)
    [found] = await knowledge.nearest("my nylon tent is soaked through", limit=1)
    knowledge.close()

    assert "Nylon" in found.sentences[int(np.argmax(found.helps))]
    assert max(found.helps) > 0.5


async def test_a_question_that_nothing_answers_is_helped_by_none(knowing: HybridKnowledge) -> None:
    """What is nearer to it than every answered question has no answer."""
    found = await knowing.nearest("do you wash my tent for me?", limit=20)

    assert all(help_ < 0.5 for passage in found for help_ in passage.helps)


async def test_questions_of_a_sentence_that_was_taken_out_answer_nothing(
    tmp_path: Path, articles: Path, encoder: OnnxEncoder, clock: Clock
) -> None:
    """The article is the truth; a question only finds it."""
    file = articles / "tent-care.md"
    file.write_text(file.read_text("utf-8").replace("two days", "three days"), "utf-8")
    knowledge = await opened(tmp_path / "data", articles, encoder, clock, DRYING)
    found = await knowledge.nearest(DRYING.questions[0], limit=20)
    knowledge.close()

    assert found
    assert all(help_ < 0.5 for passage in found for help_ in passage.helps)


def test_vectors_are_read_back_and_another_models_are_not(tmp_path: Path) -> None:
    made = np.random.default_rng(1).normal(size=384).astype(np.float32)
    write_vectors(tmp_path / FILE, {key("one", asking=True): made}, "a model")
    known = read_vectors(tmp_path / FILE, "a model", 384)

    found = known.get(key("one", asking=True))
    assert found is not None
    assert np.allclose(found, made, atol=0.02)
    assert known.get(key("one", asking=False)) is None
    assert not len(read_vectors(tmp_path / FILE, "another model", 384))
    assert not len(read_vectors(tmp_path / FILE, "a model", 128))
    (tmp_path / FILE).write_bytes(b"broken")
    assert not len(read_vectors(tmp_path / FILE, "a model", 384))


@pytest.mark.parametrize("name", ["northfell", "halden"])
async def test_a_first_start_reads_none_of_the_articles_and_questions(
    tmp_path: Path, encoder: OnnxEncoder, name: str
) -> None:
    """Their vectors are shipped: whoever changes one trains the domain again."""

    class Unwilling(MultilingualEncoder):
        def _run(self, texts: Sequence[str], *, asking: bool) -> Any:
            raise AssertionError(f"signalbox domain train was not run since: {list(texts)[:3]}")

    domain = load_domain(DOMAINS / name)
    search = sentence_search(Unwilling(), manifest_for(NORTHFELL), domain)
    knowledge = HybridKnowledge.open(tmp_path, encoder, sentences=search)
    await knowledge.ingest([domain.knowledge])
    await knowledge.sentences_ready()
    found = knowledge.sentences
    knowledge.close()

    assert found is not None
    answered = [one for one in domain.answered if one.sentences]
    assert len(found.shelf.answers) == len(answered) > 100


@pytest.mark.parametrize(
    ("line", "why"),
    [
        ('{"questions": []}', "line 1"),
        ('{"article": "a", "questions": ["why"]}', "the article and the sentences"),
        ('{"sentences": ["A."], "questions": ["why"]}', "the article and the sentences"),
        ('{"article": "a", "sentence": "A.", "questions": ["why"]}', "sentence"),
        ("no json", "line 1"),
        ("[" * 100_000, "line 1"),
    ],
)
def test_a_line_that_is_wrong_is_named(tmp_path: Path, line: str, why: str) -> None:
    (tmp_path / "mine.jsonl").write_text(line, "utf-8")

    with pytest.raises(QuestionsInvalid, match=r"mine\.jsonl") as wrong:
        load_questions(tmp_path)

    assert why in str(wrong.value)


@pytest.mark.parametrize("name", ["northfell", "halden"])
def test_questions_are_answered_by_their_articles(name: str) -> None:
    """Every sentence stands where its group says."""
    assert [p.text for p in check_folder(DOMAINS / name) if p.file == "questions"] == []


def test_a_sentence_that_no_article_says_is_named(tmp_path: Path) -> None:
    """`signalbox domain check` says which questions find no answer any more."""
    shutil.copytree(
        DEMO, tmp_path / "shop", ignore=shutil.ignore_patterns("examples", "*.safetensors")
    )
    lost = Answered(
        article="vat", sentences=("Nothing costs anything.",), questions=("is it free",)
    )
    (tmp_path / "shop/questions/more.jsonl").write_text(lost.model_dump_json(), "utf-8")
    [found] = [p for p in check_folder(tmp_path / "shop") if p.file == "questions"]

    assert "vat does not say 'Nothing costs anything.'" in found.text
    assert not found.grave


def test_a_file_that_is_no_text_is_named(tmp_path: Path) -> None:
    """A letter in another encoding is no traceback."""
    (tmp_path / "mine.jsonl").write_bytes('{"questions": ["für"]}'.encode("latin-1"))

    with pytest.raises(QuestionsInvalid, match=r"mine\.jsonl cannot be read"):
        load_questions(tmp_path)


async def test_half_an_answer_is_none(
    tmp_path: Path, articles: Path, encoder: OnnxEncoder, clock: Clock
) -> None:
    """A group whose sentence the article says in part only answers nothing; neither does one whose rest is internal."""
    (articles / "internal").mkdir()
    staff = (
        "---\ntitle: Tents\naudience: internal\n---\n\n# Tents\n\nTents are never taken back wet.\n"
    )
    (articles / "internal" / "tent-care.md").write_text(staff)
    ask = "my tent dripped all over the car"
    longer = "Clean a tent by hand with lukewarm water and a soft sponge. It may be ironed."
    groups = [
        Answered(article="tent-care", sentences=(longer,), questions=(ask,)),
        Answered(
            article="tent-care",
            sentences=("- let it dry for two days", "Tents are never taken back wet."),
            questions=(ask,),
        ),
    ]
    knowledge = await opened(tmp_path / "data", articles, encoder, clock, *groups)
    found = await knowledge.nearest(ask, limit=20)
    knowledge.close()

    assert all(help_ < 0.5 for passage in found for help_ in passage.helps)
