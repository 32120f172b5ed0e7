"""Days, times of day and moments as a field's values, seen from where the customer stands."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta, tzinfo
from typing import Literal

from graphs.reading.spans import Span
from tools.reading.dates import dates
from tools.reading.numbers import number_word
from tools.reading.times import times as times_of_day


@dataclass(frozen=True)
class When:
    """Where the customer stands. ``now`` is naive where the time zone is unknown."""

    now: datetime
    #: Order of day and month in 03/04; None: such a date is asked about.
    day_first: bool | None = None
    languages: tuple[str, ...] = ("en", "de")  #: Those that are understood.
    region: str | None = None  #: Country of telephone numbers and postcodes.

    @property
    def today(self) -> date:
        return self.now.date()

    @property
    def zone(self) -> tzinfo | None:
        return self.now.tzinfo


def days(text: str, when: When, *, past: bool = False) -> list[Span]:
    """Every single day the text names, as ISO dates; without a year the nearest one on the asked-for side.

    A day that does not exist or could be read in two ways comes without a value and says why."""
    said = dates(
        text,
        when.today,
        when.languages,
        toward="past" if past else "future",
        day_first=when.day_first,
        merge=False,
    )
    found: list[Span] = []
    for one in said:
        if one.value is None:
            found.append(Span(None, one.start, one.end, why=one.why))
        elif one.value.day is not None:
            found.append(Span(one.value.day.isoformat(), one.start, one.end))
    return found


def times(text: str, languages: Sequence[str] = ("en", "de")) -> list[Span]:
    """Every time of day the text names, as ``HH:MM:SS``."""
    return [
        Span(one.value.isoformat(), one.start, one.end)
        for one in times_of_day(text, languages)
        if one.value is not None
    ]


_IN_HOURS = re.compile(
    r"\bin\s+(?P<n>an?|half an|einer|einer halben|[^\W_]+)\s+(?P<unit>hour|minute|stunde)[ns]?\b",
    re.I,
)


def moments(text: str, when: When, *, past: bool = False) -> list[Span]:
    """Every day with its time of day; a day without one, or a time without a day, says what is lacking."""
    found = [one for m in _IN_HOURS.finditer(text) if (one := _in_hours(m, when)) is not None]
    hours = times(text, when.languages)
    named = days(text, when, past=past)
    for day in named:
        close = min(hours, key=lambda h: abs(h.start - day.start), default=None)
        start, end = day.start, day.end
        if day.value is None or close is None:
            why = day.why or "names a day, and no time"
            found.append(Span(None, start, end, why=why))
            continue
        start, end = min(start, close.start), max(end, close.end)
        moment = datetime.fromisoformat(f"{day.value}T{close.value}").replace(tzinfo=when.zone)
        found.append(Span(moment.isoformat(), start, end))
    if not named:
        found += [Span(None, h.start, h.end, why="names a time, and no day") for h in hours]
    return sorted(found, key=lambda one: one.start)


def _in_hours(m: re.Match[str], when: When) -> Span | None:
    unit: Literal["hours", "minutes"] = "minutes" if m["unit"].lower() == "minute" else "hours"
    said = m["n"].casefold()
    if said.startswith("half") or said.endswith("halben"):
        count: float | None = 0.5
    else:
        count = 1 if said in ("a", "an", "einer") else number_word(said, when.languages)
    if count is None:
        return None
    moment = when.now.replace(microsecond=0) + timedelta(**{unit: count})
    return Span(moment.isoformat(), m.start(), m.end())


__all__ = ["When", "days", "moments", "times"]
