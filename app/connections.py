"""Connections that are bounded: in number, and in the time that a request's head may take."""

from __future__ import annotations

import asyncio
from typing import Any, cast

from uvicorn.protocols.http.auto import AutoHTTPProtocol

_FULL = b"HTTP/1.1 503 Service Unavailable\r\nConnection: close\r\nRetry-After: 2\r\nContent-Length: 0\r\n\r\n"


def bounded(header_seconds: float, connections: int) -> type[asyncio.Protocol]:
    """uvicorn's own protocol, which waits for ever for the rest of a request's head and counts nobody."""
    kind: type[Any] = AutoHTTPProtocol

    class Bounded(kind):
        """Hangs up on who is one too many, and on who begins a request and does not go on."""

        def __init__(self, *args: Any, **options: Any) -> None:
            super().__init__(*args, **options)
            self._waiting: asyncio.TimerHandle | None = None

        def connection_made(self, transport: asyncio.Transport) -> None:
            super().connection_made(transport)
            if len(self.connections) > connections:
                transport.write(_FULL)
                transport.close()
            else:
                self._watch()

        def data_received(self, data: bytes) -> None:
            super().data_received(data)
            self._watch()

        def connection_lost(self, exc: Exception | None) -> None:
            self._unwatch()
            super().connection_lost(exc)

        def _busy(self) -> bool:
            return self.cycle is not None and not self.cycle.response_complete

        def _watch(self) -> None:
            if self._busy():
                self._unwatch()
            elif self._waiting is None:
                loop = asyncio.get_running_loop()
                self._waiting = loop.call_later(header_seconds, self._too_long)

        def _unwatch(self) -> None:
            if self._waiting is not None:
                self._waiting.cancel()
                self._waiting = None

        def _too_long(self) -> None:
            self._waiting = None
            if not self._busy():
                self.transport.close()

    return cast("type[asyncio.Protocol]", Bounded)
