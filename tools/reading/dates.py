"""Days and stretches of days as people say them, seen from a given day, in seven languages.

dateparser's dictionaries say which words are of a calendar; its search was measured and left out: on 75 phrases it
found 43 ("am 12.11. bestellt" as 29 November, "the day before yesterday" as yesterday, "die" as a Tuesday, "2 of
the 6" as 6 February), and it knows no stretches of days. A bare number is never a date here: each form below has
a month, a weekday, a unit of time, or a day's punctuation."""

from __future__ import annotations

import calendar
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import date, timedelta
from functools import lru_cache, partial
from typing import Literal

from dateutil.relativedelta import relativedelta

from tools.reading.calendars import LANGUAGES, Unit, Words, words_of
from tools.reading.numbers import number_word
from tools.reading.spans import Span, behind, folded, longest

Toward = Literal["past", "future"]


@dataclass(frozen=True)
class Period:
    """An inclusive stretch of days; ``day`` is the one that is meant where it is a single day or an edge."""

    first: date
    last: date
    day: date | None = None
    grain: Unit = "day"

    def around(self) -> Period:
        """The days that words of this grain may mean in practice: nobody counts "two weeks ago" to the day."""
        slack = {"day": 0, "weekend": 0, "week": 3, "month": 15, "year": 180}[self.grain]
        if self.day is None or not slack:
            return self
        return Period(self.first - timedelta(slack), self.last + timedelta(slack), None, self.grain)


DateSpan = Span[Period]


def day(one: date, grain: Unit = "day") -> Period:
    return Period(one, one, one, grain)


@dataclass(frozen=True)
class Seen:
    """From where a date is read: today, which side is meant without a year, how 03/04 is written."""

    today: date
    toward: Toward = "past"
    day_first: bool | None = True


def dates(
    text: str,
    today: date,
    languages: Sequence[str] = ("en", "de"),
    *,
    toward: Toward = "past",
    day_first: bool | None = True,
    merge: bool = True,
) -> list[DateSpan]:
    """Every day or stretch of days the text names.

    ``merge`` makes one stretch of "from the 3rd to the 7th"; a day that does not exist, or could be read in two
    ways, has no value and says why."""
    seen = Seen(today, toward, day_first)
    plain = folded(text)
    found: list[DateSpan] = list(_numeric(text, seen))
    known = [one for one in languages if one in LANGUAGES]
    for language in known:
        found += _Reader.of(language).read(text, plain, seen)
    kept = _dated_weekdays(longest(found), plain, [_Reader.of(one) for one in known])
    if merge:
        for language in known:
            kept = _merged(kept, text, plain, _Reader.of(language), seen)
    return kept


#: Between a weekday and its date: "Thursday, the 10th of December", "Donnerstag, den 10.12.".
_ITS_DATE = re.compile(r"[\s,.]*(?:(?:the|der|den|dem|le|el|il|de)\s+)?")


def _dated_weekdays(
    spans: list[DateSpan], plain: str, readers: Sequence[_Reader]
) -> list[DateSpan]:
    """The days without the weekdays that only stand before their date: "Thursday 10 December" is one day."""

    def named(one: DateSpan) -> bool:
        return any(r.weekday.fullmatch(plain[one.start : one.end]) for r in readers)

    following = [*spans[1:], None]
    return [
        one
        for one, after in zip(spans, following, strict=False)
        if after is None
        or not named(one)
        or named(after)
        or after.value is None
        or after.value.day is None
        or not _ITS_DATE.fullmatch(plain, one.end, after.start)
    ]


# --- figures only -------------------------------------------------------------------------------

_ISO = re.compile(r"(?<![\w-])(?P<y>\d{4})-(?P<m>\d{1,2})-(?P<d>\d{1,2})(?![\w-])")
_FIGURES = re.compile(
    r"(?<![\w/.,-])(?P<a>\d{1,2})(?P<sep>[/.-])\s?(?P<b>\d{1,2})(?:(?P=sep)\s?(?P<y>\d{4}|\d{2}(?!\d)))?(?P<dot>\.)?(?![\w/]|[.,-]\d)"
)


