"""The tables behind the ledger, the approvals, the decision log, the turns, the outbox and the knowledge."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from functools import cache
from typing import Any

from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    Date,
    DateTime,
    Executable,
    Float,
    Index,
    Integer,
    LargeBinary,
    String,
    Table,
    Text,
    TypeDecorator,
    select,
    text,
)
from sqlalchemy.engine import Connection, Dialect

from app.stores.database import metadata


class Instant(TypeDecorator[datetime]):
    """A moment in UTC, aware on both databases, and comparable in SQL."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        if value is None:
            return None
        moment = value.astimezone(UTC)
        # SQLite keeps text without an offset; all of it being UTC makes the text sort by time.
        return moment.replace(tzinfo=None) if dialect.name == "sqlite" else moment

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


class FreeText(TypeDecorator[str]):
    """Words people typed: what neither database can store (NUL, half a surrogate pair) is replaced."""

    impl = Text
    cache_ok = True

    def process_bind_param(self, value: str | None, dialect: Dialect) -> str | None:
        if value is None:
            return None
        return value.replace("\0", "\ufffd").encode("utf-8", "replace").decode("utf-8")


def _one_of(column: str, *values: str) -> CheckConstraint:
    listed = ", ".join(f"'{value}'" for value in values)
    return CheckConstraint(f"{column} IN ({listed})", name=f"{column}_known")


# The key is the primary key: two rows for one logical action cannot exist.
ledger = Table(
    "ledger",
    metadata,
    Column("tenant", String(64), primary_key=True),
    Column("operation", String(64), primary_key=True),
    Column("key", String(200), primary_key=True),
    Column("fingerprint", String(200), nullable=False),
    Column("arguments", Text, nullable=False),
    Column("state", String(16), nullable=False),
    # A fencing token: greater with every lease.
    Column("owner", String(32), nullable=False),
    Column("lease_until", Instant, nullable=False),
    Column("action_id", String(200), nullable=False),
    Column("customer_id", String(64), nullable=False),
    Column("label", FreeText, nullable=False),
    Column("result", JSON(none_as_null=True)),
    Column("error", FreeText),
    Column("created_at", Instant, nullable=False),
    Column("finished_at", Instant),
    # Only of effects in another system: what to settle them by, whoever has to.
    Column("action", JSON(none_as_null=True)),
    Column("payment_order", JSON(none_as_null=True)),
    Column("called_at", Instant),
    Column("looked_at", Instant),
    Column("found", FreeText),
    Column("attempts", Integer, nullable=False, server_default=text("1")),
    _one_of("state", "started", "succeeded", "failed", "unknown"),
    Index("ledger_action", "action_id"),
    Index("ledger_state", "state", "lease_until"),
)

approvals = Table(
    "approvals",
    metadata,
    Column("action_id", String(200), primary_key=True),
    Column("tenant", String(64), nullable=False),
    Column("customer_id", String(64), nullable=False),
    Column("operation", String(64), nullable=False),
    Column("key", String(200), nullable=False),
    Column("fingerprint", String(200), nullable=False),
    Column("arguments", Text, nullable=False),
    Column("action", JSON, nullable=False),
    Column("verdict", JSON, nullable=False),
    Column("status", String(16), nullable=False),
    Column("requested_at", Instant, nullable=False),
    Column("expires_at", Instant, nullable=False),
    Column("reviewer", FreeText),
    Column("note", FreeText),
    Column("decided_at", Instant),
    # Of an edited action: the one in its place, until that one has been to the gate.
    Column("successor", JSON(none_as_null=True)),
    _one_of(
        "status",
        "pending",
        "approved",
        "rejected",
        "expired",
        "started",
        "executed",
        "failed",
        "withdrawn",
    ),
    Index("approvals_status", "status", "expires_at"),
    Index("approvals_customer", "tenant", "customer_id", "status"),
    Index("approvals_requested", "requested_at"),
    Index("approvals_fingerprint", "fingerprint"),
    Index(
        "approvals_successor",
        "decided_at",
        sqlite_where=text("successor IS NOT NULL"),
        postgresql_where=text("successor IS NOT NULL"),
    ),
)

# The key keeps anybody from saying yes twice to one question, whatever the code above it believes.
votes = Table(
    "votes",
    metadata,
    Column("action_id", String(200), primary_key=True),
    Column("person", String(200), primary_key=True),
    Column("approve", Boolean, primary_key=True),
    Column("reviewer", FreeText, nullable=False),
    Column("role", String(16), nullable=False),
    Column("note", FreeText),
    Column("at", Instant, nullable=False),
    _one_of("role", "agent", "admin"),
)

