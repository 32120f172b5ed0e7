"""The shop's business rules: data in one file, which may make the gate stricter and never laxer."""

from __future__ import annotations

import hashlib
import logging
import re
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import Annotated, Any, Literal, Protocol, cast, get_args, runtime_checkable
from zoneinfo import ZoneInfo

import yaml
from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    JsonValue,
    ValidationError,
    field_validator,
    model_validator,
)

from tools.values import Actor, Consequence, Customer, Operation, Preview, Record, ReviewerRole

log = logging.getLogger(__name__)

Weekday = Literal["monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday"]
Segment = Literal["consumer", "business"]
Effect = Literal["allow", "refuse", "approve", "two_persons"]

WEEKDAYS: tuple[str, ...] = get_args(Weekday)
#: Names whose value is one of a few words: a rule that compares with any other word can never hold.
WORDS: Mapping[str, frozenset[str]] = {
    "weekday": frozenset(WEEKDAYS),
    "segment": frozenset(get_args(Segment)),
    "consequence": frozenset(Consequence),
    "actor": frozenset(get_args(Actor)),
}
#: An expression is a condition a person can read, not a program.
MOST_CHARACTERS = 400
_QUOTED = re.compile(r'"[^"\\]*"|\'[^\'\\]*\'')
_FOREIGN = re.compile(r"[^\w\s<>=!()\[\],.-]")


class RulesInvalid(ValueError):
    """The rules cannot be used as they are written."""


class Facts(Record):
    """What a rule may ask about: the names in its ``when``, apart from the time of day."""

    operation: str
    consequence: Consequence  #: Declared, raised by the record's state.
    amount: Decimal | None = None  #: What is paid back or charged, as the preview worked it out.
    reason: str | None = None  #: The customer's reason, where the operation takes one.
    record_state: str | None = None
    segment: Segment
    customer_days: int  #: Days since the customer's first day.
    actor: Actor = (
        "customer"  #: Who asked for it in this form: a reviewer's edit is the reviewer's.
    )
    at: datetime


class Ruling(Record):
    """What the rules say about one action; with none that holds, nothing is added to the verdict."""

    effect: Literal["allow", "refuse", "approve"] = "allow"
    approvers: int = 0  #: Different persons who have to approve it.
    reviewer: ReviewerRole = "agent"  #: The least role whose approval counts.
    rules: tuple[str, ...] = ()  #: The rules that held.
    reason: str = ""  #: For a refusal the customer's sentence, else the reviewers'.
    version: str = ""  #: Digest of the file they came from.


@runtime_checkable
class Policy(Protocol):
    """The business rules as they are now."""

    def ruling(self, facts: Facts) -> Ruling: ...


class NoRules:
    """A shop without business rules: the operations' own classes are all there is."""

    def ruling(self, facts: Facts) -> Ruling:
        return Ruling()


def facts_about(
    customer: Customer,
    operation: Operation,
    arguments: Mapping[str, JsonValue],
    preview: Preview,
    at: datetime,
    *,
    actor: Actor = "customer",
) -> Facts:
    """What the rules may know of an action, from its arguments and from the books."""
    given = {**arguments, **preview.arguments}
    reason = given.get("reason")
    return Facts(
        operation=operation.name,
        consequence=preview.consequence,
        amount=_amount(given.get("amount")),
        reason=reason if isinstance(reason, str) else None,
        record_state=preview.record_state,
        segment=customer.segment,
        customer_days=(at.date() - customer.since).days,
        actor=actor,
        at=at,
    )


def _amount(value: object) -> Decimal | None:
    try:
        amount = Decimal(str(value))
    except InvalidOperation:
        return None
    return amount if amount.is_finite() else None


# --- the file -------------------------------------------------------------------------------------


