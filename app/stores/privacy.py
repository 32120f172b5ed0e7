"""What is kept of one customer's words, table by table: to hand it out, and to erase it.

Every table that can hold words is named here; `docs/security.md` has the same as a list for people."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from pydantic import JsonValue
from sqlalchemy import ColumnElement, Engine, Table, and_, delete, exists, or_, select, update
from sqlalchemy.engine import Connection

from app.stores.audit import AuditRow, SqlAudit
from app.stores.database import reading, scrub, writing
from app.stores.tables import (
    approvals,
    audit,
    cached_answers,
    decisions,
    erasures,
    insert_if_absent,
    ledger,
    outbox,
    ratings,
    requests,
    reviews,
    spending,
    thread_notes,
    threads,
    traces,
    turns,
    usage_calls,
    usage_turns,
    votes,
)
from tools.values import Clock, Record

#: A database takes so many values in one question at least.
_MANY = 400
#: After how long an erasure that nobody finished is taken up by somebody else.
RESUME = timedelta(minutes=2)


class Open(Record):
    """Something of a customer's that has to come to its end before their words can go."""

    kind: str  #: ``unsettled``, ``approval`` or ``delivery``.
    action: str
    operation: str
    todo: str  #: What to do about it.


class StillOpen(Exception):
    """Something of this customer's is under way; nothing was erased."""

    def __init__(self, items: Sequence[Open]) -> None:
        super().__init__(self.__doc__)
        self.items = tuple(items)


class Erasure(Record):
    """A request to erase a customer's words, and how far it has come."""

    tenant: str
    customer: str
    begun_at: datetime
    begun_by: str
    finished_at: datetime | None = None