outbox = Table(
    "outbox",
    metadata,
    Column("action_id", String(200), primary_key=True),
    Column("tenant", String(64), nullable=False),
    Column("customer_id", String(64), nullable=False),
    Column("thread", String(200), nullable=False),
    Column("outcome", JSON, nullable=False),
    Column("created_at", Instant, nullable=False),
    Column("due_at", Instant, nullable=False),
    Column("delivered_at", Instant),
    Column("claim", String(32)),  #: Which relay delivers it.
    Index("outbox_due", "delivered_at", "due_at"),
)

# What customers were asked to confirm and have not: whoever asks for the same again means this one.
requests = Table(
    "requests",
    metadata,
    Column("tenant", String(64), primary_key=True),
    Column("customer_id", String(64), primary_key=True),
    Column("fingerprint", String(200), primary_key=True),
    Column("key", String(200), nullable=False),
    Column("request", String(200), nullable=False),
    Column("thread", String(200), nullable=False),
    Column("label", FreeText, nullable=False),
    Column("effects", JSON, nullable=False),
    Column("asked_at", Instant, nullable=False),
    Index("requests_asked", "asked_at"),
)

decisions = Table(
    "decisions",
    metadata,
    Column(
        "id",
        # Only a column of exactly this type counts up by itself on SQLite.
        BigInteger().with_variant(Integer, "sqlite"),
        primary_key=True,
        autoincrement=True,
    ),
    Column("at", Instant, nullable=False),
    Column("tenant", String(64), nullable=False),
    Column("thread", String(200), nullable=False),
    Column("turn", String(200), nullable=False),
    Column("input", FreeText, nullable=False),
    Column("role", String(64), nullable=False),
    Column("chosen", FreeText, nullable=False),
    Column("probability", Float, nullable=False),
    Column("alternatives", JSON, nullable=False),
    Column("abstained", Boolean, nullable=False),
    Column("reason", FreeText, nullable=False),
    Column("tier", String(16), nullable=False),
    Column("model", Text, nullable=False),
    Column("adapter", String(200), nullable=False),
    Column("prompt", String(200), nullable=False),
    Column("ms", Float, nullable=False),
    # Of the router's decision that settled a turn: where it went, and a sketch of what was written.
    Column("lane", String(16)),
    Column("sketch", LargeBinary),
    # Digest of the candidate, where it was not the live model that decided.
    Column("shadow", String(64)),
    Column("outcome", Text),
    Column("outcome_detail", FreeText),
    Column("outcome_at", Instant),
    Index("decisions_thread", "thread", "id"),
    Index("decisions_turn", "turn"),
    Index("decisions_at", "at"),
    Index("decisions_outcome_at", "outcome_at"),
    Index("decisions_role", "role", "id"),
)

# What people say of sampled decisions. The words are copied: a label outlives the decision log's retention.
reviews = Table(
    "reviews",
    metadata,
    Column("sample", String(64), primary_key=True),
    Column("decision", BigInteger, primary_key=True, autoincrement=False),
    Column("tenant", String(64), nullable=False),
    Column("turn", String(200), nullable=False),
    Column(
        "thread", String(200)
    ),  #: Of samples drawn by an earlier version, whose decision is gone, there is none.
    Column("at", Instant, nullable=False),
    Column("input", FreeText, nullable=False),
    Column("chosen", FreeText, nullable=False),
    Column("lane", String(16), nullable=False),
    Column("tier", String(16), nullable=False),
    Column("probability", Float, nullable=False),
    Column("alternatives", JSON, nullable=False),
    Column("stratum", String(200), nullable=False),
    Column("weight", Float, nullable=False),
    Column("drawn_at", Instant, nullable=False),
    Column("label", String(200)),
    Column("skipped", Boolean, nullable=False),
    Column("reviewer", FreeText),
    Column("labelled_at", Instant),
    Index("reviews_turn", "turn"),
    Index("reviews_thread", "thread"),
    Index("reviews_labelled", "labelled_at"),
)

turns = Table(
    "turns",
    metadata,
    Column("tenant", String(64), primary_key=True),
    Column("customer_id", String(64), primary_key=True),
    Column("key", String(200), primary_key=True),
    Column("fingerprint", String(200), nullable=False),
    # A fencing token: greater with every lease.
    Column("owner", String(32), nullable=False),
    Column("lease_until", Instant, nullable=False),
    Column("response", JSON(none_as_null=True)),
    Column("created_at", Instant, nullable=False),
    Column("finished_at", Instant),
    Index("turns_created", "created_at"),
)

