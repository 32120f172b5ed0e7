"""What each turn asked of models and cost, and what was spent on a day."""

import sqlalchemy as sa
from alembic import op

from app.stores.tables import Instant

revision = "0018"
down_revision = "0017"


def upgrade() -> None:
    op.create_table(
        "usage_turns",
        sa.Column("turn", sa.String(200), primary_key=True),
        sa.Column("tenant", sa.String(64), nullable=False),
        sa.Column("domain", sa.String(64), nullable=False),
        sa.Column("customer_id", sa.String(128), nullable=False),
        sa.Column("thread", sa.String(200), nullable=False),
        sa.Column("at", Instant, nullable=False),
        sa.Column("lane", sa.String(16)),
        sa.Column("tier", sa.String(16)),
        sa.Column("outcome", sa.String(16)),
        sa.Column("seconds", sa.Float, nullable=False),
        sa.Column("llm_calls", sa.Integer, nullable=False),
        sa.Column("cost", sa.Float, nullable=False),
        sa.Column("unpriced", sa.Integer, nullable=False),
    )
    op.create_index("usage_turns_at", "usage_turns", ["at"])
    op.create_index("usage_turns_thread", "usage_turns", ["thread"])
    op.create_table(
        "usage_calls",
        sa.Column(
            "id",
            sa.BigInteger().with_variant(sa.Integer, "sqlite"),
            primary_key=True,
            autoincrement=True,
        ),
        sa.Column("turn", sa.String(200), nullable=False),
        sa.Column("thread", sa.String(200), nullable=False),
        sa.Column("at", Instant, nullable=False),
        sa.Column("tier", sa.String(16), nullable=False),
        sa.Column("role", sa.String(64), nullable=False),
        sa.Column("model", sa.String(200), nullable=False),
        sa.Column("local", sa.Boolean, nullable=False),
        sa.Column("masked", sa.Boolean, nullable=False),
        sa.Column("calls", sa.Integer, nullable=False),
        sa.Column("failed", sa.Integer, nullable=False),
        sa.Column("read", sa.BigInteger, nullable=False),
        sa.Column("cached", sa.BigInteger, nullable=False),
        sa.Column("written", sa.BigInteger, nullable=False),
        sa.Column("cost", sa.Float),
    )
    op.create_index("usage_calls_turn", "usage_calls", ["turn"])
    op.create_index("usage_calls_thread", "usage_calls", ["thread"])
    op.create_index("usage_calls_at", "usage_calls", ["at"])
    op.create_table(
        "spending",
        sa.Column("tenant", sa.String(64), primary_key=True),
        sa.Column("customer_id", sa.String(128), primary_key=True),
        sa.Column("day", sa.Date, primary_key=True),
        sa.Column("spent", sa.Float, nullable=False),
    )


def downgrade() -> None:
    op.drop_table("spending")
    op.drop_table("usage_calls")
    op.drop_table("usage_turns")
