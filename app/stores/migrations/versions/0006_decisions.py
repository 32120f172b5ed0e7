"""What came of a decision, where it led, who decided beside the live model, and what people say of it."""

import sqlalchemy as sa
from alembic import op

from app.stores.tables import FreeText, Instant

revision = "0006"
down_revision = "0005"

_ADDED = (
    ("adapter", lambda: sa.Column("adapter", sa.String(200), nullable=False, server_default="")),
    ("lane", lambda: sa.Column("lane", sa.String(16))),
    ("sketch", lambda: sa.Column("sketch", sa.LargeBinary)),
    ("shadow", lambda: sa.Column("shadow", sa.String(64))),
    ("outcome_detail", lambda: sa.Column("outcome_detail", FreeText)),
    ("outcome_at", lambda: sa.Column("outcome_at", Instant)),
)


def upgrade() -> None:
    for _, column in _ADDED:
        op.add_column("decisions", column())
    # Outcomes were free words before; they stay readable, and none is taken for one of the known kinds.
    op.execute(
        "UPDATE decisions SET outcome_detail = outcome, outcome = NULL WHERE outcome IS NOT NULL"
    )
    op.create_index("decisions_role", "decisions", ["role", "id"])
    op.create_table(
        "reviews",
        sa.Column("sample", sa.String(64), primary_key=True),
        sa.Column("decision", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("tenant", sa.String(64), nullable=False),
        sa.Column("turn", sa.String(200), nullable=False),
        sa.Column("at", Instant, nullable=False),
        sa.Column("input", FreeText, nullable=False),
        sa.Column("chosen", FreeText, nullable=False),
        sa.Column("lane", sa.String(16), nullable=False),
        sa.Column("tier", sa.String(16), nullable=False),
        sa.Column("probability", sa.Float, nullable=False),
        sa.Column("alternatives", sa.JSON, nullable=False),
        sa.Column("stratum", sa.String(200), nullable=False),
        sa.Column("weight", sa.Float, nullable=False),
        sa.Column("drawn_at", Instant, nullable=False),
        sa.Column("label", sa.String(200)),
        sa.Column("skipped", sa.Boolean, nullable=False),
        sa.Column("reviewer", FreeText),
        sa.Column("labelled_at", Instant),
    )
    op.create_index("reviews_turn", "reviews", ["turn"])


def downgrade() -> None:
    op.drop_table("reviews")
    op.drop_index("decisions_role", "decisions")
    for name, _ in reversed(_ADDED):
        op.drop_column("decisions", name)
