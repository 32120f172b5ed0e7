"""A schema's own pattern, written by somebody else."""

from __future__ import annotations

import time

from graphs.reading.fields import fields_of
from graphs.reading.patterns import PATIENCE, Form, fits
from graphs.reading.values import codes

#: Backtracks for longer than anybody lives.
ENDLESS = "^(a|aa)+$"


def of_form(pattern: str):
    [field] = fields_of(
        {"type": "object", "properties": {"code": {"type": "string", "pattern": pattern}}}
    )
    return field


def test_a_form_is_found_in_any_spelling_it_allows() -> None:
    assert Form("^[A-Z]{2}[0-9]{3}$").first_of(["ab123", "AB123"]) == "AB123"
    assert Form("[A-Z]{2}").first_of(["AB1"]) is None
    assert Form("^[A-Z]{2}").first_of(["AB1"]) == "AB1"


def test_a_pattern_that_never_ends_is_given_up() -> None:
    """For a whole message, not for each of its words."""
    message = " ".join(["a" * 60 + "b"] * 50)
    started = time.process_time()

    assert codes(of_form(ENDLESS), message) == []
    assert fits(ENDLESS, message.replace(" ", ""))

    # Generous for a busy machine; without the bound it would not come back at all.
    assert time.process_time() - started < 20 * PATIENCE


def test_a_pattern_nobody_can_read_says_nothing() -> None:
    assert codes(of_form("(["), "order 12") == []
    assert fits("([", "anything")
