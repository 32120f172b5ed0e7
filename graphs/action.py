"""The life of one action: the consequence gate. Runs on a thread of its own, named by the action's id."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager, nullcontext
from dataclasses import replace
from functools import wraps
from typing import Any, Literal

from langgraph.checkpoint.base import BaseCheckpointSaver
from langgraph.graph import END, START, StateGraph
from langgraph.graph.state import CompiledStateGraph
from langgraph.runtime import Runtime
from langgraph.types import Command, interrupt
from pydantic import JsonValue

import prompts
from graphs import consequences, replies, verdict
from graphs.consequences import Judged
from graphs.context import Context
from graphs.deciding import by_rule, decided, decision, ms_since, record
from graphs.editing import edited, record_fields
from graphs.keys import normalised
from graphs.speaking import SpeakingGraph
from graphs.state import ActionState, Answer
from tools.decisions import Decision
from tools.invisible import visible
from tools.policy import Ruling, facts_about
from tools.ports import BackendUnavailable, PortError
from tools.values import (
    IN_FLIGHT,
    Action,
    Approval,
    Attempt,
    AuditEntry,
    Consequence,
    Operation,
    OperationFailed,
    Outcome,
    Preview,
    Reviewer,
    Verdict,
)

#: How often, and how far apart, what another process is working on is asked for: longer than any lease.
IN_FLIGHT_LOOKS, IN_FLIGHT_SECONDS = 280, 0.25

_JUDGED = {
    "type": "object",
    "properties": {
        "consequence": {"enum": ["safe", "retry_safe", "retry_unsafe", "irreversible"]},
        "reason": {"type": "string", "maxLength": 200},
    },
    "required": ["consequence", "reason"],
    "additionalProperties": False,
}


def action_graph(
    input_schema: type[Any] = ActionState,
) -> StateGraph[ActionState, Context, Any, ActionState]:
    """``classify -> (judge) -> execute | approve -> decide -> execute``, and every other way ends in a block."""
    graph = SpeakingGraph(ActionState, context_schema=Context, input_schema=input_schema)
    graph.add_node(classify)
    graph.add_node(judge)
    graph.add_node(request_approval)
    graph.add_node(approve)
    graph.add_node(decide)
    graph.add_node(execute)
    graph.add_node(reconcile)
    graph.add_node(block)
    graph.add_edge(START, "classify")
    graph.add_conditional_edges("classify", _here(after_verdict))
    graph.add_conditional_edges("judge", after_judge)
    graph.add_edge("request_approval", "approve")
    graph.add_edge("approve", "decide")
    graph.add_conditional_edges("decide", after_decision)
    graph.add_conditional_edges("execute", _here(after_execute))
    graph.add_edge("reconcile", END)
    graph.add_edge("block", END)
    return graph


async def classify(state: ActionState, runtime: Runtime[Context]) -> dict[str, Any]:
    """The verdict from the declared class and the record's state, asked anew at this moment."""
    context, action, started = runtime.context, state["action"], time.perf_counter()
    operation = context.operations.get(action.operation)
    if operation is None:
        await _log(context, action, by_rule("consequence", "blocked", replies.unknown_operation()))
        await _record(context, action, None, replies.unknown_operation())
        return _blocked(action, replies.unknown_operation())
    attempt = await _attempt(context, action, operation)
    if (begun := _begun_before(action, operation, attempt)) is not None:
        # A process died over it: asking whether it may happen now would get the wrong answer.
        return begun
    if (known := await _stands(context, action, operation)) is not None:
        await _log(context, action, by_rule("consequence", "blocked", known))
        await _record(context, action, operation, known)
        return _blocked(action, known)
    seen = await _first_look(context, action, operation)
    weighed = await _weigh(context, action, operation, attempt, seen)
    if not isinstance(weighed, Verdict) or weighed.refusal is not None:
        # What refuses it may be its own effect, of another process a moment ago.
        attempt = await _attempt(context, action, operation)
        if (begun := _begun_before(action, operation, attempt, refused=True)) is not None:
            return begun
    if not isinstance(weighed, Verdict):
        blocked = by_rule("consequence", "blocked", weighed, ms=ms_since(started))
        await _log(context, action, blocked)
        await _record(context, action, operation, weighed)
        return _blocked(action, weighed)
    if operation.writes or verdict.gate(weighed) != "execute":
        # A declared read that nothing speaks against is no decision.
        await _log(
            context,
            action,
            Decision(
                role="consequence",
                chosen=weighed.consequence.value,
                probability=1.0,
                reason=weighed.refusal or weighed.reason,
                tier="rule",
                model="declared",
                prompt=weighed.policy,
                ms=ms_since(started),
            ),
        )
    await _record(context, action, operation, weighed)
    if weighed.refusal is not None:
        return {"verdict": weighed, **_blocked(action, weighed.refusal)}
    return {"verdict": weighed, "guess": seen, "outcome": None}


