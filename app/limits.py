"""What every request and response passes: a size limit on the way in, safe headers on the way out."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Set
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.metrics import Metrics
from app.problems import TRACE_HEADER, current_trace, problem
from app.rates import Rates, Standing, address_of

_HEADERS = {
    "Content-Security-Policy": "default-src 'self'; base-uri 'none'; form-action 'self'; "
    "frame-ancestors 'none'; object-src 'none'",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
}


_OVER_TLS = {"Strict-Transport-Security": "max-age=31536000; includeSubDomains"}
#: What a load balancer asks, and counts for nobody.
UNCOUNTED = frozenset({"/health", "/ready"})


class Hosts:
    """Answers only for the hosts it is known by: a stranger's name that points here reads nothing."""

    def __init__(self, app: ASGIApp, hosts: Set[str]) -> None:
        self.app = app
        self.hosts = hosts

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or "*" in self.hosts:
            return await self.app(scope, receive, send)
        try:
            host = urlsplit(f"//{Headers(scope=scope).get('host', '')}").hostname or ""
        except ValueError:
            host = ""
        if host not in self.hosts:
            detail = "This server does not answer for that host; see SIGNALBOX_HOSTS."
            return await problem(421, detail)(scope, receive, send)
        await self.app(scope, receive, send)


class Rated:
    """Counts the requests of each address, and tells how much is left where a request was counted."""

    def __init__(self, app: ASGIApp, rates: Rates) -> None:
        self.app = app
        self.rates = rates

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["path"] in UNCOUNTED:
            return await self.app(scope, receive, send)
        standing = await self.rates.spend("ip", address_of((scope.get("client") or ("",))[0]))
        if standing is not None and not standing.allowed:
            detail = "Too many requests from this address. Please wait a moment."
            return await problem(429, detail, headers=standing.headers)(scope, receive, send)
        state = scope.setdefault("state", {})
        state["standing"] = standing

        async def told(message: Message) -> None:
            counted: Standing | None = state.get("standing")
            if message["type"] == "http.response.start" and counted is not None:
                headers = MutableHeaders(scope=message)
                for name, value in counted.headers.items():
                    headers.setdefault(name, value)
            await send(message)

        await self.app(scope, receive, told)


class BodyLimit:
    """Refuses a request body above ``limit`` bytes, announced or not (``larger`` says where it is more), and
    one that has not come after ``seconds``."""

    def __init__(
        self,
        app: ASGIApp,
        limit: int,
        larger: Mapping[str, int] | None = None,
        seconds: float = 60.0,
    ) -> None:
        self.app = app
        self.limit = limit
        self.larger = larger or {}
        self.seconds = seconds

    def limit_at(self, path: str) -> int:
        return next((n for start, n in self.larger.items() if path.startswith(start)), self.limit)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return await self.app(scope, receive, send)
        limit = self.limit_at(scope["path"])
        detail = (
            f"The request is too large: at most {limit // 1024} KiB ({limit} bytes) are accepted."
        )
        announced = Headers(scope=scope).get("content-length", "0")
        if announced.isdigit() and int(announced) > limit:
            # The body stays unread, so the connection cannot be used for another request.
            response = problem(413, detail, headers={"Connection": "close"})
            return await response(scope, receive, send)
        received, whole = 0, False
        until = asyncio.get_running_loop().time() + self.seconds

        async def counted() -> Message:
            nonlocal received, whole
            if whole:
                return await receive()  # Waits for the caller to hang up, for as long as they like.
            try:
                async with asyncio.timeout_at(until):
                    message = await receive()
            except TimeoutError:
                raise HTTPException(
                    408, "The request's body did not come in time.", {"Connection": "close"}
                ) from None
            whole = not message.get("more_body", False)
            received += len(message.get("body", b""))
            if received > limit:
                raise HTTPException(413, detail)
            return message

        await self.app(scope, counted, send)


class SafeHeaders:
    """Adds the headers that keep pages from loading or being loaded by anything foreign."""

    def __init__(self, app: ASGIApp, *, secure: bool = False) -> None:
        self.app = app
        self.headers = _HEADERS | (_OVER_TLS if secure else {})

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return await self.app(scope, receive, send)
        private = scope["path"].startswith("/v1/")

        async def with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in self.headers.items():
                    headers.setdefault(name, value)
                headers.setdefault("Cache-Control", "no-store" if private else "no-cache")
            await send(message)

        await self.app(scope, receive, with_headers)


class TraceTold:
    """Says in a header which trace an answer belongs to, where it belongs to one."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        trace = current_trace() if scope["type"] == "http" else None
        if trace is None:
            return await self.app(scope, receive, send)

        async def with_trace(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message).setdefault(TRACE_HEADER, trace)
            await send(message)

        await self.app(scope, receive, with_trace)


class Answered:
    """Counts every answer by its code, and answers HEAD wherever GET is answered."""

    def __init__(self, app: ASGIApp, metrics: Metrics) -> None:
        self.app = app
        self.metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return await self.app(scope, receive, send)
        method = scope["method"]
        head = method == "HEAD"

        async def counted(message: Message) -> None:
            if message["type"] == "http.response.start":
                self.metrics.answered(method, message["status"])
            elif head and message["type"] == "http.response.body":
                message = {**message, "body": b""}
            await send(message)

        await self.app({**scope, "method": "GET"} if head else scope, receive, counted)
