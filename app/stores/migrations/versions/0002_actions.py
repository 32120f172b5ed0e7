"""The life of actions (ledger, approvals, outbox), decisions, turns and threads."""

import sqlalchemy as sa
from alembic import op

from app.stores.tables import FreeText, Instant

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    op.create_table(
        "ledger",
        sa.Column("tenant", sa.String(64), primary_key=True),
        sa.Column("operation", sa.String(64), primary_key=True),
        sa.Column("key", sa.String(200), primary_key=True),
        sa.Column("fingerprint", sa.String(200), nullable=False),
        sa.Column("arguments", sa.Text, nullable=False),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("owner", sa.String(32), nullable=False),
        sa.Column("lease_until", Instant, nullable=False),
        sa.Column("action_id", sa.String(200), nullable=False),
        sa.Column("customer_id", sa.String(64), nullable=False),
        sa.Column("label", FreeText, nullable=False),
        sa.Column("result", sa.JSON),
        sa.Column("error", FreeText),
        sa.Column("created_at", Instant, nullable=False),
        sa.Column("finished_at", Instant),
        sa.CheckConstraint(
            "state IN ('started', 'succeeded', 'failed', 'unknown')",
            name=op.f("ck_ledger_state_known"),
        ),
    )
    op.create_index("ledger_action", "ledger", ["action_id"])

    op.create_table(
        "approvals",
        sa.Column("action_id", sa.String(200), primary_key=True),
        sa.Column("tenant", sa.String(64), nullable=False),
        sa.Column("customer_id", sa.String(64), nullable=False),
        sa.Column("operation", sa.String(64), nullable=False),
        sa.Column("key", sa.String(200), nullable=False),
        sa.Column("fingerprint", sa.String(200), nullable=False),
        sa.Column("arguments", sa.Text, nullable=False),
        sa.Column("action", sa.JSON, nullable=False),
        sa.Column("verdict", sa.JSON, nullable=False),
        sa.Column("status", sa.String(16), nullable=False),
        sa.Column("requested_at", Instant, nullable=False),
        sa.Column("expires_at", Instant, nullable=False),
        sa.Column("reviewer", FreeText),
        sa.Column("note", FreeText),
        sa.Column("decided_at", Instant),
        sa.CheckConstraint(
            "status IN ('pending', 'approved', 'rejected', 'expired', 'executed')",
            name=op.f("ck_approvals_status_known"),
        ),
    )
    op.create_index("approvals_status", "approvals", ["status", "expires_at"])
    op.create_index("approvals_requested", "approvals", ["requested_at"])

    op.create_table(
        "outbox",
        sa.Column("action_id", sa.String(200), primary_key=True),
        sa.Column("tenant", sa.String(64), nullable=False),
        sa.Column("customer_id", sa.String(64), nullable=False),
        sa.Column("thread", sa.String(200), nullable=False),
        sa.Column("outcome", sa.JSON, nullable=False),
        sa.Column("created_at", Instant, nullable=False),
        sa.Column("due_at", Instant, nullable=False),
        sa.Column("delivered_at", Instant),
    )
    op.create_index("outbox_due", "outbox", ["delivered_at", "due_at"])

    op.create_table(
        "decisions",
        sa.Column(
            "id",
            sa.BigInteger().with_variant(sa.Integer, "sqlite"),
            primary_key=True,
            autoincrement=True,
        ),
        sa.Column("at", Instant, nullable=False),
        sa.Column("tenant", sa.String(64), nullable=False),
        sa.Column("thread", sa.String(200), nullable=False),
        sa.Column("turn", sa.String(200), nullable=False),
        sa.Column("input", FreeText, nullable=False),
        sa.Column("role", sa.String(64), nullable=False),
        sa.Column("chosen", FreeText, nullable=False),
        sa.Column("probability", sa.Float, nullable=False),
        sa.Column("alternatives", sa.JSON, nullable=False),
        sa.Column("abstained", sa.Boolean, nullable=False),
        sa.Column("reason", FreeText, nullable=False),
        sa.Column("tier", sa.String(16), nullable=False),
        sa.Column("model", sa.Text, nullable=False),
        sa.Column("prompt", sa.String(200), nullable=False),
        sa.Column("ms", sa.Float, nullable=False),
        sa.Column("outcome", FreeText),
    )
    op.create_index("decisions_thread", "decisions", ["thread", "id"])
    op.create_index("decisions_turn", "decisions", ["turn"])
    op.create_index("decisions_at", "decisions", ["at"])

    op.create_table(
        "turns",
        sa.Column("tenant", sa.String(64), primary_key=True),
        sa.Column("customer_id", sa.String(64), primary_key=True),
        sa.Column("key", sa.String(200), primary_key=True),
        sa.Column("fingerprint", sa.String(200), nullable=False),
        sa.Column("owner", sa.String(32), nullable=False),
        sa.Column("lease_until", Instant, nullable=False),
        sa.Column("response", sa.JSON),
        sa.Column("created_at", Instant, nullable=False),
        sa.Column("finished_at", Instant),
    )
    op.create_index("turns_created", "turns", ["created_at"])

    op.create_table(
        "threads",
        sa.Column("id", sa.String(200), primary_key=True),
        sa.Column("tenant", sa.String(64), nullable=False),
        sa.Column("customer_id", sa.String(64), nullable=False),
        sa.Column("created_at", Instant, nullable=False),
        sa.Column("title", FreeText, nullable=False),
        sa.Column("handed_off", sa.Boolean, nullable=False),
    )
    op.create_index("threads_customer", "threads", ["tenant", "customer_id", "created_at"])


def downgrade() -> None:
    for table in ("threads", "turns", "decisions", "outbox", "approvals", "ledger"):
        op.drop_table(table)
