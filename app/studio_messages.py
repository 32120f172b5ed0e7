"""What LangGraph's clients show of a turn: citations in the text, operations as tool calls with results.

The product's own thread keeps citations and operations beside the text; agent-chat-ui, agent-inbox and Studio
show only what is in the messages.
"""

from __future__ import annotations

import json
from typing import Any, cast

from langchain_core.messages import AIMessage, AnyMessage, HumanMessage, ToolMessage
from pydantic import JsonValue

from graphs.state import Step, SupportState
from prompts.replies import render
from tools.values import Outcome

#: How the ids end of the messages that the graph, and this module, write.
OURS = (":in", ":out", ":call")


def is_ours(message: AnyMessage) -> bool:
    """Written by the graph, not by the client."""
    name = str(message.id)
    return name.endswith(OURS) or name.startswith("op_")


def attachments_of(said: HumanMessage) -> int:
    """How many parts of the message are not text."""
    content: object = said.content
    blocks = cast("list[Any]", content) if isinstance(content, list) else []
    return sum(not isinstance(each, str) and each.get("type") != "text" for each in blocks)


def refused_attachments(key: str) -> AIMessage:
    """The reply to a message of attachments."""
    return AIMessage(render("attachments_refused"), id=f"{key}:out")


def presented(state: SupportState, attachments: int) -> list[AnyMessage]:
    """The turn's reply as clients show it; nothing where it is silent."""
    messages = state.get("messages", [])
    reply = messages[-1] if messages else None
    if not isinstance(reply, AIMessage):
        return []
    known = {call["id"] for m in messages if isinstance(m, AIMessage) for call in m.tool_calls}
    calls = [each for each in _calls(state) if each[0]["id"] not in known]
    text = reply.text + _sources(reply.additional_kwargs.get("citations", ()))
    if attachments:
        text = f"{render('attachments_refused')}\n\n{text}"
    changed = reply.model_copy(
        update={"content": text, "tool_calls": [call for call, _ in calls]},
    )
    results = [
        ToolMessage(
            result, tool_call_id=str(call["id"]), name=call["name"], id=f"{call['id']}:call"
        )
        for call, result in calls
    ]
    return [changed, *results]


def _sources(citations: Any) -> str:
    listed = [f"[{each['n']}] {each['title']} ({each['source']})" for each in citations]
    return "\n\n" + "  \n".join(listed) if listed else ""


def _calls(state: SupportState) -> list[tuple[dict[str, Any], str]]:
    """Each operation that ran or waits, as a tool call, with what came of it as its result."""
    turn, outcome, plan = state["turn"], state.get("outcome"), state.get("plan")
    found: list[tuple[dict[str, Any], str]] = []
    if outcome is not None:
        following = state.get("next")
        arguments = following.arguments if following is not None and turn.outcome is None else {}
        found.append(_call(f"{outcome.action_id}:{outcome.status}", outcome, arguments))
    for number, step in enumerate(plan.steps if plan is not None else (), 1):
        if step.status in ("pending", "done", "failed"):
            found.append(_step(f"{plan.request if plan else ''}.{number}:{step.status}", step))
    return found


def _call(
    key: str, outcome: Outcome, arguments: dict[str, JsonValue]
) -> tuple[dict[str, Any], str]:
    told: dict[str, Any] = {"status": outcome.status, "record": outcome.label}
    told |= {"reason": outcome.reason} if outcome.reason else {}
    told |= {"result": outcome.result} if outcome.result else {}
    call = {"name": outcome.operation, "args": arguments, "id": key, "type": "tool_call"}
    return call, json.dumps(told, ensure_ascii=False)


def _step(key: str, step: Step) -> tuple[dict[str, Any], str]:
    told = {"status": step.status, "record": step.label, "note": step.note}
    call = {"name": step.name, "args": step.arguments, "id": key, "type": "tool_call"}
    return call, json.dumps(told, ensure_ascii=False)
