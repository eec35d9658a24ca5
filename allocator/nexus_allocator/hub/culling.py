"""Idle culling that says why: the arbiter of jupyterhub-idle-culler records the reason before the stop."""

from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from typing import Any

from tornado.log import app_log

from nexus_allocator.hub.service import AllocationService, Refused, ServiceUnavailable

ACTOR = "idle-culler"


def arbiter(service: AllocationService) -> Callable[..., Awaitable[bool]]:
    """Return the ``cull_arbiter_hook``: idle long enough, nobody asked to keep it, the reason on record."""

    async def decide(*, inactive: timedelta, inactive_limit: float, server: dict[str, Any], **_: Any) -> bool:
        if inactive.total_seconds() < inactive_limit:
            return False
        # "person/server"; the default server's name is empty.
        hub_name, _slash, server_name = server["full_name"].partition("/")
        try:
            keep_until = await service.keep_alive_until(hub_name, server_name)
            if keep_until is not None and keep_until > datetime.now(UTC):
                return False
            await service.announce_stop(hub_name, server_name, reason="idle", actor=ACTOR)
        except (Refused, ServiceUnavailable) as error:
            # A stop that nobody can explain afterwards is worse than one that comes a round later.
            app_log.warning("Not culling %s now: %s", server["full_name"], error)
            return False
        return True

    return decide
