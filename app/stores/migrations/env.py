"""Alembic's entry: runs the migrations on the connection that ``app.stores.database.migrate`` passes in."""

from alembic import context

from app.stores.database import metadata

context.configure(connection=context.config.attributes["connection"], target_metadata=metadata)
context.run_migrations()
