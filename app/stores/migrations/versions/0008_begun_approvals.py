"""An approval says whether its action was begun, and what came of it."""

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"

_BEFORE = ("pending", "approved", "rejected", "expired", "executed")
_NOW = ("pending", "approved", "rejected", "expired", "started", "executed", "failed")


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
    # "executed" has meant that it was begun; the ledger knows how it ended.
    for status, states in (("failed", "'failed'"), ("started", "'started', 'unknown'")):
        op.execute(
            f"UPDATE approvals SET status = '{status}' WHERE status = 'executed' AND EXISTS (SELECT 1 "
            f"FROM ledger WHERE ledger.action_id = approvals.action_id AND ledger.state IN ({states}))"
        )


def downgrade() -> None:
    op.execute("UPDATE approvals SET status = 'executed' WHERE status IN ('started', 'failed')")
    _allow(_BEFORE)
