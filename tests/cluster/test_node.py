"""A real kubelet: pods run as whom and within what they are told, find each other, and policies part them."""

import json
from pathlib import Path
from typing import Any

import pytest
from tests.support.hub import until
from tests.support.node import NAME, Node
from tests.support.node_pods import SHELL, box, running

SPACE = "small"
PODS = f"/api/v1/namespaces/{SPACE}/pods"
MIB = 2**20
STAYS = f"{SHELL} sleep 100000"
ANSWERS = "exec /bin/talk serve :8080 here"
ASKS = ("/bin/talk", "get", "http://web:8080/")
NO_ANSWER = "exit code 3"
WEB = {"app": "web"}


@pytest.fixture(scope="module")
def space(node: Node) -> str:
    node.plane.namespace(SPACE)
    return SPACE


@pytest.fixture(scope="module")
def web(node: Node, space: str) -> dict[str, Any]:
    node.plane.make(box("web", ANSWERS, WEB), space)
    spec = {"selector": WEB, "ports": [{"port": 8080}]}
    node.plane.make({"apiVersion": "v1", "kind": "Service", "metadata": {"name": "web"}, "spec": spec}, space)
    node.plane.make(box("visitor", STAYS), space)
    running(node.plane, space, "visitor")
    return running(node.plane, space, "web")


def test_a_pod_runs_as_whom_and_within_what_it_is_given(node: Node, space: str) -> None:
    resources = {"limits": {"cpu": "500m", "memory": "64Mi"}}
    asked = box("given", f"{SHELL} id; {STAYS}", resources=resources)
    asked["spec"]["securityContext"] = {
        "runAsUser": 20123, "runAsGroup": 20124, "supplementalGroups": [30001],
    }  # fmt: skip
    node.plane.make(asked, space)
    pod = running(node.plane, space, "given")
    assert pod["spec"]["nodeName"] == NAME
    assert pod["status"]["qosClass"] == "Guaranteed"
    told = node.kubectl("logs", f"--namespace={space}", "given")
    assert told.strip() == "uid=20123 gid=20124 groups=20124,30001"
    assert node.shell(space, "given", SHELL, "id", "-u").strip() == "20123"
    assert limit_of(node, pod) == 64 * MIB


def limit_of(node: Node, pod: dict[str, Any]) -> int:
    """Return the memory in bytes that the kernel gives the pod's container."""
    for name in ("/sys/fs/cgroup/memory/memory.limit_in_bytes", "/sys/fs/cgroup/memory.max"):
        where = pod["metadata"]["namespace"], pod["metadata"]["name"]
        if found := node.shell(*where, "/bin/sh", "-c", f"[ ! -e {name} ] || {SHELL} cat {name}"):
            return int(found)
    raise AssertionError("no limit of memory is to be seen")


def test_who_takes_more_memory_than_the_limit_is_killed_with_that_reason(node: Node, space: str) -> None:
    resources = {"limits": {"memory": "32Mi"}}
    node.plane.make(box("greedy", f"{SHELL} tail /dev/zero", resources=resources), space)

    def end() -> dict[str, Any] | None:
        pod = node.plane.get(f"{PODS}/greedy")
        assert pod is not None
        (status,) = pod["status"].get("containerStatuses") or [{"state": {}}]
        ended: dict[str, Any] | None = status["state"].get("terminated")
        return ended

    ended = until(end, "the pod killed", 90)
    assert (ended["reason"], ended["exitCode"]) == ("OOMKilled", 137), json.dumps(ended)


def test_a_service_is_found_by_name_and_reached(node: Node, web: dict[str, Any]) -> None:
    until(lambda: answers(node, "visitor"), "the service answering")


def answers(node: Node, pod: str) -> bool:
    try:
        return node.shell(SPACE, pod, *ASKS) == "here\n"
    except AssertionError as refused:
        if NO_ANSWER in str(refused):
            return False
        raise


def test_a_policy_closes_what_was_open_and_leaves_open_what_it_names(
    node: Node, web: dict[str, Any], engine: Path
) -> None:
    node.plane.make(box("friend", STAYS, {"app": "friend"}), SPACE)
    running(node.plane, SPACE, "friend")
    node.enforce(engine)
    until(lambda: answers(node, "visitor") and answers(node, "friend"), "both answered without a policy")
    friends = {"from": [{"podSelector": {"matchLabels": {"app": "friend"}}}], "ports": [{"port": 8080}]}
    policy = {"podSelector": {"matchLabels": WEB}, "policyTypes": ["Ingress"], "ingress": [friends]}
    kind = {"apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy", "metadata": {"name": "web"}}
    node.plane.make({**kind, "spec": policy}, SPACE)
    until(lambda: not answers(node, "visitor"), "the stranger refused", 60)
    assert answers(node, "friend")
    node.plane.delete(f"/apis/networking.k8s.io/v1/namespaces/{SPACE}/networkpolicies/web")
    until(lambda: answers(node, "visitor"), "the stranger answered again", 60)