class Rule(BaseModel):
    """One rule as it is written."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]*$", max_length=60)]
    operations: Annotated[tuple[str, ...], Field(min_length=1)]
    when: Annotated[str, Field(min_length=1, max_length=MOST_CHARACTERS)] = "true"
    then: Effect
    reviewer: ReviewerRole = "agent"
    say: Annotated[str, Field(max_length=300)] = ""

    @field_validator("when", mode="before")
    @classmethod
    def _yaml_reads_true_as_a_boolean(cls, value: Any) -> Any:
        return str(value).lower() if isinstance(value, bool) else value

    @model_validator(mode="after")
    def _says_what_it_means(self) -> Rule:
        if self.then == "refuse" and not self.say.strip():
            raise ValueError("a rule that refuses needs a sentence for the customer in `say`")
        if self.reviewer != "agent" and self.then not in {"approve", "two_persons"}:
            raise ValueError("`reviewer` belongs to `approve` and `two_persons`")
        return self


class RulesFile(BaseModel):
    """The whole file."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    timezone: str = "UTC"
    rules: tuple[Rule, ...] = ()

    @field_validator("timezone")
    @classmethod
    def _is_a_timezone(cls, name: str) -> str:
        try:
            ZoneInfo(name)
        except (KeyError, ValueError, OSError):
            raise ValueError(f"there is no time zone {name!r}") from None
        return name

    @model_validator(mode="after")
    def _names_are_unique(self) -> RulesFile:
        names = [rule.name for rule in self.rules]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise ValueError(f"two rules have the name {', '.join(twice)}")
        return self


@dataclass(frozen=True)
class RuleBook:
    """A file's rules, checked and ready to ask. Every rule that holds counts; the strictest wins."""

    rules: tuple[tuple[Rule, Any], ...]  #: Each with its compiled condition.
    timezone: ZoneInfo
    version: str

    def ruling(self, facts: Facts) -> Ruling:
        concerned = [pair for pair in self.rules if facts.operation in pair[0].operations]
        names = _values(facts, self.timezone) if concerned else {}
        held: list[Rule] = []
        unclear: list[Rule] = []
        for rule, condition in concerned:
            held_now = holds(condition, names)
            if held_now is None:
                unclear.append(rule)
            elif held_now:
                held.append(rule)
        return _strictest(held, unclear, self.version)


def _strictest(held: list[Rule], unclear: list[Rule], version: str) -> Ruling:
    names = tuple(rule.name for rule in (*held, *unclear))
    refusing = [rule for rule in held if rule.then == "refuse"]
    if refusing:
        return Ruling(effect="refuse", rules=names, reason=refusing[0].say, version=version)
    asking = [rule for rule in held if rule.then in {"approve", "two_persons"}]
    if not asking and not unclear:
        return Ruling(rules=names, version=version)
    two = any(rule.then == "two_persons" for rule in (*asking, *unclear))
    admin = any(rule.reviewer == "admin" for rule in (*asking, *unclear))
    reasons = [rule.say.strip() or f"The rule {rule.name} asks for it." for rule in asking]
    # What cannot be worked out is not waved through.
    reasons += [f"The rule {rule.name} could not be worked out here." for rule in unclear]
    return Ruling(
        effect="approve",
        approvers=2 if two else 1,
        reviewer="admin" if admin else "agent",
        rules=names,
        reason=" ".join(reasons),
        version=version,
    )


def _values(facts: Facts, timezone: ZoneInfo) -> dict[str, Any]:
    local = facts.at.astimezone(timezone)
    return {
        "amount": facts.amount,
        "reason": facts.reason,
        "record_state": facts.record_state,
        "segment": facts.segment,
        "customer_days": facts.customer_days,
        "consequence": facts.consequence.value,
        "actor": facts.actor,
        "weekday": WEEKDAYS[local.weekday()],
        "hour": Decimal(local.hour) + Decimal(local.minute) / 60,
    }


def holds(condition: Any, names: dict[str, Any]) -> bool | None:
    """Whether the condition holds; None when it compares something that is not known here."""
    from rule_engine import EngineError

    try:
        return bool(condition.matches(names))
    except EngineError:
        return None


# --- reading and checking it ----------------------------------------------------------------------


