"""What came of an operation: whether its result can be believed, and how it is told."""

from __future__ import annotations

from typing import Any

from langgraph.runtime import Runtime
from pydantic import ValidationError

from graphs import replies
from graphs.context import Context
from graphs.deciding import by_rule, log
from graphs.state import Draft, SupportState
from tools.values import Operation, Outcome


async def check_result(state: SupportState, runtime: Runtime[Context]) -> dict[str, Any]:
    """Tool output is checked against its schema before anybody speaks about it."""
    outcome = state.get("outcome")
    assert outcome is not None
    problem = implausible(runtime.context.operations[outcome.operation], outcome)
    if problem is None:
        return {}
    await log_implausible(runtime, state, outcome, problem)
    failed = outcome.model_copy(
        update={"status": "failed", "result": {}, "reason": replies.backend_down()}
    )
    return {"outcome": failed}


async def log_implausible(
    runtime: Runtime[Context], state: SupportState, outcome: Outcome, problem: str
) -> None:
    """A result that is not believed; one that is needs no decision."""
    said = by_rule("result_validator", "reject", problem)
    await log(runtime, state, said, input=f"{outcome.operation} {outcome.result}")


def implausible(operation: Operation, outcome: Outcome) -> str | None:
    """Why an executed outcome's result cannot be what the operation returns; None if it can."""
    if outcome.status != "executed":
        return None
    try:
        operation.result.model_validate(outcome.result)
    except ValidationError as error:
        return (
            f"{operation.name} returned something else than it should: {error.error_count()} errors"
        )
    return None


async def format_outcome(state: SupportState, runtime: Runtime[Context]) -> dict[str, Any]:
    """The outcome in the customer's words, from templates; no model is asked."""
    outcome = state.get("outcome")
    assert outcome is not None
    operation = runtime.context.operations[outcome.operation]
    following = state.get("next")
    if outcome.status == "pending" and following is not None:
        text = replies.pending(operation, following.arguments, following.label, following.effects)
        return {"draft": Draft(text=text)}
    # Of what is not settled there will be news; they must not count as told already.
    tells = (outcome.action_id,) if outcome.settled else ()
    said = state.get("draft")
    handed = operation.name == "hand_off" and outcome.status == "executed"
    opens = runtime.context.opens() if handed else None
    text = (
        replies.outcome(operation, outcome)
        if opens is None
        else replies.handed_over_closed(_ticket(outcome), opens)
    )
    if said is not None and said.text:
        text = f"{said.text}\n\n{text}"  # what must not wait comes before who was told
    update: dict[str, Any] = {"draft": Draft(text=text, tells=tells)}
    if handed:
        runtime.stream_writer({"event": "handoff", "data": {"ticket": _ticket(outcome)}})
        # What was open is in the summary; the colleague takes it from there.
        update |= {"handed_off": True, "pending": (), "plan": None}
        update["told_closed"] = opens.isoformat() if opens is not None else ""
    return update


async def tell_outcome(state: SupportState, runtime: Runtime[Context]) -> dict[str, Any]:
    """An action's outcome arrives from outside the turn that proposed it."""
    outcome = state["turn"].outcome
    assert outcome is not None
    context = runtime.context
    operation = context.operations[outcome.operation]
    # Nobody approved what only a crash kept from being told in its own turn.
    asked = await context.approvals.get(outcome.action_id)
    reviewed = asked is not None or outcome.status != "executed"
    text = (replies.news if reviewed else replies.outcome)(operation, outcome)
    return {"outcome": outcome, "draft": Draft(text=text, tells=(outcome.action_id,))}


def _ticket(outcome: Outcome) -> str:
    return str(outcome.result.get("ticket_number", ""))


__all__ = ["check_result", "format_outcome", "implausible", "log_implausible", "tell_outcome"]
