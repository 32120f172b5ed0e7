"""Which of the customer's records an operation could be about, as its own rules and the books have it."""

from __future__ import annotations

from pydantic import JsonValue, ValidationError

from graphs import extraction
from graphs.context import Context
from tools.ports import BackendUnavailable
from tools.values import Operation, OperationFailed, Preview


async def choices_of(
    context: Context, operation: Operation, arguments: dict[str, JsonValue]
) -> dict[str, tuple[str, dict[str, JsonValue]]]:
    """The records that the operation could be about: id to label and arguments."""
    names = [f.name for f in extraction.fields(operation) if f.record]
    open_ = {name: value for name, value in arguments.items() if name not in names}
    found: dict[str, tuple[str, dict[str, JsonValue]]] = {}
    try:
        preview: Preview = await context.backend.preview(
            context.customer, operation, operation.arguments.model_validate(open_)
        )
    except ValidationError:  # Something else is still to be asked for: every record whose state allows it could be meant.
        return await _records_of(context, operation, arguments)
    except (OperationFailed, BackendUnavailable):
        return found
    for label, candidate in zip(preview.candidates, preview.candidate_arguments, strict=False):
        chosen = {name: candidate[name] for name in names if candidate.get(name)}
        if chosen:
            found[str(next(iter(chosen.values())))] = (label, {**arguments, **chosen})
    return found


async def _records_of(
    context: Context, operation: Operation, arguments: dict[str, JsonValue]
) -> dict[str, tuple[str, dict[str, JsonValue]]]:
    kinds = {f.record: f.name for f in extraction.fields(operation) if f.record}
    try:
        views = await context.backend.records(context.customer)
    except BackendUnavailable:
        return {}
    return {
        view.id: (view.label, {**arguments, kinds[view.kind]: view.id})
        for view in views
        if view.kind in kinds and view.allowed(operation.name)
    }
