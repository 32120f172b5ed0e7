"""Which of the customer's records an operation is about: exactly one, several, or none and why."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any, Generic, Protocol, TypeVar

from pydantic import BaseModel, BeforeValidator, Field, JsonValue

from domains.northfell.data_model import Order, OrderStatus
from domains.northfell.labels import say
from domains.northfell.shop import Shop
from tools.numbers import RecordKind, means_newest, normalise_number
from tools.values import (
    Arguments,
    Consequence,
    Instead,
    NotAllowed,
    Operation,
    OperationFailed,
    OutsideEffect,
    Preview,
    RecordNotFound,
)

#: More than this is a list to read, not a choice to make.
MOST_CANDIDATES = 5

OPEN = {OrderStatus.PENDING, OrderStatus.PAID, OrderStatus.PACKED, OrderStatus.SHIPPED}


class SeveralMatch(OperationFailed):
    """More than one record fits: say which one."""


class Numbered(Protocol):
    """A record that customers name by its number."""

    @property
    def number(self) -> str: ...


T = TypeVar("T", bound=Numbered)
A = TypeVar("A", bound=Arguments)


@dataclass(frozen=True)
class Match(Generic[T]):
    """The records that fit; with none, the sentence that says so."""

    records: tuple[T, ...] = ()
    refusal: str = ""

    def only(self) -> T:
        match self.records:
            case (one,):
                return one
            case ():
                raise NotAllowed(self.refusal)
            case _:
                raise SeveralMatch


@dataclass(frozen=True)
class WritePlan:
    """What a write would do to the one record it is about, or why the rules do not allow it."""

    effects: tuple[str, ...] = ()
    completed: dict[str, JsonValue] | None = None
    consequence: Consequence | None = None
    refusal: str | None = None
    instead: Instead | None = None  #: What the refusal's sentence offers.
    #: What has to be chosen within the record first: what is said of each, and the arguments it sets.
    choices: tuple[tuple[str, dict[str, JsonValue]], ...] = ()


# --- argument fields ---------------------------------------------------------------------------


def written(kind: RecordKind) -> BeforeValidator:
    """Bring a number into the shop's form where it is one; other words stay for ``named`` to judge."""

    def normalise(value: Any) -> Any:
        if not isinstance(value, str):
            return value
        return normalise_number(kind, value) or value.strip() or None

    return BeforeValidator(normalise)


def number_field(kind: RecordKind, question: str) -> Any:
    return Field(
        default=None, description=question, json_schema_extra={"x-copy": True, "x-record": kind}
    )


def copied_field(question: str, *, default: Any = None, **limits: Any) -> Any:
    return Field(
        default=default, description=question, json_schema_extra={"x-copy": True}, **limits
    )


def why_field(question: str, **limits: Any) -> Any:
    """Why something is wanted, in the customer's words; two requests that differ in it only are one."""
    return Field(
        default=None,
        description=question,
        json_schema_extra={"x-copy": True, "x-why": True},
        **limits,
    )


def from_record_field(meaning: str) -> Any:
    """A field the preview fills from the books; neither a model nor the customer sets it."""
    return Field(default=None, description=meaning, json_schema_extra={"x-from-record": True})


# --- choosing ----------------------------------------------------------------------------------


def not_found(kind: RecordKind, text: str) -> str:
    """One sentence for "does not exist" and "belongs to somebody else", so that it tells neither."""
    shown = " ".join(text.split())[:40]
    return say(f"refusals.not_found.{kind}", shown=shown)


def named(kind: RecordKind, text: str, records: Sequence[T]) -> Match[T]:
    """The record the customer named, by number or as the newest."""
    number = normalise_number(kind, text)
    for record in records:
        if record.number == number:
            return Match((record,))
    if number is None and means_newest(text) and records:
        return Match((records[0],))
    raise RecordNotFound(not_found(kind, text))


def choose(records: Sequence[T], *preferences: Callable[[T], bool], none: str) -> Match[T]:
    """The records that satisfy the first preference any of them satisfies; ``none`` says that there is none."""
    for preference in preferences:
        fitting = [record for record in records if preference(record)]
        if fitting:
            return Match(tuple(fitting[:MOST_CANDIDATES]))
    return Match(tuple(records[:MOST_CANDIDATES]), refusal=none)


