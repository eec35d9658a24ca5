"""While the service is away one small server of one's own goes on; everything else is told politely."""

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import pytest
from playwright.sync_api import Browser
from tests.support.browser import CHROMIUM, chromium, screenshot
from tests.support.hub import SMALL, HubUnderTest
from tests.support.pictures import SHOTS

from nexus_allocator.domain.leases import Lease
from nexus_allocator.hub.admission import AdmittedServer

AWAY = "The allocation service does not answer"


def offline_state(hub: HubUnderTest) -> dict[str, Any]:
    listed = hub.as_parent("GET", "/users/astronomer?include_stopped_servers").json()["servers"][""]
    state: dict[str, Any] = listed["state"]["offline"]
    return state


def test_a_small_server_of_one_s_own_starts_under_a_lease_and_its_end_is_kept(hub: HubUnderTest) -> None:
    person = hub.sign_in()
    assert "Who pays?" in person.get("/hub/spawn").text
    hub.control(failing=True)
    page = person.get("/hub/spawn")
    assert AWAY in page.text
    assert "one Small server" in page.text
    assert person.launch_by_form(SMALL).status_code == 200
    state = hub.wait_until_ready()["state"]
    (lease,) = state["offline"]["leases"]
    assert lease["id"] == state["hold_id"]
    assert (lease["account"], lease["planned_minutes"], lease["ended"]) == ("astronomer", 60, None)
    assert lease["process_started_at"] == state["process_started_at"]
    person.stop()
    hub.wait_until_gone()
    (lease,) = offline_state(hub)["leases"]
    assert lease["ended"]["alive_at_stop"] is True
    ended = datetime.fromisoformat(lease["ended"]["stopped_at"])
    assert timedelta(0) < ended - datetime.fromisoformat(lease["at"]) < timedelta(minutes=2)
    hub.control(failing=False, collected=[lease["id"]])
    person.get("/hub/spawn")
    assert offline_state(hub)["leases"] == []
    assert offline_state(hub)["offer"] is not None


def test_everything_else_is_refused_politely_and_counted_and_the_hub_stays_up(hub: HubUnderTest) -> None:
    person = hub.sign_in()
    person.get("/hub/spawn")
    hub.control(failing=True)
    for number in range(6):
        answer = person.launch_by_api({**SMALL, "account": "wide-field-demo", "size": "large"})
        assert answer.status_code == 503, number
    told = answer.json()["message"]
    assert told.startswith(
        f"{AWAY}; only a Small server on your own account can be started until it is back."
    )
    refusals = offline_state(hub)["refusals"]
    assert len(refusals) == 6
    assert {(each["account"], each["size"]) for each in refusals} == {("wide-field-demo", "large")}
    assert hub.children["hub"].exit_status() is None
    hub.control(failing=False, collected=[each["id"] for each in refusals])
    person.get("/hub/spawn")
    assert offline_state(hub)["refusals"] == []


def test_a_lease_survives_the_hub_and_the_server_goes_on_under_it(hub: HubUnderTest) -> None:
    person = hub.sign_in()
    person.get("/hub/spawn")
    hub.control(failing=True)
    person.launch_by_form(SMALL)
    before = hub.wait_until_ready()["state"]
    hub.kill("hub")
    hub.restart("hub")
    after = hub.wait_until_ready()["state"]
    assert after["offline"]["leases"] == before["offline"]["leases"]
    assert after["hold_id"] == before["hold_id"]


def test_a_lease_that_is_over_ends_its_server_with_the_reason() -> None:
    done: list[str] = []

    class Server(AdmittedServer):
        ready = True

        async def announce_stop(self, reason: str, actor: str) -> None:
            done.append(f"{reason} by {actor}")

        async def stop(self) -> None:
            done.append("stopped")

        async def poll_and_notify(self) -> None:
            done.append("told the hub")

    async def watch() -> None:
        server = Server()
        now = datetime.now(UTC)
        lease = Lease(
            uuid4(), now - timedelta(minutes=69), "", "astronomer", "small", 2, 4 * 2**30, "nexus", 60, 10,
            125_000, 2,
        )  # fmt: skip
        server.hold_id, server.offline.leases = str(lease.id), [lease]
        server.end_overdue_lease()
        assert done == []
        server.offline.leases = [Lease(**{**vars(lease), "at": now - timedelta(minutes=70)})]
        server.end_overdue_lease()
        server.end_overdue_lease()
        await asyncio.gather(*server.background)

    asyncio.run(watch())
    assert done == ["planned-hours by hub", "stopped", "told the hub"]


@pytest.mark.browser
@pytest.mark.skipif(CHROMIUM is None, reason="Debian's chromium is not installed")
@pytest.mark.parametrize(("scheme", "width"), [("light", 1280), ("dark", 400)])
def test_the_form_without_the_service_is_readable(hub: HubUnderTest, scheme: str, width: int) -> None:
    person = hub.sign_in()
    person.get("/hub/spawn")
    hub.control(failing=True)
    with chromium() as browser:
        page = signed_in(browser, person, scheme, width)
        page.goto(f"{hub.url}/hub/spawn")
        assert page.get_by_role("button", name="Start Small server").is_visible()
        screenshot(page, SHOTS, f"offline-{scheme}-{width}")
        assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")


def signed_in(browser: Browser, person: Any, scheme: Any, width: int) -> Any:
    context = browser.new_context(viewport={"width": width, "height": 900}, color_scheme=scheme)
    jar = person.http.cookies.jar
    cookies = [{"name": c.name, "value": str(c.value), "domain": "127.0.0.1", "path": c.path} for c in jar]
    context.add_cookies(cookies)  # type: ignore[arg-type]
    return context.new_page()
