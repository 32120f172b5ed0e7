"""What the OpenAPI document says of every operation: who may ask, and each status that can come back."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from fastapi import FastAPI
from fastapi.security import APIKeyCookie, APIKeyHeader, HTTPBearer
from pydantic import BaseModel, ConfigDict, Field

Responses = dict[int | str, dict[str, Any]]
Document = dict[str, Any]

#: What each status means here. An operation's own statuses are named at its route, by `also`; the others
#: follow from what it is, in `complete`.
STATUSES: Mapping[int, str] = {
    400: "The request cannot be read, or lacks something that is always needed.",
    401: "Nobody is logged in, or the session or key is not valid.",
    403: "Whoever asks is known, and may not do this.",
    404: "There is nothing of this name for whoever asks.",
    408: "The body did not come in time.",
    409: "Something else has happened to this, or is happening now; nothing was changed.",
    413: "The body is too large.",
    421: "This server does not answer for that host.",
    422: "The request was read, and what it says is not valid; `errors` names the fields.",
    429: "Too many requests: `Retry-After` says in how many seconds the next is answered.",
    500: "Something went wrong on our side. It was logged.",
    503: "A part this needs cannot be reached; `Retry-After` says when to try again.",
    507: "There is no room to keep it.",
}

#: What the doors before every operation answer.
DOORS = (413, 421, 429, 500)
#: What can be wrong with a body before the operation reads it.
BODIES = (400, 408)
#: Whoever holds one of these is a customer, and an operator.
CUSTOMERS, OPERATORS = (
    ("customerToken", "customerCookie"),
    ("operatorKey", "operatorToken"),
)

#: The schemes of the document; they are read in `app.auth`, which takes what any of them holds.
CUSTOMER_TOKEN = HTTPBearer(
    scheme_name=CUSTOMERS[0],
    description="A session of `POST /v1/login`, or a token of the company's own login.",
    auto_error=False,
)
CUSTOMER_COOKIE = APIKeyCookie(
    name="signalbox_session",
    scheme_name=CUSTOMERS[1],
    description="The same session as `POST /v1/login` sets it for the chat page.",
    auto_error=False,
)
OPERATOR_KEY = APIKeyHeader(
    name="X-API-Key",
    scheme_name=OPERATORS[0],
    description="An operator's key; what is tagged `knowledge` needs an admin's.",
    auto_error=False,
)
OPERATOR_TOKEN = HTTPBearer(
    scheme_name=OPERATORS[1],
    description="The same key, or a token of the company's login, as a bearer token.",
    auto_error=False,
)

#: For `openapi_extra`: nobody has to say who they are; who does is told more.
PUBLIC: Document = {"security": []}
MORE_FOR_CUSTOMERS: Document = {"security": [{}, *({name: []} for name in CUSTOMERS)]}
MORE_FOR_OPERATORS: Document = {"security": [{}, *({name: []} for name in OPERATORS)]}


class FieldProblem(BaseModel):
    """What is wrong with one field of a request."""

    field: str
    message: str


class ProblemDocument(BaseModel):
    """An error (RFC 9457). Some have more members, which their operation names."""

    model_config = ConfigDict(extra="allow", title="Problem")
    type: str
    title: str
    status: int
    detail: str
    trace: str = Field(default="", description="The trace of this request, where it is traced.")
    errors: list[FieldProblem] = Field(default=[], description="Of a request that is not valid.")


class OpenAIFault(BaseModel):
    message: str
    type: str
    param: str | None
    code: str | None


class OpenAIError(BaseModel):
    """An error as OpenAI's clients read it."""

    error: OpenAIFault


PROBLEM = {"application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}}}
THEIRS = {"application/json": {"schema": {"$ref": "#/components/schemas/OpenAIError"}}}
#: The statuses that say when to come back: always, and where that is known.
RETRY = {429: True, 503: False, 409: False}


def also(*statuses: int) -> Responses:
    """For `responses`: the statuses that one operation answers beside those of every one like it."""
    return {status: _response(status, PROBLEM) for status in statuses}


def _response(status: int, content: Mapping[str, Any]) -> dict[str, Any]:
    told: dict[str, Any] = {"description": STATUSES[status], "content": dict(content)}
    if status in RETRY:
        seconds = {"description": "Seconds.", "schema": {"type": "integer", "minimum": 1}}
        told["headers"] = {"Retry-After": {**seconds, "required": RETRY[status]}}
    return told


class Documented(FastAPI):
    """An app whose document is complete: what FastAPI finds, and what our doors and handlers answer."""

    def openapi(self) -> Document:
        if not self.openapi_schema:
            complete(super().openapi())
        return super().openapi()


def complete(document: Document) -> None:
    """Say of every operation who may ask, and with which problems it may answer."""
    schemas: Document = document["components"]["schemas"]
    for name in ("HTTPValidationError", "ValidationError"):
        schemas.pop(name, None)  # FastAPI's own form of 422, which is never sent.
    for model in (ProblemDocument, OpenAIError):
        drawn = model.model_json_schema(ref_template="#/components/schemas/{model}")
        schemas |= drawn.pop("$defs", {}) | {drawn["title"]: drawn}
    for path, operations in document["paths"].items():
        for operation in operations.values():
            operation.setdefault("security", [])
            if "openai" in operation.get("tags", ()):
                _answers_in_their_form(operation)
            else:
                _answers_problems(path, operation)


def _answers_problems(path: str, operation: Document) -> None:
    read = {"requestBody", "parameters"} & operation.keys()
    statuses = [*DOORS, *_asked_by(operation)]
    statuses += [422] if read else []
    statuses += BODIES if "requestBody" in operation else []
    statuses += [503] if path.startswith("/v1/") else []
    answers: Document = operation["responses"]
    if read:
        answers.pop("422", None)  # FastAPI's.
    operation["responses"] = _sorted(
        {str(status): _response(status, PROBLEM) for status in statuses} | answers
    )


def _answers_in_their_form(operation: Document) -> None:
    """OpenAI's clients read their own form from the operation, and problems from the doors before it."""
    doors = [*DOORS, *(BODIES if "requestBody" in operation else ())]
    theirs = [401, 429, 500, 503, *([400, 404, 409] if "requestBody" in operation else ())]
    theirs += [400, 404] if "parameters" in operation else []
    answers: Document = operation["responses"]
    answers.pop("422", None)  # What is not valid is 400 there.
    for status in {*doors, *theirs}:
        forms = (PROBLEM if status in doors else {}) | (THEIRS if status in theirs else {})
        answers[str(status)] = _response(status, forms)
    operation["responses"] = _sorted(answers)


def _asked_by(operation: Document) -> list[int]:
    """What is said to whoever may not ask."""
    if not operation["security"]:
        return []
    schemes = {name for each in operation["security"] for name in each}
    # Where customers may be nobody, a session that is not valid is nobody's; a wrong key is always told.
    asked = {} not in operation["security"] or bool(schemes & set(OPERATORS))
    return [401] * asked + [403] * bool(schemes & set(OPERATORS))


def _sorted(answers: Document) -> Document:
    return dict(sorted(answers.items()))
