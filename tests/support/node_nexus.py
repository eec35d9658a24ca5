"""The whole Nexus on a real node: our chart, our images, and manifests that stand in for z2jh's chart.

Outside the cluster, at HERE, are the database and the sign-in provider, as in production.
"""

import json
import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import httpx
import yaml
from tests.support.cluster_hub import HUB_MAY, NAMESPACE
from tests.support.control_plane import ControlPlane
from tests.support.forward import forwarded
from tests.support.helm import CHART, given, merged, run
from tests.support.hub import PLAIN, HubUnderTest, hub_to_be, until
from tests.support.nexus import ROOT
from tests.support.node import Node
from tests.support.node_machine import DEVICES, HERE, call
from tests.support.node_policies import RELEASE, stand_in_policies
from tests.support.postgres import PASSWORD, USER, PostgresServer

from nexus_allocator.embedded import commands
from nexus_allocator.embedded.settings import Settings

# Where people's browsers find the Nexus: the address of the proxy's service.
ADDRESS = "10.96.0.80"
PUBLIC = f"http://{ADDRESS}"
# Where pods find PostgreSQL, and what stands in for a cloud's metadata server.
DATABASE, METADATA = f"{HERE}:5432", "169.254.169.254:80"
SERVICE = f"{RELEASE}-allocator"
ACCESS = "hub.jupyter.org/network-access"
HUB = {"app": "jupyterhub", "component": "hub"}
PROXY = {"app": "jupyterhub", "component": "proxy"}
POLICY = ROOT / "allocator" / "nexus_allocator" / "policy" / "tiers.yaml"
HUB_CONFIG = Path(__file__).with_name("node_hub_config.py")


class Outside(Settings):
    """Settings of a sign-in provider that stands outside the cluster."""

    @property
    def public_url(self) -> str:
        return PUBLIC

    @property
    def issuer(self) -> str:
        return f"http://{HERE}:{self.port + 4}"


@dataclass
class NexusOnNode:
    node: Node
    hub: HubUnderTest
    images: dict[str, str]
    program: Path
    database_url: str

    def as_parent(self, method: str, path: str) -> httpx.Response:
        headers = {"Authorization": f"token {self.hub.secrets.parent}"}
        return PLAIN.request(method, f"{PUBLIC}/hub/api{path}", headers=headers, timeout=30)

    def server(self, person: str) -> dict[str, Any] | None:
        found = self.as_parent("GET", f"/users/{person}").raise_for_status().json()["servers"]
        server: dict[str, Any] | None = found.get("")
        return server

    def pod(self, **labels: str) -> str:
        """Return the name of the one pod that has these labels and is not ending."""
        asked = ",".join(f"{name}={value}" for name, value in labels.items())
        listed = self.node.plane.items(f"/api/v1/namespaces/{NAMESPACE}/pods?labelSelector={asked}")
        alive = [each for each in listed if "deletionTimestamp" not in each["metadata"]]
        name: str = alive[0]["metadata"]["name"]
        return name

    def upgrade(self, **changes: str) -> None:
        """Install our chart, or change it, and wait until its pods are ready."""
        repository, _, tag = self.images["allocator"].rpartition(":")
        values = {
            "image__repository": repository, "image__tag": tag, "settings__publicUrl": PUBLIC,
            "settings__meteringIntervalS": "5", "networkPolicy__databaseCidr": f"{HERE}/32",
            "service__replicas": "1", "service__resources__requests__cpu": "100m",
            "storage__enabled": "true", "storage__driver": "directory",
            "storage__existingClaim": "nexus-shared", "storage__recordsClaim": "nexus-purges",
        }  # fmt: skip
        where = ("--namespace", NAMESPACE, "--kubeconfig", str(self.node.plane.kubeconfig()))
        policy = f"tiersFile={own_policy(self.node.folder)}"
        words = (
            "upgrade",
            "--install",
            RELEASE,
            str(CHART),
            *given(values | changes),
            "--set-file",
            policy,
            *where,
        )
        done = run(self.program, *words)
        assert done.returncode == 0, done.stderr
        self.node.kubectl(
            "rollout", "status", f"--namespace={NAMESPACE}", "--timeout=300s",
            f"deployment/{SERVICE}", timeout_s=330,
        )  # fmt: skip

    def configure_hub(self, *, idle_timeout_s: int) -> None:
        """Give the hub its configuration; one that runs takes it up when it is started again."""
        values = merged("dev", "jupyterhub")["custom"]["nexus"] | {
            "serviceUrl": f"http://{SERVICE}",
            "signIn": {
                "issuer": self.hub.settings.issuer,
                "clientId": commands.CLIENT_ID,
                "callbackUrl": f"{PUBLIC}/hub/oauth_callback",
                "label": "a demo identity",
            },
            "images": {"nexus": self.images["lab"]},
            "idleTimeoutS": idle_timeout_s,
        }
        data = {"jupyterhub_config.py": HUB_CONFIG.read_text(), "values.json": json.dumps(values)}
        where = f"/api/v1/namespaces/{NAMESPACE}/configmaps"
        if self.node.plane.get(f"{where}/hub"):
            self.node.plane.patch(f"{where}/hub", {"data": data})
        else:
            about = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "hub"}}
            self.node.plane.make({**about, "data": data}, NAMESPACE)

    def restart_hub(self) -> None:
        before = self.pod(**HUB)
        self.node.plane.delete(f"/api/v1/namespaces/{NAMESPACE}/pods/{before}")
        until(
            lambda: self.node.plane.get(f"/api/v1/namespaces/{NAMESPACE}/pods/{before}") is None, "gone", 90
        )
        self.wait_for_hub()

    def wait_for_hub(self) -> None:
        def answers() -> bool:
            try:
                return PLAIN.get(f"{PUBLIC}/hub/health", timeout=5).is_success
            except httpx.TransportError:
                return False

        until(answers, "the hub answering", 240)

    def police(self) -> None:
        """Apply what z2jh's policies say, with our values' additions."""
        for each in stand_in_policies(merged("dev", "jupyterhub")):
            self.node.plane.make(each, NAMESPACE)


