"""What the shop can do for a customer: every operation, its typed arguments and its consequence."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, cast

from domains.northfell.operations.money import request_refund
from domains.northfell.operations.picking import SeveralMatch
from domains.northfell.operations.read import READS
from domains.northfell.operations.replacements import charge_replacement
from domains.northfell.operations.write import WRITES
from tools.values import Operation

OPERATIONS: Mapping[str, Operation] = MappingProxyType(
    {
        operation.name: operation
        for operation in (*READS, *WRITES, request_refund, charge_replacement)
    }
)


def missing_fields(operation: Operation, values: Mapping[str, Any]) -> list[str]:
    """The fields the customer still has to give, in the order to ask for them."""

    def absent(name: str) -> bool:
        return values.get(name) in (None, "")

    fields = operation.arguments.model_fields
    missing = [name for name, field in fields.items() if field.is_required() and absent(name)]
    extra = operation.arguments.model_config.get("json_schema_extra")
    any_of = cast("list[str]", extra.get("x-any-of", []) if isinstance(extra, dict) else [])
    if any_of and all(absent(name) for name in any_of):
        missing.append(any_of[0])
    return missing


def question(operation: Operation, field: str) -> str:
    """What to ask the customer when this field is missing."""
    return operation.arguments.model_fields[field].description or ""


def extraction_schema(operation: Operation) -> dict[str, Any]:
    """The JSON schema of what a message can hold: flat, nullable, without fields the books fill."""
    properties: dict[str, dict[str, Any]] = {}
    for name, declared in operation.arguments.model_json_schema()["properties"].items():
        if declared.get("x-from-record") or declared.get("x-part"):
            continue
        shape: dict[str, Any] = {"description": declared.get("description", "")}
        kinds = [kind for kind in declared.get("anyOf", [declared]) if kind.get("type") != "null"]
        if declared.get("x-copy"):
            # Copied as written ("two months"); the arguments model turns it into its type.
            shape |= {"type": ["string", "null"], "x-copy": True}
        elif "enum" in kinds[0]:
            shape |= {"type": ["string", "null"], "enum": [*kinds[0]["enum"], None]}
        else:
            shape |= {"type": [kinds[0]["type"], "null"]}
        if "x-record" in declared:
            shape["x-record"] = declared["x-record"]
        properties[name] = shape
    return {
        "type": "object",
        "properties": properties,
        "required": list(properties),
        "additionalProperties": False,
    }


__all__ = ["OPERATIONS", "SeveralMatch", "extraction_schema", "missing_fields", "question"]
