"""The embedded hub's configuration, and a service of the hub that may start people's servers."""

import os
from pathlib import Path
from typing import Any

import nexus_allocator.embedded

c: Any = get_config()  # type: ignore[name-defined]  # noqa: F821
EMBEDDED = Path(nexus_allocator.embedded.__file__).parent
load_subconfig("jupyterhub_config.py", path=str(EMBEDDED))  # type: ignore[name-defined]  # noqa: F821
c.JupyterHub.services.append({"name": "starter", "api_token": os.environ["NEXUS_STARTER_TOKEN"]})
c.JupyterHub.load_roles.append(
    {"name": "starter", "scopes": ["servers", "list:users"], "services": ["starter"]}
)
