"""No message that quality is measured on stands among the examples that the heads learn from."""

from __future__ import annotations

from pathlib import Path

import pytest

from app.domains import load_domain
from models.train.kept_out import leaks, measured
from models.train.understanding import Example, ExamplesInvalid, read_examples, train
from tests.conftest import GIVEN

ROOT = Path(__file__).parents[2]
DOMAINS = sorted(folder.parent for folder in (ROOT / "domains").glob("*/evals"))


def conversations() -> list[Path]:
    """The open conversations, where the public data is at hand."""
    data = GIVEN["data"]  # A test's own environment does not hold it.
    return sorted(Path(data).glob("conversations_dev/*.jsonl")) if data else []


@pytest.mark.parametrize("domain", DOMAINS, ids=lambda folder: folder.name)
def test_no_message_of_an_evaluation_set_is_an_example(domain: Path) -> None:
    """Word for word, or so nearly that one is the other with a slip of the keyboard."""
    files = sorted((domain / "examples").rglob("*.jsonl"))
    kept = measured(domain / "evals", *conversations())
    assert files
    assert kept

    for file in files:
        # Files are read one by one, so that the report names the line.
        found = leaks([one.text for one in read_examples([file])], kept)
        assert [f"{file.name}, line {one.example + 1}: {one}" for one in found] == []
    taught = [text for one in load_domain(domain).intents.intents for text in one.examples]
    assert [str(one) for one in leaks(taught, kept)] == []


@pytest.mark.parametrize(
    ("example", "leaked"),
    [
        ("has the tent order SB-77001 left you yet?", True),
        ("HAS THE TENT ORDER sb-77001 left you yet", True),
        ("has the tent ordr SB-77001 left you yet??", True),
        ("has the lamp of my brother left the house", False),
    ],
)
def test_case_marks_and_slips_do_not_hide_a_message(example: str, leaked: bool) -> None:
    """What is nearly the same message is the same message."""
    found = leaks(["hello", example], ["Has the tent order SB-77001 left you yet?"])

    assert [one.example for one in found] == ([1] if leaked else [])


def test_a_short_message_belongs_to_nobody() -> None:
    """Many people write "yes please": that it is measured somewhere does not forbid to learn it."""
    assert leaks(["yes please", "where is my order"], ["Yes, please!", "where is my order?"]) == []


def test_the_training_refuses_what_is_measured(tmp_path: Path) -> None:
    """Heads are not fitted on an evaluation set, whoever hands it over; nothing is written."""
    message = "my kettle has a hole in it and drips on the stove"
    examples = [Example(text=message, intent="broken"), Example(text="hello", intent="greeting")]

    with pytest.raises(ExamplesInvalid, match="1 examples are in an evaluation set"):
        train(
            examples,
            tmp_path,
            domain=tmp_path,
            incidents=lambda name: False,
            kept_out=["My kettle has a hole in it, and drips on the stove."],
        )

    assert list(tmp_path.iterdir()) == []
