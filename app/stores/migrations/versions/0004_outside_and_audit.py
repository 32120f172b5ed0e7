"""What settles an effect in another system, and the append-only audit chain."""

import sqlalchemy as sa
from alembic import op

from app.stores.tables import FreeText, Instant

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    op.add_column("ledger", sa.Column("action", sa.JSON))
    op.add_column("ledger", sa.Column("payment_order", sa.JSON))
    op.add_column("ledger", sa.Column("called_at", Instant))
    op.add_column("ledger", sa.Column("looked_at", Instant))
    op.add_column("ledger", sa.Column("found", FreeText))
    op.create_index("ledger_state", "ledger", ["state", "lease_until"])
    op.create_table(
        "audit",
        sa.Column("tenant", sa.String(64), primary_key=True),
        sa.Column("seq", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("at", Instant, nullable=False),
        sa.Column("kind", sa.String(32), nullable=False),
        sa.Column("actor", FreeText, nullable=False),
        sa.Column("action", sa.String(200), nullable=False),
        sa.Column("thread", sa.String(200), nullable=False),
        sa.Column("turn", sa.String(200), nullable=False),
        sa.Column("facts", sa.Text, nullable=False),
        sa.Column("previous", sa.String(64), nullable=False),
        sa.Column("hash", sa.String(64), nullable=False),
    )
    op.create_index("audit_action", "audit", ["action"])
    if op.get_bind().dialect.name == "sqlite":
        for change in ("update", "delete"):
            op.execute(
                f"CREATE TRIGGER audit_no_{change} BEFORE {change.upper()} ON audit BEGIN "
                "SELECT RAISE(ABORT, 'the audit is only ever added to'); END"
            )
        return
    op.execute(
        "CREATE FUNCTION audit_is_append_only() RETURNS trigger LANGUAGE plpgsql AS "
        "$$ BEGIN RAISE EXCEPTION 'the audit is only ever added to'; END $$"
    )
    op.execute(
        "CREATE TRIGGER audit_no_change BEFORE UPDATE OR DELETE OR TRUNCATE ON audit "
        "FOR EACH STATEMENT EXECUTE FUNCTION audit_is_append_only()"
    )


def downgrade() -> None:
    op.drop_table("audit")
    if op.get_bind().dialect.name != "sqlite":
        op.execute("DROP FUNCTION audit_is_append_only()")
    op.drop_index("ledger_state", "ledger")
    for column in ("found", "looked_at", "called_at", "payment_order", "action"):
        op.drop_column("ledger", column)
