"""The OpenAPI document is what the server does: read, and played by schemathesis against a real server."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

import httpx
import jsonschema_rs
import pytest
import schemathesis
from fastapi import FastAPI
from schemathesis.config import SchemathesisConfig
from schemathesis.core import NOT_SET
from schemathesis.core.failures import FailureGroup

from app.config import Settings
from app.contract import CUSTOMERS, OPERATORS
from app.main import create_app
from app.rates import DEFAULTS

from .conftest import ADMIN_KEY, OPERATOR_KEY, log_in, over, served
from .fake_desk import FakeDesk

#: What nobody needs a name for.
PUBLIC = {"GET /health", "GET /v1/login/customers", "POST /v1/login"}
#: What everybody may ask, and is told more who says who they are.
FOR_ALL = {"GET /v1/login", "POST /v1/logout", "GET /ready", "GET /info", "GET /metrics"}


def operations(document: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            yield f"{method.upper()} {path}", operation


# --- read -------------------------------------------------------------------------------------------


def test_the_document_is_openapi(app: FastAPI) -> None:
    """Valid as 3.1, with each name it refers to; it promises no form that is never sent."""
    document = app.openapi()
    schemathesis.openapi.from_dict(document).validate()
    schemas = document["components"]["schemas"]

    for schema in schemas.values():
        whole = {**schema, "components": {"schemas": schemas}}
        jsonschema_rs.Draft202012Validator(whole)  # Raises for a name that is not there.
    assert "HTTPValidationError" not in str(document)
    assert app.openapi() == document


def test_each_operation_says_who_may_ask(app: FastAPI) -> None:
    """A customer, an operator, or by name everybody."""
    document = app.openapi()
    assert document["components"]["securitySchemes"].keys() == {*CUSTOMERS, *OPERATORS}

    asked = {
        name: [next(iter(each), "") for each in operation["security"]]
        for name, operation in operations(document)
    }
    assert {name for name, schemes in asked.items() if not schemes} == PUBLIC
    assert {name for name, schemes in asked.items() if "" in schemes} == FOR_ALL
    for schemes in asked.values():
        assert tuple(filter(None, schemes)) in {CUSTOMERS, OPERATORS, ()}


def test_each_error_is_a_problem_document(app: FastAPI) -> None:
    """In OpenAI's form where its clients read it; who must wait is told for how long."""
    for name, operation in operations(app.openapi()):
        answers = operation["responses"]
        errors = {int(status) for status in answers if int(status) >= 400}
        assert {413, 421, 500} <= errors, name
        assert 422 in errors or "parameters" not in operation or "openai" in operation["tags"], name
        if operation["security"] and {} not in operation["security"]:
            assert 401 in errors, name
        for status in errors:
            kinds = set(answers[str(status)]["content"])
            theirs = {"application/json"} if "openai" in operation.get("tags", ()) else set()
            if (name, status) == ("GET /ready", 503):
                theirs = {"application/json"}  # Not an error: the same checks as ever.
            assert kinds <= {"application/problem+json"} | theirs, (name, status)
            assert kinds, (name, status)
        if 429 in errors:
            assert answers["429"]["headers"]["Retry-After"]["required"], name


# --- played -----------------------------------------------------------------------------------------


def failures(document: dict[str, Any], url: str, headers: dict[str, str]) -> tuple[int, list[str]]:
    """How many operations were asked for once, and what the checks of schemathesis find wrong with the answers."""
    config = SchemathesisConfig.from_dict({"base-url": url, "headers": headers})
    schema = schemathesis.openapi.from_dict(document, config=config)
    asked, found = 0, list[str]()
    for result in schema.get_all_operations():
        operation = result.ok()
        names = [each.name for each in operation.path_parameters]
        case = operation.Case(
            path_parameters=dict.fromkeys(names, "1"), body={} if len(operation.body) else NOT_SET
        )
        asked += 1
        try:
            case.call_and_validate()
        except FailureGroup as group:
            found += [
                f"{operation.label} {each.title}: {each.message}" for each in group.exceptions
            ]
    return asked, found


@pytest.mark.parametrize("who", ["nobody", "customer", "agent", "admin"])
async def test_every_operation_answers_as_the_document_says(
    settings: Settings, desk: FakeDesk, who: str
) -> None:
    """Whoever asks: each status, form, header and refusal is one that the document names, and no door stands open."""
    unlimited = settings.model_copy(update={"rates": dict.fromkeys(DEFAULTS, "off")})
    app = create_app(unlimited, over(desk))
    async with served(app) as live:
        async with httpx.AsyncClient(base_url=live.url) as client:
            ana = await log_in(client, "ana")
        headers = {
            "nobody": {},
            "customer": ana,
            "agent": {"X-API-Key": OPERATOR_KEY},
            "admin": {"X-API-Key": ADMIN_KEY},
        }[who]
        document = app.openapi()
        asked, found = await asyncio.to_thread(failures, document, live.url, headers)

    assert found == []
    assert asked == len(list(operations(document)))


async def test_a_wrong_method_is_told_every_right_one(client: httpx.AsyncClient) -> None:
    """Of all routes of the address, not of the first one only."""
    answer = await client.options("/v1/login")

    assert answer.status_code == 405
    assert answer.headers["allow"] == "GET, HEAD, POST"


async def test_a_moment_is_no_number_and_in_our_calendar(
    client: httpx.AsyncClient, operator: dict[str, str]
) -> None:
    """The document promises a date and time: 0.5 was half a second after 1970, and the year 0 was a 500."""
    answers = [
        await client.get("/v1/decisions", params={"until": until}, headers=operator)
        for until in ("0.5", "0001-01-01T00:00:00+14:00", "2026-11-20T09:00:00")
    ]

    assert [each.status_code for each in answers] == [422, 422, 200]
