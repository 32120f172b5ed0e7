"""Where turns are in the traces, what customers thought of answers, and what came of turns by when it came."""

import sqlalchemy as sa
from alembic import op

from app.stores.tables import FreeText, Instant

revision = "0013"
down_revision = "0012"


def upgrade() -> None:
    op.create_table(
        "traces",
        sa.Column("turn", sa.String(200), primary_key=True),
        sa.Column("trace", sa.String(32), nullable=False),
        sa.Column("span", sa.String(16), nullable=False),
        sa.Column("scores", sa.JSON, nullable=False),
        sa.Column("at", Instant, nullable=False),
    )
    op.create_index("traces_at", "traces", ["at"])
    op.create_table(
        "ratings",
        sa.Column("turn", sa.String(200), primary_key=True),
        sa.Column("tenant", sa.String(64), nullable=False),
        sa.Column("customer_id", sa.String(64), nullable=False),
        sa.Column("thread", sa.String(200), nullable=False),
        sa.Column("good", sa.Boolean, nullable=False),
        sa.Column("comment", FreeText, nullable=False),
        sa.Column("at", Instant, nullable=False),
    )
    op.create_index("ratings_at", "ratings", ["at"])
    op.create_index("decisions_outcome_at", "decisions", ["outcome_at"])
    op.create_index("reviews_labelled", "reviews", ["labelled_at"])


def downgrade() -> None:
    op.drop_index("reviews_labelled", "reviews")
    op.drop_index("decisions_outcome_at", "decisions")
    op.drop_table("ratings")
    op.drop_table("traces")
