"""The service killed, the API server restarted, the database's disk full, all during launches of real pods.

The node that is lost is in `test_live_pods.py`.
"""

import os
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import psycopg
import pytest
from tests.support.cluster_hub import notebook_node, prepare, running_cluster_hub
from tests.support.control_plane import ControlPlane
from tests.support.faults import INTERVAL_S, Nexus, Watch, is_clear, launch, own_small, signed_in, watching
from tests.support.hub import PLAIN, Visitor, people_file, until
from tests.support.postgres import PostgresServer, private_postgres, programs

from nexus_allocator.store.session import Database

NAMES = ("ada", "bela", "cleo", "dora")
DISK_MB = 192


@contextmanager
def small_disk(folder: Path) -> Iterator[Path]:
    """Mount a file system of a known size; a test without the right to is skipped."""
    words = ["mount", "-t", "tmpfs", "-o", f"size={DISK_MB}m,mode=0755", "nexus-test", str(folder)]
    made = subprocess.run(words, capture_output=True, text=True, check=False)
    if made.returncode != 0:
        pytest.skip(f"a small disk can't be mounted here: {made.stderr.strip()}")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


@pytest.fixture(scope="module")
def postgres(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PostgresServer]:
    """A PostgreSQL of this module's own, on a disk of its own."""
    folder = programs()
    if folder is None:
        pytest.skip("PostgreSQL is not installed")
    place = Path("/tmp") / f"nexus-disk-{os.getpid()}"  # noqa: S108 - PostgreSQL's own user has to get there
    place.mkdir()
    try:
        with small_disk(place) as disk, private_postgres(folder, parent=disk) as server:
            yield server
    finally:
        place.rmdir()


@pytest.fixture(scope="module")
def nexus(
    plane: ControlPlane, postgres: PostgresServer, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Nexus]:
    prepare(plane)
    people = [{"subject": name, "preferred_username": name, "name": name.title()} for name in NAMES]
    known = people_file(
        tmp_path_factory.mktemp("people"), [{**one, "email": f"{one['subject']}@x.invalid"} for one in people]
    )
    url = postgres.url(postgres.new_database())
    with (
        notebook_node(plane, "for-faults"),
        running_cluster_hub(plane, {"NEXUS_DATABASE_URL": url}, NEXUS_PEOPLE_FILE=str(known)) as hub,
    ):
        database = Database(url, threads=4)
        yield Nexus(hub, plane, database)
        database.dispose()


@pytest.fixture(scope="module")
def people(nexus: Nexus) -> dict[str, Visitor]:
    return {name: signed_in(nexus.hub, name) for name in NAMES}


@pytest.fixture
def watch(nexus: Nexus) -> Iterator[Watch]:
    with watching(nexus.plane) as watch:
        yield watch
    nexus.stop_all()


def all_run(nexus: Nexus, people: dict[str, Visitor]) -> None:
    """Have whoever has no server launch again, as their page tells them to, until everybody's runs."""
    for name, person in people.items():
        if nexus.hub.server(name) is None:
            launch(nexus.hub, person, name)
    for name in people:
        nexus.hub.wait_until_ready(name)


def test_the_service_killed_during_launches_loses_nothing(
    nexus: Nexus, people: dict[str, Visitor], watch: Watch
) -> None:
    launches = nexus.launch_all(people)
    time.sleep(0.3)
    nexus.hub.kill("allocation service")
    time.sleep(4)
    nexus.hub.restart("allocation service")
    answers = {name: each.result(120) for name, each in launches.items()}
    assert [name for name, answer in answers.items() if not is_clear(answer)] == []
    all_run(nexus, people)
    nexus.hold_together(watch, faults=1)
    nexus.stop_all()
    nexus.hold_together(watch, faults=1)


def test_the_api_server_restarted_during_launches_loses_nothing(
    nexus: Nexus, people: dict[str, Visitor], watch: Watch
) -> None:
    launches = nexus.launch_all(people)
    time.sleep(0.3)
    nexus.plane.restart()
    for each in launches.values():
        each.result(120)
    until(
        lambda: not any((nexus.hub.server(name) or {}).get("pending") for name in people), "none pending", 90
    )
    all_run(nexus, people)
    nexus.hold_together(watch, faults=1)
    nexus.stop_all()
    nexus.hold_together(watch, faults=1)


def more_fits(connection: psycopg.Connection[tuple[object, ...]], rows: int) -> bool:
    try:
        connection.execute("INSERT INTO ballast SELECT repeat('x', 7000) FROM generate_series(1, %s)", [rows])
    except psycopg.errors.DiskFull:
        return False
    return True


@contextmanager
def full(postgres: PostgresServer, database: str) -> Iterator[None]:
    """Fill the database's disk with a table of nobody's, as a runaway query would."""
    with postgres.connect(database) as connection:
        connection.execute("CREATE UNLOGGED TABLE ballast (words text)")
        connection.execute("ALTER TABLE ballast ALTER words SET STORAGE PLAIN")
        for rows in (1000, 1):
            until(lambda rows=rows: not more_fits(connection, rows), "a full disk", 90)
    try:
        yield
    finally:
        with postgres.connect(database) as connection:
            connection.execute("DROP TABLE ballast")


def admit(nexus: Nexus, name: str) -> httpx.Response:
    """Ask for an admission as the hub does."""
    headers = {"Authorization": f"Bearer {nexus.hub.secrets.internal}"}
    body = {
        "hub_name": name,
        "server_name": "",
        "account": name,
        "size": "small",
        "image": "nexus",
        "hours": 1,
    }
    return PLAIN.post(
        f"{nexus.hub.settings.service_api_url}/admissions", json=body, headers=headers, timeout=60
    )


def test_a_full_disk_of_the_database_refuses_in_clear_words_and_charges_all_that_ran(
    nexus: Nexus, people: dict[str, Visitor], watch: Watch, postgres: PostgresServer
) -> None:
    runner, refused = "ada", "bela"
    launch(nexus.hub, people[runner], runner)
    name = nexus.database.url.database
    assert name is not None
    with full(postgres, name):
        # Pages of tables and of the log that are there already take some more.
        answer = until(
            lambda: (said := admit(nexus, refused)).status_code != httpx.codes.CREATED and said,
            "a refusal",
            90,
        )
        assert answer.status_code == httpx.codes.SERVICE_UNAVAILABLE, answer.text
        assert answer.json()["error"] == "database_unavailable"
        assert "can't be used just now" in answer.json()["message"]
        page = people[refused].launch_by_form(own_small(refused))
        assert is_clear(page), page.text
        time.sleep(2 * INTERVAL_S)
    all_run(nexus, {each: people[each] for each in (runner, refused)})
    nexus.hold_together(watch, faults=3)
    nexus.stop_all()
    nexus.hold_together(watch, faults=3)