# Who may write on a thread, a customer's or an action's. A row that is gone is nobody's.
holds = Table(
    "holds",
    metadata,
    Column("name", String(200), primary_key=True),
    Column("token", BigInteger, nullable=False),
    Column("until", Instant, nullable=False),
    Index("holds_until", "until"),
)

# Where tokens come from: PostgreSQL counts in the column's sequence, SQLite in the only row.
fencing_tokens = Table(
    "fencing_tokens",
    metadata,
    Column(
        "last",
        BigInteger().with_variant(Integer, "sqlite"),
        primary_key=True,
        autoincrement=True,
    ),
)

threads = Table(
    "threads",
    metadata,
    Column("id", String(200), primary_key=True),
    Column("tenant", String(64), nullable=False),
    Column("customer_id", String(64), nullable=False),
    Column("created_at", Instant, nullable=False),
    Column("title", FreeText, nullable=False),
    Column("handed_off", Boolean, nullable=False),
    Column("handed_off_at", Instant),
    Column("claimed_by", FreeText),
    Index("threads_customer", "tenant", "customer_id", "created_at"),
)

# What operators write down about a thread, for each other: the customer never sees it.
thread_notes = Table(
    "thread_notes",
    metadata,
    Column("id", String(40), primary_key=True),
    Column("tenant", String(64), nullable=False),
    Column("thread", String(200), nullable=False),
    Column("at", Instant, nullable=False),
    Column("author", FreeText, nullable=False),
    Column("text", FreeText, nullable=False),
    Index("thread_notes_thread", "thread", "at"),
)

# One chain a tenant; triggers (in the migrations) refuse to change or delete a row, but for taking its words out.
audit = Table(
    "audit",
    metadata,
    Column("tenant", String(64), primary_key=True),
    Column("seq", BigInteger, primary_key=True, autoincrement=False),
    Column("at", Instant, nullable=False),
    Column("kind", String(32), nullable=False),
    Column("actor", FreeText, nullable=False),
    Column("action", String(200), nullable=False),
    Column("thread", String(200), nullable=False),
    Column("turn", String(200), nullable=False),
    Column("facts", Text, nullable=False),
    Column("previous", String(64), nullable=False),
    Column("hash", String(64), nullable=False),
    # What people wrote, whose salted digests are in the facts; null once it was erased.
    Column("words", Text),
    Index("audit_action", "action"),
)

# What the knowledge base consists of. Beside an embedded index these tables are in a file of their own.
knowledge_files = Table(
    "knowledge_files",
    metadata,
    Column("collection", String(64), primary_key=True),
    Column("source", String(800), primary_key=True),
    Column("root", FreeText, nullable=False),
    Column("digest", String(64), nullable=False),
    Column("failures", JSON, nullable=False),
)

knowledge_documents = Table(
    "knowledge_documents",
    metadata,
    Column("collection", String(64), primary_key=True),
    Column("source", String(1400), primary_key=True),
    Column("file", String(800), nullable=False),
    Column("digest", String(64), nullable=False),
    Column("slug", FreeText, nullable=False),
    Column("title", FreeText, nullable=False),
    Column("front", JSON, nullable=False),
    # The sections as they were read, so that a new index needs no file.
    Column("body", LargeBinary, nullable=False),
    Column("warnings", JSON, nullable=False),
    Index("knowledge_documents_file", "collection", "file"),
)

knowledge_generations = Table(
    "knowledge_generations",
    metadata,
    Column("collection", String(64), primary_key=True),
    Column("generation", Integer, primary_key=True, autoincrement=False),
    Column("state", String(16), nullable=False),
    Column("model", FreeText, nullable=False),
    Column("size", Integer, nullable=False),
    Column("chunking", String(64), nullable=False),
    Column("made_at", Instant, nullable=False),
    _one_of("state", "building", "live", "previous"),
)

knowledge_indexed = Table(
    "knowledge_indexed",
    metadata,
    Column("collection", String(64), primary_key=True),
    Column("generation", Integer, primary_key=True, autoincrement=False),
    Column("source", String(1400), primary_key=True),
    Column("digest", String(64), nullable=False),
    Column("status", String(16), nullable=False),
    Column("chunks", JSON, nullable=False),
)

