"""What the large model's calls used: counted for the metrics, priced by a file, told to whoever asked."""

from __future__ import annotations

from collections import Counter
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from typing import Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from tools.values import Tier

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
    local: bool = False  #: The server is the business's own.
    masked: bool = False  #: It read placeholders in place of personal data.
    stands_in: bool = False  #: It is the generative small model, where no large one is configured.

    @property
    def tier(self) -> Tier:
        return "small" if self.stands_in else "large"


@dataclass
class SmallCall:
    """One call of a model that is the business's own: an encoder, or a generative small model in a role."""

    model: str
    usage: Usage
    role: str = ""  #: Empty for an encoder: one reading serves several heads.
    ending: Ending = "ok"
    local: bool = True
    masked: bool = False

    @property
    def tier(self) -> Tier:
        return "small" if self.role else "encoder"


@dataclass
class Noted:
    """What was used inside a block, for whoever traces or records it: tokens, and each call behind them."""

    usage: Usage = field(default_factory=Usage)
    calls: list[LlmCall] = field(default_factory=list[LlmCall])
    small: list[SmallCall] = field(default_factory=list[SmallCall])


_noting: ContextVar[tuple[Noted, ...]] = ContextVar("noted_usage", default=())


@contextmanager
def noting(noted: Noted) -> Generator[None]:
    """Note in ``noted`` what is used inside. In a generator only around a step, never around a yield."""
    token = _noting.set((*_noting.get(), noted))
    try:
        yield
    finally:
        _noting.reset(token)


def note(used: LlmCall | SmallCall) -> None:
    """Say what a model's answer took; nobody may be listening."""
    for noted in _noting.get():
        if isinstance(used, LlmCall):
            noted.calls.append(used)
        else:
            noted.small.append(used)
        noted.usage.add(used.usage)


_masking: ContextVar[bool] = ContextVar("masking", default=False)


@contextmanager
def masking() -> Generator[None]:
    """What is asked inside was masked before. In a generator only around a step, never around a yield."""
    token = _masking.set(True)
    try:
        yield
    finally:
        _masking.reset(token)


def is_masked() -> bool:
    """Whether whoever asks now has masked what is sent."""
    return _masking.get()


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
    as_of: date | None = None  #: When somebody last looked them up.
    currency: str = "USD"
    models: Mapping[str, Price] = {}

    def cost(self, call: LlmCall | SmallCall) -> float | None:
        """What a call cost; None: nobody knows. A model of one's own that is not listed has no price a call."""
        price = self.models.get(call.model)
        if price is None:
            return 0.0 if call.tier != "large" else None
        return price.of(call.usage)


def read_prices(path: Path = PACKAGED_PRICES) -> Prices:
    """The price file; raises PricesInvalid."""
    try:
        return TypeAdapter(Prices).validate_python(yaml.safe_load(path.read_text("utf-8")))
    except (OSError, yaml.YAMLError, ValidationError) as error:
        raise PricesInvalid(f"{path.name}: {str(error).splitlines()[0]}") from error


class ProcessUse(BaseModel):
    """What this process asked of large models since its start."""

    model_config = ConfigDict(frozen=True)
    currency: str
    calls: int
    failed: int
    tokens: dict[str, dict[str, int]]
    cost: dict[str, float]
    cost_by_role: dict[str, float]
    unpriced: list[str]  #: Models without a price: their calls cost what nobody knows.


@dataclass
class Meter:
    """The calls of this process since its start."""

    prices: Prices = field(default_factory=Prices)
    calls: Counter[tuple[str, str, str]] = field(default_factory=Counter[tuple[str, str, str]])
    #: Model and kind (input, output, cached) -> tokens.
    tokens: Counter[tuple[str, str]] = field(default_factory=Counter[tuple[str, str]])
    cost: dict[str, float] = field(default_factory=dict[str, float])
    #: Role -> what its calls cost.
    roles: dict[str, float] = field(default_factory=dict[str, float])

    def told(self) -> ProcessUse:
        """What was asked of large models since the start, and what it cost."""
        return ProcessUse(
            currency=self.prices.currency,
            calls=sum(self.calls.values()),
            failed=sum(n for (_, _, ending), n in self.calls.items() if ending != "ok"),
            tokens={
                model: {k: n for (m, k), n in self.tokens.items() if m == model}
                for model in sorted({m for m, _ in self.tokens})
            },
            cost=dict(self.cost),
            cost_by_role=dict(self.roles),
            unpriced=sorted({m for _, m, _ in self.calls} - set(self.prices.models)),
        )

    def heard(self, call: LlmCall) -> None:
        self.calls[call.role, call.model, call.ending] += 1
        usage = call.usage
        self.tokens[call.model, "input"] += usage.read - usage.cached
        self.tokens[call.model, "cached"] += usage.cached
        self.tokens[call.model, "output"] += usage.written
        if (cost := self.prices.cost(call)) is not None:
            self.cost[call.model] = self.cost.get(call.model, 0.0) + cost
            self.roles[call.role] = self.roles.get(call.role, 0.0) + cost
