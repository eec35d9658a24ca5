"""The hub of the one-machine Nexus: what `configure` does not settle for every hub."""

import os
from typing import Any

from nexus_allocator.embedded.commands import CLIENT_ID
from nexus_allocator.embedded.settings import ROOT, read_settings
from nexus_allocator.embedded.state import read_secrets
from nexus_allocator.hub import confinement
from nexus_allocator.hub.config import SignIn, Tokens, configure
from nexus_allocator.hub.homes import Folders
from nexus_allocator.hub.local_spawner import LocalSpawner
from nexus_allocator.hub.service import AllocationService

c: Any = get_config()  # type: ignore[name-defined]  # noqa: F821
settings = read_settings()
secrets = read_secrets(settings)

configure(
    c,
    service=AllocationService(settings.service_api_url, secrets.internal),
    service_url=settings.service_url,
    sign_in=SignIn(
        issuer=settings.issuer,
        client_id=CLIENT_ID,
        client_secret=secrets.client,
        callback_url=f"{settings.public_url}/hub/oauth_callback",
        service_name="a demo identity",
    ),
    tokens=Tokens(service=secrets.service, culler=secrets.culler),
)
c.JupyterHub.services.append({"name": "parent", "api_token": secrets.parent})
c.JupyterHub.load_roles.append(
    {
        "name": "nexus-parent",
        "description": "Stops people's servers when the machine's Nexus is stopped",
        "scopes": ["list:users", "read:servers", "admin:server_state", "delete:servers", "proxy"],
        "services": ["parent"],
    }
)

c.JupyterHub.bind_url = settings.public_url
c.JupyterHub.hub_bind_url = settings.hub_url
c.JupyterHub.db_url = f"sqlite:///{settings.folder('db') / 'hub.sqlite'}"
c.JupyterHub.upgrade_db = True
c.JupyterHub.cookie_secret = bytes.fromhex(secrets.hub_cookie)
c.CryptKeeper.keys = [bytes.fromhex(secrets.auth_state)]
# The proxy is a process of its own, as in a cluster: a hub that dies cuts nobody off from their notebooks.
c.ConfigurableHTTPProxy.should_start = False
c.ConfigurableHTTPProxy.api_url = settings.proxy_api_url
c.ConfigurableHTTPProxy.auth_token = secrets.proxy
# How often the hub compares the proxy's routes with its own list.
c.JupyterHub.last_activity_interval = 60
# Servers outlive the hub and are taken over by the next one; the parent stops them when it is told to stop.
c.JupyterHub.cleanup_servers = False
c.JupyterHub.pid_file = ""

c.JupyterHub.spawner_class = LocalSpawner
c.LocalSpawner.folders = Folders(
    homes=settings.folder("homes"),
    teams=settings.folder("teams"),
    store=settings.store,
    separate=os.geteuid() == 0,
)
c.LocalSpawner.controllers = confinement.find_controllers()
c.LocalSpawner.notebooks = str(ROOT / "notebooks")
c.LocalSpawner.references = settings.references.as_uri()
c.LocalSpawner.poll_interval = settings.poll_interval_s
