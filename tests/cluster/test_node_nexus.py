"""The Nexus on a real node: a Lab as its person, the pipeline in it, policies, the culler, the charge."""

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from tests.support.cluster_hub import NAMESPACE, PODS
from tests.support.hub import SMALL, TOO_LONG, Visitor, until
from tests.support.node import Node
from tests.support.node_images import bring, references
from tests.support.node_machine import HERE
from tests.support.node_nexus import (
    DATABASE,
    HUB,
    METADATA,
    PUBLIC,
    SERVICE,
    NexusOnNode,
    folder_of,
    running_nexus,
)
from tests.support.node_pods import running
from tests.support.postgres import PostgresServer

from nexus_allocator.domain.states import HoldState
from nexus_allocator.store.session import Database
from nexus_allocator.store.tables import Hold

PERSON = "astronomer"
LAB = f"{PODS}/jupyter-{PERSON}"
GIB = 2**30
# By the packaged rate card: an hour of one processor and 4 GiB.
MICRO_PER_HOUR = 75_000
IDLE_S, SLACK_S = 20, 5
IDENTITY = f"uid={{uid}}({PERSON}) gid={{uid}}({PERSON}) groups={{uid}}({PERSON})"
CONNECTS = """
import socket, sys
for where in sys.argv[1:]:
    host, port = where.split(":")
    try:
        socket.create_connection((host, int(port)), 5).close()
    except (ConnectionRefusedError, TimeoutError):
        continue
    print(where)
"""


@pytest.fixture(scope="module")
def nexus(node: Node, program: Path, postgres_server: PostgresServer) -> Iterator[NexusOnNode]:
    images = references()
    if isinstance(images, str):
        pytest.skip(images)
    bring(node, images)
    with running_nexus(node, images, program, postgres_server) as nexus:
        yield nexus


@pytest.fixture(scope="module")
def person(nexus: NexusOnNode) -> Visitor:
    visitor = Visitor(PUBLIC)
    visitor.sign_in(PERSON)
    visitor.accept_agreement()
    return visitor


@pytest.fixture(scope="module")
def lab(nexus: NexusOnNode, person: Visitor) -> dict[str, Any]:
    """The person's pod, once the hub has seen their server answer."""
    page = person.launch_by_form(SMALL)
    assert page.status_code == 200, page.text

    def ready() -> bool:
        server = nexus.server(PERSON)
        assert server is not None, person.get("/hub/spawn").text
        return bool(server["ready"])

    until(ready, "the Lab ready", 400)
    return running(nexus.node.plane, NAMESPACE, f"jupyter-{PERSON}")


def test_a_refused_launch_shows_its_arithmetic_and_makes_no_pod(nexus: NexusOnNode, person: Visitor) -> None:
    page = person.launch_by_form(TOO_LONG)
    assert page.status_code == 402
    assert "This server needs 1.82 credits, 1.00 left; a Small server for 13 h would fit." in page.text
    assert nexus.node.plane.get(LAB) is None


def test_the_lab_runs_as_its_person_in_their_home_within_its_size(
    nexus: NexusOnNode, lab: dict[str, Any]
) -> None:
    (container,) = lab["spec"]["containers"]
    uid = container["securityContext"]["runAsUser"]
    assert uid >= 20_000
    assert lab["metadata"]["annotations"]["nexus.roman/account"] == PERSON
    name, node = lab["metadata"]["name"], nexus.node
    assert node.shell(NAMESPACE, name, "id").strip() == IDENTITY.format(uid=uid)
    assert container["resources"]["limits"] == {"cpu": "1", "memory": str(4 * GIB)}
    assert container["resources"]["requests"] == container["resources"]["limits"]
    limit = "cat /sys/fs/cgroup/memory/memory.limit_in_bytes || cat /sys/fs/cgroup/memory.max"
    assert int(node.shell(NAMESPACE, name, "sh", "-c", limit)) == 4 * GIB
    # What the person writes is theirs on the volume, too.
    node.shell(NAMESPACE, name, "sh", "-c", f"echo kept > /home/{PERSON}/kept")
    kept = folder_of(node, "nexus-shared") / "homes" / PERSON / "kept"
    assert kept.read_text() == "kept\n"
    assert kept.stat().st_uid == uid
    assert kept.parent.stat().st_uid == uid


