"""An operation's arguments as the engine takes them, made from the JSON schemas that a document gives."""

# The schema library carries no types for strict checking.
# pyright: reportUnknownVariableType=false

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Annotated, Any

import regex
from jsonschema import Draft202012Validator, FormatChecker, ValidationError
from jsonschema.exceptions import SchemaError
from jsonschema.validators import extend
from pydantic import AfterValidator, BeforeValidator, Field, JsonValue, WithJsonSchema, create_model

from tools.importing.schemas import kind_of
from tools.values import Arguments

#: A pattern of somebody's document is given so long, whatever is typed into it.
PATTERN_SECONDS = 0.2


def _pattern(_: Any, pattern: str, instance: Any, __: Any) -> Iterator[ValidationError]:
    if not isinstance(instance, str):
        return
    try:
        found = regex.search(pattern, instance, timeout=PATTERN_SECONDS)
    except (regex.error, TimeoutError):
        yield ValidationError("cannot be checked against its pattern")
        return
    if found is None:
        yield ValidationError(f"is not of the form {pattern}")


_Validator: Any = extend(Draft202012Validator, {"pattern": _pattern})
_FORMATS = FormatChecker()


@dataclass(frozen=True)
class Shape:
    """One argument: its schema, and what the overlay says about it."""

    schema: Mapping[str, Any]
    required: bool = False
    question: str = ""
    questions: Mapping[str, str] = field(default_factory=dict[str, str])  #: By language.
    record: str | None = None  #: The kind of record whose id it is.
    form: str = ""  #: An example of such an id.
    from_record: bool = False
    copied: bool = False
    why: bool = False  #: It says why it is wanted, and changes nothing of what is done.
    synonyms: Mapping[str, tuple[str, ...]] = field(default_factory=dict[str, tuple[str, ...]])

    @property
    def shown(self) -> dict[str, Any]:
        """Its schema with what readers of words need to know."""
        made = {k: v for k, v in self.schema.items() if k not in ("default", "xml")}
        if self.question:
            made["description"] = self.question
        if self.questions:
            made["x-questions"] = dict(self.questions)
        if self.record is not None:
            made |= {"x-record": self.record, "x-copy": True}
        if self.form:
            made["x-record-form"] = self.form
        if self.from_record:
            made["x-from-record"] = True
        if self.copied:
            made["x-copy"] = True
        if self.why:
            made["x-why"] = True
        if self.synonyms:
            made["x-synonyms"] = {k: list(v) for k, v in self.synonyms.items()}
        return made


def check_schema(schema: Mapping[str, Any]) -> str | None:
    """Why a schema cannot be used; None when it can."""
    try:
        Draft202012Validator.check_schema(schema)
    except SchemaError as error:
        return f"{'.'.join(map(str, error.path)) or 'the schema'}: {error.message}"
    return None


def arguments_model(name: str, shapes: Mapping[str, Shape]) -> type[Arguments]:
    """The arguments as a model that refuses what the schemas refuse."""
    fields: dict[str, Any] = {}
    for argument, shape in shapes.items():
        checked: Any = Annotated[
            Any,
            BeforeValidator(partial(_read, kind_of(shape.schema), shape.required)),
            AfterValidator(_checking(shape)),
            WithJsonSchema(shape.shown),
        ]
        default = ... if shape.required else None
        fields[argument] = (checked, Field(default=default, description=shape.question or None))
    return create_model(name, __base__=Arguments, **fields)


def _checking(shape: Shape) -> Callable[[Any], Any]:
    validator = _Validator(dict(shape.schema), format_checker=_FORMATS)

    def check(value: Any) -> Any:
        if value is None:
            return value
        for error in validator.iter_errors(value):
            raise ValueError(error.message)
        return value

    return check


_TRUE, _FALSE = frozenset({"true", "yes", "1"}), frozenset({"false", "no", "0"})


def _read(kind: str, required: bool, value: Any) -> Any:
    """A value as its type, where it is one: what is read out of words comes as text."""
    if isinstance(value, str):
        value = value.strip()
        if not value and not required:
            return None
        return _typed(kind, value)
    if kind == "integer" and isinstance(value, float) and value.is_integer():
        return int(value)
    if kind == "string" and isinstance(value, int | float) and not isinstance(value, bool):
        return str(value)
    return value


def _typed(kind: str, text: str) -> Any:
    try:
        match kind:
            case "integer":
                return int(text)
            case "number":
                return float(text)
            case "boolean":
                folded = text.casefold()
                return True if folded in _TRUE else False if folded in _FALSE else text
            case _:
                return text
    except ValueError:
        return text


def coerced(schema: Mapping[str, Any], value: JsonValue) -> JsonValue:
    """A value that a template made, as its schema wants it."""
    return _read(kind_of(schema), True, value)
