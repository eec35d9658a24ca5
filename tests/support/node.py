"""A real node: containerd, runc, kubelet and kube-proxy, and kube-router to enforce policies.

Everything it starts, mounts and writes is inside its machine and its folder, and is gone with them.
"""

import json
import resource
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from tests.support.control_plane import ControlPlane
from tests.support.hub import until
from tests.support.image_archive import write_image
from tests.support.node_machine import PODS, SERVICES, THERE, Machine, call

NAME = "real"
PAUSE = "docker.io/library/nexus-pause:1"
PLUGINS = ("/usr/lib/cni", "/opt/cni/bin")
DNS = "10.96.0.10"
# What our programs here may not raise, containers are not promised.
LIMITS = {
    f"RLIMIT_{name}": getattr(resource, f"RLIMIT_{name}")
    for name in ("NOFILE", "NPROC", "CORE", "MEMLOCK")
}  # fmt: skip


@dataclass
class Node:
    machine: Machine
    plane: ControlPlane
    tools: Path

    @property
    def folder(self) -> Path:
        return self.machine.folder

    @property
    def socket(self) -> Path:
        return self.folder / "containerd.sock"

    def start(self) -> None:
        """Start the runtime, the kubelet and the service proxy; return once pods may come."""
        self.write("containerd.toml", runtime_settings(self.folder))
        self.write("base.json", json.dumps(base_of_containers(self.machine)))
        (self.folder / "cni").mkdir()
        self.write("cni/10-nexus.conflist", json.dumps(network(self.folder)))
        self.machine.run("containerd", "containerd", f"--config={self.folder / 'containerd.toml'}")
        until(self.runs_containers, "containerd ready", 60)
        self.import_pause()
        self.write("kubelet.yaml", yaml.safe_dump(kubelet_settings(self)))
        self.machine.run(
            "kubelet", str(self.tools / "kubelet"), f"--config={self.folder / 'kubelet.yaml'}",
            f"--kubeconfig={self.plane.kubeconfig()}", f"--root-dir={self.folder / 'kubelet'}",
            f"--cert-dir={self.folder / 'kubelet-certificates'}", f"--hostname-override={NAME}",
            f"--node-ip={THERE}", "--node-labels=hub.jupyter.org/node-purpose=user", "--v=1",
        )  # fmt: skip
        self.write("kube-proxy.yaml", yaml.safe_dump(proxy_settings(self)))
        self.machine.run(
            "kube-proxy", str(self.tools / "kube-proxy"), f"--config={self.folder / 'kube-proxy.yaml'}"
        )
        until(self.is_ready, "the node ready", 180)

    def enforce(self, engine: Path) -> None:
        """Let kube-router, and nothing else of it but its firewall, enforce policies from now on."""
        if "kube-router" in self.machine.children:
            return
        self.machine.run(
            "kube-router", str(engine), "--run-firewall=true", "--run-router=false",
            "--run-service-proxy=false", "--run-loadbalancer=false", "--enable-cni=false",
            f"--kubeconfig={self.plane.kubeconfig()}", f"--hostname-override={NAME}",
            f"--service-cluster-ip-range={SERVICES}", "--metrics-port=0", "--v=1",
        )  # fmt: skip

    def kubectl(self, *words: str, timeout_s: float = 120) -> str:
        """Call kubectl as an operator; what it prints is returned, a failure told."""
        own = f"--kubeconfig={self.plane.kubeconfig()}", f"--cache-dir={self.folder / 'kubectl'}"
        return call(str(self.tools / "kubectl"), *own, *words, timeout_s=timeout_s)

    def shell(self, namespace: str, pod: str, *words: str, timeout_s: float = 120) -> str:
        """Run a command within a pod's first container, by kubectl exec."""
        return self.kubectl("exec", f"--namespace={namespace}", pod, "--", *words, timeout_s=timeout_s)

    def write(self, name: str, text: str) -> None:
        (self.folder / name).write_text(text)

    def runs_containers(self) -> bool:
        assert self.machine.alive("containerd")
        return subprocess.run(self.containers("version"), capture_output=True, check=False).returncode == 0

    def is_ready(self) -> bool:
        for name in ("containerd", "kubelet", "kube-proxy"):
            assert self.machine.alive(name)
        found = self.plane.get(f"/api/v1/nodes/{NAME}") or {"status": {}}
        conditions = {each["type"]: each["status"] for each in found["status"].get("conditions", ())}
        return conditions.get("Ready") == "True"

    # -- images

    def containers(self, *words: str) -> list[str]:
        return self.machine.inside("ctr", f"--address={self.socket}", "--namespace=k8s.io", *words)

    def ctr(self, *words: str) -> str:
        return call(*self.containers(*words), timeout_s=900)

    def import_image(self, archive: Path, reference: str) -> None:
        """Bring an image of one archive, called as ``reference`` is when no registry is named."""
        before, name = self.images(), f"docker.io/library/{reference}"
        self.ctr("images", "import", str(archive))
        found = self.images() - before
        if name not in found:
            self.ctr("images", "tag", min(found), name)
        for other in found - {name}:
            self.ctr("images", "remove", other)

    def images(self) -> set[str]:
        listed = self.ctr("images", "list", "--quiet").split()
        return {each for each in listed if not each.startswith("sha256:")}

    def import_pause(self) -> None:
        archive = self.folder / "pause.tar"
        write_image(archive, PAUSE, {"pause": self.tools / "pause"}, ["/pause"])
        self.ctr("images", "import", str(archive))
        archive.unlink()


