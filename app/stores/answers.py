"""The answers that are given again, for people to look at, and those that people withdrew, for every replica.

An answer itself is kept in the process that wrote it; here is what is known of it, and whether it may be said."""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections.abc import Callable, Iterable, Sequence
from datetime import datetime, timedelta
from typing import Any, cast

from sqlalchemy import Engine, Row, and_, delete, or_, select, update

from app.stores.audit import SqlAudit
from app.stores.database import reading, writing
from app.stores.tables import cached_answers, insert_if_absent
from tools.privacy import mask_pii
from tools.values import AuditEntry, Clock, Record

#: So many answers are shown, those served most first.
SHOWN = 200
#: Days until an answer that nobody withdrew is forgotten: it was for its own day.
_DAYS = 1


class AnswerNotFound(Exception):
    """There is no cached answer with this id."""


class Source(Record):
    """An article that an answer was written from."""

    source: str
    title: str


class CachedAnswer(Record):
    """An answer that is given again to whoever asks the same, as an operator sees it."""

    id: str
    tenant: str
    question: str
    text: str
    language: str
    sources: tuple[Source, ...]
    made_at: datetime
    served: int  #: How often it was given again.
    served_at: datetime | None
    withdrawn_at: datetime | None
    withdrawn_by: str | None
    holds: bool = True  #: Of one that was withdrawn: its articles are still what they were.


