"""Who is asking: customers by a signed token, operators by a key."""

from __future__ import annotations

import asyncio
import hashlib
import logging
import secrets
import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Annotated

from fastapi import Depends, Request
from itsdangerous import BadData, BadSignature, SignatureExpired, URLSafeTimedSerializer

from app.config import Keys
from app.contract import CUSTOMER_COOKIE, CUSTOMER_TOKEN, OPERATOR_KEY, OPERATOR_TOKEN
from app.desk import Desk, SignInRoom
from app.identity.operators import NoRole, OperatorLogin, is_token
from app.identity.tokens import NotKnown
from app.problems import Problem
from app.rates import Kind, Rates, Standing, address_of
from app.stores.access import AccessStore, OperatorRow, Revocation, digest_of
from tools.ports import BackendUnavailable, PortError
from tools.values import Customer, ReviewerRole

log = logging.getLogger(__name__)

COOKIE = CUSTOMER_COOKIE.model.name
#: How long it takes at most until every replica knows of a changed key or an ended session.
KNOWN_SECONDS = 2.0
#: The last use of a key is written down no oftener.
USED_SECONDS = 60.0


class Sessions:
    """Signs and reads the customers' session tokens."""

    def __init__(self, keys: Keys, *, hours: float) -> None:
        self._serializer = URLSafeTimedSerializer(keys.secret, salt="signalbox.session")
        self.seconds = round(hours * 3600)

    def sign(self, customer_id: str) -> str:
        # Two sessions of one second are two: ending one does not end the other.
        return self._serializer.dumps([customer_id, secrets.token_hex(6)])

    def read(self, token: str) -> str:
        """The customer's id; raises BadSignature (or its subclass SignatureExpired)."""
        return self.dated(token)[0]

    def dated(self, token: str) -> tuple[str, datetime]:
        """The customer's id, and when the session began."""
        read, at = self._serializer.loads(token, max_age=self.seconds, return_timestamp=True)
        match read:
            case str(customer_id) | [str(customer_id), str()]:
                return customer_id, at
            case _:
                raise BadSignature("not a customer id")


class Access:
    """What the store knows of operators and ended sessions, read again every two seconds."""

    def __init__(self, store: AccessStore) -> None:
        self.store = store
        self._operators: Mapping[str, OperatorRow] = {}
        self._ended: Mapping[str, Revocation] = {}
        self._read_at = -KNOWN_SECONDS
        self._used: dict[str, float] = {}

    async def known(self) -> None:
        """Be up to date. While the store cannot be reached, what was read last counts."""
        if time.monotonic() - self._read_at < KNOWN_SECONDS:
            return
        self._read_at = time.monotonic()
        try:
            await self.read()
        except PortError:
            log.warning("operators and ended sessions cannot be read; those read before count")

    async def read(self) -> None:
        rows = await asyncio.to_thread(self.store.operators)
        ended = await asyncio.to_thread(self.store.ended)
        self._operators = {each.digest: each for each in rows if each.revoked_at is None}
        self._ended = {each.subject: each for each in ended}

    def operator(self, key: str) -> Operator | None:
        row = self._operators.get(digest_of(key))
        return Operator(row.name, row.role, row.tenant) if row is not None else None

    @property
    def any_operator(self) -> bool:
        return bool(self._operators)

    async def used(self, name: str) -> None:
        """Write down that a key was used; a busy operator's once a minute."""
        now = time.monotonic()
        if now - self._used.get(name, -USED_SECONDS) < USED_SECONDS:
            return
        self._used[name] = now
        try:
            await asyncio.to_thread(self.store.used, name)
        except PortError:
            log.warning("the last use of an operator's key could not be written down")

    def over(self, token: str, customer: str | None = None, began: datetime | None = None) -> bool:
        """Whether a session was ended: itself, or with all of its customer's that began before."""
        if _of_token(token) in self._ended:
            return True
        everything = self._ended.get(session_subject(customer)) if customer is not None else None
        return everything is not None and (began is None or began <= everything.at)

    async def end(self, token: str, seconds: int) -> None:
        await asyncio.to_thread(self.store.end, _of_token(token), timedelta(seconds=seconds))
        await self.read()

    async def end_all(self, customer: str, seconds: int) -> None:
        await asyncio.to_thread(
            self.store.end, session_subject(customer), timedelta(seconds=seconds)
        )
        await self.read()


def _of_token(token: str) -> str:
    return f"token {hashlib.sha256(token.encode()).hexdigest()}"


def session_subject(customer: str) -> str:
    """What stands for all of a customer's sessions in the store."""
    return f"customer {customer}"


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


def access_of(request: Request) -> Access:
    access: Access = request.state.access
    return access


def rates_of(request: Request) -> Rates:
    rates: Rates = request.app.state.rates
    return rates


def caller(request: Request) -> str:
    """The address that asks, as it is counted."""
    return address_of(request.client.host if request.client else None)


async def spend(request: Request, kind: Kind, who: str) -> None:
    """Count a request, and refuse it with 429 when there were too many."""
    allow(request, await rates_of(request).spend(kind, who))


def allow(request: Request, standing: Standing | None) -> None:
    """Refuse with 429, or let the answer say how much is left where least is."""
    if standing is None:
        return
    if not standing.allowed:
        raise Problem(429, TOO_MANY[standing.kind], headers=standing.headers)
    before: Standing | None = getattr(request.state, "standing", None)
    if before is None or standing.remaining / standing.limit <= before.remaining / before.limit:
        request.state.standing = standing


