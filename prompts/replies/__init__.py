"""What the agent says without a model: Jinja2 templates in Markdown, a folder a language, one file an operation.

A file holds named replies under ``# name`` headings. ``render("cancel_order.done", result=...)`` takes one from
the operation's file, ``render("greeting", ...)`` one from ``common.md``. This package holds the engine's own
sentences; a business's folder adds its own and may replace any. A reply to an operation that has no file is
made from ``operation.md``.

Everything that is said during a turn is said in one voice, the customer's language and the business's name
and hours: as with gettext, the voice is set once around the work (``speaking``), and ``render`` uses it.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Generator, Iterable, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from functools import cache, partial
from pathlib import Path
from typing import Any, cast

from babel import Locale
from babel.dates import format_date, format_skeleton
from babel.numbers import format_currency, format_decimal
from jinja2 import Environment, StrictUndefined, Template, UndefinedError, pass_context
from jinja2.runtime import Context

__all__ = [
    "MissingValue", "Replies", "ReplyError", "ReplyNotFound", "Voice", "language_now", "names", "render", "speaking", "spoken_now",
]  # fmt: skip

#: The engine's own sentences.
DEFAULTS = Path(__file__).parent
#: The language that everything is written in, whatever a business adds.
FIRST = "en"
#: What the sentences name where they are no business's.
NOBODY: Mapping[str, Any] = {
    "name": "our support",
    "currency": "EUR",
    "contact": {"hours": "", "mail": "", "phone": ""},
}
#: Which form of a language is written, where its plain one would be another country's.
_LOCALES = {"en": "en_GB"}
_HEADING = re.compile(r"^# ([\w.]+)\s*$", re.MULTILINE)


class ReplyError(Exception):
    """A reply could not be rendered."""


class ReplyNotFound(ReplyError):
    """There is no reply of that name."""


class MissingValue(ReplyError):
    """A value the reply speaks of was not given."""


@dataclass(frozen=True)
class Voice:
    """One language's sentences, as one business says them."""

    language: str
    templates: Mapping[str, Template]
    business: Mapping[str, Any]

    @property
    def locale(self) -> Locale:
        return locale_of(self.language)

    def render(self, name: str, /, *, today: date | None = None, **values: Any) -> str:
        """The reply as plain customer text with light Markdown; with ``today``, this year's dates go without year."""
        template = self.templates.get(name)
        if template is None and "." in name:
            template = self.templates.get(f"operation.{name.rpartition('.')[2]}")
        if template is None:
            raise ReplyNotFound(f"There is no reply {name!r}.")
        try:
            text = template.render(values, today=today, business=self.business)
        except UndefinedError as error:
            raise MissingValue(f"Reply {name!r}: {error}") from error
        # A German date ends with a full stop of its own ("12. Dez."), which ends the sentence too.
        text = re.sub(r"(?<!\.)\.\.(?!\.)", ".", text)
        return re.sub(r"\n{3,}", "\n\n", text).strip()

    def says(self, name: str, otherwise: str) -> str:
        """The reply of this name, where there is one in this language; else what is given."""
        return self.render(name) if name in self.templates else otherwise


class Replies:
    """The sentences of one business in every language it speaks, over the engine's own."""

    def __init__(
        self,
        folder: Path | None = None,
        *,
        languages: Sequence[str] = (FIRST,),
        business: Mapping[str, Any] | None = None,
    ) -> None:
        self._business = business or NOBODY
        self._folders = [DEFAULTS, *([folder] if folder is not None else [])]
        self.languages = tuple(languages)
        self._voices = {one: self._voice(one) for one in languages}

    def voice(self, language: str) -> Voice:
        """The voice for a customer's language; one that is not spoken here is answered in the business's first."""
        return self._voices.get(language) or self._voices[self.languages[0]]

    def missing(self, language: str) -> list[str]:
        """Replies that the engine or the business has in its first language, and this one lacks."""
        every = {*self._files_of(FIRST), *self._files_of(self.languages[0])}
        return sorted(every - set(self._files_of(language)))

    @property
    def version(self) -> str:
        """Changes whenever the wording of any reply does."""
        digest = hashlib.sha256()
        for language in (FIRST, *self.languages):
            for name, text in sorted(self._files_of(language).items()):
                digest.update(f"{language}\0{name}\0{text}\0".encode())
        return digest.hexdigest()[:12]

    def _voice(self, language: str) -> Voice:
        # What a language lacks is said in the business's first one, and in the end in the engine's.
        texts: dict[str, str] = {}
        for one in dict.fromkeys((FIRST, self.languages[0], language)):
            texts |= self._files_of(one)
        environment = _environment(language)
        return Voice(
            language,
            {name: environment.from_string(text) for name, text in texts.items()},
            _spoken_in(language, self.languages, self._business),
        )

    def _files_of(self, language: str) -> dict[str, str]:
        found: dict[str, str] = {}
        for folder in self._folders:
            found |= _texts(folder / language)
        return found


