"""Every error as ``application/problem+json`` (RFC 9457), without internals."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from opentelemetry import trace
from starlette.exceptions import HTTPException
from starlette.routing import BaseRoute, Match

from app.desk import (
    AlreadyVoted,
    ApprovalDecided,
    ApprovalNotFound,
    ClaimedByAnother,
    EditInvalid,
    EffectNotFound,
    EffectSettled,
    IntentUnknown,
    KeyConflict,
    KeyInFlight,
    NotHandedOff,
    OwnEdit,
    RoleNotAccepted,
    ThreadNotFound,
    TurnNotFound,
    TwinApproved,
)
from app.privacy import NothingKept
from app.stores.answers import AnswerNotFound
from app.stores.fences import HoldLost
from app.stores.privacy import StillOpen
from app.stores.reviews import ReviewNotFound
from tools.ports import PortError

log = logging.getLogger(__name__)

#: In which header an answer says its trace.
TRACE_HEADER = "X-Trace-Id"

#: Where clients read errors in OpenAI's form.
OPENAI = ("/v1/chat/completions", "/v1/models")


class Problem(Exception):
    """Something the caller should be told about, with the status that says what kind it is."""

    def __init__(
        self,
        status: int,
        detail: str,
        *,
        headers: Mapping[str, str] | None = None,
        **members: Any,
    ) -> None:
        super().__init__(detail)
        self.status = status
        self.detail = detail
        self.headers = dict(headers or {})
        self.members = members

    def response(self) -> JSONResponse:
        return problem(self.status, self.detail, headers=self.headers, **self.members)


def problem(
    status: int, detail: str, *, headers: Mapping[str, str] | None = None, **members: Any
) -> JSONResponse:
    """One problem document, with the trace it is in where there is one."""
    found = current_trace()
    told = {"trace": found} if found is not None else {}
    named = {TRACE_HEADER: found} if found is not None else {}
    return JSONResponse(
        {"type": "about:blank", "title": _title(status), "status": status, "detail": detail}
        | told
        | members,
        status_code=status,
        headers=named | dict(headers or {}),
        media_type="application/problem+json",
    )


def current_trace() -> str | None:
    """The id of the trace that is written down at the moment."""
    span = trace.get_current_span()
    return f"{span.get_span_context().trace_id:032x}" if span.is_recording() else None


def _title(status: int) -> str:
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return "Error"


def install_problem_handlers(app: FastAPI) -> None:
    """Make every error that leaves a route a problem document."""
    app.add_exception_handler(Problem, _problem)
    app.add_exception_handler(HTTPException, _http)
    app.add_exception_handler(RequestValidationError, _invalid)
    app.add_exception_handler(ThreadNotFound, _not_found)
    app.add_exception_handler(TurnNotFound, _not_found)
    app.add_exception_handler(ApprovalNotFound, _not_found)
    app.add_exception_handler(NotHandedOff, _conflict)
    app.add_exception_handler(ClaimedByAnother, _claimed)
    app.add_exception_handler(ApprovalDecided, _decided)
    app.add_exception_handler(AlreadyVoted, _decided)
    app.add_exception_handler(TwinApproved, _twin_approved)
    app.add_exception_handler(RoleNotAccepted, _role_not_accepted)
    app.add_exception_handler(OwnEdit, _role_not_accepted)
    app.add_exception_handler(EditInvalid, _edit_invalid)
    app.add_exception_handler(EffectNotFound, _not_found)
    app.add_exception_handler(ReviewNotFound, _not_found)
    app.add_exception_handler(AnswerNotFound, _not_found)
    app.add_exception_handler(NothingKept, _not_found)
    app.add_exception_handler(StillOpen, _still_open)
    app.add_exception_handler(IntentUnknown, _intent_unknown)
    app.add_exception_handler(EffectSettled, _settled)
    app.add_exception_handler(KeyConflict, _key_conflict)
    app.add_exception_handler(KeyInFlight, _key_in_flight)
    app.add_exception_handler(HoldLost, _hold_lost)
    app.add_exception_handler(PortError, _unavailable)
    app.add_exception_handler(Exception, _unexpected)


async def _problem(_: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, Problem)
    return error.response()


async def _http(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, HTTPException)
    details = {
        404: "There is nothing at this address.",
        405: "This address does not take that method.",
        400: "The request body is not valid JSON.",
    }
    given = error.detail if error.detail != _title(error.status_code) else ""
    detail = given if error.status_code in (408, 413) else details.get(error.status_code, given)
    headers = dict(error.headers or {})
    if "Allow" in headers:
        headers["Allow"] = ", ".join(_taken(request))
    return problem(error.status_code, detail, headers=headers)


def _taken(request: Request) -> list[str]:
    """The methods an address takes. The first route of its path, which the framework asks, knows its own only."""
    routes: list[BaseRoute] = request.app.routes

    def takes(method: str) -> bool:
        # HEAD is answered as GET is, before any route is asked.
        asked = dict(request.scope, method="GET" if method == "HEAD" else method)
        return any(route.matches(asked)[0] is Match.FULL for route in routes)

    return [each for each in ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE") if takes(each)]


async def _invalid(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, RequestValidationError)
    # The rejected input is left out: it may be a secret, or text that is not valid Unicode.
    errors = [
        {
            "field": ".".join(str(part) for part in each["loc"] if part != "body") or "body",
            "message": str(each["msg"]).removeprefix("Value error, "),
        }
        for each in error.errors()
    ]
    detail = "; ".join(f"{each['field']}: {each['message']}" for each in errors)
    # An answer in no known shape is malformed (400); 422 says that its new arguments cannot be carried out.
    answers = request.method == "POST" and request.url.path.startswith("/v1/approvals/")
    return problem(400 if answers else 422, detail, errors=errors)


async def _not_found(_: Request, error: Exception) -> JSONResponse:
    return problem(404, type(error).__doc__ or "")


async def _conflict(_: Request, error: Exception) -> JSONResponse:
    return problem(409, type(error).__doc__ or "")


async def _claimed(_: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, ClaimedByAnother)
    return problem(409, str(error), operator=error.operator)


async def _intent_unknown(_: Request, error: Exception) -> JSONResponse:
    return problem(422, f"There is no intent {error}; GET /v1/reviews lists them.")


async def _decided(_: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, ApprovalDecided | AlreadyVoted)
    approval = error.approval
    return problem(
        409,
        type(error).__doc__ or "",
        approval=approval.id,
        state=approval.status,
        reviewer=approval.reviewer,
        votes=len(approval.votes),
        votes_needed=approval.verdict.votes_needed,
    )


async def _twin_approved(_: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, TwinApproved)
    approval, said = error.approval, TwinApproved.__doc__ or ""
    twins = [twin.model_dump() for twin in approval.twins]
    return problem(409, said, approval=approval.id, state=approval.status, twins=twins)


async def _role_not_accepted(_: Request, error: Exception) -> JSONResponse:
    return problem(403, type(error).__doc__ or "")


async def _edit_invalid(_: Request, error: Exception) -> JSONResponse:
    return problem(422, str(error))


async def _settled(_: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, EffectSettled)
    return problem(409, type(error).__doc__ or "", outcome=error.outcome.status)


async def _still_open(_: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, StillOpen)
    return problem(409, str(error), open=[item.model_dump() for item in error.items])


async def _key_conflict(_: Request, error: Exception) -> JSONResponse:
    return problem(422, type(error).__doc__ or "")


async def _key_in_flight(_: Request, error: Exception) -> JSONResponse:
    return problem(409, type(error).__doc__ or "", headers={"Retry-After": "2"})


async def _hold_lost(_: Request, __: Exception) -> JSONResponse:
    return problem(
        409,
        "Somebody else is working on this at the moment. Please try again in a moment.",
        headers={"Retry-After": "2"},
    )


async def _unavailable(request: Request, error: Exception) -> JSONResponse:
    log.warning("%s %s: %s", request.method, request.url.path, type(error).__name__, exc_info=error)
    return problem(
        503,
        "A part this needs cannot be reached right now. Please try again in a moment.",
        headers={"Retry-After": "5"},
    )


async def _unexpected(request: Request, _: Exception) -> JSONResponse:
    # Starlette logs the exception and its traceback; the caller gets neither.
    detail = "Something went wrong on our side. It was logged; nothing more is known here."
    if request.url.path.startswith(OPENAI):
        error = {"message": detail, "type": "server_error", "param": None, "code": None}
        found = current_trace()
        headers = {} if found is None else {TRACE_HEADER: found}
        return JSONResponse({"error": error}, 500, headers)
    return problem(500, detail)
