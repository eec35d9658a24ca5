"""What every operator's command starts from: the database at the address of the settings, and the time."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime

from sqlalchemy.orm import Session

from nexus_allocator.config import DatabaseSettings, Settings, read_database_settings
from nexus_allocator.store.session import Database


@contextmanager
def opened(settings: DatabaseSettings | Settings | None = None) -> Iterator[Database]:
    """Yield the database; without ``settings`` those of the environment are read."""
    database = Database((settings or read_database_settings()).database_url, threads=1)
    try:
        yield database
    finally:
        database.dispose()


@contextmanager
def reading(settings: DatabaseSettings | Settings | None = None) -> Iterator[Session]:
    with opened(settings) as database, database.reading_scope() as session:
        yield session


@contextmanager
def writing(settings: DatabaseSettings | Settings | None = None) -> Iterator[Session]:
    with opened(settings) as database, database.session_scope() as session:
        yield session


def utc_now() -> datetime:
    """Return the moment at which a command acts."""
    return datetime.now(UTC)
