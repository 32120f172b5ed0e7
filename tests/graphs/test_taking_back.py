"""What takes a waiting request back in so many words."""

from __future__ import annotations

import pytest

from graphs.understanding.dialogue import retracts


@pytest.mark.parametrize(
    ("text", "taken"),
    [
        ("ich ziehe das zurück", True),
        ("Ich ziehe meinen Antrag zurück.", True),
        ("ach nein, ich nehme das zurück", True),
        ("I withdraw it", True),
        ("nehmt ihr die Jacke zurück?", False),  # asks
        ("ich schicke die Jacke zurück", False),  # sends it back
        ("zieht ihr um", False),
    ],
)
def test_so_few_words_take_back(text: str, taken: bool) -> None:
    """Only what says nothing else, and asks nothing, ends a request that waits."""
    assert retracts(text) is taken
