"""The idle culler of a cluster's hub: its arbiter records the reason before it stops a server."""

import os
from typing import Any

from nexus_allocator.hub.culling import arbiter
from nexus_allocator.hub.service import AllocationService

c: Any = get_config()  # type: ignore[name-defined]  # noqa: F821
url = f"{os.environ['NEXUS_SERVICE_URL']}/services/nexus/api/hub"
c.IdleCuller.cull_arbiter_hook = arbiter(AllocationService(url, os.environ["NEXUS_INTERNAL_TOKEN"]))
