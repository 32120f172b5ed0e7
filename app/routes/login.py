"""Demo login: pick a customer, get a signed session."""

from __future__ import annotations

import contextlib

from fastapi import APIRouter, Request, Response
from itsdangerous import BadData

from app.auth import (
    COOKIE,
    AccessDep,
    CustomerDep,
    SessionsDep,
    caller,
    identified_customer,
    session_token,
    spend,
    unauthorized,
)
from app.contract import MORE_FOR_CUSTOMERS, PUBLIC, also
from app.problems import Problem
from app.routes.rooms import SignInDep
from app.wire import DemoCustomer, LoggedIn, LoginRequest, Session
from tools.values import Customer

router = APIRouter(prefix="/v1", tags=["login"])


@router.get("/login/customers", openapi_extra=PUBLIC)
async def demo_customers(sign_in: SignInDep) -> list[DemoCustomer]:
    """The demo customers one can log in as."""
    return [
        DemoCustomer(id=each.id, name=each.name, segment=each.segment)
        for each in await sign_in.demo_customers()
    ]


@router.post("/login", responses=also(401), openapi_extra=PUBLIC)
async def log_in(
    request: Request,
    body: LoginRequest,
    response: Response,
    sign_in: SignInDep,
    sessions: SessionsDep,
) -> Session:
    """A signed, expiring session; also set as a cookie for the page."""
    await spend(request, "login", caller(request))
    # Whoever is no demo customer comes from the company's own login, and from nowhere else.
    demo = {each.id for each in await sign_in.demo_customers()}
    customer = await sign_in.customer(body.customer) if body.customer in demo else None
    if customer is None:
        raise unauthorized("There is no such customer among the demo customers.")
    token = sessions.sign(customer.id)
    response.set_cookie(
        COOKIE,
        token,
        max_age=sessions.seconds,
        httponly=True,
        samesite="strict",
        secure=request.app.state.secure,
        path="/",
    )
    return Session(token=token, expires_in=sessions.seconds, customer=customer)


@router.get("/login", openapi_extra=MORE_FOR_CUSTOMERS)
async def logged_in(request: Request, sign_in: SignInDep, sessions: SessionsDep) -> LoggedIn:
    """Who is logged in, if anyone: what a page asks first, without an error to show for a stranger."""
    try:
        return LoggedIn(customer=await identified_customer(request, sign_in, sessions))
    except Problem:
        return LoggedIn(customer=None)


@router.post("/logout", status_code=204, openapi_extra=MORE_FOR_CUSTOMERS)
async def log_out(
    request: Request, response: Response, sessions: SessionsDep, access: AccessDep
) -> None:
    """End the session: its token counts no more, wherever it was copied to."""
    token = session_token(request)
    if token is not None:
        with contextlib.suppress(BadData):
            # What was never a session of ours need not be remembered.
            sessions.read(token)
            await access.end(token, sessions.seconds)
    response.delete_cookie(
        COOKIE, httponly=True, samesite="strict", secure=request.app.state.secure, path="/"
    )


@router.get("/me")
async def who_am_i(customer: CustomerDep) -> Customer:
    """The customer this session belongs to."""
    return customer