class SqlPrivacy:
    """One customer's rows in every table; each step commits as a whole and can be repeated."""

    def __init__(
        self, engine: Engine, clock: Clock | None = None, *, audit: SqlAudit | None = None
    ) -> None:
        self._engine = engine
        self._clock = clock or Clock()
        self._audit = audit or SqlAudit(engine, self._clock)

    # --- what is there ------------------------------------------------------------------------------

    def open(self, tenant: str, customer: str) -> list[Open]:
        """What has to be settled first."""
        with reading(self._engine) as conn:
            return self._open(conn, tenant, customer)

    def threads(self, tenant: str, customer: str, begun: datetime) -> list[str]:
        """The conversations with words of this customer's, but those begun since; also such as only other tables
        know of."""
        mine = and_(threads.c.tenant == tenant, threads.c.customer_id == customer)
        later = and_(threads.c.created_at > begun, mine)
        elsewhere = or_(threads.c.tenant != tenant, threads.c.customer_id != customer)
        with reading(self._engine) as conn:
            found = {
                *conn.scalars(select(threads.c.id).where(mine)),
                *self._named(conn, tenant, customer),
            }
            kept = {*conn.scalars(select(threads.c.id).where(later))}
            for some in _parts(sorted(found)):
                others = select(threads.c.id).where(threads.c.id.in_(some), elsewhere)
                kept |= {*conn.scalars(others)}
        return sorted(found - kept - {""})

    def actions(self, thread: str) -> list[str]:
        """The actions asked for in a conversation, whose graphs have checkpoints of their own."""
        with reading(self._engine) as conn:
            found = {*conn.scalars(select(outbox.c.action_id).where(outbox.c.thread == thread))}
            found |= {*conn.scalars(select(audit.c.action).where(audit.c.thread == thread))}
            asked = select(approvals.c.action_id, approvals.c.action)
            owner = select(threads.c.customer_id).where(threads.c.id == thread).scalar_subquery()
            for row in conn.execute(asked.where(approvals.c.customer_id == owner)):
                if row.action["thread"] == thread:
                    found.add(row.action_id)
        return sorted(found - {""})

    def may_go(self, among: Sequence[str]) -> dict[str, str]:
        """Of these conversations, those that a retention may take, each with its tenant: nobody has them, and nothing
        of theirs is under way."""
        asked = approvals.c
        with reading(self._engine) as conn:
            waits = select(asked.action).where(
                or_(
                    asked.status.in_(("pending", "approved", "started")),
                    asked.successor.is_not(None),
                )
            )
            busy = {str(action["thread"]) for action in conn.scalars(waits)}
            untold = select(outbox.c.thread).where(outbox.c.delivered_at.is_(None))
            busy |= {*conn.scalars(untold)}
            found = dict[str, str]()
            for some in _parts(among):
                free = and_(threads.c.id.in_(some), threads.c.handed_off.is_(False))
                rows = conn.execute(select(threads.c.id, threads.c.tenant).where(free))
                found |= {row.id: row.tenant for row in rows if row.id not in busy}
        return found

    def never_begun(self, before: datetime, limit: int) -> list[str]:
        """Conversations that were opened before then, and nothing was said in them."""
        empty = and_(threads.c.created_at < before, threads.c.title == "")
        played = exists().where(decisions.c.thread == threads.c.id)
        with reading(self._engine) as conn:
            return [*conn.scalars(select(threads.c.id).where(empty, ~played).limit(limit))]

    def waiting(self) -> set[str]:
        """Actions whose graphs are still needed: somebody is asked, or was and it is not done."""
        asked = approvals.c
        open_ = or_(
            asked.status.in_(("pending", "approved", "started")), asked.successor.is_not(None)
        )
        unsettled = ledger.c.state.in_(("started", "unknown"))
        with reading(self._engine) as conn:
            found = {*conn.scalars(select(asked.action_id).where(open_))}
            return found | {*conn.scalars(select(ledger.c.action_id).where(unsettled))}

    def rows(self, tenant: str, customer: str, of: Sequence[str]) -> dict[str, Any]:
        """Every row of theirs, by kind; ``of``: their conversations."""
        with reading(self._engine) as conn:
            theirs = {
                "conversations": self._all(conn, threads, threads.c.id.in_, of),
                "notes": self._all(conn, thread_notes, thread_notes.c.thread.in_, of),
                "decisions": self._all(conn, decisions, decisions.c.thread.in_, of),
                "reviews": self._all(conn, reviews, reviews.c.thread.in_, of),
                "ratings": self._mine(conn, ratings, tenant, customer),
                "actions": self._mine(conn, ledger, tenant, customer),
                "approvals": self._mine(conn, approvals, tenant, customer),
                "requests": self._mine(conn, requests, tenant, customer),
                "deliveries": self._mine(conn, outbox, tenant, customer),
                "replies": self._mine(conn, turns, tenant, customer),
                "usage": self._mine(conn, usage_turns, tenant, customer),
                "model calls": self._all(conn, usage_calls, usage_calls.c.thread.in_, of),
                "spending": self._mine(conn, spending, tenant, customer),
            }
            asked = [row["action_id"] for row in theirs["approvals"]]
            theirs["votes"] = self._all(conn, votes, votes.c.action_id.in_, asked)
            played = sorted({row["turn"] for row in theirs["decisions"]})
            theirs["traces"] = self._all(conn, traces, traces.c.turn.in_, played)
            recorded = select(audit).where(audit.c.tenant == tenant, self._recorded(customer, of))
            theirs["audit"] = [
                {**row.model_dump(exclude={"facts", "words"}), "facts": row.told}
                for row in (
                    AuditRow.model_validate(dict(each))
                    for each in conn.execute(recorded.order_by(audit.c.seq)).mappings()
                )
            ]
            asked_for = self._mine(conn, erasures, tenant, customer)
        for row in theirs["decisions"]:
            row.pop("sketch")
        return {**theirs, "erasures": asked_for}

    # --- erasing ------------------------------------------------------------------------------------

    def begin(self, tenant: str, customer: str, by: str) -> Erasure:
        """Write down that it was asked for, so that it is finished whoever dies. Raises StillOpen."""
        at = self._clock.now()
        asked = {"begun_at": at, "begun_by": by, "due_at": at + RESUME, "finished_at": None}
        with writing(self._engine, durable=True) as conn:
            if items := self._open(conn, tenant, customer):
                raise StillOpen(items)
            key = {"tenant": tenant, "customer_id": customer}
            if not insert_if_absent(conn, erasures, key | asked):
                conn.execute(update(erasures).where(_of(tenant, customer)).values(asked))
        return Erasure(tenant=tenant, customer=customer, begun_at=at, begun_by=by)

    def find(self, tenant: str, customer: str) -> Erasure | None:
        """The last one that was asked for."""
        with reading(self._engine) as conn:
            row = conn.execute(select(erasures).where(_of(tenant, customer))).first()
        return None if row is None else _erasure(row)

    def due(self) -> list[Erasure]:
        """Take up what nobody finishes; another process that asks now gets none of it."""
        at = self._clock.now()
        left = and_(erasures.c.finished_at.is_(None), erasures.c.due_at <= at)
        with reading(self._engine) as conn:
            if conn.execute(select(erasures.c.tenant).where(left).limit(1)).first() is None:
                return []
        with writing(self._engine) as conn:
            again = update(erasures).where(left).values(due_at=at + RESUME).returning(*erasures.c)
            return [_erasure(row) for row in conn.execute(again)]

    def last(self) -> datetime | None:
        """When an erasure was finished last."""
        newest = select(erasures.c.finished_at).where(erasures.c.finished_at.is_not(None))
        with reading(self._engine) as conn:
            return conn.execute(newest.order_by(erasures.c.finished_at.desc()).limit(1)).scalar()

    def forget_thread(self, thread: str, *, tenant: str, actor: str, why: str) -> Counter[str]:
        """One conversation, in one transaction; its checkpoints went before. Raises StillOpen.

        The caller holds the thread: whoever played on it is over, and whoever waits for it finds it gone."""
        gone = Counter[str]()
        with writing(self._engine, durable=True) as conn:
            told = outbox.c.delivered_at.is_(None)
            waits = select(outbox).where(outbox.c.thread == thread, told)
            if rows := conn.execute(waits).all():
                raise StillOpen([_delivery(row) for row in rows])
            played = [
                *conn.scalars(
                    select(decisions.c.turn).where(decisions.c.thread == thread).distinct()
                )
            ]
            for some in _parts(played):
                gone["traces"] += conn.execute(
                    delete(traces).where(traces.c.turn.in_(some))
                ).rowcount
                sampled = and_(reviews.c.thread.is_(None), reviews.c.turn.in_(some))
                gone["reviews"] += conn.execute(delete(reviews).where(sampled)).rowcount
            for name, table, which in (
                ("reviews", reviews, reviews.c.thread == thread),
                ("decisions", decisions, decisions.c.thread == thread),
                ("ratings", ratings, ratings.c.thread == thread),
                ("notes", thread_notes, thread_notes.c.thread == thread),
                ("requests", requests, requests.c.thread == thread),
                ("usage", usage_turns, usage_turns.c.thread == thread),
                ("model calls", usage_calls, usage_calls.c.thread == thread),
                ("deliveries", outbox, outbox.c.thread == thread),
                ("conversations", threads, threads.c.id == thread),
            ):
                gone[name] += conn.execute(delete(table).where(which)).rowcount
            gone["audit rows"] += self._audit.erase(
                conn, tenant, audit.c.thread == thread, actor=actor, why=why
            )
        return +gone

    def finish(
        self, erasure: Erasure, forget: Callable[[Connection, str, str], int]
    ) -> Counter[str]:
        """What belongs to the customer and to no conversation, in one transaction. Raises StillOpen.

        ``forget``: the business's own books, on the same connection. An action's key and fingerprint stay as long as
        they would have, so that no repeated request has a second effect."""
        tenant, customer = erasure.tenant, erasure.customer
        gone = Counter[str]()
        with writing(self._engine, durable=True) as conn:
            if items := self._open(conn, tenant, customer):
                raise StillOpen(items)
            actions = select(approvals.c.action_id).where(_owned(approvals, tenant, customer))
            gone["votes"] += conn.execute(
                delete(votes).where(votes.c.action_id.in_(actions))
            ).rowcount
            for name, table, which in (
                ("approvals", approvals, ()),
                ("requests", requests, ()),
                ("deliveries", outbox, ()),
                ("ratings", ratings, ()),
                ("usage", usage_turns, ()),
                ("spending", spending, ()),
                ("replies", turns, (turns.c.finished_at.is_not(None),)),
            ):
                mine = and_(_owned(table, tenant, customer), *which)
                gone[name] += conn.execute(delete(table).where(mine)).rowcount
            mine = _owned(ledger, tenant, customer)
            # Nothing was kept of it: its process died, and nobody else was asked.
            conn.execute(delete(ledger).where(mine, ledger.c.state == "started"))
            blank = {
                "arguments": "{}", "label": "", "result": None, "error": None, "action": None,
                "payment_order": None, "found": None,
            }  # fmt: skip
            worded = or_(
                ledger.c.arguments != "{}", ledger.c.label != "", ledger.c.action.is_not(None)
            )
            gone["actions"] += conn.execute(
                update(ledger).where(mine, worded).values(blank)
            ).rowcount
            # Whose question it was nobody knows; what was withdrawn stays so by its digests.
            cached = cached_answers.c.withdrawn_at
            gone["cached answers"] += conn.execute(
                delete(cached_answers).where(cached_answers.c.tenant == tenant, cached.is_(None))
            ).rowcount
            conn.execute(
                update(cached_answers)
                .where(cached_answers.c.tenant == tenant, cached_answers.c.question != "")
                .values(question="", text="")
            )
            gone["tickets"] += forget(conn, tenant, customer)
            by = f"operator:{erasure.begun_by}"
            gone["audit rows"] += self._audit.erase(
                conn, tenant, self._recorded(customer, ()), actor=by, why="asked for"
            )
            conn.execute(
                update(erasures)
                .where(_of(tenant, customer), erasures.c.finished_at.is_(None))
                .values(finished_at=self._clock.now())
            )
        return +gone

    def scrub(self) -> None:
        """Leave nothing of what was deleted in the file's log."""
        scrub(self._engine)

    # --- inside -------------------------------------------------------------------------------------

    def _open(self, conn: Connection, tenant: str, customer: str) -> list[Open]:
        at = self._clock.now()
        # Begun and left by a dead process in our own books: there is no effect, and nobody was asked for one.
        dead = and_(
            ledger.c.state == "started", ledger.c.called_at.is_(None), ledger.c.lease_until <= at
        )
        unsettled = select(ledger).where(
            _owned(ledger, tenant, customer), ledger.c.state.in_(("started", "unknown")), ~dead
        )
        asked = approvals.c
        waiting = select(approvals).where(
            _owned(approvals, tenant, customer),
            or_(
                and_(asked.status.in_(("pending", "approved")), asked.expires_at > at),
                asked.status == "started",
                asked.successor.is_not(None),
            ),
        )
        untold = select(outbox).where(
            _owned(outbox, tenant, customer), outbox.c.delivered_at.is_(None)
        )
        return [
            *(
                Open(
                    kind="unsettled",
                    action=row.action_id,
                    operation=row.operation,
                    todo="wait until it is settled, or settle it at the desk (POST /v1/unsettled/ACTION)",
                )
                for row in conn.execute(unsettled)
            ),
            *(
                Open(
                    kind="approval",
                    action=row.action_id,
                    operation=row.operation,
                    todo="approve or reject it at the desk (POST /v1/approvals/ACTION)"
                    if row.status == "pending"
                    else "it was decided and is being carried out: try again in a minute",
                )
                for row in conn.execute(waiting)
            ),
            *(_delivery(row) for row in conn.execute(untold)),
        ]

    def _named(self, conn: Connection, tenant: str, customer: str) -> set[str]:
        """Conversations that other tables know of, whose own row may be gone."""
        found = set[str]()
        for table in (outbox, requests, ratings, usage_turns):
            found |= {*conn.scalars(select(table.c.thread).where(_owned(table, tenant, customer)))}
        said = and_(audit.c.tenant == tenant, audit.c.actor == f"customer:{customer}")
        found |= {*conn.scalars(select(audit.c.thread).where(said).distinct())}
        asked = select(approvals.c.action).where(_owned(approvals, tenant, customer))
        found |= {str(action["thread"]) for action in conn.scalars(asked)}
        return found

    def _recorded(self, customer: str, of: Sequence[str]) -> ColumnElement[bool]:
        return or_(audit.c.actor == f"customer:{customer}", audit.c.thread.in_(of))

    def _mine(
        self, conn: Connection, table: Table, tenant: str, customer: str
    ) -> list[dict[str, Any]]:
        return _plain(conn, table, _owned(table, tenant, customer))

    def _all(
        self,
        conn: Connection,
        table: Table,
        among: Callable[[Sequence[str]], ColumnElement[bool]],
        names: Sequence[str],
    ) -> list[dict[str, Any]]:
        return [row for some in _parts(names) for row in _plain(conn, table, among(some))]


