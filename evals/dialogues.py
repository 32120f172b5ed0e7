"""Conversations in files (JSON Lines) and how a turn of one is graded: by what was done, then by what was said."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import date, timedelta
from pathlib import Path
from typing import Annotated, Any

from babel.dates import format_date, get_month_names
from pydantic import AfterValidator, Field, ValidationError

from evals.scenarios import Case

#: ``{d+3}`` in a pattern: the day three days after the demo data was made.
_DAY = re.compile(r"\{d([+-]\d+)\}")
_LANGUAGES = ("en", "de")  #: Whose names of months stand for a day.
#: Failures in which something forbidden was done or said, and not only something missed.
_WRONG = ("reply_not", "executed: unwanted", "proposed: unwanted", "handed off")


class ConversationsInvalid(Exception):
    """The file of conversations cannot be used."""


def expanded(pattern: str, today: date) -> str:
    """The pattern with every ``{d+3}`` replaced by that day in any usual form."""
    return _DAY.sub(lambda found: _day(today + timedelta(days=int(found[1]))), pattern)


def _day(day: date) -> str:
    names = {
        re.escape(name.rstrip("."))
        for language in _LANGUAGES
        for width in ("abbreviated", "wide")
        if (name := get_month_names(width, locale=language)[day.month])
    }
    # The longest first: an alternative that ends early would leave the rest of the name in the way.
    month = f"(?:{'|'.join(sorted(names, key=len, reverse=True))})\\.?"
    return (
        rf"(?:\b0?{day.day}(?:st|nd|rd|th|\.)?\s+{month}|{month}\s+0?{day.day}(?:st|nd|rd|th)?\b"
        rf"|{format_date(day, 'yyyy-MM-dd', locale='en')}|\b0?{day.day}\.\s?0?{day.month}\.)"
    )


def _usable(pattern: str) -> str:
    try:
        re.compile(expanded(pattern, date(2026, 1, 31)))
    except re.error as error:
        raise ValueError(f"{pattern!r} is no pattern: {error}") from error
    return pattern


Pattern = Annotated[str, AfterValidator(_usable)]


class Write(Case):
    """A write as it is wanted: only the arguments named are compared; one that begins with ``~`` is a pattern."""

    operation: str
    arguments: dict[str, Any] = {}


class Want(Case):
    """What must hold after a turn; only what is named is looked at."""

    reply_any: tuple[Pattern, ...] = ()
    reply_all: tuple[Pattern, ...] = ()
    reply_not: tuple[Pattern, ...] = ()
    executed: tuple[Write, ...] | None = None
    proposed: tuple[Write, ...] | None = None
    executed_allowed: tuple[Write, ...] | None = None
    proposed_allowed: tuple[Write, ...] | None = None
    executed_so_far: tuple[Write, ...] = ()
    proposed_so_far: tuple[Write, ...] = ()
    handed_off: bool | None = None
    understood: bool = False
    not_out_of_scope: bool = False
    kept_words: tuple[Pattern, ...] = ()


class Line(Case):
    """One message of the customer."""

    say: Annotated[str, Field(min_length=1)]
    want: Want = Want()
    aside: bool = False  #: A pleasantry: it does not count against a critical conversation.


class Conversation(Case):
    """What a customer says, one message after another, and what is right each time."""

    id: str
    customer: str
    tags: Annotated[tuple[str, ...], Field(min_length=1)]
    turns: Annotated[tuple[Line, ...], Field(min_length=1)]
    critical: bool = False
    good: str = ""  #: What a careful person would do; for the reader, not graded.
    lang: str = "en"

    @property
    def kind(self) -> str:
        return self.tags[0]


def load(path: Path) -> list[Conversation]:
    """Every conversation of a file; ConversationsInvalid names the file, the line and what is wrong."""
    try:
        lines = path.read_text("utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise ConversationsInvalid(f"{path} cannot be read: {error}") from error
    found: dict[str, Conversation] = {}
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            one = Conversation.model_validate_json(line)
        except ValidationError as error:
            raise ConversationsInvalid(f"{path}, line {number}: {_said(error)}") from error
        if one.id in found:
            raise ConversationsInvalid(f"{path}, line {number}: the id {one.id} is there twice")
        found[one.id] = one
    if not found:
        raise ConversationsInvalid(f"{path} holds no conversation")
    return list(found.values())


def _said(error: ValidationError) -> str:
    return "; ".join(
        f"{'.'.join(map(str, one['loc'])) or 'the line'}: {one['msg']}" for one in error.errors()
    )


def chosen(conversations: Iterable[Conversation], only: Sequence[str]) -> list[Conversation]:
    """Those that are called or tagged so; all where nothing is named."""
    wanted = set(only)
    return [one for one in conversations if not wanted or wanted & {one.id, *one.tags}]


# --- what happened --------------------------------------------------------------------------------


@dataclass(frozen=True)
class Did:
    """A write that was carried out or put before a reviewer."""

    operation: str
    arguments: Mapping[str, Any]
    record: str = ""

    def __str__(self) -> str:
        said = ", ".join(f"{name}={value}" for name, value in self.arguments.items())
        return f"{self.operation}({said})"


@dataclass
class Turn:
    """What one message led to."""

    say: str
    reply: str = ""
    lane: str = ""
    intent: str = ""
    operation: str = ""
    probability: float | None = None
    tier: str = ""
    abstained: bool = False
    llm_calls: int = 0
    handed_off: bool = False
    executed: list[Did] = field(default_factory=list[Did])
    proposed: list[Did] = field(default_factory=list[Did])
    tickets: list[str] = field(default_factory=list[str])  #: Subject and body of each new one.
    problems: list[str] = field(default_factory=list[str])  #: The turn itself went wrong.
    ms: float = 0.0
    aside: bool = False
    failures: list[str] = field(default_factory=list[str])

    @property
    def passed(self) -> bool:
        return not self.failures


@dataclass
class Held:
    """One conversation as it was held."""

    conversation: Conversation
    turns: list[Turn] = field(default_factory=list[Turn])

    @property
    def passed(self) -> bool:
        return all(turn.passed for turn in self.turns)

    @property
    def failed_critically(self) -> bool:
        return self.conversation.critical and bool(self._failures())

    @property
    def by_a_wrong_deed(self) -> bool:
        """Whether something forbidden was done or said, and not only something missed."""
        return any(why.startswith(_WRONG) for why in self._failures())

    def _failures(self) -> list[str]:
        return [why for turn in self.turns if not turn.aside for why in turn.failures]

    def transcript(self) -> dict[str, Any]:
        """Everything said, done and graded, as it is kept."""
        one = self.conversation
        return {
            **{name: getattr(one, name) for name in ("id", "customer", "lang", "critical", "good")},
            "tags": list(one.tags),
            "passed": self.passed,
            "turns": [{**asdict(turn), "passed": turn.passed} for turn in self.turns],
        }


# --- grading --------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Judge:
    """Holds a turn against what was wanted of it."""

    today: date
    notes: frozenset[
        str
    ]  #: Writes that change no record of the customer, such as a ticket: never unwanted.

    def failures(self, want: Want, now: Turn, before: Sequence[Turn]) -> list[str]:
        """Why this turn fails; nothing when it passes."""
        silent = any(turn.handed_off for turn in before)
        found = list(now.problems)
        if not silent:  # After a hand-off the assistant is silent, rightly; deeds still count.
            found += self._reply(want, now)
        found += self._deeds(want, now, before)
        if want.handed_off is not None and want.handed_off != (now.handed_off or silent):
            found.append("not handed off" if want.handed_off else "handed off")
        texts = [text for turn in (*before, now) for text in turn.tickets]
        found += [
            f"kept_words: no ticket holds {pattern}"
            for pattern in want.kept_words
            if texts and not any(self._says(text, pattern) for text in texts)
        ]
        return found

    def _reply(self, want: Want, now: Turn) -> list[str]:
        found: list[str] = []
        if not now.reply.strip() and not now.handed_off:
            found.append("no reply")
        if want.reply_any and not any(self._says(now.reply, one) for one in want.reply_any):
            found.append(f"reply_any: none of {list(want.reply_any)}")
        found += [f"reply_all: not {p}" for p in want.reply_all if not self._says(now.reply, p)]
        found += [f"reply_not: {p}" for p in want.reply_not if self._says(now.reply, p)]
        if want.understood and now.abstained:
            found.append("asked back what was said")
        if want.not_out_of_scope and now.intent == "out_of_scope" and not now.handed_off:
            found.append("taken for out of scope")
        return found

    def _deeds(self, want: Want, now: Turn, before: Sequence[Turn]) -> list[str]:
        found: list[str] = []
        for name in ("executed", "proposed"):
            done: list[Did] = getattr(now, name)
            exactly = self._of_today(getattr(want, name))
            allowed = self._of_today(getattr(want, f"{name}_allowed"))
            so_far = self._of_today(getattr(want, f"{name}_so_far")) or ()
            ever = [did for turn in (*before, now) for did in getattr(turn, name)]
            if exactly is not None:
                found += [f"{name}: missing {_shown(one)}" for one in _absent(exactly, done)]
                found += self._unwanted(name, exactly, done)
            if allowed is not None:
                found += self._unwanted(name, allowed, done)
            found += [f"{name}_so_far: missing {_shown(one)}" for one in _absent(so_far, ever)]
        return found

    def _of_today(self, writes: Sequence[Write] | None) -> tuple[Write, ...] | None:
        """The writes with the days of their patterns; None where none are named."""
        if writes is None:
            return None
        return tuple(
            one.model_copy(
                update={
                    "arguments": {
                        name: expanded(value, self.today)
                        if isinstance(value, str) and value.startswith("~")
                        else value
                        for name, value in one.arguments.items()
                    }
                }
            )
            for one in writes
        )

    def _unwanted(self, name: str, allowed: Sequence[Write], done: Sequence[Did]) -> list[str]:
        return [
            f"{name}: unwanted {did}"
            for did in done
            if did.operation not in self.notes and not any(_fits(one, did) for one in allowed)
        ]

    def _says(self, text: str, pattern: str) -> bool:
        return re.search(expanded(pattern, self.today), text, re.I | re.S) is not None


def _absent(wanted: Iterable[Write], done: Sequence[Did]) -> list[Write]:
    return [one for one in wanted if not any(_fits(one, did) for did in done)]


def _fits(wanted: Write, did: Did) -> bool:
    return wanted.operation == did.operation and all(
        _same(value, did.arguments.get(name)) for name, value in wanted.arguments.items()
    )


def _same(wanted: object, found: object) -> bool:
    if isinstance(wanted, str) and wanted.startswith("~"):
        return re.search(wanted[1:], str(found), re.I) is not None
    return str(wanted) == str(found)


def _shown(wanted: Write) -> str:
    return str(Did(wanted.operation, wanted.arguments))
