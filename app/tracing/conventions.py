"""What spans are called and say: OpenTelemetry's conventions for generative AI, and our own names behind them.

Everything that has no name there is `signalbox.*`. The names are those of the conventions' registry; the constants
of the Python package are marked as moving, so they are written out here, in one place.
"""

from __future__ import annotations

import json
from typing import Any, NamedTuple

AGENT = "signalbox"

#: The operation of each kind, where the conventions know one.
OPERATIONS = {
    "agent": "invoke_agent",
    "generation": "chat",
    "embedding": "embeddings",
    "tool": "execute_tool",
    "retriever": "retrieval",
    "workflow": "invoke_workflow",
}

OURS = "signalbox."

#: What somebody thinks of a turn: the name of the span, and the event that the conventions have for it.
RATING = "rating"
EVALUATION = "gen_ai.evaluation.result"
#: So much of a comment goes with it.
COMMENT_ROOM = 500


#: Before an attribute's name: how many bytes of it may leave. It is clipped after it was masked, so that nothing
#: personal is cut beyond recognition; the mark itself stays here.
ROOM = "~"


class Text(NamedTuple):
    """An attribute that may be long."""

    name: str
    value: Any


def named(kind: str, name: str, attributes: dict[str, Any]) -> str:
    """The span's name: operation and what it is done with."""
    operation = attributes.get("gen_ai.operation.name")
    if operation is None:
        return name
    subject = {
        "agent": AGENT,
        "generation": attributes.get("gen_ai.request.model"),
        "embedding": attributes.get("gen_ai.request.model"),
        "tool": attributes.get("gen_ai.tool.name"),
        "retriever": attributes.get("gen_ai.data_source.id"),
        "workflow": attributes.get("gen_ai.workflow.name"),
    }.get(kind)
    return f"{operation} {subject}" if subject else str(operation)


def translated(kind: str, name: str, given: dict[str, Any]) -> tuple[dict[str, Any], list[Text]]:
    """Our words for a span as the conventions': attributes, and the texts among them.

    Of ``given``, ``input`` and ``output`` go where the kind has them, ``model`` is what was asked and answered."""
    plain: dict[str, Any] = {}
    texts: list[Text] = []
    for key, value in given.items():
        if value is None:
            continue
        if key == "input":
            texts += _input(kind, value)
        elif key == "output":
            texts += _output(kind, value)
        elif key == "model":
            plain["gen_ai.request.model"] = plain["gen_ai.response.model"] = str(value)
        elif key == "operation_name":
            plain["gen_ai.operation.name"] = value
        elif "." in key:
            plain[key] = value if isinstance(value, bool | int | float) else as_text(value)
        elif isinstance(value, bool | int | float | str):
            plain[OURS + key] = value
        elif key == "tags":
            plain[OURS + key] = [str(each) for each in value]
        else:
            texts.append(Text(OURS + key, value))
    return plain, texts


def begun(kind: str, name: str, provider: str | None) -> dict[str, Any]:
    """What a span of this kind says from its beginning."""
    found: dict[str, Any] = {OURS + "name": name}
    if (operation := OPERATIONS.get(kind)) is not None:
        found["gen_ai.operation.name"] = operation
    if kind == "agent":
        found["gen_ai.agent.name"] = AGENT
    if kind == "guardrail":
        found[OURS + "kind"] = kind  # The conventions have no name for a gate.
    if kind == "workflow":
        found["gen_ai.workflow.name"] = name
    if kind == "tool":
        found |= {"gen_ai.tool.name": name, "gen_ai.tool.type": "function"}
    if kind == "retriever":
        found["gen_ai.data_source.id"] = "knowledge"
    if provider is not None:
        found["gen_ai.provider.name"] = provider
    return found


def as_text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)


def said(role: str, text: Any, **more: Any) -> list[dict[str, Any]]:
    """One message in the conventions' form."""
    return [{"role": role, "parts": [{"type": "text", "content": as_text(text)}], **more}]


def _input(kind: str, value: Any) -> list[Text]:
    if kind == "generation" and isinstance(value, dict):
        system = [{"type": "text", "content": as_text(value.get("system", ""))}]
        return [
            Text("gen_ai.input.messages", said("user", value.get("user", ""))),
            Text("gen_ai.system_instructions", system),
        ]
    if kind in ("generation", "agent"):
        return [Text("gen_ai.input.messages", said("user", value))]
    if kind == "tool":
        return [Text("gen_ai.tool.call.arguments", value)]
    if kind == "retriever":
        return [Text("gen_ai.retrieval.query.text", value)]
    return [Text(OURS + "input", value)]


def _output(kind: str, value: Any) -> list[Text]:
    if kind in ("generation", "agent"):
        return [Text("gen_ai.output.messages", said("assistant", value, finish_reason="stop"))]
    if kind == "tool":
        return [Text("gen_ai.tool.call.result", value)]
    if kind == "retriever":
        return [Text("gen_ai.retrieval.documents", value)]
    return [Text(OURS + "output", value)]