#: How a lease is held is nobody's business.
_INNER = ("owner", "lease_until", "claim", "due_at", "tenant", "customer_id")


def _plain(conn: Connection, table: Table, which: ColumnElement[bool]) -> list[dict[str, Any]]:
    rows = conn.execute(select(table).where(which)).mappings()
    return [{name: _read(name, row[name]) for name in row if name not in _INNER} for row in rows]


def _read(name: str, value: Any) -> Any:
    return json.loads(value) if name == "arguments" and isinstance(value, str) else value


def _owned(table: Table, tenant: str, customer: str) -> ColumnElement[bool]:
    return and_(table.c.tenant == tenant, table.c.customer_id == customer)


def _of(tenant: str, customer: str) -> ColumnElement[bool]:
    return _owned(erasures, tenant, customer)


def _parts(names: Sequence[str]) -> list[Sequence[str]]:
    return [names[start : start + _MANY] for start in range(0, len(names), _MANY)]


def _delivery(row: Any) -> Open:
    outcome: Mapping[str, JsonValue] = row.outcome
    return Open(
        kind="delivery",
        action=row.action_id,
        operation=str(outcome.get("operation", "")),
        todo="its outcome is on its way to the customer: try again in a minute",
    )


def _erasure(row: Any) -> Erasure:
    return Erasure(
        tenant=row.tenant,
        customer=row.customer_id,
        begun_at=row.begun_at,
        begun_by=row.begun_by,
        finished_at=row.finished_at,
    )
