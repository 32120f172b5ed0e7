"""Days and times of day as people say them, seen from a given day.

A general date parser was measured and not used: it takes 1.3 s to its first answer, reads "may" as a month,
"the day after tomorrow" as tomorrow when it searches a sentence, and "the 3rd" as a month.
"""

from __future__ import annotations

import calendar
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta, tzinfo
from typing import Literal

from graphs.reading.numbers import NUMBER_WORDS, small_number
from graphs.reading.spans import Span, free


@dataclass(frozen=True)
class When:
    """Where the customer stands in time. ``now`` is naive where the time zone is unknown."""

    now: datetime
    #: Order of day and month in 03/04; None: such a date is asked about.
    day_first: bool | None = None

    @property
    def today(self) -> date:
        return self.now.date()

    @property
    def zone(self) -> tzinfo | None:
        return self.now.tzinfo


_DAY_NAMES = {name.casefold(): n for n, name in enumerate(calendar.day_name)}
_WEEKDAYS = {**_DAY_NAMES, **{name[:3]: n for name, n in _DAY_NAMES.items()}}
_MONTH_NAMES = {name.casefold(): n for n, name in enumerate(calendar.month_name) if name}
_MONTHS = {**_MONTH_NAMES, **{name[:3]: n for name, n in _MONTH_NAMES.items()}, "sept": 9}
_NUMBER = r"(?:\d{1,3}|" + "|".join(sorted(NUMBER_WORDS, key=len, reverse=True)) + r")"
_WEEKDAY = r"(?:mon|tues?|wed(?:nes)?|thu(?:rs?)?|fri|sat(?:ur)?|sun)(?:day)?s?"
_MONTH = (
    r"(?:jan(?:uary)?|feb(?:ruary)?|mar(?:ch)?|apr(?:il)?|may|june?|july?|aug(?:ust)?|"
    r"sept?(?:ember)?|oct(?:ober)?|nov(?:ember)?|dec(?:ember)?)\.?"
)
_DAY = r"(?:0?[1-9]|[12]\d|3[01])"
_NTH = rf"{_DAY}(?:st|nd|rd|th)?"
_UNIT = r"(?:day|week|fortnight|month|year)s?"

_ISO = re.compile(r"\b(?P<y>\d{4})-(?P<m>\d{1,2})-(?P<d>\d{1,2})\b")
_NUMERIC = re.compile(
    r"(?<![\d/.])(?P<a>\d{1,2})(?P<sep>[/.])(?P<b>\d{1,2})(?:(?P=sep)(?P<y>\d{4}|\d{2}))?(?![\d/]|\.\d)"
)
_DAY_MONTH = re.compile(
    rf"\b(?P<d>{_NTH})\.?\s*(?:of\s+)?(?P<mon>{_MONTH})(?![a-z])(?:,?\s+(?P<y>\d{{4}}))?", re.I
)
_MONTH_DAY = re.compile(
    rf"\b(?P<mon>{_MONTH})\s+(?:the\s+)?(?P<d>{_NTH})\b(?![:.]\d)(?:,?\s+(?P<y>\d{{4}}))?", re.I
)
_RANGE = re.compile(
    rf"\b(?P<d>{_NTH})\s*(?:to|until|till|through|and|-|–)\s*(?:the\s+)?(?={_NTH}\s*(?:of\s+)?{_MONTH}\b)",
    re.I,
)
_NTH_ALONE = re.compile(
    rf"\b(?P<d>{_DAY})(?:st|nd|rd|th)\b(?:\s+of\s+(?P<which>this|next)\s+month)?(?!\s+(?:one|time|order|item|option|of\b))",
    re.I,
)
_SPOKEN = re.compile(
    r"\b(?P<over>(?:the )?day after tomorrow)\b|\b(?P<before>(?:the )?day before yesterday)\b|"
    r"\b(?P<tomorrow>tomorrow)\b|\b(?P<yesterday>yesterday)\b|\b(?P<today>today|tonight)\b",
    re.I,
)
_IN = re.compile(
    rf"\b(?:in|within)\s+(?P<n>a|an|{_NUMBER}|a couple of)\s+(?P<unit>{_UNIT})(?:['’]?\s+time)?\b",
    re.I,
)
_FROM_NOW = re.compile(
    rf"\b(?P<n>a|an|{_NUMBER})\s+(?P<unit>{_UNIT})\s+(?P<from>from|after)\s+"
    rf"(?:now|(?P<today>today)|(?P<tomorrow>tomorrow)|(?P<day>{_WEEKDAY}))\b",
    re.I,
)
_AGO = re.compile(rf"\b(?P<n>a|an|{_NUMBER})\s+(?P<unit>{_UNIT})\s+ago\b", re.I)
_ON_WEEKDAY = re.compile(
    rf"\b(?:(?P<which>next|this|coming|last|past)\s+)?(?P<day>{_WEEKDAY})\b(?P<week>\s+(?:of\s+)?next\s+week)?",
    re.I,
)
_EDGE = re.compile(
    r"\b(?P<edge>end|last day|beginning|start|first day|first) of (?:the |this )?(?P<which>next |coming )?"
    r"(?P<unit>month|year)\b",
    re.I,
)
_SAID_MONTH = re.compile(
    rf"\b(?P<edge>end|last day|beginning|start|first day) of (?P<mon>{_MONTH})\b", re.I
)


