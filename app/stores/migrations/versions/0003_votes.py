"""Each reviewer's vote on an approval."""

import sqlalchemy as sa
from alembic import op

from app.stores.tables import FreeText, Instant

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    op.create_table(
        "votes",
        sa.Column("action_id", sa.String(200), primary_key=True),
        sa.Column("person", sa.String(200), primary_key=True),
        sa.Column("approve", sa.Boolean, primary_key=True),
        sa.Column("reviewer", FreeText, nullable=False),
        sa.Column("role", sa.String(16), nullable=False),
        sa.Column("note", FreeText),
        sa.Column("at", Instant, nullable=False),
        sa.CheckConstraint("role IN ('agent', 'admin')", name=op.f("ck_votes_role_known")),
    )
    # Answers from before there were votes: each was one reviewer's.
    op.execute(
        "INSERT INTO votes (action_id, person, approve, reviewer, role, note, at) "
        "SELECT action_id, lower(reviewer), status <> 'rejected', reviewer, 'agent', note, decided_at "
        "FROM approvals WHERE reviewer IS NOT NULL AND decided_at IS NOT NULL"
    )


def downgrade() -> None:
    op.drop_table("votes")
