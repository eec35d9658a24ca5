"""Tokens of a real hub with scopes of ours: what people may give them, and what the API then lets them do."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from tests.support.allocator import World
from tests.support.api import V1, running_service
from tests.support.hub import HubUnderTest, Visitor

from nexus_allocator.domain.scopes import ADMIN, OF_EVERYBODY
from nexus_allocator.store import schema
from nexus_allocator.store.session import Database

OWN = "custom:nexus:read:own"


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    database = Database(f"sqlite:///{tmp_path / 'allocator.sqlite'}")
    schema.upgrade(database)
    made = World(database)
    made.astronomer("astronomer")
    made.administrator("admin")
    yield made
    database.dispose()


@pytest.fixture
def api(hub: HubUnderTest, world: World) -> Iterator[httpx.Client]:
    """Our service before the real hub, which knows its people too."""
    hub_api, url = f"{hub.settings.hub_url}/hub/api", str(world.database.url)
    with running_service(world, hub_api, hub.secrets.service, url) as (_, _, http):
        yield http


def new_token(visitor: Visitor, name: str, *scopes: str) -> httpx.Response:
    body: dict[str, Any] = {"note": "a program"} | ({"scopes": list(scopes)} if scopes else {})
    return visitor.api("POST", f"/users/{name}/tokens", body)


def asked(api: httpx.Client, method: str, path: str, token: str) -> httpx.Response:
    return api.request(method, V1 + path, headers={"Authorization": f"token {token}"})


def test_a_person_makes_a_token_with_fewer_rights_and_the_api_keeps_to_them(
    hub: HubUnderTest, api: httpx.Client
) -> None:
    visitor = hub.sign_in("astronomer")
    reading = new_token(visitor, "astronomer", OWN).json()["token"]
    assert asked(api, "GET", "/me", reading).json()["hub_name"] == "astronomer"
    refused = asked(api, "POST", "/servers/-/stop", reading)
    assert (refused.status_code, refused.json()["error"]) == (403, "scope_needed")
    assert asked(api, "GET", "/teams", reading).json()["error"] == "scope_needed"
    # Writing implies reading, in the hub as here.
    writing = new_token(visitor, "astronomer", "custom:nexus:write:own").json()["token"]
    assert asked(api, "GET", "/me", writing).status_code == 200
    assert asked(api, "POST", "/servers/-/stop", writing).json()["error"] == "unknown_server"
    # A token without scopes named has all that its owner has.
    whole = new_token(visitor, "astronomer").json()["token"]
    assert asked(api, "GET", "/teams", whole).json() == []
    assert asked(api, "GET", "/admin/people", whole).json()["error"] == "not_allowed"


def test_scopes_of_administrators_are_theirs_alone_and_open_no_server(
    hub: HubUnderTest, api: httpx.Client
) -> None:
    astronomer, admin = hub.sign_in("astronomer"), hub.sign_in("admin")
    for scope in ADMIN:
        assert new_token(astronomer, "astronomer", scope.name).status_code in {400, 403}
    token = new_token(admin, "admin", *(scope.name for scope in ADMIN)).json()["token"]
    assert [each["hub_name"] for each in asked(api, "GET", "/admin/people", token).json()["items"]] == [
        "admin", "astronomer",
    ]  # fmt: skip
    assert asked(api, "GET", "/accounts", token).json()["error"] == "scope_needed"
    held = set(admin.api("GET", "/user").json()["scopes"])
    assert {scope.name for scope in (*OF_EVERYBODY, *ADMIN)} <= held
    assert not [scope for scope in held if scope.startswith("access:servers") and "=admin" not in scope]


def test_a_token_that_was_revoked_opens_nothing_half_a_minute_later(
    hub: HubUnderTest, api: httpx.Client, world: World
) -> None:
    visitor = hub.sign_in("astronomer")
    made = new_token(visitor, "astronomer", OWN).json()
    assert asked(api, "GET", "/me", made["token"]).status_code == 200
    assert visitor.api("DELETE", f"/users/astronomer/tokens/{made['id']}").status_code == 204
    world.clock.forward(seconds=30)
    assert asked(api, "GET", "/me", made["token"]).status_code == 401
