"""Bringing a database to the current schema, and comparing it with the tables."""

import pkgutil
from importlib import import_module
from importlib.resources import files
from typing import Any

from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection

from nexus_allocator.store.base import Base
from nexus_allocator.store.session import Database


def upgrade(database: Database, revision: str = "head") -> None:
    """Run the migrations that the database lacks, all in one transaction."""
    with database.migrating() as connection:
        command.upgrade(_config(connection), revision)


def is_ready(database: Database) -> bool:
    """Whether the database has at least the schema of this code; a newer version's is taken for that."""
    revision, ours = current(database), _scripts()
    return revision is not None and (revision == ours.get_current_head() or revision not in known())


def known() -> set[str]:
    """Return the revisions of which this code knows the schema."""
    return {script.revision for script in _scripts().walk_revisions()}


def current(database: Database) -> str | None:
    """Return the database's revision, None for an empty one."""
    with database.engine.connect() as connection:
        return MigrationContext.configure(connection).get_current_revision()


def differences(database: Database) -> list[Any]:
    """Return what the migrated database and the tables in code disagree about."""
    # A table is known once its module was imported, by whoever.
    for module in pkgutil.iter_modules([str(files("nexus_allocator.store"))]):
        if module.name.endswith("_tables"):
            import_module(f"nexus_allocator.store.{module.name}")
    with database.engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        return list(compare_metadata(context, Base.metadata))


def known_to_hub() -> set[str]:
    """Return the revisions of the hub's own database that the JupyterHub installed here knows."""
    scripts = ScriptDirectory(str(files("jupyterhub") / "alembic"))
    return {script.revision for script in scripts.walk_revisions()}


def _scripts() -> ScriptDirectory:
    return ScriptDirectory(str(files("nexus_allocator.store") / "migrations"))


def _config(connection: Connection) -> Config:
    config = Config()
    config.set_main_option("script_location", str(files("nexus_allocator.store") / "migrations"))
    config.attributes["connection"] = connection
    return config
