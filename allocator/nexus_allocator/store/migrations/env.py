"""Run by Alembic: migrates over the connection that `schema.upgrade` opened."""

from alembic import context

from nexus_allocator.store import panel_tables, tables  # noqa: F401 - the tables register themselves with Base
from nexus_allocator.store.base import Base

context.configure(
    connection=context.config.attributes["connection"], target_metadata=Base.metadata, compare_type=True
)
context.run_migrations()
