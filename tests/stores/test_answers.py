"""Answers that are given again: what people see of them, and that what they withdrew stays so for every replica."""

from __future__ import annotations

import pytest
import sqlalchemy as sa

from app.answer_cache import ProcessAnswers
from app.stores.answers import AnswerNotFound, SqlAnswers
from app.stores.audit import SqlAudit
from app.stores.database import create_engine, reading
from app.stores.tables import audit
from tests.graphs.world import ScriptedEncoder
from tests.stores.world import ADA, Hands
from tools.ports import Passage

SCOPE = (ADA.tenant, "public", "en", "v1")
ASKED = "How much does a return label cost?"
SAID = "A return label costs 3.95 EUR. [1]"
LABELS = (Passage(id="labels#1", text="It costs 3.95 EUR.", title="Labels", source="labels.md"),)


class Articles:
    """What the articles say; tests write in them."""

    def __init__(self) -> None:
        self.text = {"labels.md": "3.95"}

    def standing(self, sources) -> str:
        return "|".join(self.text.get(each, "") for each in sorted(sources))


@pytest.fixture
def hands():
    return Hands()


@pytest.fixture
def articles():
    return Articles()


@pytest.fixture
def register(world, hands, articles):
    return SqlAnswers(world.engine, hands.clock, standing=articles.standing)


def replica(world, hands, articles) -> ProcessAnswers:
    """The cache of another process on the same database."""
    register = SqlAnswers(world.engine, hands.clock, standing=articles.standing)
    return ProcessAnswers(ScriptedEncoder(), "exact", register=register)


@pytest.fixture
async def cache(world, hands, articles):
    cache = replica(world, hands, articles)
    await cache.keep(ASKED, SCOPE, SAID, LABELS)
    return cache


async def test_people_see_what_is_given_again(cache, register, hands):
    """Question, text, articles, when it was made and how often it was given; a day later it is not there."""
    hands.pass_(minutes=5)
    assert await cache.find("how much does a  return label cost", SCOPE) is not None
    [one] = await register.list()

    assert (one.question, one.text, one.language) == (ASKED, SAID, "en")
    assert [(each.source, each.title) for each in one.sources] == [("labels.md", "Labels")]
    assert (one.served, one.served_at, one.withdrawn_at) == (1, hands.at, None)
    assert await register.list(tenant="other") == []
    hands.pass_(days=1)
    assert await register.list() == []


async def test_what_was_withdrawn_is_given_by_no_replica(cache, register, world, hands, articles):
    """Neither by the one that has it, nor by one that wrote it on its own before or would afterwards."""
    other = replica(world, hands, articles)
    await other.keep(ASKED, SCOPE, SAID, LABELS)
    [one] = await register.list()
    await register.withdraw(one.id, "olga")

    assert await cache.find(ASKED, SCOPE) is None
    assert await other.find(ASKED, SCOPE) is None
    later = (*SCOPE[:-1], "v2")  # Another article changed: the index has another version.
    for question, said in (
        (ASKED.upper(), "Another answer. [1]"),
        ("What is a return label?", SAID + " "),
    ):
        await other.keep(question, later, said, LABELS)
        assert await other.find(question, later) is None, question
    await other.keep("Are dogs welcome?", later, "Yes. [1]", LABELS)
    assert await other.find("Are dogs welcome?", later) is not None


async def test_it_may_be_given_again_when_its_article_has_changed(
    cache, register, world, hands, articles
):
    """And the withdrawal is forgotten; until then it stays, however old."""
    [one] = await register.list()
    await register.withdraw(one.id, "olga")
    hands.pass_(days=40)
    assert await register.prune() == 0
    assert [each.holds for each in await register.list()] == [True]
    articles.text["labels.md"] = "4.95"
    assert [each.holds for each in await register.list()] == [False]
    after = (*SCOPE[:-1], "v3")
    await cache.keep(ASKED, after, "It costs 4.95 EUR. [1]", LABELS)

    assert await cache.find(ASKED, after) is not None
    assert await register.prune() == 1


async def test_who_withdrew_it_is_in_the_audit_once(cache, register, world):
    """Twice is as good as once; the customer's question is not in the chain."""
    [one] = await register.list()
    first = await register.withdraw(one.id, "olga")
    again = await register.withdraw(one.id, "piet")

    assert (first.withdrawn_by, again.withdrawn_by) == ("olga", "olga")
    with reading(world.engine) as conn:
        [row] = conn.execute(sa.select(audit).where(audit.c.kind == "answer_withdrawn")).all()
    assert (row.actor, row.tenant) == ("operator:olga", ADA.tenant)
    assert ASKED not in f"{row.facts} {row.words}"
    assert SqlAudit(world.engine).verify().faults == ()


async def test_only_one_s_own_tenant_s_can_be_withdrawn(cache, register):
    """And nothing that is not there."""
    [one] = await register.list()
    for id, tenant in ((one.id, "other"), ("none", None)):
        with pytest.raises(AnswerNotFound):
            await register.withdraw(id, "sven", tenant=tenant)
    assert (await register.withdraw(one.id, "olga", tenant=ADA.tenant)).withdrawn_by == "olga"


async def test_old_answers_go(cache, register, hands):
    """Those of days that are over."""
    assert await register.prune() == 0
    hands.pass_(days=2)
    assert await register.prune() == 1


async def test_without_the_database_nothing_is_given_again(cache, hands, tmp_path):
    """Nobody knows then whether it was withdrawn: the question is answered anew."""
    away = create_engine(f"sqlite:///{tmp_path / 'no' / 'such' / 'folder.db'}")
    cache.register = SqlAnswers(away, hands.clock)

    assert await cache.find(ASKED, SCOPE) is None
    await cache.keep("Are dogs welcome?", SCOPE, "Yes. [1]", LABELS)
    assert len(cache.kept) == 1
    away.dispose()
