"""Small pods of a real node: a shell of busybox, and the names of services."""

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tests.support.control_plane import ControlPlane
from tests.support.hub import until
from tests.support.image_archive import write_image
from tests.support.node import DNS, Node

BOX, NAMES = "nexus-box:1", "nexus-names:1"
SHELL = "/bin/busybox"
CORE = """
.:53 {
    errors
    ready
    kubernetes cluster.local
}
"""
RBAC = "rbac.authorization.k8s.io"


def import_small_images(node: Node) -> None:
    busybox = shutil.which("busybox")
    assert busybox is not None, "busybox-static is not installed"
    for reference, files, command in (
        (
            BOX,
            {"bin/busybox": Path(busybox), "bin/sh": Path(busybox), "bin/talk": node.tools / "talk"},
            [SHELL],
        ),
        (NAMES, {"names": node.tools / "names"}, ["/names"]),
    ):
        archive = node.folder / "small.tar"
        write_image(archive, f"docker.io/library/{reference}", files, command)
        node.ctr("images", "import", str(archive))
        archive.unlink()


def box(name: str, script: str, labels: Mapping[str, str] | None = None, **container: Any) -> dict[str, Any]:
    """Return a pod that runs a script of busybox's shell."""
    held = {"name": "box", "image": BOX, "command": ["/bin/sh", "-c", script], "imagePullPolicy": "Never"}
    spec = {
        "containers": [held | container], "restartPolicy": "Never", "terminationGracePeriodSeconds": 0,
        "automountServiceAccountToken": False,
    }  # fmt: skip
    about = {"name": name, "labels": dict(labels or {})}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": about, "spec": spec}


def running(plane: ControlPlane, namespace: str, name: str) -> dict[str, Any]:
    """Return the pod once its containers are ready."""

    def look() -> dict[str, Any] | None:
        pod = plane.get(f"/api/v1/namespaces/{namespace}/pods/{name}")
        assert pod is not None, f"the pod {name} is gone"
        assert pod["status"]["phase"] != "Failed", pod["status"]
        conditions = {each["type"]: each["status"] for each in pod["status"].get("conditions", ())}
        return pod if conditions.get("Ready") == "True" else None

    found: dict[str, Any] = until(look, f"the pod {name} ready", 120)
    return found


def serve_names(node: Node) -> None:
    """Run CoreDNS as clusters do: in `kube-system`, labelled `kube-dns`, where pods are told to ask."""
    plane, space = node.plane, "kube-system"
    about = {"metadata": {"name": "names"}}
    reads = {"apiGroups": ["", "discovery.k8s.io"], "verbs": ["list", "watch"]}
    listed = {**reads, "resources": ["services", "pods", "namespaces", "endpointslices"]}
    plane.make({"apiVersion": "v1", "kind": "ServiceAccount", **about}, space)
    plane.make({"apiVersion": f"{RBAC}/v1", "kind": "ClusterRole", **about, "rules": [listed]})
    plane.make(
        {
            "apiVersion": f"{RBAC}/v1", "kind": "ClusterRoleBinding", **about,
            "subjects": [{"kind": "ServiceAccount", "name": "names", "namespace": space}],
            "roleRef": {"apiGroup": RBAC, "kind": "ClusterRole", "name": "names"},
        }
    )  # fmt: skip
    plane.make({"apiVersion": "v1", "kind": "ConfigMap", **about, "data": {"Corefile": CORE}}, space)
    label = {"k8s-app": "kube-dns"}
    ports = [{"name": each.lower(), "port": 53, "protocol": each} for each in ("UDP", "TCP")]
    plane.make(
        {
            "apiVersion": "v1", "kind": "Service", "metadata": {"name": "kube-dns"},
            "spec": {"clusterIP": DNS, "selector": label, "ports": ports},
        },
        space,
    )  # fmt: skip
    held = {
        "name": "names", "image": NAMES, "args": ["-conf", "/etc/names/Corefile"],
        "imagePullPolicy": "Never",
        "volumeMounts": [{"name": "core", "mountPath": "/etc/names"}],
        "readinessProbe": {"httpGet": {"path": "/ready", "port": 8181}, "periodSeconds": 1},
    }  # fmt: skip
    spec = {
        "serviceAccountName": "names", "containers": [held],
        "volumes": [{"name": "core", "configMap": {"name": "names"}}],
    }  # fmt: skip
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "names", "labels": label}, "spec": spec}
    plane.make(pod, space)
    running(plane, space, "names")
