"""The operations of ``operations.yaml`` as the engine's own: previewed from the record read now, sent through one port."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, cast

from pydantic import BaseModel, ConfigDict, Field, JsonValue, create_model

from tools.effects import CallRequest
from tools.importing.arguments import Shape, arguments_model, check_schema, coerced
from tools.importing.calls import Call, System
from tools.importing.expressions import ExpressionFailed, Expressions
from tools.importing.overlay import Argument, Text, Write, in_language
from tools.importing.overlay import Operation as Declared
from tools.importing.problems import FilesInvalid, Problem
from tools.importing.records import Account, Own, Records, customer_names, same_id, spread
from tools.importing.schemas import kind_of
from tools.importing.yaml_files import Read
from tools.ports import BackendUnavailable
from tools.values import (
    Arguments,
    Consequence,
    Customer,
    NotAllowed,
    Operation,
    OperationFailed,
    OutsideEffect,
    Preview,
    RecordNotFound,
)

log = logging.getLogger(__name__)

#: More than this is a list to read, not a choice to make.
MOST_CANDIDATES = 5
NOT_ACCEPTED = "Some of these details were not accepted, so nothing was changed."


class Told(BaseModel):
    """What replies may speak of: the fields that the file names, and nothing else of the answer."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    label: str = ""  #: The record it is about, for people.


@dataclass(frozen=True)
class Sent:
    """How a value of one of the API's arguments comes about."""

    schema: Mapping[str, Any]
    fixed: JsonValue = None
    argument: str | None = None  #: Ours that fills it.
    required: bool = False


