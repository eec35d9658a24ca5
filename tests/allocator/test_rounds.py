"""Rounds in a process of their own: a service set so leaves metering to them, and they end when told."""

import subprocess
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

from tests.support.allocator import FakeHub, World, running_rounds, running_service, service_environment

from nexus_allocator.domain.states import HoldState
from nexus_allocator.store import meter


def test_a_service_without_rounds_leaves_metering_to_their_process(
    world: World, database_url: str, hub: FakeHub, tmp_path: Path
) -> None:
    world.clock.at = datetime.now(UTC)
    world.astronomer()
    hold_id = world.launch().hold_id
    hub.runs("astronomer", hold_id, world.clock.at)
    environment = service_environment(
        database_url, hub.api_url, NEXUS_ROUNDS="elsewhere", NEXUS_METERING_INTERVAL_S="1"
    )
    with running_service(environment, tmp_path / "service.log"):
        time.sleep(2.5)
        assert world.hold(hold_id).state == HoldState.PLACED
        with running_rounds(environment, tmp_path / "rounds.log") as process:
            wait_for(lambda: world.hold(hold_id).state == HoldState.RUNNING, process)
        assert process.returncode == 0, (tmp_path / "rounds.log").read_text()
    with world.database.reading_scope() as session:
        assert meter.last_tick(session) is not None


def wait_for(condition: Callable[[], bool], process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + 60
    while not condition():
        assert process.poll() is None, "the rounds ended by themselves"
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.1)
