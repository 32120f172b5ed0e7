"""When a customer says that they were misunderstood."""

from __future__ import annotations

import pytest

from graphs.corrections import corrects


@pytest.mark.parametrize(
    "text",
    [
        "no, I meant the tent",
        "No I wanted my invoice",
        "sorry, I meant SB-10482",
        "nope, the other one",
        "no not that, the refund",
        "No, that's wrong",
        "that's not what I asked",
        "This is not what I meant!",
        "you misunderstood me",
        "I didn’t ask for that",
        "wrong order",
        "I meant the blue one",
    ],
)
def test_a_correction(text: str) -> None:
    """The last answer was about something else."""
    assert corrects(text)


@pytest.mark.parametrize(
    "text",
    [
        "no",
        "no thanks",
        "no, keep it",
        "I mean it, where is my order?",
        "I asked for a refund last week, where is it?",
        "the wrong item arrived",
        "you sent the wrong size",
        "what do you mean?",
        "no idea what my order number is",
        "is that what I ordered?",
        "",
        "no " * 5000,
    ],
)
def test_no_correction(text: str) -> None:
    """A plain no, or a complaint about the world, says nothing of our understanding."""
    assert not corrects(text)