async def _stands(context: Context, action: Action, operation: Operation) -> str | None:
    """Why this is not begun: the customer has asked for the same, and it is not settled."""
    if context.requests is None or not operation.writes or action.actor != "customer":
        return None
    known = await context.requests.standing(action)
    if known is None:
        return None
    return replies.stands(known, replies.title(operation), here=known.thread == action.thread)


async def _attempt(context: Context, action: Action, operation: Operation) -> Attempt:
    return await context.ledger.attempt(action) if operation.writes else Attempt()


def _begun_before(
    action: Action, operation: Operation, attempt: Attempt, *, refused: bool = False
) -> dict[str, Any] | None:
    """What an earlier attempt leaves to do: tell its outcome, or find out; None where there was none."""
    if attempt.outcome is not None:
        return {"outcome": attempt.outcome.model_copy(update={"replayed": True})}
    declared = operation.consequence
    ruling = Ruling(effect="refuse") if refused else None
    known = verdict.decide(declared, declared, ruling=ruling, attempt=attempt)
    return {"verdict": known, "outcome": None} if known.settle_first else None


async def _first_look(context: Context, action: Action, operation: Operation) -> Judged | None:
    """What the consequence head makes of an operation that nobody declared; None where it is not asked
    or does not answer."""
    if operation.consequence is not Consequence.UNKNOWN and not context.limits.class_declared:
        return None
    return await decided(
        Runtime(context=context),
        "consequence",
        lambda who: _looked_at(who.context, action, operation),
    )


async def _looked_at(context: Context, action: Action, operation: Operation) -> Judged | None:
    text, limits = consequences.of_operation(operation), context.thresholds
    try:
        choice = await context.encoder.classify("consequence", text)
    except PortError as error:
        chosen = Consequence.UNKNOWN.value
        nothing = by_rule("consequence", chosen, str(error), abstained=True)
        await _log(context, action, nothing, input=text)
        return None
    judged = consequences.settle(
        choice.probabilities, text, line=limits.write, believed=limits.consequence
    )
    said = decision("consequence", choice, abstained=not judged.sure, reason=judged.reason)
    said = said.model_copy(
        update={"chosen": judged.consequence.value, "probability": judged.probability}
    )
    await _log(context, action, said, input=text)
    return judged


async def _weigh(
    context: Context,
    action: Action,
    operation: Operation,
    attempt: Attempt,
    guess: Judged | None,
    judged: Consequence | None = None,
) -> Verdict | str:
    """The verdict by everything known at this moment; or why there is nothing to decide about."""
    # A declared read is safe whatever its record looks like; looking twice would only cost time.
    preview = Preview(consequence=operation.consequence)
    if operation.writes:
        try:
            preview = await context.backend.preview(
                action.customer, operation, operation.arguments.model_validate(action.arguments)
            )
        except OperationFailed as error:
            return str(error)
        if preview.refusal is not None:
            return preview.refusal
        if (doubt := misdirected(action, operation, preview)) is not None:
            return doubt
    models: dict[str, Any] = {
        "guess": guess,
        "attempt": attempt,
        "tier": "large" if judged is not None else "rule" if guess is None else "encoder",
    }
    bare = verdict.decide(operation.consequence, preview.consequence, judged, **models)
    ruling = context.policy.ruling(
        facts_about(
            action.customer,
            operation,
            action.arguments,
            preview.model_copy(update={"consequence": bare.consequence}),
            context.clock.now(),
            actor=action.actor,
        )
    )
    return verdict.decide(operation.consequence, preview.consequence, judged, ruling, **models)


def misdirected(action: Action, operation: Operation, preview: Preview) -> str | None:
    """Why this write is not for exactly the one record that was confirmed; None when it is."""
    if len(preview.candidates) > 1:
        return replies.which(operation, preview.candidates)
    meant = operation.arguments.model_validate(action.arguments).model_dump(mode="json")
    touched = preview.candidate_arguments[0] if preview.candidate_arguments else {}
    for name in record_fields(operation):
        if touched.get(name) != meant.get(name):
            return replies.not_that_record(preview.candidates)
    if action.effects and action.effects != preview.effects:
        return replies.changed(preview.effects)
    return None


