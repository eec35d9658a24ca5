"""What a suspension asks of the real hub: every token of the person ends, and the server with its own."""

import httpx
import pytest
from tests.support.fake_allocator import DEFAULTS
from tests.support.hub import PLAIN, SMALL, HubUnderTest, until

from nexus_allocator.clients.hub import HubClient


@pytest.fixture
def hub(shared_hub: HubUnderTest) -> HubUnderTest:
    shared_hub.control(**DEFAULTS)
    return shared_hub


def as_service(hub: HubUnderTest, method: str, path: str, token: str | None = None) -> httpx.Response:
    headers = {"Authorization": f"token {token or hub.secrets.service}"}
    return PLAIN.request(method, f"{hub.settings.hub_url}/hub/api{path}", headers=headers)


def test_revoking_ends_every_token_of_one_person_and_the_server_stops_all_the_same(hub: HubUnderTest) -> None:
    hub.stop_servers()
    person = hub.sign_in()
    assert person.launch_by_form(SMALL).status_code == 200
    hub.wait_until_ready()
    made = {
        name: visitor.api("POST", f"/users/{name}/tokens", {"note": "n"}).json()["token"]
        for name, visitor in (("astronomer", person), ("teammate", hub.sign_in("teammate")))
    }
    assert as_service(hub, "GET", "/user", made["astronomer"]).json()["name"] == "astronomer"
    with HubClient(f"{hub.settings.hub_url}/hub/api", hub.secrets.service) as client:
        for _ in range(2):
            client.revoke_tokens("astronomer")
        client.revoke_tokens("nobody-of-this-name")
        assert as_service(hub, "GET", "/user", made["astronomer"]).status_code == 403
        assert as_service(hub, "GET", "/user", made["teammate"]).status_code == 200
        client.stop_server("astronomer", "")
        until(lambda: not hub.active(), "no server active")


def test_the_service_s_own_token_makes_no_tokens_and_enters_no_server(hub: HubUnderTest) -> None:
    hub.stop_servers()
    person = hub.sign_in()
    assert person.launch_by_form(SMALL).status_code == 200
    hub.wait_until_ready()
    hub.sign_in("teammate")
    for method, path in (
        ("POST", "/users/astronomer/tokens"),
        ("GET", "/users/astronomer/tokens"),
        ("POST", "/shares/astronomer/"),
    ):
        assert as_service(hub, method, path).status_code in (403, 404), path
    server = PLAIN.get(
        f"{hub.url}/user/astronomer/api/contents", headers={"Authorization": f"token {hub.secrets.service}"}
    )
    assert server.status_code == 403
    # Nor does it let in who is no administrator, and nobody else lets anybody in.
    assert as_service(hub, "PUT", "/nexus/doors/astronomer/-/teammate").status_code == 403
    own = person.api("POST", "/users/astronomer/tokens", {"note": "n"}).json()["token"]
    for method, path in (
        ("PUT", "/nexus/doors/astronomer/-/admin"),
        ("DELETE", "/nexus/doors/astronomer/-/admin"),
        ("DELETE", "/nexus/tokens/teammate"),
    ):
        assert as_service(hub, method, path, own).status_code == 403, path
    hub.stop_servers()
