"""In a German conversation nothing is said in English: every sentence that the shop puts together, by its function words."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import pytest

from domains.northfell.labels import sentences
from domains.northfell.memory import demo_world
from domains.northfell.operations import OPERATIONS
from graphs import replies
from graphs.extraction import fields
from prompts.replies import speaking
from tests.domains.northfell.accounts import TODAY
from tests.northfell import NORTHFELL, REPLIES
from tools.values import Operation, OperationFailed, Preview

#: Words that stand in almost every English sentence and in no German one. Products keep their names.
ENGLISH = frozenset(
    """the of and is are with your you for to from that this it has have had been will would can cannot not no
    already yet there which when what our we they their be by as so than""".split()  # noqa: SIM905 - as words
)
GERMAN = REPLIES.voice("de")


def english_in(text: str, given: str = "") -> set[str]:
    """The English function words of a text, but for those in what is not ours to say."""
    own = text
    for product in _names():
        own = own.replace(product, "")
    return {word.casefold() for word in re.findall(r"[A-Za-z]+", own.replace(given, ""))} & ENGLISH


def _names() -> Iterator[str]:
    yield from (item.name for item in NORTHFELL.lexicon.catalogue)


ASKED: dict[str, dict[str, Any]] = {
    "request_refund": {"reason": "damaged"},
    "change_delivery_address": {"address": "Rosenweg 7, 50968 Köln"},
    "pause_subscription": {"months": 2},
    "update_contact": {"email": "neu@beispiel.example", "phone": "0151 55501234"},
    "charge_replacement": {"reason": "lost"},
    "create_ticket": {"subject": "Frage zur Rechnung"},
}


def previews(operation: Operation) -> Iterator[Preview | OperationFailed]:
    """What the operation says to every customer about every record of theirs."""
    world = demo_world(TODAY)
    record = next((f for f in fields(operation) if f.record), None)
    for customer in world.customers():
        shop = world.view(customer, TODAY)
        of_kind: dict[str, list[Any]] = {
            "order": shop.orders(),
            "invoice": shop.invoices(),
            "subscription": shop.subscriptions(),
            "refund": shop.refunds(),
        }
        numbers = [one.number for one in of_kind.get(record.record or "", [])] if record else []
        for number in [*numbers, "XX-1"] if record else [None]:
            given = dict(ASKED.get(operation.name, {}))
            if record is not None:
                given[record.name] = number
            products = [
                line.product for o in of_kind["order"] if o.number == number for line in o.lines
            ]
            if operation.name == "charge_replacement":
                given["product"] = products[0] if products else "Kocher"
            try:
                yield operation.preview(shop, operation.arguments.model_validate(given))
            except OperationFailed as error:
                yield error


@pytest.mark.parametrize("name", OPERATIONS)
def test_what_an_operation_says_is_german(name: str) -> None:
    """Labels, effects and refusals, for every record of every demo customer, and the questions for what is missing."""
    operation = OPERATIONS[name]
    said: list[str] = []
    with speaking(GERMAN):
        for one in previews(operation):
            if isinstance(one, OperationFailed):
                said.append(str(one))
            else:
                said += [*one.candidates, *one.effects, one.refusal or "", one.record or ""]
        said.append(replies.title(operation))
        said += [
            replies.question(operation, f.name, f.question) for f in fields(operation) if f.question
        ]

    assert said
    assert {text: words for text in said if (words := english_in(text))} == {}


def test_the_same_is_said_in_both_languages() -> None:
    """No sentence that operations put together lacks its German, or has only that."""
    assert sentences().missing("de") == []
    assert set(sentences().voice("en").templates) == set(sentences().voice("de").templates)


def test_the_hours_are_german() -> None:
    """What the business says of itself is in the customer's language too."""
    assert "Montag" in GERMAN.render("ask_hours")
    assert english_in(GERMAN.render("ask_contact")) == set()


def test_dates_and_sums_are_written_as_germans_write_them() -> None:
    """By CLDR: a decimal comma, the day before the month."""
    world = demo_world(TODAY)
    shop = world.view(world.customer("ana"), TODAY)
    with speaking(GERMAN):
        seen = OPERATIONS["cancel_order"].preview(
            shop, OPERATIONS["cancel_order"].arguments.model_validate({"order_number": "SB-10482"})
        )

    assert re.search(r"bestellt am \d{1,2}\. \w+\.?", seen.record or "")
    assert "323,90 EUR" in " ".join(seen.effects)
