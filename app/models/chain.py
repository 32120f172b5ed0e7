"""Several large models, one behind the other: each left alone while it fails, the next one asked instead."""

from __future__ import annotations

from collections.abc import (
    AsyncGenerator,
    AsyncIterator,
    Awaitable,
    Callable,
    Iterator,
    Mapping,
    Sequence,
)
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any, TypeVar, cast

from purgatory.domain.model import Context as Circuit
from purgatory.domain.model import OpenedState

from app.models.large import ChatLargeModel, ModelBusy, ModelUnreadable
from tools.ports import (
    BackendUnavailable,
    Filled,
    ModelOutputInvalid,
    ModelUnavailable,
    PortError,
)

T = TypeVar("T")

#: So many failures in a row open a model's circuit, and for so long it is left alone.
FAILURES, SECONDS = 3, 30.0
#: No server is believed that it wants to be left alone for longer.
MOST_SECONDS = 900.0


@dataclass
class _Link:
    """One model of the chain, and the library's circuit that opens when it fails."""

    name: str
    model: ChatLargeModel
    circuit: Circuit
    why: str = ""  #: What its last failure was.

    def enter(self) -> None:
        """Raises ModelUnavailable while it is left alone."""
        try:
            self.circuit.handle_new_request()
        except OpenedState as error:
            raise ModelUnavailable(f"The large model {self.name} is left alone.") from error

    def answered(self) -> None:
        self.circuit.handle_end_request()
        self._settled()
        self.circuit.ttl, self.why = SECONDS, ""

    def failed(self, error: PortError) -> None:
        if isinstance(error, ModelOutputInvalid) and not isinstance(error, ModelUnreadable):
            # Of one request, not of the server: else one customer's words could take it from all others.
            self.answered()
            return
        self.circuit.handle_exception(error)
        if isinstance(error, ModelBusy):
            self.why = "busy"
            if error.seconds is not None:
                self.circuit.ttl = min(max(SECONDS, error.seconds), MOST_SECONDS)
                self.circuit.set_state(OpenedState(self.circuit.name))
        elif isinstance(error, ModelUnavailable):
            slow = isinstance(error.__cause__, TimeoutError)
            self.why = "does not answer in time" if slow else UNREACHABLE
        else:
            self.why = "sends what is no answer"
        self._settled()

    def _settled(self) -> None:
        # The library's events, for stores that several processes share.
        self.circuit.messages.clear()

    @property
    def well(self) -> bool:
        return self.circuit.state == "closed" and not self.circuit.failure_count

    def told(self) -> str:
        if self.circuit.state == "opened":
            return f"left alone: {self.why}"
        return self.why or "ok"


UNREACHABLE = "cannot be reached"


async def _unlimited() -> str | None:
    return None


class ChainedLargeModel:
    """The first model that answers. One that had been well is asked twice; nobody waits in between.

    A reply that began to be read is not begun again by another model: its failure is the caller's."""

    def __init__(
        self,
        models: Mapping[str, ChatLargeModel],
        *,
        spent: Callable[[], Awaitable[str | None]] = _unlimited,
    ) -> None:
        """``models``: by what each is called, in the order in which they are asked.
        ``spent``: which budget there is nothing left of to ask one; None: there is enough of all."""
        self._spent = spent
        self._chain = [
            _Link(name, model, Circuit(name, FAILURES, SECONDS)) for name, model in models.items()
        ]
        self.name = self._chain[0].model.name

    @property
    def calls(self) -> int:
        return sum(link.model.calls for link in self._chain)

    async def warm(self) -> None:
        """Load the client library in the background of the start."""
        await self._chain[0].model.warm()

    async def aclose(self) -> None:
        for link in self._chain:
            await link.model.aclose()

    def health(self) -> Mapping[str, str]:
        """What each model is: ok, or why it is left alone or failed last."""
        return {link.name: link.told() for link in self._chain}

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
        async def begun(model: ChatLargeModel) -> tuple[AsyncGenerator[str], str]:
            written = model.write(
                role, system, user, quotes=quotes, bare=bare, max_tokens=max_tokens
            )
            pieces = cast("AsyncGenerator[str]", written)
            return pieces, await anext(pieces, "")

        link, (pieces, first) = await self._first(begun)
        async with aclosing(pieces):
            yield first
            try:
                async for piece in pieces:
                    yield piece
            except PortError as error:
                link.failed(error)
                raise

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
        _, filled = await self._first(
            lambda model: model.fill(role, system, user, schema, bare=bare, narrow=narrow)
        )
        return filled

    async def _first(self, ask: Callable[[ChatLargeModel], Awaitable[T]]) -> tuple[_Link, T]:
        """The first answer of the chain. Raises the last model's error."""
        try:
            budget = await self._spent()
        except BackendUnavailable as error:
            raise ModelUnavailable("What was spent on large models cannot be read.") from error
        if budget is not None:
            raise ModelUnavailable(f"The {budget}'s budget for large models is spent.")
        failure: PortError = ModelUnavailable("No large model is left to ask.")
        for link in self._in_turn():
            try:
                link.enter()
            except ModelUnavailable as error:
                failure = error
                continue
            try:
                answer = await ask(link.model)
            except PortError as error:
                link.failed(error)
                failure = error
            else:
                link.answered()
                return link, answer
        raise failure

    def _in_turn(self) -> Iterator[_Link]:
        """Each model; one more time where it had been well and its connection broke."""
        for link in self._chain:
            well = link.well
            yield link
            if well and link.why == UNREACHABLE:
                yield link
