"""The Nexus before a control plane: its services are processes of this machine, people's servers are pods."""

import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.support.control_plane import ControlPlane
from tests.support.hub import HubUnderTest, hub_to_be
from tests.support.nexus import ROOT
from tests.support.stub_lab import LAB

from nexus_allocator.embedded import commands

NAMESPACE = "nexus"
PODS = f"/api/v1/namespaces/{NAMESPACE}/pods"
CONFIGURATION = Path(__file__).with_name("cluster_hub_config.py")
# z2jh's Role for the hub, word for word: our spawner must need no more.
HUB_MAY = [
    {
        "apiGroups": [""],
        "resources": ["pods", "persistentvolumeclaims", "secrets", "services"],
        "verbs": ["get", "watch", "list", "create", "delete"],
    },
    {"apiGroups": [""], "resources": ["events"], "verbs": ["get", "watch", "list"]},
]
# A node for notebooks, as z2jh wants it labelled and kept from others.
FOR_NOTEBOOKS: dict[str, Any] = {
    "labels": {"hub.jupyter.org/node-purpose": "user"},
    "taints": [{"key": "hub.jupyter.org/dedicated", "value": "user", "effect": "NoSchedule"}],
}


def prepare(plane: ControlPlane) -> None:
    """Make what an operator makes before the hub: namespace, rights, and the claim of the shared volume.

    Once for all hubs that come after one another on a control plane.
    """
    if plane.get(f"/api/v1/namespaces/{NAMESPACE}") is not None:
        return
    plane.namespace(NAMESPACE)
    rbac, named = "rbac.authorization.k8s.io", {"metadata": {"name": "hub"}}
    plane.make({"apiVersion": f"{rbac}/v1", "kind": "Role", **named, "rules": HUB_MAY}, NAMESPACE)
    account = {"kind": "ServiceAccount", "name": "hub", "namespace": NAMESPACE}
    role = {"apiGroup": rbac, "kind": "Role", "name": "hub"}
    binding = {"apiVersion": f"{rbac}/v1", "kind": "RoleBinding", "subjects": [account], "roleRef": role}
    plane.make({**binding, **named}, NAMESPACE)
    plane.volume("nexus-shared", "1Ti", "ReadWriteMany")
    claim = {"accessModes": ["ReadWriteMany"], "resources": {"requests": {"storage": "1Ti"}}}
    named = {"metadata": {"name": "nexus-shared"}}
    plane.make({"apiVersion": "v1", "kind": "PersistentVolumeClaim", **named, "spec": claim}, NAMESPACE)


@contextmanager
def notebook_node(plane: ControlPlane, name: str, **how: Any) -> Iterator[None]:
    """Have a node for notebooks until the block ends: the next hub's servers go to its own."""
    plane.node(name, **FOR_NOTEBOOKS, **how)
    try:
        yield
    finally:
        plane.delete(f"/api/v1/nodes/{name}")


@contextmanager
def running_cluster_hub(
    plane: ControlPlane,
    for_service: Mapping[str, str] | None = None,
    *,
    for_hub: Mapping[str, str] | None = None,
    **changes: str,
) -> Iterator[HubUnderTest]:
    """Yield a hub whose servers are pods, before the real allocation service; the namespace is prepared.

    ``for_hub`` are variables of its process alone: ``HUB_DATABASE_URL`` stands for its own SQLite.
    """
    with hub_to_be(**changes) as hub:
        settings = hub.settings
        service = commands.service(settings, hub.secrets)
        # Its meter reads often, so that usage lands while a test waits.
        own = {**service.environment, "NEXUS_METERING_INTERVAL_S": "5", **(for_service or {})}
        subprocess.run(
            commands.allocator(("migrate",)), env=own, check=True, timeout=120, capture_output=True
        )
        hub.start(commands.provider(settings, hub.secrets))
        hub.start(commands.proxy(settings, hub.secrets))
        hub.start(command("allocation service", service.arguments, own, service.health_url))
        port = settings.port + LAB
        words = (sys.executable, "-m", "tests.support.stub_lab", str(port))
        hub.start(command("stub lab", words, own, f"http://127.0.0.1:{port}/"))
        given = {**own, **hub.environment, **(for_hub or {}), "KUBECONFIG": str(plane.kubeconfig("hub"))}
        words = (sys.executable, "-m", "jupyterhub", "-f", str(CONFIGURATION))
        hub.start(command("hub", words, given, f"{settings.hub_url}/hub/health"))
        yield hub


def command(
    name: str, arguments: tuple[str, ...], environment: dict[str, str], health_url: str | None
) -> commands.Command:
    """Return a process that finds the tests' own modules, too."""
    path = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])
    return commands.Command(name, arguments, {**environment, "PYTHONPATH": path}, health_url)


def pod_of(plane: ControlPlane, person: str) -> dict[str, Any] | None:
    """Return the person's pod, found by the annotation that KubeSpawner promises."""
    for pod in plane.items(PODS):
        if pod["metadata"].get("annotations", {}).get("hub.jupyter.org/username") == person:
            return pod
    return None
