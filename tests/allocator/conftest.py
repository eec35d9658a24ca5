"""Every test that takes ``database`` or ``world`` runs on SQLite and on PostgreSQL."""

import shutil
import sqlite3
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from psycopg import sql
from tests.support.allocator import HUB_TOKEN, INTERNAL_TOKEN, FakeHub, Run, World, fake_hub
from tests.support.postgres import PostgresServer, postgres_server

from nexus_allocator import cli
from nexus_allocator.store import schema
from nexus_allocator.store.base import Base
from nexus_allocator.store.migrations.append_only import FIRST_NUMBERS
from nexus_allocator.store.session import Database

__all__ = ["postgres_server"]


@pytest.fixture(scope="session")
def migrated_sqlite(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("sqlite") / "migrated.sqlite"
    database = Database(f"sqlite:///{path}", threads=2)
    schema.upgrade(database)
    database.dispose()
    with sqlite3.connect(path) as connection:
        # Everything into the one file that is copied.
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    connection.close()
    return path


@pytest.fixture(scope="session")
def migrated_postgres(postgres_server: PostgresServer) -> str:
    name = postgres_server.new_database()
    database = Database(postgres_server.url(name), threads=2)
    schema.upgrade(database)
    database.dispose()
    return name


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.postgres)])
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """The URL of a migrated, empty database of this test's own."""
    if request.param == "sqlite":
        path = tmp_path / "allocator.sqlite"
        shutil.copy(request.getfixturevalue("migrated_sqlite"), path)
        yield f"sqlite:///{path}"
        return
    server: PostgresServer = request.getfixturevalue("postgres_server")
    name: str = request.getfixturevalue("migrated_postgres")
    empty(server, name)
    yield server.url(name)


def empty(server: PostgresServer, name: str) -> None:
    """Bring the database back to how the migrations left it; a copy of a template takes ten times as long."""
    tables = [table.name for table in Base.metadata.sorted_tables if table.name not in {"book", "counter"}]
    with server.connect(name) as connection:
        # The ledger's own triggers refuse this to everybody who does not switch triggers off.
        connection.execute("SET session_replication_role = replica")
        for table in tables:
            connection.execute(sql.SQL("DELETE FROM {}").format(sql.Identifier(table)))
        connection.execute("DELETE FROM book WHERE allocation_id IS NOT NULL")
        for counter, first in FIRST_NUMBERS.items():
            connection.execute("UPDATE counter SET next_value = %s WHERE name = %s", (first, counter))


@pytest.fixture
def database(database_url: str) -> Iterator[Database]:
    database = Database(database_url, threads=8)
    yield database
    database.dispose()


@pytest.fixture
def world(database: Database) -> World:
    return World(database)


@pytest.fixture
def hub() -> Iterator[FakeHub]:
    with fake_hub() as running:
        yield running


@pytest.fixture
def url(database: Database) -> str:
    return database.url.render_as_string(hide_password=False)


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """Run a command; return its exit code and what it said on both streams."""

    def run(
        url: str, *words: object, hub: str = "http://127.0.0.1:9/hub/api", **more: str
    ) -> tuple[int, str, str]:
        tokens = {"NEXUS_HUB_TOKEN": HUB_TOKEN, "NEXUS_INTERNAL_TOKEN": INTERNAL_TOKEN}
        for name, value in {"NEXUS_DATABASE_URL": url, "NEXUS_HUB_API_URL": hub, **tokens, **more}.items():
            monkeypatch.setenv(name, value)
        monkeypatch.setattr(sys, "argv", ["nexus-allocator", *map(str, words)])
        with pytest.raises(SystemExit) as ended:
            cli.main()
        said = capsys.readouterr()
        return int(ended.value.code or 0), said.out, said.err

    return run
