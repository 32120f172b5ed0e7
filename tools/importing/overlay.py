"""``operations.yaml``: what of a company's API exists for the agent, and what a person has confirmed about it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Annotated, Any, Literal

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    JsonValue,
    StringConstraints,
    field_validator,
    model_validator,
)

from tools.importing.expressions import Expressions
from tools.importing.problems import FilesInvalid, Problem
from tools.importing.yaml_files import Read
from tools.values import Consequence

#: A text with ``{{ … }}`` in it; or one for each language.
Text = str | dict[str, str]
#: A condition or a value made of names: ``state == 'over'``, ``days(until, ends_at) * price``.
Expression = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1)]
Name = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_]{0,59}$")]
Class = Literal["safe", "retry_safe", "retry_unsafe", "irreversible"]
Status = Annotated[int, Field(ge=100, le=599)]


class Part(BaseModel):
    """A part of the file: a key that is not known is a spelling mistake."""

    model_config = ConfigDict(frozen=True, extra="forbid")


def in_language(text: Text, language: str, default: str) -> str:
    """The text in a language: the customer's, else the domain's first, else any."""
    if isinstance(text, str):
        return text
    return text.get(language) or text.get(default) or next(iter(text.values()), "")


# --- records --------------------------------------------------------------------------------------


class Listing(Part):
    """Which operation lists something, with which arguments, and where in its answer the list is."""

    operation: Name | str
    system: str | None = None
    arguments: dict[str, JsonValue] = {}
    at: Expression | None = None  #: By default the answer itself, or the one list in it.


class Items(Part):
    """What a record holds, as its parts."""

    at: Expression
    id: Expression = "id"
    name: Expression = "name"
    quantity: Expression | None = None
    price: Expression | None = None
    words: tuple[Expression, ...] = ()


class RecordKind(Part):
    """One kind of the customer's own records."""

    #: Why it was proposed at import. As long as the line stands, nobody has seen that the list holds the customer's
    #: own records alone, and neither the kind nor what is about it exists for the agent.
    proposed: str = ""
    list: Listing
    id: Expression
    label: Text
    state: Expression = "''"
    states: dict[str, tuple[str, ...]] = {}  #: State -> what customers say of one in it.
    example: str = (
        ""  #: A number as such records have it, by whose form others are recognised: F-20011.
    )
    called: tuple[str, ...] = ()  #: What customers call such a record: order, purchase, Bestellung.
    open: Expression | None = None
    words: tuple[Expression, ...] = ()
    items: Items | Expression | None = None
    dates: dict[Name, Expression] = {}
    amount: Expression | None = None
    currency: Expression | None = None
    parent: Expression | None = None
    facts: dict[Name, Expression] = {}
    first: Expression | None = None  #: Which to offer when none was named.
    none: Text = "There is nothing of this kind on your account."
    foreign: Text = "I can't find {{ given }} on your account."


# --- operations -----------------------------------------------------------------------------------


class Argument(Part):
    """What the overlay says about one argument."""

    ask: Text | None = None  #: The question for it.
    about: str = ""  #: What it means, for whoever reads it out of words.
    fixed: JsonValue = None  #: From the session or a constant: never from words.
    from_record: Text | None = None  #: Worked out from the record: shown, and never asked for.
    synonyms: dict[str, tuple[str, ...]] = {}  #: Option -> what customers say for it.
    required: bool | None = None
    copied: bool = False  #: Taken over word for word.
    why: bool = False  #: It says why it is wanted: two requests that differ in it only are one.
    drop: bool = False  #: Never sent.
    schema_: dict[str, JsonValue] | None = Field(default=None, alias="schema")
    #: ``schema`` declares an argument that the API does not have: asked for, used in expressions, never sent.

    @model_validator(mode="after")
    def _one_source(self) -> Argument:
        given = [self.fixed is not None, self.from_record is not None, self.drop]
        if sum(given) > 1:
            raise ValueError("an argument is either fixed, or from_record, or dropped")
        if any(given) and self.ask:
            raise ValueError("what is fixed, from_record or dropped is not asked for")
        return self


class About(Part):
    """Which of the customer's records an operation is about."""

    kind: Name
    argument: str | None = (
        None  #: Which argument takes its id; found by its name where it is clear.
    )
    when: Expression | None = None  #: Which records it can be about; others are not offered.


class Refusal(Part):
    """Why an operation is not done, as a condition with a sentence."""

    when: Expression
    say: Text


class Graver(Part):
    """When a call is graver than its operation's class says."""

    when: Expression
    consequence: Class


class Key(Part):
    """Where the key of a write goes, and for how long sending it again is harmless."""

    header: str | None = None
    body: str | None = None
    query: str | None = None
    argument: str | None = None
    kept_hours: float = Field(gt=0)

    @model_validator(mode="after")
    def _one_place(self) -> Key:
        _exactly_one(self, "header", "body", "query", "argument")
        return self


class Reference(Part):
    """Where our own name of the action goes, to find it by afterwards."""

    header: str | None = None
    body: str | None = None
    query: str | None = None
    argument: str | None = None

    @model_validator(mode="after")
    def _one_place(self) -> Reference:
        _exactly_one(self, "header", "body", "query", "argument")
        return self


