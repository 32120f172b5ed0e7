"""Turns as OpenTelemetry spans. Imported only where something takes them."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections import OrderedDict
from collections.abc import AsyncGenerator, Generator, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager, contextmanager
from typing import Any, Protocol

from langgraph.errors import GraphBubbleUp
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.trace import NonRecordingSpan, SpanContext, SpanKind, TraceFlags
from pydantic import JsonValue

from app.models.metering import Noted
from app.tracing import (
    UNSEEN,
    UNTRACED,
    AnyContext,
    Kind,
    Place,
    Pricing,
    Seen,
    State,
    Targets,
    TracedTurn,
    Tracing,
)
from app.tracing import budget as budgets
from app.tracing.budget import Budget, bounded
from app.tracing.conventions import (
    COMMENT_ROOM,
    EVALUATION,
    OURS,
    RATING,
    ROOM,
    begun,
    named,
    translated,
)
from app.tracing.export import Exporting, disabled, exporting
from app.tracing.nodes import NodeSpans, failed
from tools.ports import PortError

log = logging.getLogger(__name__)

#: How long closing may wait for the last spans to leave.
CLOSE_SECONDS = 3.0
#: So many turns' places are remembered for what joins them later; the rest is in the database.
REMEMBERED = 2000
#: How long a joining span may wait for the place of its turn to be looked up.
LOOK_UP_SECONDS = 2.0
#: The instrumentation scope of our spans.
SCOPE = "signalbox"


class Places(Protocol):
    """Where turns are, kept for longer than a process lives."""

    def find(self, turn: str) -> Place | None: ...


def open_traces(targets: Targets, prices: Pricing | None) -> Tracing:
    """Tracing with exporters to the targets; off where OpenTelemetry's variables switch it off."""
    if disabled():
        log.info("OTEL_SDK_DISABLED: turns are not traced")
        return Tracing()
    made = exporting(targets)
    return Tracing() if made is None else Traces(made, targets, prices)


