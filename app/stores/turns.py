"""Chat turns that a client may send twice, and the threads they belong to."""

from __future__ import annotations

import asyncio
import uuid
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

from pydantic import JsonValue
from sqlalchemy import Column, ColumnElement, Engine, Row, and_, delete, insert, or_, select, update

from app.stores.audit import SqlAudit
from app.stores.database import reading, writing
from app.stores.fences import next_owner
from app.stores.tables import insert_if_absent, is_kept, thread_notes, threads, turns
from tools.values import AuditEntry, Clock, Record


@dataclass(frozen=True)
class Fresh:
    """The key is new (or its turn died): play the turn, then finish or abandon it with this."""

    tenant: str
    customer: str
    key: str
    owner: str


@dataclass(frozen=True)
class Replay:
    """The turn was played before; this is what it answered."""

    response: JsonValue


@dataclass(frozen=True)
class InFlight:
    """The turn is being played right now."""


@dataclass(frozen=True)
class Conflict:
    """The key was used for another message."""


class SqlTurns:
    """Idempotent turns by the client's key; whoever plays one renews its lease."""

    def __init__(
        self,
        engine: Engine,
        clock: Clock | None = None,
        *,
        lease: timedelta = timedelta(seconds=15),
        retention: timedelta = timedelta(days=1),
    ) -> None:
        self._engine = engine
        self._clock = clock or Clock()
        self._lease = lease
        self._retention = retention

    async def begin(
        self, tenant: str, customer: str, key: str, fingerprint: str
    ) -> Fresh | Replay | InFlight | Conflict:
        """Take the key, or say why there is nothing to play."""
        return await asyncio.to_thread(self._begin, tenant, customer, key, fingerprint)

    async def finish(self, turn: Fresh, response: JsonValue) -> bool:
        """Store the answer; False when another process had taken the turn over."""
        return await asyncio.to_thread(self._finish, turn, response)

    async def renew(self, turn: Fresh) -> bool:
        """Extend the lease of a long turn; False when another process had taken it over."""
        return await asyncio.to_thread(self._renew, turn)

    async def abandon(self, turn: Fresh) -> None:
        """Give the key back unanswered, so that a retry plays the turn anew."""
        await asyncio.to_thread(self._abandon, turn)

    async def prune(self) -> int:
        """Forget keys older than the retention; the number of rows that went."""
        return await asyncio.to_thread(self._prune)

    def _begin(
        self, tenant: str, customer: str, key: str, fingerprint: str
    ) -> Fresh | Replay | InFlight | Conflict:
        at = self._clock.now()
        until = at + self._lease
        with writing(self._engine, fenced=False) as conn:
            turn = Fresh(tenant, customer, key, next_owner(conn))
            new = insert_if_absent(
                conn,
                turns,
                {
                    "tenant": tenant,
                    "customer_id": customer,
                    "key": key,
                    "fingerprint": fingerprint,
                    "created_at": at,
                    "owner": turn.owner,
                    "lease_until": until,
                },
            )
            if new:
                return turn
            row = conn.execute(select(turns).where(_keyed(turn)).with_for_update()).one_or_none()
            if row is None:  # Abandoned between the insert and the read.
                return InFlight()
            if row.fingerprint != fingerprint:
                return Conflict()
            if row.finished_at is not None:
                return Replay(row.response)
            if row.lease_until > at:
                if row.lease_until > until:
                    # A clock that was ahead wrote it; nobody waits longer than for a lease of now.
                    conn.execute(update(turns).where(_keyed(turn)).values(lease_until=until))
                return InFlight()
            turn = replace(
                turn, owner=next_owner(conn)
            )  # Drawn behind the row's lock, so it is greater.
            conn.execute(
                update(turns).where(_keyed(turn)).values(owner=turn.owner, lease_until=until)
            )
        return turn

    def _finish(self, turn: Fresh, response: JsonValue) -> bool:
        with writing(self._engine) as conn:
            done = (
                update(turns)
                .where(_held(turn))
                .values(response=response, finished_at=self._clock.now())
            )
            return conn.execute(done).rowcount == 1

    def _renew(self, turn: Fresh) -> bool:
        with writing(self._engine, fenced=False) as conn:
            longer = (
                update(turns).where(_held(turn)).values(lease_until=self._clock.now() + self._lease)
            )
            return conn.execute(longer).rowcount == 1

    def _abandon(self, turn: Fresh) -> None:
        with writing(self._engine, fenced=False) as conn:
            conn.execute(delete(turns).where(_held(turn)))

    def _prune(self) -> int:
        with writing(self._engine) as conn:
            old = turns.c.created_at < self._clock.now() - self._retention
            return conn.execute(delete(turns).where(old)).rowcount


