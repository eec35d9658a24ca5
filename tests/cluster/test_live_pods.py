"""Launches by the real hub and allocation service as pods of a real API server, on nodes that kwok plays."""

import signal
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import pytest
from tests.support.cluster_hub import PODS, notebook_node, pod_of, prepare, running_cluster_hub
from tests.support.control_plane import ControlPlane
from tests.support.hub import SMALL, TOO_LONG, HubUnderTest, Visitor, until

from nexus_allocator.domain.states import HoldState
from nexus_allocator.store.session import Database
from nexus_allocator.store.tables import Hold

GIB = 2**30


@pytest.fixture(scope="module")
def hub(plane: ControlPlane) -> Iterator[HubUnderTest]:
    prepare(plane)
    plane.play("of-notebooks")
    # Where no node lives any more, Kubernetes gives no pod up.
    plane.node("other")
    with notebook_node(plane, "notebooks", player="of-notebooks"), running_cluster_hub(plane) as hub:
        yield hub


@pytest.fixture(scope="module")
def ada(hub: HubUnderTest) -> Visitor:
    def signed_in() -> Visitor | None:
        person = Visitor(hub.url)
        return person if person.sign_in("astronomer").is_success else None

    # On a busy machine the first call of a service that has just begun takes longer than the hub waits.
    person: Visitor = until(signed_in, "signed in")
    person.accept_agreement()
    return person


def launched(hub: HubUnderTest, plane: ControlPlane, person: Visitor) -> dict[str, Any]:
    """Launch a small server and return its pod, once the hub has seen the server answer."""
    page = person.launch_by_form(SMALL)
    assert page.status_code == 200, page.text
    hub.wait_until_ready()
    pod = pod_of(plane, "astronomer")
    assert pod is not None
    return pod


def settled(hub: HubUnderTest, plane: ControlPlane, pod: dict[str, Any]) -> Hold:
    """Return the pod's hold, once pod and server are gone and the hold has been settled."""
    until(lambda: pod_of(plane, "astronomer") is None, "the pod gone", 180)
    hub.wait_until_gone()
    database = Database(f"sqlite:///{hub.settings.folder('db') / 'allocator.sqlite'}")

    def look() -> Hold | None:
        with database.reading_scope() as session:
            hold = session.get(Hold, UUID(pod["metadata"]["labels"]["nexus.roman/hold"]))
            return hold if hold is not None and hold.state == HoldState.SETTLED else None

    try:
        found: Hold = until(look, "the hold settled")
    finally:
        database.dispose()
    return found


def test_an_admitted_server_is_scheduled_with_its_identity_size_and_places(
    hub: HubUnderTest, plane: ControlPlane, ada: Visitor
) -> None:
    pod = launched(hub, plane, ada)
    spec, (container,) = pod["spec"], pod["spec"]["containers"]
    # The node takes nobody but notebooks, and they go nowhere else.
    assert spec["nodeName"] == "notebooks"
    identity = container["securityContext"]
    assert identity["runAsUser"] == identity["runAsGroup"] >= 20_000
    assert container["resources"]["limits"] == {"cpu": "2", "memory": str(4 * GIB)}
    assert pod["status"]["qosClass"] == "Guaranteed"
    seen = {each["mountPath"]: each.get("subPath") for each in container["volumeMounts"]}
    assert seen["/home/astronomer"] == "homes/astronomer"
    assert pod["metadata"]["annotations"]["nexus.roman/account"] == "astronomer"
    # The Lab behind the proxy answers, and stopping it settles what it used.
    assert ada.get("/user/astronomer/api").json()["version"]
    ada.stop()
    hold = settled(hub, plane, pod)
    assert 0 < hold.usage_micro < hold.amount_micro
    assert "You stopped it." in ada.get("/hub/spawn").text


def test_a_refused_launch_makes_no_pod(plane: ControlPlane, ada: Visitor) -> None:
    page = ada.launch_by_form(TOO_LONG | {"size": "large"})
    assert page.status_code == 422
    assert "Entry" in page.text
    assert pod_of(plane, "astronomer") is None


def test_a_pod_that_ran_out_of_memory_says_so_to_its_person(
    hub: HubUnderTest, plane: ControlPlane, ada: Visitor
) -> None:
    pod = launched(hub, plane, ada)
    (status,) = pod["status"]["containerStatuses"]
    now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    end = {"exitCode": 137, "reason": "OOMKilled", "finishedAt": now, "startedAt": now}
    ended = {**status, "ready": False, "state": {"terminated": end}}
    plane.patch(
        f"{PODS}/{pod['metadata']['name']}/status",
        {"status": {"phase": "Failed", "containerStatuses": [ended]}},
    )
    settled(hub, plane, pod)
    assert "It used more memory than the server has." in ada.get("/hub/spawn").text


def test_a_server_outlives_the_api_server_and_is_charged_all_along(
    hub: HubUnderTest, plane: ControlPlane, ada: Visitor
) -> None:
    pod = launched(hub, plane, ada)
    plane.restart()
    assert ada.get("/user/astronomer/api").json()["version"]
    assert hub.server("astronomer") is not None
    ada.stop()
    hold = settled(hub, plane, pod)
    assert hold.process_started_at is not None
    assert hold.stopped_at is not None
    charged_s = 3600 * hold.usage_micro / hold.rate_micro_per_hour
    assert charged_s == pytest.approx((hold.stopped_at - hold.process_started_at).total_seconds(), abs=1.5)


def test_a_server_on_a_lost_node_is_ended_and_charged_no_longer(
    hub: HubUnderTest, plane: ControlPlane, ada: Visitor
) -> None:
    pod = launched(hub, plane, ada)
    assert pod["spec"]["nodeName"] == "notebooks"
    node = plane.children["of-notebooks"].process
    assert node is not None
    node.send_signal(signal.SIGSTOP)
    settled(hub, plane, pod)
    assert "The machine it ran on was lost" in ada.get("/hub/spawn").text