async def judge(state: ActionState, runtime: Runtime[Context]) -> dict[str, Any]:
    """Ask the LLM once about an operation nobody declared; its word goes through the same table."""
    context, action = runtime.context, state["action"]
    operation = context.operations[action.operation]
    asking = prompts.load("judge")
    messages = asking.messages(
        operation=operation.name,
        description=operation.summary,
        arguments=str(action.arguments),
    )
    judged, reason, model = Consequence.UNKNOWN, "The judge did not answer.", "none"
    probability, started = 0.0, time.perf_counter()
    try:
        filled = await context.large.fill("judge", messages.system, messages.user, _JUDGED)
        judged = Consequence(str(filled.values.get("consequence")))
        reason, model = str(filled.values.get("reason", "")), filled.model
        probability = filled.probability
    except (PortError, ValueError) as error:
        reason = str(error)
    await _log(
        context,
        action,
        Decision(
            role="judge",
            chosen=judged.value,
            probability=probability,
            reason=reason,
            abstained=judged is Consequence.UNKNOWN,
            tier="large",
            model=model,
            prompt=asking.version,
            ms=ms_since(started),
        ),
    )
    attempt = await _attempt(context, action, operation)
    weighed = await _weigh(context, action, operation, attempt, state.get("guess"), judged)
    await _record(
        context,
        action,
        operation,
        weighed,
        model=model,
        prompt=asking.version,
        why=reason,
        proposal=False,
    )
    if not isinstance(weighed, Verdict):
        return _blocked(action, weighed)
    if weighed.refusal is not None:
        return {"verdict": weighed, **_blocked(action, weighed.refusal)}
    return {"verdict": weighed}


async def request_approval(state: ActionState, runtime: Runtime[Context]) -> dict[str, Any]:
    """Put the question to the reviewers before waiting for them."""
    decided = state.get("verdict")
    assert decided is not None
    return {"approval": await runtime.context.approvals.request(state["action"], decided)}


def approve(state: ActionState) -> dict[str, Any]:
    return {"answer": interrupt(question(state), response_schema=Answer)}


def question(state: ActionState) -> dict[str, Any]:
    """What a reviewer sees, in the shapes that LangChain's agent inbox and its HITL middleware use: clients
    of the second kind (agent-chat-ui) look for requests and the decisions they may take."""
    action, decided, approval = state["action"], state.get("verdict"), state.get("approval")
    problem = state.get("problem", "")
    told = described(action, problem)
    asked = {"name": action.operation, "args": action.arguments, "description": told}
    return {
        # The inbox reads a request's arguments by their whole name.
        "action_requests": [asked | {"arguments": action.arguments}],
        "review_configs": [
            {"action_name": action.operation, "allowed_decisions": ["approve", "edit", "reject"]}
        ],
        "action_request": {"action": action.operation, "args": action.arguments},
        "config": {
            "allow_accept": True,
            "allow_edit": True,
            "allow_respond": False,
            "allow_ignore": True,
        },
        "description": told,
        "action_id": action.id,
        "record": visible(action.label),
        "customer": {"id": action.customer.id, "name": action.customer.name},
        "problem": problem,
        "effects": [visible(effect) for effect in action.effects],
        "reason": decided.reason if decided is not None else "",
        "rules": list(decided.rules) if decided is not None else [],
        "policy": decided.policy if decided is not None else "",
        "votes_needed": decided.votes_needed if decided is not None else 1,
        "votes": [v.model_dump(mode="json") for v in approval.votes] if approval else [],
    }


def described(action: Action, problem: str = "") -> str:
    """The action in words for an inbox that shows one text: why it is asked again, record, customer, effects."""
    what = [part for part in (action.label or action.operation, action.customer.name) if part]
    lines = [f"Your last answer changed nothing: {problem}."] if problem else []
    told = f"{', '.join(what)}. {' '.join(action.effects)}".strip()
    return "\n\n".join([*lines, visible(told)])


