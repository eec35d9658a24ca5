"""The allocation service under load on PostgreSQL, with a long ledger: a tenth of the size, and the whole.

Run it as ``python -m tests.bench.allocator``. Two workers of the service, the process that meters and
delivers, PostgreSQL with its usual durability and the generator of the load share this machine.
``--entries``, ``--people``, ``--teams`` and ``--seconds`` change how much; ``--only-whole`` leaves the
tenth out.
"""

import argparse
import json
import os
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import count
from pathlib import Path
from urllib.parse import urlsplit

import numpy as np
from sqlalchemy import event, text
from tests.support.allocator import (
    GRACE_MINUTES,
    INTERNAL_TOKEN,
    running_rounds,
    running_service,
    service_environment,
)
from tests.support.fake_hub import SERVICE_TOKEN, FakeHub, running_hub
from tests.support.ledger_of_years import Filled, fill
from tests.support.open_loop import Answers, Ask, at_once, at_random, get, post
from tests.support.postgres import PostgresServer, private_postgres, programs

from nexus_allocator.policy import load_policy
from nexus_allocator.services import admission, forecasts, web_sessions
from nexus_allocator.store import accounts, ledger, schema
from nexus_allocator.store.session import Database

# As a server is run: what is committed is on the disk. Memory as for a small machine.
DURABLE = ("max_connections=300", "shared_buffers=1GB", "max_wal_size=4GB")
WORKERS, THREADS, EACH = 2, 8, 60
ADMISSIONS_A_SECOND, PAGES_A_SECOND = 50, 5
# One person in so many has a server: a thousand of ten thousand.
LIVE_SHARE = 10
RAMP = (75, 100, 125, 150, 200, 250, 300, 400)
POLICY = load_policy()
NUMBERS = count()
PAGES_OF_PEOPLE = ("", "accounts/{slug}", "requests", "policy")
PAGES_OF_ADMINISTRATORS = (
    "admin/requests", "admin/people?q=42", "admin/accounts?q=7", "admin/servers", "admin/forecast",
)  # fmt: skip


@dataclass
class Table:
    """Figures in the order in which they were found, each with its unit and, perhaps, its limit."""

    rows: dict[str, tuple[float, str, float | None]] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)

    def add(self, name: str, value: float, unit: str, limit: float | None = None) -> None:
        self.rows[name] = (value, unit, limit)

    def over(self) -> list[str]:
        """Return the figures that do not keep their limit."""
        return [name for name, (value, _, limit) in self.rows.items() if limit is not None and value > limit]


@dataclass
class Bench:
    """One filled database with two workers over it."""

    database: Database
    filled: Filled
    ports: list[int]
    hub: FakeHub
    seconds: float
    table: Table = field(default_factory=Table)
    rng: np.random.Generator = field(default_factory=lambda: np.random.default_rng(1))

    def launches(self, number: int) -> list[Ask]:
        """Return launches of random people, one in five on a team, dealt out to the workers."""
        path, ports = "/services/nexus/api/hub/admissions", self.ports
        return [post(ports[n % len(ports)], path, self.wish(), token=INTERNAL_TOKEN) for n in range(number)]

    def wish(self) -> bytes:
        return self.launch_of(int(self.rng.integers(self.filled.people)), server_name=f"s{next(NUMBERS)}")

    def launch_of(self, person: int, *, server_name: str) -> bytes:
        team = person // 5
        on_team = team < self.filled.teams and self.rng.random() < 0.2
        wish = {
            "hub_name": f"p{person}", "account": f"t{team}" if on_team else f"p{person}",
            "server_name": server_name, "size": "small", "image": "nexus", "hours": 2,
        }  # fmt: skip
        return json.dumps(wish).encode()

    def live_servers(self, number: int) -> None:
        """Start servers that live through what follows, and let the hub show them to the meter."""
        path = "/services/nexus/api/hub/admissions"
        people = self.rng.choice(self.filled.people, number, replace=False).tolist()
        launches = [self.launch_of(person, server_name="") for person in people]
        at_once([post(self.ports[0], path, launch, token=INTERNAL_TOKEN) for launch in launches])
        now = datetime.now(UTC).isoformat()
        placed = (
            "SELECT hub_name, hold.id FROM hold JOIN person ON person.id = person_id WHERE state = 'placed'"
        )
        with self.database.reading_scope() as session:
            for name, hold_id in session.execute(text(placed)):
                state = {"hold_id": str(hold_id), "process_started_at": now}
                self.hub.servers[name] = {"ready": True, "pending": None, "stopped": False, "state": state}

    def settle_all(self) -> None:
        """End every server, so that each measurement begins with none running."""
        self.hub.servers.clear()
        ended = "UPDATE hold SET state = 'settled', settled_at = now() WHERE state IN ('placed', 'running')"
        with self.database.session_scope() as session:
            session.execute(text(ended))

    def add(self, what: str, answers: Answers, limits: dict[float, float]) -> None:
        for share in (0.5, 0.95, 0.99):
            limit = limits.get(share)
            self.table.add(f"{what}, p{share * 100:g}", answers.percentile(share) * 1e3, "ms", limit)
        self.expect(what, answers)

    def expect(self, what: str, answers: Answers) -> None:
        wrong = {status: n for status, n in Counter(answers.status).items() if status >= 300}
        if wrong:
            self.table.notes.append(f"{what}: {wrong} {answers.troubles[:2]}")
        self.table.add(f"{what}, not answered well", float(sum(wrong.values())), "answers", 0)