def own_policy(folder: Path) -> Path:
    """Write this site's policy: a small server leaves room on a node of two processors, credits are few."""
    policy = yaml.safe_load(POLICY.read_text())
    sizes = {each["slug"]: each for each in policy["sizes"]}
    tiers = {each["slug"]: each for each in policy["tiers"]}
    sizes["small"]["cpu"], tiers["entry"]["credits"] = 1, "1"
    path = folder / "tiers.yaml"
    path.write_text(yaml.safe_dump(policy, sort_keys=False))
    return path


@contextmanager
def running_nexus(
    node: Node, images: dict[str, str], program: Path, postgres: PostgresServer
) -> Iterator[NexusOnNode]:
    """Yield the Nexus with no policy in force; images are on the node already."""
    with ExitStack() as stack:
        hub = stack.enter_context(hub_to_be())
        hub.settings = Outside(**{each.name: getattr(hub.settings, each.name) for each in fields(Settings)})
        hub.settings.folder("shared").mkdir(mode=0o755)
        stack.enter_context(forwarded(DATABASE, postgres.port))
        stack.enter_context(forwarded(f"{HERE}:{hub.settings.port + 4}", hub.settings.port + 4))
        call("ip", "address", "add", f"{METADATA.partition(':')[0]}/32", "dev", DEVICES[0])
        stack.enter_context(forwarded(METADATA, hub.settings.port + 4))
        hub.start(commands.provider(hub.settings, hub.secrets))
        database = postgres.new_database()
        nexus = NexusOnNode(node, hub, images, program, postgres.url(database))
        prepare(nexus, f"postgresql+psycopg://{USER}:{PASSWORD}@{DATABASE}/{database}")
        nexus.configure_hub(idle_timeout_s=3600)
        make_hub_and_proxy(nexus)
        nexus.upgrade(networkPolicy__enabled="false")
        nexus.wait_for_hub()
        yield nexus


def prepare(nexus: NexusOnNode, database_url: str) -> None:
    """Make what an operator makes before the charts: namespace, Secrets, volumes, the hub's rights."""
    plane, own = nexus.node.plane, nexus.hub.secrets
    plane.namespace(NAMESPACE)
    secrets = {
        "nexus-allocator": {
            "database-url": database_url, "hub-token": own.service, "internal-token": own.internal,
            "webhook-key": os.urandom(32).hex(), "storage-key": own.storage_log,
        },
        "nexus-hub": {
            "culler-token": own.culler, "client-secret": own.client, "parent-token": own.parent,
            "cookie-secret": own.hub_cookie, "crypt-key": own.auth_state, "proxy-token": own.proxy,
        },
    }  # fmt: skip
    for name, data in secrets.items():
        plane.make({"apiVersion": "v1", "kind": "Secret", **named(name), "stringData": data}, NAMESPACE)
    for name, access, owner in (
        ("nexus-shared", "ReadWriteMany", 0),
        ("nexus-purges", "ReadWriteMany", 0),
        (f"{SERVICE}-records", "ReadWriteOnce", 1000),
        ("hub-db", "ReadWriteOnce", 1000),
    ):
        make_volume(nexus.node, name, access, owner)
    for name in ("nexus-shared", "nexus-purges", "hub-db"):
        access = "ReadWriteOnce" if name == "hub-db" else "ReadWriteMany"
        spec = {
            "accessModes": [access],
            "resources": {"requests": {"storage": "5Gi"}},
            "storageClassName": "",
        }
        claim = {"apiVersion": "v1", "kind": "PersistentVolumeClaim", **named(name), "spec": spec}
        plane.make(claim, NAMESPACE)
    rbac = "rbac.authorization.k8s.io"
    plane.make({"apiVersion": "v1", "kind": "ServiceAccount", **named("hub")}, NAMESPACE)
    plane.make({"apiVersion": f"{rbac}/v1", "kind": "Role", **named("hub"), "rules": HUB_MAY}, NAMESPACE)
    account = {"kind": "ServiceAccount", "name": "hub", "namespace": NAMESPACE}
    role = {"apiGroup": rbac, "kind": "Role", "name": "hub"}
    binding = {"apiVersion": f"{rbac}/v1", "kind": "RoleBinding", "subjects": [account], "roleRef": role}
    plane.make({**binding, **named("hub")}, NAMESPACE)


