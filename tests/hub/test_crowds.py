"""A crowd waits for its turn: what only takes long is not taken for an outage, and no launch gets lost."""

import asyncio
import time
from collections.abc import Callable, Coroutine
from contextlib import suppress

import pytest
from tests.support.hub import SMALL, TOO_LONG, HubUnderTest
from tests.support.postgres import free_port
from tornado import web
from tornado.httpclient import AsyncHTTPClient, HTTPError

from nexus_allocator.hub import service as calls
from nexus_allocator.hub.service import AllocationService, ServiceUnavailable

CROWD = 5 * calls.LANES
ANSWER_S, DEADLINE_S = 0.2, 0.6


class KeptAlive(web.RequestHandler):
    at_once = most_at_once = 0

    async def get(self) -> None:
        KeptAlive.at_once += 1
        KeptAlive.most_at_once = max(KeptAlive.most_at_once, KeptAlive.at_once)
        await asyncio.sleep(ANSWER_S)
        KeptAlive.at_once -= 1
        self.write({"keep_alive_until": None})


class Silence(web.RequestHandler):
    async def get(self) -> None:
        await asyncio.sleep(5)


def before_a_service(asked: Callable[[AllocationService, str], Coroutine[None, None, None]]) -> None:
    """Run ``asked`` with a service that takes its time and an address that never answers."""

    async def run() -> None:
        port = free_port()
        server = web.Application([("/servers/.*", KeptAlive), ("/.*", Silence)]).listen(port, "127.0.0.1")
        url = f"http://127.0.0.1:{port}"
        try:
            await asked(AllocationService(url, "token", DEADLINE_S), url)
        finally:
            server.stop()
            await server.close_all_connections()

    asyncio.run(run())


def test_a_crowd_whose_turns_come_after_the_deadline_is_answered_all_the_same() -> None:
    async def asked(service: AllocationService, _url: str) -> None:
        began = time.monotonic()
        await asyncio.gather(*(service.keep_alive_until(f"person-{number}", "") for number in range(CROWD)))
        assert time.monotonic() - began > DEADLINE_S

    KeptAlive.most_at_once = 0
    before_a_service(asked)
    assert KeptAlive.most_at_once == calls.LANES, "a busy service is not asked by everybody at once"


def test_whose_turn_does_not_come_is_told_so(monkeypatch: pytest.MonkeyPatch) -> None:
    async def asked(service: AllocationService, _url: str) -> None:
        answers = await asyncio.gather(
            *(service.keep_alive_until(f"person-{number}", "") for number in range(2 * calls.LANES)),
            return_exceptions=True,
        )
        late = [each for each in answers if isinstance(each, ServiceUnavailable)]
        assert len(late) == calls.LANES
        assert "no turn" in str(late[0])

    monkeypatch.setattr(calls, "PATIENCE_S", ANSWER_S / 2)
    before_a_service(asked)


def test_servers_that_do_not_answer_yet_hold_up_no_call_of_the_service() -> None:
    async def asked(service: AllocationService, url: str) -> None:
        waiting = [asyncio.ensure_future(until_silent(url)) for _ in range(20)]
        await asyncio.sleep(0)
        assert await service.keep_alive_until("person", "") is None
        for each in waiting:
            each.cancel()

    async def until_silent(url: str) -> None:
        with suppress(HTTPError):
            await AsyncHTTPClient().fetch(f"{url}/silent", request_timeout=1)

    before_a_service(asked)


def test_a_launch_whose_renewal_takes_long_shows_its_progress(hub: HubUnderTest) -> None:
    person = hub.sign_in()
    form = person.get("/hub/spawn")
    # Longer than the hub lets a launch wait for an answer.
    hub.control(person_delay_s=1.6)
    page = person.launch_by_form(SMALL, form)
    assert page.url.path.startswith(("/hub/spawn-pending/", "/user/astronomer")), page.url
    query = {"_xsrf": person.xsrf()}
    progress = person.http.get(f"{hub.url}/hub/api/users/astronomer/server/progress", params=query)
    assert '"ready": true' in progress.text, progress.text


def test_a_launch_that_a_slow_renewal_speaks_against_says_why(hub: HubUnderTest) -> None:
    person = hub.sign_in()
    form = person.get("/hub/spawn")
    hub.control(person_delay_s=1.6, suspended=["astronomer"])
    page = person.launch_by_form(SMALL, form)
    assert page.status_code == 403
    assert "Your access to the Nexus is suspended" in page.text
    assert hub.server("astronomer") is None


def test_no_launch_leaves_unwritten_what_the_next_answer_to_anybody_takes_back(hub: HubUnderTest) -> None:
    person = hub.sign_in()
    assert person.launch_by_form(TOO_LONG).status_code == 402
    person.launch_by_form(SMALL)
    hub.wait_until_ready()
    person.get("/hub/home")
    # The hub then forgets all it has read of everybody, and each launch reads all servers again.
    assert "Rolling back" not in hub.log("hub")
