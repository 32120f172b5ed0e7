"""An MCP server as one of the domain's systems: over stdio or streamable HTTP, spoken to by the official client."""

from __future__ import annotations

import json
import threading
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import ExitStack, asynccontextmanager
from typing import Any, TypeVar, cast

import anyio
import httpx2
from anyio.from_thread import BlockingPortal, start_blocking_portal
from mcp import Client, MCPError, StdioServerParameters
from mcp.client.streamable_http import streamable_http_client
from mcp_types import CallToolResult, TextContent
from mcp_types import Tool as Described

from app.outside.guard import Guard
from tools.importing.calls import Call, Reply
from tools.importing.declared import Mcp
from tools.importing.mcp_tools import Confirmed, Tool, changed
from tools.ports import BackendUnavailable, NotSent, Uncertain

T = TypeVar("T")

MOST_TOOLS = 500
#: JSON-RPC's words for a call that was understood by nobody, so that nothing can have happened.
_NOT_UNDERSTOOD = frozenset({-32700, -32600, -32601, -32602})


class McpSystem:
    """One server. Its session lives in a thread of its own; a session that broke is begun again."""

    def __init__(
        self, name: str, declared: Mcp, confirmed: Confirmed, *, guard: Guard | None = None
    ) -> None:
        self._name = name
        self._declared = declared
        self._confirmed = confirmed
        self._guard = guard or Guard(name)
        self._opening = threading.Lock()
        self._session: _Session | None = None
        self._off: dict[str, str] = {}

    @property
    def name(self) -> str:
        return self._name

    @property
    def problem(self) -> str | None:
        """Which tools are off, or why the server is not asked; None where all is well."""
        off = [f"the tool {tool} {why}" for tool, why in sorted(self._off.items())]
        if off:
            return f"{'; '.join(off)}: look at it and run `signalbox domain confirm`"
        return self._guard.problem

    def argument_schema(self, operation: str) -> dict[str, Any]:
        tool = self._confirmed.find(operation)
        if tool is None:
            known = ", ".join(one.name for one in self._confirmed.tools) or "none"
            raise KeyError(f"{self._name} has no confirmed tool {operation!r}; it has {known}")
        schema = tool.arguments()
        if self._declared.as_customer is not None:
            schema["properties"].pop(self._declared.as_customer, None)
            schema["required"] = [n for n in schema["required"] if n != self._declared.as_customer]
        return schema

    def ready(self) -> None:
        self._guard.ready()

    def look(self) -> None:
        """Connect and compare the tools with the confirmed ones. Raises BackendUnavailable."""
        self._guard.read(lambda: self._opened() and None)

    def read(self, call: Call) -> Reply:
        return self._guard.read(lambda: self._asked(call))

    def write(self, call: Call) -> Reply:
        def send() -> Reply:
            try:
                session = self._opened()
                self._not_off(call.operation)
            except BackendUnavailable as error:
                raise NotSent(str(error)) from error
            return self._called(session, call, Uncertain)

        return self._guard.write(send)

    def close(self) -> None:
        """The session ends; the next call begins another."""
        with self._opening:
            session, self._session = self._session, None
        if session is not None:
            session.close()

    # --- one call -------------------------------------------------------------------------------

    def _asked(self, call: Call) -> Reply:
        session = self._opened()
        self._not_off(call.operation)
        return self._called(session, call, BackendUnavailable)

    def _not_off(self, tool: str) -> None:
        if tool in self._off:
            raise BackendUnavailable(f"the tool {tool} {self._off[tool]}")

    def _called(
        self, session: _Session, call: Call, failure: type[BackendUnavailable] | type[Uncertain]
    ) -> Reply:
        tool = self._confirmed.find(call.operation)
        names = tool.names() if tool is not None else {}
        values = {names.get(name, name): value for name, value in call.values.items()}
        for extra in call.extra:
            values[names.get(extra.name, extra.name)] = extra.value
        if self._declared.as_customer is not None:
            values[self._declared.as_customer] = call.customer.get("id")
        try:
            result = session.call(call.operation, values)
        except MCPError as error:
            if error.code in _NOT_UNDERSTOOD:
                return Reply(status=400, content={"error": error.message})
            self.close()
            raise failure(f"{self._name}: {error.message}") from error
        except _BROKEN as error:
            self.close()
            raise failure(f"{self._name}: {type(error).__name__}") from error
        content = _content(result)
        if len(json.dumps(content, default=str)) > self._declared.largest:
            raise failure(f"{self._name} answered more than {self._declared.largest:,} characters")
        # A tool's own error does not say that nothing happened: it is neither done nor declined.
        return Reply(status=500 if result.is_error else 200, content=content)

    def _opened(self) -> _Session:
        with self._opening:
            if self._session is None:
                try:
                    session = _Session(self._declared)
                except (MCPError, *_BROKEN) as error:
                    raise BackendUnavailable(f"{self._name}: {type(error).__name__}") from error
                try:
                    self._off = changed(self._confirmed, session.tools())
                except (MCPError, *_BROKEN) as error:
                    session.close()
                    raise BackendUnavailable(f"{self._name}: {type(error).__name__}") from error
                self._session = session
            return self._session


