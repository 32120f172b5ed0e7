"""What an action *is*, as a key and a fingerprint."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from functools import cache

from pydantic import JsonValue

from tools.values import Arguments, Operation


def fingerprint(operation: str, arguments: Mapping[str, JsonValue]) -> str:
    """Digest of an operation and its arguments; spelling differences that change nothing are folded."""
    return _digest({"operation": operation, "arguments": normalised(arguments)})


def fingerprint_of(operation: Operation, arguments: Mapping[str, JsonValue]) -> str:
    """Digest of what an action does: two that differ only in why it is wanted, or in what the books fill in,
    do the same thing twice."""
    aside = _aside(operation.arguments)
    return fingerprint(operation.name, {k: v for k, v in arguments.items() if k not in aside})


@cache
def _aside(arguments: type[Arguments]) -> frozenset[str]:
    shapes = arguments.model_json_schema().get("properties", {})
    return frozenset(
        name for name, shape in shapes.items() if shape.get("x-why") or shape.get("x-from-record")
    )


def why_of(operation: Operation) -> frozenset[str]:
    """The arguments that only say why it is wanted."""
    shapes = operation.arguments.model_json_schema().get("properties", {})
    return frozenset(name for name, shape in shapes.items() if shape.get("x-why"))


def action_key(tenant: str, customer: str, operation: str, request: str) -> str:
    """Idempotency key of one request: minted before the gate, kept through approval and retries.

    The arguments are not part of it: the same request with other arguments must show as a conflict."""
    return _digest([tenant, customer, operation, request])


def action_id(key: str) -> str:
    """The action's id and thread: a double click or a replayed turn finds the same action."""
    return f"act_{key[:24]}"


def same_request(action_id: str | None, other: str) -> bool:
    """Whether two ids name one request: a reviewer's edit changes what follows the dot."""
    return action_id is not None and action_id.split(".")[0] == other.split(".")[0]


def normalised(arguments: Mapping[str, JsonValue]) -> dict[str, JsonValue]:
    """Arguments without the differences a person would not call different."""
    return {
        name: " ".join(value.split()) if isinstance(value, str) else value
        for name, value in sorted(arguments.items())
        if value is not None
    }


def _digest(value: object) -> str:
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()
