"""The drill: a Nexus whose servers run is backed up, more happens, all is lost, and it is brought back."""

import shutil
import subprocess
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from tests.support.cluster_hub import notebook_node, prepare, running_cluster_hub
from tests.support.control_plane import ControlPlane
from tests.support.faults import INTERVAL_S, SLACK_S, Nexus, launch, signed_in, watching
from tests.support.hub import HubUnderTest, Visitor, people_file, until
from tests.support.postgres import PostgresServer, private_postgres, programs

from nexus_allocator.domain.states import HoldState
from nexus_allocator.embedded import commands
from nexus_allocator.store.session import Database

# What becomes of each one's server after the backup: runs on, stopped, stopped and started anew, new.
STAYS, STOPS, CHANGES, COMES = NAMES = ("ada", "bela", "cleo", "dora")
LOST = ("hub", "allocation service")


@pytest.fixture
def postgres() -> Iterator[PostgresServer]:
    folder = programs()
    if folder is None:
        pytest.skip("PostgreSQL is not installed")
    with private_postgres(folder) as server:
        yield server


def told(hub: HubUnderTest, url: str, *words: str) -> str:
    """Run the operator's command line on the service's database of this URL."""
    environment = {**hub.children["allocation service"].command.environment, "NEXUS_DATABASE_URL": url}
    done = subprocess.run(
        commands.allocator(words), env=environment, capture_output=True, text=True, check=False, timeout=120
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def lose(hub: HubUnderTest) -> None:
    """Kill hub and service and throw their databases away; the operator has kept the secrets."""
    for name in LOST:
        hub.kill(name)
    shutil.rmtree(hub.settings.folder("db"))
    hub.settings.folder("db").mkdir()


def bring_up(hub: HubUnderTest, url: str) -> None:
    """Start service and hub, the service on another database than before."""
    for name in reversed(LOST):
        before = hub.children.pop(name).command
        hub.start(replace(before, environment={**before.environment, "NEXUS_DATABASE_URL": url}))


def stop(hub: HubUnderTest, person: Visitor, name: str) -> None:
    person.stop()
    hub.wait_until_gone(name)


def test_a_nexus_with_live_servers_comes_back_from_its_backup(
    plane: ControlPlane, postgres: PostgresServer, tmp_path: Path
) -> None:
    prepare(plane)
    people = [{"subject": name, "preferred_username": name, "name": name.title()} for name in NAMES]
    known = people_file(tmp_path, [{**one, "email": f"{one['subject']}@x.invalid"} for one in people])
    url, again = (postgres.url(postgres.new_database()) for _ in range(2))
    with (
        notebook_node(plane, "for-restore"),
        running_cluster_hub(plane, {"NEXUS_DATABASE_URL": url}, NEXUS_PEOPLE_FILE=str(known)) as hub,
    ):
        visitors = {name: signed_in(hub, name) for name in NAMES}
        for name in (STAYS, STOPS, CHANGES):
            launch(hub, visitors[name], name)
        first = Nexus(hub, plane, Database(url, threads=2))
        before = {str(hold.id): hold for hold in first.holds()}
        (stays,) = (pod for pod in first.pods().values() if STAYS in pod)
        # So that the meter has seen all of them.
        until(lambda: all(hold.usage_micro for hold in first.holds()), "usage of each")

        assert "crypt key" in told(hub, url, "backup", str(tmp_path / "kept"))
        backed_up_at = time.time()
        for name in (STOPS, CHANGES):
            stop(hub, visitors[name], name)
        for name in (CHANGES, COMES):
            launch(hub, visitors[name], name)
        first.database.dispose()
        lose(hub)

        (backup,) = (tmp_path / "kept").iterdir()
        assert "reconciles" in told(hub, again, "restore", str(backup))
        with watching(plane) as watch:
            bring_up(hub, again)
            nexus = Nexus(hub, plane, Database(again, threads=2))
            # Only who ran on since the backup has a server; what came after it was ended.
            until(lambda: list(nexus.pods().values()) == [stays], "the strays ended", 60)
            until(lambda: len(nexus.open_holds()) == 1, "the ended ones settled", 60)
            until(lambda: not nexus.audit().drifts, "a clean audit", 60)
            watch.look()
        holds = {str(hold.id): hold for hold in nexus.holds()}
        assert holds.keys() == before.keys(), "nobody is charged for what the books do not know"
        for hold_id, hold in holds.items():
            charged_s = 3600 * hold.usage_micro / hold.rate_micro_per_hour
            began = hold.process_started_at
            assert began is not None
            if hold.state == HoldState.SETTLED:
                assert charged_s <= backed_up_at - began.timestamp() + SLACK_S
                assert hold.usage_micro == hold.posted_micro
            else:
                ran_s = watch.alive[hold_id].until - began.timestamp()
                assert ran_s - INTERVAL_S - SLACK_S <= charged_s <= ran_s + SLACK_S

        # Browsers are still signed in, for the cookie secret was kept; the server that ran on answers.
        assert visitors[STAYS].get(f"/user/{STAYS}/api").json()["version"]
        newcomer = signed_in(hub, COMES)
        launch(hub, newcomer, COMES)
        assert newcomer.get(f"/user/{COMES}/api").json()["version"]
        launch(hub, visitors[CHANGES], CHANGES)
        nexus.stop_all()
        until(lambda: not nexus.pods(), "no pod left")
        until(lambda: not nexus.audit().drifts, "a clean audit")
        nexus.database.dispose()
