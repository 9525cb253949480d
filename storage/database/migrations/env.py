"""Alembic environment; :func:`storage.database.migrations.upgrade` passes the connection."""

from alembic import context

from storage.database.schema import metadata

context.configure(connection=context.config.attributes["connection"], target_metadata=metadata)
with context.begin_transaction():
    context.run_migrations()
