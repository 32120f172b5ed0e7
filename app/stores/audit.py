"""Who or what decided, and what happened: a chain of rows in which nothing can be changed unseen.

What people wrote is kept beside the chain, which has its salted digest: the words of a customer can be erased, and
the rows still prove that nothing else was."""

from __future__ import annotations

import asyncio
import hashlib
import json
import secrets
from collections import defaultdict
from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, Any, Literal, TypeVar, cast

from pydantic import JsonValue
from sqlalchemy import ColumnElement, Engine, bindparam, case, func, insert, select, update
from sqlalchemy.engine import Connection

from app.stores.database import reading, writing
from app.stores.tables import audit
from tools.privacy import mask_pii
from tools.values import AuditEntry, Clock, Record

#: What the first row of a chain follows.
GENESIS = "0" * 64
#: Any fixed number: with a tenant's hash it names the lock that serialises its chain.
CHAIN_LOCK = 4_021_049
#: Rows read at a time when a chain is walked.
PAGE = 2000
#: Facts that are nobody's words. Of any other that is more than a number, the chain has the digest.
PLAIN = frozenset(
    {
        "operation", "key", "fingerprint", "status", "by", "operator", "customer", "role", "approve", "expires_at",
        "votes_needed", "policy", "replaced_by", "model", "adapter", "prompt", "rows", "why",
    }
)  # fmt: skip

# Built once: every write of the ledger passes here.
_LAST = (
    select(audit.c.seq, audit.c.hash)
    .where(audit.c.tenant == bindparam("of_tenant"))
    .order_by(audit.c.seq.desc())
    .limit(1)
)
_LOCK = select(
    func.pg_advisory_xact_lock(CHAIN_LOCK, func.hashtext(bindparam("of_tenant", type_=None)))
)
_OF_ACTION = select(audit.c.facts, audit.c.words).where(
    audit.c.action == bindparam("of_action"),
    audit.c.kind == bindparam("of_kind"),
    audit.c.tenant == bindparam("of_tenant"),
)
_ADD = insert(audit)

#: A database takes so many values in one question at least.
_MANY = 400

Masked = TypeVar("Masked", bound=JsonValue)


class AuditRow(Record):
    """One row of a chain, as it is stored and exported."""

    tenant: str
    seq: int
    at: datetime
    kind: str
    actor: str
    action: str
    thread: str
    turn: str
    facts: str  #: Canonical JSON, as text: what was hashed is what is kept.
    previous: str
    hash: str
    words: str | None = (
        None  #: What people wrote, with its salt; None: there was nothing, or it was erased.
    )

    def digest(self) -> str:
        """What the hash of this row has to be."""
        return digest(self.model_dump())

    @property
    def told(self) -> dict[str, JsonValue]:
        """The facts with the words in them, where they are still kept."""
        return _told(self.facts, self.words)

    @property
    def erased(self) -> bool:
        """Were words taken out of it?"""
        return not self.facts or (self.words is None and bool(_digests(self.facts)))


class Anchor(Record):
    """How far a chain had come when it was exported; kept elsewhere, it shows a cut-off end."""

    tenant: str
    seq: int
    hash: str


class Fault(Record):
    """A place where a chain is not what was written."""

    tenant: str
    seq: int
    kind: Literal["changed", "missing", "inserted", "broken", "cut off", "erased"]
    detail: str


class Walk(Record):
    """What a walk along the chains found."""

    rows: int
    faults: tuple[Fault, ...]
    heads: tuple[Anchor, ...]


def digest(row: Mapping[str, Any]) -> str:
    """SHA-256 over the row's canonical JSON, which names the row before it; of its words it has the digests."""
    values = {name: value for name, value in row.items() if name not in ("hash", "words")}
    values["at"] = row["at"].astimezone(UTC).isoformat(timespec="microseconds")
    return hashlib.sha256(canonical(values).encode()).hexdigest()