@dataclass(frozen=True)
class Built:
    """One operation of the file, tied to what it calls."""

    name: str
    declared: Declared
    system: System | None
    calls: str  #: What the system names it; empty where nothing is called.
    sent: Mapping[str, Sent]
    shapes: Mapping[str, Shape]
    id_argument: str | None
    arguments: type[Arguments]
    result: type[BaseModel]
    records: Records
    language: str  #: The domain's own.

    @property
    def expressions(self) -> Expressions:
        return self.records.expressions

    @property
    def kind(self) -> str | None:
        return self.declared.about.kind if self.declared.about is not None else None

    @property
    def title(self) -> str:
        return in_language(self.declared.title, self.language, self.language)

    @property
    def write(self) -> Write:
        assert self.declared.write is not None
        return self.declared.write

    # --- what the engine asks -----------------------------------------------------------------

    def operation(self) -> Operation:
        """The operation as the engine takes it, a write without its way to the other system's records: ``tied_to``."""
        consequence = self.declared.declared
        assert consequence is not None
        writes = consequence is not Consequence.SAFE
        outside = None
        if writes:
            assert self.system is not None
            outside = OutsideEffect(
                begin=self.begin,
                finish=self.finish,
                undo=_nothing_reserved,
                system=self.system.name,
            )
        confirm = self.declared.confirm
        return Operation(
            name=self.name,
            title=self.title,
            summary=self.declared.summary or self.title,
            arguments=self.arguments,
            result=self.result,
            consequence=consequence,
            preview=self.preview,
            run=self.run,
            example=self.declared.example,
            confirm=writes if confirm is None else confirm,
            outside=outside,
            foresees=True,
            titles=self.declared.title if isinstance(self.declared.title, dict) else {},
        )

    def preview(self, account: Account, given: Arguments) -> Preview:
        """What it would touch and do, from the record as it is now."""
        consequence = self.declared.declared or Consequence.UNKNOWN
        values = given.model_dump(mode="json")
        if self.kind is None:
            return self._planned(account, values, None, Preview(consequence=consequence))
        owns = self._meant(account, values)
        refused = self._all_refused(account, values, owns) if len(owns) > 1 else None
        if refused is not None:
            return Preview(consequence=consequence, refusal=refused)
        if len(owns) != 1:
            none = self.records.kinds[self.kind].none
            return Preview(
                candidates=tuple(own.view.label for own in owns),
                candidate_arguments=tuple(self._picking(values, own) for own in owns),
                arguments={k: v for k, v in values.items() if v is not None},
                consequence=consequence,
                refusal=None if owns else self._text(none, account, dict(account.names)),
            )
        own = owns[0]
        shown = Preview(
            candidates=(own.view.label,),
            candidate_arguments=(self._picking(values, own),),
            record=own.view.label,
            record_state=own.view.state,
            consequence=consequence,
        )
        return self._planned(account, self._picking(values, own), own, shown)

    def run(self, account: Account, given: Arguments) -> BaseModel:
        """Read something. What writes is sent through its outside system, never from here."""
        if self.declared.declared is not Consequence.SAFE:
            raise NotAllowed("This can only be done through the ledger.")
        values = given.model_dump(mode="json")
        if self.declared.lists is not None:
            labels = [own.view.label for own in account.of(self.declared.lists)]
            if not labels:
                none = self.records.kinds[self.declared.lists].none
                raise NotAllowed(self._text(none, account, dict(account.names)))
            return self.result.model_validate({"records": labels})
        own = self._one(account, values)
        refusal = self._refusal(account, self._names(account, values, own))
        if refusal is not None:
            raise NotAllowed(refusal)
        if own is not None:
            values = self._picking(values, own)
        assert self.system is not None
        names = self._names(account, values, own)
        call = Call(
            operation=self.calls,
            values=self._values(values, names),
            customer=customer_names(account.customer),
        )
        reply = self.system.read(call)
        if reply.status == 404:
            raise RecordNotFound
        if reply.status in (400, 409, 422):
            raise NotAllowed(NOT_ACCEPTED)
        if reply.status >= 300:
            raise BackendUnavailable(f"{self.calls} answered {reply.status}")
        return self._told(reply.content, names, own.view.label if own is not None else "")

    def begin(self, account: Account, given: Arguments, reference: str) -> CallRequest:
        """What is about to be asked, as it will be sent; may raise OperationFailed."""
        values = given.model_dump(mode="json")
        own = self._one(account, values)
        names = self._names(account, values, own)
        refusal = self._refusal(account, names)
        if refusal is not None:
            raise NotAllowed(refusal)
        assert self.system is not None
        return CallRequest(
            reference=reference,
            system=self.system.name,
            operation=self.name,
            arguments=values,
            values=self._values(values, names),
            customer=customer_names(account.customer),
            record=None if own is None else dict(own.raw),
            label="" if own is None else own.view.label,
            language=account.language,
        )

    def finish(self, _: Any, request: CallRequest) -> BaseModel:
        """What replies may say of it, from what the other system answered."""
        names = {**self.request_names(request), **spread(request.answer)}
        return self._told(request.answer, names, request.label)

    # --- names ----------------------------------------------------------------------------------

    def request_names(self, request: CallRequest) -> dict[str, Any]:
        """What expressions about a request that was sent may ask about."""
        record = request.record or {}
        return {
            "customer": request.customer,
            "language": request.language,
            **record,
            "record": record,
            **request.arguments,
            "arguments": request.arguments,
            "reference": request.reference,
        }

    def _names(
        self, account: Account, values: Mapping[str, Any], own: Own | None
    ) -> dict[str, Any]:
        names = dict(account.names)
        if own is not None:
            view = own.view
            names |= {**own.raw, "record": own.raw, "state": view.state, "label": view.label}
            names |= {"id": view.id, "facts": view.facts}
        # An argument is what is asked for; the record's own value of that name is ``record.NAME``.
        return {**names, **values, "arguments": values}

    # --- which record ---------------------------------------------------------------------------

    def _meant(self, account: Account, values: Mapping[str, Any]) -> list[Own]:
        """The record that is named, or those that it can be about."""
        assert self.kind is not None
        declared, owns = self.records.kinds[self.kind], account.of(self.kind)
        given = values.get(self.id_argument or "")
        if given is not None:
            for own in owns:
                if same_id(str(given), own.view.id):
                    return [own]
            if (newest := _means_newest(str(given), owns)) is not None:
                return [newest]
            names = {**account.names, "given": " ".join(str(given).split())[:40]}
            raise RecordNotFound(self._text(declared.foreign, account, names))
        about = self.declared.about
        for condition in (about.when if about is not None else None, declared.first):
            if condition is None:
                continue
            fitting = [own for own in owns if self._fits(condition, account, own)]
            if fitting:
                return fitting[:MOST_CANDIDATES]
        return list(owns[:MOST_CANDIDATES])

    def _fits(self, condition: str, account: Account, own: Own) -> bool:
        view = own.view
        names = {**account.names, **own.raw, "record": own.raw, "state": view.state}
        return bool(self.expressions.holds(condition, names))

    def _all_refused(
        self, account: Account, values: Mapping[str, Any], owns: Sequence[Own]
    ) -> str | None:
        """What is said where the state of none of them allows it; nothing where one's does."""
        if any(own.view.allowed(self.name) for own in owns):
            return None
        told = [
            self._refusal(
                account,
                self._names(
                    account, {**dict.fromkeys(self.shapes), **self._picking(values, own)}, own
                ),
            )
            for own in owns
        ]
        return " ".join(dict.fromkeys(t for t in told if t)) if all(told) else None

    def _one(self, account: Account, values: Mapping[str, Any]) -> Own | None:
        if self.kind is None:
            return None
        owns = self._meant(account, values)
        if len(owns) != 1:
            none = self.records.kinds[self.kind].none
            raise NotAllowed(
                "More than one record fits: say which one."
                if owns
                else self._text(none, account, dict(account.names))
            )
        return owns[0]

    def _picking(self, values: Mapping[str, Any], own: Own) -> dict[str, Any]:
        given = {k: v for k, v in values.items() if v is not None}
        return given if self.id_argument is None else {**given, self.id_argument: own.view.id}

    # --- plans ----------------------------------------------------------------------------------

    def _planned(
        self, account: Account, given: Mapping[str, Any], own: Own | None, shown: Preview
    ) -> Preview:
        values = {**dict.fromkeys(self.shapes), **given}
        names = self._names(account, values, own)
        refusal = self._refusal(account, names)
        if refusal is not None:
            kept = {k: v for k, v in given.items() if v is not None}
            return shown.model_copy(update={"arguments": kept, "refusal": refusal})
        if self._lacks(values):
            return shown
        for argument in self.shapes:
            said = self.declared.said(argument)
            if said.from_record is not None:
                source = in_language(said.from_record, account.language, self.language)
                values[argument] = self._worked_out(source, names)
                names = self._names(account, values, own)
        effects = tuple(self._text(effect, account, names) for effect in self.declared.effects)
        if not effects and shown.consequence is not Consequence.SAFE:
            title = in_language(self.declared.title, account.language, self.language)
            effects = (f"{title}: {shown.record}" if shown.record else f"{title}.",)
        return shown.model_copy(
            update={
                "arguments": {k: v for k, v in values.items() if v is not None},
                "effects": effects,
                "consequence": self._consequence(names),
            }
        )

    def _worked_out(self, source: str, names: Mapping[str, Any]) -> JsonValue:
        try:
            return self.expressions.value(source, names)
        except ExpressionFailed as error:
            raise self._unclear(error) from error

    def _consequence(self, names: Mapping[str, Any]) -> Consequence:
        found = self.declared.declared or Consequence.UNKNOWN
        for graver in self.declared.graver:
            raised = Consequence(graver.consequence)
            # What cannot be worked out is not waved through.
            if self.expressions.holds(graver.when, names) is not False:
                found = max(found, raised, key=_GRAVITY.index)
        return found

    def _refusal(self, account: Account, names: Mapping[str, Any]) -> str | None:
        for refusal in self.declared.refuse:
            holds = self.expressions.holds(refusal.when, names)
            if holds is None and self._lacks(names["arguments"]):
                continue  # It asks about what was not said yet.
            if holds is None:
                raise self._unclear(f"refuse: {refusal.when!r} could not be worked out")
            if holds:
                return self._text(refusal.say, account, names)
        return None

    def _lacks(self, values: Mapping[str, Any]) -> bool:
        """Whether something that it needs was not said yet."""
        return any(shape.required and values.get(n) is None for n, shape in self.shapes.items())

    def _text(self, text: Text, account: Account, names: Mapping[str, Any]) -> str:
        source = in_language(text, account.language, self.language)
        try:
            return self.expressions.text(source, names, account.language)
        except ExpressionFailed as error:
            raise self._unclear(error) from error

    def _unclear(self, why: object) -> BackendUnavailable:
        log.error("operation %s: %s", self.name, why)
        return BackendUnavailable(f"{self.name} cannot be worked out for this record")

    # --- values there and back ------------------------------------------------------------------

    def _values(
        self, values: Mapping[str, JsonValue], names: Mapping[str, Any]
    ) -> dict[str, JsonValue]:
        made: dict[str, JsonValue] = {}
        for argument, sent in self.sent.items():
            value = values.get(sent.argument) if sent.argument is not None else sent.fixed
            if sent.argument is None:
                value = coerced(sent.schema, self.records.filled(value, names))
            if value is not None:
                made[argument] = value
            elif sent.required:
                raise NotAllowed(f"Something is missing: {argument.replace('_', ' ')}.")
        return made

    def _told(self, answer: Any, names: Mapping[str, Any], label: str) -> BaseModel:
        known = {**names, **spread(answer), "answer": answer, "arguments": names.get("arguments")}
        told: dict[str, Any] = {"label": label}
        for name, source in self.declared.result.items():
            try:
                told[name] = self.expressions.value(source, known)
            except ExpressionFailed:
                told[name] = None  # The answer does not say it.
        return self.result.model_validate(told)


