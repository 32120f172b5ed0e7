"""The part of an order that an operation is about: which lines, and how many pieces of each."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Annotated, Any

from pydantic import Field, JsonValue, StringConstraints

from domains.northfell.data_model import Order, OrderLine
from domains.northfell.demo_accounts import shipping_for
from domains.northfell.labels import listed, say
from domains.northfell.operations.naming import lines_named, means_all
from tools.values import Arguments

#: More pieces than anybody has in one order.
MOST_PIECES = 999


class Part(Arguments):
    """One product of an order; without a quantity the only piece, or all where the words say so."""

    product: Annotated[
        str, StringConstraints(strip_whitespace=True, min_length=1, max_length=200)
    ] = Field(
        description="Which item is it about?", json_schema_extra={"x-copy": True, "x-item": True}
    )
    quantity: Annotated[int, Field(ge=1, le=MOST_PIECES)] | None = Field(
        default=None, description="How many of them?"
    )


Parts = Annotated[tuple[Part, ...], Field(min_length=1, max_length=50)] | None


def part_field(name: str, question: str, **limits: Any) -> Any:
    """A field that is understood together with the record it is part of, not read from the words alone."""
    return Field(default=None, description=question, json_schema_extra={"x-part": name}, **limits)


def items_field(question: str) -> Any:
    return part_field("items", question)


@dataclass(frozen=True)
class Taken:
    """So many pieces of one line."""

    line: OrderLine
    quantity: int

    @property
    def worth(self) -> Decimal:
        return self.line.unit_price * self.quantity

    def __str__(self) -> str:
        return f"{self.quantity} x {self.line.product}"


@dataclass(frozen=True)
class Found:
    """The pieces that are meant; else what there is to choose from, else why none can be meant."""

    taken: tuple[Taken, ...] = ()
    choices: tuple[tuple[str, tuple[Part, ...]], ...] = ()
    refusal: str | None = None

    @property
    def worth(self) -> Decimal:
        return sum((one.worth for one in self.taken), Decimal(0))

    def __str__(self) -> str:
        return listed([str(one) for one in self.taken])


def parts_of(
    order: Order, items: Sequence[Part], available: Callable[[OrderLine], int], verb: str
) -> Found:
    """The pieces of the order that ``items`` name, never more than are ``available``.

    ``verb`` says what cannot be done with pieces that were not bought."""
    counted: dict[str, int] = {}
    for place, item in enumerate(items):
        lines = [line for line in lines_named(order.lines, item.product) if available(line)]
        gone = [line for line in lines_named(order.lines, item.product) if not available(line)]
        if not lines:
            return Found(refusal=_none_of(order, item, gone, verb))
        if len(lines) > 1:
            return Found(choices=_one_of(items, place, lines))
        (line,) = lines
        if item.quantity is None and available(line) > 1 and not means_all(line, item.product):
            return Found(choices=_how_many(items, place, line, available(line)))
        wanted = item.quantity or available(line)
        counted[line.sku] = counted.get(line.sku, 0) + wanted
        if counted[line.sku] > available(line):
            return Found(refusal=_too_many(order, line, counted[line.sku], available(line), verb))
    return Found(
        taken=tuple(Taken(line, counted[line.sku]) for line in order.lines if counted.get(line.sku))
    )


def names_all(order: Order, items: Sequence[Part]) -> bool:
    """Whether every item is in the order."""
    return all(lines_named(order.lines, item.product) for item in items)


def settled(taken: Sequence[Taken]) -> list[JsonValue]:
    """The pieces as arguments that mean exactly them, whenever they are read again."""
    return [{"product": one.line.product, "quantity": one.quantity} for one in taken]


def choices_of(found: Found) -> tuple[tuple[str, dict[str, JsonValue]], ...]:
    return tuple(
        (label, {"items": [item.model_dump(mode="json", exclude_none=True) for item in items]})
        for label, items in found.choices
    )


def taken_out(order: Order, taken: Sequence[Taken]) -> Order:
    """The order without these pieces; its shipping is worked out anew, which may cost what was free before."""
    out = {one.line.sku: one.quantity for one in taken}
    lines = tuple(
        line.model_copy(
            update={
                "quantity": line.quantity - out.get(line.sku, 0),
                "cancelled": line.cancelled + out.get(line.sku, 0),
            }
        )
        for line in order.lines
    )
    worth = sum((one.worth for one in taken), Decimal(0))
    goods = sum((line.unit_price * line.quantity for line in lines), Decimal(0))
    shipping = order.shipping or (shipping_for(goods) if taken and goods else Decimal(0))
    return order.model_copy(
        update={
            "lines": lines,
            "shipping": shipping,
            "total": order.total - worth + shipping - order.shipping,
        }
    )


def out_of(order: Order, taken: Sequence[Taken]) -> str:
    """Says what is taken out, and what is still sent."""
    return say(
        "effects.taken_out",
        number=order.number,
        pieces=listed([str(one) for one in taken]),
        one=sum(one.quantity for one in taken) == 1,
        kept=listed([f"{line.quantity} x {line.product}" for line in taken_out(order, taken).kept]),
    )


def packed_already(order: Order) -> str:
    """What is said of single items once the parcel is closed."""
    return say("refusals.packed_already", number=order.number)


def quoted(product: str) -> str:
    return say("refusals.quoted", words=" ".join(product.split())[:60])


def not_bought(items: Sequence[Part]) -> str:
    return say("refusals.not_bought", names=listed([quoted(item.product) for item in items]))


def not_in(order: Order, product: str) -> str:
    names = listed([line.product for line in order.lines])
    return say("refusals.not_in", name=quoted(product), number=order.number, names=names)


def _none_of(order: Order, item: Part, gone: Sequence[OrderLine], verb: str) -> str:
    if gone:
        names = listed([line.product for line in gone], "or")
        return say(f"refusals.none_left.{verb}", number=order.number, names=names)
    return not_in(order, item.product)


def _too_many(order: Order, line: OrderLine, wanted: int, available: int, verb: str) -> str:
    bought = line.quantity + line.cancelled
    return say(
        f"refusals.too_many.{verb}",
        number=order.number,
        bought=bought,
        product=line.product,
        left=None if available == bought else available,
        wanted=wanted,
    )


def _one_of(
    items: Sequence[Part], place: int, lines: Sequence[OrderLine]
) -> tuple[tuple[str, tuple[Part, ...]], ...]:
    """The whole list again, once for each line that one item may mean."""

    def chosen(line: OrderLine) -> tuple[Part, ...]:
        exact = items[place].model_copy(update={"product": line.product})
        return tuple(exact if at == place else item for at, item in enumerate(items))

    return tuple((line.product, chosen(line)) for line in lines)


def _how_many(
    items: Sequence[Part], place: int, line: OrderLine, available: int
) -> tuple[tuple[str, tuple[Part, ...]], ...]:
    """The whole list again, once for one piece and once for all of them."""

    def chosen(quantity: int) -> tuple[Part, ...]:
        exact = Part(product=line.product, quantity=quantity)
        return tuple(exact if at == place else item for at, item in enumerate(items))

    return tuple((f"{n} x {line.product}", chosen(n)) for n in (1, available))
