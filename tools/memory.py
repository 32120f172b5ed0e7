"""The in-memory world: every port of the engine over plain dicts, for evals and tests."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any, Literal, Protocol

from pydantic import BaseModel, JsonValue, ValidationError

from tools.decisions import Decision
from tools.policy import NoRules, Policy, Ruling, facts_about
from tools.records import RecordView
from tools.values import (
    Action,
    Approval,
    Attempt,
    AuditEntry,
    Clock,
    Consequence,
    Customer,
    Operation,
    OperationFailed,
    Outcome,
    Preview,
    RecordNotFound,
    ReviewerRole,
    Standing,
    Verdict,
    Vote,
    replaced_by,
)


class Books(Protocol):
    """A business's records in memory; a snapshot stands in for the transaction."""

    def view(self, customer: Customer, today: date) -> Any:
        """What operations read and write for one customer."""
        ...

    def snapshot(self, customer: Customer) -> Any: ...
    def restore(self, snapshot: Any) -> None: ...


class NoRecords:
    """A business in which nobody has anything: for reading words without anybody's records."""

    def view(self, customer: Customer, today: date) -> Any:
        raise RecordNotFound

    def snapshot(self, customer: Customer) -> None:
        return None

    def restore(self, snapshot: Any) -> None:
        return None

    async def preview(self, customer: Customer, operation: Operation, arguments: Any) -> Preview:
        raise RecordNotFound

    async def read(self, customer: Customer, operation: Operation, arguments: Any) -> BaseModel:
        raise RecordNotFound

    async def records(self, customer: Customer) -> tuple[RecordView, ...]:
        return ()


class MemoryApprovals:
    """The reviewers' questions; what is stored here decides, not what a graph remembers."""

    def __init__(self, clock: Clock | None = None, lifetime: timedelta = timedelta(days=3)) -> None:
        self._clock = clock or Clock()
        self._lifetime = lifetime
        self._approvals: dict[str, Approval] = {}

    async def request(self, action: Action, verdict: Verdict) -> Approval:
        if action.id not in self._approvals:
            asked = self._clock.now()
            self._approvals[action.id] = Approval(
                id=action.id,
                action=action,
                verdict=verdict,
                status="pending",
                requested_at=asked,
                expires_at=asked + self._lifetime,
            )
        return self._current(action.id)

    async def decide(
        self,
        action_id: str,
        *,
        approve: bool,
        reviewer: str,
        role: ReviewerRole = "agent",
        note: str | None = None,
    ) -> tuple[Approval, bool]:
        approval = self._current(action_id)
        if approval.status != "pending" or (approve and not approval.may_approve(reviewer, role)):
            return approval, False
        at = self._clock.now()
        vote = Vote(reviewer=reviewer, role=role, approve=approve, note=note, at=at)
        voted = approval.model_copy(update={"votes": (*approval.votes, vote)})
        if not approve or voted.approved_by():
            voted = voted.model_copy(
                update={
                    "status": "approved" if approve else "rejected",
                    "reviewer": reviewer,
                    "note": note,
                    "decided_at": at,
                }
            )
        self._approvals[action_id] = voted
        return voted, True

    async def replace(
        self,
        action_id: str,
        successor: Action,
        *,
        reviewer: str,
        role: ReviewerRole = "agent",
        note: str | None = None,
    ) -> tuple[Approval, bool]:
        # What dies with this process needs no note of what comes next.
        note = note or replaced_by(successor)
        return await self.decide(action_id, approve=False, reviewer=reviewer, role=role, note=note)

    async def withdraw(self, action_id: str, customer: Customer) -> tuple[Approval, bool]:
        approval = self._current(action_id)
        owner = approval.action.customer
        if (owner.tenant, owner.id) != (customer.tenant, customer.id):
            raise KeyError(action_id)
        if approval.status != "pending":
            return approval, False
        answer = {"status": "withdrawn", "decided_at": self._clock.now()}
        self._approvals[action_id] = approval.model_copy(update=answer)
        return self._approvals[action_id], True

    async def waiting(self, customer: Customer) -> list[Approval]:
        current = [self._current(action_id) for action_id in self._approvals]
        theirs = [
            each
            for each in current
            if each.status == "pending"
            and (each.action.tenant, each.action.customer.id) == (customer.tenant, customer.id)
        ]
        return sorted(theirs, key=lambda each: each.requested_at, reverse=True)

    async def get(self, action_id: str) -> Approval | None:
        return self._current(action_id) if action_id in self._approvals else None

    async def pending(self, *, limit: int = 50) -> list[Approval]:
        current = [self._current(action_id) for action_id in self._approvals]
        waiting = [approval for approval in current if approval.status == "pending"]
        return sorted(waiting, key=lambda approval: approval.requested_at)[:limit]

    def covers(self, action: Action, needed: int = 1, least: ReviewerRole = "agent") -> bool:
        """Whether exactly this action, unedited, was approved by enough persons and has not run."""
        if action.id not in self._approvals:
            return False
        approval = self._current(action.id)
        asked = approval.action
        return (
            approval.status == "approved"
            and approval.approved_by(needed, least)
            # The fingerprint comes from the caller; what the reviewer read is what must run.
            and (asked.fingerprint, asked.arguments) == (action.fingerprint, action.arguments)
            and (asked.operation, asked.key) == (action.operation, action.key)
            and (asked.tenant, asked.customer.id) == (action.tenant, action.customer.id)
        )

    def settle(self, action_id: str, *, executed: bool) -> None:
        approval = self._approvals[action_id]
        status = "executed" if executed else "failed"
        self._approvals[action_id] = approval.model_copy(update={"status": status})

    def _current(self, action_id: str) -> Approval:
        approval = self._approvals[action_id]
        open_ = approval.status in ("pending", "approved")
        if open_ and self._clock.now() >= approval.expires_at:
            approval = approval.model_copy(update={"status": "expired"})
            self._approvals[action_id] = approval
        return approval