def canonical(value: object) -> str:
    """JSON in one spelling, in ASCII: neither database can alter it."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=True)


class SqlAudit:
    """The audit in SQL. ``append`` belongs into the transaction of what it records, as its last statement:
    on PostgreSQL it keeps the tenant's chain locked until the commit."""

    def __init__(
        self, engine: Engine, clock: Clock | None = None, *, mask: Callable[[str], str] = mask_pii
    ) -> None:
        """``mask`` takes personal data out of texts: a chain that never forgets must not hold it."""
        self._engine = engine
        self._clock = clock or Clock()
        self._mask = mask

    async def record(self, *entries: AuditEntry) -> None:
        """Add entries of what has no transaction of its own. A proposal or verdict that stands there word for
        word is not added again: a gate that a crash repeats has still been asked once."""
        if entries:
            await asyncio.to_thread(self._record, entries)

    def append(self, conn: Connection, *entries: AuditEntry) -> None:
        """Add entries to the caller's transaction."""
        chains: dict[str, list[AuditEntry]] = defaultdict(list)
        for entry in entries:
            chains[entry.tenant].append(entry)
        self._lock(conn, *chains)
        for tenant in sorted(chains):
            last = conn.execute(_LAST, {"of_tenant": tenant}).one_or_none()
            seq, previous = (0, GENESIS) if last is None else (last.seq, last.hash)
            rows: list[dict[str, Any]] = []
            for entry in chains[tenant]:
                seq += 1
                row = self._row(entry, seq, previous)
                previous = str(row["hash"])
                rows.append(row)
            conn.execute(_ADD, rows)

    def erase(
        self, conn: Connection, tenant: str, which: ColumnElement[bool], *, actor: str, why: str
    ) -> int:
        """Take the words out of some rows of a tenant's chain, and say so in the chain; how many rows it was.

        Their digests stay, without the salts: nobody can try out what was written."""
        theirs = (audit.c.tenant == tenant, which)
        found = conn.execute(
            select(audit.c.seq, audit.c.facts, audit.c.words).where(*theirs).order_by(audit.c.seq)
        ).all()
        # Rows of earlier versions have words in the facts themselves.
        rows = [row.seq for row in found if row.words is not None or _has_words(row.facts)]
        for start in range(0, len(rows), _MANY):
            blank = case((audit.c.words.is_(None), ""), else_=audit.c.facts)
            some = audit.c.seq.in_(rows[start : start + _MANY])
            conn.execute(
                update(audit).where(audit.c.tenant == tenant, some).values(words=None, facts=blank)
            )
        if rows:
            said: dict[str, JsonValue] = {"rows": _ranges(rows), "why": why}
            self.append(conn, AuditEntry(tenant=tenant, kind="erasure", actor=actor, facts=said))
        return len(rows)

    def rows(self, conn: Connection, tenant: str | None = None) -> Generator[AuditRow]:
        """Every row, chain by chain, without holding them all in memory."""
        query = select(audit).order_by(audit.c.tenant, audit.c.seq)
        if tenant is not None:
            query = query.where(audit.c.tenant == tenant)
        found = conn.execution_options(yield_per=PAGE).execute(query)
        for row in found.mappings():
            yield AuditRow.model_validate(dict(row))

    def count(self, tenant: str | None = None) -> int:
        """How many rows there are."""
        query = select(func.count()).select_from(audit)
        if tenant is not None:
            query = query.where(audit.c.tenant == tenant)
        with reading(self._engine) as conn:
            return conn.execute(query).scalar_one()

    def verify(
        self,
        anchors: Iterable[Anchor] = (),
        *,
        tenant: str | None = None,
        progress: Callable[[int], None] = lambda _: None,
    ) -> Walk:
        """Walk the chains and name every row that is not what was written."""
        with reading(self._engine) as conn:
            return walk(self.rows(conn, tenant), anchors, progress=progress)

    def export(
        self,
        file: IO[str],
        *,
        tenant: str | None = None,
        progress: Callable[[int], None] = lambda _: None,
    ) -> Walk:
        """Write every row as a line of JSON, and check it on the way."""

        def written(rows: Iterable[AuditRow]) -> Generator[AuditRow]:
            for row in rows:
                file.write(canonical(row.model_dump(mode="json")) + "\n")
                yield row

        with reading(self._engine) as conn:
            return walk(written(self.rows(conn, tenant)), progress=progress)

    def of_action(self, action: str) -> list[AuditRow]:
        """What is recorded about one action, oldest first."""
        query = select(audit).where(audit.c.action == action).order_by(audit.c.tenant, audit.c.seq)
        with reading(self._engine) as conn:
            return [AuditRow.model_validate(dict(row)) for row in conn.execute(query).mappings()]

    def _record(self, entries: tuple[AuditEntry, ...]) -> None:
        with writing(self._engine) as conn:
            self._lock(conn, *{entry.tenant for entry in entries})
            self.append(conn, *(each for each in entries if not self._stands(conn, each)))

    def _lock(self, conn: Connection, *tenants: str) -> None:
        # Always in the same order, so that two transactions cannot wait for each other.
        if conn.dialect.name == "postgresql":
            for tenant in sorted(tenants):
                conn.execute(_LOCK, {"of_tenant": tenant})

    def _stands(self, conn: Connection, entry: AuditEntry) -> bool:
        if entry.kind not in ("proposal", "verdict"):
            return False
        same = {"of_action": entry.action, "of_kind": entry.kind, "of_tenant": entry.tenant}
        known = {canonical(_told(row.facts, row.words)) for row in conn.execute(_OF_ACTION, same)}
        return canonical(self._masked(dict(entry.facts))) in known

    def _row(self, entry: AuditEntry, seq: int, previous: str) -> dict[str, Any]:
        facts, words = _apart(self._masked(dict(entry.facts)))
        row: dict[str, Any] = {
            "tenant": entry.tenant,
            "seq": seq,
            "at": self._clock.now().astimezone(UTC),
            "kind": entry.kind,
            "actor": _storable(entry.actor),
            "action": _storable(entry.action),
            "thread": _storable(entry.thread),
            "turn": _storable(entry.turn),
            "facts": canonical(facts),
            "previous": previous,
        }
        return row | {"hash": digest(row), "words": words}

    def _masked(self, value: Masked) -> Masked:
        masked: JsonValue = value
        if isinstance(value, str):
            masked = self._mask(value)
        elif isinstance(value, list):
            masked = [self._masked(each) for each in value]
        elif isinstance(value, dict):
            masked = {name: self._masked(each) for name, each in value.items()}
        return cast("Masked", masked)