class Traces(Tracing):
    """Traces that leave by the exporters of ``exporting``."""

    def __init__(self, made: Exporting, targets: Targets, prices: Pricing | None) -> None:
        self.exporting = made
        self.targets = targets
        self.places: Places | None = None
        self._prices = prices
        self._tracer = made.provider.get_tracer(SCOPE, targets.release or "")
        self._known: OrderedDict[str, Place] = OrderedDict()
        self._fresh: list[Place] = []
        self._lock = threading.Lock()
        self._closed = False

    @property
    def state(self) -> State:
        return "failing" if self.exporting.failing else "on"

    @property
    def provider(self) -> TracerProvider:
        return self.exporting.provider

    # --- turns -----------------------------------------------------------------------------------

    def turn(
        self,
        turn_id: str,
        thread: str,
        customer_id: str,
        input: JsonValue,
        *,
        of: str | None = None,
    ) -> AbstractAsyncContextManager[TracedTurn]:
        return (
            self._unseen_turn()
            if self._closed
            else self._turn(turn_id, thread, customer_id, input, of)
        )

    @asynccontextmanager
    async def _turn(
        self, turn_id: str, thread: str, customer_id: str, input: JsonValue, of: str | None
    ) -> AsyncGenerator[TracedTurn]:
        asked_by = trace.get_current_span()
        joined = await self._place(of) if of is not None else None
        who = {
            "session.id": thread,
            "gen_ai.conversation.id": thread,
            "user.id": customer_id,
            OURS + "turn": turn_id,
        }
        token = budgets.begin_turn()
        budget = budgets.of_this_turn()
        assert budget is not None
        span = self._tracer.start_span(
            "invoke_agent",
            context=None if joined is None else trace.set_span_in_context(_span_of(joined)),
            kind=SpanKind.INTERNAL,
            attributes=begun("agent", "turn" if joined is None else "later", None) | who,
            links=()
            if joined is None or not asked_by.get_span_context().is_valid
            else [trace.Link(asked_by.get_span_context())],
        )
        asked_by.set_attribute(OURS + "turn", turn_id)
        seen = Span(span, "agent", "turn", budget)
        if self.targets.release:
            seen.update(**{"gen_ai.agent.version": self.targets.release})
        seen.update(input=input)
        place = self._keep(turn_id, span) if joined is None else joined
        handler = NodeSpans(self._node)
        try:
            with trace.use_span(
                span, end_on_exit=False, record_exception=False, set_status_on_exception=False
            ):
                try:
                    yield TracedTurn(
                        (handler,) if span.is_recording() else (),
                        seen,
                        f"{span.get_span_context().trace_id:032x}",
                        lambda scores: self._score(place, scores),
                    )
                except BaseException as error:
                    _end_badly(span, error)
                    raise
        finally:
            if budget.dropped:
                span.set_attribute(OURS + "spans_left_out", budget.dropped)
            budgets.end_turn(token)
            seen.end()

    def _node(self, name: str, kind: str, above: trace.Span) -> trace.Span | None:
        budget = budgets.of_this_turn()
        if budget is None or not budget.span(kind):
            return None
        attributes = begun(kind, name, None) | _whose(above)
        budget.spend(attributes)
        return self._tracer.start_span(
            named(kind, name, attributes),
            context=trace.set_span_in_context(above),
            attributes=attributes,
        )

    async def rated(self, turn_id: str, *, good: bool, comment: str) -> None:
        place = None if self._closed else await self._place(turn_id)
        if place is None:
            return
        asked_by = trace.get_current_span().get_span_context()
        span = self._tracer.start_span(
            RATING,
            context=trace.set_span_in_context(_span_of(place)),
            attributes={OURS + "name": RATING, OURS + "turn": turn_id},
            links=[trace.Link(asked_by)] if asked_by.is_valid else (),
        )
        said: dict[str, str | float] = {
            "gen_ai.evaluation.name": RATING,
            "gen_ai.evaluation.score.value": float(good),
            "gen_ai.evaluation.score.label": "helpful" if good else "not helpful",
        }
        if comment:
            why = "gen_ai.evaluation.explanation"
            said |= {why: comment, ROOM + why: COMMENT_ROOM}
        span.add_event(EVALUATION, said)
        span.end()

    # --- what is called within them ----------------------------------------------------------------

    def span(self, name: str, kind: Kind, **attributes: Any) -> AbstractAsyncContextManager[Seen]:
        return self._span(name, kind, attributes)

    @asynccontextmanager
    async def _span(self, name: str, kind: Kind, given: dict[str, Any]) -> AsyncGenerator[Seen]:
        seen = self.begin(name, kind, **given)
        try:
            with seen.current():
                yield seen
        except BaseException as error:
            if isinstance(seen, Span):
                _end_badly(seen.span, error)
            raise
        finally:
            seen.end()

    def begin(self, name: str, kind: Kind, **attributes: Any) -> Seen:
        budget = budgets.of_this_turn()
        # Without a turn there is nothing it belongs to: reading articles into the index, for one.
        if self._closed or budget is None or not budget.span(kind):
            return UNSEEN
        provider = self.targets.providers.get(str(attributes.get("tier")))
        first = begun(kind, name, attributes.pop("provider", None) or provider) | _whose(
            trace.get_current_span()
        )
        # Models are called over the network, or next door; the rest is ours.
        called = SpanKind.CLIENT if kind in ("generation", "embedding") else SpanKind.INTERNAL
        span = self._tracer.start_span(named(kind, name, first), kind=called, attributes=first)
        seen = Span(span, kind, name, budget, prices=self._prices)
        seen.update(**attributes)
        return seen

    def wrap(self, context: AnyContext) -> AnyContext:
        from app.tracing.ports import traced

        return traced(context, self)

    # --- where turns are -----------------------------------------------------------------------------

    def fresh(self) -> list[Place]:
        """The turns of which nobody has written down yet where they are; asked once."""
        with self._lock:
            fresh, self._fresh = self._fresh, []
        return fresh

    def again(self, places: list[Place]) -> None:
        """These could not be written down: ask again, unless there are too many by now."""
        with self._lock:
            self._fresh = (places + self._fresh)[-REMEMBERED:]

    def _keep(self, turn_id: str, span: trace.Span) -> Place:
        where = span.get_span_context()
        place = Place(turn_id, f"{where.trace_id:032x}", f"{where.span_id:016x}")
        if span.is_recording():
            with self._lock:
                self._known[turn_id] = place
                while len(self._known) > REMEMBERED:
                    self._known.popitem(last=False)
                self._fresh = [*self._fresh[-REMEMBERED:], place]
        return place

    def _score(self, place: Place, scores: Mapping[str, float]) -> None:
        with self._lock:
            place.scores |= scores
            if place not in self._fresh:
                self._fresh.append(place)

    async def _place(self, turn_id: str) -> Place | None:
        with self._lock:
            known = self._known.get(turn_id)
        if known is not None or self.places is None:
            return known
        try:
            async with asyncio.timeout(LOOK_UP_SECONDS):
                return await asyncio.to_thread(self.places.find, turn_id)
        except (PortError, TimeoutError) as error:
            # A trace of its own is better than no decision.
            log.info("the trace of turn %s is not found: %s", turn_id, error)
            return None

    async def close(self) -> None:
        """Send what is left, for at most three seconds."""
        if self._closed:
            return
        self._closed = True
        leaving = threading.Thread(target=self.exporting.close, name="traces-close", daemon=True)
        leaving.start()
        await asyncio.to_thread(leaving.join, CLOSE_SECONDS)
        if leaving.is_alive():
            log.warning("the last spans were not taken in %.0f s", CLOSE_SECONDS)


