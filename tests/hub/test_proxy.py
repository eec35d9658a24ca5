"""What the hub of a cluster hears from its proxy."""

import asyncio
from itertools import chain
from typing import Any

import pytest
from jupyterhub.proxy import ConfigurableHTTPProxy

from nexus_allocator.hub.proxy import SHARES, SharedOutActivityProxy


def test_every_route_is_told_each_time_and_the_activity_of_each_once_in_a_while(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    names = [f"/user/person-{number}/" for number in range(100)]

    async def all_routes(self: Any, client: Any = None) -> dict[str, Any]:
        return {name: {"routespec": name, "data": {"user": name, "last_activity": "now"}} for name in names}

    monkeypatch.setattr(ConfigurableHTTPProxy, "get_all_routes", all_routes)
    proxy = SharedOutActivityProxy()

    def told() -> list[str]:
        routes = asyncio.run(proxy.get_all_routes())
        assert list(routes) == names
        assert all(route["data"]["user"] == name for name, route in routes.items())
        return [name for name, route in routes.items() if "last_activity" in route["data"]]

    rounds = [told() for _ in range(2 * SHARES)]
    assert sorted(chain(*rounds[:SHARES])) == sorted(names)
    assert rounds[SHARES:] == rounds[:SHARES]
    assert max(len(each) for each in rounds) < len(names) / 2
