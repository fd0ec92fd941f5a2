"""Alembic's entry: migrates over the connection that failsafe/store/engine.py hands in."""

from alembic import context

from failsafe.store.schema import metadata

context.configure(connection=context.config.attributes["connection"], target_metadata=metadata, render_as_batch=True)
with context.begin_transaction():
    context.run_migrations()
