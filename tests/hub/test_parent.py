"""`make up` and `make down`: clear words, no leftovers, and what people had running goes on."""

import os
import signal
import socket
import stat
from collections.abc import Iterator

import httpx
import pytest
from tests.support.embedded import Embedded, embedded_nexus
from tests.support.hub import PLAIN, SMALL, until

from nexus_allocator.embedded.surroundings import notebook_servers


@pytest.fixture(scope="module")
def nexus() -> Iterator[Embedded]:
    with embedded_nexus(NEXUS_METERING_INTERVAL_S="2") as nexus:
        nexus.up()
        yield nexus


@pytest.fixture(autouse=True)
def up(nexus: Embedded) -> None:
    if nexus.ended():
        nexus.up()


def test_it_says_where_it_is_whom_to_sign_in_as_and_how_long_it_took(nexus: Embedded) -> None:
    assert nexus.url in nexus.said
    assert "astronomer, teammate, admin" in nexus.said
    assert "✓ hub (" in nexus.said
    assert nexus.wait_until_up() > 0


def test_everything_listens_on_loopback_only(nexus: Embedded) -> None:
    for port in nexus.settings.ports.values():
        with socket.socket() as probe, pytest.raises(OSError, match=r"refused|unreachable"):
            probe.connect((other_address(), port))
        with socket.socket() as probe:
            probe.connect(("127.0.0.1", port))


def other_address() -> str:
    """Return another address of this machine; 127.0.0.2 is one that only a wildcard listener answers on."""
    return "127.0.0.2"


def test_a_second_up_finds_the_first_and_leaves_it_alone(nexus: Embedded) -> None:
    result = nexus.command("up")
    assert result.returncode == 0
    assert f"running already: {nexus.url}" in result.stdout
    assert not nexus.ended()


def test_a_taken_port_is_named_with_its_taker() -> None:
    with embedded_nexus() as other, socket.socket() as taker:
        # A Nexus of before may have left connections there that linger.
        taker.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        taker.bind(("127.0.0.1", other.settings.port + 3))
        taker.listen()
        result = other.command("up")
        assert result.returncode == 1
        assert f"Port {other.settings.port + 3} (allocation service) is taken by" in result.stderr
        assert f"pid {os.getpid()}" in result.stderr
        assert "NEXUS_PORT=" in result.stderr
        assert other.all_gone()


def test_a_bad_setting_is_told_in_a_sentence() -> None:
    with embedded_nexus() as other:
        other.environment["NEXUS_PORT"] = "eighty"
        result = other.command("up")
    assert (result.returncode, result.stderr.strip()) == (
        1,
        "NEXUS_PORT=eighty: a whole number above zero is needed.",
    )


def test_a_crashed_child_is_started_again_and_that_is_said(nexus: Embedded) -> None:
    before = nexus.child_pid("idle-culler")
    nexus.kill_child("idle-culler")
    until(lambda: nexus.child_pid("idle-culler") not in (None, before), "started again")
    assert "The idle culler was ended by SIGKILL; starting it again in 1 s" in nexus.said


def test_a_killed_parent_takes_its_children_along_and_the_next_one_takes_over_the_servers(
    nexus: Embedded,
) -> None:
    person = nexus.sign_in()
    assert person.launch_by_form(SMALL).status_code == 200
    pid = nexus.wait_until_ready()["state"]["pid"]
    assert nexus.process is not None
    nexus.process.send_signal(signal.SIGKILL)
    nexus.process.wait(10)
    until(nexus.all_gone, "no orphans", 10)
    assert list(notebook_servers(nexus.settings)) == [pid], "people's work goes on"
    nexus.up()
    assert nexus.wait_until_ready()["state"]["pid"] == pid
    assert person.get("/user/astronomer/lab").status_code == 200
    # And with the proxy's memory gone, people still reach it.
    nexus.kill_child("proxy")
    until(lambda: reaches(nexus), "routes restored", 40)


def reaches(nexus: Embedded) -> bool:
    try:
        return PLAIN.get(f"{nexus.url}/user/astronomer/api").status_code == 200
    except httpx.TransportError:
        return False  # the proxy is on its way out, or not yet back


def test_an_interrupt_stops_servers_first_and_says_why(nexus: Embedded) -> None:
    person = nexus.sign_in()
    if nexus.server("astronomer") is None:
        person.launch_by_form(SMALL)
    nexus.wait_until_ready()
    number = len(nexus.holds()) - 1
    assert nexus.process is not None
    nexus.process.send_signal(signal.SIGINT)
    assert nexus.process.wait(60) == 0
    order = ["astronomer's server", "the hub", "the allocation service", "the proxy", "the sign-in provider"]
    places = [nexus.said.index(f"stopped {what}") for what in order]
    assert places == sorted(places)
    assert (nexus.all_gone(), notebook_servers(nexus.settings)) == (True, {})
    assert nexus.settled_hold(number)["stop_reason"] == "shutdown"


def test_down_clears_what_a_crash_left(nexus: Embedded) -> None:
    person = nexus.sign_in()
    person.launch_by_form(SMALL)
    nexus.wait_until_ready()
    assert nexus.process is not None
    nexus.process.send_signal(signal.SIGKILL)
    nexus.process.wait(10)
    result = nexus.command("down")
    assert (result.returncode, "stopped a notebook server" in result.stdout) == (0, True)
    assert notebook_servers(nexus.settings) == {}
    assert "Nothing was left running" in nexus.command("down").stdout


def test_the_operators_command_line_works_on_this_state(nexus: Embedded) -> None:
    result = nexus.command("allocator", "audit")
    assert result.returncode == 0, result.stdout + result.stderr


def test_the_state_is_closed_to_others(nexus: Embedded) -> None:
    for name in ("secrets", "db", "log", "run"):
        assert stat.S_IMODE(nexus.settings.folder(name).stat().st_mode) == 0o700