def test_the_lab_answers_its_person_through_hub_and_proxy(lab: dict[str, Any], person: Visitor) -> None:
    assert person.get(f"/user/{PERSON}/api").json()["version"]
    assert "lab" in person.get(f"/user/{PERSON}/lab").text.lower()


def test_the_pipeline_runs_in_the_lab(nexus: NexusOnNode, lab: dict[str, Any]) -> None:
    name = lab["metadata"]["name"]
    assert "usage" in nexus.node.shell(NAMESPACE, name, "wfi", "--help", timeout_s=300).lower()
    makes = "cd && wfi make-field field.parquet --ra 80 --dec 30 --radius 0.02 && test -s field.parquet"
    nexus.node.shell(NAMESPACE, name, "sh", "-c", makes, timeout_s=300)


def test_policies_close_what_was_open_and_leave_the_nexus_working(
    nexus: NexusOnNode, lab: dict[str, Any], person: Visitor, engine: Path
) -> None:
    pods = parted(nexus, lab)
    nexus.node.enforce(engine)
    for pod, (closed, stays) in pods.items():
        everything = closed | stays
        until(lambda at=pod, to=everything: reached(nexus, at, to) == to, f"all open to {pod}", 60)
    nexus.police()
    nexus.upgrade(networkPolicy__enabled="true")
    for pod, (closed, stays) in pods.items():
        everything = closed | stays
        until(lambda at=pod, to=everything, of=stays: reached(nexus, at, to) == of, f"{pod} kept in", 90)
    assert person.get(f"/user/{PERSON}/api").json()["version"]
    assert Visitor(PUBLIC).sign_in(PERSON).is_success


def parted(nexus: NexusOnNode, lab: dict[str, Any]) -> dict[str, tuple[set[str], set[str]]]:
    """Return for each pod what policies close to it, and what they leave open."""
    its_own, provider = f"{lab['status']['podIP']}:8888", f"{HERE}:{nexus.hub.settings.port + 4}"
    service = nexus.pod(**{"app.kubernetes.io/component": "service"})
    return {
        lab["metadata"]["name"]: ({METADATA, DATABASE, "proxy-api:8001"}, {f"{SERVICE}:80", "hub:8081"}),
        service: ({METADATA, its_own, "proxy-api:8001"}, {DATABASE, "hub:8081"}),
        nexus.pod(**HUB): ({METADATA}, {f"{SERVICE}:80", "proxy-api:8001", its_own, provider}),
    }


def reached(nexus: NexusOnNode, pod: str, where: set[str]) -> set[str]:
    """Return to which of these a program in the pod can open a connection."""
    told = nexus.node.shell(NAMESPACE, pod, "python3", "-c", CONNECTS, *sorted(where))
    return set(told.split())


def test_a_hub_that_is_started_again_finds_the_lab_it_left(
    nexus: NexusOnNode, lab: dict[str, Any], person: Visitor
) -> None:
    nexus.restart_hub()
    server = nexus.server(PERSON)
    assert server is not None
    assert server["ready"]
    assert person.get(f"/user/{PERSON}/api").json()["version"]


def test_the_culler_stops_an_idle_lab_and_its_use_is_charged(
    nexus: NexusOnNode, lab: dict[str, Any], person: Visitor
) -> None:
    nexus.configure_hub(idle_timeout_s=IDLE_S)
    nexus.restart_hub()
    until(lambda: nexus.node.plane.get(LAB) is None, "the idle Lab gone", 300)
    gone = datetime.now(UTC)
    (status,) = lab["status"]["containerStatuses"]
    ran_s = (gone - datetime.fromisoformat(status["state"]["running"]["startedAt"])).total_seconds()
    hold = settled(nexus, UUID(lab["metadata"]["labels"]["nexus.roman/hold"]))
    assert hold.usage_micro == pytest.approx(
        MICRO_PER_HOUR * ran_s / 3600, abs=MICRO_PER_HOUR * SLACK_S / 3600
    )
    assert "It was idle for too long." in person.get("/hub/spawn").text


def settled(nexus: NexusOnNode, hold_id: UUID) -> Hold:
    database = Database(nexus.database_url)

    def look() -> Hold | None:
        with database.reading_scope() as session:
            hold = session.get(Hold, hold_id)
            return hold if hold is not None and hold.state == HoldState.SETTLED else None

    try:
        found: Hold = until(look, "the hold settled", 120)
    finally:
        database.dispose()
    return found