def runtime_settings(folder: Path) -> str:
    plugins = next(each for each in PLUGINS if Path(each).is_dir())
    return f"""
version = 2
root = "{folder}/containerd"
state = "/run/containerd"
[grpc]
  address = "{folder}/containerd.sock"
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "{PAUSE}"
  # Nobody here may make the kernel spare a process.
  restrict_oom_score_adj = true
  disable_apparmor = true
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "{plugins}"
    conf_dir = "{folder}/cni"
  [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
    runtime_type = "io.containerd.runc.v2"
    base_runtime_spec = "{folder}/base.json"
  [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc.options]
    SystemdCgroup = false
"""


def base_of_containers(machine: Machine) -> dict[str, Any]:
    """Return what containerd makes containers of, with the limits that this process has."""
    base: dict[str, Any] = json.loads(machine.call("ctr", "oci", "spec"))
    limits = {name: resource.getrlimit(number) for name, number in LIMITS.items()}
    base["process"]["rlimits"] = [
        {"type": name, "soft": unsigned(soft), "hard": unsigned(hard)}
        for name, (soft, hard) in limits.items()
    ]
    return base


def unsigned(limit: int) -> int:
    return limit if limit != resource.RLIM_INFINITY else 2**64 - 1


def network(folder: Path) -> dict[str, Any]:
    addresses = {
        "type": "host-local", "ranges": [[{"subnet": PODS}]], "routes": [{"dst": "0.0.0.0/0"}],
        "dataDir": str(folder / "addresses"),
    }  # fmt: skip
    bridge = {
        "type": "bridge", "bridge": "nexus-pods", "isGateway": True, "hairpinMode": True, "ipam": addresses,
    }  # fmt: skip
    return {"cniVersion": "0.4.0", "name": "nexus", "plugins": [bridge]}


def kubelet_settings(node: Node) -> dict[str, Any]:
    return {
        "apiVersion": "kubelet.config.k8s.io/v1beta1", "kind": "KubeletConfiguration",
        "address": THERE, "readOnlyPort": 0,
        "authentication": {
            "anonymous": {"enabled": False}, "webhook": {"enabled": False},
            "x509": {"clientCAFile": str(node.plane.kubelet_certificate)},
        },
        "authorization": {"mode": "AlwaysAllow"},
        "containerRuntimeEndpoint": f"unix://{node.socket}",
        "cgroupDriver": "cgroupfs", "cgroupRoot": node.machine.cgroup, "failCgroupV1": False,
        # Rights that a process of root may lack: limits, the kernel's log, some of its settings.
        "featureGates": {"KubeletInUserNamespace": True},
        "clusterDNS": [DNS], "clusterDomain": "cluster.local", "resolvConf": "",
        "failSwapOn": False, "podLogsDir": str(node.folder / "pods"),
        "volumePluginDir": str(node.folder / "plugins"),
        "evictionHard": {"memory.available": "200Mi", "nodefs.available": "1%", "imagefs.available": "1%"},
        "imageGCHighThresholdPercent": 100, "imageGCLowThresholdPercent": 99,
        # As often as kwok's nodes, since the controllers wait no longer here.
        "nodeLeaseDurationSeconds": 8, "nodeStatusUpdateFrequency": "5s",
        "syncFrequency": "5s",
    }  # fmt: skip


def proxy_settings(node: Node) -> dict[str, Any]:
    return {
        "apiVersion": "kubeproxy.config.k8s.io/v1alpha1", "kind": "KubeProxyConfiguration",
        "clientConnection": {"kubeconfig": str(node.plane.kubeconfig())}, "mode": "iptables",
        "hostnameOverride": NAME, "clusterCIDR": PODS, "bindAddress": THERE,
        "healthzBindAddress": "127.0.0.1:10256", "metricsBindAddress": "127.0.0.1:10249",
        # Sizes of the kernel's tables are the machine's, not the node's.
        "conntrack": {"maxPerCore": 0, "min": 0, "tcpEstablishedTimeout": "0s", "tcpCloseWaitTimeout": "0s"},
    }  # fmt: skip
