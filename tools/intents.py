"""The catalogue of what customers can want: read from data, checked once, asked everywhere."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, Literal, cast

import yaml
from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    StringConstraints,
    ValidationError,
    model_validator,
)

from tools.values import Lane

#: What an intent may do to the conversation itself.
Role = Literal[
    "affirm",
    "deny",
    "leave",
    "courtesy",
    "help",
    "bot",
    "out_of_scope",
    "several",
    "person",
    "complaint",
    "incident",
    "waiting",
    "withdraw",
    "other_person",
    "ticket",
]

#: What the conversation itself needs, whatever else customers can want.
SPOKEN = ("affirm", "deny", "out_of_scope")

Text = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1)]


class IntentsInvalid(Exception):
    """The catalogue of intents is not usable."""

    def __init__(self, message: str | None = None) -> None:
        super().__init__(message or self.__doc__)


class UnknownIntent(KeyError):
    """No intent of this name is in the catalogue."""


class Intent(BaseModel):
    """One thing a customer can want, and where it is served."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    #: Any label of one line: a deployment's intents may be called as its own data calls them.
    name: Annotated[str, StringConstraints(pattern=r"^\S(?:[^\r\n\t]{0,118}\S)?$")]
    lane: Lane = "answer"
    operation: Text | None = None
    role: Role | None = (
        None  #: What it does to the conversation itself; None: it is about the business.
    )
    case: Text | None = None  #: The problem or wish among the domain's cases that it tells of.
    problem: bool = False  #: It tells what went wrong, not what is wanted.
    remedy: bool = (
        False  #: It is wanted because something went wrong, so the problem is its reason.
    )
    records: tuple[Text, ...] = ()  #: Kinds of records that it is about.
    first: tuple[
        Text, ...
    ] = ()  #: States in which a record is meant without being named, where only one is in them.
    #: Which case answers it where it is about one record of the customer's, and not about the rules in general.
    about_record: Text | None = None
    #: The intent that is meant where one record of its list is picked.
    one: Text | None = None
    then: Text | None = (
        None  #: The intent that a bare yes to its reply means, where that offers something.
    )
    #: Kinds of values that it takes: a message that holds one is likelier meant for it.
    values: tuple[Literal["address", "email", "phone"], ...] = ()
    verbs: tuple[
        Text, ...
    ] = ()  #: Beginnings of the words that name it, by which a "don't" is recognised.
    description: Text = ""  #: By default the name, read as words.
    question: Text = ""  #: By default whether it is about that.
    examples: tuple[Text, ...] = Field(min_length=1)

    @property
    def served(self) -> bool:
        """Whether somebody serves it in the operation lane."""
        return (
            self.operation is not None
            or self.case is not None
            or self.role in ("waiting", "withdraw")
        )

    @model_validator(mode="before")
    @classmethod
    def _says_what_its_name_says(cls, given: Any) -> Any:
        if not isinstance(given, dict):
            return given
        fields = cast("dict[str, Any]", given)
        if not isinstance(fields.get("name"), str):
            return fields
        words = spoken(fields["name"])
        return {"description": words, "question": f"Is it about {words}?", **fields}

    @model_validator(mode="after")
    def _operation_lane_names_its_operation(self) -> Intent:
        if self.lane == "operation" and not self.served:
            raise ValueError(
                f"{self.name} is served by the operation lane but names no operation and no case"
            )
        return self


class Costs(BaseModel):
    """What a wrong decision costs in each lane, in questions asked back; the thresholds follow from it.

    A wrong look-up is put right in the next message. A wrong write is stopped by its own confirmation, but
    has confused somebody; a plan of wrong steps, or a person called for nothing, costs most."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    ask: float = Field(default=1.0, gt=0)
    direct: float = Field(default=2.0, gt=0)
    answer: float = Field(default=2.0, gt=0)
    operation: float = Field(default=2.5, gt=0)
    agent: float = Field(default=4.0, gt=0)
    escalate: float = Field(default=4.0, gt=0)

    def wrong(self, lane: Lane) -> float:
        return float(getattr(self, lane))


class Intents(BaseModel):
    """All intents, by name."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    intents: tuple[Intent, ...] = Field(min_length=1)
    costs: Costs = Costs()

    @model_validator(mode="after")
    def _names_and_examples_are_unique(self) -> Intents:
        for what, values in (
            ("intent", [intent.name for intent in self.intents]),
            ("example", [text.casefold() for intent in self.intents for text in intent.examples]),
        ):
            twice = sorted({value for value in values if values.count(value) > 1})
            if twice:
                raise ValueError(f"{what} given twice: {', '.join(twice)}")
        return self

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(intent.name for intent in self.intents)

    @cached_property
    def _by_name(self) -> dict[str, Intent]:
        return {intent.name: intent for intent in self.intents}

    def get(self, name: str) -> Intent:
        try:
            return self._by_name[name]
        except KeyError:
            raise UnknownIntent(name) from None

    def of_role(self, role: Role) -> tuple[str, ...]:
        """The names of the intents that play a role in the conversation."""
        return tuple(intent.name for intent in self.intents if intent.role == role)

    def lane(self, name: str) -> Lane:
        return self.get(name).lane

    def operation(self, name: str) -> str | None:
        return self.get(name).operation


def spoken(name: str) -> str:
    """A label as words: ``cancelOrder``, ``CANCEL_ORDER`` and ``cancel-order`` are all "cancel order"."""
    apart = re.sub(r"(?<=[a-z])(?=[A-Z])", " ", name)
    return " ".join(re.sub(r"[^\w']|_", " ", apart).split()).lower() or name


def derived(examples: Iterable[tuple[str, str]]) -> Intents:
    """A catalogue for examples of (text, intent) alone: every intent in the lane ``answer``."""
    texts: dict[str, list[str]] = {}
    known: set[str] = set()
    for text, name in examples:
        kept = texts.setdefault(name, [])
        if len(kept) < 5 and text.strip() and text.strip().casefold() not in known:
            known.add(text.strip().casefold())
            kept.append(text)
    try:
        return Intents.model_validate(
            {"intents": [{"name": name, "examples": kept} for name, kept in texts.items()]}
        )
    except ValidationError as error:
        raise IntentsInvalid(f"the examples: {error}") from error


def load_intents(
    source: Path, *, operations: Collection[str] | None = None, waiting: Collection[str] = ()
) -> Intents:
    """Read and check the catalogue; with ``operations`` every named one must be among them. Intents of operations
    that wait for a person's confirmation are left out, as their operations are."""
    try:
        intents = Intents.model_validate(yaml.safe_load(source.read_text("utf-8")))
    except (OSError, yaml.YAMLError, ValidationError) as error:
        raise IntentsInvalid(f"{source.name}: {error}") from error
    awake = tuple(one for one in intents.intents if one.operation not in waiting)
    if len(awake) < len(intents.intents) and awake:
        intents = intents.model_copy(update={"intents": awake})
    if operations is not None:
        try:
            check_intents(intents, operations)
        except IntentsInvalid as error:
            raise IntentsInvalid(f"{source.name}: {error}") from error
    return intents


def check_intents(
    intents: Intents, operations: Collection[str], *, needed: Collection[str] = ()
) -> None:
    """Raise IntentsInvalid for an operation nobody has written, or an intent that is needed and absent."""
    missing = sorted({i.operation for i in intents.intents if i.operation} - set(operations))
    if missing:
        raise IntentsInvalid(f"no such operation: {', '.join(missing)}")
    absent = sorted(set(needed) - set(intents.names))
    if absent:
        raise IntentsInvalid(f"a conversation needs the intents {', '.join(absent)} too")
