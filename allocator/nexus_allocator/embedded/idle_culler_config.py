"""The idle culler of the one-machine Nexus: its arbiter records the reason before it stops a server."""

from typing import Any

from nexus_allocator.embedded.settings import read_settings
from nexus_allocator.embedded.state import read_secrets
from nexus_allocator.hub.culling import arbiter
from nexus_allocator.hub.service import AllocationService

c: Any = get_config()  # type: ignore[name-defined]  # noqa: F821
settings = read_settings()
c.IdleCuller.cull_arbiter_hook = arbiter(
    AllocationService(settings.service_api_url, read_secrets(settings).internal)
)