def balance_plan(bench: Bench) -> None:
    """Add how long a balance takes of the longest and of a common account, and how it is found."""
    with bench.database.reading_scope() as session:
        for name, slug in (("the longest", "p0"), ("a common", f"p{bench.filled.people // 2}")):
            account = accounts.by_slug(session, slug)
            assert account
            allocation_id = account.allocation.id
            took = [seconds_of(lambda: ledger.balance(session, allocation_id)) for _ in range(50)]  # noqa: B023
            bench.table.add(f"balance of {name} account, median", float(np.median(took)) * 1e3, "ms")
    bench.table.notes += ["the balance's plan, longest account:", *plan_of_balance(bench.database, "p0")]


def plan_of_balance(database: Database, slug: str) -> list[str]:
    """Return how PostgreSQL finds what `ledger.balance` asks, with what it truly read."""
    asked: list[tuple[str, object]] = []

    def remember(
        _connection: object, _cursor: object, statement: str, parameters: object, *_: object
    ) -> None:
        asked.append((statement, parameters))

    with database.reading_scope() as session:
        account = accounts.by_slug(session, slug)
        assert account
        connection = session.connection()
        event.listen(connection, "before_cursor_execute", remember)
        ledger.balance(session, account.allocation.id)
        event.remove(connection, "before_cursor_execute", remember)
        words, parameters = asked[-1]
        explain = f"EXPLAIN (ANALYZE, COSTS OFF, TIMING OFF, SUMMARY OFF) {words}"
        return [str(row[0]) for row in connection.exec_driver_sql(explain, parameters)]


def seconds_of(act: Callable[[], object]) -> float:
    began = time.perf_counter()
    act()
    return time.perf_counter() - began