def days(text: str, when: When, *, past: bool = False) -> list[Span]:
    """Every day the text names, as ISO dates; without a year the nearest one on the asked-for side.

    A day that does not exist or could be read in two ways comes without a value and says why."""
    found: list[Span] = []
    for read in _READERS:
        found += free(read(text, when, past), ((one.start, one.end) for one in found))
    return sorted(found, key=lambda one: one.start)


def _read_iso(text: str, when: When, past: bool) -> Iterator[Span]:
    for m in _ISO.finditer(text):
        yield _span(m, lambda m=m: date(int(m["y"]), int(m["m"]), int(m["d"])))


def _read_numeric(text: str, when: When, past: bool) -> Iterator[Span]:
    for m in _NUMERIC.finditer(text):
        if m["y"] is None and m["sep"] == "." and not text[m.end() :].startswith("."):
            continue  # 12.50 is a price
        a, b = int(m["a"]), int(m["b"])
        ways = {(b, a)} if m["sep"] == "." else {(b, a), (a, b)}  # (month, day)
        ways = {(mo, d) for mo, d in ways if 1 <= mo <= 12 and 1 <= d <= 31}
        if len(ways) == 2 and when.day_first is not None:
            ways = {(b, a)} if when.day_first else {(a, b)}
        if len(ways) > 1:
            both = " or ".join(f"{d} {calendar.month_name[mo]}" for mo, d in sorted(ways))
            yield Span(None, m.start(), m.end(), why=f"{m[0]} may be {both}")
        elif ways:
            month, day = next(iter(ways))
            yield _span(m, lambda m=m, mo=month, d=day: _dated(d, mo, m["y"], when, past))


def _read_ranges(text: str, when: When, past: bool) -> Iterator[Span]:
    """The first day of "3 to 7 December", which the second one's month belongs to as well."""
    for m in _RANGE.finditer(text):
        end = _DAY_MONTH.match(text, m.end())
        if end is not None:
            month = _MONTHS[end["mon"].casefold().rstrip(".")]
            first = lambda m=m, mo=month, y=end["y"]: _dated(_int(m["d"]), mo, y, when, past)  # noqa: E731
            yield _span(m, first, end=m.end("d"))


def _read_named(text: str, when: When, past: bool) -> Iterator[Span]:
    for pattern in (_DAY_MONTH, _MONTH_DAY):
        for m in pattern.finditer(text):
            month = _MONTHS[m["mon"].casefold().rstrip(".")]
            yield _span(m, lambda m=m, mo=month: _dated(_int(m["d"]), mo, m["y"], when, past))