knowledge_uses = Table(
    "knowledge_uses",
    metadata,
    Column("collection", String(64), primary_key=True),
    Column("source", String(1400), primary_key=True),
    Column("retrieved", BigInteger, nullable=False),
    Column("kept", BigInteger, nullable=False),
    Column("last_at", Instant, nullable=False),
)

# How often a collection changed, and who may change it until when.
knowledge_collections = Table(
    "knowledge_collections",
    metadata,
    Column("collection", String(64), primary_key=True),
    Column("stamp", BigInteger, nullable=False),
    Column("writer", String(64), nullable=False),
    Column("writer_until", Instant, nullable=False),
)

KNOWLEDGE = (
    knowledge_files,
    knowledge_documents,
    knowledge_generations,
    knowledge_indexed,
    knowledge_uses,
    knowledge_collections,
)

desk_tickets = Table(
    "desk_tickets",
    metadata,
    Column("tenant", String(64), primary_key=True),
    Column("number", String(20), primary_key=True),
    Column("place", Integer, nullable=False),
    Column("customer_id", String(128), nullable=False),
    Column("subject", FreeText, nullable=False),
    Column("body", FreeText, nullable=False),
    Column("opened_on", Date, nullable=False),
    Column("kind", String(20), nullable=False),
    Column("record", FreeText),
    Column("case_name", FreeText),
    Index("desk_tickets_customer", "tenant", "customer_id"),
)

# Where a turn is in the traces, and what was measured while it ran.
traces = Table(
    "traces",
    metadata,
    Column("turn", String(200), primary_key=True),
    Column("trace", String(32), nullable=False),
    Column("span", String(16), nullable=False),
    Column("scores", JSON, nullable=False),
    Column("at", Instant, nullable=False),
    Index("traces_at", "at"),
)

# What a customer thought of an answer; the last word counts.
ratings = Table(
    "ratings",
    metadata,
    Column("turn", String(200), primary_key=True),
    Column("tenant", String(64), nullable=False),
    Column("customer_id", String(64), nullable=False),
    Column("thread", String(200), nullable=False),
    Column("good", Boolean, nullable=False),
    Column("comment", FreeText, nullable=False),
    Column("at", Instant, nullable=False),
    Index("ratings_at", "at"),
)

# What each turn asked of models and what that cost; no words of anybody's.
usage_turns = Table(
    "usage_turns",
    metadata,
    Column("turn", String(200), primary_key=True),
    Column("tenant", String(64), nullable=False),
    Column("domain", String(64), nullable=False),
    Column("customer_id", String(128), nullable=False),
    Column("thread", String(200), nullable=False),
    Column("at", Instant, nullable=False),
    Column("lane", String(16)),
    Column("tier", String(16)),
    Column("outcome", String(16)),
    Column("seconds", Float, nullable=False),
    Column("llm_calls", Integer, nullable=False),
    Column("cost", Float, nullable=False),
    Column("unpriced", Integer, nullable=False),  #: Calls whose cost nobody knows.
    Index("usage_turns_at", "at"),
    Index("usage_turns_thread", "thread"),
)

usage_calls = Table(
    "usage_calls",
    metadata,
    Column(
        "id",
        BigInteger().with_variant(Integer, "sqlite"),
        primary_key=True,
        autoincrement=True,
    ),
    Column("turn", String(200), nullable=False),
    Column("thread", String(200), nullable=False),
    Column("at", Instant, nullable=False),
    Column("tier", String(16), nullable=False),
    Column("role", String(64), nullable=False),
    Column("model", String(200), nullable=False),
    Column("local", Boolean, nullable=False),
    Column("masked", Boolean, nullable=False),
    Column("calls", Integer, nullable=False),
    Column("failed", Integer, nullable=False),
    Column("read", BigInteger, nullable=False),
    Column("cached", BigInteger, nullable=False),
    Column("written", BigInteger, nullable=False),
    Column("cost", Float),
    Index("usage_calls_turn", "turn"),
    Index("usage_calls_thread", "thread"),
    Index("usage_calls_at", "at"),
)

# What was spent on a day, by a customer and (without one) by everybody: budgets are held to it by all replicas.
spending = Table(
    "spending",
    metadata,
    Column("tenant", String(64), primary_key=True),
    Column("customer_id", String(128), primary_key=True),
    Column("day", Date, primary_key=True),
    Column("spent", Float, nullable=False),
)