def open_loop(bench: Bench) -> None:
    """Measure for so long that the meter's rounds over the live servers fall into it."""
    bench.live_servers(bench.filled.people // LIVE_SHARE)
    at_random(bench.launches(int(4 * bench.seconds)), per_second=30, seed=1)
    number = int(ADMISSIONS_A_SECOND * 2 * bench.seconds)
    answers = at_random(bench.launches(number), per_second=ADMISSIONS_A_SECOND, seed=2)
    bench.add(f"admission at {ADMISSIONS_A_SECOND}/s", answers, {0.99: 50})
    bench.settle_all()


def all_at_once(bench: Bench) -> None:
    answers = at_once(bench.launches(200))
    bench.table.add("200 admissions at once, the last", max(answers.seconds) * 1e3, "ms", 2000)
    bench.expect("200 admissions at once", answers)
    bench.settle_all()


def highest_rate(bench: Bench) -> None:
    """Raise the rate until a hundredth waits for longer than a quarter of a second."""
    sustained = 0.0
    for rate in RAMP:
        answers = at_random(bench.launches(int(rate * bench.seconds / 3)), per_second=rate, seed=rate)
        bench.settle_all()
        if answers.percentile(0.99) > 0.25 or max(answers.status) >= 300:
            break
        sustained = rate
    bench.table.add("admissions sustained over HTTP (p99 within 250 ms)", sustained, "a second")


def beside_a_bare_commit(bench: Bench) -> None:
    """As fast as they are answered, from threads of one process: admissions, and the least a hold needs."""

    def admit(number: int) -> None:
        wish = json.loads(bench.wish())
        with bench.database.session_scope() as session:
            admission.admit(
                session, admission.Launch(**wish), policy=POLICY, grace_minutes=GRACE_MINUTES,
                now=datetime.now(UTC),
            )  # fmt: skip

    def bare(number: int) -> None:
        with bench.database.session_scope() as session:
            session.execute(
                text("SELECT id FROM account WHERE slug = :slug FOR UPDATE"),
                {"slug": f"p{number % bench.filled.people}"},
            )
            row = {"name": f"bench-{next(NUMBERS)}", "at": datetime.now(UTC)}
            session.execute(text("INSERT INTO taken_name (name, taken_at) VALUES (:name, :at)"), row)

    for name, act in (("admissions in one process", admit), ("bare lock, insert, commit", bare)):
        with ThreadPoolExecutor(THREADS) as pool:
            list(pool.map(act, range(THREADS)))
            whole = seconds_of(lambda: list(pool.map(act, range(THREADS * EACH))))  # noqa: B023
        bench.table.add(f"{name}, {THREADS} threads", THREADS * EACH / whole, "a second")
    bench.settle_all()


def pages(bench: Bench) -> None:
    """People and an administrator open pages; half of the people have long histories."""
    names = ["p0", "p2", "p5", "p50", f"p{bench.filled.people // 2}", f"p{bench.filled.people - 1}"]
    cookies = {name: signed_in(bench, name) for name in ["p1", *names]}
    asks = []
    for _ in range(int(PAGES_A_SECOND * bench.seconds)):
        if bench.rng.random() < 0.25:
            name, path = "p1", str(bench.rng.choice(PAGES_OF_ADMINISTRATORS))
        else:
            name = str(bench.rng.choice(names))
            path = str(bench.rng.choice(PAGES_OF_PEOPLE)).format(slug=name)
        asks.append(get(bench.ports[len(asks) % WORKERS], f"/services/nexus/{path}", cookie=cookies[name]))
    at_random(asks[: int(bench.seconds)], per_second=PAGES_A_SECOND, seed=3)
    answers = at_random(asks, per_second=PAGES_A_SECOND, seed=4)
    bench.add(f"pages at {PAGES_A_SECOND}/s", answers, {0.95: 150})


def each_page_alone(bench: Bench) -> None:
    """Add the median of each page, of the longest history and of the administrator."""
    cookies = {name: signed_in(bench, name) for name in ("p0", "p1")}
    wanted = [("p0", path.format(slug="p0")) for path in PAGES_OF_PEOPLE]
    wanted += [("p1", path) for path in PAGES_OF_ADMINISTRATORS]
    for name, path in wanted:
        ask = get(bench.ports[0], f"/services/nexus/{path}", cookie=cookies[name])
        took = [at_once([ask]).seconds[0] for _ in range(5)]
        bench.table.add(f"page /{path}, alone", float(np.median(took)) * 1e3, "ms")


def signed_in(bench: Bench, name: str) -> str:
    """Return the cookies of a browser in which a person has signed in."""
    token, hub_session = f"token-of-{name}", f"hub-session-of-{name}"
    bench.hub.tokens[token] = (name, hub_session)
    with bench.database.session_scope() as session:
        id_ = web_sessions.open_session(session, hub_name=name, hub_token=token, now=datetime.now(UTC))
    return f"nexus-session={id_}; jupyterhub-session-id={hub_session}"


PHASES = (balance_plan, open_loop, all_at_once, highest_rate, beside_a_bare_commit, pages, each_page_alone)


@contextmanager
def bench_over(
    server: PostgresServer, *, people: int, teams: int, entries: int, seconds: float
) -> Iterator[Bench]:
    """Yield a filled database with the service's workers over it."""
    url = server.url(server.new_database())
    with ExitStack() as stack:
        database = Database(url, threads=THREADS)
        stack.callback(database.dispose)
        schema.upgrade(database)
        began = time.perf_counter()
        filled = fill(database, server, policy=POLICY, people=people, teams=teams, entries=entries)
        with database.session_scope() as session:
            forecasts.keep_days(session, now=datetime.now(UTC))
        write_out(database)
        took = time.perf_counter() - began
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="nexus-bench-")))
        hub = stack.enter_context(running_hub())
        # Launches that the load makes are taken for servers that start slowly.
        environment = service_environment(
            url, hub.api_url, NEXUS_HUB_TOKEN=SERVICE_TOKEN, NEXUS_HUB_PUBLIC_URL=hub.url,
            NEXUS_ROUNDS="elsewhere", NEXUS_HOLD_START_TIMEOUT_S="3600",
        )  # fmt: skip
        bases = [
            stack.enter_context(running_service(environment, folder / f"{number}.log"))
            for number in range(WORKERS)
        ]
        stack.enter_context(running_rounds(environment, folder / "rounds.log"))
        ports = [port for base in bases if (port := urlsplit(base).port)]
        bench = Bench(database, filled, ports, hub, seconds)
        bench.table.add("entries", filled.entries, "rows")
        bench.table.add("entries of the longest account", filled.largest, "rows")
        bench.table.add("filled in", took, "s")
        yield bench


