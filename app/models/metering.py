"""What the large model's calls used: counted for the metrics, priced by a file, told to whoever asked."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

#: Shipped prices; a deployment names its own with SIGNALBOX_PRICES.
PACKAGED_PRICES = Path(__file__).with_name("prices.yaml")

Ending = Literal["ok", "timeout", "unavailable", "refused", "left"]


@dataclass
class Usage:
    """Tokens of one call, or of several; ``cached`` are among ``read``."""

    read: int = 0
    written: int = 0
    cached: int = 0

    def add(self, other: Usage) -> None:
        self.read += other.read
        self.written += other.written
        self.cached += other.cached

    def take(self, metadata: Any) -> None:
        """Add what a message of LangChain's says about itself, where it says something."""
        if not metadata:
            return
        details: Mapping[str, int] = metadata.get("input_token_details") or {}
        self.add(
            Usage(
                int(metadata.get("input_tokens") or 0),
                int(metadata.get("output_tokens") or 0),
                int(details.get("cache_read") or 0),
            )
        )


@dataclass
class LlmCall:
    """One call of the large model, and how it ended."""

    role: str
    model: str
    ending: Ending = "left"
    usage: Usage = field(default_factory=Usage)


class PricesInvalid(ValueError):
    """The price file cannot be used."""


class Price(BaseModel):
    """Of a million tokens."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    input: float = Field(ge=0)
    output: float = Field(ge=0)
    cached: float | None = Field(default=None, ge=0)  #: None: as the others that are read.

    def of(self, usage: Usage) -> float:
        cached = self.input if self.cached is None else self.cached
        fresh = usage.read - usage.cached
        return (fresh * self.input + usage.cached * cached + usage.written * self.output) / 1e6


class Prices(BaseModel):
    """What models cost; one that is not listed has no known cost."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    currency: str = "USD"
    models: Mapping[str, Price] = {}

    def cost(self, call: LlmCall) -> float | None:
        price = self.models.get(call.model)
        return None if price is None else price.of(call.usage)


def read_prices(path: Path = PACKAGED_PRICES) -> Prices:
    """The price file; raises PricesInvalid."""
    try:
        return TypeAdapter(Prices).validate_python(yaml.safe_load(path.read_text("utf-8")))
    except (OSError, yaml.YAMLError, ValidationError) as error:
        raise PricesInvalid(f"{path.name}: {str(error).splitlines()[0]}") from error


@dataclass
class Meter:
    """The calls of this process since its start."""

    prices: Prices = field(default_factory=Prices)
    calls: Counter[tuple[str, str, str]] = field(default_factory=Counter[tuple[str, str, str]])
    #: Model and kind (input, output, cached) -> tokens.
    tokens: Counter[tuple[str, str]] = field(default_factory=Counter[tuple[str, str]])
    cost: dict[str, float] = field(default_factory=dict[str, float])

    def heard(self, call: LlmCall) -> None:
        self.calls[call.role, call.model, call.ending] += 1
        usage = call.usage
        self.tokens[call.model, "input"] += usage.read - usage.cached
        self.tokens[call.model, "cached"] += usage.cached
        self.tokens[call.model, "output"] += usage.written
        if (cost := self.prices.cost(call)) is not None:
            self.cost[call.model] = self.cost.get(call.model, 0.0) + cost
