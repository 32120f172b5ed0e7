"""Values that are said only to say that they will not do."""

from __future__ import annotations

import pytest

from tools.reading.negation import is_ruled_out


@pytest.mark.parametrize(
    ("text", "value", "out"),
    [
        ("Übermorgen kann ich doch nicht, geht es Freitag?", "Übermorgen", True),
        ("Wednesday doesn't work for me", "Wednesday", True),
        ("on Wednesday I can't, Friday please", "Wednesday", True),
        ("am Mittwoch passt es mir leider nicht", "Mittwoch", True),
        ("Wednesday works", "Wednesday", False),
        ("Mittwoch passt gut", "Mittwoch", False),
        ("please book Friday, I can't wait", "Friday", False),
    ],
)
def test_what_stands_behind_a_value_rules_it_out(text: str, value: str, out: bool) -> None:
    """Right behind it, and not in the next clause."""
    assert is_ruled_out(text, text.index(value) + len(value)) is out
