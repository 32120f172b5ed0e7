"""A customer may take a waiting action back; a ticket names its record and the problem."""

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"

_BEFORE = ("pending", "approved", "rejected", "expired", "started", "executed", "failed")
_NOW = (*_BEFORE, "withdrawn")


def _allow(statuses: tuple[str, ...]) -> None:
    listed = ", ".join(f"'{status}'" for status in statuses)
    # SQLite changes a constraint only by copying the table.
    with op.batch_alter_table("approvals") as table:
        table.drop_constraint(op.f("ck_approvals_status_known"), type_="check")
        table.create_check_constraint(
            op.f("ck_approvals_status_known"), sa.text(f"status IN ({listed})")
        )


def upgrade() -> None:
    _allow(_NOW)
    op.create_index("approvals_customer", "approvals", ["tenant", "customer_id", "status"])
    op.add_column("tickets", sa.Column("record", sa.String(20)))
    op.add_column("tickets", sa.Column("case", sa.String(60)))


def downgrade() -> None:
    op.drop_column("tickets", "case")
    op.drop_column("tickets", "record")
    op.drop_index("approvals_customer", "approvals")
    op.execute("UPDATE approvals SET status = 'rejected' WHERE status = 'withdrawn'")
    _allow(_BEFORE)