def write_out(database: Database) -> None:
    """Bring the filling to the disk: a service at work does not answer while a year is being loaded."""
    with database.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.execute(text("CHECKPOINT"))
    os.sync()


def run(server: PostgresServer, **sizes: float) -> Table:
    with bench_over(server, **sizes) as bench:  # type: ignore[arg-type]
        for phase in PHASES:
            phase(bench)
            print(f"  {phase.__name__} done", file=sys.stderr)
    return bench.table


def told(tables: list[Table]) -> Iterator[str]:
    """Yield the table: a figure's values at each size, how much it grew, and whether it keeps its limit."""
    yield f"{'':<58} {'a tenth':>10} {'whole':>10} {'growth':>7}  limit" if len(tables) > 1 else ""
    for name, (value, unit, limit) in tables[-1].rows.items():
        earlier = tables[0].rows[name][0] if len(tables) > 1 else value
        growth = f"{value / earlier:6.2f}×" if len(tables) > 1 and earlier else ""
        kept = "" if limit is None else f"{limit:g}{'' if value <= limit else '  NOT KEPT'}"
        first = f"{earlier:>10,.1f}" if len(tables) > 1 else ""
        yield f"{name + ' (' + unit + ')':<58} {first} {value:>10,.1f} {growth:>7}  {kept}".rstrip()
    yield from tables[-1].notes


def main() -> None:
    words = argparse.ArgumentParser(description=__doc__)
    words.add_argument("--people", type=int, default=10_000)
    words.add_argument("--teams", type=int, default=2_000)
    words.add_argument("--entries", type=int, default=5_000_000)
    words.add_argument("--seconds", type=float, default=30)
    words.add_argument("--only-whole", action="store_true")
    given = words.parse_args()
    found = programs()
    if found is None:
        sys.exit("PostgreSQL is not installed")
    shares = [1.0] if given.only_whole else [0.1, 1.0]
    tables = []
    with private_postgres(found, DURABLE) as server:
        for share in shares:
            sizes = {name: int(getattr(given, name) * share) for name in ("people", "teams", "entries")}
            tables.append(run(server, **sizes, seconds=given.seconds))
    print("\n".join(told(tables)))


if __name__ == "__main__":
    main()