# Answers that are given again while nothing they depend on changes. Replicas keep the answers themselves; here is what
# people look at, and what they withdrew.
cached_answers = Table(
    "cached_answers",
    metadata,
    Column("id", String(64), primary_key=True),
    Column("tenant", String(64), nullable=False),
    Column("wording", String(64), nullable=False),  #: Digest of the question.
    Column("said", String(64), nullable=False),  #: Digest of the answer.
    Column("question", FreeText, nullable=False),
    Column("text", FreeText, nullable=False),
    Column("language", String(16), nullable=False),
    Column("sources", JSON, nullable=False),
    Column("articles", String(64), nullable=False),  #: Digest of what the sources said.
    Column("made_at", Instant, nullable=False),
    Column("served", Integer, nullable=False),
    Column("served_at", Instant),
    Column("withdrawn_at", Instant),
    Column("withdrawn_by", FreeText),
    Index("cached_answers_wording", "tenant", "wording"),
    Index("cached_answers_said", "tenant", "said"),
    Index("cached_answers_made_at", "made_at"),
)

# Whose keys were handed out by `signalbox operators`; of a key there is its digest.
operators = Table(
    "operators",
    metadata,
    Column("name", String(64), primary_key=True),
    Column("role", String(16), nullable=False),
    Column("tenant", String(64)),
    Column("digest", String(64), nullable=False, unique=True),
    Column("created_at", Instant, nullable=False),
    Column("changed_at", Instant, nullable=False),
    Column("last_used_at", Instant),
    Column("revoked_at", Instant),
    _one_of("role", "agent", "admin"),
)

# Sessions that were ended: by the token's digest, or all of a customer's that began before.
revocations = Table(
    "revocations",
    metadata,
    Column("subject", String(200), primary_key=True),
    Column("at", Instant, nullable=False),
    Column("until", Instant, nullable=False),
)

# Whose words were asked to be erased. One that is not finished is gone on with, by whoever finds it due.
erasures = Table(
    "erasures",
    metadata,
    Column("tenant", String(64), primary_key=True),
    Column("customer_id", String(128), primary_key=True),
    Column("begun_at", Instant, nullable=False),
    Column("begun_by", FreeText, nullable=False),
    Column("due_at", Instant, nullable=False),
    Column("finished_at", Instant),
    Index("erasures_due", "finished_at", "due_at"),
)

# What was promoted and rolled back, in order, and the files of what was promoted, for every replica.
release_changes = Table(
    "release_changes",
    metadata,
    Column("number", Integer, primary_key=True, autoincrement=False),
    Column("action", String(16), nullable=False),
    Column("digest", String(64)),
    Column("at", Instant, nullable=False),
    Column("by", String(200), nullable=False),
    Column("source", FreeText, nullable=False),
    Column("note", FreeText, nullable=False),
)
release_files = Table(
    "release_files",
    metadata,
    Column("digest", String(64), primary_key=True),
    Column("file", String(400), primary_key=True),
    Column("content", LargeBinary, nullable=False),
)

ALL = (
    ledger,
    approvals,
    votes,
    outbox,
    requests,
    decisions,
    reviews,
    turns,
    holds,
    threads,
    audit,
    desk_tickets,
    thread_notes,
    traces,
    ratings,
    usage_turns,
    usage_calls,
    spending,
    cached_answers,
    operators,
    revocations,
    erasures,
    release_changes,
    release_files,
    *KNOWLEDGE,
)


def is_kept(conn: Connection, thread: str) -> bool:
    """Is the conversation still there? It stays so until the transaction ends."""
    still = select(threads.c.id).where(threads.c.id == thread).with_for_update(read=True)
    return conn.execute(still).first() is not None


def insert_if_absent(conn: Connection, table: Table, values: Mapping[str, Any]) -> bool:
    """Insert one row unless its primary key is taken; True when it was inserted.

    On PostgreSQL this waits for a concurrent insert of the same key, on SQLite it takes the write lock:
    either way what is read afterwards in the transaction is settled.
    """
    return conn.execute(_attempt(table, conn.dialect.name), values).first() is not None


@cache
def _attempt(table: Table, dialect: str) -> Executable:
    # Each dialect is a tenth of a second to import; one process uses one.
    if dialect == "sqlite":
        from sqlalchemy.dialects.sqlite import insert

        return insert(table).on_conflict_do_nothing().returning(*table.primary_key)
    from sqlalchemy.dialects.postgresql import insert as insert_into_postgresql

    return insert_into_postgresql(table).on_conflict_do_nothing().returning(*table.primary_key)
