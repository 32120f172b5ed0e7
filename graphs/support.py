"""One customer turn: ``screen -> understand ->`` one of five lanes ``-> validate -> deliver``."""

from __future__ import annotations

from typing import Any

from langgraph.graph import END, START, StateGraph

from graphs import routing
from graphs.context import Context
from graphs.loop import loop_graph
from graphs.nodes.advise import advise, defer, respond_to_incident, tell_waiting
from graphs.nodes.answer import (
    admit,
    prune,
    quote,
    recall,
    remember,
    retrieve,
    synthesize,
)
from graphs.nodes.converse import converse, escalate
from graphs.nodes.extract import extract, extract_by_rules
from graphs.nodes.operation import act, ask, confirm, decline, resolve, tell_standing
from graphs.nodes.result import check_result, format_outcome, tell_outcome
from graphs.nodes.turn import (
    clarify,
    deliver,
    fall_back,
    refuse,
    screen,
    stay_silent,
    validate,
)
from graphs.nodes.understand import understand
from graphs.speaking import SpeakingGraph
from graphs.state import SupportState


def support_graph(
    input_schema: type[Any] = SupportState,
) -> StateGraph[SupportState, Context, Any, SupportState]:
    """The picture in the README is drawn from this function."""
    graph = SpeakingGraph(SupportState, context_schema=Context, input_schema=input_schema)

    graph.add_node(screen)
    graph.add_node(refuse)
    graph.add_node(stay_silent)
    graph.add_node(understand)
    graph.add_node(clarify)
    graph.add_edge(START, "screen")
    graph.add_conditional_edges("screen", routing.after_screen)
    graph.add_conditional_edges("understand", routing.after_understand)

    # direct
    graph.add_node(converse)

    # operation
    graph.add_node(extract)
    graph.add_node(resolve)
    graph.add_node(ask)
    graph.add_node(confirm)
    graph.add_node(decline)
    graph.add_node(tell_standing)
    graph.add_node(act)
    graph.add_node(check_result)
    graph.add_node("format", format_outcome)
    graph.add_node(extract_by_rules)
    graph.add_conditional_edges("extract", routing.after_extract)
    graph.add_edge("extract_by_rules", "resolve")
    graph.add_conditional_edges("resolve", routing.after_resolve)
    graph.add_edge("act", "check_result")
    graph.add_edge("check_result", "format")
    graph.add_node(tell_outcome)
    graph.add_conditional_edges("tell_outcome", routing.after_outcome)

    # a problem, or what waits, where no operation alone is the answer
    graph.add_node(advise)
    graph.add_node(tell_waiting)
    graph.add_node(defer)

    # answer
    graph.add_node(recall)
    graph.add_node(retrieve)
    graph.add_node(prune)
    graph.add_node(synthesize)
    graph.add_node(quote)
    graph.add_node(admit)
    graph.add_conditional_edges("recall", routing.after_recall)
    graph.add_edge("retrieve", "prune")
    graph.add_conditional_edges("prune", routing.after_prune)
    graph.add_conditional_edges("synthesize", routing.after_synthesize)

    # agent
    graph.add_node("loop", loop_graph().compile(name="loop"))

    # escalate
    graph.add_node(escalate)
    graph.add_node(respond_to_incident)
    graph.add_conditional_edges("respond_to_incident", routing.after_incident)
    graph.add_conditional_edges("escalate", routing.after_escalate)

    graph.add_node(validate)
    graph.add_node(remember)
    graph.add_node(fall_back)
    graph.add_node(deliver)
    for drafted in (
        "converse",
        "clarify",
        "ask",
        "confirm",
        "decline",
        "tell_standing",
        "format",
        "quote",
        "admit",
        "loop",
        "advise",
        "tell_waiting",
        "defer",
    ):
        graph.add_edge(drafted, "validate")
    graph.add_conditional_edges("validate", routing.after_validate)
    for final in ("refuse", "stay_silent", "fall_back", "remember"):
        graph.add_edge(final, "deliver")
    graph.add_edge("deliver", END)
    return graph
