"""Templates and conditions that a domain's files hold: sandboxed, strict about names, and typed in their results."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import date, datetime, time
from decimal import Decimal, InvalidOperation
from typing import Any, cast
from zoneinfo import ZoneInfo

from babel import Locale, UnknownLocaleError
from babel.dates import format_date, format_datetime
from babel.numbers import format_currency, format_decimal
from jinja2 import StrictUndefined, TemplateError, Undefined
from jinja2.sandbox import ImmutableSandboxedEnvironment
from pydantic import BaseModel, ConfigDict

#: A template that is one expression and nothing else keeps that expression's type.
_ALONE = re.compile(r"^\s*\{\{((?:(?!\{\{|\}\}).)*)\}\}\s*$", re.DOTALL)
_DAY = re.compile(r"^\d{4}-\d{2}-\d{2}$")
_MOMENT = re.compile(r"^\d{4}-\d{2}-\d{2}[T ]\d{2}:\d{2}")


class ExpressionFailed(ValueError):
    """A template or condition could not be worked out with what is known."""


class Manner(BaseModel):
    """How a domain writes dates and money, and which time it lives in."""

    model_config = ConfigDict(frozen=True)

    languages: tuple[str, ...] = ("en",)
    timezone: str = "UTC"
    currency: str = "EUR"


@dataclass(frozen=True)
class Expressions:
    """A domain's language for templates and conditions."""

    manner: Manner = field(default_factory=Manner)
    _environments: dict[str, ImmutableSandboxedEnvironment] = field(
        default_factory=dict[str, ImmutableSandboxedEnvironment], compare=False, repr=False
    )

    def check(self, source: str, *, template: bool) -> str | None:
        """Why a template or an expression cannot be used; None when it can."""
        try:
            self._compiled(source, template, self.manner.languages[0])
        except TemplateError as error:
            return f"{source!r} cannot be read: {error}"
        return None

    def names(self, source: str, *, template: bool) -> frozenset[str]:
        """The names that a source asks for."""
        from jinja2 import meta

        environment = self._environment(self.manner.languages[0])
        text = source if template else "{{ (" + source + ") }}"
        return frozenset(meta.find_undeclared_variables(environment.parse(text)))

    def text(self, source: str, names: Mapping[str, Any], language: str = "") -> str:
        """A template as text. Raises ExpressionFailed."""
        try:
            made = self._compiled(source, True, language).render(_read(dict(names)))
        except _FAILURES as error:
            raise ExpressionFailed(f"{source!r}: {error}") from error
        return " ".join(made.split()) if "\n" not in source else made.strip()

    def value(self, source: str, names: Mapping[str, Any], language: str = "") -> Any:
        """An expression's value; a source with ``{{`` in it is a template, and its value a text."""
        if (alone := _ALONE.match(source)) is not None:
            source = alone[1]
        elif "{{" in source or "{%" in source:
            return self.text(source, names, language)
        try:
            found = self._compiled(source, False, language)(**_read(dict(names)))
        except _FAILURES as error:
            raise ExpressionFailed(f"{source!r}: {error}") from error
        return None if isinstance(found, Undefined) else plain(found)

    def holds(self, source: str, names: Mapping[str, Any]) -> bool | None:
        """Whether a condition holds; None when it asks about something that is not known here."""
        try:
            found = self._compiled(source, False, "")(**_read(dict(names)))
            return None if isinstance(found, Undefined) else bool(found)
        except _FAILURES:
            return None

    def _compiled(self, source: str, template: bool, language: str) -> Any:
        environment = self._environment(language or self.manner.languages[0])
        if template:
            return environment.from_string(source)
        return environment.compile_expression(source, undefined_to_none=False)

    def _environment(self, language: str) -> ImmutableSandboxedEnvironment:
        if language not in self._environments:
            made: Any = ImmutableSandboxedEnvironment(
                undefined=StrictUndefined, autoescape=False, finalize=_nothing_as_nothing
            )
            made.filters.update(filters(self.manner, language))
            made.globals.clear()  # No range to run away with.
            made.globals["days"] = _days_between
            self._environments[language] = made
        return self._environments[language]


_FAILURES = (TemplateError, TypeError, ValueError, ArithmeticError, KeyError, AttributeError)


def _nothing_as_nothing(value: Any) -> Any:
    return "" if value is None else value


def _read(value: Any) -> Any:
    """JSON as expressions see it: texts that are days or moments are those."""
    if isinstance(value, str):
        if _DAY.match(value):
            try:
                return date.fromisoformat(value)
            except ValueError:
                return value
        if _MOMENT.match(value):
            try:
                return datetime.fromisoformat(value)
            except ValueError:
                return value
        return value
    if isinstance(value, dict):
        return {k: _read(v) for k, v in cast("dict[str, Any]", value).items()}
    if isinstance(value, list | tuple):
        return [_read(v) for v in cast("list[Any]", value)]
    return value


def plain(value: Any) -> Any:
    """What an expression came to, as JSON."""
    if isinstance(value, date | time):
        return value.isoformat()
    if isinstance(value, Decimal):
        return str(value)
    if isinstance(value, dict):
        return {str(k): plain(v) for k, v in cast("dict[Any, Any]", value).items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [plain(v) for v in cast("list[Any]", value)]
    return value


def filters(manner: Manner, language: str) -> dict[str, Callable[..., Any]]:
    """How a language writes days, moments, numbers and money, by CLDR."""
    try:
        locale = Locale.parse(language.replace("-", "_"))
    except (UnknownLocaleError, ValueError):
        locale = Locale.parse("en")
    zone = ZoneInfo(manner.timezone)

    def local(value: Any) -> Any:
        value = _read(value)
        if isinstance(value, datetime):
            return value.astimezone(zone) if value.tzinfo is not None else value
        if isinstance(value, date):
            return value
        raise TypeError(f"{value!r} is no day")

    def day(value: Any) -> str:
        shown = local(value)
        return format_date(
            shown.date() if isinstance(shown, datetime) else shown, "d MMM y", locale=locale
        )

    def moment(value: Any) -> str:
        return format_datetime(local(value), "d MMM y, HH:mm", locale=locale)

    def as_date(value: Any) -> date:
        shown = local(value)
        return shown.date() if isinstance(shown, datetime) else shown

    def money(value: Any, currency: str | None = None) -> str:
        return format_currency(_decimal(value), currency or manner.currency, locale=locale)

    def number(value: Any) -> str:
        return format_decimal(_decimal(value), locale=locale)

    return {"day": day, "moment": moment, "date": as_date, "money": money, "number": number}


def _decimal(value: Any) -> Decimal:
    try:
        return Decimal(str(value))
    except InvalidOperation:
        raise TypeError(f"{value!r} is no number") from None


def _days_between(later: Any, earlier: Any) -> int:
    """Whole days from one day to another."""

    def day(value: Any) -> date:
        value = _read(value)
        if isinstance(value, datetime):
            return value.date()
        if isinstance(value, date):
            return value
        raise TypeError(f"{value!r} is no day")

    return (day(later) - day(earlier)).days