class MemoryRequests:
    """Requests that nobody has settled; books in memory carry nothing out by halves."""

    def __init__(self, approvals: MemoryApprovals) -> None:
        self._approvals = approvals
        self._asked: dict[tuple[str, str, str], tuple[str, Action]] = {}

    async def ask(self, action: Action, request: str) -> Standing | None:
        place = action.tenant, action.customer.id, action.fingerprint
        if (proposed := await self._proposed(action, other="")) is not None:
            return proposed
        if place in self._asked and self._asked[place][0] != request:
            first, asked = self._asked[place]
            return _standing_of(asked, "asked", first)
        await self.drop(action.customer, request)
        self._asked[place] = request, action
        return None

    async def begin(self, action: Action, request: str) -> Standing | None:
        await self.drop(action.customer, request)
        return await self.standing(action)

    async def standing(self, action: Action) -> Standing | None:
        return await self._proposed(action, other=action.key)

    async def _proposed(self, action: Action, *, other: str) -> Standing | None:
        for one in await self._approvals.waiting(action.customer):
            same = one.action.fingerprint == action.fingerprint
            if same and one.action.key != other:
                return _standing_of(one.action, "waiting", one.action.key)
        return None

    async def drop(self, customer: Customer, request: str) -> None:
        self._asked = {
            place: asked
            for place, asked in self._asked.items()
            if (place[0], place[1], asked[0]) != (customer.tenant, customer.id, request)
        }


def _standing_of(action: Action, stage: Literal["asked", "waiting"], request: str) -> Standing:
    return Standing(
        stage=stage,
        request=request,
        thread=action.thread,
        label=action.label,
        effects=action.effects,
    )


@dataclass(frozen=True)
class _Entry:
    customer: str
    fingerprint: str
    arguments: dict[str, JsonValue]
    outcome: Outcome


