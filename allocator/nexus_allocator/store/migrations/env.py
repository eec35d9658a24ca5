"""Run by Alembic: migrates over the connection that `schema.upgrade` opened."""

from alembic import context

from nexus_allocator.store import (  # noqa: F401 - they register themselves
    api_tables,
    care_tables,
    entering_tables,
    event_tables,
    outbox_tables,
    panel_tables,
    places_tables,
    purge_tables,
    record_tables,
    storage_tables,
    tables,
    webhook_tables,
)
from nexus_allocator.store.base import Base

context.configure(
    connection=context.config.attributes["connection"], target_metadata=Base.metadata, compare_type=True
)
context.run_migrations()
