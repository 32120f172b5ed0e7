"""The heads that read a message in a conversation: where they are believed, and what came before."""

from __future__ import annotations

import numpy as np
import pytest

from graphs.routing import LEANS
from models.train.phrases import Spoken
from models.train.turns import in_context, lines_of, lowest_worth
from tools.intents import Costs
from tools.ports import Choice


class Told:
    """Reads what it was told."""

    def __init__(self, table: dict[str, dict[str, float]]) -> None:
        self.table = table

    def choice(self, text: str) -> Choice:
        chances = self.table[text]
        return Choice(
            option=max(chances, key=chances.__getitem__),
            probabilities=chances,
            model="",
            version="",
            tier="encoder",
            ms=0.0,
        )


def test_the_subject_is_the_last_message_that_had_one() -> None:
    """A greeting lends nothing, and a thank-you between does not end the subject."""
    sure = {"track_parcel": 0.9, "thanks": 0.05, "greeting": 0.05}
    intent = Told(
        {
            "hi": {"track_parcel": 0.05, "thanks": 0.05, "greeting": 0.9},
            "where is it": sure,
            "ta": {"track_parcel": 0.05, "thanks": 0.9, "greeting": 0.05},
            "and mine?": {"track_parcel": 0.3, "thanks": 0.4, "greeting": 0.3},
        }
    )
    leaning = Told(
        {
            text: {"alone": 0.1, LEANS: 0.9}
            if text == "and mine?"
            else {"alone": 0.99, LEANS: 0.01}
            for text in intent.table
        }
    )
    said = ("user: hi", "assistant: Hello!", "user: where is it", "assistant: There.", "user: ta")
    spoken = Spoken("and mine?", said, ("track_parcel",), ("operation",))

    assert in_context(intent, leaning, spoken).option == "track_parcel"  # type: ignore[arg-type]


def test_a_lane_in_which_mistakes_cost_more_is_believed_later() -> None:
    """The line is where questions and mistakes cost least together, never below half of what costs ask."""
    rng = np.random.default_rng(3)
    sure = rng.random(4000)
    right = rng.random(4000) < sure
    lanes = ["direct", "agent"] * 2000

    lines = lines_of(lanes, sure, right, Costs())  # type: ignore[arg-type]

    assert lines["direct"] == pytest.approx(0.5, abs=0.1)
    assert lines["agent"] == pytest.approx(0.75, abs=0.1)
    assert lines_of(lanes, sure, right | True, Costs())["direct"] == 0.25  # type: ignore[arg-type]


def test_a_guess_is_worth_it_from_where_it_is_right_more_often_than_not() -> None:
    """Where nothing is ever right, none is."""
    sure = np.linspace(0, 1, 1000)

    assert lowest_worth(sure, sure > 0.4) == pytest.approx(0.38, abs=0.03)
    assert lowest_worth(sure, sure > 2) == 1.0
