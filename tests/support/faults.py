"""What must hold whatever fails: nobody overspent, what ran is paid, nothing runs unpaid, a clean audit."""

import threading
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

import httpx
from tests.support.cluster_hub import PODS
from tests.support.control_plane import ControlPlane
from tests.support.hub import SMALL, HubUnderTest, Visitor, until

from nexus_allocator.clients.hub import HubClient
from nexus_allocator.hub import pods
from nexus_allocator.services.audit import AuditReport, Outside, audit
from nexus_allocator.store import accounts, holds, ledger
from nexus_allocator.store.session import Database
from nexus_allocator.store.tables import Hold

# How often the services under test read the live servers, and a word of slack for clocks and this machine.
INTERVAL_S, SLACK_S = 5.0, 2.0
EVERY_S = 0.5
AWAY = "The allocation service does not answer"


@dataclass
class Alive:
    """Between which moments the pod of a hold was seen to run."""

    since: float
    until: float


@dataclass
class Watch:
    """Looks at the pods all the while, as nobody of the Nexus does; an API server that is away shows none."""

    plane: ControlPlane
    alive: dict[str, Alive] = field(default_factory=dict)
    over: threading.Event = field(default_factory=threading.Event)

    def look(self) -> None:
        for pod in self.plane.items(PODS):
            hold, running = pods.hold_of(pod), pods.started_at(pod)
            if hold is not None and running is not None and not pods.is_going(pod):
                seen = self.alive.setdefault(hold, Alive(running.timestamp(), time.time()))
                seen.until = max(seen.until, time.time())

    def run(self) -> None:
        while not self.over.wait(EVERY_S):
            try:
                self.look()
            except (httpx.HTTPError, AssertionError):
                # The API server is away: that is what some of these tests do.
                continue


@contextmanager
def watching(plane: ControlPlane) -> Iterator[Watch]:
    watch = Watch(plane)
    thread = threading.Thread(target=watch.run, daemon=True)
    thread.start()
    try:
        yield watch
    finally:
        watch.over.set()
        thread.join(30)


@dataclass
class Nexus:
    """A hub under test with its control plane, and the service's database as the tests look at it."""

    hub: HubUnderTest
    plane: ControlPlane
    database: Database

    def open_holds(self) -> set[str]:
        with self.database.reading_scope() as session:
            return {str(hold.id) for hold in holds.open_servers(session)}

    def holds(self) -> list[Hold]:
        with self.database.reading_scope() as session:
            return [hold for batch in holds.batches(session) for hold in batch]

    def pods(self) -> dict[str, str]:
        """Return the pods of servers by their hold."""
        listed = {pods.hold_of(pod): pod["metadata"]["name"] for pod in self.plane.items(PODS)}
        return {hold: name for hold, name in listed.items() if hold is not None}

    def audit(self) -> AuditReport:
        settings = self.hub.settings
        with HubClient(f"{settings.hub_url}/hub/api", self.hub.secrets.service) as hub:
            seen = hub.active_servers()
        with self.database.reading_scope() as session:
            now = datetime.now(UTC)
            return audit(session, meter_silence=timedelta(seconds=60), now=now, outside=Outside(seen))

    def launch_all(self, people: Mapping[str, Visitor]) -> dict[str, Future[httpx.Response]]:
        """Have everybody launch at once, each on their own account; return where the answers come."""
        crowd = ThreadPoolExecutor(len(people))
        try:
            return {name: crowd.submit(one.launch_by_form, own_small(name)) for name, one in people.items()}
        finally:
            crowd.shutdown(wait=False)

    def stop_all(self) -> None:
        self.hub.stop_servers()
        until(lambda: not self.open_holds(), "every hold settled")

    def hold_together(self, watch: Watch, *, faults: int) -> None:
        """Assert what must hold once the rounds have come by; each fault may cost an interval of usage."""
        until(lambda: self.pods().keys() == self.open_holds(), "every pod with a hold, every hold with a pod")
        until(lambda: not self.audit().drifts, "a clean audit")
        with self.database.reading_scope() as session:
            for allocation in accounts.every_allocation(session):
                left = ledger.balance(session, allocation.id) - ledger.held(session, allocation.id)
                assert left >= 0, f"{allocation.account.slug} is overspent by {-left}"
        charged = {str(each.id): each for each in self.holds()}
        assert watch.alive.keys() <= charged.keys(), "a server ran that no hold pays for"
        for hold_id, seen in watch.alive.items():
            hold, ran_s = charged[hold_id], seen.until - seen.since
            paid_s = 3600 * hold.usage_micro / hold.rate_micro_per_hour
            # A live one is charged up to the last reading.
            lag_s = INTERVAL_S * (faults + (hold.settled_at is None)) + SLACK_S
            assert paid_s >= ran_s - lag_s, f"{hold_id} ran for {ran_s:.1f} s, {paid_s:.1f} are charged"
            assert paid_s <= ran_s + lag_s, f"{hold_id} ran for {ran_s:.1f} s, {paid_s:.1f} are charged"


def own_small(name: str) -> dict[str, str]:
    return {**SMALL, "account": name}


def signed_in(hub: HubUnderTest, name: str) -> Visitor:
    """Return somebody at the launch page; who met a hub that gave up on a slow answer tries again."""

    def attempt() -> Visitor | None:
        visitor = hub.sign_in(name)
        return visitor if visitor.get("/hub/spawn").url.path == "/hub/spawn" else None

    visitor: Visitor = until(attempt, f"{name} signed in", 90)
    return visitor


def launch(hub: HubUnderTest, person: Visitor, name: str) -> None:
    """Launch a small server, again where the page says to try again, and wait until it is ready."""

    def attempt() -> bool:
        page = person.launch_by_form(own_small(name))
        assert is_clear(page), page.text
        return page.is_success

    until(attempt, f"{name}'s launch taken", 90)
    hub.wait_until_ready(name)


def is_clear(answer: httpx.Response) -> bool:
    """Whether a launch was taken, or refused with words for people."""
    return answer.status_code == httpx.codes.OK or AWAY in answer.text
