"""The catalogue of what customers can want: read from data, checked once, asked everywhere."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path
from typing import Annotated

import yaml
from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    StringConstraints,
    ValidationError,
    model_validator,
)

from tools.domain import Lane

CATALOGUE = Path(__file__).resolve().parent.parent / "prompts" / "intents.yaml"

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

    name: Annotated[str, StringConstraints(pattern=r"^[a-z][a-z_]*$")]
    lane: Lane
    operation: Text | None = None
    description: Text
    question: Text
    examples: tuple[Text, ...] = Field(min_length=8, max_length=15)

    @model_validator(mode="after")
    def _operation_lane_names_its_operation(self) -> Intent:
        if self.lane == "operation" and self.operation is None:
            raise ValueError(f"{self.name} is served by the operation lane but names no operation")
        return self


class Intents(BaseModel):
    """All intents, by name."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    intents: tuple[Intent, ...] = Field(min_length=1)

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

    def get(self, name: str) -> Intent:
        for intent in self.intents:
            if intent.name == name:
                return intent
        raise UnknownIntent(name)

    def lane(self, name: str) -> Lane:
        return self.get(name).lane

    def operation(self, name: str) -> str | None:
        return self.get(name).operation


def load_intents(path: Path | None = None, *, operations: Collection[str] | None = None) -> Intents:
    """Read and check the catalogue; with ``operations`` every named one must be among them."""
    source = path or CATALOGUE
    try:
        intents = Intents.model_validate(yaml.safe_load(source.read_text("utf-8")))
    except (OSError, yaml.YAMLError, ValidationError) as error:
        raise IntentsInvalid(f"{source.name}: {error}") from error
    if operations is not None:
        missing = sorted({i.operation for i in intents.intents if i.operation} - set(operations))
        if missing:
            raise IntentsInvalid(f"{source.name}: no such operation: {', '.join(missing)}")
    return intents
