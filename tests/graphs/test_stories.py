"""What a message does that answers no question: its story, its phrases, and the mail that it sends along."""

from __future__ import annotations

import pytest

from graphs.understanding.weighing import by_phrase, unasked
from tests.northfell import NORTHFELL
from tools.records import Item, RecordView


class _Context:
    intents = NORTHFELL.intents


TENT = RecordView(
    id="SB-10482",
    kind="order",
    label="SB-10482",
    state="paid",
    items=(Item(id="SLP-715", name="Foam Mat"), Item(id="TNT-201", name="Ridgeline Tent 2P")),
)
HALF = {"deny": 0.6, "cancel_order": 0.2, "change_order": 0.2}


def best(chances: dict[str, float]) -> str:
    return max(chances, key=chances.__getitem__)


def test_a_story_that_follows_no_question_declines_nothing() -> None:
    text = "if the tent comes on friday leave everything as it is, if not then cancel the order"

    assert best(unasked(HALF, text, (), _Context)) == "cancel_order"  # type: ignore[arg-type]
    assert best(unasked(HALF, text, ("a question",), _Context)) == "deny"  # type: ignore[arg-type]
    assert best(unasked(HALF, "no, leave it", (), _Context)) == "deny"  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        ("pls take the mat out, keep the tent", "cancel_order"),
        ("drop the foam mat from my tent order but KEEP THE TENT", "cancel_order"),
        ("nehmt bitte die mat raus", "cancel_order"),
        ("can you take the foam mat out of it?", "cancel_order"),
        ("what happens if you take the mat out?", "change_order"),
        ("take 10 % off the price", "change_order"),
        ("I take the bus and it drops me out of town", "change_order"),
    ],
)
def test_a_phrase_around_a_thing_says_what_is_done_with_it(text: str, meant: str) -> None:
    """Asked about it does not, nor around anything that the customer does not own."""
    sure = {"change_order": 0.95, "cancel_order": 0.01, "order_status": 0.04}

    assert best(by_phrase(sure, text, [TENT], _Context)) == meant  # type: ignore[arg-type]
