"""The hub as the service reads it: every page, and no conclusion from a doubtful answer."""

from uuid import uuid4

import httpx
import pytest
from tests.support.allocator import HUB_TOKEN, START, FakeHub
from tests.support.postgres import free_port

from nexus_allocator.clients.hub import HubClient
from nexus_allocator.domain.errors import HubUnavailable


def test_every_page_is_read(hub: FakeHub) -> None:
    for number in range(173):
        hub.runs(f"p{number}", uuid4(), START)
    with hub.client() as client:
        seen = client.active_servers()
    assert len({sighting.hub_name for sighting in seen}) == 173
    assert len(hub.asked) == 4
    assert set(hub.tokens) == {f"token {HUB_TOKEN}"}


def test_a_server_is_alive_only_when_the_hub_vouches_for_its_process(hub: FakeHub) -> None:
    hub.runs("ada", uuid4(), START)
    hub.starts("tomo")
    hub.runs("alex", uuid4(), START)
    hub.checks("alex")
    with hub.client() as client:
        alive = {sighting.hub_name: sighting.is_alive for sighting in client.active_servers()}
    assert alive == {"ada": True, "tomo": False, "alex": False}


def test_a_broken_second_page_makes_the_whole_list_doubtful(hub: FakeHub) -> None:
    for number in range(60):
        hub.runs(f"p{number}", uuid4(), START)
    hub.broken_page = 1
    with hub.client() as client, pytest.raises(HubUnavailable):
        client.active_servers()


@pytest.mark.parametrize("status", [500, 503, 403, 404])
def test_a_hub_that_is_starting_or_refuses_is_unavailable(hub: FakeHub, status: int) -> None:
    hub.status = status
    with hub.client() as client, pytest.raises(HubUnavailable, match="hub_unavailable"):
        client.active_servers()


def test_a_hub_that_is_not_there_is_unavailable() -> None:
    client = HubClient(f"http://127.0.0.1:{free_port()}/hub/api", HUB_TOKEN)
    with client, pytest.raises(HubUnavailable):
        client.active_servers()


def answers(body: object) -> HubClient:
    client = HubClient("http://hub.test/hub/api", HUB_TOKEN)
    client.close()
    transport = httpx.MockTransport(lambda _: httpx.Response(200, json=body))
    client._http = httpx.Client(base_url="http://hub.test/hub/api/", transport=transport)
    return client


@pytest.mark.parametrize(
    "body",
    [
        [],
        {"items": []},
        "a page for people",
        {"items": [{"name": "ada"}], "_pagination": {"next": None}},
        {"items": [{"name": "a", "servers": {"": {"ready": True}}}], "_pagination": {"next": None}},
        {
            "items": [
                {"name": "a", "servers": {"": {"pending": None, "ready": True, "state": {"hold_id": "x"}}}}
            ],
            "_pagination": {"next": None},
        },
        {"items": [], "_pagination": {"next": {"offset": 0}}},
    ],
)
def test_an_answer_of_another_shape_is_doubtful(body: object) -> None:
    with answers(body) as client, pytest.raises(HubUnavailable):
        client.active_servers()


def test_stopping_names_the_server_and_forgives_one_that_is_gone(hub: FakeHub) -> None:
    with hub.client() as client:
        client.stop_server("ada", "")
        client.stop_server("ada", "second one")
        hub.status = 404
        client.stop_server("ada", "")
        hub.status = 500
        with pytest.raises(HubUnavailable):
            client.stop_server("ada", "")
    assert hub.stops[:2] == [("ada", ""), ("ada", "second one")]