def _numeric(text: str, seen: Seen) -> Iterator[DateSpan]:
    for m in _ISO.finditer(text):
        yield _span(
            text, m.start(), m.end(), lambda m=m: date(int(m["y"]), int(m["m"]), int(m["d"]))
        )
    for m in _FIGURES.finditer(text):
        yield from _figures(text, m, seen)


def _figures(text: str, m: re.Match[str], seen: Seen) -> Iterator[DateSpan]:
    dotted = m["sep"] == "."
    if m["y"] is None and (m["sep"] == "-" or (dotted and not m["dot"])):
        return  # 12.50 is a price, 2-3 a span of numbers
    a, b = int(m["a"]), int(m["b"])
    ways = {(b, a)} if dotted else {(b, a), (a, b)}  # (month, day)
    ways = {(month, d) for month, d in ways if 1 <= month <= 12 and 1 <= d <= 31}
    end = m.end() if m["dot"] and m["y"] is None else m.end() - len(m["dot"] or "")
    if len(ways) == 2 and seen.day_first is not None:
        ways = {(b, a)} if seen.day_first else {(a, b)}
    if len(ways) > 1:
        both = " or ".join(f"{d} {calendar.month_name[month]}" for month, d in sorted(ways))
        said = text[m.start() : end]
        yield Span(m.start(), end, said, "date", None, why=f"{said} may be {both}")
    for month, d in ways if len(ways) == 1 else ():
        yield _span(text, m.start(), end, lambda d=d, month=month: dated(d, month, m["y"], seen))


def _span(text: str, start: int, end: int, make: Callable[[], date]) -> DateSpan:
    said = text[start:end]
    try:
        return Span(start, end, said, "date", day(make()))
    except ValueError:
        return Span(start, end, said, "date", None, why=f"there is no {said.strip()}")


def dated(d: int, month: int, year: str | None, seen: Seen) -> date:
    """The day in the year that was said, else in the nearest year on the asked-for side."""
    if year is not None:
        full = int(year)
        if full < 100:
            # A birth in 89 was not in 2089; a delivery in 27 is not in 1927.
            full += 1900 if seen.toward == "past" and full > seen.today.year % 100 else 2000
        return date(full, month, d)
    found = date(seen.today.year, month, d)
    if seen.toward == "past" and found > seen.today:
        return date(seen.today.year - 1, month, d)
    if seen.toward == "future" and found < seen.today:
        return date(seen.today.year + 1, month, d)
    return found


# --- words --------------------------------------------------------------------------------------

#: Months that are common words as well: they need a preposition, a day or a year beside them.
_COMMON = frozenset({"may", "march", "mars", "mai", "mei", "avril", "mayo"})
_DAY = r"(?:0?[1-9]|[12]\d|3[01])"


#: "vor gut drei Jahren": between what opens a length and its count.
_ABOUT = (
    r"about|around|roughly|over|more than|almost|nearly|gut|etwa|ca\.?|circa|ungefahr|knapp|fast|uber|mehr als|rund|environ|plus de|presque|"
    r"unos|mas de|casi|cerca de|quasi|piu di|ongeveer|bijna|ruim|mais de|quase"
)


#: In front of a weekday in the same clause: a deadline, or what is going to be.
_TO_COME = re.compile(
    r"(?:(?<!\w)(?:by|until|till|before|bis|vor|avant|jusqu'a|antes del?|hasta|entro|prima di|tot|voor|ate|antes de|for|fur|pour|para|per)\s+"
    r"(?:the\s+|dem\s+|zum\s+|el\s+|o\s+)?|"
    r"(?<!\w)(?:will|'ll|ill|going to|should(?! have)|need|needs|leave|leaving|arrive|arrives|starts?|come|comes|wird|soll|brauche|brauchen|muss|fahre|"
    r"kommt|beginnt|startet|doit|arrive|debe|llega|deve|arriva|moet|komt|chega)(?!\w)"
    r"(?:(?!\b(?:was|had|came|did|war|hatte|kam|\w+ed)\b)[^.!?,;\n])*)$"
)