def _spoken_in(language: str, languages: Sequence[str], told: Mapping[str, Any]) -> dict[str, Any]:
    """What is told of the business, with one language's text wherever it is given in several."""

    def spoken(value: Any) -> Any:
        if not isinstance(value, Mapping):
            return value
        given = cast("Mapping[str, Any]", value)
        if given and set(given) <= set(languages):
            return given.get(language) or next(iter(given.values()))
        return {name: spoken(one) for name, one in given.items()}

    return {name: spoken(one) for name, one in told.items()}


def locale_of(language: str) -> Locale:
    return Locale.parse(_LOCALES.get(language, language).replace("-", "_"))


@cache
def _texts(folder: Path) -> Mapping[str, str]:
    """The texts of one folder by the name of the reply."""
    found: dict[str, str] = {}
    for file in sorted(folder.glob("*.md")):
        _, *parts = _HEADING.split(file.read_text("utf-8"))
        for heading, text in zip(parts[::2], parts[1::2], strict=True):
            name = heading if file.stem == "common" else f"{file.stem}.{heading}"
            found[name] = text.strip()
    return found


# --- the voice of the moment --------------------------------------------------------------------


@cache
def _engine() -> Voice:
    return Replies().voice(FIRST)


_SPEAKING: ContextVar[Voice | None] = ContextVar("speaking", default=None)


@contextmanager
def speaking(voice: Voice) -> Generator[None]:
    """Say everything inside the block in this voice."""
    before = _SPEAKING.set(voice)
    try:
        yield
    finally:
        _SPEAKING.reset(before)


def language_now() -> str | None:
    """The language of the turn that is being played; None outside of one."""
    voice = _SPEAKING.get()
    return voice.language if voice is not None else None


def spoken_now() -> Voice:
    """The voice of the turn that is being played; outside of one, the engine's own."""
    return _SPEAKING.get() or _engine()


def render(name: str, /, *, today: date | None = None, **values: Any) -> str:
    """The reply in the voice of the moment."""
    return spoken_now().render(name, today=today, **values)


def names() -> frozenset[str]:
    """Every reply of the voice of the moment: ``greeting``, ``cancel_order.done``, ..."""
    return frozenset(spoken_now().templates)


# --- dates, sums and lists ----------------------------------------------------------------------


def day_in(language: str, when: date, today: date | None = None) -> str:
    """``3 Nov``, with the year where it is not this one."""
    this_year = today is not None and today.year == when.year
    return format_skeleton("MMMd" if this_year else "yMMMd", when, locale=locale_of(language))


def money_in(language: str, amount: Decimal, currency: str) -> str:
    """``1,299.00 EUR``: the sum as the language writes it, the currency by its code."""
    pattern = "#,##0.00 \u00a4\u00a4"
    return format_currency(amount, currency, pattern, locale=locale_of(language))


def _environment(language: str) -> Environment:
    environment = Environment(
        undefined=StrictUndefined, autoescape=False, trim_blocks=True, lstrip_blocks=True
    )
    filters: dict[str, Any] = {
        "day": pass_context(partial(_day, language)),
        "money": pass_context(partial(_money, language)),
        "number": partial(_number, language),
        "weekday": partial(_weekday, language),
        "clock": partial(_clock, language),
        "bullets": _bullets,
        "choices": _choices,
    }
    environment.filters.update(filters)
    return environment


def _day(language: str, context: Context, value: str | date) -> str:
    when = date.fromisoformat(value) if isinstance(value, str) else value
    today = context.get("today")
    return day_in(language, when, today if isinstance(today, date) else None)


def _money(
    language: str, context: Context, value: str | Decimal, currency: str | None = None
) -> str:
    business: Mapping[str, Any] = context.get("business") or {}
    return money_in(language, Decimal(value), currency or business.get("currency", "EUR"))


def _number(language: str, value: str | float | Decimal) -> str:
    return format_decimal(Decimal(str(value)), locale=locale_of(language))


def _weekday(language: str, when: datetime) -> str:
    locale = locale_of(language)
    day = format_skeleton("MMMMd", when, locale=locale)
    return f"{format_date(when, 'EEEE', locale=locale)}, {day}"


def _clock(language: str, when: datetime) -> str:
    """The time with its zone: the reader may be in another one."""
    return format_skeleton("Hmz", when, locale=locale_of(language))


def _bullets(lines: Iterable[str]) -> str:
    return "\n".join(f"- {line}" for line in lines)


def _choices(lines: Iterable[str]) -> str:
    return "\n".join(f"{place}. {line}" for place, line in enumerate(lines, start=1))
