"""The reviewers' questions in SQL: the store, not the graph, says what was approved."""

from __future__ import annotations

import asyncio
import builtins
import json
from collections import defaultdict
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, Literal

from pydantic import JsonValue
from sqlalchemy import (
    ColumnElement,
    Engine,
    FromClause,
    Row,
    and_,
    bindparam,
    delete,
    insert,
    or_,
    select,
    update,
)
from sqlalchemy.engine import Connection

from app.stores.audit import SqlAudit
from app.stores.database import reading, writing
from app.stores.outbox import SqlOutbox
from app.stores.tables import approvals, insert_if_absent, votes
from graphs.keys import normalised
from tools.values import (
    Action,
    Approval,
    AuditEntry,
    Clock,
    Customer,
    Outcome,
    ReviewerRole,
    Twin,
    Verdict,
    Vote,
    person_named,
    replaced_by,
)

Status = Literal[
    "pending", "approved", "rejected", "expired", "withdrawn", "started", "executed", "failed"
]

REJECTED = "A colleague looked at this request and declined it. Nothing was changed."
EXPIRED = "This request was not approved in time. Nothing was changed."


def canonical(arguments: Mapping[str, JsonValue]) -> str:
    """Arguments as text that is equal when they are, so that SQL can compare what was approved."""
    return json.dumps(normalised(arguments), sort_keys=True, separators=(",", ":"))


_SPEND = (
    update(approvals)
    .where(
        approvals.c.action_id == bindparam("of_action"),
        approvals.c.status == "approved",
        approvals.c.expires_at > bindparam("at"),
        approvals.c.tenant == bindparam("of_tenant"),
        approvals.c.customer_id == bindparam("of_customer"),
        approvals.c.operation == bindparam("of_operation"),
        approvals.c.key == bindparam("of_key"),
        approvals.c.fingerprint == bindparam("of_fingerprint"),
        approvals.c.arguments == bindparam("of_arguments"),
    )
    .values(status="started")
)
_SETTLE = (
    update(approvals)
    .where(approvals.c.action_id == bindparam("of_action"), approvals.c.status == "started")
    .values(status=bindparam("outcome"))
)