def _any(words: object) -> str:
    parts = sorted((str(w) for w in words), key=len, reverse=True)  # type: ignore[attr-defined]
    return "|".join(re.escape(p) for p in parts)


class _Reader:
    """The forms of one language, compiled once."""

    def __init__(self, language: str) -> None:
        self.words: Words = words_of(language)
        self.language = language
        w, x = self.words, self.words.extra
        self.all_months = {**w.month_shorts, **w.months}
        self.all_days = {**w.day_shorts, **w.days}
        month = rf"(?P<month>{_any(self.all_months)})(?![^\W_])\.?"
        whole = rf"(?P<month>{_any(w.months)})"
        nth = rf"(?P<d>{_DAY})(?:{x.ordinal})?"
        year = r"(?:,?\s+(?:d[eo]l?\s+)?(?P<y>(?:19|20)\d\d))?\b(?![.,]\d)"
        mod = rf"(?:(?P<last>{x.last})|(?P<this>{x.this})|(?P<next>{x.next}))"
        unit = rf"(?P<unit>{_any(w.units)}|{x.weekend})"
        weekday = rf"(?P<day>{_any(w.days)})s?"
        count = rf"(?:(?:{_ABOUT})\s+)?(?P<n>\d{{1,3}}|{x.two or '(?!)'}|{x.few or '(?!)'}|{x.one}|[^\W\d_]+(?:-[^\W\d_]+)?)"
        compiled: Callable[[str], re.Pattern[str]] = lambda p: re.compile(rf"(?<![\w]){p}")  # noqa: E731
        self.month = compiled(rf"(?P<prep>(?:{x.prep})\s+)?{whole}(?![^\W_])")
        self.day_month = compiled(rf"{nth}\s*(?:{x.of})?{month}{year}")
        self.month_day = (
            compiled(rf"{month}\s+(?:the\s+)?{nth}\b(?![:.]\d|\s*%){year}")
            if language == "en"
            else None
        )
        self.month_year = compiled(rf"{month},?\s+(?:d[eo]l?\s+)?(?P<y>(?:19|20)\d\d)\b")
        self.first_of_range = compiled(
            rf"{nth}\s*(?:{x.to})\s*(?:the\s+|zum\s+|dem\s+)?(?={_DAY}(?:{x.ordinal})?\s*(?:{x.of})?(?:{_any(self.all_months)})(?![^\W_]))"
        )
        self.nth = re.compile(x.nth) if x.nth else None
        self.relative = compiled(rf"(?P<said>{_any(w.relative)})(?![^\W_])")
        self.counted = self._counted(count)
        self.season = compiled(
            rf"(?:{x.prep}|{x.last}|{x.this}|{x.next})\s+(?:the\s+|le\s+|la\s+|el\s+|il\s+)?(?P<season>{'|'.join(x.seasons)})(?![^\W_])"
        )
        before = rf"{mod}\s+(?:(?P<unit>{_any(w.units)}|{x.weekend})|(?P<day>{_any(self.all_days)})|{whole})(?![^\W_])"
        self.modified = [compiled(before)]
        if x.mod_behind:
            behind = rf"(?:{unit}|{weekday}|{whole})\s+{mod}(?![^\W_])"
            self.modified.append(compiled(behind))
        self.weekday = compiled(
            rf"(?:{weekday}(?![^\W_])|(?:{x.prep})\s+(?P<short>{_any(w.day_shorts) or '(?!)'})(?![^\W_]))"
        )
        self.of_week = re.compile(
            rf"\s+(?:of\s+|der\s+|in\s+)?{mod}\s+(?:week|woche)\b|\s+(?:de\s+|della\s+|da\s+)?(?:la\s+)?(?:semaine|semana|settimana)\s+{mod.replace('?P<last>', '?P<last2>').replace('?P<this>', '?P<this2>').replace('?P<next>', '?P<next2>')}\b"
        )
        self.weekend = compiled(rf"(?:{x.prep})\s+(?:the\s+)?(?:{x.weekend})(?![^\W_])")
        self.offset = (
            re.compile(
                rf"(?<![\w]){count}\s+(?P<unit>{_any(w.units)})\s+(?:{x.offset})\s+(?:the\s+|dem\s+)?$"
            )
            if x.offset
            else None
        )
        self.edge = re.compile(
            rf"(?<![\w])(?:(?P<begin>{x.begin})|(?P<middle>{x.middle})|(?P<end>{x.end}))\s*(?:the\s+|des\s+|der\s+|la\s+|el\s+)?$"
        )
        self.bare_edge = compiled(
            rf"(?P<edge>{x.begin}|{x.middle}|{x.end})\s+(?:the\s+|this\s+|des\s+|der\s+|dieses\s+|du\s+|del\s+|della\s+|van de\s+|do\s+|de\s+)?(?P<unit>{_any(w.units)})s?(?![^\W_])"
        )
        self.since = (
            re.compile(rf"(?<![\w])(?:{x.since})\s+(?:the\s+|le\s+|el\s+|il\s+|o\s+|a\s+|la\s+)?$")
            if x.since
            else None
        )
        self.to = re.compile(rf"(?:{x.ordinal})?\s*(?:{x.to})\s*(?:the\s+|dem\s+|zum\s+)?")
        self.between = re.compile(
            rf"(?<![\w])(?:{x.between})\s+(?:the\s+|dem\s+|le\s+|el\s+|il\s+)?$"
        )

    @staticmethod
    @lru_cache
    def of(language: str) -> _Reader:
        return _Reader(language)

    def _counted(self, count: str) -> list[tuple[re.Pattern[str], int, Unit]]:
        """One pattern for each direction and unit, of all the ways to say it."""
        groups: dict[tuple[int, Unit], list[str]] = {}
        for pattern, sign, unit in self.words.counted:
            groups.setdefault((sign, unit), []).append(pattern)
        made: list[tuple[re.Pattern[str], int, Unit]] = []
        for (sign, unit), patterns in groups.items():
            # What stands behind the count may vary in one pattern; each beginning is a pattern of its own.
            heads: dict[str, list[str]] = {}
            for pattern in sorted(patterns, key=len, reverse=True):
                head, _, tail = pattern.partition("{n}")
                heads.setdefault(head, []).append(tail)
            for head, tails in heads.items():
                body = rf"(?<![\w]){head}{count}(?:{'|'.join(tails)})(?![^\W_])"
                made.append((re.compile(body), sign, unit))
        return made

    # --- reading --------------------------------------------------------------------------------

    def read(self, text: str, plain: str, seen: Seen) -> list[DateSpan]:
        found: list[DateSpan] = []
        for forms in (
            self._named, self._seasons, self._alone, self._nths, self._relatives, self._counts, self._modifieds, self._weekdays,
        ):  # fmt: skip
            found += forms(text, plain, seen)
        return [
            self._with_edge(self._moved_on(one, text, plain), text, plain)
            for one in found
            if not self._is_time_of_day(one, plain)
        ]

    def _named(self, text: str, plain: str, seen: Seen) -> Iterator[DateSpan]:
        for pattern in filter(None, (self.day_month, self.month_day)):
            for m in pattern.finditer(plain):
                yield self._of_month(text, m, m.end(), seen)
        for m in self.first_of_range.finditer(plain):
            last = self.day_month.match(plain, m.end())
            if last is not None:
                month = self.all_months[last["month"]]
                end = m.end("d")
                yield _span(
                    text,
                    m.start(),
                    end,
                    lambda m=m, month=month, y=last["y"]: dated(int(m["d"]), month, y, seen),
                )

    def _of_month(self, text: str, m: re.Match[str], end: int, seen: Seen) -> DateSpan:
        month = self.all_months[m["month"]]
        return _span(text, m.start(), end, lambda: dated(int(m["d"]), month, m["y"], seen))

    def _alone(self, text: str, plain: str, seen: Seen) -> Iterator[DateSpan]:
        """A month without its day: all of it."""
        for m in self.month_year.finditer(plain):
            first = date(int(m["y"]), self.all_months[m["month"]], 1)
            yield _stretch(text, m.start(), m.end(), first, "month")
        for m in self.month.finditer(plain):
            if m["month"] in _COMMON and not m["prep"]:
                continue
            start = m.start("month")
            first = _month_near(self.words.months[m["month"]], seen)
            yield _stretch(text, start, m.end(), first, "month")

    def _seasons(self, text: str, plain: str, seen: Seen) -> Iterator[DateSpan]:
        """ "last spring": three months; the winter is the one that began in December."""
        for m in self.season.finditer(plain):
            place = next(
                i
                for i, words in enumerate(self.words.extra.seasons)
                if re.fullmatch(words, m["season"])
            )
            first = date(seen.today.year, (3, 6, 9, 12)[place], 1)
            if seen.toward == "past" and first > seen.today:
                first = first.replace(year=first.year - 1)
            elif seen.toward == "future" and first + relativedelta(months=3) <= seen.today:
                first = first.replace(year=first.year + 1)
            last = first + relativedelta(months=3, days=-1)
            start = m.start("season")
            value = Period(first, last, None, "month")
            yield Span(start, m.end(), text[start : m.end()], "date", value)

    def _nths(self, text: str, plain: str, seen: Seen) -> Iterator[DateSpan]:
        for m in self.nth.finditer(plain) if self.nth else ():
            number = int(m[1])
            step = 0
            if seen.toward == "past" and number > seen.today.day:
                step = -1
            elif seen.toward == "future" and number < seen.today.day:
                step = 1
            month = seen.today.replace(day=1) + relativedelta(months=step)
            if 1 <= number <= 31:
                end = m.end() - m[0].endswith(".")
                one = _span(text, m.start(1), end, partial(_on, month, number))
                # "The 3rd" may be the third of a list; "on the 3rd" is a day.
                yield replace(
                    one, certain=m[0][: m.start(1) - m.start()].strip() not in ("", "the")
                )

    def _relatives(self, text: str, plain: str, seen: Seen) -> Iterator[DateSpan]:
        for m in self.relative.finditer(plain):
            steps, unit = self.words.relative[m["said"]]
            first = _moved(seen.today, steps, unit)
            yield _stretch(text, m.start(), m.end(), _begin(first, unit), unit)

    def _counts(self, text: str, plain: str, seen: Seen) -> Iterator[DateSpan]:
        x = self.words.extra
        for pattern, sign, unit in self.counted:
            for m in pattern.finditer(plain):
                said = text[m.start() : m.end()]
                if x.few and re.fullmatch(x.few, m["n"]):
                    near, far = (_moved(seen.today, sign * n, unit) for n in (2, 6))
                    value = Period(min(near, far), max(near, far), None, unit)
                    yield Span(m.start(), m.end(), said, "date", value)
                    continue
                steps = self._count(text, m)
                if steps is not None:
                    moved = day(_moved(seen.today, sign * steps, unit), unit)
                    yield Span(m.start(), m.end(), said, "date", moved)

    def _modifieds(self, text: str, plain: str, seen: Seen) -> Iterator[DateSpan]:
        for pattern in self.modified:
            for m in pattern.finditer(plain):
                step = -1 if m["last"] else 1 if m["next"] else 0
                if m["unit"]:
                    unit = self.words.units.get(m["unit"], "weekend")
                    yield _stretch(text, m.start(), m.end(), _unit_at(seen.today, step, unit), unit)
                elif m["day"]:
                    found = weekday(self.all_days[m["day"].rstrip(".")], step, seen)
                    yield Span(m.start(), m.end(), text[m.start() : m.end()], "date", day(found))
                else:
                    first = _month_at(self.words.months[m["month"]], step, seen)
                    yield _stretch(text, m.start(), m.end(), first, "month")

    def _ahead(self, plain: str, start: int, seen: Seen) -> Seen:
        """ "by Friday", "it should come on Friday": such a day is to come, wherever others lie."""
        if seen.toward == "past" and behind(_TO_COME, plain, start) is not None:
            return replace(seen, toward="future")
        return seen

    def _weekdays(self, text: str, plain: str, seen: Seen) -> Iterator[DateSpan]:
        for m in self.weekday.finditer(plain):
            group = "day" if m["day"] else "short"
            number, end = self.all_days[m[group]], m.end()
            if (
                group == "short"
                and _lower(text[m.start("short")])
                and m["short"] in ("sun", "sat", "mon", "wed", "mar", "dom")
            ):
                continue
            if week := self.of_week.match(plain, end):
                step = _step(week)
                monday = _unit_at(seen.today, step, "week")
                found, end = monday + timedelta(number), week.end()
            else:
                side = self._ahead(plain, m.start(group), seen)
                found = weekday(number, -1 if side.toward == "past" else 1, side, nearest=True)
            yield Span(m.start(group), end, text[m.start(group) : end], "date", day(found))
        for m in self.weekend.finditer(plain):
            step = -1 if seen.toward == "past" else 0
            yield _stretch(
                text, m.start(), m.end(), _unit_at(seen.today, step, "weekend"), "weekend"
            )
        for m in self.bare_edge.finditer(plain):
            unit = self.words.units[m["unit"]]
            if unit in ("month", "year"):
                whole = _unit_at(seen.today, 0, unit)
                if seen.toward == "future" and re.fullmatch(self.words.extra.begin, m["edge"]):
                    whole = _unit_at(seen.today, 1, unit)
                one = _stretch(text, m.start(), m.end(), whole, unit)
                yield self._edged(one, m["edge"])

    def _moved_on(self, one: DateSpan, text: str, plain: str) -> DateSpan:
        """ "a week from Monday": the day that lies so far behind the one that is named."""
        m = behind(self.offset, plain, one.start) if self.offset else None
        if m is None or one.value is None or one.value.day is None:
            return one
        steps = self._count(text, m)
        if steps is None:
            return one
        moved = day(_moved(one.value.day, steps, self.words.units[m["unit"]]))
        return Span(m.start(), one.end, text[m.start() : one.end], "date", moved)

    def _count(self, text: str, m: re.Match[str]) -> int | None:
        """How many units are said, in figures or as a word."""
        x = self.words.extra
        if x.two and re.fullmatch(x.two, m["n"]):
            return 2
        if re.fullmatch(x.one, m["n"]):
            return 1
        return number_word(text[m.start("n") : m.end("n")], (self.language,))

    def _with_edge(self, one: DateSpan, text: str, plain: str) -> DateSpan:
        """ "end of November", "seit Montag": the part of the stretch, or all since then."""
        if one.value is None:
            return one
        whole = one.value.grain in ("month", "year") and one.value.day is None
        if whole and (edge := behind(self.edge, plain, one.start)):
            moved = Span(edge.start(), one.end, text[edge.start() : one.end], "date", one.value)
            return self._edged(moved, edge[0].strip())
        return one

    def _edged(self, one: DateSpan, said: str) -> DateSpan:
        assert one.value is not None
        first, last, grain = one.value.first, one.value.last, one.value.grain
        third = (last - first).days // 3
        x = self.words.extra
        words = re.sub(r"\s+(?:the|des|der|la|el)$", "", said)
        if re.fullmatch(x.end, words):
            value = Period(last - timedelta(third), last, last, grain)
        elif re.fullmatch(x.begin, words):
            value = Period(first, first + timedelta(third), first, grain)
        else:
            value = Period(first + timedelta(third), last - timedelta(third), None, grain)
        return Span(one.start, one.end, one.text, "date", value)

    def _is_time_of_day(self, one: DateSpan, plain: str) -> bool:
        """ "Guten Morgen" and "por la mañana" are no tomorrow."""
        guard = self.words.extra.not_tomorrow
        said = plain[one.start : one.end]
        return (
            bool(guard)
            and said in ("morgen", "manana")
            and behind(re.compile(rf"(?<![\w])(?:{guard})\s+$"), plain, one.start) is not None
        )