_BROKEN = (
    OSError,
    RuntimeError,
    TimeoutError,
    ExceptionGroup,
    httpx2.HTTPError,
    anyio.BrokenResourceError,
    anyio.ClosedResourceError,
    anyio.EndOfStream,
)


class _Session:
    """A connection with its event loop."""

    def __init__(self, declared: Mcp) -> None:
        self._timeout = declared.timeout
        self._stack = ExitStack()
        try:
            portal: BlockingPortal = self._stack.enter_context(start_blocking_portal())
            opening = portal.wrap_async_context_manager(_client(declared))
            self._client = self._stack.enter_context(opening)
        except BaseException:
            self._stack.close()
            raise
        self._portal = portal

    def call(self, tool: str, values: dict[str, Any]) -> CallToolResult:
        return self._within(lambda: self._client.call_tool(tool, values))

    def tools(self) -> list[Tool]:
        """Everything the server offers."""
        found: list[Tool] = []
        cursor: str | None = None
        while True:
            at = cursor
            page = self._within(lambda: self._client.list_tools(cursor=at, cache_mode="bypass"))  # noqa: B023
            found += [described(one) for one in page.tools]
            cursor = page.next_cursor
            if cursor is None or len(found) > MOST_TOOLS:
                return found[:MOST_TOOLS]

    def _within(self, ask: Callable[[], Awaitable[T]]) -> T:
        async def bounded() -> T:
            with anyio.fail_after(self._timeout):
                return await ask()

        return self._portal.call(bounded)

    def close(self) -> None:
        try:
            self._stack.close()
        except (MCPError, *_BROKEN):
            return  # It was broken already.


@asynccontextmanager
async def _client(declared: Mcp) -> AsyncGenerator[Client]:
    """A connected client; what it speaks through is closed behind it."""
    if declared.command:
        program, *rest = declared.command
        environment = {
            name: value.get_secret_value() for name, value in declared.environment.items()
        }
        server = StdioServerParameters(command=program, args=rest, env=environment or None)
        async with Client(server, read_timeout_seconds=declared.timeout) as client:
            yield client
        return
    headers = dict(declared.headers)
    if declared.auth is not None and declared.auth.bearer is not None:
        headers["authorization"] = f"Bearer {declared.auth.bearer.get_secret_value()}"
    async with httpx2.AsyncClient(
        headers=headers, timeout=declared.timeout, follow_redirects=False
    ) as http:
        transport = streamable_http_client(
            str(declared.url), http_client=http, max_sse_event_size=declared.largest
        )
        async with Client(cast("Any", transport), read_timeout_seconds=declared.timeout) as client:
            yield client


def described(one: Described) -> Tool:
    """A tool as it is kept. Where it gives no hints the worst is assumed."""
    hints = one.annotations
    return Tool(
        name=one.name,
        description=one.description or "",
        schema_=one.input_schema,
        reads=bool(hints and hints.read_only_hint),
        destroys=hints is None or hints.destructive_hint is not False,
        repeatable=bool(hints and hints.idempotent_hint),
    )


def tools_of(declared: Mcp) -> list[Tool]:
    """What a server offers now. Raises BackendUnavailable."""
    try:
        session = _Session(declared)
    except (MCPError, *_BROKEN) as error:
        raise BackendUnavailable(f"the MCP server cannot be reached: {error}") from error
    try:
        return session.tools()
    except (MCPError, *_BROKEN) as error:
        raise BackendUnavailable(f"the MCP server does not list its tools: {error}") from error
    finally:
        session.close()


def _content(result: CallToolResult) -> Any:
    if result.structured_content is not None:
        return result.structured_content
    texts = [one.text for one in result.content if isinstance(one, TextContent)]
    text = "\n".join(texts)
    try:
        return json.loads(text)
    except ValueError:
        return text


__all__ = ["McpSystem", "described", "tools_of"]
