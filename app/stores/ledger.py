"""The idempotency ledger in SQL: an action's effect and its record commit together or not at all."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Callable
from datetime import timedelta
from typing import Any, Literal

from pydantic import ValidationError
from sqlalchemy import Engine, Row, and_, bindparam, delete, select, update
from sqlalchemy.engine import Connection

from app.stores.approvals import SqlApprovals, canonical
from app.stores.database import reading, writing
from app.stores.outbox import SqlOutbox
from app.stores.tables import insert_if_absent, ledger
from tools.domain import (
    Action,
    Arguments,
    Clock,
    Consequence,
    Customer,
    Operation,
    OperationFailed,
    Outcome,
    Verdict,
)
from tools.ports import BackendUnavailable, Shop

CHECKPOINTS = ("begin_committed", "before_effect", "effect_done", "before_commit", "committed")

IN_FLIGHT = "This request is already being worked on. Please give it a moment."
CONFLICT = (
    "This does not match the request it belongs to, so nothing was changed. Please ask again."
)
INVALID = "Some details of this request are not valid, so nothing was changed."
NOT_APPROVED = "A colleague has to approve this first, so nothing was changed."
UNCERTAIN = "I could not confirm whether this went through. It will not be tried again unchecked."


def _pass(name: str) -> None:
    """The checkpoint of a process that nobody kills on purpose."""


# Built once: building a statement takes SQLAlchemy longer than SQLite takes to run it.
_ROW = and_(
    ledger.c.tenant == bindparam("of_tenant"),
    ledger.c.operation == bindparam("of_operation"),
    ledger.c.key == bindparam("of_key"),
)
_HELD = and_(_ROW, ledger.c.owner == bindparam("held_by"), ledger.c.state == "started")
_READ = select(ledger).where(_ROW)
_LOCK = _READ.with_for_update()
_TAKE_OVER = update(ledger).where(_ROW)
_UPDATE_HELD = update(ledger).where(_HELD)
_DELETE_HELD = delete(ledger).where(_HELD)


class SqlLedger:
    """At most one effect for one key, whatever crashes, retries or double clicks happen.

    The effect lives in the same database as its ledger row. A row that is ``started`` therefore always
    means that no effect was kept, so that an expired lease may be taken over.
    """

    def __init__(
        self,
        engine: Engine,
        shop_for: Callable[[Connection, Customer], Shop],
        clock: Clock,
        approvals: SqlApprovals,
        *,
        lease: timedelta = timedelta(seconds=30),
        outbox: SqlOutbox | None = None,
        checkpoint: Callable[[str], None] = _pass,
    ) -> None:
        self._engine = engine
        self._shop_for = shop_for
        self._clock = clock
        self._approvals = approvals
        self._lease = lease
        self._outbox = outbox or SqlOutbox(engine, clock)
        self._checkpoint = checkpoint

    async def execute(self, action: Action, operation: Operation, verdict: Verdict) -> Outcome:
        """Run the action's write once, its effect, ledger and outbox rows in one transaction."""
        return await asyncio.to_thread(self._execute, action, operation, verdict)

    async def find(self, tenant: str, operation: str, key: str) -> Outcome | None:
        """What came of a key: None when it never began, ``unknown`` while nothing is settled."""
        return await asyncio.to_thread(self._find, tenant, operation, key)

    def _execute(self, action: Action, operation: Operation, verdict: Verdict) -> Outcome:
        if operation.name != action.operation or not operation.writes:
            raise ValueError(f"{operation.name} is not the write that {action.id} asks for")
        if action.customer.tenant != action.tenant:
            raise ValueError(f"{action.id} is not of its customer's tenant")
        try:
            arguments = operation.arguments.model_validate(action.arguments)
        except ValidationError:
            return _outcome(action, "blocked", INVALID)
        owner = uuid.uuid4().hex
        already = self._begin(action, owner)
        if already is not None:
            return already
        self._checkpoint("begin_committed")
        settled = False
        try:
            outcome = self._perform(action, operation, verdict, arguments, owner)
            settled = True
        except BackendUnavailable:
            # The connection may have been lost after the commit was sent: only the row can tell.
            found = self._settle(action)
            settled = found is not None
            if found is None:
                raise
            return found
        finally:
            if not settled:
                self._release(action, owner)
        self._checkpoint("committed")
        return outcome

    def _begin(self, action: Action, owner: str) -> Outcome | None:
        """Take the key for ``owner``; an outcome when there is nothing left to do."""
        at = self._clock.now()
        mine = {
            "owner": owner,
            "lease_until": at + self._lease,
            "action_id": action.id,
            "customer_id": action.customer.id,
            "label": action.label,
        }
        arguments = canonical(action.arguments)
        with writing(self._engine) as conn:
            started = insert_if_absent(
                conn,
                ledger,
                {
                    "tenant": action.tenant,
                    "operation": action.operation,
                    "key": action.key,
                    "fingerprint": action.fingerprint,
                    "arguments": arguments,
                    "state": "started",
                    "created_at": at,
                    **mine,
                },
            )
            if started:
                return None
            row = conn.execute(_LOCK, _key_of(action)).one_or_none()
            if row is None:  # Released by its owner between the insert and the read.
                return _outcome(action, "blocked", IN_FLIGHT)
            if (row.fingerprint, row.arguments, row.customer_id) != (
                action.fingerprint,
                arguments,
                action.customer.id,
            ):
                return _outcome(action, "blocked", CONFLICT)
            if row.state != "started":
                return _stored(row).model_copy(update={"replayed": True})
            if row.lease_until > at:
                return _outcome(action, "blocked", IN_FLIGHT)
            conn.execute(_TAKE_OVER, _key_of(action) | mine)
        return None

    def _perform(
        self,
        action: Action,
        operation: Operation,
        verdict: Verdict,
        arguments: Arguments,
        owner: str,
    ) -> Outcome:
        holder = _key_of(action) | {"held_by": owner}
        with writing(self._engine) as conn:
            # The update also locks the row: nobody can take it over before this transaction ends.
            held = conn.execute(
                _UPDATE_HELD, holder | {"lease_until": self._clock.now() + self._lease}
            )
            if held.rowcount != 1:
                return _outcome(action, "blocked", IN_FLIGHT)
            shop = self._shop_for(conn, action.customer)
            grave = _needs_approval(operation, verdict) or _grave_by_now(operation, shop, arguments)
            if grave and not self._approvals.consume(conn, action):
                # Nothing ran, so the key stays free for the day the approval is there.
                conn.execute(_DELETE_HELD, holder)
                return _outcome(action, "blocked", NOT_APPROVED)
            self._checkpoint("before_effect")
            try:
                with conn.begin_nested():
                    result = operation.run(shop, arguments)
            except OperationFailed as error:
                outcome = _outcome(action, "failed", str(error))
            else:
                outcome = _outcome(action, "executed").model_copy(
                    update={"result": result.model_dump(mode="json")}
                )
            self._checkpoint("effect_done")
            executed = outcome.status == "executed"
            conn.execute(
                _UPDATE_HELD,
                holder
                | {
                    "state": "succeeded" if executed else "failed",
                    "result": outcome.result if executed else None,
                    "error": None if executed else outcome.reason,
                    "finished_at": self._clock.now(),
                },
            )
            self._outbox.add(conn, action, outcome)
            self._checkpoint("before_commit")
        return outcome

    def _settle(self, action: Action) -> Outcome | None:
        """What the row says after a lost connection; None when the effect was not kept."""
        try:
            with writing(self._engine) as conn:
                # Waits for a commit that the server may still be working on.
                row = conn.execute(_LOCK, _key_of(action)).one_or_none()
        except BackendUnavailable:
            return _outcome(action, "unknown", UNCERTAIN)
        return None if row is None or row.state == "started" else _stored(row)

    def _release(self, action: Action, owner: str) -> None:
        """Forget a start whose effect was rolled back, so that a retry need not wait for the lease."""
        try:
            with writing(self._engine) as conn:
                conn.execute(_DELETE_HELD, _key_of(action) | {"held_by": owner})
        except BackendUnavailable:
            return  # The lease does it, later.

    def _find(self, tenant: str, operation: str, key: str) -> Outcome | None:
        named = {"of_tenant": tenant, "of_operation": operation, "of_key": key}
        with reading(self._engine) as conn:
            row = conn.execute(_READ, named).one_or_none()
        return None if row is None else _stored(row)


