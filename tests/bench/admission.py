"""Prints the median and 99th percentile of an admission, on SQLite and PostgreSQL, beside a bare insert.

Run it as ``python -m tests.bench.admission``. One thread, then eight on eight accounts, launch as fast as
they are answered (closed loop) through the service functions: the cost of HTTP is not in it.
"""

import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from itertools import count
from pathlib import Path

from sqlalchemy import text
from tests.support.allocator import World
from tests.support.postgres import private_postgres, programs

from nexus_allocator.domain.states import TierSlug
from nexus_allocator.store import schema
from nexus_allocator.store.session import Database

THREADS, EACH = 8, 100
NUMBERS = count()


def timed(threads: int, act: Callable[[int, int], object]) -> tuple[list[float], float]:
    """Call ``act(thread, number)`` from ``threads`` threads; return each call's seconds and the whole."""

    def many(thread: int) -> list[float]:
        seconds = []
        for number in range(EACH):
            began = time.perf_counter()
            act(thread, number)
            seconds.append(time.perf_counter() - began)
        return seconds

    began = time.perf_counter()
    with ThreadPoolExecutor(threads) as pool:
        taken = [second for seconds in pool.map(many, range(threads)) for second in seconds]
    return sorted(taken), time.perf_counter() - began


def line(what: str, seconds: list[float], whole_s: float) -> str:
    median, p99 = seconds[len(seconds) // 2], seconds[len(seconds) * 99 // 100]
    rate = len(seconds) / whole_s
    return f"{what:<36} {median * 1e3:9.1f} {p99 * 1e3:9.1f} {rate:10.0f}"


def bench(name: str, database: Database) -> None:
    schema.upgrade(database)
    world = World(database)
    for thread in range(THREADS):
        world.astronomer(f"person-{thread}")
        world.team(f"team-{thread}", f"person-{thread}", tier=TierSlug.SPECIAL)
        world.grant(f"team-{thread}", 1_000_000)

    def admit(thread: int, _number: int) -> None:
        world.launch(f"person-{thread}", account=f"team-{thread}", server_name=f"s{next(NUMBERS)}")

    def bare_insert(_thread: int, _number: int) -> None:
        with database.session_scope() as session:
            row = {"name": f"bench-{next(NUMBERS)}", "at": "2026-03-02 09:00:00+00:00"}
            session.execute(text("INSERT INTO taken_name (name, taken_at) VALUES (:name, :at)"), row)

    for threads in (1, THREADS):
        print(line(f"{name}, {threads} threads: bare insert", *timed(threads, bare_insert)))
        print(line(f"{name}, {threads} threads: admission", *timed(threads, admit)))


@contextmanager
def databases() -> Iterator[dict[str, str]]:
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="nexus-bench-")))
        urls = {"SQLite": f"sqlite:///{folder}/bench.sqlite"}
        if found := programs():
            server = stack.enter_context(private_postgres(found))
            urls["PostgreSQL"] = server.url(server.new_database())
        else:
            print("PostgreSQL is not installed: its half is left out", file=sys.stderr)
        yield urls


def main() -> None:
    print(f"{EACH} calls of each thread; milliseconds, and calls a second")
    print(f"{'':<36} {'median':>9} {'p99':>9} {'per second':>10}")
    with databases() as urls:
        for name, url in urls.items():
            database = Database(url, threads=THREADS)
            bench(name, database)
            database.dispose()


if __name__ == "__main__":
    main()