#: What is said to whoever asked too often.
TOO_MANY: Mapping[Kind, str] = {
    "ip": "Too many requests from this address. Please wait a moment.",
    "login": "Too many log-ins from this address. Please wait a moment.",
    "keys": "Too many wrong keys from this address. Wait, and check the key.",
    "customer": "Too many requests. Please wait a moment.",
    "turns": "That was a lot of messages at once. Please wait a moment and send it again.",
    "thread": "That was a lot of messages at once. Please wait a moment and send it again.",
    "cost": "The longer answers of this hour are used up. Please try again later.",
    "operator": "Too many requests with this key. Please wait a moment.",
}


def _bearer(request: Request) -> str | None:
    scheme, _, token = request.headers.get("authorization", "").partition(" ")
    return token.strip() if scheme.lower() == "bearer" and token.strip() else None


def session_token(request: Request) -> str | None:
    return _bearer(request) or request.cookies.get(COOKIE)


async def current_customer(
    request: Request,
    desk: Annotated[Desk, Depends(desk_of)],
    sessions: Annotated[Sessions, Depends(sessions_of)],
    _token: Annotated[object, Depends(CUSTOMER_TOKEN)] = None,
    _cookie: Annotated[object, Depends(CUSTOMER_COOKIE)] = None,
) -> Customer:
    """The customer whose signed token came with the request."""
    customer = await identified_customer(request, desk.sign_in, sessions)
    await spend(request, "customer", f"{customer.tenant}:{customer.id}")
    return customer


async def identified_customer(
    request: Request, sign_in: SignInRoom, sessions: Sessions
) -> Customer:
    """Who asks, and nothing is counted."""
    token = session_token(request)
    if token is None:
        raise unauthorized("Log in first, and send the token as a bearer token.")
    access = access_of(request)
    await access.known()
    if access.over(token):
        raise unauthorized("This session was ended. Log in again.")
    try:
        known = await sign_in.identified(token)
    except NotKnown as error:
        raise unauthorized(str(error)) from None
    if known is not None:
        return known
    try:
        customer_id, began = sessions.dated(token)
    except SignatureExpired:
        raise unauthorized("This session has expired. Log in again.") from None
    except BadData:
        raise unauthorized("This is not a valid session token. Log in again.") from None
    if access.over(token, customer_id, began):
        raise unauthorized("This session was ended. Log in again.")
    customer = await sign_in.customer(customer_id)
    if customer is None or not await sign_in.may_try(customer_id):
        raise unauthorized("This customer no longer exists. Log in again.")
    return customer


async def current_operator(
    request: Request,
    _key: Annotated[object, Depends(OPERATOR_KEY)] = None,
    _token: Annotated[object, Depends(OPERATOR_TOKEN)] = None,
) -> Operator:
    """The operator whose key came with the request."""
    operator = await found_operator(request)
    await spend(request, "operator", operator.name)
    return operator


async def found_operator(request: Request) -> Operator:
    """Whose key it is. Who tries key after key from one address waits longer and longer."""
    key = request.headers.get("x-api-key") or _bearer(request)
    if key is None:
        raise unauthorized("Operators only: send your key as X-API-Key or as a bearer token.")
    at = caller(request)
    # Asked first: while an address has to wait, not even the right key tells it anything.
    allow(request, await rates_of(request).standing("keys", at))
    login: OperatorLogin | None = request.app.state.operator_login
    if login is not None and is_token(key):
        return await _of_login(request, login, key)
    access = access_of(request)
    await access.known()
    keys: Keys = request.app.state.keys
    found: str | None = None
    for name, expected in keys.operators.items():
        # Every key is compared, so that the time taken says nothing about which one was close.
        if secrets.compare_digest(key.encode(), expected.encode()):
            found = name
    if found is not None and not (keys.demo and access.any_operator):
        return Operator(found, keys.roles.get(found, "agent"), keys.tenants.get(found))
    if (operator := access.operator(key)) is not None:
        await access.used(operator.name)
        return operator
    sessions: Sessions = request.app.state.sessions
    try:
        sessions.read(key)
    except BadData:
        standing = await rates_of(request).spend("keys", at)
        log.warning(
            "a wrong operator key from %s for %s %s%s",
            at,
            request.method,
            request.url.path,
            "; the address has to wait" if standing is not None and not standing.remaining else "",
        )
        raise unauthorized("This is not a valid operator key.") from None
    raise Problem(403, "Customers cannot do this; it needs an operator's key.")


async def _of_login(request: Request, login: OperatorLogin, token: str) -> Operator:
    """The operator whom a token of the company's login names; one that does not hold counts as a wrong key."""
    try:
        found = await asyncio.to_thread(login.read, token)
    except BackendUnavailable as error:
        raise Problem(503, f"{str(error).capitalize()}. Try again in a moment.") from None
    except NoRole as error:
        raise Problem(403, str(error)) from None
    except NotKnown as error:
        await rates_of(request).spend("keys", caller(request))
        log.warning("an operator's token from %s is not taken", caller(request))
        raise unauthorized(str(error)) from None
    return Operator(found.name, found.role, found.tenant)


async def counted_turn(request: Request, customer: Customer, thread: str | None) -> None:
    """Refuse a turn of a customer who asks too fast, or whose share of the large model is used up."""
    who = f"{customer.tenant}:{customer.id}"
    await spend(request, "turns", who)
    if thread is not None:
        await spend(request, "thread", thread)
    allow(request, await rates_of(request).standing("cost", who))


DeskDep = Annotated[Desk, Depends(desk_of)]
AccessDep = Annotated[Access, Depends(access_of)]
SessionsDep = Annotated[Sessions, Depends(sessions_of)]
CustomerDep = Annotated[Customer, Depends(current_customer)]
OperatorDep = Annotated[Operator, Depends(current_operator)]