def _on(month: date, number: int) -> date:
    return month.replace(day=number)


def _step(m: re.Match[str]) -> int:
    groups = m.groupdict()
    if groups.get("last") or groups.get("last2"):
        return -1
    return 1 if groups.get("next") or groups.get("next2") else 0


def _lower(char: str) -> bool:
    return char == char.lower()


def _stretch(text: str, start: int, end: int, first: date, unit: Unit) -> DateSpan:
    said = text[start:end]
    if unit == "day":
        return Span(start, end, said, "date", day(first))
    last = {
        "week": first + timedelta(6),
        "weekend": first + timedelta(1),
        "month": first + relativedelta(months=1, days=-1),
        "year": first + relativedelta(years=1, days=-1),
    }[unit]
    return Span(start, end, said, "date", Period(first, last, None, unit))


def _moved(base: date, steps: int, unit: Unit) -> date:
    match unit:
        case "day":
            return base + timedelta(steps)
        case "week" | "weekend":
            return base + timedelta(weeks=steps)
        case "month":
            return base + relativedelta(months=steps)
        case "year":
            return base + relativedelta(years=steps)


def _begin(one: date, unit: Unit) -> date:
    match unit:
        case "day":
            return one
        case "week":
            return one - timedelta(one.weekday())
        case "weekend":
            return one - timedelta(one.weekday()) + timedelta(5)
        case "month":
            return one.replace(day=1)
        case "year":
            return one.replace(month=1, day=1)