_GRAVITY = list(Consequence)


def _nothing_reserved(_: Any, __: CallRequest) -> None:
    """Nothing of ours is kept for it, so there is nothing to give back."""


def _means_newest(text: str, owns: Sequence[Own]) -> Own | None:
    return owns[0] if owns and text.casefold() in ("last", "newest", "latest") else None


# --- tying an overlay to what it calls ------------------------------------------------------------


@dataclass
class Tying:
    """Operations of the file on their way to the engine, with what is wrong about them."""

    records: Records
    systems: Mapping[str, System]
    read: Read
    language: str
    problems: list[Problem] = field(default_factory=list[Problem])

    def build(self, name: str, declared: Declared) -> Built | None:
        """The operation; None where something about it is wrong, which ``problems`` then says."""
        here = ["operations", name]
        if declared.lists is not None:
            return self._listing(name, declared)
        system = self.system(declared.system, here)
        if system is None:
            return None
        calls = declared.operation or name
        try:
            schema = system.argument_schema(calls)
        except KeyError as error:
            self.wrong([*here, "operation"], str(error.args[0] if error.args else error))
            return None
        before = len(self.problems)
        shapes, sent, id_argument = self._arguments(declared, schema, here)
        if len(self.problems) > before:
            return None
        fields: dict[str, Any] = {
            one: (JsonValue | None, Field(default=None)) for one in declared.result
        }
        return Built(
            name=name,
            declared=declared,
            system=system,
            calls=calls,
            sent=sent,
            shapes=shapes,
            id_argument=id_argument,
            arguments=arguments_model(_class_name(name), shapes),
            result=create_model(f"{_class_name(name)}Result", __base__=Told, **fields),
            records=self.records,
            language=self.language,
        )

    def system(self, named: str | None, here: Sequence[Any]) -> System | None:
        """The system that is named, or the only one."""
        if named is None and len(self.systems) == 1:
            return next(iter(self.systems.values()))
        if named is None:
            known = ", ".join(self.systems) or "none"
            self.wrong([*here, "system"], f"say which `system` it calls: {known}")
            return None
        if named not in self.systems:
            known = ", ".join(self.systems) or "none"
            self.wrong([*here, "system"], f"domain.yaml has no system {named!r}; it has {known}")
            return None
        return self.systems[named]

    def wrong(self, path: Sequence[Any], text: str) -> None:
        self.problems.append(self.read.problem(path, text))

    def _listing(self, name: str, declared: Declared) -> Built:
        fields: dict[str, Any] = {"records": (list[str], Field(default_factory=list))}
        return Built(
            name=name,
            declared=declared,
            system=None,
            calls="",
            sent={},
            shapes={},
            id_argument=None,
            arguments=arguments_model(_class_name(name), {}),
            result=create_model(f"{_class_name(name)}Result", __base__=Told, **fields),
            records=self.records,
            language=self.language,
        )

    def _arguments(
        self, declared: Declared, schema: Mapping[str, Any], here: Sequence[Any]
    ) -> tuple[dict[str, Shape], dict[str, Sent], str | None]:
        taken = cast("Mapping[str, Mapping[str, Any]]", schema["properties"])
        required = set(cast("list[str]", schema.get("required") or []))
        shapes: dict[str, Shape] = {}
        sent: dict[str, Sent] = {}
        id_argument = self._id_argument(declared, taken, here)
        for name in dict.fromkeys([*declared.arguments, *declared.ask]):
            if name not in taken and declared.said(name).schema_ is None:
                known = ", ".join(taken) or "none"
                text = f"there is no argument {name!r}: it takes {known}. An argument of your own needs `schema`"
                self.wrong([*here, "arguments", name], text)
        reserved = _reserved(declared)
        for name, one in taken.items():
            said, needed = declared.said(name), name in required
            if said.drop or name in reserved:
                continue
            if said.fixed is not None:
                sent[name] = Sent(one, said.fixed, required=needed)
                continue
            if (problem := check_schema(one)) is not None:
                self.wrong([*here, "arguments", name], f"its schema cannot be used: {problem}")
                continue
            sent[name] = Sent(one, argument=name, required=needed)
            shapes[name] = self._shape(name, one, said, needed, declared, name == id_argument)
        for name in declared.arguments:
            said = declared.said(name)
            if name in taken or said.schema_ is None:
                continue
            needed = said.required is not False
            shapes[name] = self._shape(
                name, said.schema_, said, needed, declared, name == id_argument
            )
        if id_argument is not None and id_argument not in shapes and declared.about is not None:
            # The API does not take it: it is how the customer says which record is meant.
            own: dict[str, Any] = {"type": "string"}
            shapes = {
                id_argument: self._shape(id_argument, own, Argument(), False, declared, True)
            } | shapes
        return shapes, sent, id_argument

    def _shape(
        self,
        name: str,
        schema: Mapping[str, Any],
        said: Argument,
        needed: bool,
        declared: Declared,
        is_id: bool,
    ) -> Shape:
        words = name.replace("_", " ")
        question = in_language(said.ask, self.language, self.language) if said.ask else ""
        about = declared.about
        kind = about.kind if about is not None and is_id else None
        if said.required is not None:
            needed = said.required
        if said.about:
            schema = {**schema, "description": said.about}
        if not question and (is_id or (needed and said.from_record is None)):
            question = f"Which {kind.replace('_', ' ')} is it about?" if kind else f"Which {words}?"
        return Shape(
            schema=schema,
            required=needed and not is_id and said.from_record is None,
            question=question,
            questions=said.ask if isinstance(said.ask, dict) else {},
            record=kind,
            form=self.records.kinds[kind].example if kind and kind in self.records.kinds else "",
            from_record=said.from_record is not None,
            copied=said.copied or _is_words(schema, said),
            why=said.why,
            synonyms=said.synonyms,
        )

    def _id_argument(
        self, declared: Declared, taken: Mapping[str, Any], here: Sequence[Any]
    ) -> str | None:
        about = declared.about
        if about is None:
            return None
        if about.argument is not None:
            return about.argument
        kind = self.records.kinds.get(about.kind)
        wanted = kind.id if kind is not None and kind.id.isidentifier() else "id"
        asked = [
            n for n in (wanted, f"{about.kind}_{wanted}", f"{about.kind}_id", "id") if n in taken
        ]
        fixed = [n for n in asked if declared.said(n).fixed is None]
        if fixed:
            return fixed[0]
        return f"{about.kind}_id" if wanted == "id" else wanted


