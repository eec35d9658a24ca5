"""The hub of the tests' real node, as z2jh's chart would configure it from our values: for tests only."""

import json
import os
from pathlib import Path
from typing import Any

from nexus_allocator.hub.cluster_config import configure_in_cluster

c: Any = get_config()  # type: ignore[name-defined]  # noqa: F821

c.JupyterHub.services = [{"name": "parent", "api_token": os.environ["PARENT_TOKEN"]}]
c.JupyterHub.load_roles = [
    {
        "name": "tests",
        "scopes": ["admin:users", "admin:servers", "admin:server_state"],
        "services": ["parent"],
    }
]
configure_in_cluster(c, json.loads(Path(__file__).with_name("values.json").read_text()), os.environ)
c.JupyterHub.hub_bind_url = "http://:8081"
c.JupyterHub.hub_connect_url = "http://hub:8081"
c.JupyterHub.db_url = "sqlite:////srv/jupyterhub/hub.sqlite"
c.JupyterHub.cookie_secret = bytes.fromhex(os.environ["COOKIE_SECRET"])
c.CryptKeeper.keys = [bytes.fromhex(os.environ["CRYPT_KEY"])]
c.JupyterHub.cleanup_servers = False
c.ConfigurableHTTPProxy.should_start = False
c.ConfigurableHTTPProxy.api_url = "http://proxy-api:8001"
c.KubeSpawner.namespace = os.environ["POD_NAMESPACE"]
# As z2jh sets them: its policies go by this label.
c.KubeSpawner.extra_labels = {"hub.jupyter.org/network-access-hub": "true"}
