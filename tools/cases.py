"""A business's problems, wishes without a button and incidents: what a careful colleague would say, and what then.

A domain writes them in one file, read by ``read_cases``; the schema is told at the head of that file. Nothing
here does anything: an option is offered, a ticket or a person is asked for by whoever reads the advice."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import Annotated, Any, Literal, Protocol, cast

import yaml
from babel.dates import format_date
from babel.numbers import format_decimal
from jinja2 import (
    StrictUndefined,
    Template,
    TemplateSyntaxError,
    UndefinedError,
    meta,
    pass_context,
)
from jinja2.runtime import Context as TemplateContext
from jinja2.sandbox import ImmutableSandboxedEnvironment
from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    JsonValue,
    ValidationError,
    field_validator,
    model_validator,
)

from tools.policy import RulesInvalid, ValueKind, compiled_condition, holds
from tools.records import RecordView
from tools.values import Customer, Operation

Then = Literal["ticket", "person", "offer_ticket", "nothing"]
Words = dict[str, Annotated[str, Field(min_length=1, max_length=1200)]]


class CasesInvalid(ValueError):
    """The cases cannot be used as they are written."""


class Advice(BaseModel):
    """What to say about one problem, and what is asked for with it."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    case: str = ""
    text: str
    subject: str = ""  #: Of the ticket that keeps the customer's words.
    ticket: bool = False
    person: bool = False
    offer_ticket: bool = False  #: A ticket is offered, and opened after a yes.
    opening: str = ""  #: What the text begins with, before anything that is offered or asked.
    look_up: tuple[
        str, ...
    ] = ()  #: Operations whose answers belong behind the opening; they change nothing.
    options: tuple[str, ...] = ()  #: Operations that the text offers; none of them is done unasked.
    ask: str = ""  #: The one question that the text ends with.
    why: str = ""  #: Which variant was said.


class Piece(Protocol):
    """A part of a record that was named."""

    @property
    def id(self) -> str: ...
    @property
    def name(self) -> str: ...


# --- the file ----------------------------------------------------------------------------------


