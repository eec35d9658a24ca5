"""What a started server is: whose, how large, with what in it; and what is told when it ends."""

import os
import subprocess
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import psutil
import pytest
from tests.support.fake_allocator import DEFAULTS
from tests.support.hub import SMALL, HubUnderTest, Visitor, running_hub, until
from tests.support.nexus import ROOT

from nexus_allocator.embedded import commands
from nexus_allocator.embedded.children import Child
from nexus_allocator.hub import confinement
from nexus_allocator.hub.local_spawner import group_name

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can give servers uids of their own")
needs_cgroups = pytest.mark.skipif(
    confinement.find_controllers() is None, reason="control groups cannot be written here"
)


@pytest.fixture
def hub(shared_hub: HubUnderTest) -> HubUnderTest:
    """Leaves servers running: most tests only look at one."""
    shared_hub.control(**{**DEFAULTS, "teams": {"wide-field-demo": 40000}})
    return shared_hub


def launch(hub: HubUnderTest) -> tuple[Visitor, psutil.Process]:
    """Sign in to a running server, started where there is none."""
    person = hub.sign_in()
    if hub.server("astronomer") is None:
        assert person.launch_by_form(SMALL).status_code == 200
    hub.wait_until_ready()
    return person, psutil.Process(hub.pid())


def stops(hub: HubUnderTest) -> list[dict[str, object]]:
    return [call["body"] for call in hub.calls("POST", "/holds/.*/stopped")]


def settled_after(hub: HubUnderTest, before: int) -> dict[str, object]:
    return until(lambda: stops(hub)[before:], "settled")[0]


def home(hub: HubUnderTest) -> Path:
    return hub.settings.folder("homes") / "astronomer"


def test_a_server_is_told_started_and_settled_by_its_owners_hand(hub: HubUnderTest) -> None:
    hub.stop_servers()
    before, asked = len(stops(hub)), datetime.now(UTC)
    person, process = launch(hub)
    state = hub.server("astronomer")["state"]  # type: ignore[index]
    told = hub.calls("POST", f"/holds/{state['hold_id']}/started")[0]["body"]
    assert told == {"process_started_at": state["process_started_at"], "evidence": {"pid": process.pid}}
    assert asked < datetime.fromisoformat(told["process_started_at"]) < datetime.now(UTC)
    person.stop()
    evidence = settled_after(hub, before)
    assert (evidence["alive_at_stop"], evidence["exit_signal"]) == (True, None)
    assert asked < datetime.fromisoformat(str(evidence["stopped_at"])) <= datetime.now(UTC)
    assert not process.is_running()


def test_a_killed_server_is_noticed_at_once_and_its_signal_told(hub: HubUnderTest) -> None:
    before = len(stops(hub))
    _, process = launch(hub)
    process.kill()
    killed = datetime.now(UTC)
    evidence = settled_after(hub, before)
    assert (evidence["alive_at_stop"], evidence["exit_signal"], evidence["exit_code"]) == (False, 9, None)
    noticed = datetime.fromisoformat(str(evidence["stopped_at"]))
    assert abs((noticed - killed).total_seconds()) < 0.5
    hub.wait_until_gone()


@needs_root
def test_each_server_has_its_own_ids_and_a_home_of_its_own(hub: HubUnderTest) -> None:
    _, process = launch(hub)
    uid = process.uids().real
    assert uid >= 20000
    assert set(process.uids()) == {uid}
    assert set(process.gids()) == {process.gids().real}
    status = Path(f"/proc/{process.pid}/status").read_text()
    assert "Groups:\t40000" in status
    assert "Umask:\t0027" in status
    assert (home(hub).stat().st_uid, home(hub).stat().st_mode & 0o777) == (uid, 0o750)
    team = hub.settings.folder("teams") / "wide-field-demo"
    assert (team.stat().st_gid, team.stat().st_mode & 0o7777) == (40000, 0o3770)
    assert (home(hub) / "teams" / "wide-field-demo").resolve() == team
    assert (hub.settings.store / "accounts" / "astronomer").stat().st_uid == uid
    environment = process.environ()
    assert (environment["USER"], environment["HOME"]) == ("astronomer", str(home(hub)))
    secrets = {"NEXUS_INTERNAL_TOKEN", "CONFIGPROXY_AUTH_TOKEN", "NEXUS_HUB_TOKEN"}
    assert not secrets & set(environment)


