"""What a reviewer may change of an action: it stays for the record that the customer confirmed, and comes to no more."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from decimal import Decimal
from functools import cache
from typing import Any

from graphs.context import Context
from graphs.extraction import invalid, missing
from graphs.keys import fingerprint, fingerprint_of, normalised
from graphs.state import Answer
from tools.values import (
    Action,
    Arguments,
    Operation,
    OperationFailed,
    Preview,
    Reviewer,
)


async def edited(
    action: Action, operation: Operation, answer: Answer, context: Context, *, by: Reviewer
) -> Action | str:
    """The action with a reviewer's arguments: a new fingerprint and id, to be gated again; or the problem."""
    arguments = {**action.arguments, **(answer.arguments or {})}
    if problems := invalid(operation, arguments):
        return "; ".join(f"{name}: {problem}" for name, problem in problems.items())
    if (lack := missing(operation, arguments)) is not None:
        return lack[1]
    parsed = operation.arguments.model_validate(arguments)
    before = operation.arguments.model_validate(action.arguments)
    for name in record_fields(operation):
        if getattr(parsed, name) != getattr(before, name):
            return f"{name}: the customer confirmed another record; that needs a request of its own"
    if nothing := _comes_to_nothing(before, parsed):
        return f"{nothing}: nothing would be left of it; reject the request instead"
    if other := _other_items(before, parsed):
        return f"items: the customer did not confirm {other}; that needs a request of its own"
    try:
        preview: Preview = await context.backend.preview(action.customer, operation, parsed)
    except OperationFailed as error:
        return str(error)
    if preview.refusal is not None:
        return preview.refusal
    # Fields the books fill in are shown to the reviewer as they will be carried out.
    arguments = {**arguments, **preview.arguments}
    if normalised(arguments) == normalised(action.arguments):
        return "nothing is changed by this edit"
    written = fingerprint(operation.name, arguments)
    again = hashlib.sha256(f"{action.id} {written}".encode()).hexdigest()
    return action.model_copy(
        update={
            "id": f"{action.id.split('.')[0]}.{again[:12]}",
            "arguments": arguments,
            "fingerprint": fingerprint_of(operation, arguments),
            "label": preview.record or action.label,
            "effects": preview.effects,
            "actor": by.role,
            "editor": by.name,
        }
    )


def _comes_to_nothing(before: Arguments, after: Arguments) -> str:
    """The amount or number of an edit that is none any more; empty where all are left."""
    for name in type(before).model_fields:
        was, now = getattr(before, name), getattr(after, name)
        numbers = isinstance(was, int | float | Decimal) and isinstance(now, int | float | Decimal)
        if numbers and not isinstance(now, bool) and was > 0 >= now:
            return name
    return ""


def _other_items(before: Arguments, after: Arguments) -> str:
    """The items of an edit that the customer did not name, where they named any: an edit may only lessen."""
    confirmed: Sequence[Any] = getattr(before, "items", None) or ()
    edited_: Sequence[Any] = getattr(after, "items", None) or ()
    if not confirmed:
        return ""
    if not edited_:
        return "the whole of it"
    known = {str(item.product).casefold() for item in confirmed}
    return ", ".join(str(i.product) for i in edited_ if str(i.product).casefold() not in known)


def record_fields(operation: Operation) -> tuple[str, ...]:
    """The arguments that say which record an operation is about."""
    return _record_fields(operation.arguments)


@cache
def _record_fields(arguments: type[Arguments]) -> tuple[str, ...]:
    # Writing a schema takes longer than all of the gate's own work.
    properties = arguments.model_json_schema().get("properties", {})
    return tuple(name for name, declared in properties.items() if "x-record" in declared)


__all__ = ["edited", "record_fields"]