def is_open(order: Order) -> bool:
    return order.status in OPEN


# --- operations out of their parts -------------------------------------------------------------


def state_of(record: Any) -> str | None:
    state = getattr(record, "status", None)
    if state is None and hasattr(record, "paid"):
        return "paid" if record.paid else "unpaid"
    return None if state is None else str(state)


def candidates(
    match: Match[T],
    arguments: Arguments,
    field: str,
    label: Callable[[T, date], str],
    today: date,
    consequence: Consequence,
) -> Preview:
    """The preview as far as it goes before the one record is known."""
    given = arguments.model_dump(mode="json", exclude_none=True)
    picked = tuple(given | {field: record.number} for record in match.records)
    return Preview(
        candidates=tuple(label(record, today) for record in match.records),
        candidate_arguments=picked,
        arguments=picked[0] if len(picked) == 1 else given,
        consequence=consequence,
        refusal=None if match.records else match.refusal,
    )


def allowed(plan: WritePlan) -> None:
    """Raises what keeps a write from being done: the rules, or that it is not settled yet what is meant."""
    if plan.refusal is not None:
        raise NotAllowed(plan.refusal)
    if plan.choices:
        names = f" {say('labels.or')} ".join(label for label, _ in plan.choices)
        raise SeveralMatch(say("refusals.which", names=names))


def reading_operation(
    *,
    name: str,
    title: str,
    summary: str,
    example: str,
    arguments: type[A],
    result: type[BaseModel],
    field: str,
    match: Callable[[Shop, A], Match[T]],
    label: Callable[[T, date], str],
    show: Callable[[Shop, T], BaseModel],
) -> Operation:
    """A read of one record."""

    def preview(shop: Shop, given: A) -> Preview:
        found = match(shop, given)
        shown = candidates(found, given, field, label, shop.today, Consequence.SAFE)
        if len(found.records) != 1:
            return shown
        one = found.only()
        return shown.model_copy(
            update={"record": label(one, shop.today), "record_state": state_of(one)}
        )

    def run(shop: Shop, given: A) -> BaseModel:
        return show(shop, match(shop, given).only())

    return Operation(
        name=name,
        title=title,
        summary=summary,
        arguments=arguments,
        result=result,
        consequence=Consequence.SAFE,
        preview=preview,
        run=run,
        example=example,
    )


def writing_operation(
    *,
    name: str,
    title: str,
    summary: str,
    example: str,
    arguments: type[A],
    result: type[BaseModel],
    consequence: Consequence,
    field: str,
    match: Callable[[Shop, A], Match[T]],
    label: Callable[[T, date], str],
    plan: Callable[[Shop, A, T], WritePlan],
    carry_out: Callable[[Shop, A, T], BaseModel],
    outside: OutsideEffect | None = None,
) -> Operation:
    """A confirmed write to one record; ``plan`` is asked again at the moment of writing."""

    def preview(shop: Shop, given: A) -> Preview:
        found = match(shop, given)
        shown = candidates(found, given, field, label, shop.today, consequence)
        if len(found.records) != 1:
            return shown
        one = found.only()
        planned = plan(shop, given, one)
        if planned.choices:
            return shown.model_copy(
                update={
                    "candidates": tuple(label for label, _ in planned.choices),
                    "candidate_arguments": tuple(
                        shown.arguments | chosen for _, chosen in planned.choices
                    ),
                }
            )
        return shown.model_copy(
            update={
                "record": label(one, shop.today),
                "record_state": state_of(one),
                "arguments": shown.arguments | (planned.completed or {}),
                "consequence": planned.consequence or consequence,
                "effects": planned.effects,
                "refusal": planned.refusal,
                "instead": planned.instead,
            }
        )

    def run(shop: Shop, given: A) -> BaseModel:
        one = match(shop, given).only()
        allowed(plan(shop, given, one))
        return carry_out(shop, given, one)

    return Operation(
        name=name,
        title=title,
        summary=summary,
        arguments=arguments,
        result=result,
        consequence=consequence,
        preview=preview,
        run=run,
        example=example,
        confirm=True,
        outside=outside,
    )
