"""A business's opening hours: read by a library, checked when the business is loaded."""

from __future__ import annotations

from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import pytest

from tools.domain import Profile
from tools.hours import Hours

BERLIN = ZoneInfo("Europe/Berlin")


@pytest.mark.parametrize(
    ("at", "opens"),
    [
        (datetime(2026, 11, 30, 7, 0, tzinfo=UTC), None),  # Monday, 8:00 there
        (datetime(2026, 11, 30, 6, 59, tzinfo=UTC), datetime(2026, 11, 30, 8, tzinfo=BERLIN)),
        (datetime(2026, 11, 28, 14, 0, tzinfo=UTC), datetime(2026, 11, 30, 8, tzinfo=BERLIN)),
        # Christmas Eve is an ordinary day, the two after it are holidays, and then it is Sunday.
        (datetime(2026, 12, 24, 18, 0, tzinfo=UTC), datetime(2026, 12, 28, 8, tzinfo=BERLIN)),
    ],
)
def test_when_somebody_is_there_again(at: datetime, opens: datetime | None):
    """In the business's own time, its country's holidays left out."""
    hours = Hours("Mo-Fr 08:00-18:00; Sa 09:00-14:00; PH off", BERLIN, "DE")
    assert hours.opens(at) == opens


@pytest.mark.parametrize(
    ("written", "region", "why"),
    [
        ("every day from eight", None, "no opening hours"),
        ("off", None, "nobody is ever there"),
        ("Mo-Fr 08:00-18:00", "ZZ", "public holidays of 'ZZ'"),
    ],
)
def test_hours_that_cannot_be_kept_stop_the_business(written: str, region: str | None, why: str):
    """A business is not loaded with hours that would later be a wrong promise."""
    given = {"name": "A", "tenant": "a", "region": region, "contact": {"open": written}}
    with pytest.raises(ValueError, match=why):
        Profile.model_validate(given)


def test_no_hours_promise_nothing():
    """Who declares none is never told to be closed."""
    assert Profile(name="A", tenant="a").hours is None
