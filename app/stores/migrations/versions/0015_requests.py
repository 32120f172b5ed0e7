"""What customers were asked to confirm, so that the same request is known again."""

import sqlalchemy as sa
from alembic import op

from app.stores.tables import FreeText, Instant

revision = "0015"
down_revision = "0014"


def upgrade() -> None:
    op.create_table(
        "requests",
        sa.Column("tenant", sa.String(64), primary_key=True),
        sa.Column("customer_id", sa.String(64), primary_key=True),
        sa.Column("fingerprint", sa.String(200), primary_key=True),
        sa.Column("key", sa.String(200), nullable=False),
        sa.Column("request", sa.String(200), nullable=False),
        sa.Column("thread", sa.String(200), nullable=False),
        sa.Column("label", FreeText, nullable=False),
        sa.Column("effects", sa.JSON, nullable=False),
        sa.Column("asked_at", Instant, nullable=False),
    )
    op.create_index("requests_asked", "requests", ["asked_at"])
    op.create_index("approvals_fingerprint", "approvals", ["fingerprint"])


def downgrade() -> None:
    op.drop_index("approvals_fingerprint", "approvals")
    op.drop_table("requests")
