"""Who may act as an operator, and which sessions do not count any more."""

from __future__ import annotations

import hashlib
import secrets
from datetime import datetime, timedelta
from typing import Protocol

import sqlalchemy as sa
from sqlalchemy.exc import IntegrityError

from app.stores.database import reading, writing
from app.stores.tables import operators, revocations
from tools.values import Clock, Record, ReviewerRole, person_named


class OperatorTaken(Exception):
    """There is an operator of this name."""


class OperatorUnknown(Exception):
    """There is no operator of this name."""


class OperatorRow(Record):
    """An operator whose key was handed out by us: of the key there is a digest."""

    name: str
    role: ReviewerRole
    tenant: str | None
    digest: str
    created_at: datetime
    changed_at: datetime
    last_used_at: datetime | None = None
    revoked_at: datetime | None = None


class Revocation(Record):
    """A session that was ended, or all of a customer's that began before."""

    subject: str
    at: datetime
    until: datetime


class AccessStore(Protocol):
    """Where operators and ended sessions are kept. Synchronous: for a thread."""

    def operators(self) -> list[OperatorRow]: ...
    def add(self, name: str, role: ReviewerRole, tenant: str | None) -> str:
        """A new operator's key, said once. Raises OperatorTaken."""
        ...

    def rotate(self, name: str) -> str:
        """Another key for an operator; the old one counts no more. Raises OperatorUnknown."""
        ...

    def revoke(self, name: str) -> None:
        """Raises OperatorUnknown."""
        ...

    def used(self, name: str) -> None: ...
    def end(self, subject: str, kept: timedelta) -> None:
        """A session, or all of a customer's, counts no more; remembered for as long as it would have."""
        ...

    def ended(self) -> list[Revocation]: ...


def new_key() -> str:
    return f"sbk_{secrets.token_urlsafe(24)}"


def digest_of(key: str) -> str:
    # A key is 192 random bits: a slow hash would protect nothing that a fast one does not.
    return hashlib.sha256(key.encode()).hexdigest()


class SqlAccess:
    """Kept in the desk's own database, for all replicas."""

    def __init__(self, engine: sa.Engine, clock: Clock | None = None) -> None:
        self._engine, self._clock = engine, clock or Clock()

    def operators(self) -> list[OperatorRow]:
        with reading(self._engine) as connection:
            rows = connection.execute(sa.select(operators).order_by(operators.c.name))
            return [OperatorRow(**row) for row in rows.mappings()]

    def add(self, name: str, role: ReviewerRole, tenant: str | None) -> str:
        key, now = new_key(), self._clock.now()
        person = person_named(name)
        if any(person_named(each.name) == person for each in self.operators()):
            raise OperatorTaken
        try:
            with writing(self._engine) as connection:
                connection.execute(
                    sa.insert(operators).values(
                        name=name,
                        role=role,
                        tenant=tenant,
                        digest=digest_of(key),
                        created_at=now,
                        changed_at=now,
                    )
                )
        except IntegrityError:
            raise OperatorTaken from None
        return key

    def rotate(self, name: str) -> str:
        key = new_key()
        self._change(name, digest=digest_of(key), changed_at=self._clock.now(), revoked_at=None)
        return key

    def revoke(self, name: str) -> None:
        self._change(name, revoked_at=self._clock.now(), changed_at=self._clock.now())

    def used(self, name: str) -> None:
        with writing(self._engine) as connection:
            connection.execute(
                sa.update(operators)
                .where(operators.c.name == name)
                .values(last_used_at=self._clock.now())
            )

    def _change(self, name: str, **values: object) -> None:
        with writing(self._engine) as connection:
            done = connection.execute(
                sa.update(operators).where(operators.c.name == name).values(**values)
            )
        if not done.rowcount:
            raise OperatorUnknown

    def end(self, subject: str, kept: timedelta) -> None:
        now = self._clock.now()
        with writing(self._engine) as connection:
            connection.execute(sa.delete(revocations).where(revocations.c.until < now))
            connection.execute(sa.delete(revocations).where(revocations.c.subject == subject))
            connection.execute(
                sa.insert(revocations).values(subject=subject, at=now, until=now + kept)
            )

    def prune(self) -> int:
        """Forget ended sessions that would be over by now; the number of rows that went."""
        with writing(self._engine) as connection:
            over = revocations.c.until < self._clock.now()
            return connection.execute(sa.delete(revocations).where(over)).rowcount

    def ended(self) -> list[Revocation]:
        with reading(self._engine) as connection:
            rows = connection.execute(
                sa.select(revocations).where(revocations.c.until >= self._clock.now())
            )
            return [Revocation(**row) for row in rows.mappings()]


class MemoryAccess:
    """The same in memory, for a desk without a database."""

    def __init__(self, clock: Clock | None = None) -> None:
        self._clock = clock or Clock()
        self._operators: dict[str, OperatorRow] = {}
        self._ended: dict[str, Revocation] = {}

    def operators(self) -> list[OperatorRow]:
        return list(self._operators.values())

    def add(self, name: str, role: ReviewerRole, tenant: str | None) -> str:
        if any(person_named(each) == person_named(name) for each in self._operators):
            raise OperatorTaken
        key, now = new_key(), self._clock.now()
        self._operators[name] = OperatorRow(
            name=name,
            role=role,
            tenant=tenant,
            digest=digest_of(key),
            created_at=now,
            changed_at=now,
        )
        return key

    def rotate(self, name: str) -> str:
        key = new_key()
        self._change(name, digest=digest_of(key), revoked_at=None)
        return key

    def revoke(self, name: str) -> None:
        self._change(name, revoked_at=self._clock.now())

    def used(self, name: str) -> None:
        self._change(name, last_used_at=self._clock.now())

    def _change(self, name: str, **values: object) -> None:
        if name not in self._operators:
            raise OperatorUnknown
        self._operators[name] = self._operators[name].model_copy(update=values)

    def end(self, subject: str, kept: timedelta) -> None:
        now = self._clock.now()
        self._ended[subject] = Revocation(subject=subject, at=now, until=now + kept)

    def ended(self) -> list[Revocation]:
        return [each for each in self._ended.values() if each.until >= self._clock.now()]
