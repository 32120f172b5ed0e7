"""What the knowledge base consists of, where a Qdrant server holds its vectors."""

import sqlalchemy as sa
from alembic import op

from app.stores.tables import FreeText, Instant

revision = "0007"
down_revision = "0006"


def upgrade() -> None:
    op.create_table(
        "knowledge_files",
        sa.Column("collection", sa.String(64), primary_key=True),
        sa.Column("source", sa.String(800), primary_key=True),
        sa.Column("root", FreeText, nullable=False),
        sa.Column("digest", sa.String(64), nullable=False),
        sa.Column("failures", sa.JSON, nullable=False),
    )
    op.create_table(
        "knowledge_documents",
        sa.Column("collection", sa.String(64), primary_key=True),
        sa.Column("source", sa.String(1400), primary_key=True),
        sa.Column("file", sa.String(800), nullable=False),
        sa.Column("digest", sa.String(64), nullable=False),
        sa.Column("slug", FreeText, nullable=False),
        sa.Column("title", FreeText, nullable=False),
        sa.Column("front", sa.JSON, nullable=False),
        sa.Column("body", sa.LargeBinary, nullable=False),
        sa.Column("warnings", sa.JSON, nullable=False),
    )
    op.create_index("knowledge_documents_file", "knowledge_documents", ["collection", "file"])
    op.create_table(
        "knowledge_generations",
        sa.Column("collection", sa.String(64), primary_key=True),
        sa.Column("generation", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("model", FreeText, nullable=False),
        sa.Column("size", sa.Integer, nullable=False),
        sa.Column("chunking", sa.String(64), nullable=False),
        sa.Column("made_at", Instant, nullable=False),
        sa.CheckConstraint(
            "state IN ('building', 'live', 'previous')",
            name=op.f("ck_knowledge_generations_state_known"),
        ),
    )
    op.create_table(
        "knowledge_indexed",
        sa.Column("collection", sa.String(64), primary_key=True),
        sa.Column("generation", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("source", sa.String(1400), primary_key=True),
        sa.Column("digest", sa.String(64), nullable=False),
        sa.Column("status", sa.String(16), nullable=False),
        sa.Column("chunks", sa.JSON, nullable=False),
    )
    op.create_table(
        "knowledge_uses",
        sa.Column("collection", sa.String(64), primary_key=True),
        sa.Column("source", sa.String(1400), primary_key=True),
        sa.Column("retrieved", sa.BigInteger, nullable=False),
        sa.Column("kept", sa.BigInteger, nullable=False),
        sa.Column("last_at", Instant, nullable=False),
    )
    op.create_table(
        "knowledge_collections",
        sa.Column("collection", sa.String(64), primary_key=True),
        sa.Column("stamp", sa.BigInteger, nullable=False),
        sa.Column("writer", sa.String(64), nullable=False),
        sa.Column("writer_until", Instant, nullable=False),
    )