class SqlApprovals:
    """Every question is answered at most once, and one answer permits at most one execution."""

    def __init__(
        self,
        engine: Engine,
        clock: Clock | None = None,
        *,
        ttl: timedelta = timedelta(hours=24),
        outbox: SqlOutbox | None = None,
        audit: SqlAudit | None = None,
    ) -> None:
        self._engine = engine
        self._clock = clock or Clock()
        self._ttl = ttl
        self._audit = audit or SqlAudit(engine, self._clock)
        self._outbox = outbox or SqlOutbox(engine, self._clock, audit=self._audit)

    async def request(self, action: Action, verdict: Verdict) -> Approval:
        """Store the question; the same action id again returns the stored one."""
        return await asyncio.to_thread(self._request, action, verdict)

    async def decide(
        self,
        action_id: str,
        *,
        approve: bool,
        reviewer: str,
        role: ReviewerRole = "agent",
        note: str | None = None,
    ) -> tuple[Approval, bool]:
        """Give one reviewer's vote on a pending question; enough different yeses approve it, one no ends it.

        The flag is False when the vote changed nothing. Raises KeyError for an unknown id."""
        return await asyncio.to_thread(self._decide, action_id, approve, reviewer, note, role)

    async def replace(
        self,
        action_id: str,
        successor: Action,
        *,
        reviewer: str,
        role: ReviewerRole = "agent",
        note: str | None = None,
    ) -> tuple[Approval, bool]:
        """Close a pending question because a reviewer changed its arguments; its ``successor`` is kept
        until ``succeeded``. The customer is not told: they hear what becomes of that one.

        The flag is False when it was not pending any more. Raises KeyError for an unknown id."""
        note = note or replaced_by(successor)
        return await asyncio.to_thread(
            self._decide, action_id, False, reviewer, note, role, successor
        )

    async def withdraw(self, action_id: str, customer: Customer) -> tuple[Approval, bool]:
        """The customer takes an action back while it waits: it can never be approved or run after this.

        The flag is False when it was decided or had expired before. Raises KeyError for an unknown id, and
        for another customer's."""
        return await asyncio.to_thread(self._withdraw, action_id, customer)

    async def waiting(self, customer: Customer) -> builtins.list[Approval]:
        """What of this customer's waits for a person, newest first."""
        return await asyncio.to_thread(self._waiting, customer)

    async def succeeded(self, action_id: str) -> None:
        """The action that took this question's place is at the gate: it needs no care from here on."""
        await asyncio.to_thread(self._succeeded, action_id)

    async def left_undone(
        self, since: timedelta, limit: int = 50
    ) -> builtins.list[tuple[Approval, Action | None]]:
        """Decisions that nobody has carried out for so long, oldest first: what is approved and has not
        run, and, with its successor, what was edited."""
        return await asyncio.to_thread(self._left_undone, since, limit)

    async def get(self, action_id: str) -> Approval | None:
        """The question as it stands now; one past its time reads as expired before it is swept."""
        return await asyncio.to_thread(self._get, action_id)

    async def pending(self, *, limit: int = 50) -> builtins.list[Approval]:
        """What still waits for an answer, oldest first."""
        return await asyncio.to_thread(self._pending, limit)

    async def list(
        self,
        status: Status | None = None,
        limit: int = 50,
        before: datetime | None = None,
        *,
        tenant: str | None = None,
    ) -> builtins.list[Approval]:
        """Questions newest first; ``before`` is the ``requested_at`` of the last one already seen."""
        return await asyncio.to_thread(self._list, status, limit, before, tenant)

    async def expire_due(self) -> builtins.list[Approval]:
        """Expire what was not answered, or not carried out, in time, and tell the customers."""
        return await asyncio.to_thread(self._expire_due)

    def consume(
        self,
        conn: Connection,
        action: Action,
        *,
        approvers: int = 1,
        reviewer: ReviewerRole = "agent",
    ) -> bool:
        """Turn this very action's approval into an execution inside the caller's transaction.

        False when there is none, it is no longer in force, it was given for something else, or by fewer
        persons than its verdict or the business rules of this moment ask for.
        """
        at = self._clock.now()
        approval = self._locked(conn, action.id, at)
        if approval is None or not approval.approved_by(approvers, reviewer):
            return False
        exactly = {
            "of_action": action.id,
            "of_tenant": action.tenant,
            "of_customer": action.customer.id,
            "of_operation": action.operation,
            "of_key": action.key,
            "of_fingerprint": action.fingerprint,
            # The fingerprint comes from the caller; what the reviewer read is what must run.
            "of_arguments": canonical(action.arguments),
            "at": at,
        }
        return conn.execute(_SPEND, exactly).rowcount == 1

    async def prune(self, older: timedelta) -> int:
        """Forget what was decided, and done, longer ago than that; the number of questions that went."""
        return await asyncio.to_thread(self._prune, older)

    def _prune(self, older: timedelta) -> int:
        before = self._clock.now() - older
        asked = approvals.c
        settled = and_(
            asked.status.not_in(("pending", "approved", "started")),
            asked.requested_at < before,
            asked.expires_at < before,
            asked.successor.is_(None),
        )
        with writing(self._engine) as conn:
            old = select(asked.action_id).where(settled)
            conn.execute(delete(votes).where(votes.c.action_id.in_(old)))
            return conn.execute(delete(approvals).where(settled)).rowcount

    def settle(self, conn: Connection, action: Action, *, executed: bool) -> None:
        """Say what came of a spent approval, in the transaction that says so of the effect."""
        outcome = "executed" if executed else "failed"
        conn.execute(_SETTLE, {"of_action": action.id, "outcome": outcome})

    def restore(self, conn: Connection, action: Action) -> bool:
        """Give a spent approval back inside the caller's transaction: provably nothing was done."""
        unspent = (
            update(approvals)
            .where(approvals.c.action_id == action.id, approvals.c.status == "started")
            .values(status="approved")
        )
        return conn.execute(unspent).rowcount == 1

    def _request(self, action: Action, verdict: Verdict) -> Approval:
        at = self._clock.now()
        with writing(self._engine) as conn:
            asked = insert_if_absent(
                conn,
                approvals,
                {
                    "action_id": action.id,
                    "tenant": action.tenant,
                    "customer_id": action.customer.id,
                    "operation": action.operation,
                    "key": action.key,
                    "fingerprint": action.fingerprint,
                    "arguments": canonical(action.arguments),
                    "action": action.model_dump(mode="json"),
                    "verdict": verdict.model_dump(mode="json"),
                    "status": "pending",
                    "requested_at": at,
                    "expires_at": at + self._ttl,
                },
            )
            row = conn.execute(select(approvals).where(approvals.c.action_id == action.id)).one()
            approval = _with_votes(conn, [row], at)[0]
            if asked:
                facts: dict[str, JsonValue] = {
                    "expires_at": approval.expires_at.isoformat(),
                    "votes_needed": verdict.votes_needed,
                    "reason": verdict.reason,
                    "policy": verdict.policy,
                    "effects": [*action.effects],
                }
                self._audit.append(
                    conn, _recorded("approval_requested", approval, "signalbox", **facts)
                )
            return approval

    def _decide(
        self,
        action_id: str,
        approve: bool,
        reviewer: str,
        note: str | None,
        role: ReviewerRole = "agent",
        successor: Action | None = None,
    ) -> tuple[Approval, bool]:
        at = self._clock.now()
        with writing(self._engine) as conn:
            if expired := self._expire(conn, at, approvals.c.action_id == action_id):
                return expired[0], False
            approval = self._locked_with_twins(conn, action_id, at)
            if approval is None:
                raise KeyError(action_id)
            counts = not approve or (
                approval.may_approve(reviewer, role) and approval.approved_twin is None
            )
            if approval.status != "pending" or not counts:
                return approval, False
            vote = Vote(reviewer=reviewer, role=role, approve=approve, note=note, at=at)
            conn.execute(
                insert(votes).values(
                    action_id=action_id, person=person_named(reviewer), **vote.model_dump()
                )
            )
            voted = approval.model_copy(update={"votes": (*approval.votes, vote)})
            by = f"operator:{reviewer}"
            said = _recorded("approval_vote", voted, by, approve=approve, role=role, note=note)
            if approve and not voted.approved_by():
                self._audit.append(conn, said)
                return voted, True
            answer = {
                "status": "approved" if approve else "rejected",
                "reviewer": reviewer,
                "note": note,
                "decided_at": at,
            }
            follows = None if successor is None else successor.model_dump(mode="json")
            conn.execute(
                update(approvals)
                .where(approvals.c.action_id == action_id)
                .values(**answer, successor=follows)
            )
            voted = voted.model_copy(update=answer)
            facts: dict[str, JsonValue] = {"status": voted.status}
            if successor is not None:
                facts["replaced_by"] = successor.id
            elif not approve:
                self._tell(conn, voted, "rejected", REJECTED)
            self._audit.append(conn, said, _recorded("approval_decided", voted, by, **facts))
        return voted, True

    def _withdraw(self, action_id: str, customer: Customer) -> tuple[Approval, bool]:
        at = self._clock.now()
        with writing(self._engine) as conn:
            if expired := self._expire(
                conn, at, approvals.c.action_id == action_id, _of_customer(customer)
            ):
                return expired[0], False
            approval = self._locked(conn, action_id, at)
            if approval is None or not _is_theirs(approval, customer):
                raise KeyError(action_id)
            if approval.status != "pending":
                return approval, False
            answer = {"status": "withdrawn", "decided_at": at}
            # The row is locked: a vote that comes after this finds nothing to vote on.
            conn.execute(
                update(approvals).where(approvals.c.action_id == action_id).values(**answer)
            )
            taken_back = approval.model_copy(update=answer)
            self._audit.append(
                conn, _recorded("approval_withdrawn", taken_back, f"customer:{customer.id}")
            )
        return taken_back, True

    def _waiting(self, customer: Customer) -> builtins.list[Approval]:
        at = self._clock.now()
        theirs = (
            select(approvals)
            .where(_of_customer(customer), _has_status("pending", at))
            .order_by(approvals.c.requested_at.desc(), approvals.c.action_id.desc())
        )
        with reading(self._engine) as conn:
            return _with_votes(conn, conn.execute(theirs).all(), at)

    def _succeeded(self, action_id: str) -> None:
        with writing(self._engine) as conn:
            conn.execute(
                update(approvals).where(approvals.c.action_id == action_id).values(successor=None)
            )

    def _left_undone(
        self, since: timedelta, limit: int
    ) -> builtins.list[tuple[Approval, Action | None]]:
        at = self._clock.now()
        waiting = (
            select(approvals)
            .where(
                or_(_has_status("approved", at), approvals.c.successor.is_not(None)),
                approvals.c.decided_at <= at - since,
            )
            .order_by(approvals.c.decided_at)
            .limit(limit)
        )
        with reading(self._engine) as conn:
            rows = conn.execute(waiting).all()
            found = _with_votes(conn, rows, at)
        return [
            (each, None if row.successor is None else Action.model_validate(row.successor))
            for each, row in zip(found, rows, strict=True)
        ]

    def _locked(self, conn: Connection, action_id: str, at: datetime) -> Approval | None:
        """The question, which nobody else can answer or spend before this transaction ends."""
        row = conn.execute(
            select(approvals).where(approvals.c.action_id == action_id).with_for_update()
        ).one_or_none()
        return None if row is None else _with_votes(conn, [row], at)[0]

    def _locked_with_twins(self, conn: Connection, action_id: str, at: datetime) -> Approval | None:
        """The question and those that ask for the same: two reviewers may be answering one each."""
        asked = approvals.alias()
        same = (
            select(approvals.c.action_id)
            .join(asked, _same_request(asked))
            .where(asked.c.action_id == action_id)
            # In one order, so that nobody waits for somebody who waits for them.
            .order_by(approvals.c.action_id)
            .with_for_update(of=approvals)
        )
        conn.execute(same).all()
        approval = self._locked(conn, action_id, at)
        return None if approval is None else _with_twins(conn, [approval], at)[0]

    def _get(self, action_id: str) -> Approval | None:
        with reading(self._engine) as conn:
            row = conn.execute(
                select(approvals).where(approvals.c.action_id == action_id)
            ).one_or_none()
            at = self._clock.now()
            return None if row is None else _with_twins(conn, _with_votes(conn, [row], at), at)[0]

    def _pending(self, limit: int) -> builtins.list[Approval]:
        at = self._clock.now()
        waiting = (
            select(approvals)
            .where(_has_status("pending", at))
            .order_by(approvals.c.requested_at, approvals.c.action_id)
            .limit(limit)
        )
        with reading(self._engine) as conn:
            return _with_twins(conn, _with_votes(conn, conn.execute(waiting).all(), at), at)

    def _list(
        self, status: Status | None, limit: int, before: datetime | None, tenant: str | None
    ) -> builtins.list[Approval]:
        at = self._clock.now()
        page = select(approvals).order_by(
            approvals.c.requested_at.desc(), approvals.c.action_id.desc()
        )
        if status is not None:
            page = page.where(_has_status(status, at))
        if before is not None:
            page = page.where(approvals.c.requested_at < before)
        if tenant is not None:
            page = page.where(approvals.c.tenant == tenant)
        with reading(self._engine) as conn:
            return _with_twins(
                conn, _with_votes(conn, conn.execute(page.limit(limit)).all(), at), at
            )

    def _expire_due(self) -> builtins.list[Approval]:
        with writing(self._engine) as conn:
            return self._expire(conn, self._clock.now())

    def _expire(
        self, conn: Connection, at: datetime, *which: ColumnElement[bool]
    ) -> builtins.list[Approval]:
        lapse = (
            update(approvals)
            .where(_lapsed(at), *which)
            .values(status="expired")
            .returning(*approvals.c)
        )
        expired = _with_votes(conn, conn.execute(lapse).all(), at)
        for approval in expired:
            self._tell(conn, approval, "expired", EXPIRED)
        self._audit.append(
            conn, *(_recorded("approval_expired", each, "signalbox") for each in expired)
        )
        return expired

    def _tell(
        self,
        conn: Connection,
        approval: Approval,
        status: Literal["rejected", "expired"],
        reason: str,
    ) -> None:
        action = approval.action
        self._outbox.add(
            conn,
            action,
            Outcome(
                status=status,
                action_id=action.id,
                operation=action.operation,
                label=action.label,
                reason=reason,
            ),
        )


