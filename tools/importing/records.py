"""A customer's own records, read through the operation that lists them: which are theirs, and how they are told apart."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from decimal import Decimal, InvalidOperation
from typing import Any, cast

from pydantic import JsonValue

from tools.importing.calls import Call, Reply, System
from tools.importing.expressions import ExpressionFailed, Expressions
from tools.importing.overlay import Items, Listing, Lookup, RecordKind, Text, in_language
from tools.ports import BackendUnavailable
from tools.records import Item, RecordView
from tools.values import Customer

log = logging.getLogger(__name__)

#: More records of one kind than this are not read: the newest are at the front.
MOST_RECORDS = 200


@dataclass(frozen=True)
class Own:
    """One record of the customer's, as the API gave it and as the engine sees it."""

    raw: Mapping[str, Any]
    view: RecordView


@dataclass
class Account:
    """One customer's records and facts as they were at one moment."""

    customer: Customer
    names: Mapping[str, Any]  #: What every template may ask about.
    language: str
    load: Callable[[Account, str], tuple[Own, ...]]
    _kinds: dict[str, tuple[Own, ...]] = field(default_factory=dict[str, tuple[Own, ...]])
    _closed: bool = False

    def of(self, kind: str) -> tuple[Own, ...]:
        """The customer's records of one kind, read once."""
        if kind not in self._kinds:
            if self._closed:
                raise BackendUnavailable(f"the {kind} records were not read beforehand")
            self._kinds[kind] = self.load(self, kind)
        return self._kinds[kind]

    def close(self) -> Account:
        """Nothing more is read: what is known now is what is decided on."""
        self._closed = True
        return self

    def said(self, text: Text) -> str:
        """A text of the domain in the customer's language, before its names are filled in."""
        return in_language(text, self.language, self.language)


def customer_names(customer: Customer) -> dict[str, Any]:
    """What templates know of a customer."""
    told = customer.model_dump(mode="json", exclude={"facts"})
    return {**customer.facts, **{k: v for k, v in told.items() if v is not None}}