def _read_edges(text: str, when: When, past: bool) -> Iterator[Span]:
    for m in _EDGE.finditer(text):
        last = m["edge"].casefold() in ("end", "last day")
        step = 1 if m["which"] or not last else 0
        if m["unit"].casefold() == "year":
            year = when.today.year + step
            day = date(year, 12, 31) if last else date(year, 1, 1)
        else:
            day = _edge_of(_months_on(when.today.replace(day=1), step), last)
        yield Span(day.isoformat(), m.start(), m.end())
    for m in _SAID_MONTH.finditer(text):
        month = _MONTHS[m["mon"].casefold().rstrip(".")]
        first = _dated(1, month, None, When(when.now.replace(day=1)), past)
        day = _edge_of(first, m["edge"].casefold() in ("end", "last day"))
        yield Span(day.isoformat(), m.start(), m.end())


def _read_spoken(text: str, when: When, past: bool) -> Iterator[Span]:
    offsets = {"over": 2, "before": -2, "tomorrow": 1, "yesterday": -1, "today": 0}
    for m in _FROM_NOW.finditer(text):
        base = when.today
        if m["tomorrow"]:
            base += timedelta(days=1)
        elif m["day"]:
            base = _weekday(_day_number(m["day"]), "", when)
        yield Span(_moved(base, m["n"], m["unit"]).isoformat(), m.start(), m.end())
    for m in _SPOKEN.finditer(text):
        shift = offsets[m.lastgroup or "today"]
        yield Span((when.today + timedelta(days=shift)).isoformat(), m.start(), m.end())
    for pattern, sign in ((_IN, 1), (_AGO, -1)):
        for m in pattern.finditer(text):
            moved = _moved(when.today, m["n"], m["unit"], sign)
            yield Span(moved.isoformat(), m.start(), m.end())


def _read_weekdays(text: str, when: When, past: bool) -> Iterator[Span]:
    for m in _ON_WEEKDAY.finditer(text):
        if m["day"].casefold() in ("sun", "sat", "mon", "wed") and m["day"].islower():
            continue  # "the sun", "sat down"
        which = "next" if m["week"] else (m["which"] or ("last" if past else "")).casefold()
        yield Span(_weekday(_day_number(m["day"]), which, when).isoformat(), m.start(), m.end())


def _read_nths(text: str, when: When, past: bool) -> Iterator[Span]:
    for m in _NTH_ALONE.finditer(text):
        day, step = int(m["d"]), 0
        if m["which"]:
            step = 1 if m["which"].casefold() == "next" else 0
        elif (day > when.today.day) if past else (day < when.today.day):
            step = -1 if past else 1
        month = _months_on(when.today.replace(day=1), step)
        yield _span(m, lambda month=month, day=day: month.replace(day=day))


_READERS = (
    _read_iso,
    _read_numeric,
    _read_ranges,
    _read_named,
    _read_edges,
    _read_spoken,
    _read_weekdays,
    _read_nths,
)


def _span(m: re.Match[str], make: Callable[[], date], *, end: int | None = None) -> Span:
    stop = m.end() if end is None else end
    try:
        day = make()
    except ValueError:
        return Span(
            None, m.start(), stop, why=f"there is no {str(m.string)[m.start() : stop].strip()}"
        )
    return Span(day.isoformat(), m.start(), stop)


def _int(nth: str) -> int:
    return int(re.sub(r"\D", "", nth))


def _dated(day: int, month: int, year: str | None, when: When, past: bool) -> date:
    """The day in the year that was said, else in the nearest year on the asked-for side."""
    if year is not None:
        full = int(year)
        if full < 100:
            # A birth in 89 was not in 2089; a delivery in 27 is not in 1927.
            full += 1900 if past and full > when.today.year % 100 else 2000
        return date(full, month, day)
    found = date(when.today.year, month, day)
    if past and found > when.today:
        return date(when.today.year - 1, month, day)
    if not past and found < when.today:
        return date(when.today.year + 1, month, day)
    return found


def _day_number(name: str) -> int:
    folded = name.casefold()
    return _WEEKDAYS.get(folded, _WEEKDAYS.get(folded.rstrip("s"), _WEEKDAYS[folded[:3]]))


def _weekday(day: int, which: str, when: When) -> date:
    """ "Friday" and "this Friday": the first after today; "next Friday": next week's; "last": the one before today."""
    today = when.today
    if which == "next":
        return today + timedelta(days=7 - today.weekday() + day)
    if which in ("last", "past"):
        return today - timedelta(days=(today.weekday() - day - 1) % 7 + 1)
    return today + timedelta(days=(day - today.weekday() - 1) % 7 + 1)