def _recorded(
    kind: Literal[
        "approval_requested",
        "approval_vote",
        "approval_decided",
        "approval_expired",
        "approval_withdrawn",
    ],
    approval: Approval,
    actor: str,
    **facts: JsonValue,
) -> AuditEntry:
    action = approval.action
    return AuditEntry(
        tenant=action.tenant,
        kind=kind,
        actor=actor,
        action=action.id,
        thread=action.thread,
        turn=action.turn,
        facts={"operation": action.operation, "fingerprint": action.fingerprint, **facts},
    )


def _of_customer(customer: Customer) -> ColumnElement[bool]:
    return and_(approvals.c.tenant == customer.tenant, approvals.c.customer_id == customer.id)


def _is_theirs(approval: Approval, customer: Customer) -> bool:
    owner = approval.action.customer
    return (owner.tenant, owner.id) == (customer.tenant, customer.id)


def _lapsed(at: datetime) -> ColumnElement[bool]:
    return and_(approvals.c.status.in_(("pending", "approved")), approvals.c.expires_at <= at)


def _has_status(status: Status, at: datetime) -> ColumnElement[bool]:
    if status == "expired":
        return or_(approvals.c.status == "expired", _lapsed(at))
    if status in ("pending", "approved"):
        return and_(approvals.c.status == status, approvals.c.expires_at > at)
    return approvals.c.status == status


