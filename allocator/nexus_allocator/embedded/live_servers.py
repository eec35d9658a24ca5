"""People's running servers, as the hub lists them; stopped with a reason on record when the Nexus stops."""

import time
from collections.abc import Callable, Iterator
from typing import Any

import httpx

from nexus_allocator.embedded.settings import Settings
from nexus_allocator.embedded.state import Secrets

STOP_TIMEOUT_S = 40.0


class LiveServers:
    def __init__(self, settings: Settings, secrets: Secrets) -> None:
        self.hub = httpx.Client(
            base_url=f"{settings.hub_url}/hub/api",
            headers={
                "Authorization": f"token {secrets.parent}",
                "Accept": "application/jupyterhub-pagination+json",
            },
            timeout=30,
            verify=False,  # noqa: S501 -- loopback, no TLS
        )
        self.service = httpx.Client(
            base_url=settings.service_api_url,
            headers={"Authorization": f"Bearer {secrets.internal}"},
            timeout=3,
            verify=False,  # noqa: S501
        )

    def listed(self) -> Iterator[tuple[str, dict[str, Any]]]:
        """Yield (person, server) over every page of the hub's list. Raises httpx.HTTPError."""
        offset: int | None = 0
        while offset is not None:
            page = (
                self.hub.get("/users", params={"state": "active", "offset": offset}).raise_for_status().json()
            )
            for user in page["items"]:
                for server in user["servers"].values():
                    yield user["name"], server
            following = page["_pagination"]["next"]
            offset = following["offset"] if following else None

    def hold_ids(self) -> set[str]:
        return {(server["state"] or {}).get("hold_id", "") for _, server in self.listed()}

    def restore_routes(self, say: Callable[[str], None]) -> None:
        """Have the hub tell a new proxy where everybody's servers are."""
        try:
            self.hub.post("/proxy").raise_for_status()
        except httpx.HTTPError as error:
            say(f"  the hub could not restore the routes ({error}); it tries again by itself within a minute")

    def stop_all(self, say: Callable[[str], None]) -> None:
        """Stop every server and wait until they are gone; what cannot be reached is said, not raised."""
        try:
            for hub_name, server in self.listed():
                self.announce(hub_name, server["name"], say)
                name = f"servers/{server['name']}" if server["name"] else "server"
                self.hub.delete(f"/users/{hub_name}/{name}")
                say(f"  stopped {hub_name}'s server")
            deadline = time.monotonic() + STOP_TIMEOUT_S
            while any(self.listed()) and time.monotonic() < deadline:
                time.sleep(0.2)
        except httpx.HTTPError as error:
            say(f"  the hub does not answer ({error}); servers are left running, make down stops them")

    def announce(self, hub_name: str, server_name: str, say: Callable[[str], None]) -> None:
        body = {"reason": "shutdown", "actor": "operator"}
        try:
            self.service.post(
                f"/servers/{hub_name}/{server_name or '-'}/stop-intent", json=body
            ).raise_for_status()
        except httpx.HTTPError as error:
            say(f"  the reason could not be recorded for {hub_name}'s server: {error}")
