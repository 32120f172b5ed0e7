"""What was promoted and rolled back, and its files, for every replica."""

import sqlalchemy as sa
from alembic import op

from app.stores.tables import FreeText, Instant

revision = "0017"
down_revision = "0016"


def upgrade() -> None:
    op.create_table(
        "release_changes",
        sa.Column("number", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("action", sa.String(16), nullable=False),
        sa.Column("digest", sa.String(64)),
        sa.Column("at", Instant, nullable=False),
        sa.Column("by", sa.String(200), nullable=False),
        sa.Column("source", FreeText, nullable=False),
        sa.Column("note", FreeText, nullable=False),
    )
    op.create_table(
        "release_files",
        sa.Column("digest", sa.String(64), primary_key=True),
        sa.Column("file", sa.String(400), primary_key=True),
        sa.Column("content", sa.LargeBinary, nullable=False),
    )


def downgrade() -> None:
    op.drop_table("release_files")
    op.drop_table("release_changes")
