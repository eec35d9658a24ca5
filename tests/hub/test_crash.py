"""Whatever is killed, and when: the ledger then holds the server's own lifetime, to one metering interval."""

import os
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import suppress

import httpx
import psutil
import pytest
from tests.support.embedded import Embedded, ServerWatch, embedded_nexus
from tests.support.hub import SMALL, Visitor, until

# 60 s by default; short here, so that the test is.
INTERVAL_S = 5
CAPTION = "killed {what}: the server lived {lived:.1f} s, the ledger has {charged:.1f} s (interval {every} s)"


@pytest.fixture(scope="module")
def nexus() -> Iterator[Embedded]:
    with embedded_nexus(NEXUS_METERING_INTERVAL_S=str(INTERVAL_S), NEXUS_HOLD_START_TIMEOUT_S="3") as nexus:
        nexus.up()
        yield nexus


def charged_s(hold: dict[str, int]) -> float:
    assert hold["usage_micro"] == hold["ledger_micro"], "what was read is what was posted"
    return hold["ledger_micro"] / hold["rate_micro_per_hour"] * 3600


def launch(nexus: Embedded) -> Visitor:
    person = nexus.sign_in()
    assert person.launch_by_form(SMALL).status_code == 200
    nexus.wait_until_ready()
    return person


def wait_until_back(nexus: Embedded, *names: str) -> None:
    for name in names:
        until(lambda name=name: nexus.child_pid(name), f"{name} started again", 30)
    until(lambda: answers(nexus), "hub and service answer", 60)


def answers(nexus: Embedded) -> bool:
    try:
        nexus.server("astronomer")
        return nexus.service_answers()
    except httpx.HTTPError:
        return False


@pytest.mark.parametrize(
    ("what", "children", "server_too"),
    [
        ("the service", ["allocation-service"], False),
        ("the hub", ["hub"], False),
        ("hub and service", ["hub", "allocation-service"], False),
        ("hub, service and server", ["hub", "allocation-service"], True),
    ],
)
def test_after_a_kill_the_ledger_holds_the_servers_lifetime(
    nexus: Embedded, what: str, children: list[str], server_too: bool
) -> None:
    number = len(nexus.holds())
    with ServerWatch(nexus) as watch:
        person = launch(nexus)
        # Some intervals pass, and the kill falls somewhere inside one.
        time.sleep(INTERVAL_S * 1.5)
        for name in children:
            nexus.kill_child(name)
        if server_too:
            os.kill(watch.pid or 0, signal.SIGKILL)
        wait_until_back(nexus, *children)
        if not server_too:
            nexus.wait_until_ready()
            time.sleep(INTERVAL_S)
            person.stop()
        hold = nexus.settled_hold(number)
    charged = charged_s(hold)
    print(CAPTION.format(what=what, lived=watch.lifetime_s, charged=charged, every=INTERVAL_S))
    assert abs(charged - watch.lifetime_s) <= INTERVAL_S
    assert hold["stop_reason"] == ("unknown" if server_too else "own-hand")
    assert nexus.server("astronomer") is None


def test_a_hub_killed_between_hold_and_start_costs_nothing(nexus: Embedded) -> None:
    person = nexus.sign_in()
    number = len(nexus.holds())
    service = psutil.Process(nexus.child_pid("allocation-service"))
    with ServerWatch(nexus) as watch:
        # The service takes the request, and answers when nobody is there to listen any more.
        service.suspend()
        asking = threading.Thread(target=give_up_quietly, args=(person,))
        asking.start()
        # The hub first renews the person and gives up on that after three seconds; then it asks for the hold.
        time.sleep(4.5)
        nexus.kill_child("hub")
        service.resume()
        until(lambda: len(nexus.holds()) > number, "the hold is placed", 20)
        asking.join()
        hold = nexus.settled_hold(number)
    print(
        CAPTION.format(
            what="between hold and start", lived=watch.lifetime_s, charged=charged_s(hold), every=INTERVAL_S
        )
    )
    assert watch.pid is None, "nothing was started"
    assert (hold["usage_micro"], hold["stop_reason"]) == (0, "never-started")
    wait_until_back(nexus, "hub")
    # And the next launch is not in its way.
    launch(nexus).stop()


def give_up_quietly(person: Visitor) -> None:
    with suppress(httpx.HTTPError):
        person.launch_by_api(SMALL)
