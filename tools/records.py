"""A customer's record as the engine sees it: what it is called, what it holds, what state it is in.

A domain turns its own records into these; understanding, the case file and the questions that name candidates
read nothing else of a business."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date
from decimal import Decimal

from pydantic import BaseModel, ConfigDict, JsonValue


class Item(BaseModel):
    """One line of a record: what it is, how many of it, and what customers call it."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    id: str  #: The domain's own key, unique within the record (a stock number).
    name: str
    quantity: int = 1
    price: Decimal | None = None  #: Of one piece.
    words: tuple[
        str, ...
    ] = ()  #: What else it may be called, in any language ("boots", "Stiefel").


class RecordView(BaseModel):
    """One record of the customer's own."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: str  #: As the domain declares it, for example ``order``.
    id: str  #: Its number, as operations take it.
    label: str  #: For people, in one line.
    state: str
    open: bool = False  #: Something is still to happen with it.
    items: tuple[Item, ...] = ()
    dates: dict[
        str, date
    ] = {}  #: Named days of its life, for example ``placed_on``; oldest meaning first.
    amount: Decimal | None = None
    currency: str = ""
    words: tuple[str, ...] = ()  #: What it may be called beyond its items.
    called: tuple[str, ...] = ()  #: Those of the words that any record of its kind is called by.
    #: Operations that its state allows, of those about its kind; None where the domain leaves that to them.
    allows: tuple[str, ...] | None = None
    parent: str | None = None  #: Id of the record it belongs to (an invoice's order).
    facts: dict[str, JsonValue] = {}  #: What replies, rules and the case file may speak of.

    def allowed(self, operation: str) -> bool:
        """Whether the record's state allows the operation, as far as the domain says so."""
        return self.allows is None or operation in self.allows


@dataclass(frozen=True)
class Lexicon:
    """A domain's own words for what its records are called and how they stand."""

    kinds: Mapping[str, tuple[str, ...]] = field(default_factory=dict[str, tuple[str, ...]])
    states: Mapping[str, tuple[str, ...]] = field(default_factory=dict[str, tuple[str, ...]])
    dates: Mapping[str, tuple[str, ...]] = field(default_factory=dict[str, tuple[str, ...]])
    forms: tuple[str, ...] = ()  #: An example number of each kind of record.
    common: tuple[
        str, ...
    ] = ()  #: Words in names of things that everybody uses: they tell no thing.
    catalogue: tuple[
        Item, ...
    ] = ()  #: Everything the business sells; a thing nobody owns is recognised by it.