def read_rules(text: str, operations: Mapping[str, Operation]) -> RuleBook:
    """The rules in ``text``; raises RulesInvalid naming the rule that is wrong and why."""
    raw: Any = None
    try:
        raw = yaml.safe_load(text)
        file = RulesFile.model_validate(raw)
    except yaml.YAMLError as error:
        raise RulesInvalid(f"not YAML: {error}") from None
    except ValidationError as error:
        problems = [_problem(each, raw) for each in error.errors()]
        raise RulesInvalid("; ".join(problems)) from None
    compiled = tuple((rule, _compiled(rule, operations)) for rule in file.rules)
    version = hashlib.sha256(text.encode()).hexdigest()[:12]
    return RuleBook(compiled, ZoneInfo(file.timezone), version)


def _problem(error: Any, raw: Any) -> str:
    """A pydantic error with the rule's name in place of its number."""
    where: list[Any] = list(error["loc"])
    message = str(error["msg"]).removeprefix("Value error, ")
    if len(where) >= 2 and where[0] == "rules" and isinstance(where[1], int):
        rule = cast("dict[str, Any]", raw)["rules"][where[1]]
        named = cast("dict[str, Any]", rule).get("name") if isinstance(rule, dict) else None
        where[:2] = [f"rule {named or where[1] + 1}"]
    return ": ".join([*map(str, where), message])


def _compiled(rule: Rule, operations: Mapping[str, Operation]) -> Any:
    unknown = sorted(set(rule.operations) - set(operations))
    if unknown:
        raise RulesInvalid(f"rule {rule.name}: there is no operation {', '.join(unknown)}")
    if rule.then in {"approve", "two_persons"}:
        reads = [name for name in rule.operations if not operations[name].writes]
        if reads:
            raise RulesInvalid(f"rule {rule.name}: {reads[0]} only reads and never waits")
    try:
        condition, used = compiled_condition(rule.when, _KINDS)
    except RulesInvalid as error:
        raise RulesInvalid(f"rule {rule.name}: when: {error}") from None
    for name in sorted(used & {"amount", "reason"}):
        without = [o for o in rule.operations if name not in operations[o].arguments.model_fields]
        if without:
            raise RulesInvalid(f"rule {rule.name}: when: {without[0]} has no {name}")
    return condition


#: What a name in a condition stands for.
ValueKind = Literal["number", "text", "yes_no"]
_KINDS: Mapping[str, ValueKind] = {
    "amount": "number",
    "customer_days": "number",
    "hour": "number",
    "reason": "text",
    "record_state": "text",
    "segment": "text",
    "consequence": "text",
    "actor": "text",
    "weekday": "text",
}


def compiled_condition(when: str, kinds: Mapping[str, ValueKind]) -> tuple[Any, set[str]]:
    """The condition ready to be asked, and the names it uses; raises RulesInvalid saying what is wrong."""
    from rule_engine import Context, DataType, EngineError, type_resolver_from_dict
    from rule_engine import Rule as Condition

    # The library works out constant parts while it parses: what it must not try, it must not see.
    if (sign := _FOREIGN.search(_QUOTED.sub("", when))) is not None:
        raise RulesInvalid(f"{sign[0]!r} is not available to rules")
    known = {"number": DataType.FLOAT, "text": DataType.STRING, "yes_no": DataType.BOOLEAN}
    types = {name: known[kind] for name, kind in kinds.items()}
    try:
        condition: Any = Condition(
            when, context=Context(type_resolver=type_resolver_from_dict(types))
        )
        return condition, _checked(condition.statement.expression)
    except EngineError as error:
        raise RulesInvalid(str(error.message)) from None


