"""The graphs and their nodes as spans, from LangGraph's callbacks; their states are not repeated in each."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from uuid import UUID

from langchain_core.callbacks import BaseCallbackHandler
from langgraph.errors import GraphBubbleUp
from opentelemetry import context as otel
from opentelemetry import trace

#: The graphs by their names; what else runs inside a node is a branch or a helper.
GRAPHS = frozenset({"support", "action", "loop"})


class NodeSpans(BaseCallbackHandler):
    """A span for each graph and node while it runs, so that what it calls nests below it."""

    #: In the task itself, not in a worker thread: otherwise a node's calls miss their node.
    run_inline = True

    def __init__(self, start: Callable[[str, str, trace.Span], trace.Span | None]) -> None:
        self._start = start
        self._spans: dict[UUID, trace.Span] = {}
        self._open: set[UUID] = set()

    def on_chain_start(
        self,
        serialized: dict[str, Any],
        inputs: dict[str, Any],
        *,
        run_id: UUID,
        parent_run_id: UUID | None = None,
        tags: list[str] | None = None,
        metadata: dict[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        name = str(kwargs.get("name") or "")
        # What ends is told from another task, which cannot restore what was current before. So the parent is
        # whoever called, not whatever is current.
        above = self._spans.get(parent_run_id) if parent_run_id is not None else None
        above = above or trace.get_current_span()
        node = any(tag.startswith("graph:step") for tag in tags or ())
        span = None
        if node or name in GRAPHS:
            span = self._start(name, "node" if node else "workflow", above)
        self._spans[run_id] = span or above
        if span is not None:
            self._open.add(run_id)
        otel.attach(trace.set_span_in_context(span or above))

    def on_chain_end(self, outputs: dict[str, Any], *, run_id: UUID, **kwargs: Any) -> None:
        self._end(run_id, None)

    def on_chain_error(self, error: BaseException, *, run_id: UUID, **kwargs: Any) -> None:
        self._end(run_id, error)

    def _end(self, run_id: UUID, error: BaseException | None) -> None:
        span = self._spans.pop(run_id, None)
        if span is None or run_id not in self._open:
            return
        self._open.remove(run_id)
        if isinstance(error, GraphBubbleUp):
            span.set_attribute("signalbox.waits", True)
        elif error is not None:
            failed(span, error)
        span.end()


def failed(span: trace.Span, error: BaseException) -> None:
    """Say what went wrong, without the trace of calls: that is in the log."""
    span.set_attribute("error.type", type(error).__qualname__)
    span.set_status(trace.StatusCode.ERROR, str(error)[:300])
