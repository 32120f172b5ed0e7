"""What a line of input may hold, for every role, and how figures are written."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError


class Input(BaseModel):
    """A line; what a role does not know is left alone."""

    model_config = ConfigDict(extra="ignore", frozen=True)


T = TypeVar("T", bound=Input)


class Said(Input):
    role: str
    text: str

    @property
    def by_customer(self) -> bool:
        return self.role.casefold() in ("user", "customer", "human")


def read_input(kind: type[T], row: dict[str, Any]) -> T:
    try:
        return kind.model_validate(row)
    except ValidationError as error:
        found = (f"{'.'.join(map(str, e['loc'])) or 'input'}: {e['msg']}" for e in error.errors())
        raise ValueError("; ".join(found)) from error


def rounded(probabilities: Mapping[str, float]) -> dict[str, float]:
    return {option: round(p, 4) for option, p in probabilities.items()}