def _reserved(declared: Declared) -> frozenset[str]:
    """Arguments that the key or the reference fills."""
    write = declared.write
    if write is None:
        return frozenset()
    parts = (write.keyed, write.referred)
    return frozenset(one.argument for one in parts if one is not None and one.argument is not None)


def _is_words(schema: Mapping[str, Any], said: Argument) -> bool:
    """Free text that is taken over as it was said."""
    shaped = any(key in schema for key in ("enum", "format", "pattern", "const"))
    return kind_of(schema) == "string" and not shaped and said.from_record is None


def _class_name(name: str) -> str:
    return "".join(part.capitalize() for part in name.split("_"))


Opened = Callable[[Customer], Account]


def tied_to(built: Built, account_for: Opened) -> Operation:
    """The operation with its way to read another system's records before a transaction of ours begins."""
    operation = built.operation()
    if operation.outside is None:
        return operation
    return replace(
        operation, outside=replace(operation.outside, look=partial(_look, built, account_for))
    )


def _look(built: Built, account_for: Opened, customer: Customer, given: Arguments) -> Account:
    account = account_for(customer)
    # What fails here is said again, from the same records, where it counts.
    with suppress(OperationFailed):
        built.preview(account, given)
    return account.close()


def all_built(tying: Tying, declared: Mapping[str, Declared]) -> dict[str, Built]:
    """Every operation of those declared. Raises FilesInvalid with everything that is wrong."""
    made: dict[str, Built] = {}
    for name, one in declared.items():
        built = tying.build(name, one)
        if built is not None:
            made[name] = built
    if tying.problems:
        raise FilesInvalid(tying.problems)
    return made
