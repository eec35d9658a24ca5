"""Migrations and tables agree, on both databases, from an empty one."""

from nexus_allocator.store import schema
from nexus_allocator.store.session import Database


def test_the_migrated_database_and_the_tables_agree(database: Database) -> None:
    assert schema.differences(database) == []


def test_migrating_again_changes_nothing(database: Database) -> None:
    before = schema.current(database)
    schema.upgrade(database)
    assert schema.current(database) == before is not None


def test_sqlite_waits_for_other_writers_and_keeps_its_promises(database: Database) -> None:
    if not database.is_sqlite:
        with database.engine.connect() as connection:
            assert connection.exec_driver_sql("SHOW timezone").scalar_one() == "UTC"
        return
    with database.engine.connect() as connection:
        pragmas = {
            name: connection.exec_driver_sql(f"PRAGMA {name}").scalar_one()
            for name in ("journal_mode", "busy_timeout", "foreign_keys")
        }
    assert pragmas["journal_mode"] == "wal"
    assert pragmas["busy_timeout"] >= 30_000
    assert pragmas["foreign_keys"] == 1
