"""What a colleague who takes over a conversation is told, as somebody would write it down for them.

Made of the thread's own state alone: a turn that is played again after a crash has to say the same."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from langchain_core.messages import AnyMessage, HumanMessage
from pydantic import JsonValue

from graphs.state import Pending, SupportState
from prompts.replies import Voice
from tools.values import Operation

if TYPE_CHECKING:
    from graphs.context import Context

#: A message of fewer words than this says little about the matter: yes, the number, a person please.
WORDS = 3
#: So many of the customer's own messages are cited, each so long at most.
CITED, CITED_CHARS = 2, 220
MOST_CHARS = 900
#: A reason that the engine gives is one of these, with what it is about behind a colon; anything else is
#: somebody's own words.
REASONS = ("asked", "upset", "not_understood", "no_answer", "unfinished", "several_steps", "incident")  # fmt: skip
_SPACES = re.compile(r"\s+")


def hand_off_note(state: SupportState, context: Context, reason: str) -> str:
    """Why a person is needed, what it is about, what was begun, and the customer's own words."""
    voice = context.replies.voice(context.language)
    name, _, about = reason.partition(":")
    because = name if name in REASONS else ""
    route, plan = state.get("route"), state.get("plan")
    left = [step for step in plan.steps if step.status in ("waiting", "pending")] if plan else []
    return voice.render(
        "hand_off_note",
        customer=context.customer.name,
        because=because,
        detail=_title(about, context, voice) if because else reason,
        records=_records(state),
        begun=[_begun(each, context, voice) for each in _open(state)],
        left=[_step(each.name, each.label, context, voice) for each in left],
        upset=route is not None
        and because != "upset"
        and route.frustration >= context.thresholds.frustration,
        cited=_cited(state.get("messages", []), f"{state['turn'].id}:in"),
    )[:MOST_CHARS]


def _open(state: SupportState) -> list[Pending]:
    return [p for p in state.get("pending", ()) if p.stage != "offer" and p.operation != "plan"]


def _begun(pending: Pending, context: Context, voice: Voice) -> str:
    known = ", ".join(
        f"{key.replace('_', ' ')}: {value}"
        for key, value in pending.arguments.items()
        if _plain(value) and key != "text"
    )
    named = _title(pending.operation, context, voice)
    return f"{named} ({known})" if known else named


def _plain(value: JsonValue) -> bool:
    return isinstance(value, str | int | float) and not isinstance(value, bool) and value != ""


def _step(name: str, label: str, context: Context, voice: Voice) -> str:
    named = _title(name, context, voice)
    return f"{named} ({label})" if label else named


def _title(name: str, context: Context, voice: Voice) -> str:
    operation: Operation | None = context.operations.get(name)
    if operation is None:
        return name.replace("_", " ")
    return voice.says(f"titles.{name}", operation.title)


def _records(state: SupportState) -> list[str]:
    """What the turn points to, else what was talked about."""
    route, focus = state.get("route"), state.get("focus")
    pointed = [id for act in route.acts for id in act.grounds.records] if route is not None else []
    return list(dict.fromkeys(pointed)) or ([focus] if focus else [])


def _cited(messages: list[AnyMessage], current: str) -> list[str]:
    """The customer's last messages that say something of the matter; the newest where none does."""
    said = [m for m in messages if isinstance(m, HumanMessage) and m.text.strip()]
    telling = [m for m in said if len(m.text.split()) >= WORDS]
    earlier = [m for m in telling if m.id != current] or telling or said[-1:]
    return [_cut(_SPACES.sub(" ", m.text.strip())) for m in earlier[-CITED:]]


def _cut(text: str) -> str:
    return text if len(text) <= CITED_CHARS else f"{text[: CITED_CHARS - 1].rstrip()}…"
