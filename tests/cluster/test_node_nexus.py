"""The Nexus on a real node: a Lab as its person, the pipeline in it, policies, the culler, the charge."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from tests.support.cluster_hub import NAMESPACE, PODS
from tests.support.hub import SMALL, TOO_LONG, Visitor, until
from tests.support.node import Node
from tests.support.node_images import bring, references
from tests.support.node_machine import HERE
from tests.support.node_nexus import DATABASE, METADATA, PUBLIC, NexusOnNode, folder_of, running_nexus
from tests.support.node_pods import running
from tests.support.node_policies import RELEASE
from tests.support.postgres import PostgresServer

from nexus_allocator.domain.states import HoldState
from nexus_allocator.store.session import Database
from nexus_allocator.store.tables import Hold

PERSON = "astronomer"
LAB = f"{PODS}/jupyter-{PERSON}"
GIB = 2**30
CONNECTS = "import socket, sys; socket.create_connection((sys.argv[1], int(sys.argv[2])), 5).close()"
SERVICE = f"{RELEASE}-allocator"


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


def connects(nexus: NexusOnNode, pod: str, where: tuple[str, int]) -> bool:
    """Say whether a program in the pod can open a connection."""
    try:
        nexus.node.shell(NAMESPACE, pod, "python3", "-c", CONNECTS, where[0], str(where[1]))
    except AssertionError as refused:
        if "timed out" in str(refused) or "refused" in str(refused) or "unreachable" in str(refused):
            return False
        raise
    return True


def test_a_refused_launch_shows_its_arithmetic_and_makes_no_pod(nexus: NexusOnNode, person: Visitor) -> None:
    page = person.launch_by_form(TOO_LONG | {"size": "large"})
    assert page.status_code == 422
    assert re.search(r"\d", page.text.split("Entry")[1][:300]), page.text
    assert nexus.node.plane.get(LAB) is None


def test_the_lab_runs_as_its_person_in_their_home_within_its_size(
    nexus: NexusOnNode, lab: dict[str, Any]
) -> None:
    (container,) = lab["spec"]["containers"]
    uid = container["securityContext"]["runAsUser"]
    assert uid >= 20_000
    name, node = lab["metadata"]["name"], nexus.node
    assert node.shell(NAMESPACE, name, "id", "-u", "-n").strip() == PERSON
    assert node.shell(NAMESPACE, name, "id", "-u").strip() == str(uid)
    assert container["resources"]["limits"] == {"cpu": "2", "memory": str(4 * GIB)}
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
    name = lab["metadata"]["name"]
    hub = nexus.pod(component="hub")
    service = nexus.pod(**{"app.kubernetes.io/component": "service"})
    closed = ((name, METADATA), (name, (HERE, DATABASE)), (service, METADATA))
    stays = ((name, (SERVICE, 80)), (name, ("hub", 8081)), (hub, (SERVICE, 80)))
    nexus.node.enforce(engine)
    for pod, where in (*closed, *stays):
        assert connects(nexus, pod, where), f"{pod} to {where}, without a policy"
    nexus.police()
    nexus.upgrade(networkPolicy__enabled="true")
    for pod, where in closed:
        until(lambda at=(pod, where): not connects(nexus, *at), f"{pod} kept from {where}", 90)
    for pod, where in stays:
        assert connects(nexus, pod, where), f"{pod} to {where}, which the policies allow"
    assert person.get(f"/user/{PERSON}/api").json()["version"]


def test_the_culler_stops_an_idle_lab_and_its_use_is_charged(
    nexus: NexusOnNode, lab: dict[str, Any], person: Visitor
) -> None:
    # The hub is restarted for its new time-out, and finds the Lab that it left.
    nexus.configure_hub(idle_timeout_s=20)
    nexus.restart_hub()
    assert nexus.server(PERSON) is not None
    until(lambda: nexus.node.plane.get(LAB) is None, "the idle Lab gone", 300)
    hold = settled(nexus, UUID(lab["metadata"]["labels"]["nexus.roman/hold"]))
    assert 0 < hold.usage_micro < hold.amount_micro
    assert "idle" in person.get("/hub/spawn").text


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