def _unit_at(today: date, step: int, unit: Unit) -> date:
    """The first day of this, the last or the next unit; last weekend is the one that is over."""
    return _begin(_moved(today, step, unit), unit)


def _month_near(month: int, seen: Seen) -> date:
    """The month nearest on the asked-for side; the running one is near on both."""
    first = date(seen.today.year, month, 1)
    this = seen.today.replace(day=1)
    if seen.toward == "past" and first > this:
        return first.replace(year=first.year - 1)
    if seen.toward == "future" and first < this:
        return first.replace(year=first.year + 1)
    return first


def _month_at(month: int, step: int, seen: Seen) -> date:
    """ "Last July" is over, "next July" is to come."""
    first, this = date(seen.today.year, month, 1), seen.today.replace(day=1)
    if step < 0 and first >= this:
        return first.replace(year=first.year - 1)
    if step > 0 and first <= this:
        return first.replace(year=first.year + 1)
    return first


def weekday(number: int, step: int, seen: Seen, *, nearest: bool = False) -> date:
    """ "Friday": the nearest on the asked-for side, never today; "next Friday": next week's; "last": the one before."""
    today = seen.today
    if step > 0 and not nearest:
        return today + timedelta(7 - today.weekday() + number)
    if step < 0:
        return today - timedelta((today.weekday() - number - 1) % 7 + 1)
    return today + timedelta((number - today.weekday() - 1) % 7 + 1)


