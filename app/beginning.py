"""The folder that a new business begins with, made of its API's document; and a server made of the document's examples."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import yaml
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from graphs.consequences import admits, described
from tools.importing.openapi import ApiOperation, Document, read_document, snake
from tools.importing.schemas import kind_of
from tools.values import Consequence

#: More than this is not read by a person who has to confirm each.
MOST_PROPOSED = 60


@dataclass(frozen=True)
class Begun:
    """A folder's files, not yet written."""

    files: Mapping[str, bytes]
    proposed: int
    refused: int


def begin(name: str, content: bytes, file: str) -> Begun:
    """A folder for the document. Raises FilesInvalid where the document cannot be used."""
    document = read_document(content, file)
    used = [one for one in document.operations.values() if not one.deprecated][:MOST_PROPOSED]
    operations = {snake(one.id)[:60]: _proposed(one) for one in used}
    upper = re.sub(r"\W+", "_", name).upper()
    domain: dict[str, Any] = {
        "name": document.title or name,
        "tenant": re.sub(r"[^a-z0-9_-]+", "-", name.lower()).strip("-") or "business",
        "languages": ["en"],
        "timezone": "UTC",
        "currency": "EUR",
        "systems": {
            "api": {
                "openapi": file,
                "base_url": f"${{{upper}_API}}",
                **_auth(document, upper),
            }
        },
    }
    head = (
        "# Delete what the agent shall not do. An operation exists once `consequence` is one of safe, retry_safe,\n"
        "# retry_unsafe, irreversible, written by you. See docs/your-own-domain.md.\n"
    )
    files = {
        "domain.yaml": _yaml(domain),
        "operations.yaml": head.encode() + _yaml({"records": {}, "operations": operations}),
        "intents.yaml": _yaml({"intents": _SPOKEN}),
        "rules.yaml": b"rules: []\n",
        "knowledge/welcome.md": f"# About {document.title or name}\n".encode(),
        file: content,
    }
    return Begun(files, len(operations), len(document.refused))


_SPOKEN: Sequence[Mapping[str, Any]] = (
    {"name": "affirm", "lane": "direct", "examples": ["yes", "yes please", "go ahead"]},
    {"name": "deny", "lane": "direct", "examples": ["no", "no thanks", "better not"]},
    {"name": "greeting", "lane": "direct", "examples": ["hello", "hi there", "good morning"]},
    {"name": "out_of_scope", "lane": "direct", "examples": ["what is the capital of Peru"]},
    {
        "name": "hand_off",
        "lane": "escalate",
        "operation": "hand_off",
        "examples": ["let me talk to a person"],
    },
)


def _proposed(one: ApiOperation) -> dict[str, Any]:
    found = proposal(one)
    made: dict[str, Any] = {
        "operation": one.id,
        "title": one.summary or one.id,
        "consequence": {"proposed": found.value, "why": f"{one.called}: {one.summary}"[:160]},
    }
    if found is not Consequence.SAFE:
        made["write"] = {"lookup": "person"}
    return made


def proposal(one: ApiOperation) -> Consequence:
    """What the operation's own text and method amount to; a person has the last word."""
    text = described(one.id, f"{one.summary}. {one.description}", one.method, list(one.sources))
    said = admits(text)
    if one.method in ("get", "head", "options"):
        return said or Consequence.SAFE
    return said or Consequence.RETRY_UNSAFE


def _auth(document: Document, upper: str) -> dict[str, Any]:
    """How the document says that one signs in."""
    for scheme in document.security.values():
        kind, name = scheme.get("type"), str(scheme.get("name", ""))
        if kind == "http" and str(scheme.get("scheme", "")).lower() == "basic":
            basic = {"user": f"${{{upper}_USER}}", "password": f"${{{upper}_PASSWORD}}"}
            return {"auth": {"basic": basic}}
        if kind in ("http", "oauth2", "openIdConnect"):
            return {"auth": {"bearer": f"${{{upper}_KEY}}"}}
        if kind == "apiKey" and scheme.get("in") in ("header", "query"):
            return {"auth": {"key": {str(scheme["in"]): name, "value": f"${{{upper}_KEY}}"}}}
    return {}


def _yaml(value: Any) -> bytes:
    return yaml.safe_dump(value, sort_keys=False, allow_unicode=True, width=100).encode()


# --- a server made of examples ----------------------------------------------------------------------


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
