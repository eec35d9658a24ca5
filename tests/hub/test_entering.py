"""Administrators and people's servers at a real hub: 403, unless a grant stands, and 403 after it."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest
from tests.support.allocator import World
from tests.support.api import V1, running_service
from tests.support.hub import SMALL, HubUnderTest, form_action, hidden_fields

from nexus_allocator.services import enterings, notices
from nexus_allocator.store import schema
from nexus_allocator.store.session import Database

WRITE = "custom:nexus:write:admin"


@dataclass
class Scene:
    hub: HubUnderTest
    world: World
    http: httpx.Client
    service: object

    def ask(self, method: str, path: str, token: str, **body: object) -> httpx.Response:
        headers = {"Authorization": f"token {token}"}
        return self.http.request(method, V1 + path, headers=headers, json=body or None)

    def round(self) -> int:
        database, hub = self.world.database, self.service.state.context.hub
        return enterings.end_due(database.reading_scope, database.session_scope, hub, now=self.world.clock())


@pytest.fixture
def scene(hub: HubUnderTest, tmp_path: Path) -> Iterator[Scene]:
    """Ada's server runs at the real hub, and its hold stands in our service's database."""
    url = f"sqlite:///{tmp_path / 'allocator.sqlite'}"
    database = Database(url)
    schema.upgrade(database)
    world = World(database)
    world.astronomer("astronomer")
    world.administrator("admin")
    world.started(world.launch("astronomer").hold_id)
    hub.sign_in("astronomer").launch_by_form(SMALL)
    hub.wait_until_ready()
    with running_service(world, f"{hub.settings.hub_url}/hub/api", hub.secrets.service, url) as made:
        yield Scene(hub, world, made[2], made[0])
    database.dispose()


def looks_in(hub: HubUnderTest) -> int:
    """Open the server in a new browser, saying yes where the hub asks whether it may know who this is."""
    visitor = hub.sign_in("admin", accept=False)
    page = visitor.get("/user/astronomer/lab")
    if "/oauth2/authorize" in str(page.url):
        if page.status_code != 200:
            return page.status_code
        page = visitor.http.post(page.url.join(form_action(page)), data=hidden_fields(page))
    if page.status_code == 200:
        assert "/user/astronomer/lab" in str(page.url)
        assert visitor.get("/user/astronomer/api/contents").json()["type"] == "directory"
    return page.status_code


def test_an_administrator_enters_a_server_with_a_grant_only_and_for_its_time(scene: Scene) -> None:
    alex = scene.hub.sign_in("admin", accept=False)
    made = alex.api("POST", "/users/admin/tokens", {"note": "n", "scopes": [WRITE]}).json()["token"]
    assert looks_in(scene.hub) == 403
    enter = "/admin/servers/astronomer/-/enter"
    answer = scene.ask("POST", enter, made, reason="Asked me to look at her kernel", minutes=15)
    assert answer.status_code == 200, answer.text
    assert looks_in(scene.hub) == 200
    with scene.world.database.reading_scope() as session:
        (told,) = notices.unread(session, hub_name="astronomer")
    assert (told.kind, told.facts["person"]) == ("server-entered", "admin")
    assert scene.round() == 0
    scene.world.clock.forward(minutes=15)
    assert scene.round() == 1
    assert looks_in(scene.hub) == 403
    past = scene.ask("GET", "/admin/people/astronomer/enterings", made).json()
    assert [each["ended_at"] is not None for each in past] == [True]