async def decide(state: ActionState, runtime: Runtime[Context]) -> dict[str, Any]:
    """The approvals store has the last word: whatever resumed this thread, only what it holds counts."""
    context, action, answer = runtime.context, state["action"], state.get("answer")
    approval = await context.approvals.get(action.id)
    if approval is None:
        return _blocked(action, replies.not_approved())
    reviewer = context.reviewer
    if approval.status == "pending" and answer is not None and reviewer is not None:
        # Who answers is known from the context, never from the answer.
        if answer.operation is not None and answer.operation != action.operation:
            return _asked_again(
                approval, f"this is {action.operation}, an edit cannot make another operation of it"
            )
        if answer.decision == "edit":
            return await _replace(context, approval, answer)
        approval, changed = await context.approvals.decide(
            action.id,
            approve=answer.decision == "approve",
            reviewer=reviewer.name,
            role=reviewer.role,
            note=answer.note,
        )
        if not changed and approval.status == "pending":
            return _asked_again(approval, _uncounted(approval, reviewer))
    match approval.status:
        case "pending":
            return _asked_again(approval)
        case "approved" if _is_of(approval, action):
            return {"approval": approval}
        case "rejected":
            return {
                "approval": approval,
                "outcome": _outcome(action, "rejected", approval.note or ""),
            }
        case "expired":
            return {"approval": approval, "outcome": _outcome(action, "expired")}
        case "withdrawn":
            return {"approval": approval, **_blocked(action, replies.withdrawn())}
        case "started" | "executed" | "failed" if _is_of(approval, action):
            # It was begun already; the ledger has what came of it and will say so again.
            return {"approval": approval}
        case _:
            return {"approval": approval, **_blocked(action, replies.not_approved())}


def _is_of(approval: Approval, action: Action) -> bool:
    """Whether the approval is for exactly these arguments."""
    asked = approval.action
    return asked.fingerprint == action.fingerprint and normalised(asked.arguments) == normalised(
        action.arguments
    )


def _uncounted(approval: Approval, reviewer: Reviewer) -> str:
    """Why a yes changed nothing."""
    if approval.approved_twin is not None:
        return "the same request was approved already; reject this one"
    if approval.is_own_edit(reviewer.name):
        return "you wrote these arguments yourself, and other persons have to approve them"
    return "your approval was counted before, or is not the one the rules ask for"


async def _replace(context: Context, approval: Approval, answer: Answer) -> dict[str, Any]:
    """Other arguments are another action, which goes through the gate from its beginning."""
    reviewer = context.reviewer
    assert reviewer is not None
    operation = context.operations[approval.action.operation]
    action = await edited(approval.action, operation, answer, context, by=reviewer)
    if isinstance(action, str):
        return _asked_again(approval, action)
    closed, changed = await context.approvals.replace(
        approval.id, action, reviewer=reviewer.name, role=reviewer.role, note=answer.note
    )
    if not changed:
        return _asked_again(closed)
    return {"action": action, "verdict": None, "approval": None, "answer": None, "problem": ""}


def _asked_again(approval: Approval, problem: str = "") -> dict[str, Any]:
    return {"approval": approval, "answer": None, "problem": problem}


async def execute(state: ActionState, runtime: Runtime[Context]) -> dict[str, Any]:
    """Run it: reads directly, writes through the ledger, at most once."""
    context, action, decided = runtime.context, state["action"], state.get("verdict")
    assert decided is not None
    operation = context.operations[action.operation]
    if decided.consequence is Consequence.SAFE and not operation.writes:
        return {"outcome": await _read(context, action, operation)}
    if not operation.writes:
        # Declared a read and raised since: it runs as the write that it may be, once.
        operation = replace(operation, consequence=decided.consequence)
    outcome = await context.ledger.execute(action, operation, decided)
    for _ in range(IN_FLIGHT_LOOKS):
        if (outcome.status, outcome.reason) != ("blocked", IN_FLIGHT):
            return {"outcome": outcome}
        # Another process is at it, or died over it: an answer now would be the last word on this action.
        await asyncio.sleep(IN_FLIGHT_SECONDS)
        outcome = await context.ledger.execute(action, operation, decided)
    raise BackendUnavailable(IN_FLIGHT)


async def reconcile(state: ActionState, runtime: Runtime[Context]) -> dict[str, Any]:
    """An outcome nobody knows is settled by the operation's own lookup, or left to a person."""
    context, action = runtime.context, state["action"]
    operation = context.operations[action.operation]
    return {"outcome": await context.ledger.reconcile(action, operation)}


