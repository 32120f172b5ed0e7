"""What the shop says without a model: Jinja2 templates in Markdown, one file an operation.

A file holds named replies under ``# name`` headings. ``render("cancel_order.done", result=...)`` takes one from
the operation's file, ``render("greeting", ...)`` one from ``common.md``.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Mapping
from datetime import date
from decimal import Decimal
from functools import cache
from pathlib import Path
from typing import Any

from jinja2 import Environment, StrictUndefined, Template, UndefinedError, pass_context
from jinja2.runtime import Context

__all__ = ["MissingValue", "ReplyError", "ReplyNotFound", "names", "render", "version"]

_SHOP = Path(__file__).resolve().parents[2] / "domains" / "northfell" / "replies" / "en"
_HEADING = re.compile(r"^# (\w+)\s*$", re.MULTILINE)


class ReplyError(Exception):
    """A reply could not be rendered."""


class ReplyNotFound(ReplyError):
    """There is no reply of that name."""


class MissingValue(ReplyError):
    """A value the reply speaks of was not given."""


def render(name: str, /, *, today: date | None = None, **values: Any) -> str:
    """The reply as plain customer text with light Markdown; with ``today``, this year's dates go without year."""
    template = _templates().get(name)
    if template is None:
        raise ReplyNotFound(f"There is no reply {name!r}.")
    try:
        text = template.render(values, today=today)
    except UndefinedError as error:
        raise MissingValue(f"Reply {name!r}: {error}") from error
    return re.sub(r"\n{3,}", "\n\n", text).strip()


def names() -> frozenset[str]:
    """Every reply there is: ``greeting``, ``cancel_order.done``, ..."""
    return frozenset(_templates())


@cache
def version() -> str:
    """Changes whenever the wording of any reply does."""
    digest = hashlib.sha256()
    for stem, content in sorted(_files().items()):
        digest.update(f"{stem}\0{content}\0".encode())
    return digest.hexdigest()[:12]


@cache
def _templates() -> Mapping[str, Template]:
    environment = Environment(
        undefined=StrictUndefined, autoescape=False, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters |= {"day": _day, "money": _money, "bullets": _bullets, "choices": _choices}  # pyright: ignore[reportAttributeAccessIssue, reportUnknownMemberType]
    found: dict[str, Template] = {}
    for stem, content in _files().items():
        _, *parts = _HEADING.split(content)
        for heading, text in zip(parts[::2], parts[1::2], strict=True):
            name = heading if stem == "common" else f"{stem}.{heading}"
            found[name] = environment.from_string(text.strip())
    return found


@cache
def _files() -> Mapping[str, str]:
    folder = _SHOP
    markdown = [file for file in folder.iterdir() if file.name.endswith(".md")]
    return {file.name.removesuffix(".md"): file.read_text("utf-8") for file in markdown}


@pass_context
def _day(context: Context, value: str | date) -> str:
    when = date.fromisoformat(value) if isinstance(value, str) else value
    today = context.get("today")
    shown = f"{when.day} {when:%b}"
    return shown if isinstance(today, date) and today.year == when.year else f"{shown} {when.year}"


def _money(value: str | Decimal, currency: str = "EUR") -> str:
    return f"{Decimal(value):,.2f} {currency}"


def _bullets(lines: Iterable[str]) -> str:
    return "\n".join(f"- {line}" for line in lines)


def _choices(lines: Iterable[str]) -> str:
    return "\n".join(f"{place}. {line}" for place, line in enumerate(lines, start=1))