class SqlAnswers:
    """What replicas remember of answers, and what none of them may say again until its articles change."""

    def __init__(
        self,
        engine: Engine,
        clock: Clock | None = None,
        *,
        standing: Callable[[Sequence[str]], str] | None = None,
        audit: SqlAudit | None = None,
    ) -> None:
        """``standing``: a digest of what these articles say now; without it they are what they were."""
        self._engine = engine
        self._clock = clock or Clock()
        self._standing = standing
        self._audit = audit or SqlAudit(engine, self._clock)

    async def keep(
        self, id: str, scope: Sequence[str], question: str, text: str, sources: Iterable[Source]
    ) -> bool:
        """Write down an answer that is about to be kept; False: it was withdrawn, and is not to be kept."""
        return await asyncio.to_thread(self._keep, id, scope, question, text, tuple(sources))

    async def serve(self, id: str, tenant: str, questions: Sequence[str], text: str) -> bool:
        """Count that an answer is given again; False: it was withdrawn, and is not to be given."""
        return await asyncio.to_thread(self._serve, id, tenant, questions, text)

    async def list(self, *, tenant: str | None = None, limit: int = SHOWN) -> list[CachedAnswer]:
        """Today's answers, those served most first, and those that were withdrawn."""
        return await asyncio.to_thread(self._list, tenant, limit)

    async def withdraw(self, id: str, operator: str, *, tenant: str | None = None) -> CachedAnswer:
        """Let an answer be given no more. Raises AnswerNotFound; a second time changes nothing."""
        return await asyncio.to_thread(self._withdraw, id, operator, tenant)

    async def prune(self) -> int:
        """Forget answers of days that are over, and withdrawals whose articles have changed."""
        return await asyncio.to_thread(self._prune)

    # --- inside -----------------------------------------------------------------------------------

    def _keep(
        self,
        id: str,
        scope: Sequence[str],
        question: str,
        text: str,
        sources: tuple[Source, ...],
    ) -> bool:
        tenant, language = scope[0], scope[2] if len(scope) > 2 else ""
        # Whoever asked may be erased meanwhile; nothing here is theirs.
        with writing(self._engine, fenced=False) as conn:
            if self._withdrawn(conn, tenant, [question], text):
                return False
            row = {
                "id": id,
                "tenant": tenant,
                "wording": digest_of(question),
                "said": digest_of(text),
                "question": mask_pii(question),
                "text": text,
                "language": language,
                "sources": [each.model_dump() for each in sources],
                "articles": self._said([each.source for each in sources]),
                "made_at": self._clock.now(),
            }
            if not insert_if_absent(conn, cached_answers, row | {"served": 0}):
                # Another replica, or this one before a restart, wrote its own.
                conn.execute(update(cached_answers).where(cached_answers.c.id == id).values(row))
        return True

    def _serve(self, id: str, tenant: str, questions: Sequence[str], text: str) -> bool:
        known = cached_answers.c
        with writing(self._engine, fenced=False) as conn:
            if self._withdrawn(conn, tenant, questions, text):
                return False
            again = {"served": known.served + 1, "served_at": self._clock.now()}
            conn.execute(update(cached_answers).where(known.id == id).values(again))
        return True

    def _withdrawn(self, conn: Any, tenant: str, questions: Sequence[str], text: str) -> bool:
        known = cached_answers.c
        same = or_(
            known.wording.in_([digest_of(each) for each in questions]),
            known.said == digest_of(text),
        )
        which = and_(known.tenant == tenant, known.withdrawn_at.is_not(None), same)
        rows = conn.execute(select(known.sources, known.articles).where(which))
        return any(self._holds(row) for row in rows)

    def _holds(self, row: Row[Any]) -> bool:
        sources = [str(each["source"]) for each in cast("list[dict[str, Any]]", row.sources)]
        return self._standing is None or self._said(sources) == row.articles

    def _said(self, sources: Sequence[str]) -> str:
        return "" if self._standing is None else self._standing(sources)

    def _list(self, tenant: str | None, limit: int) -> list[CachedAnswer]:
        known = cached_answers.c
        which = [or_(known.made_at >= self._today(), known.withdrawn_at.is_not(None))]
        if tenant is not None:
            which.append(known.tenant == tenant)
        asked = select(cached_answers).where(*which)
        order = (known.withdrawn_at.is_not(None), known.served.desc(), known.made_at.desc())
        with reading(self._engine) as conn:
            return [self._shown(row) for row in conn.execute(asked.order_by(*order).limit(limit))]

    def _withdraw(self, id: str, operator: str, tenant: str | None) -> CachedAnswer:
        known = cached_answers.c
        which = [known.id == id] if tenant is None else [known.id == id, known.tenant == tenant]
        with writing(self._engine, durable=True) as conn:
            given = {"withdrawn_at": self._clock.now(), "withdrawn_by": operator}
            first = conn.execute(
                update(cached_answers).where(*which, known.withdrawn_at.is_(None)).values(given)
            ).rowcount
            row = conn.execute(select(cached_answers).where(*which)).one_or_none()
            if row is None:
                raise AnswerNotFound
            found = self._shown(row)
            if first:
                # Without the question: it is a customer's, and nobody knows whose.
                facts: dict[str, Any] = {
                    "key": id,
                    "text": found.text,
                    "sources": [each.source for each in found.sources],
                    "served": found.served,
                }
                self._audit.append(
                    conn,
                    AuditEntry(
                        tenant=found.tenant,
                        kind="answer_withdrawn",
                        actor=f"operator:{operator}",
                        facts=facts,
                    ),
                )
        return found

    def _prune(self) -> int:
        known = cached_answers.c
        old = self._today() - timedelta(days=_DAYS)
        with writing(self._engine) as conn:
            over = and_(known.made_at < old, known.withdrawn_at.is_(None))
            gone = conn.execute(delete(cached_answers).where(over)).rowcount
            withdrawn = select(cached_answers).where(known.withdrawn_at.is_not(None))
            lifted = [row.id for row in conn.execute(withdrawn) if not self._holds(row)]
            for id in lifted:
                gone += conn.execute(delete(cached_answers).where(known.id == id)).rowcount
        return gone

    def _today(self) -> datetime:
        return self._clock.now().replace(hour=0, minute=0, second=0, microsecond=0)

    def _shown(self, row: Row[Any]) -> CachedAnswer:
        same = {name: getattr(row, name) for name in CachedAnswer.model_fields if name != "holds"}
        return CachedAnswer.model_validate(same | {"holds": self._holds(row)})


def id_of(scope: Sequence[str], question: str) -> str:
    """The name of an answer: of one question in one scope, in whichever replica."""
    return hashlib.sha256(json.dumps([*scope, question]).encode()).hexdigest()[:32]


def digest_of(words: str) -> str:
    """A digest of words, whatever their case, spacing and the mark at their end."""
    same = " ".join(words.casefold().split()).rstrip(" ?!.")
    return hashlib.sha256(same.encode()).hexdigest()
