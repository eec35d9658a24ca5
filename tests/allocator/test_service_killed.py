"""The service is killed again and again while a server runs; its usage is still the server's own lifetime."""

import subprocess
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from uuid import UUID

import httpx
from tests.support.allocator import INTERNAL_TOKEN, FakeHub, World, service_environment, start_service

from nexus_allocator.domain.states import HoldState

INTERVAL_S = 2.0
HEADERS = {"Authorization": f"Bearer {INTERNAL_TOKEN}"}
LAUNCH: dict[str, object] = {"server_name": "", "size": "small", "image": "nexus", "hours": 1}


class Deployment:
    """A service in a process of its own that can be killed without a word and started again."""

    def __init__(self, database_url: str, hub: FakeHub, log: Path) -> None:
        self.log = log
        self.environment = service_environment(
            database_url, hub.api_url, NEXUS_METERING_INTERVAL_S=str(INTERVAL_S),
            NEXUS_HOLD_START_TIMEOUT_S="1",
        )  # fmt: skip
        self.process: subprocess.Popen[bytes]
        self.start()

    def start(self) -> None:
        self.process, self.base = start_service(self.environment, self.log)

    def kill(self) -> None:
        self.process.kill()
        self.process.wait(10)

    def admitted(self, hub_name: str) -> UUID:
        answer = self.post("/admissions", LAUNCH | {"hub_name": hub_name, "account": hub_name})
        assert answer.status_code == 201, answer.text
        return UUID(answer.json()["hold_id"])

    def post(self, path: str, body: dict[str, object]) -> httpx.Response:
        return httpx.post(f"{self.base}{path}", json=body, headers=HEADERS, timeout=20)


def wait_for(condition: Callable[[], bool], timeout_s: float = 30) -> None:
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.1)


def test_usage_is_the_process_s_lifetime_whatever_is_killed(
    world: World, database_url: str, hub: FakeHub, tmp_path: Path
) -> None:
    """On PostgreSQL the hub tells of the end, on SQLite nobody does; a second hold never gets a server."""
    hub_tells = not world.database.is_sqlite
    world.clock.at = datetime.now(UTC)
    world.astronomer()
    world.astronomer("teammate")
    service = Deployment(database_url, hub, tmp_path / "service.log")
    try:
        hold_id, never_id = service.admitted("astronomer"), service.admitted("teammate")
        service.kill()
        # The start is never told, because the service is dead; the hub's list shows it later.
        server = subprocess.Popen(["sleep", "300"])
        began = datetime.now(UTC)
        hub.runs("astronomer", hold_id, began)
        service.start()
        wait_for(lambda: world.hold(hold_id).state == HoldState.RUNNING)
        service.kill()
        time.sleep(INTERVAL_S)
        service.start()
        last = world.hold(hold_id).last_seen_at
        wait_for(lambda: world.hold(hold_id).last_seen_at != last)
        server.kill()
        server.wait(10)
        ended = datetime.now(UTC)
        hub.servers.clear()
        if hub_tells:
            evidence = {"stopped_at": ended.isoformat(), "alive_at_stop": False, "exit_signal": 9}
            assert service.post(f"/holds/{hold_id}/stopped", evidence).status_code == 204
        for settled in (hold_id, never_id):
            wait_for(lambda settled=settled: world.hold(settled).state == HoldState.SETTLED)
    finally:
        service.kill()
    hold = world.hold(hold_id)
    lifetime_s = (ended - began).total_seconds()
    charged_s = hold.posted_micro * 3600 / hold.rate_micro_per_hour
    print(f"lifetime {lifetime_s:.2f} s, charged {charged_s:.2f} s, interval {INTERVAL_S} s")
    # A micro-credit of this rate is 0.03 s; a round on a busy machine may come half a second late.
    assert lifetime_s - (0.05 if hub_tells else INTERVAL_S + 0.5) <= charged_s <= lifetime_s + 0.05
    assert world.figures("astronomer").held == 0
    assert world.figures("teammate").available == 25_000_000
