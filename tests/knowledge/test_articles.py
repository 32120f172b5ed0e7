"""The demo shop's knowledge articles are complete and fit together."""

from __future__ import annotations

import re
from datetime import date
from pathlib import Path
from typing import Literal

import pytest
import yaml
from pydantic import BaseModel, ConfigDict, Field

FOLDER = Path(__file__).parents[2] / "domains" / "northfell" / "knowledge"
FILES = sorted(FOLDER.glob("*.md"))


class FrontMatter(BaseModel):
    """What every article says about itself."""

    model_config = ConfigDict(extra="forbid", strict=True)

    title: str = Field(min_length=3)
    slug: str = Field(pattern=r"^[a-z0-9]+(-[a-z0-9]+)*$")
    topic: str
    audience: Literal["public", "internal"]
    owner: str
    language: Literal["en"]
    version: int = Field(ge=1)
    updated: date
    expires: date | None = None
    supersedes: str | None = None
    superseded_by: str | None = None
    status: Literal["current", "outdated"]
    screen: Literal["hostile"] | None = None


def read(file: Path) -> tuple[FrontMatter, str]:
    _, fields, body = file.read_text(encoding="utf-8").split("---\n", 2)
    return FrontMatter.model_validate(yaml.safe_load(fields)), body


ARTICLES = {file.stem: read(file) for file in FILES}


def test_there_are_enough_articles_of_every_kind() -> None:
    """At least 45 public articles, three internal ones, outdated ones and a hostile one."""
    found = [article for article, _ in ARTICLES.values()]

    assert sum(article.audience == "public" for article in found) >= 45
    assert sum(article.audience == "internal" for article in found) >= 3
    assert sum(article.status == "outdated" for article in found) >= 2
    assert [article.slug for article in found if article.screen] == ["review-trail-stove"]


@pytest.mark.parametrize("name", ARTICLES)
def test_an_article_has_sections_of_plain_sentences(name: str) -> None:
    """An article is named by its slug, titled once, and has several sections and 150 to 400 words."""
    article, body = ARTICLES[name]

    assert article.slug == name
    assert re.findall(r"^# (.+)$", body, re.MULTILINE) == [article.title]
    assert len(re.findall(r"^## .+$", body, re.MULTILINE)) >= 3
    assert 150 <= len(body.split()) <= 400


@pytest.mark.parametrize("name", ARTICLES)
def test_an_articles_dates_are_in_order(name: str) -> None:
    """An article was updated in 2025 or 2026, and expires, if it does, after that."""
    article, _ = ARTICLES[name]

    assert article.updated.year in {2025, 2026}
    assert article.expires is None or article.expires > article.updated


def test_titles_are_unique() -> None:
    """No two articles share a title, so that a citation names one."""
    titles = [article.title for article, _ in ARTICLES.values()]

    assert len(set(titles)) == len(titles)


def test_superseding_is_told_by_both_sides() -> None:
    """What one article supersedes exists, is outdated, and names its successor."""
    forward = {(a.slug, a.supersedes) for a, _ in ARTICLES.values() if a.supersedes}
    backward = {(a.superseded_by, a.slug) for a, _ in ARTICLES.values() if a.superseded_by}

    assert forward
    assert forward == backward
    for newer, older in forward:
        assert ARTICLES[newer][0].status == "current"
        assert ARTICLES[older or ""][0].status == "outdated"


@pytest.mark.parametrize(
    ("slug", "sentence"),
    [
        ("shipping-costs", "Standard shipping inside Germany costs 4.95 EUR for orders below 60"),
        ("express-shipping", "Express shipping costs 9.95 EUR for every order"),
        ("returns-policy", "Goods can be returned within 30 days of delivery."),
        ("refund-times", "A refund is paid within 5 to 7 working days after approval."),
        ("warranty", "The warranty on tents and packs is 5 years."),
        ("enterprise-pricing", "5 % from 2,000 EUR a year, 10 % from 10,000 EUR a year and 15 %"),
        ("plan-fleet", "Fleet costs 3.50 EUR a month for each item."),
        ("cancelling-an-order", "can be cancelled free of charge until the order is packed."),
        ("pausing-a-plan", "A plan can be paused for 1, 2 or 3 months."),
        ("support-hours-contact", "+49 30 5550 1470"),
    ],
)
def test_an_article_states_the_shops_fact(slug: str, sentence: str) -> None:
    """Facts that operations, replies and cases rely on stand in the current article."""
    assert sentence in ARTICLES[slug][1]
    assert ARTICLES[slug][0].status == "current"


# --- in German ------------------------------------------------------------------------------------

GERMAN = {file.stem: file for file in sorted((FOLDER / "de").glob("*.md"))}
_NUMBER = re.compile(r"\d+(?:[.,:]\d+)*")


def numbers_in(text: str) -> set[str]:
    """The numbers of a text, however its language marks thousands and decimals."""
    found = {re.sub(r"[.,](?=\d{3}\b)", "", one).replace(",", ".") for one in _NUMBER.findall(text)}
    return {re.sub(r"^0(?=\d:)", "", one) for one in found}


@pytest.mark.parametrize("name", GERMAN)
def test_a_german_article_says_what_the_english_one_says(name: str) -> None:
    """A translation has the sections and the numbers of its original, and as current a standing."""
    _, fields, body = GERMAN[name].read_text(encoding="utf-8").split("---\n", 2)
    front = yaml.safe_load(fields)
    english, original = ARTICLES[name]

    assert (front["language"], front["slug"]) == ("de", f"{name}-de")
    assert front["audience"] == english.audience == "public"
    assert front["status"] == english.status == "current"
    assert front["updated"] >= english.updated
    assert len(re.findall(r"^## ", body, re.MULTILINE)) == len(
        re.findall(r"^## ", original, re.MULTILINE)
    )
    assert numbers_in(body) == numbers_in(original)


def test_most_public_articles_are_there_in_german() -> None:
    """What is current and public is translated, but for a few pieces beside the common questions."""
    wanted = [
        n for n, (a, _) in ARTICLES.items() if a.audience == "public" and a.status == "current"
    ]
    assert len(GERMAN) >= 0.8 * len(wanted)