class MemoryLedger:
    """At most one effect for one key; a lock and a snapshot stand in for the transaction."""

    def __init__(
        self,
        books: Books,
        approvals: MemoryApprovals,
        clock: Clock | None = None,
        *,
        policy: Policy | None = None,
    ) -> None:
        self._books = books
        self._approvals = approvals
        self._policy = policy or NoRules()
        self._clock = clock or Clock()
        self._entries: dict[tuple[str, str, str], _Entry] = {}
        self._writing = asyncio.Lock()

    async def execute(self, action: Action, operation: Operation, verdict: Verdict) -> Outcome:
        async with self._writing:
            return self._execute(action, operation, verdict)

    async def find(self, tenant: str, operation: str, key: str) -> Outcome | None:
        entry = self._entries.get((tenant, operation, key))
        return None if entry is None else entry.outcome

    async def attempt(self, action: Action) -> Attempt:
        found = await self.find(action.tenant, action.operation, action.key)
        own = found is not None and found.action_id == action.id
        return Attempt(number=1 if found is None else 2, outcome=found if own else None)

    async def reconcile(self, action: Action, operation: Operation) -> Outcome:
        """Books in memory leave nothing in between: an outcome is known or it never began."""
        found = await self.find(action.tenant, action.operation, action.key)
        return found or _outcome(action, "blocked", reason="This was not carried out.")

    def _execute(self, action: Action, operation: Operation, verdict: Verdict) -> Outcome:
        if operation.name != action.operation or not operation.writes:
            raise ValueError(f"{operation.name} is not the write that {action.id} asks for")
        if action.customer.tenant != action.tenant:
            raise ValueError(f"{action.id} is not of its customer's tenant")
        place = action.tenant, action.operation, action.key
        entry = self._entries.get(place)
        if entry is not None:
            same = (entry.customer, entry.fingerprint, entry.arguments)
            if same == (action.customer.id, action.fingerprint, action.arguments):
                return entry.outcome.model_copy(update={"replayed": True})
            return _outcome(
                action, "blocked", reason="This request was already made with other details."
            )
        try:
            arguments = operation.arguments.model_validate(action.arguments)
        except ValidationError:
            return _outcome(action, "blocked", reason="Some details of this request are not valid.")
        shop = self._books.view(action.customer, self._clock.today())
        ruling = self._ruling(action, operation, arguments, shop)
        if verdict.refusal is not None or ruling.effect == "refuse":
            return _outcome(action, "blocked", reason=verdict.refusal or ruling.reason)
        # The declared class is a floor: a verdict below it does not get past the ledger.
        needs_approval = (
            verdict.needs_approval
            or ruling.effect == "approve"
            or verdict.consequence in (Consequence.IRREVERSIBLE, Consequence.UNKNOWN)
            or Consequence.IRREVERSIBLE in (verdict.declared, operation.consequence)
            or _grave_by_now(operation, shop, arguments)
        )
        needed = max(verdict.approvers, ruling.approvers)
        admin = "admin" in (verdict.reviewer, ruling.reviewer)
        if needs_approval and not self._approvals.covers(
            action, needed, "admin" if admin else "agent"
        ):
            return _outcome(action, "blocked", reason="This has not been approved.")
        before = self._books.snapshot(action.customer)
        try:
            result = operation.run(shop, arguments)
        except OperationFailed as error:
            self._books.restore(before)
            outcome = _outcome(action, "failed", reason=str(error))
        except BaseException:
            self._books.restore(before)
            raise
        else:
            outcome = _outcome(action, "executed", result=result.model_dump(mode="json"))
        if needs_approval:
            # Spent also when the rules refused: a new attempt is a new question.
            self._approvals.settle(action.id, executed=outcome.status == "executed")
        self._entries[place] = _Entry(
            action.customer.id, action.fingerprint, action.arguments, outcome
        )
        return outcome

    def _ruling(self, action: Action, operation: Operation, arguments: Any, shop: Any) -> Ruling:
        """The business rules' word at the moment of writing."""
        try:
            preview = operation.preview(shop, arguments)
        except OperationFailed:
            return Ruling()  # It will not run either, and says why.
        return self._policy.ruling(
            facts_about(
                action.customer,
                operation,
                action.arguments,
                preview,
                self._clock.now(),
                actor=action.actor,
            )
        )


def _grave_by_now(operation: Operation, shop: Any, arguments: Any) -> bool:
    """Whether the record has changed since the verdict so that this can no longer be undone."""
    try:
        return operation.preview(shop, arguments).consequence is Consequence.IRREVERSIBLE
    except OperationFailed:
        return False  # It will not run either, and says why.


def _outcome(
    action: Action,
    status: Literal["executed", "blocked", "failed"],
    *,
    reason: str = "",
    result: dict[str, JsonValue] | None = None,
) -> Outcome:
    return Outcome(
        status=status,
        action_id=action.id,
        operation=action.operation,
        label=action.label,
        reason=reason,
        result=result or {},
    )


@dataclass(frozen=True)
class LoggedDecisions:
    """One call's worth of decisions, as they were recorded."""

    tenant: str
    thread: str
    turn: str
    input: str
    decisions: tuple[Decision, ...]


class MemoryDecisionLog:
    """Decisions in a list, oldest first."""

    def __init__(self) -> None:
        self.entries: list[LoggedDecisions] = []

    async def record(
        self, *, tenant: str, thread: str, turn: str, input: str, decisions: Sequence[Decision]
    ) -> None:
        self.entries.append(LoggedDecisions(tenant, thread, turn, input, tuple(decisions)))


class MemoryAudit:
    """Audit entries in a list, oldest first."""

    def __init__(self) -> None:
        self.entries: list[AuditEntry] = []

    async def record(self, *entries: AuditEntry) -> None:
        self.entries.extend(entries)


class NullObservation:
    """A span nobody looks at."""

    def update(self, **attributes: JsonValue) -> None:
        return None


class NullTracer:
    """No traces."""

    @asynccontextmanager
    async def span(
        self,
        name: str,
        kind: Literal["agent", "generation", "tool", "guardrail", "retriever", "evaluator", "span"],
        **attributes: JsonValue,
    ) -> AsyncGenerator[NullObservation]:
        yield NullObservation()