def _apart(facts: Mapping[str, JsonValue]) -> tuple[dict[str, JsonValue], str | None]:
    """The facts with digests in place of words, and the words with the salt of their digests."""
    words = {
        name: value
        for name, value in facts.items()
        if name not in PLAIN and not isinstance(value, bool | int | float | None)
    }
    if not words:
        return dict(facts), None
    salt = secrets.token_hex(16)
    digests: dict[str, JsonValue] = {
        name: {"sha256": _salted(salt, value)} for name, value in words.items()
    }
    return {**facts, **digests}, canonical({"salt": salt, "words": words})


def _salted(salt: str, value: JsonValue) -> str:
    return hashlib.sha256((salt + canonical(value)).encode()).hexdigest()


def _digests(facts: str) -> dict[str, str]:
    """Which facts stand there as digests."""
    found: dict[str, Any] = json.loads(facts) if facts else {}
    return {
        name: value["sha256"]
        for name, value in found.items()
        if isinstance(value, dict) and value.keys() == {"sha256"}
    }


def _has_words(facts: str) -> bool:
    """Does a row of an earlier version hold words among its facts?"""
    if not facts:
        return False
    plain, digests = _apart(json.loads(facts))[0], _digests(facts)
    return any(name not in digests for name in _digests(canonical(plain)))


def _told(facts: str, words: str | None) -> dict[str, JsonValue]:
    found: dict[str, JsonValue] = json.loads(facts) if facts else {}
    kept: dict[str, JsonValue] = json.loads(words)["words"] if words is not None else {}
    return found | kept


def _ranges(rows: Sequence[int]) -> str:
    """Numbers in order as ``3-7,9``."""
    found: list[list[int]] = []
    for row in rows:
        if found and found[-1][1] == row - 1:
            found[-1][1] = row
        else:
            found.append([row, row])
    return ",".join(f"{first}-{last}" if first != last else f"{first}" for first, last in found)


def _numbers(ranges: str) -> Generator[int]:
    for part in filter(None, ranges.split(",")):
        first, _, last = part.partition("-")
        yield from range(int(first), int(last or first) + 1)


