"""No more of an answer is read than any answer needs. Loaded with the client, not before."""

from __future__ import annotations

from collections.abc import AsyncIterator

import httpx2

#: More than any reply that was asked for, its reasoning and the wire's own words included.
BODY_BYTES = 2 * 1024 * 1024


async def bounded(answer: httpx2.Response) -> None:
    """An event hook of the client: what is longer is broken off."""
    assert isinstance(answer.stream, httpx2.AsyncByteStream)
    answer.stream = _Bounded(answer.stream, BODY_BYTES)


class _Bounded(httpx2.AsyncByteStream):
    def __init__(self, stream: httpx2.AsyncByteStream, limit: int) -> None:
        self._stream, self._left = stream, limit

    async def __aiter__(self) -> AsyncIterator[bytes]:
        async for piece in self._stream:
            self._left -= len(piece)
            if self._left < 0:
                raise httpx2.DecodingError("The answer is longer than any that was asked for.")
            yield piece

    async def aclose(self) -> None:
        await self._stream.aclose()