def make_volume(node: Node, name: str, access: str, owner: int) -> None:
    """Offer a folder of the node to the claim of this name."""
    folder = folder_of(node, name)
    folder.mkdir(parents=True)
    os.chown(folder, owner, owner)
    spec = {
        "capacity": {"storage": "5Gi"}, "accessModes": [access], "hostPath": {"path": str(folder)},
        "claimRef": {"namespace": NAMESPACE, "name": name}, "storageClassName": "",
    }  # fmt: skip
    node.plane.make({"apiVersion": "v1", "kind": "PersistentVolume", **named(name), "spec": spec})


def folder_of(node: Node, volume: str) -> Path:
    return node.folder / "volumes" / volume


def named(name: str) -> dict[str, Any]:
    return {"metadata": {"name": name}}


def secret(name: str, key: str, of: str = "nexus-hub") -> dict[str, Any]:
    return {"name": name, "valueFrom": {"secretKeyRef": {"name": of, "key": key}}}


def make_hub_and_proxy(nexus: NexusOnNode) -> None:
    plane = nexus.node.plane
    asked = merged("dev", "jupyterhub")["hub"]["extraEnv"]
    environment = [{"name": name, **value} for name, value in asked.items()] + [
        secret("PARENT_TOKEN", "parent-token"), secret("COOKIE_SECRET", "cookie-secret"),
        secret("CRYPT_KEY", "crypt-key"), secret("CONFIGPROXY_AUTH_TOKEN", "proxy-token"),
        {"name": "POD_NAMESPACE", "value": NAMESPACE},
    ]  # fmt: skip
    hub = {
        "name": "hub", "image": nexus.images["hub"], "env": environment,
        "ports": [{"name": "http", "containerPort": 8081}],
        "volumeMounts": [
            {"name": "config", "mountPath": "/usr/local/etc/jupyterhub"},
            {"name": "db", "mountPath": "/srv/jupyterhub"},
        ],
    }  # fmt: skip
    volumes = [
        {"name": "config", "configMap": {"name": "hub"}},
        {"name": "db", "persistentVolumeClaim": {"claimName": "hub-db"}},
    ]
    reached = {f"{ACCESS}-{each}": "true" for each in ("proxy-api", "proxy-http", "singleuser")}
    deploy(plane, HUB, reached, {"serviceAccountName": "hub", "containers": [hub], "volumes": volumes})
    proxy = {
        "name": "chp", "image": nexus.images["proxy"],
        "env": [secret("CONFIGPROXY_AUTH_TOKEN", "proxy-token")],
        "command": [
            "configurable-http-proxy", "--ip=0.0.0.0", "--api-ip=0.0.0.0", "--api-port=8001", "--port=8000",
            "--default-target=http://hub:8081", "--error-target=http://hub:8081/hub/error",
        ],
    }  # fmt: skip
    reached = {f"{ACCESS}-{each}": "true" for each in ("hub", "singleuser")}
    deploy(plane, PROXY, reached, {"containers": [proxy], "automountServiceAccountToken": False})
    for name, labels, port, target, more in (
        ("hub", HUB, 8081, 8081, {}),
        ("proxy-api", PROXY, 8001, 8001, {}),
        ("proxy-public", PROXY, 80, 8000, {"clusterIP": ADDRESS}),
    ):
        spec = {"selector": labels, "ports": [{"port": port, "targetPort": target}], **more}
        plane.make({"apiVersion": "v1", "kind": "Service", **named(name), "spec": spec}, NAMESPACE)


def deploy(plane: ControlPlane, labels: dict[str, str], more: dict[str, str], spec: dict[str, Any]) -> None:
    """Run one pod as uid 1000, and another when it ends."""
    as_whom = {"runAsUser": 1000, "runAsGroup": 1000, "runAsNonRoot": True}
    template = {"metadata": {"labels": labels | more}, "spec": {"securityContext": as_whom, **spec}}
    wanted = {"selector": {"matchLabels": labels}, "strategy": {"type": "Recreate"}, "template": template}
    kind = {"apiVersion": "apps/v1", "kind": "Deployment", **named(labels["component"]), "spec": wanted}
    plane.make(kind, NAMESPACE)
