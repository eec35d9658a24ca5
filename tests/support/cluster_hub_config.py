"""The hub of a cluster as z2jh's chart configures it, here before a control plane under test."""

import os
from typing import Any

from tests.support.helm import merged
from tests.support.stub_lab import LAB

from nexus_allocator.embedded.commands import CLIENT_ID
from nexus_allocator.embedded.settings import read_settings
from nexus_allocator.embedded.state import read_secrets
from nexus_allocator.hub.cluster_config import configure_in_cluster

c: Any = get_config()  # type: ignore[name-defined]  # noqa: F821
settings = read_settings()
own = read_secrets(settings)

c.JupyterHub.services, c.JupyterHub.load_roles = [], []
values = merged("dev", "jupyterhub")["custom"]["nexus"] | {
    "serviceUrl": settings.service_url,
    "signIn": {
        "issuer": settings.issuer,
        "clientId": CLIENT_ID,
        "callbackUrl": f"{settings.public_url}/hub/oauth_callback",
        "label": "a demo identity",
    },
    "startTimeoutS": 60,
}
configure_in_cluster(
    c,
    values,
    {
        "NEXUS_INTERNAL_TOKEN": own.internal,
        "NEXUS_HUB_TOKEN": own.service,
        "NEXUS_CULLER_TOKEN": own.culler,
        "NEXUS_CLIENT_SECRET": own.client,
    },
)
for each in c.JupyterHub.services:
    # Nobody here is idle for hours.
    each.pop("command", None)
    each.pop("environment", None)
c.JupyterHub.services.append({"name": "parent", "api_token": own.parent})
c.JupyterHub.load_roles.append(
    {
        "name": "tests",
        "scopes": ["admin:users", "admin:servers", "admin:server_state"],
        "services": ["parent"],
    }
)

c.JupyterHub.bind_url = settings.public_url
c.JupyterHub.hub_bind_url = settings.hub_url
c.JupyterHub.db_url = os.environ.get("HUB_DATABASE_URL", f"sqlite:///{settings.folder('db') / 'hub.sqlite'}")
c.JupyterHub.cookie_secret = bytes.fromhex(own.hub_cookie)
c.CryptKeeper.keys = [bytes.fromhex(own.auth_state)]
c.ConfigurableHTTPProxy.should_start = False
c.ConfigurableHTTPProxy.api_url = settings.proxy_api_url
c.ConfigurableHTTPProxy.auth_token = own.proxy
c.JupyterHub.cleanup_servers = False
c.JupyterHub.pid_file = ""
purpose = {"key": "hub.jupyter.org/node-purpose", "operator": "In", "values": ["user"]}
# As z2jh sets them, from our values and of its own.
c.JupyterHub.last_activity_interval = 60
c.JupyterHub.concurrent_spawn_limit = merged("dev", "jupyterhub")["hub"]["concurrentSpawnLimit"]
c.KubeSpawner.namespace = "nexus"
c.KubeSpawner.tolerations = [
    {"key": "hub.jupyter.org/dedicated", "operator": "Equal", "value": "user", "effect": "NoSchedule"}
]
# Where the stand-in of JupyterLab answers, at each address of loopback.
c.KubeSpawner.port = settings.port + LAB
c.KubeSpawner.node_affinity_required = [{"matchExpressions": [purpose]}]
# A lost node is given up sooner.
c.KubeSpawner.extra_pod_config = {"restart_policy": "Never", "termination_grace_period_seconds": 1}
c.KubeSpawner.poll_interval = settings.poll_interval_s
c.KubeSpawner.delete_grace_period = 0
