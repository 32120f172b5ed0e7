"""Which answers are given again, and which of them people withdrew."""

import sqlalchemy as sa
from alembic import op

from app.stores.tables import FreeText, Instant

revision = "0019"
down_revision = "0018"


def upgrade() -> None:
    op.create_table(
        "cached_answers",
        sa.Column("id", sa.String(64), primary_key=True),
        sa.Column("tenant", sa.String(64), nullable=False),
        sa.Column("wording", sa.String(64), nullable=False),
        sa.Column("said", sa.String(64), nullable=False),
        sa.Column("question", FreeText, nullable=False),
        sa.Column("text", FreeText, nullable=False),
        sa.Column("language", sa.String(16), nullable=False),
        sa.Column("sources", sa.JSON, nullable=False),
        sa.Column("articles", sa.String(64), nullable=False),
        sa.Column("made_at", Instant, nullable=False),
        sa.Column("served", sa.Integer, nullable=False),
        sa.Column("served_at", Instant),
        sa.Column("withdrawn_at", Instant),
        sa.Column("withdrawn_by", FreeText),
    )
    op.create_index("cached_answers_wording", "cached_answers", ["tenant", "wording"])
    op.create_index("cached_answers_said", "cached_answers", ["tenant", "said"])
    op.create_index("cached_answers_made_at", "cached_answers", ["made_at"])


def downgrade() -> None:
    op.drop_table("cached_answers")