# --- stretches between two days -----------------------------------------------------------------


def _merged(
    spans: Sequence[DateSpan], text: str, plain: str, reader: _Reader, seen: Seen
) -> list[DateSpan]:
    """ "from the 3rd to the 7th" as one stretch; "since Monday" up to today."""
    made: list[DateSpan] = []
    for one in spans:
        before = made[-1] if made else None
        if before and before.value and one.value and before.value.first <= one.value.last:
            joint = reader.to.fullmatch(plain[before.end : one.start])
            opened = behind(reader.between, plain, before.start)
            listed = plain[before.end : one.start].strip() in ("and", "und", "et", "y", "e", "en")
            if joint and (opened or not listed):
                start = opened.start() if opened else before.start
                value = Period(before.value.first, one.value.last)
                made[-1] = Span(start, one.end, text[start : one.end], "date", value)
                continue
        made.append(_since(one, text, plain, reader, seen))
    return made


def _since(one: DateSpan, text: str, plain: str, reader: _Reader, seen: Seen) -> DateSpan:
    if one.value is None or reader.since is None or one.value.first > seen.today:
        return one
    if (m := behind(reader.since, plain, one.start)) is None:
        return one
    value = Period(one.value.first, max(seen.today, one.value.last))
    return Span(m.start(), one.end, text[m.start() : one.end], "date", value)


__all__ = ["DateSpan", "Period", "Toward", "dates", "day"]
