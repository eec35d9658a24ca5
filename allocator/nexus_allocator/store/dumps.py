"""Whole databases into files and back: PostgreSQL by its own programs, SQLite by its online backup."""

import os
import shutil
import sqlite3
import subprocess
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from alembic.runtime.migration import MigrationContext
from psycopg.conninfo import make_conninfo
from sqlalchemy import URL, Engine, create_engine, inspect, make_url, text
from sqlalchemy.exc import OperationalError
from sqlalchemy.pool import NullPool

POSTGRESQL, SQLITE = "postgresql", "sqlite"
# Of the schema all that is no extension's. Triggers and indexes go with their tables, and so do sequences.
TABLES = """
    SELECT format('DROP %s IF EXISTS %s CASCADE', CASE c.relkind WHEN 'S' THEN 'SEQUENCE' WHEN 'v' THEN 'VIEW'
                  ELSE 'TABLE' END, c.oid::regclass)
    FROM pg_class c WHERE c.relnamespace = 'public'::regnamespace AND c.relkind IN ('r', 'p', 'v', 'S')
    AND NOT EXISTS (SELECT FROM pg_depend d WHERE d.objid = c.oid AND d.deptype = 'e')
    ORDER BY c.relkind = 'S'
"""
LEFT_OVER = """
    SELECT format('DROP %s %s CASCADE', what, name) FROM (
        SELECT 'FUNCTION' AS what, oid, oid::regprocedure::text AS name FROM pg_proc
        WHERE pronamespace = 'public'::regnamespace
        UNION ALL
        SELECT 'TYPE', oid, oid::regtype::text FROM pg_type
        WHERE typnamespace = 'public'::regnamespace AND typtype = 'e'
    ) o
    WHERE NOT EXISTS (SELECT FROM pg_depend d WHERE d.objid = o.oid AND d.deptype = 'e')
"""


class DumpFailed(Exception):  # noqa: N818 - says what it is
    """A database could not be dumped or loaded; the text says why and holds no password."""


def kind_of(url: str) -> str:
    """Return ``postgresql`` or ``sqlite``. Raises DumpFailed for any other."""
    kind = make_url(url).get_backend_name()
    if kind not in (POSTGRESQL, SQLITE):
        raise DumpFailed(f"databases of the kind {kind} are not dumped")
    return kind


def name_of(url: str) -> str:
    """Return the address as it may be shown."""
    return make_url(url).render_as_string(hide_password=True)


def tables(url: str) -> list[str]:
    """Return the database's tables; none for a file that is not there. Raises DumpFailed."""
    if kind_of(url) == SQLITE and not _file_of(url).exists():
        return []
    with _engine_of(url) as engine:
        return sorted(inspect(engine).get_table_names())


def revision(url: str) -> str | None:
    """Return the revision of the database's schema, None for one without. Raises DumpFailed."""
    if kind_of(url) == SQLITE and not _file_of(url).exists():
        return None
    with _engine_of(url) as engine, engine.connect() as connection:
        return MigrationContext.configure(connection).get_current_revision()


def dump(url: str, to: Path) -> None:
    """Write the database as of one moment, while others use it. Raises DumpFailed."""
    if kind_of(url) == POSTGRESQL:
        _run(url, "pg_dump", "--format=custom", "--no-owner", "--no-privileges", f"--file={to}")
        return
    source = _file_of(url)
    try:
        with (
            closing(sqlite3.connect(f"file:{source}?mode=ro", uri=True)) as live,
            closing(sqlite3.connect(to)) as copy,
        ):
            live.backup(copy)
            # One file, without a log beside it.
            copy.execute("PRAGMA journal_mode = DELETE")
            (found,) = copy.execute("PRAGMA integrity_check").fetchone()
    except sqlite3.Error as error:
        raise DumpFailed(f"{source}: {error}") from error
    if found != "ok":
        raise DumpFailed(f"{source} is damaged: {found}")


def load(url: str, dumped: Path) -> None:
    """Fill an empty database from a dump of its kind, in whole or not at all. Raises DumpFailed."""
    if kind_of(url) == POSTGRESQL:
        _run(
            url, "pg_restore", "--single-transaction", "--exit-on-error", "--no-owner", "--no-privileges",
            str(dumped),
        )  # fmt: skip
        return
    target = _file_of(url)
    part = target.with_name(f"{target.name}.part")
    shutil.copyfile(dumped, part)
    with part.open("rb") as written:
        os.fsync(written.fileno())
    clear(url)
    part.rename(target)


def clear(url: str) -> None:
    """Take everything out of a database that this program has just filled, or found empty."""
    if kind_of(url) == SQLITE:
        target = _file_of(url)
        for each in (target, *(target.with_name(target.name + end) for end in ("-wal", "-shm"))):
            each.unlink(missing_ok=True)
        return
    with _engine_of(url) as engine, engine.begin() as connection:
        for statements in (TABLES, LEFT_OVER):
            for statement in connection.scalars(text(statements)).all():
                connection.exec_driver_sql(statement)


@contextmanager
def _engine_of(url: str) -> Iterator[Engine]:
    """Yield an engine for as long as a look takes; what can't be reached is DumpFailed."""
    address = make_url(url)
    if kind_of(url) == POSTGRESQL:
        # As we have it, whichever driver the hub has.
        address = address.set(drivername="postgresql+psycopg")
    engine = create_engine(address, poolclass=NullPool)
    try:
        yield engine
    except OperationalError as error:
        raise DumpFailed(f"{name_of(url)} can't be used: {error.orig}") from error
    finally:
        engine.dispose()


def _file_of(url: str) -> Path:
    name = make_url(url).database
    if not name or name == ":memory:":
        raise DumpFailed("a database in memory has no backup")
    return Path(name)


def _run(url: str, program: str, *flags: str) -> None:
    """Run one of PostgreSQL's programs on the database; the password stays off its command line."""
    address: URL = make_url(url)
    found = shutil.which(program)
    if found is None:
        raise DumpFailed(f"{program} is not installed: PostgreSQL's client programs are needed")
    where = {"host": address.host, "port": address.port, "user": address.username, "dbname": address.database}
    options = {name: value for name, value in address.query.items() if isinstance(value, str)}
    words = [found, f"--dbname={make_conninfo('', **{**options, **where})}", *flags]
    environment = os.environ | ({"PGPASSWORD": str(address.password)} if address.password else {})
    done = subprocess.run(words, env=environment, capture_output=True, text=True, check=False)  # noqa: S603
    if done.returncode != 0:
        raise DumpFailed(f"{program} failed for {name_of(url)}: {done.stderr.strip()[-600:]}")
