"""Whose words were erased, the audit's words apart from its chain, and the conversation of a sampled message."""

import sqlalchemy as sa
from alembic import op

from app.stores.tables import FreeText, Instant

revision = "0016"
down_revision = "0015"

_REFUSED = "the audit is only ever added to"
_SAME = ("tenant", "seq", "at", "kind", "actor", "action", "thread", "turn", "previous", "hash")


def _only_words_go(same: str) -> str:
    """A change that takes the words out of a row and nothing else; rows of earlier versions have them in the facts."""
    kept = " AND ".join(f"NEW.{name} {same} OLD.{name}" for name in _SAME)
    facts = f"(NEW.facts {same} OLD.facts OR (NEW.facts = '' AND OLD.words IS NULL))"
    return f"NEW.words IS NULL AND {facts} AND {kept}"


def upgrade() -> None:
    op.create_table(
        "erasures",
        sa.Column("tenant", sa.String(64), primary_key=True),
        sa.Column("customer_id", sa.String(128), primary_key=True),
        sa.Column("begun_at", Instant, nullable=False),
        sa.Column("begun_by", FreeText, nullable=False),
        sa.Column("due_at", Instant, nullable=False),
        sa.Column("finished_at", Instant),
    )
    op.create_index("erasures_due", "erasures", ["finished_at", "due_at"])
    op.add_column("reviews", sa.Column("thread", sa.String(200)))
    op.create_index("reviews_thread", "reviews", ["thread"])
    op.execute(
        "UPDATE reviews SET thread = (SELECT thread FROM decisions WHERE decisions.id = reviews.decision)"
    )
    op.add_column("audit", sa.Column("words", sa.Text))
    if op.get_bind().dialect.name == "sqlite":
        op.execute("DROP TRIGGER audit_no_update")
        op.execute(
            f"CREATE TRIGGER audit_no_update BEFORE UPDATE ON audit WHEN NOT ({_only_words_go('IS')}) "
            f"BEGIN SELECT RAISE(ABORT, '{_REFUSED}'); END"
        )
        return
    op.execute("DROP TRIGGER audit_no_change ON audit")
    op.execute(
        "CREATE TRIGGER audit_no_change BEFORE DELETE OR TRUNCATE ON audit "
        "FOR EACH STATEMENT EXECUTE FUNCTION audit_is_append_only()"
    )
    op.execute(
        "CREATE TRIGGER audit_no_update BEFORE UPDATE ON audit FOR EACH ROW "
        f"WHEN (NOT ({_only_words_go('IS NOT DISTINCT FROM')})) "
        "EXECUTE FUNCTION audit_is_append_only()"
    )


def downgrade() -> None:
    if op.get_bind().dialect.name == "sqlite":
        op.execute("DROP TRIGGER audit_no_update")
        op.execute(
            f"CREATE TRIGGER audit_no_update BEFORE UPDATE ON audit BEGIN SELECT RAISE(ABORT, '{_REFUSED}'); END"
        )
    else:
        op.execute("DROP TRIGGER audit_no_update ON audit")
        op.execute("DROP TRIGGER audit_no_change ON audit")
        op.execute(
            "CREATE TRIGGER audit_no_change BEFORE UPDATE OR DELETE OR TRUNCATE ON audit "
            "FOR EACH STATEMENT EXECUTE FUNCTION audit_is_append_only()"
        )
    op.drop_column("audit", "words")
    op.drop_index("reviews_thread", "reviews")
    op.drop_column("reviews", "thread")
    op.drop_table("erasures")
