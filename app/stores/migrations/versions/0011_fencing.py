"""Holds on threads with tokens that grow, and a token for each claim of the outbox."""

import sqlalchemy as sa
from alembic import op

from app.stores.tables import Instant

revision = "0011"
down_revision = "0010"


def upgrade() -> None:
    op.create_table(
        "holds",
        sa.Column("name", sa.String(200), nullable=False),
        sa.Column("token", sa.BigInteger, nullable=False),
        sa.Column("until", Instant, nullable=False),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_holds")),
    )
    op.create_index("holds_until", "holds", ["until"])
    op.create_table(
        "fencing_tokens",
        sa.Column(
            "last",
            sa.BigInteger().with_variant(sa.Integer, "sqlite"),
            primary_key=True,
            autoincrement=True,
        ),
    )
    if op.get_bind().dialect.name == "sqlite":
        op.execute("INSERT INTO fencing_tokens (last) VALUES (0)")
    op.add_column("outbox", sa.Column("claim", sa.String(32)))
    # Until now threads were held in the table of keys, under no customer.
    op.execute("DELETE FROM turns WHERE tenant = '' AND customer_id = ''")


def downgrade() -> None:
    op.drop_column("outbox", "claim")
    op.drop_table("fencing_tokens")
    op.drop_table("holds")
