"""Since when a thread waits for a person, who took it, and what operators wrote down about it."""

import sqlalchemy as sa
from alembic import op

from app.stores.tables import FreeText, Instant

revision = "0010"
down_revision = "0009"


def upgrade() -> None:
    op.add_column("threads", sa.Column("handed_off_at", Instant))
    op.add_column("threads", sa.Column("claimed_by", FreeText))
    # Since when is not known of those that wait already: as long as they exist.
    op.execute("UPDATE threads SET handed_off_at = created_at WHERE handed_off")
    op.create_table(
        "thread_notes",
        sa.Column("id", sa.String(40), primary_key=True),
        sa.Column("tenant", sa.String(64), nullable=False),
        sa.Column("thread", sa.String(200), nullable=False),
        sa.Column("at", Instant, nullable=False),
        sa.Column("author", FreeText, nullable=False),
        sa.Column("text", FreeText, nullable=False),
    )
    op.create_index("thread_notes_thread", "thread_notes", ["thread", "at"])


def downgrade() -> None:
    op.drop_table("thread_notes")
    with op.batch_alter_table("threads") as table:
        table.drop_column("claimed_by")
        table.drop_column("handed_off_at")
