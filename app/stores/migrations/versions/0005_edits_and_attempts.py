"""An edited action that still has to go to the gate, and how often an effect was begun."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    op.add_column("approvals", sa.Column("successor", sa.JSON))
    replaced = sa.text("successor IS NOT NULL")
    op.create_index(
        "approvals_successor",
        "approvals",
        ["decided_at"],
        sqlite_where=replaced,
        postgresql_where=replaced,
    )
    op.add_column(
        "ledger", sa.Column("attempts", sa.Integer, nullable=False, server_default=sa.text("1"))
    )


def downgrade() -> None:
    op.drop_column("ledger", "attempts")
    op.drop_index("approvals_successor", "approvals")
    op.drop_column("approvals", "successor")
