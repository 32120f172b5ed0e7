"""One trace a turn, by OpenTelemetry: spans around every model, tool and gate call.

Where nothing is to be sent, no SDK is imported and every call here is a few empty frames. Else spans are built
while a turn runs, and masked and sent in threads of their own: nothing waits for whoever takes them.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, Protocol, TypeVar

from pydantic import JsonValue

from app.health import Checks
from graphs.context import Context

if TYPE_CHECKING:
    from collections.abc import Generator

AnyContext = TypeVar("AnyContext", bound=Context)

Kind = Literal["agent", "generation", "embedding", "tool", "guardrail", "retriever", "span"]
State = Literal["off", "on", "failing"]


@dataclass(frozen=True)
class Targets:
    """Where traces go; nothing set: nowhere."""

    otlp: str | None = None  #: A collector's address, before `/v1/traces`.
    otlp_traces: str | None = None  #: The same with its whole path.
    langfuse_url: str | None = None
    public_key: str | None = None
    secret_key: str | None = field(default=None, repr=False)
    environment: str | None = None
    release: str | None = None
    #: Who runs the models, in OpenTelemetry's names: of tier ``small``, ``large``.
    providers: Mapping[str, str] = field(default_factory=dict[str, str])

    @property
    def langfuse(self) -> bool:
        return bool(self.public_key and self.secret_key)


@dataclass
class Place:
    """Where a turn is in the traces, and what was measured while it ran."""

    turn: str
    trace: str
    span: str
    scores: dict[str, float] = field(default_factory=dict[str, float])


class Pricing(Protocol):
    """What a call of a model cost, in which currency."""

    @property
    def currency(self) -> str: ...
    def cost(self, call: Any) -> float | None: ...


class Seen:
    """A span nobody looks at."""

    def update(self, **attributes: Any) -> None:
        """Take attributes and keep none."""

    def failed(self, error: Exception) -> None:
        """Nobody hears why."""

    def end(self) -> None:
        """Nothing was begun."""

    @contextmanager
    def current(self) -> Generator[None]:
        """What is called inside nests below the span; in a generator only around a step."""
        yield


UNSEEN = Seen()


@dataclass(frozen=True)
class TracedTurn:
    """A turn while it runs: callbacks for the graph's config, and its own span."""

    callbacks: Sequence[Any] = ()
    seen: Seen = UNSEEN
    trace_id: str | None = None
    keep: Callable[[Mapping[str, float]], None] = lambda scores: None

    def annotate(self, **attributes: Any) -> None:
        """Add to the turn's span: ``output=`` is its output, ``tags=`` what it can be found by."""
        self.seen.update(**attributes)

    def score(self, **scores: float) -> None:
        """Keep what was measured while the turn ran."""
        self.keep(scores)


class Tracing:
    """Traces that are off."""

    @property
    def state(self) -> State:
        return "off"

    @property
    def provider(self) -> Any:
        """OpenTelemetry's provider, for the spans of the web server; None: there are none."""
        return None

    async def health(self) -> Checks:
        """Whether what is traced arrives."""
        status = "degraded" if self.state == "failing" else "ok"
        return {"traces": {"status": status, "state": self.state}}

    def turn(
        self,
        turn_id: str,
        thread: str,
        customer_id: str,
        input: JsonValue,
        *,
        of: str | None = None,
    ) -> AbstractAsyncContextManager[TracedTurn]:
        """The turn's span, below the request that brought it; ``of`` names an earlier turn whose trace it joins.

        Enter it in the task that runs the graph, and give the graph its ``callbacks``."""
        return self._unseen_turn()

    async def rated(self, turn_id: str, *, good: bool, comment: str) -> None:
        """What a customer thinks of a turn's answer, into its trace."""

    def span(self, name: str, kind: Kind, **attributes: Any) -> AbstractAsyncContextManager[Seen]:
        return self._unseen()

    def begin(self, name: str, kind: Kind, **attributes: Any) -> Seen:
        """A span that the caller ends, for generators."""
        return UNSEEN

    def wrap(self, context: AnyContext) -> AnyContext:
        """The context with every port traced."""
        return context

    async def close(self) -> None:
        """Nothing is left to send."""

    @asynccontextmanager
    async def _unseen_turn(self) -> AsyncGenerator[TracedTurn]:
        yield UNTRACED

    @asynccontextmanager
    async def _unseen(self) -> AsyncGenerator[Seen]:
        yield UNSEEN


UNTRACED = TracedTurn()


def tracing_to(targets: Targets, prices: Pricing | None = None) -> Tracing:
    """Tracing for one process: off where nothing takes traces, or OpenTelemetry's own variables say so."""
    if not targets.langfuse and not targets.otlp and not targets.otlp_traces:
        return Tracing()
    from app.tracing.spans import open_traces

    return open_traces(targets, prices)


@asynccontextmanager
async def tracing(targets: Targets, prices: Pricing | None = None) -> AsyncGenerator[Tracing]:
    """The same, closed at the end of the block."""
    traces = tracing_to(targets, prices)
    try:
        yield traces
    finally:
        await traces.close()
