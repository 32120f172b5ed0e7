"""The catalogue of intents: complete, and refused when it is not sound."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from models.train.phrases import kept_out
from tests.northfell import NORTHFELL
from tools.intents import IntentsInvalid, UnknownIntent, load_intents, spoken

GOOD: dict[str, Any] = {
    "name": "order_status",
    "lane": "operation",
    "operation": "get_order",
    "description": "The state of an order.",
    "question": "Is it about an order?",
    "examples": [f"example {n}" for n in range(8)],
}


def written(tmp_path: Path, *intents: dict[str, Any]) -> Path:
    path = tmp_path / "intents.yaml"
    path.write_text(yaml.safe_dump({"intents": list(intents)}))
    return path


def test_the_shipped_catalogue_is_sound() -> None:
    """What the business can do and what it can be told is wanted by some intent, and nothing that it cannot."""
    intents, cases = NORTHFELL.intents, NORTHFELL.advice
    assert cases is not None

    assert {one.operation for one in intents.intents if one.operation} == set(NORTHFELL.operations)
    told = {name for one in intents.intents for name in (one.case, one.about_record) if name}
    assert told == set(cases.names)
    assert set(intents.of_role("incident")) == cases.incidents
    assert all(intents.get(name).question.endswith((".", "?")) for name in intents.names)
    assert intents.lane("ask_plans") == "answer"
    assert intents.operation("order_status") == "get_order"
    assert intents.operation("greeting") is None


def test_every_intent_of_the_catalogue_shows_how_it_is_said() -> None:
    """By five messages at least, each of a customer: what an intent is called is nothing that anybody says."""
    for intent in NORTHFELL.intents.intents:
        assert len(intent.examples) >= 5, intent.name
        called = spoken(intent.name)
        assert " " not in called or called not in {text.casefold() for text in intent.examples}


def test_examples_leave_the_acceptance_messages_out() -> None:
    """The catalogue does not know the messages it is tested with."""
    texts = [text for intent in NORTHFELL.intents.intents for text in intent.examples]

    assert [text for text in texts if kept_out(text)] == []


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"tone": "friendly"}, "tone"),  # unknown keys are typing slips
        ({"lane": "sideways"}, "lane"),
        ({"operation": None}, "names no operation"),
        ({"examples": []}, "examples"),
        ({"examples": ["same"] * 8}, "given twice"),
        ({"question": "  "}, "question"),
        ({"name": "order\nstatus"}, "name"),
    ],
)
def test_an_unsound_intent_is_refused(
    tmp_path: Path, change: dict[str, Any], complaint: str
) -> None:
    """The message says what is wrong."""
    with pytest.raises(IntentsInvalid, match=complaint):
        load_intents(written(tmp_path, {**GOOD, **change}))


def test_two_intents_of_one_name_are_refused(tmp_path: Path) -> None:
    """A name is one intent."""
    again = {**GOOD, "examples": [f"other {n}" for n in range(8)]}

    with pytest.raises(IntentsInvalid, match="intent given twice: order_status"):
        load_intents(written(tmp_path, GOOD, again))


def test_operations_must_exist(tmp_path: Path) -> None:
    """An intent cannot start an operation nobody has written."""
    path = written(tmp_path, GOOD)

    assert load_intents(path, operations={"get_order"}).names == ("order_status",)
    with pytest.raises(IntentsInvalid, match="no such operation: get_order"):
        load_intents(path, operations={"track_parcel"})


def test_files_that_cannot_be_read_are_refused(tmp_path: Path) -> None:
    """Neither a missing file nor broken YAML gets through as something else."""
    broken = tmp_path / "broken.yaml"
    broken.write_text("intents: [")

    for path in (broken, tmp_path / "missing.yaml"):
        with pytest.raises(IntentsInvalid):
            load_intents(path)


def test_an_unknown_intent_is_an_error_of_its_own() -> None:
    """Asking for the lane of nothing is not an empty answer."""
    with pytest.raises(UnknownIntent):
        NORTHFELL.intents.lane("nonsense")
