"""Operators whose keys can be changed and withdrawn, and sessions that were ended."""

import sqlalchemy as sa
from alembic import op

from app.stores.tables import Instant

revision = "0014"
down_revision = "0013"


def upgrade() -> None:
    op.create_table(
        "operators",
        sa.Column("name", sa.String(64), primary_key=True),
        sa.Column("role", sa.String(16), nullable=False),
        sa.Column("tenant", sa.String(64)),
        sa.Column("digest", sa.String(64), nullable=False, unique=True),
        sa.Column("created_at", Instant, nullable=False),
        sa.Column("changed_at", Instant, nullable=False),
        sa.Column("last_used_at", Instant),
        sa.Column("revoked_at", Instant),
        sa.CheckConstraint("role IN ('agent', 'admin')", name="role_known"),
    )
    op.create_table(
        "revocations",
        sa.Column("subject", sa.String(200), primary_key=True),
        sa.Column("at", Instant, nullable=False),
        sa.Column("until", Instant, nullable=False),
    )


def downgrade() -> None:
    op.drop_table("revocations")
    op.drop_table("operators")
