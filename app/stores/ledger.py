"""The idempotency ledger in SQL: an action's effect and its record commit together or not at all.

An effect in another system cannot. It is written down before it is asked for, and what nobody knows the outcome of
for afterwards is looked up there, sent again under a key that is still honoured, or left to a person.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from typing import Any, Literal

from pydantic import JsonValue, TypeAdapter, ValidationError
from sqlalchemy import Engine, Row, and_, bindparam, delete, or_, select, update
from sqlalchemy.engine import Connection

from app.stores.approvals import SqlApprovals, canonical
from app.stores.audit import SqlAudit
from app.stores.database import reading, writing
from app.stores.fences import holds, next_owner
from app.stores.outbox import SqlOutbox
from app.stores.tables import insert_if_absent, ledger
from tools.effects import Answer, AnyRequest, Effects, PaymentEffects
from tools.policy import NoRules, Policy, Ruling, facts_about
from tools.ports import BackendUnavailable, Declined, NotSent, Payments, Uncertain
from tools.values import (
    IN_FLIGHT,
    Action,
    Arguments,
    Attempt,
    AuditEntry,
    Clock,
    Consequence,
    Customer,
    EffectRequest,
    Operation,
    OperationFailed,
    Outcome,
    OutsideEffect,
    Preview,
    Unsettled,
    Verdict,
)

CHECKPOINTS = ("begin_committed", "before_effect", "effect_done", "before_commit", "committed")
#: The same for an effect in another system; ``called`` is when the request has left unanswered.
OUTSIDE_CHECKPOINTS = (
    "begin_committed",
    "before_call",
    "called",
    "after_call",
    "before_commit",
    "committed",
)

#: Longer than one call of another system with all its time-outs.
OUTSIDE_LEASE = timedelta(seconds=60)
#: How long what could not be settled is left alone before it is looked up again.
LOOK_AGAIN = timedelta(seconds=15)

CONFLICT = (
    "This does not match the request it belongs to, so nothing was changed. Please ask again."
)
INVALID = "Some details of this request are not valid, so nothing was changed."
NOT_APPROVED = "A colleague has to approve this first, so nothing was changed."
NOT_DONE = "This did not go through, so nothing was changed."
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
_BEGIN_AGAIN = _TAKE_OVER.values(attempts=ledger.c.attempts + 1)
_UPDATE_HELD = update(ledger).where(_HELD)
_DELETE_HELD = delete(ledger).where(_HELD)
# What has been asked of another system is never forgotten, only settled.
_RELEASE = delete(ledger).where(_HELD, ledger.c.called_at.is_(None))
_OPEN = ledger.c.state.in_(("started", "unknown"))
_SETTLE_HELD = update(ledger).where(_ROW, ledger.c.owner == bindparam("held_by"), _OPEN)
_ASKED = and_(_OPEN, ledger.c.called_at.is_not(None))


_REQUEST: TypeAdapter[EffectRequest] = TypeAdapter(AnyRequest)


class Settled(Exception):
    """This effect is settled, or being looked up right now; nothing was changed."""

    def __init__(self, outcome: Outcome) -> None:
        super().__init__(self.__doc__)
        self.outcome = outcome


@dataclass(frozen=True)
class _Asked:
    """One effect in another system, and under which owner this process may settle it."""

    action: Action
    effect: OutsideEffect
    request: EffectRequest
    called_at: datetime
    owner: str

    @property
    def holder(self) -> dict[str, Any]:
        return _key_of(self.action) | {"held_by": self.owner}


class SqlLedger:
    """At most one effect for one key, whatever crashes, stalls, retries or double clicks happen.

    A key is taken under an owner, a token that grows, and everything done under it is conditional on that one.
    What begins an effect is conditional on the caller's holds too; what settles one is not: whoever owns the
    row and knows what another system did writes it down, whoever goes on with the turn.

    An effect in the books lives in the same database as its ledger row: ``started`` then always means that
    no effect was kept, so that an expired lease may be taken over. An effect in another system is
    ``started`` before it is asked for, so that an expired lease means that nobody knows.
    """

    def __init__(
        self,
        engine: Engine,
        books_for: Callable[[Connection, Customer], Any],
        clock: Clock,
        approvals: SqlApprovals,
        *,
        lease: timedelta = timedelta(seconds=30),
        retention: timedelta = timedelta(days=90),
        outbox: SqlOutbox | None = None,
        audit: SqlAudit | None = None,
        payments: Payments | None = None,
        systems: Mapping[str, Effects] | None = None,
        policy: Policy | None = None,
        checkpoint: Callable[[str], None] = _pass,
    ) -> None:
        self._engine = engine
        self._books_for = books_for
        self._clock = clock
        self._approvals = approvals
        self._lease = lease
        self._retention = retention
        self._audit = audit or SqlAudit(engine, clock)
        self._outbox = outbox or SqlOutbox(engine, clock, audit=self._audit)
        self._systems: dict[str, Effects] = dict(systems or {})
        if payments is not None:
            self._systems["payments"] = PaymentEffects(payments)
        self._policy = policy or NoRules()
        self._checkpoint = checkpoint

    async def execute(self, action: Action, operation: Operation, verdict: Verdict) -> Outcome:
        """Run the action's write once, its effect, ledger and outbox rows in one transaction."""
        return await asyncio.to_thread(self._execute, action, operation, verdict)

    async def find(self, tenant: str, operation: str, key: str) -> Outcome | None:
        """What came of a key: None when it never began, ``unknown`` while nothing is settled."""
        return await asyncio.to_thread(self._find, tenant, operation, key)

    async def attempt(self, action: Action) -> Attempt:
        """Which try of this very action would begin now, and what came of the ones before.

        ``unknown`` only where another system was asked: in the books an effect that was not kept was none."""
        return await asyncio.to_thread(self._attempt, action)

    async def reconcile(self, action: Action, operation: Operation) -> Outcome:
        """Settle an unknown outcome by looking it up, or leave it to a person."""
        return await asyncio.to_thread(self._reconcile, action, operation)

    async def settle_due(
        self, operations: Mapping[str, Operation], limit: int = 20
    ) -> list[tuple[Action, Outcome]]:
        """Look up again what nobody knew the outcome of; what is settled by now."""
        return await asyncio.to_thread(self._settle_due, operations, limit)

    async def unsettled(self, limit: int = 50, *, tenant: str | None = None) -> list[Unsettled]:
        """Effects that a person may have to settle, oldest first; everybody's, or one tenant's."""
        return await asyncio.to_thread(self._unsettled, limit, tenant)

    async def settle(
        self,
        action_id: str,
        operations: Mapping[str, Operation],
        *,
        happened: bool,
        operator: str,
        note: str | None = None,
        tenant: str | None = None,
    ) -> tuple[Action, Outcome]:
        """A person's word on an effect that no lookup could settle; of this ``tenant``'s, where one is given.

        Raises KeyError for an unknown id, and Settled when there is nothing to decide any more."""
        return await asyncio.to_thread(
            self._settle_by_person, action_id, operations, happened, operator, note or "", tenant
        )

    async def prune(self) -> int:
        """Forget settled keys older than the retention; the number of rows that went."""
        return await asyncio.to_thread(self._prune)

    def _execute(self, action: Action, operation: Operation, verdict: Verdict) -> Outcome:
        if operation.name != action.operation or not operation.writes:
            raise ValueError(f"{operation.name} is not the write that {action.id} asks for")
        if action.customer.tenant != action.tenant:
            raise ValueError(f"{action.id} is not of its customer's tenant")
        try:
            arguments = operation.arguments.model_validate(action.arguments)
        except ValidationError:
            return _outcome(action, "blocked", INVALID)
        owner = self._begin(action)
        if isinstance(owner, Outcome):
            return owner
        self._checkpoint("begin_committed")
        settled = False
        try:
            effect = operation.outside
            if effect is not None and (system := self._systems.get(effect.system)) is not None:
                outcome = self._send(action, operation, verdict, arguments, owner, effect, system)
            else:
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

    def _begin(self, action: Action) -> str | Outcome:
        """Take the key, as the owner that is returned; an outcome when there is nothing left to do."""
        at = self._clock.now()
        mine = {
            "lease_until": at + self._lease,
            "action_id": action.id,
            "customer_id": action.customer.id,
            "label": action.label,
        }
        arguments = canonical(action.arguments)
        with writing(self._engine) as conn:
            owner = next_owner(conn)
            started = insert_if_absent(
                conn,
                ledger,
                {
                    "owner": owner,
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
                return owner
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
            if row.lease_until > at and not _left_behind(row, action):
                self._shorten(conn, action, row, at)
                return _outcome(action, "blocked", IN_FLIGHT)
            if row.called_at is not None:
                # Another system may have done it: it is looked up, never done again from here.
                return _stored(row)
            owner = next_owner(conn)
            conn.execute(_BEGIN_AGAIN, _key_of(action) | mine | {"owner": owner})
        return owner

    def _shorten(self, conn: Connection, action: Action, row: Row[Any], at: datetime) -> None:
        """A lease that a clock ahead of ours wrote: nobody waits longer than for the longest one of now."""
        longest = at + max(self._lease, OUTSIDE_LEASE)
        if row.lease_until > longest:
            conn.execute(_TAKE_OVER, _key_of(action) | {"lease_until": longest})

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
            books = self._books_for(conn, action.customer)
            look = partial(operation.preview, books, arguments)
            why = self._forbidden(conn, action, operation, verdict, look)
            if why is not None:
                # Nothing ran, so the key stays free for the day the approval is there.
                conn.execute(_DELETE_HELD, holder)
                return _outcome(action, "blocked", why)
            self._checkpoint("before_effect")
            try:
                with conn.begin_nested():
                    result = operation.run(books, arguments)
            except OperationFailed as error:
                outcome = _outcome(action, "failed", str(error))
            else:
                outcome = _outcome(action, "executed").model_copy(
                    update={"result": result.model_dump(mode="json")}
                )
            self._checkpoint("effect_done")
            conn.execute(_UPDATE_HELD, holder | self._columns(outcome))
            self._approvals.settle(conn, action, executed=outcome.status == "executed")
            self._outbox.add(conn, action, outcome)
            self._audit.append(conn, _recorded("effect", action, outcome))
            self._checkpoint("before_commit")
        return outcome

    def _forbidden(
        self,
        conn: Connection,
        action: Action,
        operation: Operation,
        verdict: Verdict,
        look: Callable[[], Preview],
    ) -> str | None:
        """Why it may not run now, by its class, its record and the business rules of this moment; None
        when it may. An approval that is needed is spent by the question."""
        try:
            preview = look()
        except OperationFailed:
            # It will not run either, and says why.
            preview, ruling = None, Ruling()
        else:
            ruling = self._policy.ruling(
                facts_about(
                    action.customer,
                    operation,
                    action.arguments,
                    preview,
                    self._clock.now(),
                    actor=action.actor,
                )
            )
        if verdict.refusal is not None or ruling.effect == "refuse":
            return verdict.refusal or ruling.reason
        grave = _needs_approval(operation, verdict) or (
            preview is not None and preview.consequence is Consequence.IRREVERSIBLE
        )
        if not grave and ruling.effect != "approve":
            return None
        approved = self._approvals.consume(
            conn,
            action,
            approvers=max(verdict.approvers, ruling.approvers),
            reviewer="admin" if "admin" in (verdict.reviewer, ruling.reviewer) else "agent",
        )
        return None if approved else NOT_APPROVED

    def _columns(self, outcome: Outcome) -> dict[str, Any]:
        executed = outcome.status == "executed"
        return {
            "state": "succeeded" if executed else "failed",
            "result": outcome.result if executed else None,
            "error": None if executed else outcome.reason,
            "finished_at": self._clock.now(),
        }

    # --- effects in another system ----------------------------------------------------------------

    def _send(
        self,
        action: Action,
        operation: Operation,
        verdict: Verdict,
        arguments: Arguments,
        owner: str,
        effect: OutsideEffect,
        system: Effects,
    ) -> Outcome:
        system.ready()  # While it is away nothing is reserved and no approval is spent.
        asked = self._order(action, operation, verdict, arguments, owner, effect)
        if isinstance(asked, Outcome):
            return asked
        self._checkpoint("before_call")
        if self._clock.now() >= asked.called_at + OUTSIDE_LEASE / 2:
            # This process slept: by the time the request arrived, somebody might have settled it.
            return self._leave(asked, "It was prepared, and the process stalled before sending it.")
        try:
            answer = system.send(asked.request, action.key)
        except NotSent:
            self._take_back(asked)
            raise
        except Declined as error:
            return self._decline(asked, "effect", str(error))
        except Uncertain as error:
            return self._leave(asked, str(error))
        self._checkpoint("after_call")
        return self._finish(asked, "effect", answer)

    def _order(
        self,
        action: Action,
        operation: Operation,
        verdict: Verdict,
        arguments: Arguments,
        owner: str,
        effect: OutsideEffect,
    ) -> _Asked | Outcome:
        """Write down what is about to be asked, spend the approval, reserve in the books."""
        holder = _key_of(action) | {"held_by": owner}
        # Another system's records are never read while a transaction of ours is open.
        seen = effect.look(action.customer, arguments) if effect.look is not None else None
        at = self._clock.now()
        # A request whose record a power cut took away would be made again.
        with writing(self._engine, durable=True) as conn:
            held = conn.execute(_UPDATE_HELD, holder | {"lease_until": at + OUTSIDE_LEASE})
            if held.rowcount != 1:
                return _outcome(action, "blocked", IN_FLIGHT)
            books = self._books_for(conn, action.customer) if seen is None else seen
            look = partial(operation.preview, books, arguments)
            why = self._forbidden(conn, action, operation, verdict, look)
            if why is not None:
                conn.execute(_DELETE_HELD, holder)
                return _outcome(action, "blocked", why)
            try:
                with conn.begin_nested():
                    request = effect.begin(books, arguments, action.id)
            except OperationFailed as error:
                outcome = _outcome(action, "failed", str(error))
                conn.execute(_UPDATE_HELD, holder | self._columns(outcome))
                self._approvals.settle(conn, action, executed=False)
                self._outbox.add(conn, action, outcome)
                self._audit.append(conn, _recorded("effect", action, outcome))
                return outcome
            written = {
                "action": action.model_dump(mode="json"),
                "payment_order": request.model_dump(mode="json"),
                "called_at": at,
            }
            conn.execute(_UPDATE_HELD, holder | written)
        return _Asked(action, effect, request, at, owner)

    def _finish(
        self,
        asked: _Asked,
        kind: Literal["effect", "reconciliation"],
        answer: Answer,
        **facts: JsonValue,
    ) -> Outcome:
        """Book what the other system did."""
        action, request = asked.action, asked.request.answered(answer.content)
        with writing(self._engine, fenced=False) as conn:
            if conn.execute(_SETTLE_HELD, asked.holder | {"looked_at": None}).rowcount != 1:
                return self._settled_elsewhere(action)
            try:
                with conn.begin_nested():
                    result = asked.effect.finish(self._books(conn, asked), request)
            except OperationFailed as error:
                problem = f"{answer.name or 'It'} is done there, and cannot be booked: {error}"
            else:
                problem = ""
                outcome = _outcome(action, "executed").model_copy(
                    update={"result": result.model_dump(mode="json")}
                )
                conn.execute(_SETTLE_HELD, asked.holder | self._columns(outcome))
                self._approvals.settle(conn, action, executed=True)
                self._outbox.add(conn, action, outcome)
                self._audit.append(
                    conn, _recorded(kind, action, outcome, done=answer.name, **facts)
                )
                self._checkpoint("before_commit")
                return outcome
        return self._leave(asked, problem)

    def _decline(
        self,
        asked: _Asked,
        kind: Literal["effect", "reconciliation"],
        reason: str,
        **facts: JsonValue,
    ) -> Outcome:
        """Give the reservation back: the other system did nothing."""
        outcome = _outcome(asked.action, "failed", reason)
        with writing(self._engine, fenced=False) as conn:
            changed = conn.execute(_SETTLE_HELD, asked.holder | self._columns(outcome))
            if changed.rowcount != 1:
                return self._settled_elsewhere(asked.action)
            asked.effect.undo(self._books(conn, asked), asked.request)
            self._approvals.settle(conn, asked.action, executed=False)
            self._outbox.add(conn, asked.action, outcome)
            self._audit.append(conn, _recorded(kind, asked.action, outcome, **facts))
        return outcome

    def _leave(
        self,
        asked: _Asked,
        found: str,
        kind: Literal["effect", "reconciliation"] = "effect",
    ) -> Outcome:
        """Say that nobody knows. The customer hears of it when it is settled."""
        outcome = _outcome(asked.action, "unknown", UNCERTAIN)
        at = self._clock.now()
        with writing(self._engine, fenced=False) as conn:
            row = conn.execute(_LOCK, _key_of(asked.action)).one_or_none()
            left = {"state": "unknown", "found": found, "lease_until": at, "looked_at": at}
            if conn.execute(_SETTLE_HELD, asked.holder | left).rowcount != 1:
                return self._settled_elsewhere(asked.action)
            if row is None or row.found != found:  # Looking in vain again is no news.
                self._audit.append(conn, _recorded(kind, asked.action, outcome, found=found))
        return outcome

    def _take_back(self, asked: _Asked) -> None:
        """Nothing left this machine: as if it had never begun, its approval included."""
        action = asked.action
        with writing(self._engine, fenced=False) as conn:
            if conn.execute(_DELETE_HELD, asked.holder).rowcount != 1:
                return
            asked.effect.undo(self._books(conn, asked), asked.request)
            self._approvals.restore(conn, action)
            outcome = _outcome(action, "failed", "Nothing was sent; it may be tried again.")
            self._audit.append(conn, _recorded("effect", action, outcome))

    def _books(self, conn: Connection, asked: _Asked) -> Any:
        """Our own books of the customer; None where the records live in the other system as well."""
        if asked.effect.look is not None:
            return None
        return self._books_for(conn, asked.action.customer)

    def _settled_elsewhere(self, action: Action) -> Outcome:
        found = self._find(action.tenant, action.operation, action.key)
        return found or _outcome(action, "unknown", UNCERTAIN)

    def _reconcile(self, action: Action, operation: Operation) -> Outcome:
        asked = self._claim(action, operation)
        return asked if isinstance(asked, Outcome) else self._look(asked)

    def _claim(self, action: Action, operation: Operation | None) -> _Asked | Outcome:
        """Become the one who may settle a row; an outcome when there is nothing to settle."""
        at = self._clock.now()
        with writing(self._engine) as conn:
            row = conn.execute(_LOCK, _key_of(action)).one_or_none()
            if row is None:
                return _outcome(action, "unknown", UNCERTAIN)
            effect = None if operation is None else operation.outside
            called_at: datetime | None = row.called_at
            settled = row.state not in ("started", "unknown")
            if settled or called_at is None or effect is None:
                return _stored(row)
            if row.lease_until > at:
                self._shorten(conn, action, row, at)
                return _stored(row)
            owner = next_owner(conn)
            conn.execute(
                _TAKE_OVER,
                _key_of(action)
                | {"owner": owner, "lease_until": at + OUTSIDE_LEASE, "state": "unknown"},
            )
            return _Asked(
                Action.model_validate(row.action),
                effect,
                _REQUEST.validate_python(row.payment_order),
                called_at,
                owner,
            )

    def _look(self, asked: _Asked) -> Outcome:
        """Settle by the other system's own books; send again only under a key it still knows."""
        system, request = self._systems.get(asked.effect.system), asked.request

        def left(found: str) -> Outcome:
            return self._leave(asked, found, "reconciliation")

        if system is None:
            return left(f"No {asked.effect.system} system is configured to look it up in.")
        try:
            found = system.find(request)
        except BackendUnavailable:
            return left("The other system cannot be reached to look it up.")
        if found.state == "done":
            answer = Answer(content=found.answer, name=found.name)
            return self._finish(asked, "reconciliation", answer, by="lookup")
        if found.state == "unclear":
            return left(found.note)
        if system.keyed(request, asked.called_at):
            try:
                answer = system.send(request, asked.action.key)
            except (NotSent, Uncertain) as error:
                return left(f"Sent again under its key, without a clear answer. {error}")
            except Declined as error:
                return self._decline(asked, "reconciliation", str(error), by="key")
            return self._finish(asked, "reconciliation", answer, by="key")
        if system.absent(request, asked.called_at):
            return self._decline(asked, "reconciliation", NOT_DONE, by="lookup")
        return left("The other system does not list it, which does not say that it never will.")

    def _settle_due(
        self, operations: Mapping[str, Operation], limit: int
    ) -> list[tuple[Action, Outcome]]:
        at = self._clock.now()
        due = (
            select(ledger.c.action)
            .where(
                _ASKED,
                ledger.c.lease_until <= at,
                or_(ledger.c.looked_at.is_(None), ledger.c.looked_at <= at - LOOK_AGAIN),
            )
            .order_by(ledger.c.looked_at, ledger.c.called_at)
            .limit(limit)
        )
        with reading(self._engine) as conn:
            waiting = [Action.model_validate(row.action) for row in conn.execute(due)]
        settled: list[tuple[Action, Outcome]] = []
        for action in waiting:
            asked = self._claim(action, operations.get(action.operation))
            if isinstance(asked, Outcome):
                continue
            outcome = self._look(asked)
            if outcome.status != "unknown":
                settled.append((action, outcome))
        return settled

    def _unsettled(self, limit: int, tenant: str | None) -> list[Unsettled]:
        open_ = (
            select(ledger)
            .where(_ASKED, ledger.c.lease_until <= self._clock.now())
            .order_by(ledger.c.called_at)
            .limit(limit)
        )
        if tenant is not None:
            open_ = open_.where(ledger.c.tenant == tenant)
        with reading(self._engine) as conn:
            return [
                Unsettled(
                    action=Action.model_validate(row.action),
                    order=_REQUEST.validate_python(row.payment_order),
                    since=row.called_at,
                    looked_at=row.looked_at,
                    found=row.found or "",
                )
                for row in conn.execute(open_)
            ]

    def _settle_by_person(
        self,
        action_id: str,
        operations: Mapping[str, Operation],
        happened: bool,
        operator: str,
        note: str,
        tenant: str | None,
    ) -> tuple[Action, Outcome]:
        asked_for = select(ledger).where(
            ledger.c.action_id == action_id, ledger.c.called_at.is_not(None)
        )
        if tenant is not None:
            asked_for = asked_for.where(ledger.c.tenant == tenant)
        with reading(self._engine) as conn:
            row = conn.execute(asked_for).one_or_none()
        if row is None:
            raise KeyError(action_id)
        action = Action.model_validate(row.action)
        asked = self._claim(action, operations.get(action.operation))
        if isinstance(asked, Outcome):
            raise Settled(asked)
        facts: dict[str, JsonValue] = {"by": "person", "operator": operator, "note": note}
        if happened:
            said = Answer(name="settled by a person")
            return action, self._finish(asked, "reconciliation", said, **facts)
        return action, self._decline(asked, "reconciliation", NOT_DONE, **facts)

    def _prune(self) -> int:
        old = and_(
            ledger.c.state.in_(("succeeded", "failed")),
            ledger.c.finished_at < self._clock.now() - self._retention,
        )
        with writing(self._engine) as conn:
            return conn.execute(delete(ledger).where(old)).rowcount

    # --- what both kinds share --------------------------------------------------------------------

    def _settle(self, action: Action) -> Outcome | None:
        """What the row says after a lost connection; None when the effect was not kept."""
        try:
            with writing(self._engine, fenced=False) as conn:
                # Waits for a commit that the server may still be working on.
                row = conn.execute(_LOCK, _key_of(action)).one_or_none()
        except BackendUnavailable:
            return _outcome(action, "unknown", UNCERTAIN)
        return None if row is None or row.state == "started" else _stored(row)

    def _release(self, action: Action, owner: str) -> None:
        """Forget a start whose effect was rolled back, so that a retry need not wait for the lease."""
        try:
            with writing(self._engine, fenced=False) as conn:
                conn.execute(_RELEASE, _key_of(action) | {"held_by": owner})
        except BackendUnavailable:
            return  # The lease does it, later.

    def _attempt(self, action: Action) -> Attempt:
        with reading(self._engine) as conn:
            row = conn.execute(_READ, _key_of(action)).one_or_none()
        return Attempt() if row is None else _attempt_after(row, action)

    def _find(self, tenant: str, operation: str, key: str) -> Outcome | None:
        named = {"of_tenant": tenant, "of_operation": operation, "of_key": key}
        with reading(self._engine) as conn:
            row = conn.execute(_READ, named).one_or_none()
        return None if row is None else _stored(row)


def _left_behind(row: Row[Any], action: Action) -> bool:
    """Whoever took the key did so holding this action, which the caller holds now: nothing of theirs can be
    written any more, and nothing was asked of another system yet."""
    return row.called_at is None and row.action_id == action.id and holds(action.id)


def _attempt_after(row: Row[Any], action: Action) -> Attempt:
    number = row.attempts + 1
    if row.action_id != action.id:
        return Attempt(number=number)  # Another action under this key: the ledger refuses it.
    if row.state in ("succeeded", "failed"):
        return Attempt(number=number, outcome=_stored(row))
    return Attempt(number=number, unknown=row.called_at is not None)


def _needs_approval(operation: Operation, verdict: Verdict) -> bool:
    # The declared class is a floor: a verdict below it does not get past the ledger.
    return (
        verdict.needs_approval
        or verdict.consequence in (Consequence.IRREVERSIBLE, Consequence.UNKNOWN)
        or Consequence.IRREVERSIBLE in (verdict.declared, operation.consequence)
    )


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


def _recorded(
    kind: Literal["effect", "reconciliation"], action: Action, outcome: Outcome, **facts: JsonValue
) -> AuditEntry:
    operator = facts.pop("operator", None)
    return AuditEntry(
        tenant=action.tenant,
        kind=kind,
        actor="signalbox" if operator is None else f"operator:{operator}",
        action=action.id,
        thread=action.thread,
        turn=action.turn,
        facts={
            "operation": action.operation,
            "key": action.key,
            "fingerprint": action.fingerprint,
            "status": outcome.status,
            "reason": outcome.reason,
            "result": outcome.result,
            **facts,
        },
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
