"""The eval cases fit the shop's books, its articles, its intents and each other."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import pytest
import yaml

from domains.northfell.demo_accounts import stories
from tools.values import now

ROOT = Path(__file__).parents[2]
CASES = ROOT / "domains" / "northfell" / "evals"
SETS = sorted(file.stem for file in CASES.glob("*.yaml"))


def cases(name: str) -> Any:
    return yaml.safe_load((CASES / f"{name}.yaml").read_text("utf-8"))


def front_matter(file: Path) -> Any:
    return yaml.safe_load(file.read_text("utf-8").split("---\n", 2)[1])


CATALOGUE: list[dict[str, Any]] = yaml.safe_load(
    (ROOT / "domains" / "northfell" / "intents.yaml").read_text("utf-8")
)["intents"]
LANES = {intent["name"]: intent["lane"] for intent in CATALOGUE}
OPERATIONS = {intent.get("operation") for intent in CATALOGUE}
MIX = cases("mix_100")["cases"]
SCENARIOS = cases("examples")["scenarios"]
ACCOUNTS = {account.customer.id: account for account in stories(now().date())}


@pytest.mark.parametrize("name", SETS)
def test_a_set_of_cases_names_its_schema_in_the_first_line(name: str) -> None:
    """Editors complete and check a file of cases by the schema its first line names."""
    first = (CASES / f"{name}.yaml").read_text("utf-8").splitlines()[0]

    named = first.removeprefix("# yaml-language-server: $schema=")
    assert json.loads((CASES / named).read_text("utf-8"))["title"]


def test_the_mix_has_a_hundred_messages_spread_as_at_a_real_desk() -> None:
    """A hundred different messages, and the kinds in the stated shares."""
    assert Counter(case["group"] for case in MIX) == {
        "order": 22,
        "operation": 33,
        "knowledge": 14,
        "fact": 6,
        "smalltalk": 8,
        "complaint": 6,
        "several": 4,
        "out_of_scope": 5,
        "bare": 2,
    }
    assert len({case["text"].casefold() for case in MIX}) == 100
    assert len({case["id"] for case in MIX}) == 100


@pytest.mark.parametrize("case", MIX, ids=lambda case: case["id"])
def test_a_messages_lanes_are_those_of_its_intents(case: dict[str, Any]) -> None:
    """The right lanes of a message are exactly the lanes of its right intents."""
    lane = case["lane"]
    lanes: set[str] = {lane} if isinstance(lane, str) else set(lane)

    assert {LANES[intent] for intent in case["intent"]} == lanes


def test_the_mix_is_held_out() -> None:
    """No message of three or more words of the mix is a phrase the models were trained or built from."""
    files = [
        ROOT / "domains" / "northfell" / "intents.yaml",
        *(ROOT / "domains" / "northfell" / "examples").glob("*.yaml"),
    ]
    known = {
        _plain(text) for file in files for text in _strings(yaml.safe_load(file.read_text("utf-8")))
    }

    assert [c["id"] for c in MIX if len(c["text"].split()) > 2 and _plain(c["text"]) in known] == []


def _strings(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        yield from _strings(list(cast("dict[str, Any]", value).values()))
    elif isinstance(value, list):
        for child in cast("list[Any]", value):
            yield from _strings(child)


def _plain(text: str) -> str:
    return " ".join(re.findall(r"\w+", text.casefold()))


def test_every_answering_article_is_current_and_public() -> None:
    """A question's articles are ones a customer may be shown."""
    for case in cases("retrieval")["answerable"]:
        for slug in case["articles"]:
            article = front_matter(ROOT / "domains" / "northfell" / "knowledge" / f"{slug}.md")
            assert article["audience"] == "public", case["id"]
            assert article["status"] == "current", case["id"]


def test_there_are_sixty_questions_with_and_sixty_without_an_answer() -> None:
    """Recall and the floor are measured on enough different questions."""
    found = cases("retrieval")

    assert len({case["question"] for case in found["answerable"]}) == 60
    assert len({case["question"] for case in found["unanswerable"]}) == 60


def test_bitexts_intents_all_have_a_lane() -> None:
    """The 27 intents of Bitext are mapped."""
    assert len(cases("bitext_lanes")["lanes"]) == 27


@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda scenario: scenario["id"])
def test_a_scenario_speaks_of_records_that_are_there(scenario: dict[str, Any]) -> None:
    """Records in the end state belong to the scenario's customer, and operations exist."""
    ends = {scenario["customer"]: scenario.get("end", {})} | scenario.get("end_of_others", {})
    for customer, end in ends.items():
        account = ACCOUNTS[customer]
        orders = {order.number for order in account.orders}
        assert set(end.get("orders", {})) | set(end.get("addresses", {})) <= orders
        assert set(end.get("subscriptions", {})) <= {one.number for one in account.subscriptions}
    for step in scenario["steps"]:
        assert step.get("expect", {}).get("operation") in {None, *OPERATIONS}