class _Written(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Option(_Written):
    """An operation that is offered where the condition holds."""

    operation: str
    when: str = "true"
    say: Words

    @field_validator("when", mode="before")
    @classmethod
    def _as_text(cls, value: Any) -> Any:
        return str(value).lower() if isinstance(value, bool) else value


class Variant(_Written):
    """What is said where the condition holds; the first that fits is taken."""

    when: str = "true"
    say: Words
    ask: Words = {}
    look_up: tuple[str, ...] = ()  #: Operations that change nothing and are carried out with it.
    options: tuple[Option, ...] = ()
    then: Then | None = None  #: None: as the case says.

    @field_validator("when", mode="before")
    @classmethod
    def _as_text(cls, value: Any) -> Any:
        return str(value).lower() if isinstance(value, bool) else value


class Case(_Written):
    """One problem or wish."""

    record: tuple[str, ...] = ()  #: Kinds of record it may be about.
    subject: Annotated[str, Field(min_length=3, max_length=120)]  #: For colleagues.
    reasons: tuple[str, ...] = ()  #: What an operation that asks for a reason may take from it.
    then: Then = "nothing"
    variants: Annotated[tuple[Variant, ...], Field(min_length=1)]

    @model_validator(mode="after")
    def _ends_with_what_always_fits(self) -> Case:
        if self.variants[-1].when != "true":
            raise ValueError("the last variant has no `when`: something has to be said")
        return self


class Aside(_Written):
    """What a customer's own record adds to an answer from the articles: the plan is paused, so its benefits rest."""

    beside: Annotated[tuple[str, ...], Field(min_length=1)]  #: Regular expressions: what is quoted.
    record: Annotated[tuple[str, ...], Field(min_length=1)]  #: Kinds of record that it is about.
    variants: Annotated[tuple[Variant, ...], Field(min_length=1)]

    @field_validator("beside")
    @classmethod
    def _compile(cls, patterns: tuple[str, ...]) -> tuple[str, ...]:
        return _compiled(patterns)

    @model_validator(mode="after")
    def _only_says(self) -> Aside:
        if any(one.ask or one.options or one.look_up or one.then for one in self.variants):
            raise ValueError(
                "an aside only says something: no `ask`, `look_up`, `options` or `then`"
            )
        return self


class Incident(_Written):
    """Something that must not wait."""

    say: Words
    hand_off: bool = True
    patterns: tuple[
        str, ...
    ] = ()  #: Regular expressions: a net under the head that hears incidents.
    certain: tuple[
        str, ...
    ] = ()  #: The same for what is one whatever any head makes of it: life may hang on it.

    @field_validator("patterns", "certain")
    @classmethod
    def _compile(cls, patterns: tuple[str, ...]) -> tuple[str, ...]:
        return _compiled(patterns)


def _compiled(patterns: tuple[str, ...]) -> tuple[str, ...]:
    for pattern in patterns:
        try:
            re.compile(pattern, re.IGNORECASE)
        except re.error as error:
            raise ValueError(f"{pattern!r}: {error}") from None
    return patterns


class CasesFile(_Written):
    """The whole file."""

    languages: Annotated[
        tuple[str, ...], Field(min_length=1)
    ]  #: The first is what all is written in.
    ticket: str  #: The operation that keeps the customer's words.
    facts: dict[str, ValueKind | Literal["day", "money", "list"]]  #: What may be spoken of.
    cases: dict[str, Case]
    incidents: dict[str, Incident] = {}
    asides: dict[str, Aside] = {}


# --- ready to be asked -------------------------------------------------------------------------

#: Known of every message, whatever it is about.
_ALWAYS: Mapping[str, ValueKind] = {"known": "yes_no", "segment": "text", "item_named": "yes_no"}
_RECORD: Mapping[str, ValueKind | Literal["day", "money", "list"]] = {
    "number": "text",
    "kind": "text",
    "state": "text",
    "open": "yes_no",
    "label": "text",
    "item": "text",
    "amount": "money",
}


@dataclass(frozen=True)
class _Said:
    """A variant with everything compiled."""

    place: int
    when: Any
    say: Mapping[str, Template]
    ask: Mapping[str, Template]
    options: tuple[tuple[str, Any, Mapping[str, Template]], ...]
    look_up: tuple[str, ...]
    then: Then


@dataclass(frozen=True)
class _Told:
    """A variant as it is said: all of it, what it begins with, the question at its end, the operations it offers."""

    text: str
    opening: str
    ask: str
    options: tuple[str, ...]


def _in_one_line(*sentences: str) -> str:
    text = " ".join(" ".join(each.split()) for each in sentences if each.strip())
    # A German date ends with a full stop of its own.
    return re.sub(r"(?<=\d)\.\.(?!\.)", ".", text)


class CaseBook:
    """A domain's cases, checked and ready to ask."""

    def __init__(self, file: CasesFile) -> None:
        self._file = file
        self._kinds = {**_ALWAYS, **_RECORD, **file.facts}
        self._said = {name: self._variants(name, case) for name, case in file.cases.items()}
        self._nets = [
            (name, re.compile(pattern, re.IGNORECASE))
            for name, incident in file.incidents.items()
            for pattern in incident.patterns
        ]
        self._certain = [
            (name, re.compile(pattern, re.IGNORECASE | re.DOTALL))
            for name, incident in file.incidents.items()
            for pattern in incident.certain
        ]
        self._asides = {
            name: (
                [re.compile(pattern, re.IGNORECASE) for pattern in aside.beside],
                [
                    self._variant(name, n, v, "nothing", last=False)
                    for n, v in enumerate(aside.variants)
                ],
            )
            for name, aside in file.asides.items()
        }

    @property
    def ticket_operation(self) -> str:
        return self._file.ticket

    @property
    def names(self) -> frozenset[str]:
        return frozenset(self._file.cases)

    @property
    def incidents(self) -> frozenset[str]:
        return frozenset(self._file.incidents)

    def records(self, name: str) -> tuple[str, ...]:
        """The kinds of record that a case may be about."""
        return self._file.cases[name].record

    def reason_for(self, case: str, options: Sequence[str]) -> str | None:
        """What a problem that was told gives for an argument with these options; None where it gives none."""
        known = self._file.cases.get(case)
        return (
            next((reason for reason in known.reasons if reason in options), None) if known else None
        )

    def incident_in(self, text: str) -> str | None:
        """The incident that the domain's own words for it find in a message."""
        return next((name for name, net in self._nets if net.search(text)), None)

    def certain_in(self, text: str) -> str | None:
        """The incident that stands in a message whatever else is made of it."""
        return next((name for name, net in self._certain if net.search(text)), None)

    def incident(self, name: str, language: str) -> Advice:
        """What is said at once."""
        found = self._file.incidents[name]
        return Advice(
            case=name,
            text=_in(found.say, language, self._file.languages),
            person=found.hand_off,
            why="an incident",
        )

    def advise(
        self,
        name: str,
        *,
        record: RecordView | None,
        others: Sequence[RecordView] = (),
        parts: Sequence[Piece] = (),
        customer: Customer,
        today: date,
        language: str = "en",
    ) -> Advice:
        """What to say of a case: the first variant whose condition holds and whose facts are all known."""
        found = self._first(self._said[name], record, others, parts, customer, today, language)
        if found is None:
            raise CasesInvalid(f"{name}: nothing fits, not even the last variant")
        return self._advice(name, *found, record)

    def asides_to(self, quoted: str) -> bool:
        """Whether anything may be to be added to sentences that were quoted."""
        return any(one.search(quoted) for quotes, _ in self._asides.values() for one in quotes)

    def beside(
        self,
        quoted: str,
        *,
        record: RecordView | None,
        others: Sequence[RecordView],
        customer: Customer,
        today: date,
        language: str = "en",
    ) -> Advice | None:
        """What the customer's own records add to sentences that were quoted, the first aside that fits: about the
        record that the question names, else about the newest one of its kind. None where nothing is to be added."""
        for name, (quotes, variants) in self._asides.items():
            kinds = self._file.asides[name].record
            if not any(pattern.search(quoted) for pattern in quotes):
                continue
            about = record if record is not None and record.kind in kinds else None
            if about is None and not _alone(kinds, others):
                continue
            of_kind = sorted(
                (one for one in others if one.kind in kinds), key=lambda one: not one.open
            )
            about = about or next(iter(of_kind), None)
            told = self._first(variants, about, others, (), customer, today, language)
            if told is not None:
                return Advice(
                    case=name, text=told[1].text, why=f"variant {told[0].place + 1} of {name}"
                )
        return None

    def _first(
        self,
        variants: Sequence[_Said],
        record: RecordView | None,
        others: Sequence[RecordView],
        parts: Sequence[Piece],
        customer: Customer,
        today: date,
        language: str,
    ) -> tuple[_Said, _Told] | None:
        """The first variant whose condition holds and whose facts are all known, and what it says."""
        facts = facts_of(record, others, parts, customer)
        scope = {key: _as(kind, facts.get(key)) for key, kind in self._kinds.items()}
        shown = {key: value for key, value in scope.items() if value is not None}
        for said in variants:
            if not holds(said.when, scope):
                continue
            told = self._told(
                said, scope, {**shown, "today": today, "language": language}, language
            )
            if told is not None:
                return said, told
        return None

    def _told(
        self, said: _Said, scope: Mapping[str, Any], shown: Mapping[str, Any], language: str
    ) -> _Told | None:
        """What a variant says; None where a fact is missing."""
        offered = [option for option in said.options if holds(option[1], dict(scope))]
        languages = self._file.languages
        try:
            sentences = [_in(said.say, language, languages).render(shown)]
            sentences += [_in(say, language, languages).render(shown) for _, _, say in offered]
            ask = _in(said.ask, language, languages).render(shown) if said.ask else ""
        except UndefinedError:
            return None
        return _Told(
            text=_in_one_line(*sentences, ask),
            opening=_in_one_line(sentences[0]),
            ask=ask,
            options=tuple(name for name, _, _ in offered),
        )

    def _advice(
        self,
        name: str,
        said: _Said,
        told: _Told,
        record: RecordView | None,
    ) -> Advice:
        subject = self._file.cases[name].subject
        return Advice(
            case=name,
            text=told.text,
            opening=told.opening,
            look_up=said.look_up,
            subject=f"{subject}: {record.id}" if record is not None else subject,
            ticket=said.then == "ticket",
            person=said.then == "person",
            offer_ticket=said.then == "offer_ticket",
            options=told.options,
            ask=told.ask,
            why=f"variant {said.place + 1} of {name}",
        )

    # --- compiling -----------------------------------------------------------------------------

    def _variants(self, name: str, case: Case) -> tuple[_Said, ...]:
        end = len(case.variants) - 1
        return tuple(
            self._variant(name, place, variant, case.then, last=place == end)
            for place, variant in enumerate(case.variants)
        )

    def _variant(self, name: str, place: int, variant: Variant, then: Then, *, last: bool) -> _Said:
        where = f"{name}, variant {place + 1}"
        return _Said(
            place=place,
            when=self._condition(where, variant.when),
            say=self._templates(where, variant.say, always=last),
            ask=self._templates(where, variant.ask, always=last),
            options=tuple(
                (
                    option.operation,
                    self._condition(where, option.when),
                    self._templates(where, option.say),
                )
                for option in variant.options
            ),
            look_up=variant.look_up,
            then=variant.then or then,
        )

    def _condition(self, where: str, when: str) -> Any:
        kinds: dict[str, ValueKind] = {}
        for name, kind in self._kinds.items():
            if kind == "money":
                kinds[name] = "number"
            elif kind in ("number", "text", "yes_no"):
                kinds[name] = kind
        try:
            return compiled_condition(" ".join(when.split()), kinds)[0]
        except RulesInvalid as error:
            raise CasesInvalid(f"{where}: when: {error}") from None

    def _templates(self, where: str, words: Words, *, always: bool = False) -> dict[str, Template]:
        missing = [each for each in self._file.languages if words and each not in words]
        if missing:
            raise CasesInvalid(f"{where}: nothing is said in {', '.join(missing)}")
        known = {*(_ALWAYS if always else self._kinds), "today", "language"}
        made: dict[str, Template] = {}
        for language, text in words.items():
            try:
                unknown = meta.find_undeclared_variables(_JINJA.parse(text)) - known
                made[language] = _JINJA.from_string(text)
            except TemplateSyntaxError as error:
                raise CasesInvalid(f"{where}: {error}") from None
            if unknown:
                what = "not known of every message" if always else "no declared fact"
                raise CasesInvalid(f"{where}: {', '.join(sorted(unknown))}: {what}")
        return made


def _in(words: Mapping[str, Any], language: str, languages: Sequence[str]) -> Any:
    """The words in the customer's language, else in the first that all is written in."""
    return words.get(language) or words[languages[0]]


def read_cases(text: str, operations: Mapping[str, Operation] | None = None) -> CaseBook:
    """The cases in ``text``; raises CasesInvalid naming the case that is wrong and why."""
    try:
        file = CasesFile.model_validate(yaml.safe_load(text))
    except yaml.YAMLError as error:
        raise CasesInvalid(f"not YAML: {error}") from None
    except ValidationError as error:
        told = [f"{'.'.join(map(str, one['loc']))}: {one['msg']}" for one in error.errors()]
        raise CasesInvalid("; ".join(told)) from None
    if operations is not None:
        for name in sorted(_operations_in(file) - set(operations)):
            raise CasesInvalid(f"there is no operation {name}")
        for name in sorted(_looked_up_in(file)):
            if operations[name].writes:
                raise CasesInvalid(f"look_up: {name} changes something; offer it under `options`")
    return CaseBook(file)


def load_cases(path: Path, operations: Mapping[str, Operation] | None = None) -> CaseBook:
    """The cases of a domain's file."""
    try:
        return read_cases(path.read_text(encoding="utf-8"), operations)
    except CasesInvalid as error:
        raise CasesInvalid(f"{path.name}: {error}") from None


def _operations_in(file: CasesFile) -> set[str]:
    offered = {
        option.operation
        for case in file.cases.values()
        for variant in case.variants
        for option in variant.options
    }
    return offered | _looked_up_in(file) | {file.ticket}


def _looked_up_in(file: CasesFile) -> set[str]:
    return {
        name
        for case in file.cases.values()
        for variant in case.variants
        for name in variant.look_up
    }


# --- facts -------------------------------------------------------------------------------------


def facts_of(
    record: RecordView | None,
    others: Sequence[RecordView],
    parts: Sequence[Piece],
    customer: Customer,
) -> dict[str, Any]:
    """Everything that may be spoken of: the record's own facts (also under its kind's name, ``order_state``),
    those of the named item before them, of each other kind the record that belongs to it (``refund_amount``),
    and how many of each kind are open (``open_refund``, the newest as ``open_refund_number``)."""
    facts: dict[str, Any] = {"known": record is not None, "segment": customer.segment}
    facts["item_named"] = bool(parts)
    for kind, other in _related(record, others):
        facts |= {f"{kind}_{name}": value for name, value in _own(other).items()}
    for other in reversed(others):
        if other.open:
            facts[f"open_{other.kind}"] = facts.get(f"open_{other.kind}", 0) + 1
            facts[f"open_{other.kind}_number"] = other.id
    if record is None:
        return facts
    facts |= _own(record) | {f"{record.kind}_{key}": value for key, value in _own(record).items()}
    facts["item"] = _names([part.name for part in parts] or [item.name for item in record.items])
    meant = [part.id for part in parts] or [item.id for item in record.items]
    each = cast("Mapping[str, Mapping[str, JsonValue]]", record.facts.get("items") or {})
    if len(meant) == 1:
        facts |= each.get(meant[0], {})
    return facts


def _own(view: RecordView) -> dict[str, Any]:
    return {
        **view.facts,
        **view.dates,
        "number": view.id,
        "kind": view.kind,
        "state": view.state,
        "open": view.open,
        "label": view.label,
        "amount": view.amount,
    }


def _names(names: Sequence[str]) -> str | None:
    return ", ".join(dict.fromkeys(names)) or None


def _related(
    record: RecordView | None, others: Sequence[RecordView]
) -> Iterator[tuple[str, RecordView]]:
    """Of each kind the newest that belongs to the record or that the record belongs to; of kinds that belong
    to nothing (a plan) the newest that is still running, else the newest."""
    parents = _parents(others)
    for kind in dict.fromkeys(one.kind for one in others):
        if record is not None and kind == record.kind:
            continue
        same = [one for one in others if one.kind == kind]
        free = [one for one in same if one.parent is None and kind not in parents]
        linked = [] if record is None else [one for one in same if _belong(one, record)]
        fitting = linked or sorted(free, key=lambda one: not one.open)
        if fitting:
            yield kind, fitting[0]


def _alone(kinds: Sequence[str], others: Sequence[RecordView]) -> bool:
    """Whether records of these kinds belong to nothing else, as a plan does: one need not be named to be meant."""
    parents = _parents(others)
    return all(
        one.parent is None and one.kind not in parents for one in others if one.kind in kinds
    )


def _belong(one: RecordView, other: RecordView) -> bool:
    return one.parent == other.id or one.id == other.parent


def _parents(others: Sequence[RecordView]) -> set[str]:
    """The kinds that other records belong to."""
    ids = {one.id: one.kind for one in others}
    return {ids[one.parent] for one in others if one.parent in ids}


def _as(kind: str, value: Any) -> Any:
    """A fact as its kind says; None where it is not known."""
    if value is None:
        return None
    match kind:
        case "number" | "money":
            try:
                return Decimal(str(value))
            except InvalidOperation:
                return None
        case "yes_no":
            return bool(value)
        case "day":
            return date.fromisoformat(value) if isinstance(value, str) else value
        case "text":
            return str(value)
        case _:
            return value


# --- words -------------------------------------------------------------------------------------


@pass_context
def _day(context: TemplateContext, value: date) -> str:
    """``3 Nov``, ``3.11.``; with the year where it is not this one."""
    today, language = context["today"], str(context["language"])
    same = value.year == today.year
    if language == "de":
        return f"{value.day}.{value.month}." + ("" if same else str(value.year))
    return format_date(value, "d MMM" if same else "d MMM y", locale="en")


@pass_context
def _money(context: TemplateContext, value: Decimal) -> str:
    locale = "de" if context["language"] == "de" else "en"
    return f"{format_decimal(value, '#,##0.00', locale=locale)} EUR"


_JINJA = ImmutableSandboxedEnvironment(
    undefined=StrictUndefined, autoescape=False, trim_blocks=True, lstrip_blocks=True
)
_JINJA.filters |= {"day": _day, "money": _money}  # pyright: ignore[reportAttributeAccessIssue, reportUnknownMemberType]
