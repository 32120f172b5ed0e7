"""What a turn's events say of it: for its trace, and for the decisions behind it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from pydantic import JsonValue

from app.desk import Event
from app.spending import Purse
from graphs.context import Context
from tools.decisions import Aftermath


def told_of(events: Sequence[Event]) -> dict[str, Any]:
    """What a turn's events say of it, for whoever reads its trace."""
    routes = [event.data for event in events if event.event == "route"]
    finals = [event.data for event in events if event.event == "final"]
    nothing: Mapping[str, JsonValue] = {}
    route = routes[-1] if routes else nothing
    final = finals[-1] if finals else nothing
    aftermath = aftermath_of(events)
    told: dict[str, Any] = {
        name: given.get(name)
        for given, names in (
            (route, ("lane", "intent", "operation", "probability", "tier", "abstained")),
            (final, ("llm_calls", "groundedness", "cached")),
        )
        for name in names
    }
    degraded = bool(final.get("degraded"))
    tags = [f"{name}:{told[name]}" for name in ("lane", "tier") if told[name] is not None]
    tags += ["degraded"] if degraded else []
    tags += ["handoff"] if any(event.event == "handoff" for event in events) else []
    waits = any(event.event == "approval_required" for event in events)
    tags += ["approval"] if waits else []
    told |= {"degraded": degraded, "tags": tags, "output": final.get("text")}
    return told | ({"outcome": str(aftermath)} if aftermath is not None else {})


def aftermath_of(events: Sequence[Event]) -> Aftermath | None:
    """What a turn's events say of the decisions behind them; None while something is open."""
    names = {event.event for event in events}
    if "handoff" in names:
        return Aftermath.ESCALATED
    last = events[-1] if events else None
    if "route" not in names or last is None or last.event != "final":
        return None
    if last.data.get("open") or "approval_required" in names:
        return None
    results = {str(event.data.get("status")) for event in events if event.event == "tool"}
    if "unknown" in results:
        return None
    sorry = "failed" in results or last.data.get("apology") is True
    return Aftermath.FAILED if sorry else Aftermath.RESOLVED


def noted_on(purse: Purse, events: Sequence[Event], context: Context) -> None:
    """Write on a turn's purse what its events say of it, for what it cost to be counted by."""
    told = told_of(events)
    purse.lane, purse.tier = told["lane"], told["tier"]
    lost = unanswered(events, context) is not None
    purse.outcome = Aftermath.FAILED if lost else aftermath_of(events)


def unanswered(events: Sequence[Event], context: Context) -> str | None:
    """What the customer surely asked for and was not answered, where the turn went on with something else."""
    routes = [event.data for event in events if event.event == "route"]
    if not routes or routes[-1].get("abstained"):
        return None
    intent, went = str(routes[-1].get("intent")), routes[-1].get("operation")
    if went is None or intent not in context.intents.names:
        return None
    asked = context.intents.get(intent).operation
    return f"asked for {asked}, answered {went}" if asked not in (None, went) else None