def _needs_approval(operation: Operation, verdict: Verdict) -> bool:
    # The declared class is a floor: a verdict below it does not get past the ledger.
    return (
        verdict.needs_approval
        or verdict.consequence in (Consequence.IRREVERSIBLE, Consequence.UNKNOWN)
        or Consequence.IRREVERSIBLE in (verdict.declared, operation.consequence)
    )


def _grave_by_now(operation: Operation, shop: Shop, arguments: Arguments) -> bool:
    """Whether the record has changed since the verdict so that this can no longer be undone."""
    try:
        return operation.preview(shop, arguments).consequence is Consequence.IRREVERSIBLE
    except OperationFailed:
        return False  # It will not run either, and says why.


def _key_of(action: Action) -> dict[str, Any]:
    return {
        "of_tenant": action.tenant,
        "of_operation": action.operation,
        "of_key": action.key,
    }


def _outcome(
    action: Action, status: Literal["executed", "blocked", "failed", "unknown"], reason: str = ""
) -> Outcome:
    return Outcome(
        status=status,
        action_id=action.id,
        operation=action.operation,
        label=action.label,
        reason=reason,
    )


def _stored(row: Row[Any]) -> Outcome:
    statuses: dict[str, tuple[Literal["executed", "failed", "unknown"], str]] = {
        "succeeded": ("executed", ""),
        "failed": ("failed", row.error or ""),
    }
    status, reason = statuses.get(row.state, ("unknown", UNCERTAIN))
    return Outcome(
        status=status,
        action_id=row.action_id,
        operation=row.operation,
        label=row.label,
        result=row.result or {},
        reason=reason,
    )