def _moved(base: date, amount: str, unit: str, sign: int = 1) -> date:
    count = sign * (2 if "couple" in amount.casefold() else small_number(amount) or 1)
    match unit.casefold().rstrip("s"):
        case "day":
            return base + timedelta(days=count)
        case "week":
            return base + timedelta(weeks=count)
        case "fortnight":
            return base + timedelta(weeks=2 * count)
        case "year":
            return _months_on(base, 12 * count)
        case _:
            return _months_on(base, count)


def _months_on(day: date, months: int) -> date:
    """The same day some months on, or the month's last where it is shorter."""
    place = day.year * 12 + day.month - 1 + months
    year, month = divmod(place, 12)
    last = calendar.monthrange(year, month + 1)[1]
    return date(year, month + 1, min(day.day, last))


def _edge_of(month: date, last: bool) -> date:
    return month.replace(day=calendar.monthrange(month.year, month.month)[1] if last else 1)


# --- times of day -------------------------------------------------------------------------------

_CLOCK = re.compile(
    r"\b(?P<h>[01]?\d|2[0-3])(?:[:.](?P<min>[0-5]\d))?\s*(?P<half>[ap])\.?\s?m\b\.?|"
    r"\b(?P<h24>[01]?\d|2[0-3]):(?P<min24>[0-5]\d)(?::[0-5]\d)?\b(?!\s*[ap]\.?m)",
    re.I,
)
_WORDY = re.compile(
    rf"\b(?P<part>half past|quarter past|quarter to)\s+(?P<h>{_NUMBER})\b|\b(?P<noon>noon|midday)\b|"
    rf"\b(?P<midnight>midnight)\b|\b(?P<oclock>{_NUMBER})\s*o['’]?clock\b",
    re.I,
)
_LATE = re.compile(r"\b(?:evening|afternoon|tonight|night)\b", re.I)
_IN_HOURS = re.compile(rf"\bin\s+(?P<n>an?|half an|{_NUMBER})\s+(?P<unit>hour|minute)s?\b", re.I)


def times(text: str) -> list[Span]:
    """Every time of day the text names, as ``HH:MM:SS``; "half past seven" is in the evening only if it says so."""
    late = 12 if _LATE.search(text) else 0
    found: list[Span] = []
    for m in _CLOCK.finditer(text):
        if m["h24"] is not None:
            hour, minute = int(m["h24"]), int(m["min24"])
        else:
            hour, minute = int(m["h"]), int(m["min"] or 0)
            if not 1 <= hour <= 12:
                continue
            hour = hour % 12 + (12 if m["half"].casefold() == "p" else 0)
        found.append(Span(time(hour, minute).isoformat(), m.start(), m.end()))
    for m in _WORDY.finditer(text):
        if m["noon"] or m["midnight"]:
            hour, minute = (12, 0) if m["noon"] else (0, 0)
        else:
            hour = small_number(m["h"] or m["oclock"]) or 0
            part = (m["part"] or "").casefold()
            minute = {"half past": 30, "quarter past": 15, "quarter to": 45}.get(part, 0)
            hour = (hour - 1 if part == "quarter to" else hour) + (late if hour < 12 else 0)
            if not 0 <= hour <= 23:
                continue
        found.append(Span(time(hour, minute).isoformat(), m.start(), m.end()))
    return sorted(found, key=lambda one: one.start)


def moments(text: str, when: When, *, past: bool = False) -> list[Span]:
    """Every day with its time of day; a day without one, or a time without a day, says what is lacking."""
    found = [_in_hours(m, when) for m in _IN_HOURS.finditer(text)]
    hours = times(text)
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


def _in_hours(m: re.Match[str], when: When) -> Span:
    unit: Literal["hours", "minutes"] = "hours" if m["unit"].casefold() == "hour" else "minutes"
    count = 0.5 if m["n"].casefold() == "half an" else small_number(m["n"]) or 1
    moment = when.now.replace(microsecond=0) + timedelta(**{unit: count})
    return Span(moment.isoformat(), m.start(), m.end())


__all__ = ["When", "days", "moments", "times"]
