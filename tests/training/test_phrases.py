"""Our own phrases: the same every time, complete, and without the messages that are kept for the tests."""

from __future__ import annotations

import itertools
import json
import random
from collections import Counter

import pytest

from models.train import phrases
from models.train.roles import evaluator, extractor, planner
from models.train.understanding import examples_of
from tests.northfell import NORTHFELL


def test_messages_are_the_same_for_the_same_seed() -> None:
    """A training can be repeated: the seed decides every message."""
    assert phrases.messages(12, seed=3) == phrases.messages(12, seed=3)
    assert phrases.messages(12, seed=3) != phrases.messages(12, seed=4)


def test_every_intent_has_messages_to_learn_from() -> None:
    """No intent of the catalogue is left to chance, at the beginning of a conversation or in the middle of one."""
    examples = examples_of(NORTHFELL)
    catalogue = NORTHFELL.intents
    several = set(catalogue.of_role("several"))
    alone = Counter(one.intent for one in examples if not one.before)
    later = Counter(one.intent for one in examples if one.before)
    named = set(catalogue.names) - several
    answers = {name for role in ("affirm", "deny", "leave") for name in catalogue.of_role(role)}

    assert {name for name in named if alone[name] + later[name] < 120} == set()
    assert {name for name in named - answers if alone[name] < 80} == set()
    assert {name for name in named if later[name] < 20} == set()
    # What several wishes in one message are is another head's: they are labelled with each of them.
    assert several
    assert not several & {name for one in examples for name in one.wanted}
    assert sum(len(one.wanted) > 1 for one in examples) >= 400


@pytest.mark.parametrize("name", sorted(phrases.read("messages")))
def test_every_list_of_phrases_makes_many_messages(name: str) -> None:
    """Each of them teaches what a message that stands alone sounds like."""
    found = phrases.messages(40, seed=1, part="train", only=name)

    assert {message.label for message in found} == {name}
    assert len(found) >= 30


def test_phrases_name_only_intents_of_the_catalogue() -> None:
    """A list under a name that is no intent would never be learnt."""
    assert set(phrases.read("messages")) <= set(NORTHFELL.intents.names)


@pytest.mark.parametrize(
    "text",
    [
        "What's my order status?",
        "whats my order status",  # the apostrophe is a word character, so this one is another text
        "I WANT to cancel my subscription!!",
        "How does your pricing work for enterprise",
    ],
)
def test_messages_kept_for_the_acceptance_tests_are_recognised_in_any_dress(text: str) -> None:
    """Case and punctuation do not make a kept-out message a new one."""
    assert phrases.kept_out(text) is (text != "whats my order status")


def test_no_kept_out_message_is_learnt() -> None:
    """What the acceptance tests play was never seen in training."""
    texts = [m.text for seed in range(3) for m in phrases.messages(200, seed)]
    texts += [r.text for r in phrases.requests(3000, seed=8)]

    assert [text for text in texts if phrases.kept_out(text)] == []


def test_a_template_never_changes_sides() -> None:
    """All fillings of a template are learnt, or all of them are held out."""
    sides: dict[str, set[str]] = {}
    for seed in range(4):
        for message in phrases.messages(30, seed, rough=False):
            if message.label != "several_requests":
                sides.setdefault(message.text, set()).add(message.part)

    shared = [text for text, parts in sides.items() if len(parts) > 1]
    # The same words can come out of two templates; that is rare.
    assert len(shared) <= len(sides) // 100


def test_every_slot_can_be_filled() -> None:
    """A misspelt slot would break a training half an hour in."""
    rng = random.Random(0)
    for name in ("messages", "results"):
        for group in phrases.read(name).values():
            lists = [group] if isinstance(group, list) else list(group.values())
            for template in itertools.chain.from_iterable(lists):
                assert "{" not in phrases.fill(template, rng)[0]


def test_extracted_values_stand_in_the_message() -> None:
    """The extractor is never taught to invent: values are words of the message, or reasons of the list."""
    rng = random.Random(5)
    templates = phrases.read("extracts")
    for operation, fields in extractor.FIELDS.items():
        for template in templates[operation]:
            prompt, answer = extractor.make(operation, template, rng)
            values = json.loads(answer)
            message = prompt.split("message: ", 1)[1]

            assert list(values) == list(fields)
            for value in values.values():
                if isinstance(value, str):
                    assert value in message or value in extractor.REFUND_REASONS


@pytest.mark.parametrize(
    ("words", "expected"),
    [("two months", 2), ("a month", 1), ("3 months", 3), ("the next 3 months", 3), ("1 mth", 1)],
)
def test_months_are_counted(words: str, expected: int) -> None:
    """Months are a number in the answer, however they were said."""
    assert extractor.months(words) == expected


def test_requests_have_as_many_steps_as_asked_and_known_names() -> None:
    """A plan names operations, or `answer`, and none of them twice."""
    known = {*extractor.FIELDS, "list_orders", "answer"}
    for request in phrases.requests(300, seed=2):
        assert 2 <= len(request.steps) <= 4
        assert set(request.steps) <= known
        assert len(set(request.steps)) == len(request.steps)
        assert json.loads(planner.steps(request.steps)) == list(request.steps)


@pytest.mark.parametrize(
    ("result", "left", "expected"),
    [
        ("ok", 2, "continue"),
        ("ok", 0, "done"),
        ("pending", 1, "continue"),  # an approval does not stop the other steps
        ("pending", 0, "done"),
        ("not_found", 1, "replan"),
        ("refused", 0, "replan"),
        ("error", 2, "escalate"),
        ("angry", 0, "escalate"),
    ],
)
def test_the_evaluator_learns_one_rule(result: str, left: int, expected: str) -> None:
    """What the examples teach is written down in one place."""
    assert evaluator.decide(result, left) == expected


def test_follow_ups_name_intents_and_are_the_same_for_the_same_seed() -> None:
    """What is said in the middle of a conversation is of the catalogue; what leans is no intent."""
    found = phrases.follow_ups(2, seed=3)

    assert found == phrases.follow_ups(2, seed=3)
    assert {message.label for message in found} <= set(NORTHFELL.intents.names)
    assert {message.label for message in found} == {*phrases.read("messages"), "several_requests"}
    assert {m.label for m in phrases.follow_ups(2, seed=3, only=phrases.LEANING)} == {"leaning"}


def test_nothing_like_an_eval_case_is_learnt() -> None:
    """Equal but for a word is alike; two words are anybody's."""
    case = "and how much does the yellow umbrella weigh then"

    assert phrases.held_out(
        "just wanted to ask if you're open on sunday"
    )  # lanes_300, one word off
    assert not phrases.held_out(case)
    assert not phrases.held_out("yes please")
    assert [m.text for m in phrases.follow_ups(3, seed=5) if phrases.held_out(m.text)] == []
