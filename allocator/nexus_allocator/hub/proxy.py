"""The hub's side of the proxy, for a thousand servers."""

from typing import Any
from zlib import crc32

from jupyterhub.proxy import ConfigurableHTTPProxy

SHARES = 5


class SharedOutActivityProxy(ConfigurableHTTPProxy):  # type: ignore[misc]
    """Tells of each server's activity every fifth time only, of a fifth of the servers each time.

    The hub compares its routes with the proxy's each minute, so that a restarted proxy soon has them
    again. With that it looks up, one by one, the people of all routes that tell of activity, and answers
    nobody meanwhile: with a thousand servers for several seconds.
    """

    def __init__(self, **traits: Any) -> None:
        super().__init__(**traits)
        self.asked = 0

    async def get_all_routes(self, client: Any = None) -> dict[str, Any]:
        routes: dict[str, Any] = await super().get_all_routes(client)
        share, self.asked = self.asked % SHARES, self.asked + 1
        for routespec, route in routes.items():
            if crc32(routespec.encode()) % SHARES != share:
                route["data"].pop("last_activity", None)
        return routes
