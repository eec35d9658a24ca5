"""A private PostgreSQL for the tests: on a free loopback port, without a socket file, gone with the tests."""

import os
import shutil
import socket
import subprocess
import tempfile
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path

import psycopg
import pytest
from psycopg import sql

USER, PASSWORD = "nexus_test", "nexus-test-password"
START_TIMEOUT_S = 60
# Durability is not under test, and syncing would take most of the time.
OPTIONS = ("fsync=off", "synchronous_commit=off", "full_page_writes=off", "max_connections=300")


@dataclass
class PostgresServer:
    port: int
    _numbers: Iterator[int] = field(default_factory=count)

    def url(self, database: str) -> str:
        return f"postgresql+psycopg://{USER}:{PASSWORD}@127.0.0.1:{self.port}/{database}"

    def new_database(self) -> str:
        """Return the name of a new, empty database."""
        name = f"test_{next(self._numbers)}"
        with self.connect("postgres") as connection:
            statement = sql.SQL("CREATE DATABASE {}")
            connection.execute(statement.format(sql.Identifier(name)))
        return name

    def connect(self, database: str) -> psycopg.Connection[tuple[object, ...]]:
        return psycopg.connect(
            host="127.0.0.1", port=self.port, user=USER, password=PASSWORD, dbname=database,
            autocommit=True, connect_timeout=5,
        )  # fmt: skip


def programs() -> Path | None:
    """Return the folder of the newest PostgreSQL server here, None when there is none."""
    found = [path.parent for path in Path("/usr/lib/postgresql").glob("*/bin/initdb")]
    if on_path := shutil.which("initdb"):
        found.append(Path(on_path).parent)
    return max(found, key=lambda folder: [int(part) for part in folder.parts if part.isdigit()], default=None)


def as_server_user() -> list[str]:
    """Return the words that run a command as somebody PostgreSQL accepts: it refuses root."""
    if os.geteuid() != 0:
        return []
    # The signal ends the server with the tests, however they end.
    return ["setpriv", "--reuid=postgres", "--regid=postgres", "--clear-groups", "--pdeathsig=QUIT"]


@contextmanager
def private_postgres(
    folder: Path, options: tuple[str, ...] = OPTIONS, *, parent: Path | None = None
) -> Iterator[PostgresServer]:
    """Run a new PostgreSQL with its data in a temporary place; ``folder`` holds its programs."""
    data = Path(tempfile.mkdtemp(prefix="nexus-postgres-", dir=parent))
    process = None
    try:
        _initialise(folder, data)
        port = free_port()
        process = _start(folder, data, port, options)
        server = PostgresServer(port)
        _wait(server, process, data)
        yield server
    finally:
        if process is not None:
            process.terminate()
            process.wait(30)
        shutil.rmtree(data, ignore_errors=True)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _initialise(folder: Path, data: Path) -> None:
    password = data.with_suffix(".password")
    password.write_text(PASSWORD)
    if os.geteuid() == 0:
        shutil.chown(data, "postgres", "postgres")
        shutil.chown(password, "postgres", "postgres")
    words = [folder / "initdb", "-D", data, "-U", USER, f"--pwfile={password}", "--auth=scram-sha-256"]
    more = ["--no-sync", "--encoding=UTF8", "--locale=C"]
    made = subprocess.run(
        [*as_server_user(), *words, *more], capture_output=True, text=True, check=False, timeout=120, cwd="/"
    )
    password.unlink()
    assert made.returncode == 0, made.stdout + made.stderr


def _start(folder: Path, data: Path, port: int, options: tuple[str, ...]) -> subprocess.Popen[bytes]:
    settings = (f"port={port}", "listen_addresses=127.0.0.1", "unix_socket_directories=", *options)
    words = [word for setting in settings for word in ("-c", setting)]
    log = (data.parent / f"{data.name}.log").open("wb")
    with log:
        return subprocess.Popen(
            [*as_server_user(), folder / "postgres", "-D", data, *words], stdout=log, stderr=log, cwd="/"
        )


def _wait(server: PostgresServer, process: subprocess.Popen[bytes], data: Path) -> None:
    log = data.parent / f"{data.name}.log"
    deadline = time.monotonic() + START_TIMEOUT_S
    while True:
        try:
            server.connect("postgres").close()
        except psycopg.OperationalError:
            assert process.poll() is None, log.read_text()
            assert time.monotonic() < deadline, log.read_text()
            time.sleep(0.1)
        else:
            log.unlink()
            return


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[PostgresServer]:
    """A PostgreSQL of our own; without the programs a loud skip, and in CI a failure."""
    folder = programs()
    if folder is None:
        missing = "PostgreSQL is not installed: this half of the allocator's tests is SKIPPED"
        if os.environ.get("CI") == "true":
            pytest.fail(f"{missing}, which CI does not allow")
        warnings.warn(missing, stacklevel=1)
        pytest.skip(missing)
    with private_postgres(folder) as server:
        yield server