def walk(
    rows: Iterable[AuditRow],
    anchors: Iterable[Anchor] = (),
    *,
    progress: Callable[[int], None] = lambda _: None,
) -> Walk:
    """Check rows in order of tenant and number, from a database or from an export."""
    due = {(anchor.tenant, anchor.seq): anchor for anchor in anchors}
    faults: list[Fault] = []
    heads: dict[str, Anchor] = {}
    bare: set[tuple[str, int]] = set()
    count = 0
    for row in rows:
        count += 1
        faults += _faults(row, heads.get(row.tenant))
        if row.erased:
            bare.add((row.tenant, row.seq))
        if row.kind == "erasure":
            bare -= {(row.tenant, seq) for seq in _numbers(str(row.told.get("rows", "")))}
        anchor = due.pop((row.tenant, row.seq), None)
        if anchor is not None and anchor.hash != row.hash:
            detail = f"row {row.seq} is not the one that was exported"
            faults.append(Fault(tenant=row.tenant, seq=row.seq, kind="changed", detail=detail))
        heads[row.tenant] = Anchor(tenant=row.tenant, seq=row.seq, hash=row.hash)
        if count % PAGE == 0:
            progress(count)
    for tenant, seq in sorted(bare):
        detail = f"the words of row {seq} are gone, and no erasure says so"
        faults.append(Fault(tenant=tenant, seq=seq, kind="erased", detail=detail))
    for anchor in due.values():
        end = heads.get(anchor.tenant)
        if end is None or end.seq < anchor.seq:
            upto = "nothing is left" if end is None else f"row {end.seq} is now the last"
            detail = f"row {anchor.seq} was exported, and {upto}"
            faults.append(
                Fault(tenant=anchor.tenant, seq=anchor.seq, kind="cut off", detail=detail)
            )
    progress(count)
    return Walk(rows=count, faults=tuple(faults), heads=tuple(heads.values()))


def _faults(row: AuditRow, before: Anchor | None) -> Generator[Fault]:
    def fault(kind: Any, detail: str, seq: int = row.seq) -> Fault:
        return Fault(tenant=row.tenant, seq=seq, kind=kind, detail=detail)

    expected = 1 if before is None else before.seq + 1
    previous = GENESIS if before is None else before.hash
    # Of a row of an earlier version whose words were erased, the next row has the hash.
    if row.facts and row.digest() != row.hash:
        yield fault("changed", f"row {row.seq} does not match its hash")
    elif row.words is not None and not _as_hashed(row):
        yield fault("changed", f"the words of row {row.seq} do not match their digests")
    if row.seq > expected:
        last = row.seq - 1
        which = f"row {expected}" if last == expected else f"rows {expected} to {last}"
        yield fault("missing", f"{which} removed", expected)
    elif row.seq < expected:
        yield fault("inserted", f"row {row.seq} stands after row {expected - 1}")
    elif row.previous != previous:
        where = "the beginning" if before is None else f"row {before.seq}"
        yield fault("broken", f"row {row.seq} does not follow {where}: one of them was replaced")


def _as_hashed(row: AuditRow) -> bool:
    """Do the words kept beside a row match what the chain has of them?"""
    try:
        kept = json.loads(row.words or "{}")
        found = {name: _salted(kept["salt"], value) for name, value in kept["words"].items()}
    except (ValueError, KeyError, TypeError, AttributeError):
        return False
    return found == _digests(row.facts)


def read_export(file: Iterable[str]) -> Generator[AuditRow]:
    """The rows of an exported file."""
    for line in file:
        if line.strip():
            yield AuditRow.model_validate_json(line)


def anchor_file(export: Path) -> Path:
    """Where the anchors of an export are kept: beside it, to be taken somewhere safe."""
    return export.with_name(f"{export.name}.anchor")


def write_anchors(export: Path, anchors: Iterable[Anchor]) -> Path:
    where = anchor_file(export)
    kept = [anchor.model_dump(mode="json") for anchor in anchors]
    where.write_text(json.dumps({"anchors": kept}, indent=2) + "\n", encoding="utf-8")
    return where


def read_anchors(file: Path) -> list[Anchor]:
    kept = json.loads(file.read_text(encoding="utf-8"))
    return [Anchor.model_validate(each) for each in kept["anchors"]]


def _storable(text: str) -> str:
    # What the column's type would change must be changed before it is hashed.
    return text.replace("\0", "\ufffd").encode("utf-8", "replace").decode("utf-8")
