"""The database and its transactions: `session_scope` holds the only commit."""

import json
import logging
import threading
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

from sqlalchemy import Connection, Engine, create_engine, event, make_url
from sqlalchemy.engine.interfaces import DBAPIConnection
from sqlalchemy.exc import OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.orm import Session, sessionmaker
from sqlalchemy.pool import ConnectionPoolEntry, QueuePool

log = logging.getLogger("nexus_allocator.decisions")

BUSY_TIMEOUT_MS = 60_000
EVENTS = "nexus_events"
SNAPSHOT = "REPEATABLE READ"
# What is raised when the database is away, its disk is full, or no connection comes free in time.
UNUSABLE = (OperationalError, PoolTimeout)


def is_fault_of_ours(error: Exception) -> bool:
    """Say whether one of ``UNUSABLE`` tells of a table or column that lacks, as SQLite has it."""
    return isinstance(error, OperationalError) and str(error.orig).startswith("no such ")


class Database:
    """One engine with a session maker for writing and one for reading.

    The pool is as large as the threads that may ask for a connection at once, so that none waits
    for one while holding another.
    """

    def __init__(self, url: str, *, threads: int = 40) -> None:
        self.url = make_url(url)
        self.is_sqlite = self.url.get_backend_name() == "sqlite"
        self.engine = _engine(url, is_sqlite=self.is_sqlite, threads=threads)
        writing = self.engine.execution_options(nexus_writes=True)
        self._writing = sessionmaker(writing, expire_on_commit=False)
        # All reads of one scope see one moment, as SQLite's do by themselves: their figures agree.
        reading = self.engine if self.is_sqlite else self.engine.execution_options(isolation_level=SNAPSHOT)
        self._reading = sessionmaker(reading, expire_on_commit=False)
        # SQLite's own waiting is a sleep without a queue; inside one process a lock is fair and quick.
        self._queue: AbstractContextManager[Any] = threading.Lock() if self.is_sqlite else nullcontext()

    def dispose(self) -> None:
        self.engine.dispose()

    @contextmanager
    def session_scope(self) -> Iterator[Session]:
        """Yield a session whose work is committed at the end, or undone when an exception leaves.

        What was announced with `announce` is logged once the commit has happened.
        """
        with self._queue, self._writing() as session:
            yield session
            session.commit()
        for line in session.info.pop(EVENTS, []):
            log.info(line)

    @contextmanager
    def reading_scope(self) -> Iterator[Session]:
        """Yield a session that only reads, all of it as of one moment; nothing is committed."""
        with self._reading() as session:
            yield session

    @contextmanager
    def migrating(self) -> Iterator[Connection]:
        """Yield a connection for changing the schema; everything on it commits together, or not at all."""
        with self._queue, self.engine.execution_options(nexus_writes=True).begin() as connection:
            yield connection


def announce(session: Session, event_name: str, **facts: Any) -> None:
    """Note a decision, to be logged as one line of JSON when it is committed. Ids and figures only."""
    line = json.dumps({"event": event_name, **facts}, default=str)
    session.info.setdefault(EVENTS, []).append(line)


def _engine(url: str, *, is_sqlite: bool, threads: int) -> Engine:
    if not is_sqlite:
        return create_engine(
            url, pool_size=threads, max_overflow=4, pool_timeout=30, pool_pre_ping=True,
            connect_args={"connect_timeout": 10, "options": "-c timezone=UTC -c lock_timeout=30s"},
        )  # fmt: skip
    engine = create_engine(
        url, poolclass=QueuePool, pool_size=threads, max_overflow=4, pool_timeout=BUSY_TIMEOUT_MS / 1000,
        connect_args={"check_same_thread": False, "timeout": BUSY_TIMEOUT_MS / 1000},
    )  # fmt: skip
    event.listen(engine, "connect", _prepare_sqlite)
    event.listen(engine, "begin", _begin_sqlite)
    return engine


def _prepare_sqlite(connection: DBAPIConnection, _record: ConnectionPoolEntry) -> None:
    # The driver's own BEGIN comes too late and is deferred; `_begin_sqlite` writes it instead.
    connection.isolation_level = None
    cursor = connection.cursor()
    cursor.execute(f"PRAGMA busy_timeout = {BUSY_TIMEOUT_MS}")
    cursor.execute("PRAGMA journal_mode = WAL")
    cursor.execute("PRAGMA synchronous = FULL")
    cursor.execute("PRAGMA foreign_keys = ON")
    cursor.close()


def _begin_sqlite(connection: Connection) -> None:
    # A deferred transaction that turns to writing can't wait for another writer; it fails at once.
    writes = connection.get_execution_options().get("nexus_writes", False)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")
