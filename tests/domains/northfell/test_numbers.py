"""Record numbers as customers write them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tools.numbers import means_newest, normalise_number, number_for


@pytest.mark.parametrize(
    ("kind", "text", "number"),
    [
        ("order", "10482", "SB-10482"),
        ("order", "#10482", "SB-10482"),
        ("order", "sb 10482", "SB-10482"),
        ("order", "SB-10482", "SB-10482"),
        ("order", " sb10482. ", "SB-10482"),
        ("order", "SB–10482", "SB-10482"),  # a dash a phone makes
        ("order", "SB_10482", "SB-10482"),
        ("order", "order 10482", "SB-10482"),
        ("order", "order no. 10482", "SB-10482"),
        ("order", "my order number: #SB-10482?", "SB-10482"),
        ("order", "0010482", "SB-10482"),
        ("invoice", "inv 20931", "INV-20931"),
        ("invoice", "bill 20931", "INV-20931"),
        ("subscription", "sub-4021", "SUB-4021"),
        ("subscription", "plan 4021", "SUB-4021"),
        ("refund", "rf30112", "RF-30112"),
        ("order", "INV-20931", None),  # another kind's number
        ("invoice", "SB-10482", None),
        ("order", "12", None),
        ("order", "10482 and 10483", None),  # two at once
        ("order", "the blue tent", None),
        ("order", "", None),
    ],
)
def test_numbers_are_normalised(kind: str, text: str, number: str | None) -> None:
    """Sloppy spelling of one number is understood, anything else is not a number."""
    assert number == normalise_number(kind, text)


@given(st.integers(min_value=100, max_value=999_999_999), st.sampled_from(["order", "refund"]))
def test_normalising_is_idempotent(digits: int, kind: str) -> None:
    """The shop's own form stays what it is."""
    assert number_for(kind, digits) == normalise_number(kind, number_for(kind, digits))


@pytest.mark.parametrize(
    ("text", "newest"),
    [
        ("my last order", True),
        ("the latest", True),
        ("most recent one", True),
        ("the tent", False),
        ("lasting", False),
    ],
)
def test_the_newest_by_words(text: str, newest: bool) -> None:
    """A place in time is recognised as whole words only."""
    assert newest is means_newest(text)
