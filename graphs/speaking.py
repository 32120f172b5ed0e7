"""A graph whose nodes speak the customer's language: each runs in the voice of the thread it works for."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from functools import wraps
from typing import Any, cast

from langgraph.graph import StateGraph
from langgraph.graph.state import CompiledStateGraph
from langgraph.runtime import get_runtime
from langgraph.typing import ContextT, InputT, OutputT, StateT

from graphs.context import Context
from prompts.replies import Voice, speaking


class SpeakingGraph(StateGraph[StateT, ContextT, InputT, OutputT]):
    """A state graph; what a node says is said in the language that the state names."""

    def add_node(self, node: Any, action: Any = None, **options: Any) -> Any:  # pyright: ignore[reportIncompatibleMethodOverride]
        if action is None and callable(node):
            return super().add_node(_in_voice(node), **options)
        if isinstance(action, CompiledStateGraph):
            return super().add_node(node, cast(Any, action), **options)
        return super().add_node(node, _in_voice(cast(Any, action)), **options)


def _in_voice(node: Callable[..., Any]) -> Any:
    if inspect.iscoroutinefunction(node):

        @wraps(node)
        async def waited(state: Any, *given: Any, **named: Any) -> Any:
            with speaking(_voice(state)):
                return await node(state, *given, **named)

        return waited

    @wraps(node)
    def called(state: Any, *given: Any, **named: Any) -> Any:
        with speaking(_voice(state)):
            return node(state, *given, **named)

    return called


def _voice(state: Mapping[str, Any]) -> Voice:
    context = get_runtime(Context).context
    action = state.get("action")  # An action's own thread speaks the language of the customer's.
    language = state.get("language") or (action.language if action is not None else "")
    return context.replies.voice(language or context.language)