@dataclass(frozen=True)
class Records:
    """The kinds of records that a domain declares."""

    kinds: Mapping[str, RecordKind]
    system_of: Callable[[str, str | None], System]
    expressions: Expressions
    #: By kind: the operations about its records, each with what has to hold of one, where anything has to.
    allowed: Mapping[str, Mapping[str, str | None]] = field(
        default_factory=dict[str, Mapping[str, str | None]]
    )

    def load(self, account: Account, kind: str) -> tuple[Own, ...]:
        """What lists them is also the proof that they are the customer's. Raises BackendUnavailable."""
        declared = self.kinds[kind]
        listed = self.ask(declared.list, account.names, account.customer)[:MOST_RECORDS]
        made = [self._own(kind, declared, raw, account) for raw in listed]
        return tuple(one for one in made if one is not None)

    def views(self, account: Account) -> tuple[RecordView, ...]:
        return tuple(own.view for kind in self.kinds for own in account.of(kind))

    def ask(
        self, call: Listing | Lookup, names: Mapping[str, Any], customer: Customer
    ) -> list[Mapping[str, Any]]:
        """What an operation that lists something lists. Raises BackendUnavailable."""
        system = self.system_of(call.operation, call.system)
        values: dict[str, JsonValue] = {
            name: value
            for name, given in call.arguments.items()
            if (value := self.filled(given, names)) is not None
        }
        reply = system.read(
            Call(operation=call.operation, values=values, customer=customer_names(customer))
        )
        if reply.status == 404:
            return []
        if reply.status >= 300:
            raise BackendUnavailable(f"{call.operation} answered {reply.status}")
        return self._entries(reply, call.at, names)

    def filled(self, given: JsonValue, names: Mapping[str, Any]) -> JsonValue:
        """A value of the file with its templates filled in."""
        if isinstance(given, str) and "{{" in given:
            try:
                return self.expressions.value(given, names)
            except ExpressionFailed as error:
                raise BackendUnavailable(str(error)) from error
        if isinstance(given, dict):
            return {key: self.filled(one, names) for key, one in given.items()}
        if isinstance(given, list):
            return [self.filled(one, names) for one in given]
        return given

    def _entries(
        self, reply: Reply, at: str | None, names: Mapping[str, Any]
    ) -> list[Mapping[str, Any]]:
        content: Any = reply.content
        if at is not None:
            try:
                content = self.expressions.value(
                    at, {**names, **spread(content), "answer": content}
                )
            except ExpressionFailed as error:
                raise BackendUnavailable(str(error)) from error
        elif isinstance(content, Mapping):
            fields = cast("Mapping[str, Any]", content)
            lists: list[Any] = [v for v in fields.values() if isinstance(v, list)]
            content = lists[0] if len(lists) == 1 else [content]
        if content is None:
            return []
        if not isinstance(content, list):
            content = [content]
        entries = cast("list[Any]", content)
        return [cast("Mapping[str, Any]", e) for e in entries if isinstance(e, Mapping)]

    def _own(
        self, kind: str, declared: RecordKind, raw: Mapping[str, Any], account: Account
    ) -> Own | None:
        names = {**account.names, **raw, "record": raw}

        def value(source: str | None) -> Any:
            if source is None:
                return None
            try:
                return self.expressions.value(source, names, account.language)
            except ExpressionFailed as error:
                log.warning("records: %s: %s", kind, error)
                return None

        identity = value(declared.id)
        if identity is None or identity == "":
            log.warning("records: a %s without its id was left out", kind)
            return None
        state = value(declared.state)
        names["state"] = "" if state is None else str(state)
        amount = _decimal(value(declared.amount))
        view = RecordView(
            kind=kind,
            id=str(identity),
            label=self._label(declared, names, account) or str(identity),
            state=names["state"],
            open=bool(value(declared.open)) if declared.open is not None else False,
            items=tuple(self._items(declared, raw, names)),
            dates={n: d for n, s in declared.dates.items() if (d := _day(value(s))) is not None},
            amount=amount,
            currency=str(value(declared.currency) or self.expressions.manner.currency),
            words=tuple(_words([value(s) for s in declared.words] + list(declared.called))),
            called=declared.called,
            allows=tuple(
                name
                for name, when in self.allowed.get(kind, {}).items()
                if when is None or self.expressions.holds(when, names)
            ),
            parent=None if (parent := value(declared.parent)) is None else str(parent),
            facts={n: value(s) for n, s in declared.facts.items()},
        )
        return Own(raw, view)

    def _label(
        self, declared: RecordKind, names: Mapping[str, Any], account: Account
    ) -> str | None:
        try:
            return self.expressions.text(account.said(declared.label), names, account.language)
        except ExpressionFailed as error:
            log.warning("records: a label could not be made: %s", error)
            return None

    def _items(
        self, declared: RecordKind, raw: Mapping[str, Any], names: Mapping[str, Any]
    ) -> list[Item]:
        items = declared.items
        if items is None:
            return []
        how = items if isinstance(items, Items) else Items(at=items)
        try:
            listed = self.expressions.value(how.at, names)
        except ExpressionFailed:
            return []
        found: list[Item] = []
        for n, one in enumerate(cast("list[Any]", listed) if isinstance(listed, list) else []):
            if isinstance(one, Mapping):
                made = self._item(how, cast("Mapping[str, Any]", one), names, n)
            else:
                made = Item(id=str(one), name=str(one))
            found.append(made)
        return found

    def _item(
        self, how: Items, raw: Mapping[str, Any], names: Mapping[str, Any], place: int
    ) -> Item:
        here = {**names, **raw, "item": raw}

        def value(source: str | None) -> Any:
            try:
                return None if source is None else self.expressions.value(source, here)
            except ExpressionFailed:
                return None

        name = value(how.name)
        identity = value(how.id)
        return Item(
            id=str(identity if identity is not None else name if name is not None else place),
            name=str(name if name is not None else identity if identity is not None else place),
            quantity=_whole(value(how.quantity)),
            price=_decimal(value(how.price)),
            words=tuple(_words([value(s) for s in how.words])),
        )


def spread(content: Any) -> dict[str, Any]:
    """An answer's own fields as names, where it has any."""
    return dict(cast("Mapping[str, Any]", content)) if isinstance(content, Mapping) else {}


def _words(values: Sequence[Any]) -> list[str]:
    found: list[str] = []
    for value in values:
        if isinstance(value, list):
            found += _words(cast("list[Any]", value))
        elif value not in (None, ""):
            found.append(str(value))
    return list(dict.fromkeys(found))


def _day(value: Any) -> date | None:
    if not isinstance(value, str):
        return None
    try:
        return datetime.fromisoformat(value).date()
    except ValueError:
        return None


def _decimal(value: Any) -> Decimal | None:
    try:
        return None if value is None else Decimal(str(value))
    except InvalidOperation:
        return None


def _whole(value: Any) -> int:
    try:
        return int(value)
    except (TypeError, ValueError):
        return 1


def same_id(given: str, known: str) -> bool:
    """Whether somebody's spelling of a number is this one: "fj 20 011" is FJ-20011."""
    return _bare(given) == _bare(known)


def _bare(text: str) -> str:
    return re.sub(r"[\W_]+", "", text).casefold()