@needs_root
def test_in_the_days_of_grace_the_home_is_read_at_its_place_and_can_not_be_written(
    hub: HubUnderTest, shared_hub: HubUnderTest
) -> None:
    person, process = launch(hub)
    mine = home(hub) / "result.txt"
    mine.write_text("half a year of work")
    os.chown(mine, process.uids().real, process.gids().real)
    mine.chmod(0o640)
    owner, group = process.uids().real, process.gids().real
    person.stop()
    hub.wait_until_gone()
    shared_hub.control(**{**DEFAULTS, "read_only": True})
    _, process = launch(hub)
    reader = process.uids().real
    assert (reader, process.gids().real) == (owner + 30_000, group)
    environment = process.environ()
    working = Path(environment["HOME"])
    assert environment["NEXUS_READ_ONLY_HOME"] == str(home(hub))
    assert (working.parent.name, (working / "home").resolve()) == ("readers", home(hub))
    assert Path(environment["MPLCONFIGDIR"]).is_relative_to(working)

    def as_reader(*words: str) -> int:
        done = subprocess.run(
            words, user=reader, group=group, extra_groups=[], capture_output=True, check=False
        )
        return done.returncode

    assert as_reader("cat", str(working / "home" / "result.txt")) == 0
    assert as_reader("touch", str(working / "kept-for-now")) == 0
    for change in (("touch", str(home(hub) / "new")), ("rm", str(mine)), ("tee", "-a", str(mine))):
        assert as_reader(*change) != 0, change
    assert mine.read_text() == "half a year of work"
    hub.stop_servers()
    until(lambda: not working.exists(), "the reader's folder gone")


def test_the_pipelines_command_is_on_the_path_and_caches_can_be_written(hub: HubUnderTest) -> None:
    _, process = launch(hub)
    environment = process.environ()
    beside = Path(environment["PATH"].split(":")[0])
    assert (beside / "wfi").exists() or (beside / "python").exists()
    for name in ("MPLCONFIGDIR", "NUMBA_CACHE_DIR"):
        assert Path(environment[name]).is_relative_to(home(hub))
        assert Path(environment[name]).stat().st_uid == process.uids().real
    assert environment["NEXUS_STORE_URL"] == hub.settings.store.as_uri()
    assert environment["NEXUS_ACCOUNT"] == "astronomer"


def test_curated_notebooks_are_copied_once_and_never_over_a_changed_one(hub: HubUnderTest) -> None:
    curated = [
        path for path in (ROOT / "notebooks").rglob("*.ipynb") if ".ipynb_checkpoints" not in path.parts
    ]
    if not curated:
        pytest.skip("no curated notebook yet")
    person, _ = launch(hub)
    copy = home(hub) / "notebooks" / curated[0].relative_to(ROOT / "notebooks")
    assert copy.read_bytes() == curated[0].read_bytes()
    copy.write_text("mine")
    person.stop()
    hub.wait_until_gone()
    launch(hub)
    assert copy.read_text() == "mine"


def memory_group(hub: HubUnderTest) -> tuple[Path, Path]:
    """Return the folder of the running server's group and the file with its limit."""
    controllers = confinement.find_controllers()
    assert controllers is not None
    name = group_name("astronomer", hub.server("astronomer")["state"]["hold_id"])  # type: ignore[index]
    folder = controllers.memory / confinement.GROUP / name
    return folder, folder / ("memory.max" if controllers.version == 2 else "memory.limit_in_bytes")


@needs_cgroups
def test_a_server_is_confined_to_the_size_it_pays_for(hub: HubUnderTest) -> None:
    _, process = launch(hub)
    folder, limit = memory_group(hub)
    assert str(process.pid) in (folder / "cgroup.procs").read_text().split()
    assert int(limit.read_text()) == 4 * 2**30
    hub.stop_servers()
    assert not folder.exists()


