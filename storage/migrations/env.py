"""What Alembic runs around the migrations: the connection comes from :func:`storage.migrations.upgrade`."""

from alembic import context

from storage.schema import metadata

context.configure(connection=context.config.attributes["connection"], target_metadata=metadata)
with context.begin_transaction():
    context.run_migrations()
