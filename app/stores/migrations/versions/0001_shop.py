"""The shop's books: customers, products and the six kinds of numbered records."""

from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def _numbered(name: str, *columns: sa.Column[Any]) -> None:
    op.create_table(
        name,
        sa.Column("tenant", sa.String(60), nullable=False),
        sa.Column("number", sa.String(20), nullable=False),
        sa.Column("customer_id", sa.String(60), nullable=False),
        *columns,
        sa.ForeignKeyConstraint(
            ["tenant", "customer_id"],
            ["customers.tenant", "customers.id"],
            name=op.f(f"fk_{name}_tenant_customers"),
        ),
        sa.PrimaryKeyConstraint("tenant", "number", name=op.f(f"pk_{name}")),
    )
    op.create_index(f"ix_{name}_owner", name, ["tenant", "customer_id"])


def upgrade() -> None:
    op.create_table(
        "customers",
        sa.Column("tenant", sa.String(60), nullable=False),
        sa.Column("id", sa.String(60), nullable=False),
        sa.Column("name", sa.String(200), nullable=False),
        sa.Column("email", sa.String(320), nullable=False),
        sa.Column("phone", sa.String(40)),
        sa.Column("segment", sa.String(20), nullable=False),
        sa.Column("since", sa.Date, nullable=False),
        sa.PrimaryKeyConstraint("tenant", "id", name=op.f("pk_customers")),
    )
    op.create_table(
        "products",
        sa.Column("tenant", sa.String(60), nullable=False),
        sa.Column("sku", sa.String(20), nullable=False),
        sa.Column("name", sa.String(200), nullable=False),
        sa.Column("category", sa.String(40), nullable=False),
        sa.Column("price", sa.BigInteger, nullable=False),
        sa.Column("weight_g", sa.Integer, nullable=False),
        sa.PrimaryKeyConstraint("tenant", "sku", name=op.f("pk_products")),
    )
    op.create_table(
        "counters",
        sa.Column("tenant", sa.String(60), nullable=False),
        sa.Column("kind", sa.String(20), nullable=False),
        sa.Column("last", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("tenant", "kind", name=op.f("pk_counters")),
    )
    _numbered(
        "orders",
        sa.Column("status", sa.String(20), nullable=False),
        sa.Column("placed_on", sa.Date, nullable=False),
        sa.Column("lines", sa.JSON, nullable=False),
        sa.Column("shipping", sa.BigInteger, nullable=False),
        sa.Column("total", sa.BigInteger, nullable=False),
        sa.Column("currency", sa.String(3), nullable=False),
        sa.Column("payment", sa.String(20), nullable=False),
        sa.Column("delivery_address", sa.String(400), nullable=False),
        sa.Column("carrier", sa.String(60)),
        sa.Column("tracking", sa.String(60)),
        sa.Column("expected_on", sa.Date),
        sa.Column("delivered_on", sa.Date),
        sa.Column("refunded", sa.BigInteger, nullable=False),
    )
    _numbered(
        "invoices",
        sa.Column("order_number", sa.String(20)),
        sa.Column("issued_on", sa.Date, nullable=False),
        sa.Column("total", sa.BigInteger, nullable=False),
        sa.Column("currency", sa.String(3), nullable=False),
        sa.Column("paid", sa.Boolean, nullable=False),
        sa.Column("sent_to", sa.String(320), nullable=False),
        sa.Column("times_sent", sa.Integer, nullable=False),
    )
    _numbered(
        "subscriptions",
        sa.Column("plan", sa.String(20), nullable=False),
        sa.Column("status", sa.String(20), nullable=False),
        sa.Column("price", sa.BigInteger, nullable=False),
        sa.Column("currency", sa.String(3), nullable=False),
        sa.Column("started_on", sa.Date, nullable=False),
        sa.Column("renews_on", sa.Date),
        sa.Column("paused_until", sa.Date),
        sa.Column("ends_on", sa.Date),
        sa.Column("cancel_reason", sa.String(400)),
    )
    _numbered(
        "refunds",
        sa.Column("order_number", sa.String(20), nullable=False),
        sa.Column("amount", sa.BigInteger, nullable=False),
        sa.Column("currency", sa.String(3), nullable=False),
        sa.Column("status", sa.String(20), nullable=False),
        sa.Column("method", sa.String(20), nullable=False),
        sa.Column("requested_on", sa.Date, nullable=False),
        sa.Column("reason", sa.String(400)),
    )
    _numbered(
        "charges",
        sa.Column("order_number", sa.String(20), nullable=False),
        sa.Column("product", sa.String(200), nullable=False),
        sa.Column("amount", sa.BigInteger, nullable=False),
        sa.Column("currency", sa.String(3), nullable=False),
        sa.Column("charged_on", sa.Date, nullable=False),
    )
    _numbered(
        "tickets",
        sa.Column("subject", sa.String(400), nullable=False),
        sa.Column("body", sa.Text, nullable=False),
        sa.Column("opened_on", sa.Date, nullable=False),
        sa.Column("kind", sa.String(20), nullable=False),
    )


def downgrade() -> None:
    for name in ("tickets", "charges", "refunds", "subscriptions", "invoices", "orders"):
        op.drop_table(name)
    for name in ("counters", "products", "customers"):
        op.drop_table(name)
