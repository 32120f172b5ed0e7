"""What makes two requests the same action."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domains.northfell.operations import OPERATIONS
from graphs.keys import action_id, action_key, fingerprint, fingerprint_of, normalised

ARGUMENTS = st.dictionaries(
    st.text(min_size=1, max_size=8),
    st.none() | st.text(max_size=20) | st.integers() | st.booleans(),
    max_size=5,
)
KEY = ("northfell", "ana", "cancel_order", "turn-1")


@pytest.mark.parametrize("part", range(4))
def test_every_part_makes_another_key(part):
    """Tenant, customer, operation and request each tell actions apart."""
    other = [*KEY]
    other[part] += "x"
    assert action_key(*other) != action_key(*KEY)


def test_parts_do_not_run_into_each_other():
    """Moving a letter from one part to the next is another key."""
    assert action_key("ab", "c", "d", "e") != action_key("a", "bc", "d", "e")


def test_the_arguments_are_not_in_the_key():
    """The same request with other arguments must meet its own row, as a conflict."""
    one, other = {"order_number": "SB-1"}, {"order_number": "SB-2"}
    assert fingerprint("cancel_order", one) != fingerprint("cancel_order", other)
    assert action_id(action_key(*KEY)) == action_id(action_key(*KEY))


@given(ARGUMENTS)
def test_spelling_that_changes_nothing_is_folded(arguments):
    """Order of fields, surrounding blanks and fields left out are no difference."""
    loose = {
        name: f"  {value}\n" if isinstance(value, str) else value
        for name, value in reversed(arguments.items())
    } | {"not given": None}
    assert fingerprint("x", loose) == fingerprint("x", arguments)


@given(ARGUMENTS, st.text(min_size=1, max_size=8))
def test_any_other_value_is_another_fingerprint(arguments, name):
    """An edit always shows."""
    edited = arguments | {name: "another value"}
    if normalised(arguments) != normalised(edited):
        assert fingerprint("x", arguments) != fingerprint("x", edited)


def test_why_it_is_wanted_and_what_the_books_fill_in_are_aside():
    """Two cancellations of one order are one, whatever their reasons; of two orders they are two."""
    cancel = OPERATIONS["cancel_order"]
    one = {"order_number": "SB-1", "reason": "too late", "seen_status": "paid"}
    assert fingerprint_of(cancel, one) == fingerprint_of(cancel, {"order_number": "SB-1"})
    assert fingerprint_of(cancel, one) != fingerprint_of(cancel, one | {"order_number": "SB-2"})
    assert fingerprint_of(cancel, one) != fingerprint_of(cancel, one | {"items": ["tent"]})


def test_one_is_not_true_and_not_text():
    """Values of different types are different."""
    assert len({fingerprint("x", {"a": value}) for value in (1, True, "1")}) == 3
