"""The large model of somebody else: it reads placeholders where personal data stands, and its reply is mapped back."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Iterator, Sequence
from contextlib import aclosing
from typing import Any, cast

from app.models.metering import masking
from tools.masking import Masker
from tools.ports import Backend, BackendUnavailable, Filled, LargeModel, PortError
from tools.privacy import find_pii
from tools.values import Customer

#: What a domain calls the facts of a record that are about a person.
_PERSONAL = frozenset(
    {
        "address",
        "name",
        "email",
        "mail",
        "phone",
        "sent_to",
        "recipient",
        "contact",
        "iban",
        "account",
        "birth",
    }
)


class MaskedLargeModel:
    """One turn's. Known values are the customer's own and those of their records; others are found by their form."""

    def __init__(
        self, large: LargeModel, customer: Customer, backend: Backend, *, public: Sequence[str] = ()
    ) -> None:
        self._large, self._customer, self._backend = large, customer, backend
        self._masker = Masker(dict(own_values(customer)), public=public)
        self._read = asyncio.Lock()
        self._knows = False

    async def write(
        self,
        role: str,
        system: str,
        user: str,
        *,
        quotes: Sequence[str] = (),
        bare: str = "",
        max_tokens: int = 400,
    ) -> AsyncIterator[str]:
        system, user, bare = await self._masked(system, user, bare)
        reply = self._masker.streaming()
        written = self._large.write(
            role, system, user, quotes=quotes, bare=bare, max_tokens=max_tokens
        )
        # Closed also when the reader goes away, so that the server stops writing.
        async with aclosing(cast("AsyncGenerator[str]", written)) as pieces:
            while True:
                with masking():
                    piece = await anext(pieces, None)
                if piece is None:
                    break
                if text := reply.take(piece):
                    yield text
        if text := reply.rest():
            yield text

    async def fill(
        self,
        role: str,
        system: str,
        user: str,
        schema: dict[str, Any],
        *,
        bare: str = "",
        narrow: dict[str, Any] | None = None,
    ) -> Filled:
        system, user, bare = await self._masked(system, user, bare)
        with masking():
            filled = await self._large.fill(role, system, user, schema, bare=bare, narrow=narrow)
        return filled.model_copy(update={"values": self._masker.restored(filled.values)})

    async def _masked(self, *texts: str) -> list[str]:
        await self._learn()
        # Off the event loop: a long text is somebody else's wait otherwise.
        return await asyncio.to_thread(lambda: [self._masker.mask(text) for text in texts])

    async def _learn(self) -> None:
        async with self._read:
            if self._knows:
                return
            try:
                views = await self._backend.records(self._customer)
            except BackendUnavailable as error:
                # What is in the records cannot be told from other words then: nothing is said.
                raise PortError("The customer's records cannot be read.") from error
            self._masker.know(
                {value: kind for view in views for value, kind in record_values(view.facts)}
            )
            self._knows = True


def own_values(customer: Customer) -> Iterator[tuple[str, str]]:
    """The customer's name, its parts, and how they are reached."""
    yield customer.name, "person"
    for part in customer.name.split():
        yield part, "person"
    yield customer.email, "email"
    if customer.phone:
        yield customer.phone, "phone"


def record_values(facts: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """What of a record's facts is about a person: by what the fact is called, or by its form."""
    for name, value in facts.items():
        if not isinstance(value, str) or not value.strip():
            continue
        if name in _PERSONAL:
            yield value, name
        else:
            yield from ((value[s.start : s.end], s.kind) for s in find_pii(value))