def test_a_server_outlives_the_hub_and_is_taken_over(hub: HubUnderTest) -> None:
    before = len(stops(hub))
    person, process = launch(hub)
    hold = hub.server("astronomer")["state"]["hold_id"]  # type: ignore[index]
    hub.kill("hub")
    hub.restart("hub")
    server = hub.wait_until_ready()
    assert (server["state"]["pid"], server["state"]["hold_id"]) == (process.pid, hold)
    assert person.get("/user/astronomer/lab").status_code == 200
    assert stops(hub)[before:] == []
    group, _ = memory_group(hub) if confinement.find_controllers() else (None, None)
    process.kill()
    evidence = settled_after(hub, before)
    # Not a child of this hub: the end is seen, the signal is not.
    assert (evidence["alive_at_stop"], evidence["exit_signal"]) == (False, None)
    assert evidence["stopped_at"] is not None
    if group is not None:
        until(lambda: not group.exists(), "its control group removed", 10)


def test_a_server_that_died_without_a_hub_is_settled_without_a_time(hub: HubUnderTest) -> None:
    before = len(stops(hub))
    _, process = launch(hub)
    hub.kill("hub")
    process.kill()
    hub.restart("hub")
    evidence = settled_after(hub, before)
    assert (evidence["stopped_at"], evidence["alive_at_stop"]) == (None, False)
    hub.wait_until_gone()


def test_the_service_may_miss_a_stop_and_read_it_from_the_hub_later(hub: HubUnderTest) -> None:
    person, _ = launch(hub)
    hold = hub.server("astronomer")["state"]["hold_id"]  # type: ignore[index]
    hub.control(failing=True)
    person.stop()
    hub.wait_until_gone()
    hub.control(failing=False)
    listed = hub.as_parent("GET", "/users/astronomer?include_stopped_servers").json()["servers"][""]
    assert listed["state"]["last_stop"]["hold_id"] == hold
    assert listed["state"]["last_stop"]["alive_at_stop"] is True
    assert "hold_id" not in listed["state"]


@needs_cgroups
def test_a_server_killed_for_want_of_memory_is_told_as_such_and_settled_at_once() -> None:
    with running_hub() as hub:
        person = hub.sign_in()
        # Far less than JupyterLab needs to start.
        hub.control(memory_bytes=48 * 2**20)
        person.launch_by_form(SMALL)
        evidence = settled_after(hub, 0)
        assert (evidence["exit_signal"], evidence["alive_at_stop"]) == (9, False)
        intents = [call["body"] for call in hub.calls("POST", "/servers/astronomer/-/stop-intent")]
        assert intents == [{"reason": "out-of-memory", "actor": "kernel"}]


def test_the_culler_keeps_what_is_asked_to_be_kept_and_says_why_it_stops_the_rest(hub: HubUnderTest) -> None:
    launch(hub)
    intents = len(hub.calls("POST", "/servers/.*/stop-intent"))
    hub.control(keep_alive_until=(datetime.now(UTC) + timedelta(hours=1)).isoformat())
    idle_after_a_second = replace(hub.settings, idle_timeout_s=1)
    own = {name: str(value) for name, value in hub.environment.items()}
    command = commands.culler(idle_after_a_second, hub.secrets)
    child = Child(replace(command, environment={**command.environment, **own}), hub.settings.state)
    child.start()
    try:
        asked = len(hub.calls("GET", "/servers/astronomer/-/keep-alive"))
        until(lambda: len(hub.calls("GET", "/servers/astronomer/-/keep-alive")) > asked + 1, "asked")
        assert (hub.server("astronomer") or {})["ready"], "kept"
        hub.control(keep_alive_until=None)
        hub.wait_until_gone()
    finally:
        child.stop()
    told = [call["body"] for call in hub.calls("POST", "/servers/astronomer/-/stop-intent")][intents:]
    assert told[0] == {"reason": "idle", "actor": "idle-culler"}
