"""The desk's own tickets, for businesses that keep none of their own with us."""

import sqlalchemy as sa
from alembic import op

from app.stores.tables import FreeText

revision = "0012"
down_revision = "0011"


def upgrade() -> None:
    op.create_table(
        "desk_tickets",
        sa.Column("tenant", sa.String(64), primary_key=True),
        sa.Column("number", sa.String(20), primary_key=True),
        sa.Column("place", sa.Integer, nullable=False),
        sa.Column("customer_id", sa.String(128), nullable=False),
        sa.Column("subject", FreeText, nullable=False),
        sa.Column("body", FreeText, nullable=False),
        sa.Column("opened_on", sa.Date, nullable=False),
        sa.Column("kind", sa.String(20), nullable=False),
        sa.Column("record", FreeText),
        sa.Column("case_name", FreeText),
    )
    op.create_index("desk_tickets_customer", "desk_tickets", ["tenant", "customer_id"])


def downgrade() -> None:
    op.drop_table("desk_tickets")