def _with_votes(
    conn: Connection, rows: Sequence[Row[Any]], at: datetime
) -> builtins.list[Approval]:
    given: defaultdict[str, builtins.list[Vote]] = defaultdict(builtins.list)
    if rows:
        of_these = votes.c.action_id.in_([row.action_id for row in rows])
        for each in conn.execute(select(votes).where(of_these).order_by(votes.c.at)):
            given[each.action_id].append(
                Vote(
                    reviewer=each.reviewer,
                    role=each.role,
                    approve=each.approve,
                    note=each.note,
                    at=each.at,
                )
            )
    return [_approval(row, at, given[row.action_id]) for row in rows]


def _same_request(asked: FromClause) -> ColumnElement[bool]:
    """Of one customer, with one set of arguments; another key, as an edit's successor has its own."""
    return and_(
        approvals.c.fingerprint == asked.c.fingerprint,
        approvals.c.tenant == asked.c.tenant,
        approvals.c.customer_id == asked.c.customer_id,
    )


def _with_twins(
    conn: Connection, found: Sequence[Approval], at: datetime
) -> builtins.list[Approval]:
    """What waits, with those that ask for the same: waiting too, or approved since it was asked."""
    waiting = {one.id for one in found if one.status == "pending"}
    if not waiting:
        return [*found]
    asked = approvals.alias()
    same = (
        select(asked.c.action_id.label("of"), approvals)
        .join(asked, and_(_same_request(asked), approvals.c.key != asked.c.key))
        .where(
            asked.c.action_id.in_(waiting),
            or_(
                and_(approvals.c.status.in_(("pending", "approved")), approvals.c.expires_at > at),
                approvals.c.status == "started",
                and_(
                    approvals.c.status == "executed",
                    approvals.c.decided_at >= asked.c.requested_at,
                ),
            ),
        )
        .order_by(approvals.c.requested_at)
    )
    twins: defaultdict[str, builtins.list[Twin]] = defaultdict(builtins.list)
    for row in conn.execute(same):
        thread = str(row.action["thread"])
        twins[row.of].append(Twin(id=row.action_id, thread=thread, status=row.status))
    return [one.model_copy(update={"twins": tuple(twins[one.id])}) for one in found]


def _approval(row: Row[Any], at: datetime, given: Sequence[Vote]) -> Approval:
    lapsed = row.status in ("pending", "approved") and row.expires_at <= at
    return Approval(
        id=row.action_id,
        action=Action.model_validate(row.action),
        verdict=Verdict.model_validate(row.verdict),
        status="expired" if lapsed else row.status,
        requested_at=row.requested_at,
        expires_at=row.expires_at,
        reviewer=row.reviewer,
        note=row.note,
        decided_at=row.decided_at,
        votes=tuple(given),
    )
