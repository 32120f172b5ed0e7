"""A server made of the examples in a business's documents, to try a domain without its API."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from tools.importing.openapi import Document, snake
from tools.importing.schemas import kind_of


def mock_server(documents: Sequence[Document]) -> Starlette:
    """Answers every operation of the documents with its example, or with one made of its schema."""
    return Starlette(routes=[route for one in documents for route in _routes(one)])


def _routes(document: Document) -> Iterator[Route]:
    # A path that is spelled out comes before one with a part to fill in.
    for one in sorted(document.operations.values(), key=lambda each: each.path.count("{")):
        status = one.statuses[0] if one.statuses else 200
        shown = one.example if one.example is not None else sample(one.answer)

        async def answer(_: Request, shown: Any = shown, status: int = status) -> JSONResponse:
            return JSONResponse(shown, status_code=status)

        path = re.sub(r"{([^}]+)}", lambda m: "{" + snake(m[1]) + "}", one.path)
        yield Route(path, answer, methods=[one.method.upper()])


def sample(schema: Mapping[str, Any], depth: int = 0) -> Any:
    """A value that the schema allows."""
    given: Any = schema.get("examples") or schema.get("enum")
    if given:
        return given[0]
    if "default" in schema or "const" in schema:
        return schema.get("default", schema.get("const"))
    branches: Any = schema.get("oneOf") or schema.get("anyOf")
    if branches:
        return sample(branches[0], depth + 1)
    match kind_of(schema):
        case "object":
            properties: Mapping[str, Any] = schema.get("properties") or {}
            return {} if depth > 4 else {k: sample(v, depth + 1) for k, v in properties.items()}
        case "array":
            return [] if depth > 4 else [sample(schema.get("items") or {}, depth + 1)]
        case "integer" | "number":
            return schema.get("minimum", 1)
        case "boolean":
            return True
        case "string":
            formats = {"date": "2026-12-01", "date-time": "2026-12-01T12:00:00Z"}
            return formats.get(str(schema.get("format")), "text")
        case _:
            return None