class Lookup(Part):
    """How to find out afterwards whether a write took effect."""

    operation: str
    system: str | None = None
    arguments: dict[str, JsonValue] = {}
    at: Expression | None = None
    match: Expression | None = None  #: Which of the listed entries is ours.
    done: Expression  #: What holds once it took effect.
    before: Expression | None = None  #: What holds as long as it has not.
    failed: Expression | None = None  #: What holds of an entry that never will.
    absent_after_minutes: float | None = Field(default=None, gt=0)


class Write(Part):
    """How a write to the outside system is sent and settled."""

    key: Key | Literal["none"] = "none"
    reference: Reference | Literal["none"] = "none"
    done: tuple[Status, ...] = (200, 201, 204)
    declined: tuple[Status, ...] | dict[Status, Text] = (400, 401, 403, 404, 405, 410, 415)
    lookup: Lookup | Literal["person", "none"] = "none"

    @property
    def keyed(self) -> Key | None:
        return self.key if isinstance(self.key, Key) else None

    @property
    def looked_up(self) -> Lookup | None:
        return self.lookup if isinstance(self.lookup, Lookup) else None

    @property
    def referred(self) -> Reference | None:
        return self.reference if isinstance(self.reference, Reference) else None

    def declines(self, status: int) -> bool:
        return status in self.declined

    def sentence(self, status: int) -> Text | None:
        """What to tell the customer of a refusal with this status."""
        return self.declined.get(status) if isinstance(self.declined, dict) else None


class Proposed(Part):
    """A class that was proposed at import and that nobody has confirmed yet."""

    proposed: Class
    why: str = ""


class Operation(Part):
    """One operation of the API that exists for the agent."""

    operation: str | None = None  #: In the document; by default the one of the same name.
    system: str | None = None  #: Which of the domain's systems; by default the only one.
    title: Text
    summary: str = ""
    example: str = ""
    consequence: Class | Proposed
    record: About | Name | None = None
    lists: Name | None = (
        None  #: It shows all the customer's records of this kind, and calls nothing.
    )
    ask: dict[str, Text] = {}
    arguments: dict[str, Argument | str | int | float | bool] = {}
    refuse: tuple[Refusal, ...] = ()
    graver: tuple[Graver, ...] = ()
    effects: tuple[Text, ...] = ()
    write: Write | None = None
    result: dict[Name, Expression] = {}
    confirmed: str | None = (
        None  #: Digest of the tool's schema and description as it was confirmed (MCP).
    )
    confirm: bool | None = None  #: Ask the customer first; by default writes do.

    @field_validator("record", mode="before")
    @classmethod
    def _a_kind_alone(cls, given: Any) -> Any:
        return {"kind": given} if isinstance(given, str) else given

    @model_validator(mode="after")
    def _write_belongs_to_writes(self) -> Operation:
        if isinstance(self.consequence, str):
            if self.consequence == "safe" and self.write is not None:
                raise ValueError("a safe operation has no `write`: it only reads")
            if self.consequence != "safe" and self.write is None:
                raise ValueError(
                    "an operation that writes needs `write`: its key, reference and look-up, or "
                    "`lookup: person` where a person settles what nobody knows"
                )
        if self.lists is not None and (self.operation or self.record or self.write):
            raise ValueError(
                "what `lists` records calls nothing, so it has no operation of its own"
            )
        return self

    @property
    def about(self) -> About | None:
        return self.record if isinstance(self.record, About) else None

    @property
    def declared(self) -> Consequence | None:
        """The class that a person confirmed; None where nobody has."""
        return Consequence(self.consequence) if isinstance(self.consequence, str) else None

    def said(self, argument: str) -> Argument:
        """What the file says about one argument, however it says it."""
        given = self.arguments.get(argument)
        if isinstance(given, Argument):
            said = given
        elif given is None:
            said = Argument()
        else:
            said = Argument(fixed=given)
        question = self.ask.get(argument)
        return said if question is None else said.model_copy(update={"ask": question})


class Overlay(Part):
    """The whole file."""

    records: dict[Name, RecordKind] = {}
    operations: dict[Name, Operation] = {}

    @property
    def confirmed(self) -> Overlay:
        """What exists for the agent: what a person has confirmed, about records that a person has confirmed."""
        kinds = {name: kind for name, kind in self.records.items() if not kind.proposed}
        waiting = set(self.records) - set(kinds)

        def stands(one: Operation) -> bool:
            meant = one.lists or (one.about.kind if one.about is not None else None)
            return one.declared is not None and meant not in waiting

        operations = {name: one for name, one in self.operations.items() if stands(one)}
        return Overlay(records=kinds, operations=operations)

    @property
    def waiting(self) -> frozenset[str]:
        """The operations that the file lists and that do not exist for the agent yet."""
        return frozenset(set(self.operations) - set(self.confirmed.operations))

    @property
    def allowed(self) -> dict[str, dict[str, str | None]]:
        """By kind of record: the operations about such records, each with what has to hold of one."""
        found: dict[str, dict[str, str | None]] = {kind: {} for kind in self.records}
        for name, one in self.operations.items():
            if one.about is not None and one.about.kind in found:
                found[one.about.kind][name] = one.about.when
        return found


