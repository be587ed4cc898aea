"""Run by Alembic, with the connection that `recsys.database.migration` gives."""

from alembic import context

from recsys.database.tables import metadata

context.configure(connection=context.config.attributes["connection"], target_metadata=metadata, render_as_batch=True)
context.run_migrations()
