"""A real Kubernetes control plane, on loopback with nodes that kwok plays, or where a real node reaches it.

Pods of kwok's nodes run nowhere: each is said to be running at an address of loopback of its own.
"""

import json
import secrets
import shutil
import ssl
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import yaml
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID
from tests.support import cluster_tools
from tests.support.hub import until
from tests.support.ports import own_ports

from nexus_allocator.embedded.children import Child
from nexus_allocator.embedded.commands import Command, plain_environment

# Says of a node which kwok plays it.
PLAYED, PLAYER = "kwok.x-k8s.io/node", "kwok"
POD_RANGE = "127.64.0.1/12"
LOOPBACK = "127.0.0.1"
# Whom the API server knows by token: name and groups.
PEOPLE = {"operator": ("operator", "system:masters"), "hub": ("system:serviceaccount:nexus:hub", "")}
PLURALS = {"NetworkPolicy": "networkpolicies", "Ingress": "ingresses"}
MERGE = {"Content-Type": "application/merge-patch+json"}


@dataclass
class ControlPlane:
    tools: Path
    folder: Path
    ports: int
    address: str = LOOPBACK
    tokens: dict[str, str] = field(default_factory=lambda: {who: secrets.token_hex(16) for who in PEOPLE})
    children: dict[str, Child] = field(default_factory=dict)
    http: httpx.Client = field(init=False)

    @property
    def url(self) -> str:
        return f"https://{self.address}:{self.ports + 2}"

    @property
    def authority(self) -> Path:
        return self.folder / "certificates" / "apiserver.crt"

    @property
    def kubelet_certificate(self) -> Path:
        """With what the API server, asking for logs and commands, shows kubelets who it is."""
        return self.folder / "kubelet-client.crt"

    def kubeconfig(self, who: str = "operator") -> Path:
        """Return the file with which a program reaches the API server as this person."""
        path = self.folder / f"{who}.kubeconfig"
        if not path.exists():
            path.touch(mode=0o600)
            cluster = {"server": self.url, "certificate-authority": str(self.authority)}
            path.write_text(
                yaml.safe_dump(
                    {
                        "apiVersion": "v1",
                        "kind": "Config",
                        "current-context": "here",
                        "clusters": [{"name": "here", "cluster": cluster}],
                        "users": [{"name": who, "user": {"token": self.tokens[who]}}],
                        "contexts": [{"name": "here", "context": {"cluster": "here", "user": who}}],
                    }
                )
            )
        return path

    # -- programs

    def run(self, program: str, *flags: str, called: str | None = None) -> None:
        name, arguments = called or program, (str(self.tools / program), *flags)
        child = Child(Command(name, arguments, plain_environment(), None), self.folder)
        self.children[name] = child
        child.start()

    def start(self) -> None:
        """Start everything and wait until pods can be made."""
        self.run("etcd", *etcd_flags(self))
        self.run("kube-apiserver", *apiserver_flags(self))
        until(lambda: self.alive("kube-apiserver") and self.authority.exists(), "certificate")
        self.http = httpx.Client(
            base_url=self.url, headers={"Authorization": f"Bearer {self.tokens['operator']}"}, timeout=30,
            verify=ssl.create_default_context(cafile=str(self.authority)), trust_env=False,
        )  # fmt: skip
        until(self.is_ready, "API server ready", 120)
        given = f"--kubeconfig={self.kubeconfig()}"
        self.run("kube-controller-manager", given, *controller_flags(self))
        self.run("kube-scheduler", given, "--leader-elect=false", "--secure-port=0")
        self.play(PLAYER)
        until(lambda: self.get("/api/v1/namespaces/default/serviceaccounts/default"), "controllers ready")

    def play(self, player: str) -> None:
        """Start a kwok that plays the nodes given to it; paused, it lets these be lost."""
        self.run(
            "kwok", f"--kubeconfig={self.kubeconfig()}", "--manage-all-nodes=false",
            f"--manage-nodes-with-annotation-selector={PLAYED}={player}", f"--cidr={POD_RANGE}",
            "--node-ip=127.0.0.1", "--node-lease-duration-seconds=8", called=player,
        )  # fmt: skip

    def is_ready(self) -> bool:
        assert self.alive("kube-apiserver")
        try:
            return self.http.get("/readyz").status_code == httpx.codes.OK
        except httpx.TransportError:
            return False

    def alive(self, name: str) -> bool:
        child = self.children[name]
        assert child.exit_status() is None, f"{name} ended:\n{child.last_words(20)}"
        return True

    def restart(self) -> None:
        """Kill the API server and start it again; return once it answers.

        The cluster's own programs start anew with it. They ask an API server that is away less and less
        often, up to a minute apart, and tests would wait for that; the hub lives through it.
        """
        self.replace("kube-apiserver")
        until(self.is_ready, "API server ready", 120)
        for name in self.children.keys() - {"etcd", "kube-apiserver"}:
            self.replace(name)

    def replace(self, name: str) -> None:
        child = self.children[name]
        assert child.process is not None
        child.process.kill()
        child.process.wait(10)
        child.start()

    def stop(self) -> None:
        for child in reversed(self.children.values()):
            if child.process is not None:
                child.process.kill()
                child.process.wait(10)

    # -- objects

    def get(self, path: str) -> dict[str, Any] | None:
        """Return what is at the path, None where there is nothing."""
        answer = self.http.get(path)
        if answer.status_code == httpx.codes.NOT_FOUND:
            return None
        found: dict[str, Any] = answer.raise_for_status().json()
        return found

    def items(self, path: str) -> list[dict[str, Any]]:
        found = self.get(path)
        assert found is not None, path
        listed: list[dict[str, Any]] = found["items"]
        return listed

    def make(self, manifest: dict[str, Any], namespace: str = "") -> dict[str, Any]:
        answer = self.http.post(collection(manifest, namespace), json=manifest)
        assert answer.is_success, answer.text
        made: dict[str, Any] = answer.json()
        return made

    def patch(self, path: str, changes: dict[str, Any]) -> None:
        answer = self.http.patch(path, content=json.dumps(changes), headers=MERGE)
        assert answer.is_success, answer.text

    def delete(self, path: str) -> None:
        self.http.delete(path).raise_for_status()

    def define(self) -> None:
        """Teach the API server the kinds of other projects that our chart makes."""
        for path in cluster_tools.definitions(self.tools):
            definition = yaml.safe_load(path.read_text())
            self.make(definition)
            served = f"/apis/{definition['spec']['group']}/v1/{definition['spec']['names']['plural']}"
            until(lambda at=served: self.http.get(at).is_success, f"{path.name} served")

    def namespace(self, name: str, **labels: str) -> None:
        self.make({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": labels}})
        until(lambda: self.get(f"/api/v1/namespaces/{name}/serviceaccounts/default"), f"account of {name}")

    def node(
        self,
        name: str,
        *,
        player: str = PLAYER,
        cpu: int = 16,
        memory_gib: int = 128,
        labels: Mapping[str, str] | None = None,
        taints: Sequence[dict[str, str]] = (),
    ) -> None:
        """Add a node that kwok plays."""
        room = {"cpu": str(cpu), "memory": f"{memory_gib}Gi", "pods": "250"}
        self.make(
            {
                "apiVersion": "v1",
                "kind": "Node",
                "metadata": {
                    "name": name,
                    "labels": dict(labels or {}),
                    "annotations": {PLAYED: player},
                },
                "spec": {"taints": [*taints]},
                "status": {"allocatable": room, "capacity": room},
            }
        )

    def volume(self, name: str, size: str, access: str) -> None:
        """Add a volume that no class provides; the first claim that fits it takes it."""
        spec = {
            "capacity": {"storage": size}, "accessModes": [access],
            "nfs": {"server": "files.example.org", "path": f"/{name}"},
        }  # fmt: skip
        self.make({"apiVersion": "v1", "kind": "PersistentVolume", "metadata": {"name": name}, "spec": spec})


def collection(manifest: dict[str, Any], namespace: str) -> str:
    """Return where objects of this kind are made."""
    kind, version = manifest["kind"], manifest["apiVersion"]
    root = "api" if "/" not in version else "apis"
    plural = PLURALS.get(kind, f"{kind.lower()}s")
    return f"/{root}/{version}{f'/namespaces/{namespace}' if namespace else ''}/{plural}"


def etcd_flags(plane: ControlPlane) -> list[str]:
    own, peers = (f"http://127.0.0.1:{plane.ports + offset}" for offset in (0, 1))
    return [
        f"--data-dir={plane.folder / 'etcd'}",
        f"--listen-client-urls={own}", f"--advertise-client-urls={own}",
        f"--listen-peer-urls={peers}", f"--initial-advertise-peer-urls={peers}",
        f"--initial-cluster=default={peers}", "--unsafe-no-fsync", "--log-level=error",
    ]  # fmt: skip


def apiserver_flags(plane: ControlPlane) -> list[str]:
    lines = [f'{plane.tokens[who]},{name},{who},"{groups}"' for who, (name, groups) in PEOPLE.items()]
    (plane.folder / "tokens.csv").write_text("\n".join(lines))
    key = plane.folder / "accounts.key"
    key.write_bytes(
        rsa.generate_private_key(65537, 2048).private_bytes(
            Encoding.PEM, PrivateFormat.TraditionalOpenSSL, NoEncryption()
        )
    )
    return [
        f"--etcd-servers=http://127.0.0.1:{plane.ports}", f"--token-auth-file={plane.folder / 'tokens.csv'}",
        f"--bind-address={plane.address}", f"--secure-port={plane.ports + 2}",
        f"--cert-dir={plane.folder / 'certificates'}", "--authorization-mode=RBAC",
        *reached_by_pods(plane),
        "--service-cluster-ip-range=10.96.0.0/16", "--service-account-issuer=https://kubernetes.default.svc",
        f"--service-account-signing-key-file={key}", f"--service-account-key-file={key}",
        # A lost node's pods are given up at once, not after five minutes.
        "--default-unreachable-toleration-seconds=1", "--default-not-ready-toleration-seconds=1",
    ]  # fmt: skip


def reached_by_pods(plane: ControlPlane) -> list[str]:
    if plane.address == LOOPBACK:
        # Nobody asks for the API server by its service, and this machine may have no address but loopback.
        return ["--advertise-address=192.0.2.1", "--endpoint-reconciler-type=none"]
    key = write_own_certificate(plane.kubelet_certificate)
    return [
        f"--advertise-address={plane.address}", "--kubelet-preferred-address-types=InternalIP",
        f"--kubelet-client-certificate={plane.kubelet_certificate}", f"--kubelet-client-key={key}",
    ]  # fmt: skip


def write_own_certificate(path: Path) -> Path:
    """Write a certificate for a client, signed by its own key, for a day; return where the key is."""
    key = rsa.generate_private_key(65537, 2048)
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "kube-apiserver")])
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - timedelta(minutes=5))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH]), critical=False)
        .sign(key, hashes.SHA256())
    )
    path.write_bytes(made.public_bytes(Encoding.PEM))
    kept = path.with_suffix(".key")
    kept.touch(mode=0o600)
    kept.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.TraditionalOpenSSL, NoEncryption()))
    return kept


def controller_flags(plane: ControlPlane) -> list[str]:
    return [
        f"--service-account-private-key-file={plane.folder / 'accounts.key'}", "--leader-elect=false",
        f"--root-ca-file={plane.authority}", f"--flex-volume-plugin-dir={plane.folder / 'plugins'}",
        "--secure-port=0", "--use-service-account-credentials=false",
        # kwok's nodes tell that they live every two seconds: see --node-lease-duration-seconds.
        "--node-monitor-period=1s", "--node-monitor-grace-period=12s",
    ]  # fmt: skip


@contextmanager
def running_control_plane(tools: Path, address: str = LOOPBACK) -> Iterator[ControlPlane]:
    """Yield a started control plane whose API server is at ``address``."""
    folder = Path(tempfile.mkdtemp(prefix="nexus-cluster-"))
    for name in ("log", "run", "certificates"):
        (folder / name).mkdir()
    plane = ControlPlane(tools, folder, own_ports(), address)
    try:
        plane.start()
        yield plane
    finally:
        plane.stop()
        if hasattr(plane, "http"):
            plane.http.close()
        shutil.rmtree(folder, ignore_errors=True)