def _checked(expression: Any) -> set[str]:
    """The names a condition uses. It may compare names with values and join comparisons, no more:
    no attributes, calls, patterns, loops or powers, so that every condition ends, and at once."""
    from rule_engine import DataType, ast

    used: set[str] = set()

    def kind(node: Any) -> Any:
        return node.result_type

    def word_fits(name: Any, other: Any) -> None:
        if isinstance(name, ast.SymbolExpression) and isinstance(other, ast.StringExpression):
            words = WORDS.get(name.name)
            if words is not None and other.value not in words:
                known = ", ".join(sorted(words))
                raise RulesInvalid(f"{name.name} is never {other.value!r}; it is one of {known}")

    def same(left: Any, right: Any) -> None:
        kinds = {kind(left), kind(right)} - {DataType.NULL}
        if len(kinds) > 1:
            raise RulesInvalid("it compares things of different kinds, which are never equal")
        word_fits(left, right)
        word_fits(right, left)

    def condition(node: Any) -> None:
        if kind(node) != DataType.BOOLEAN:
            raise RulesInvalid("a condition is true or false, this is neither")
        walk(node)

    def walk(node: Any) -> None:
        match node:
            case ast.SymbolExpression():
                if node.scope is not None:
                    raise RulesInvalid(f"${node.name} is not available to rules")
                used.add(str(node.name))
            case ast.LogicExpression():
                condition(node.left)
                condition(node.right)
            case ast.UnaryExpression():
                (condition if node.type == "not" else walk)(node.right)
            case ast.ArithmeticComparisonExpression():
                if {kind(node.left), kind(node.right)} != {DataType.FLOAT}:
                    raise RulesInvalid("only numbers are compared by size")
                walk(node.left)
                walk(node.right)
            case ast.FuzzyComparisonExpression():
                raise RulesInvalid("patterns are not available to rules")
            case ast.ComparisonExpression():
                same(node.left, node.right)
                walk(node.left)
                walk(node.right)
            case ast.ContainsExpression():
                if not isinstance(node.container, ast.ArrayExpression):
                    raise RulesInvalid("`in` needs a list of values in brackets")
                for member in node.container.value:
                    same(node.member, member)
                    walk(member)
                walk(node.member)
            case (
                ast.BooleanExpression()
                | ast.FloatExpression()
                | ast.StringExpression()
                | ast.NullExpression()
            ):
                pass
            case _:
                what = type(node).__name__.removesuffix("Expression").lower()
                raise RulesInvalid(f"{what} expressions are not available to rules")

    condition(expression)
    return used


class FilePolicy:
    """The rules in a file, read again whenever it changes; a bad edit leaves the last good rules in force."""

    def __init__(self, path: Path, operations: Mapping[str, Operation]) -> None:
        self._path = path
        self._operations = operations
        self._reading = threading.Lock()
        self._stamp: object = None
        self._problem: str | None = None
        text = path.read_text(encoding="utf-8")
        self._stamp = _stamp(path)
        try:
            self._book = read_rules(text, operations)
        except RulesInvalid as error:
            raise RulesInvalid(f"{path.name}: {error}") from None

    def ruling(self, facts: Facts) -> Ruling:
        return self._current().ruling(facts)

    @property
    def version(self) -> str:
        """Digest of the rules in force."""
        return self._current().version

    @property
    def problem(self) -> str | None:
        """Why the file as it is now is not in force; None when it is."""
        self._current()
        return self._problem

    async def health(self) -> Mapping[str, Mapping[str, str]]:
        """Whether the file as it is now is in force."""
        problem = self.problem
        if problem is None:
            return {"rules": {"status": "ok", "version": self.version}}
        return {"rules": {"status": "degraded", "version": self.version, "reason": problem}}

    def _current(self) -> RuleBook:
        try:
            stamp = _stamp(self._path)
        except OSError as error:
            return self._keep(None, f"cannot be read: {error.strerror}")
        if stamp == self._stamp:
            return self._book
        with self._reading:
            if stamp == self._stamp:
                return self._book
            try:
                self._book = read_rules(self._path.read_text(encoding="utf-8"), self._operations)
            except (RulesInvalid, OSError, UnicodeDecodeError) as error:
                return self._keep(stamp, str(error))
            self._stamp, self._problem = stamp, None
            log.info("business rules: version %s is in force", self._book.version)
            return self._book

    def _keep(self, stamp: object, problem: str) -> RuleBook:
        if problem != self._problem:
            log.error(
                "business rules: %s: %s; version %s stays in force",
                self._path.name,
                problem,
                self._book.version,
            )
        self._stamp, self._problem = stamp, problem
        return self._book


def _stamp(path: Path) -> object:
    found = path.stat()
    return found.st_ino, found.st_mtime_ns, found.st_size