def _exactly_one(part: BaseModel, *names: str) -> None:
    given = [name for name in names if getattr(part, name) is not None]
    if len(given) != 1:
        raise ValueError(f"say exactly one of {', '.join(names)}")


# --- what pydantic cannot see ---------------------------------------------------------------------

#: Names that every template may use.
ALWAYS = frozenset({"customer", "now", "today", "contact", "record", "arguments", "language"})


def check_overlay(overlay: Overlay, read: Read, expressions: Expressions) -> None:
    """Every template and expression can be read. Raises FilesInvalid with the line of those that cannot."""
    problems: list[Problem] = []
    for path, source, template in _sources(overlay):
        shown = template or "{{" in source or "{%" in source
        problem = expressions.check(source, template=shown)
        if problem is not None:
            problems.append(read.problem(path, problem))
    for name, one in overlay.operations.items():
        for kind in (one.about.kind if one.about else None, one.lists):
            if kind is not None and kind not in overlay.records:
                known = ", ".join(overlay.records) or "none"
                text = f"there is no record {kind!r}; the file declares {known}"
                problems.append(read.problem(["operations", name, "record"], text))
    if problems:
        raise FilesInvalid(problems)


def _texts(text: Text | None) -> Iterator[str]:
    if text is not None:
        yield from [text] if isinstance(text, str) else text.values()


def _sources(overlay: Overlay) -> Iterator[tuple[list[Any], str, bool]]:
    """Every source in the file: where it stands, what it is, and whether it is a template."""
    for name, kind in overlay.records.items():
        here = ["records", name]
        for key in ("label", "none", "foreign"):
            yield from (([*here, key], s, True) for s in _texts(getattr(kind, key)))
        singles = ("id", "state", "open", "amount", "currency", "parent", "first")
        for key in singles:
            if (source := getattr(kind, key)) is not None:
                yield [*here, key], source, False
        yield from (([*here, "words"], s, False) for s in kind.words)
        for key in ("dates", "facts"):
            yield from (([*here, key, n], s, False) for n, s in getattr(kind, key).items())
        if isinstance(kind.items, Items):
            for key in ("at", "id", "name", "quantity", "price"):
                if (source := getattr(kind.items, key)) is not None:
                    yield [*here, "items", key], source, False
        elif kind.items is not None:
            yield [*here, "items"], kind.items, False
        yield from _of_call(kind.list, [*here, "list"])
    for name, one in overlay.operations.items():
        yield from _of_operation(one, ["operations", name])


def _of_call(call: Listing | Lookup, here: list[Any]) -> Iterator[tuple[list[Any], str, bool]]:
    for name, value in call.arguments.items():
        if isinstance(value, str):
            yield [*here, "arguments", name], value, True
    if call.at is not None:
        yield [*here, "at"], call.at, False
    if isinstance(call, Lookup):
        for key in ("match", "done", "before", "failed"):
            if (source := getattr(call, key)) is not None:
                yield [*here, key], source, False


def _of_operation(one: Operation, here: list[Any]) -> Iterator[tuple[list[Any], str, bool]]:
    for key in ("title",):
        yield from (([*here, key], s, True) for s in _texts(getattr(one, key)))
    for n, effect in enumerate(one.effects):
        yield from (([*here, "effects", n], s, True) for s in _texts(effect))
    for name in dict.fromkeys([*one.arguments, *one.ask]):
        said = one.said(name)
        yield from (([*here, "ask", name], s, True) for s in _texts(said.ask))
        place = [*here, "arguments", name]
        if isinstance(said.fixed, str):
            yield place, said.fixed, True
        yield from ((place, s, False) for s in _texts(said.from_record))
    for n, refusal in enumerate(one.refuse):
        yield [*here, "refuse", n, "when"], refusal.when, False
        yield from (([*here, "refuse", n, "say"], s, True) for s in _texts(refusal.say))
    for n, graver in enumerate(one.graver):
        yield [*here, "graver", n, "when"], graver.when, False
    for name, source in one.result.items():
        yield [*here, "result", name], source, False
    if one.about is not None and one.about.when is not None:
        yield [*here, "record", "when"], one.about.when, False
    if one.write is not None:
        if isinstance(one.write.declined, dict):
            for text in one.write.declined.values():
                yield from (([*here, "write", "declined"], s, True) for s in _texts(text))
        if one.write.looked_up is not None:
            yield from _of_call(one.write.looked_up, [*here, "write", "lookup"])


def weak_writes(overlay: Overlay) -> Mapping[str, str]:
    """Writes that nobody could settle after a lost answer, by name: why."""
    found: dict[str, str] = {}
    for name, one in overlay.operations.items():
        write = one.write
        if write is None or write.lookup == "person" or write.looked_up is not None:
            continue
        if write.keyed is None:
            found[name] = (
                "has neither a key nor a look-up: a lost answer could never be settled. Give `write.key`, "
                "or `write.lookup`, or say `lookup: person`"
            )
    return found