async def block(state: ActionState) -> dict[str, Any]:
    """Nothing ran and nothing will: the reason is already in the outcome."""
    outcome = state.get("outcome")
    return {"outcome": outcome or _outcome(state["action"], "blocked", replies.not_approved())}


# --- edges --------------------------------------------------------------------------------------


def after_verdict(
    state: ActionState,
) -> Literal["execute", "request_approval", "judge", "reconcile", "block"]:
    decided = state.get("verdict")
    if state.get("outcome") is not None or decided is None:
        return "block"
    where = verdict.gate(decided)
    return "request_approval" if where == "approve" else where


def after_judge(
    state: ActionState,
) -> Literal["execute", "request_approval", "reconcile", "block"]:
    """The judge is asked once: what is still unknown afterwards goes to a person or nowhere."""
    where = after_verdict(state)
    return "block" if where == "judge" else where


def after_decision(state: ActionState) -> Literal["execute", "approve", "classify", "block"]:
    """Run what is approved, go on asking while votes are missing, weigh an edited action anew."""
    approval = state.get("approval")
    if state.get("outcome") is not None:
        return "block"
    if approval is None:
        return "classify"
    if approval.status == "pending":
        return "approve"
    begun = ("approved", "started", "executed", "failed")
    return "execute" if approval.status in begun else "block"


def after_execute(state: ActionState) -> Literal["reconcile", "__end__"]:
    outcome = state.get("outcome")
    return "reconcile" if outcome is not None and outcome.status == "unknown" else "__end__"


def _here(route: Callable[[ActionState], str]) -> Callable[[ActionState], Awaitable[str]]:
    """The edge without a hop into a worker thread, which costs more than the edge; every action takes it."""

    @wraps(route)
    async def routed(state: ActionState) -> str:
        return route(state)

    return routed


# --- running it ---------------------------------------------------------------------------------


class ActionGraph:
    """The compiled action graph on a saver: propose an action, or bring a reviewer's answer."""

    def __init__(
        self,
        saver: BaseCheckpointSaver[Any],
        holding: Callable[[str], AbstractAsyncContextManager[object]] = nullcontext,
    ) -> None:
        """``holding``: one at a time on an action in all processes; by default there is only this one."""
        self._holding = holding
        graph = action_graph()
        self.compiled: CompiledStateGraph[ActionState, Context, ActionState, ActionState] = (
            graph.compile(checkpointer=saver, name="action")
        )
        # A declared read has nothing to resume, so it need not be remembered either.
        self._reads = graph.compile(name="action")

    async def propose(self, action: Action, context: Context) -> Outcome:
        """Run an action until it is done or waits; proposing the same one again changes nothing."""
        operation = context.operations.get(action.operation)
        if operation is not None and not operation.writes and not context.limits.class_declared:
            state = await self._reads.ainvoke({"action": action}, context=context)
            return outcome_of(state, action)
        async with self._holding(action.id):
            return await self._propose(action, context)

    async def _propose(self, action: Action, context: Context) -> Outcome:
        config = _config(action)
        known = await self.compiled.aget_state(config)
        if known.values:
            outcome = known.values.get("outcome")
            if outcome is not None and outcome.status == "unknown":
                # The outbox relay or a person may have settled it since.
                found = await context.ledger.find(action.tenant, action.operation, action.key)
                outcome = found or outcome
            if outcome is not None:
                return outcome.model_copy(update={"replayed": True})
            if known.interrupts:
                stored = await context.approvals.get(action.id)
                if stored is None or stored.status != "withdrawn":
                    return _outcome(action, "pending")
                # A process died between taking it back and waking the thread.
                return await self._resume(stored, Answer(decision="reject"), context)
        given: ActionState | None = None if known.values else {"action": action}
        try:
            # Ledger and approvals remember what matters; what died before its end is proposed again.
            state = await self.compiled.ainvoke(
                given, config, context=context, durability="async" if known.values else "exit"
            )
        except BackendUnavailable:
            # Perhaps only the graph's own memory is away: what was done may not be called not done.
            attempt = await context.ledger.attempt(action)
            if attempt.outcome is not None:
                return attempt.outcome
            if attempt.unknown:
                return _outcome(action, "unknown")
            raise
        return outcome_of(state, action)

    async def resume(self, approval: Approval, answer: Answer, context: Context) -> Outcome:
        """Bring a reviewer's answer to a waiting action."""
        async with self._holding(approval.action.id):
            return await self._resume(approval, answer, context)

    async def _resume(self, approval: Approval, answer: Answer, context: Context) -> Outcome:
        action = approval.action
        config = _config(action)
        known = await self.compiled.aget_state(config)
        if not known.interrupts and (known.next or not known.values):
            # A process died between asking and waiting: go on to its question.
            given: ActionState | None = None if known.values else {"action": action}
            await self.compiled.ainvoke(given, config, context=context, durability="exit")
            known = await self.compiled.aget_state(config)
        if not known.interrupts:
            return outcome_of(known.values, action)
        state = await self.compiled.ainvoke(
            Command(resume={known.interrupts[0].id: answer}),
            config,
            context=context,
            durability="sync",
        )
        return outcome_of(state, action)

    async def withdraw(self, action_id: str, context: Context) -> tuple[Approval, bool]:
        """Take a waiting action back for the customer of this context, and bring its thread to its end.

        The flag is False when it was decided or had expired before: then nothing is changed. Raises KeyError
        for an unknown id, and for another customer's."""
        approval, changed = await context.approvals.withdraw(action_id, context.customer)
        if changed:
            # The store has decided; the answer only wakes the thread that waits for one.
            await self.resume(approval, Answer(decision="reject"), context)
        return approval, changed


