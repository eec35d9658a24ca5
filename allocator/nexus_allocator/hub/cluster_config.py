"""The hub of a cluster: what `configure` does not settle for every hub, on top of z2jh's configuration.

Loaded from ``hub.extraConfig`` of z2jh's chart: ``custom.nexus`` has the values, variables have the secrets.
"""

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from nexus_allocator.hub.config import SignIn, Tokens, configure
from nexus_allocator.hub.kube_spawner import KubernetesSpawner
from nexus_allocator.hub.proxy import SharedOutActivityProxy
from nexus_allocator.hub.service import AllocationService

CULLER = Path(__file__).with_name("cluster_culler.py")
SECRETS = ("NEXUS_INTERNAL_TOKEN", "NEXUS_HUB_TOKEN", "NEXUS_CULLER_TOKEN", "NEXUS_CLIENT_SECRET")


class BadClusterValues(ValueError):  # noqa: N818 - says what it is
    """Values or secrets that the hub of a cluster needs and was not given."""


def configure_in_cluster(c: Any, values: Mapping[str, Any], environment: Mapping[str, str]) -> None:
    """Set everything of the Nexus on ``c``; writes into its argument. Raises BadClusterValues."""
    lacking = [f"custom.nexus.{name}" for name in ("serviceUrl", "signIn", "images") if not values.get(name)]
    lacking += [f"the Secret's {name}" for name in SECRETS if not environment.get(name)]
    if lacking:
        raise BadClusterValues(f"the hub lacks {', '.join(lacking)}")
    service = AllocationService(
        f"{values['serviceUrl']}/services/nexus/api/hub", environment["NEXUS_INTERNAL_TOKEN"]
    )
    sign_in = values["signIn"]
    services, roles = list(c.JupyterHub.services), list(c.JupyterHub.load_roles)
    configure(
        c,
        service=service,
        service_url=values["serviceUrl"],
        sign_in=SignIn(
            issuer=sign_in["issuer"],
            client_id=sign_in["clientId"],
            client_secret=environment["NEXUS_CLIENT_SECRET"],
            callback_url=sign_in["callbackUrl"],
            service_name=sign_in["label"],
        ),
        tokens=Tokens(service=environment["NEXUS_HUB_TOKEN"], culler=environment["NEXUS_CULLER_TOKEN"]),
    )
    c.JupyterHub.proxy_class = SharedOutActivityProxy
    # Those of z2jh's values, which come first there.
    c.JupyterHub.services += services
    c.JupyterHub.load_roles += roles
    if gateway := values.get("daskGateway"):
        _let_servers_enter(c, gateway)
    if values.get("portalUrl"):
        _give_portal_its_host(c, values["portalUrl"])
    _configure_servers(c, values)
    _run_culler(c, values, environment)


def _give_portal_its_host(c: Any, portal_url: str) -> None:
    """Let people who sign in come back to the portal's own host, which the hub's proxy does not serve."""
    for each in c.JupyterHub.services:
        if each["name"] == "nexus":
            each["oauth_redirect_uri"] = f"{portal_url}/services/nexus/oauth_callback"
            del each["url"]


def _let_servers_enter(c: Any, service: str) -> None:
    """Let people's servers, and so their notebooks, ask a service of the hub with the token they have."""
    enter = f"access:services!service={service}"
    for each in c.JupyterHub.load_roles:
        if each["name"] == "user":
            each["scopes"] = [*each["scopes"], enter]
    c.Spawner.server_token_scopes = ["users:activity!user", "access:servers!server", enter]


def _configure_servers(c: Any, values: Mapping[str, Any]) -> None:
    c.JupyterHub.spawner_class = KubernetesSpawner
    c.KubernetesSpawner.images = dict(values["images"])
    c.KubernetesSpawner.placements = dict(values.get("placements") or {})
    c.KubernetesSpawner.server_environment = dict(values.get("serverEnvironment") or {})
    if values.get("sharedClaim"):
        c.KubernetesSpawner.shared_claim = values["sharedClaim"]
    c.KubernetesSpawner.claims = dict(values.get("claims") or {})
    # A node has to come up and pull the image first.
    c.Spawner.start_timeout = int(values.get("startTimeoutS", 600))


def _run_culler(c: Any, values: Mapping[str, Any], environment: Mapping[str, str]) -> None:
    """Let the hub run the culler whose arbiter gives reasons, in place of z2jh's, which cannot."""
    idle_s = int(values.get("idleTimeoutS", 3 * 3600))
    for each in c.JupyterHub.services:
        if each["name"] == "idle-culler":
            each["command"] = [
                sys.executable, "-m", "jupyterhub_idle_culler", f"--config={CULLER}",
                "--url=http://localhost:8081/hub/api", f"--timeout={idle_s}", "--cull-every=60",
            ]  # fmt: skip
            each["environment"] = {
                "NEXUS_SERVICE_URL": values["serviceUrl"],
                "NEXUS_INTERNAL_TOKEN": environment["NEXUS_INTERNAL_TOKEN"],
            }