class Thread(Record):
    """A conversation and whose it is."""

    id: str
    tenant: str
    customer: str
    created_at: datetime
    title: str
    handed_off: bool
    handed_off_at: datetime | None = None  #: Since when it waits for a person, or did last.
    claimed_by: str | None = None  #: The operator who has taken it.


class Note(Record):
    """What an operator wrote down about a thread, for the others."""

    id: str
    thread: str
    at: datetime
    author: str
    text: str


class SqlThreads:
    """Threads; every one belongs to exactly one customer."""

    def __init__(
        self, engine: Engine, clock: Clock | None = None, *, audit: SqlAudit | None = None
    ) -> None:
        self._engine = engine
        self._clock = clock or Clock()
        self._audit = audit or SqlAudit(engine, self._clock)

    async def create(
        self, tenant: str, customer: str, title: str = "", *, id: str | None = None
    ) -> Thread:
        """Open a thread under an id nobody can guess, or under a given one if it is not there yet."""
        thread = Thread(
            id=id or f"th_{uuid.uuid4().hex}",
            tenant=tenant,
            customer=customer,
            created_at=self._clock.now(),
            title=title,
            handed_off=False,
        )
        await asyncio.to_thread(self._create, thread)
        return thread

    async def owner(self, thread: str, tenant: str, customer: str) -> Thread | None:
        """The thread if it is this customer's; None for anybody else's, as for one that is not there."""
        return await asyncio.to_thread(self._owner, thread, tenant, customer)

    async def find(self, thread: str) -> Thread | None:
        """The thread, whoever owns it: for operators and for the outbox."""
        return await asyncio.to_thread(self._one, threads.c.id == thread)

    async def list_for_customer(
        self, tenant: str, customer: str, limit: int = 50, before: datetime | None = None
    ) -> list[Thread]:
        """The customer's threads, newest first; ``before`` is the last ``created_at`` already seen."""
        wanted = and_(threads.c.tenant == tenant, threads.c.customer_id == customer)
        if before is not None:
            wanted = and_(wanted, threads.c.created_at < before)
        return await asyncio.to_thread(self._many, wanted, limit)

    async def list_handed_off(self, limit: int = 50, *, tenant: str | None = None) -> list[Thread]:
        """Threads a person is asked to take over; who waits longest comes first."""
        wanted = threads.c.handed_off.is_(True)
        if tenant is not None:
            wanted = and_(wanted, threads.c.tenant == tenant)
        return await asyncio.to_thread(self._many, wanted, limit, threads.c.handed_off_at)

    async def claim(
        self, thread: str, operator: str | None, *, over: bool = False
    ) -> Thread | None:
        """Take a handed-off thread, or with no name leave it to the others; ``over`` somebody else's claim too.

        The thread as it is afterwards: whose it is says whether it was taken. None: nobody waits there."""
        return await asyncio.to_thread(self._claim, thread, operator, over)

    async def note(self, thread: Thread, author: str, text: str) -> Note:
        """Write something down about a thread."""
        note = Note(
            id=uuid.uuid4().hex,
            thread=thread.id,
            at=self._clock.now(),
            author=author,
            text=text,
        )
        await asyncio.to_thread(self._write_note, thread.tenant, note)
        return note

    async def notes(self, thread: str) -> list[Note]:
        """What was written down about a thread, oldest first."""
        return await asyncio.to_thread(self._notes, thread)

    async def set_handed_off(
        self, thread: str, handed_off: bool, *, actor: str = "signalbox"
    ) -> bool:
        """Give the thread to a person or back; False when it already was so, or is not there."""
        return await asyncio.to_thread(self._hand_off, thread, handed_off, actor)

    async def set_title(self, thread: str, title: str) -> bool:
        """Name the thread; False when it is not there."""
        return await asyncio.to_thread(self._change, threads.c.id == thread, {"title": title})

    def _create(self, thread: Thread) -> None:
        row = thread.model_dump(exclude={"customer"}) | {"customer_id": thread.customer}
        with writing(self._engine) as conn:
            insert_if_absent(conn, threads, row)

    def _owner(self, thread: str, tenant: str, customer: str) -> Thread | None:
        return self._one(
            and_(
                threads.c.id == thread,
                threads.c.tenant == tenant,
                threads.c.customer_id == customer,
            )
        )

    def _one(self, wanted: ColumnElement[bool]) -> Thread | None:
        found = self._many(wanted, 1)
        return found[0] if found else None

    def _many(
        self, wanted: ColumnElement[bool], limit: int, oldest: Column[Any] | None = None
    ) -> list[Thread]:
        order = threads.c.created_at.desc() if oldest is None else oldest
        page = select(threads).where(wanted).order_by(order, threads.c.id).limit(limit)
        with reading(self._engine) as conn:
            return [_thread(row) for row in conn.execute(page)]

    def _hand_off(self, thread: str, handed_off: bool, actor: str) -> bool:
        change = (
            update(threads)
            .where(threads.c.id == thread, threads.c.handed_off.is_(not handed_off))
            .values(
                {"handed_off": handed_off, "claimed_by": None}
                | ({"handed_off_at": self._clock.now()} if handed_off else {})
            )
            .returning(threads.c.tenant, threads.c.customer_id)
        )
        with writing(self._engine) as conn:
            row = conn.execute(change).one_or_none()
            if row is None:
                return False
            self._audit.append(
                conn,
                AuditEntry(
                    tenant=row.tenant,
                    kind="hand_off" if handed_off else "release",
                    actor=actor,
                    thread=thread,
                    facts={"customer": row.customer_id},
                ),
            )
            return True

    def _claim(self, thread: str, operator: str | None, over: bool) -> Thread | None:
        free = or_(threads.c.claimed_by.is_(None), threads.c.claimed_by == operator)
        mine = [threads.c.id == thread, threads.c.handed_off.is_(True)]
        if operator is not None and not over:
            mine.append(free)
        with writing(self._engine) as conn:
            conn.execute(update(threads).where(*mine).values(claimed_by=operator))
        found = self._one(threads.c.id == thread)
        return found if found is not None and found.handed_off else None

    def _write_note(self, tenant: str, note: Note) -> None:
        with writing(self._engine) as conn:
            if not is_kept(conn, note.thread):
                return  # It was erased a moment ago.
            conn.execute(insert(thread_notes).values(tenant=tenant, **note.model_dump()))

    def _notes(self, thread: str) -> list[Note]:
        of_thread = select(thread_notes).where(thread_notes.c.thread == thread)
        with reading(self._engine) as conn:
            rows = conn.execute(of_thread.order_by(thread_notes.c.at)).mappings().all()
        return [
            Note.model_validate({k: v for k, v in row.items() if k != "tenant"}) for row in rows
        ]

    def _change(self, which: ColumnElement[bool], values: dict[str, Any]) -> bool:
        with writing(self._engine) as conn:
            return conn.execute(update(threads).where(which).values(**values)).rowcount == 1


def _keyed(turn: Fresh) -> ColumnElement[bool]:
    return and_(
        turns.c.tenant == turn.tenant,
        turns.c.customer_id == turn.customer,
        turns.c.key == turn.key,
    )


def _held(turn: Fresh) -> ColumnElement[bool]:
    return and_(_keyed(turn), turns.c.owner == turn.owner, turns.c.finished_at.is_(None))


def _thread(row: Row[Any]) -> Thread:
    return Thread(
        id=row.id,
        tenant=row.tenant,
        customer=row.customer_id,
        created_at=row.created_at,
        title=row.title,
        handed_off=row.handed_off,
        handed_off_at=row.handed_off_at,
        claimed_by=row.claimed_by,
    )
