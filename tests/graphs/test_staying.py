"""What is named only to say that it stays, and what only sounds like it."""

from __future__ import annotations

import pytest

from graphs.understanding.staying import staying
from graphs.understanding.words import tokens


def stays(text: str) -> set[str]:
    said = tokens(text)
    return {said[place] for place in staying(text)}


@pytest.mark.parametrize(
    ("text", "thing"),
    [
        ("leave the internet alone, cancel just the mobile", "internet"),
        ("please leave the internet, end the mobile", "internet"),
        ("cancel the mobile but keep the internet", "internet"),
        ("cancel the mobile, the internet stays", "internet"),
        ("block the mobile, the internet is fine", "internet"),
        ("cancel the mobile, not the internet", "internet"),
        ("not the internet but the mobile", "internet"),
        ("don't cancel the internet, only the mobile", "internet"),
        ("I don't want to lose the internet, just the mobile", "internet"),
        ("cancel the mobile instead of the internet", "internet"),
        ("I still need the internet, end the mobile", "internet"),
        ("das Handy kündigen, das Internet bleibt", "internet"),
        ("das Internet soll bitte so bleiben, das Handy kündigen", "internet"),
        ("nicht das Internet, sondern das Handy", "internet"),
        ("das Handy kündigen, das Internet nicht", "internet"),
        ("das Internet nicht kündigen, nur das Handy", "internet"),
        ("Lassen Sie das Internet in Ruhe und kündigen Sie das Handy", "internet"),
        ("das Internet brauche ich noch, aber das Handy kündigen", "internet"),
        ("den Vertrag kündigen, ausser das Internet", "internet"),
    ],
)
def test_what_stays_is_told_from_what_is_meant(text: str, thing: str) -> None:
    """The one thing that is named to stay, and not the other one."""
    found = stays(text)

    assert thing in found
    assert not {"mobile", "handy"} & found


@pytest.mark.parametrize(
    "text",
    [
        "cancel the mobile",
        "I no longer need the internet, cancel it",
        "I don't need the internet anymore",
        "my internet keeps dropping, cancel it",
        "mein Internet bleibt ständig weg, ich will kündigen",
        "I have been without internet for a week, cancel my contract",
        "das Internet geht nicht, kündigen",
        "I don't want to keep the internet",
        "not only the internet, the mobile too",
        "ich brauche das Internet nicht mehr",
    ],
)
def test_what_only_sounds_like_staying_is_meant(text: str) -> None:
    """A thing that is complained of or not needed any more does not stay."""
    assert not {"internet", "mobile"} & stays(text)