class Span(Seen):
    """A span that takes our words and says the conventions'."""

    def __init__(
        self,
        span: trace.Span,
        kind: str,
        name: str,
        budget: Budget,
        *,
        prices: Pricing | None = None,
    ) -> None:
        self.span = span
        self._kind, self._name, self._budget, self._prices = kind, name, budget, prices
        self._said: dict[str, Any] = {}
        budget.spend(getattr(span, "attributes", None) or {})

    def update(self, **attributes: Any) -> None:
        if not self.span.is_recording():
            return
        used = attributes.pop("used", None)
        if isinstance(used, Noted):
            self._used(
                used, str(attributes.get("model") or self._said.get("gen_ai.request.model") or "")
            )
        plain, texts = translated(self._kind, self._name, attributes)
        self._budget.spend(plain)
        for text in texts:
            plain[text.name] = kept = bounded(text.value)
            plain[ROOM + text.name] = self._budget.room(kept, last=self._kind == "agent")
        self._said |= plain
        self.span.set_attributes(plain)

    def failed(self, error: Exception) -> None:
        failed(self.span, error)

    def end(self) -> None:
        self.span.update_name(
            named(
                self._kind,
                self._name,
                {**dict(getattr(self.span, "attributes", None) or {}), **self._said},
            )
        )
        self.span.end()

    @contextmanager
    def current(self) -> Generator[None]:
        with trace.use_span(
            self.span, end_on_exit=False, record_exception=False, set_status_on_exception=False
        ):
            yield

    def _used(self, noted: Noted, model: str) -> None:
        """Tokens and what they cost: by the price file for what the large model's calls name, else nothing."""
        usage, calls = noted.usage, noted.calls
        said: dict[str, Any] = {}
        if usage.read or usage.written:
            said["gen_ai.usage.input_tokens"] = usage.read
            said["gen_ai.usage.output_tokens"] = usage.written
        if usage.cached:
            said["gen_ai.usage.cache_read.input_tokens"] = usage.cached
        if self._prices is not None:
            costs = [self._prices.cost(call) for call in calls]
            # A model of our own has no call that is paid for; one without a price has no cost that is known.
            if all(cost is not None for cost in costs):
                said[OURS + "cost"] = float(sum(cost or 0.0 for cost in costs))
                said[OURS + "currency"] = self._prices.currency
        answered = [call for call in calls if call.ending == "ok"]
        if answered:
            said["gen_ai.request.model"] = said["gen_ai.response.model"] = answered[-1].model
        elif calls:
            said["gen_ai.request.model"] = calls[-1].model
        for call in calls:
            if call.ending != "ok":
                self.span.add_event(
                    "signalbox.failed_call",
                    {"gen_ai.request.model": call.model, "ending": call.ending},
                )
        self._said |= said
        self._budget.spend(said)
        self.span.set_attributes(said)


def _whose(span: trace.Span) -> dict[str, Any]:
    """Whose conversation the span is of; a reviewer filters all of them by it."""
    attributes: Mapping[str, Any] = getattr(span, "attributes", None) or {}
    return {key: attributes[key] for key in ("session.id", "user.id") if key in attributes}


def _span_of(place: Place) -> trace.Span:
    return NonRecordingSpan(
        SpanContext(
            int(place.trace, 16), int(place.span, 16), is_remote=True, trace_flags=TraceFlags(1)
        )
    )


def _end_badly(span: trace.Span, error: BaseException) -> None:
    if isinstance(error, GraphBubbleUp):
        span.set_attribute(OURS + "waits", True)
    elif isinstance(error, asyncio.CancelledError | GeneratorExit):
        span.set_attribute(OURS + "left", True)
    elif isinstance(error, Exception):
        failed(span, error)


__all__ = ["UNTRACED", "Place", "Places", "Span", "Traces", "open_traces"]
