"""Who is asking: customers by a signed token, operators by a key."""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from typing import Annotated

from fastapi import Depends, Request
from itsdangerous import BadData, BadSignature, SignatureExpired, URLSafeTimedSerializer

from app.config import Keys
from app.desk import Desk
from app.identity.tokens import NotKnown
from app.problems import Problem
from tools.values import Customer, ReviewerRole

COOKIE = "signalbox_session"


class Sessions:
    """Signs and reads the customers' session tokens."""

    def __init__(self, keys: Keys, *, hours: float) -> None:
        self._serializer = URLSafeTimedSerializer(keys.secret, salt="signalbox.session")
        self.seconds = round(hours * 3600)

    def sign(self, customer_id: str) -> str:
        return self._serializer.dumps(customer_id)

    def read(self, token: str) -> str:
        """The customer's id; raises BadSignature (or its subclass SignatureExpired)."""
        customer_id = self._serializer.loads(token, max_age=self.seconds)
        if not isinstance(customer_id, str):
            raise BadSignature("not a customer id")
        return customer_id


@dataclass(frozen=True)
class Operator:
    """A person who may decide approvals, read decisions and take over threads."""

    name: str
    role: ReviewerRole = "agent"
    tenant: str | None = None  #: Whose records they may see and decide; None: everybody's.


def unauthorized(detail: str) -> Problem:
    return Problem(401, detail, headers={"WWW-Authenticate": 'Bearer realm="signalbox"'})


def desk_of(request: Request) -> Desk:
    """The running agent, put on the app by its lifespan."""
    desk: Desk = request.state.desk
    return desk


def sessions_of(request: Request) -> Sessions:
    sessions: Sessions = request.app.state.sessions
    return sessions


def _bearer(request: Request) -> str | None:
    scheme, _, token = request.headers.get("authorization", "").partition(" ")
    return token.strip() if scheme.lower() == "bearer" and token.strip() else None


async def current_customer(
    request: Request,
    desk: Annotated[Desk, Depends(desk_of)],
    sessions: Annotated[Sessions, Depends(sessions_of)],
) -> Customer:
    """The customer whose signed token came with the request."""
    token = _bearer(request) or request.cookies.get(COOKIE)
    if token is None:
        raise unauthorized("Log in first, and send the token as a bearer token.")
    try:
        known = await desk.identified(token)
    except NotKnown as error:
        raise unauthorized(str(error)) from None
    if known is not None:
        return known
    try:
        customer_id = sessions.read(token)
    except SignatureExpired:
        raise unauthorized("This session has expired. Log in again.") from None
    except BadData:
        raise unauthorized("This is not a valid session token. Log in again.") from None
    customer = await desk.customer(customer_id)
    if customer is None or not await desk.may_try(customer_id):
        raise unauthorized("This customer no longer exists. Log in again.")
    return customer


async def current_operator(request: Request) -> Operator:
    """The operator whose key came with the request."""
    key = request.headers.get("x-api-key") or _bearer(request)
    if key is None:
        raise unauthorized("Operators only: send your key as X-API-Key or as a bearer token.")
    keys: Keys = request.app.state.keys
    found: str | None = None
    for name, expected in keys.operators.items():
        # Every key is compared, so that the time taken says nothing about which one was close.
        if secrets.compare_digest(key.encode(), expected.encode()):
            found = name
    if found is not None:
        return Operator(found, keys.roles.get(found, "agent"), keys.tenants.get(found))
    sessions: Sessions = request.app.state.sessions
    try:
        sessions.read(key)
    except BadData:
        raise unauthorized("This is not a valid operator key.") from None
    raise Problem(403, "Customers cannot do this; it needs an operator's key.")


DeskDep = Annotated[Desk, Depends(desk_of)]
SessionsDep = Annotated[Sessions, Depends(sessions_of)]
CustomerDep = Annotated[Customer, Depends(current_customer)]
OperatorDep = Annotated[Operator, Depends(current_operator)]