def outcome_of(state: Any, action: Action) -> Outcome:
    """What a run of the action graph came to; one that stopped at its interrupt is pending."""
    outcome = state.get("outcome")
    return outcome if outcome is not None else _outcome(action, "pending")


def thread_of(action_id: str) -> Any:
    # The empty namespace makes it a graph of its own even when called inside a node of another.
    return {"configurable": {"thread_id": action_id, "checkpoint_ns": ""}, "recursion_limit": 20}


def _config(action: Action) -> Any:
    """Its checkpoints say on which conversation it was proposed, so that they go with it."""
    return {**thread_of(action.id), "metadata": {"of_thread": action.thread}}


async def _read(context: Context, action: Action, operation: Operation) -> Outcome:
    try:
        result = await context.backend.read(
            action.customer, operation, operation.arguments.model_validate(action.arguments)
        )
    except OperationFailed as error:
        return _outcome(action, "failed", str(error))
    return _outcome(action, "executed").model_copy(
        update={"result": result.model_dump(mode="json")}
    )


async def _record(
    context: Context,
    action: Action,
    operation: Operation | None,
    decided: Verdict | str,
    *,
    proposal: bool = True,
    **versions: str,
) -> None:
    """Proposal and verdict into the audit. Reads leave no trace there: they have no effect to account for."""
    if context.audit is None or (operation is not None and not operation.writes):
        return
    what: dict[str, JsonValue] = {
        "operation": action.operation,
        "key": action.key,
        "fingerprint": action.fingerprint,
    }
    told: dict[str, JsonValue] = (
        decided.model_dump(mode="json")
        if isinstance(decided, Verdict)
        else {"reason": decided, "blocked": True}
    )
    by = action.customer.id if action.actor == "customer" else ""
    entries = [
        AuditEntry(
            tenant=action.tenant,
            kind="proposal",
            actor=f"{action.actor}:{by}".rstrip(":"),
            action=action.id,
            thread=action.thread,
            turn=action.turn,
            facts={**what, "arguments": action.arguments, "label": action.label},
        ),
        AuditEntry(
            tenant=action.tenant,
            kind="verdict",
            actor=f"model:{versions['model']}" if "model" in versions else "signalbox",
            action=action.id,
            thread=action.thread,
            turn=action.turn,
            facts={**what, "verdict": told, **versions},
        ),
    ]
    await context.audit.record(*entries[0 if proposal else 1 :])


async def _log(
    context: Context, action: Action, decision: Decision, *, input: str | None = None
) -> None:
    """Under the turn that proposed the action, whenever it is weighed."""
    read = f"{action.operation} {action.arguments}" if input is None else input
    where = {"tenant": action.tenant, "thread": action.thread, "turn": action.turn}
    await record(context, read, [decision], **where)


def _outcome(action: Action, status: Any, reason: str = "") -> Outcome:
    return Outcome(
        status=status,
        action_id=action.id,
        operation=action.operation,
        label=action.label,
        reason=reason,
    )


def _blocked(action: Action, reason: str) -> dict[str, Any]:
    return {"outcome": _outcome(action, "blocked", reason)}
