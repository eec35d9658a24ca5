"""Calls to the hub leave by the outbox: decided with what they are for, made once the hub answers."""

import random
import signal
import time
from collections.abc import Callable
from datetime import UTC, datetime
from uuid import UUID

import pytest
from tests.support.allocator import FakeHub, World, fake_hub, service_environment
from tests.support.mail import deliver_command

from nexus_allocator.domain.outbox import Channel, OutgoingState
from nexus_allocator.services import enforcement, hub_calls, stops, suspensions
from nexus_allocator.services.delivery import Delivered, deliver
from nexus_allocator.services.hub_calls import ToStop
from nexus_allocator.services.memberships import stop_leavers
from nexus_allocator.store import outbox as rows

RNG = random.Random(3)  # noqa: S311 - the same pauses each time


def runs(world: World, hub: FakeHub, name: str = "astronomer") -> UUID:
    world.astronomer(name)
    admitted = world.launch(name, hours=8)
    hub.runs(name, admitted.hold_id, world.started(admitted.hold_id))
    hub.people_tokens[name] = ["a1", "a2"]
    return admitted.hold_id


def suspends(world: World, name: str = "astronomer") -> list[ToStop]:
    with world.database.session_scope() as session:
        return suspensions.suspend(session, hub_name=name, reason="A lost key.", actor="t", now=world.clock())


def delivered(world: World, hub: FakeHub) -> Delivered:
    with hub.client() as client:
        carriers = {Channel.HUB: hub_calls.HubCarrier(client)}
        return deliver(world.database, carriers, clock=world.clock, rng=RNG, is_patient=False)


def states(world: World) -> list[tuple[str, OutgoingState]]:
    with world.database.reading_scope() as session:
        found = rows.page(session, states=None, channel=Channel.HUB, limit=100, offset=0)
    return sorted((row.kind, row.state) for row, _ in found)


def test_a_suspension_stops_servers_and_revokes_tokens_at_the_hub(world: World, hub: FakeHub) -> None:
    runs(world, hub)
    runs(world, hub, "mia")
    suspends(world)
    assert delivered(world, hub) == Delivered(sent=2)
    assert hub.stops == [("astronomer", "")]
    assert hub.people_tokens == {"astronomer": [], "mia": ["a1", "a2"]}
    hub.people_tokens["astronomer"] = ["a7"]
    world.clock.forward(minutes=10)
    assert delivered(world, hub) == Delivered(sent=1)
    assert hub.people_tokens["astronomer"] == [], "made while a sign-in still lasted"


def test_what_was_undone_reaches_no_hub(world: World, hub: FakeHub) -> None:
    runs(world, hub)
    with pytest.raises(ZeroDivisionError), world.database.session_scope() as session:  # noqa: PT012
        suspensions.suspend(session, hub_name="astronomer", reason="None.", actor="t", now=world.clock())
        raise ZeroDivisionError
    assert delivered(world, hub) == Delivered()
    assert (hub.stops, hub.people_tokens["astronomer"]) == ([], ["a1", "a2"])


def test_whom_the_hub_does_not_know_has_no_tokens(world: World, hub: FakeHub) -> None:
    runs(world, hub)
    del hub.people_tokens["astronomer"]
    suspends(world)
    assert delivered(world, hub) == Delivered(sent=2)


def test_who_is_reinstated_keeps_later_tokens_and_servers(world: World, hub: FakeHub) -> None:
    first = runs(world, hub)
    suspends(world)
    hub.status = 503
    assert delivered(world, hub) == Delivered(failed=1), "and the rest waits for a hub that answers"
    with world.database.session_scope() as session:
        suspensions.reinstate(session, hub_name="astronomer", actor="t", now=world.clock())
    hub.status = 200
    world.stopped(first)
    again = world.launch(hours=1)
    hub.runs("astronomer", again.hold_id, world.started(again.hold_id))
    hub.stops.clear()
    world.clock.forward(minutes=15)
    assert delivered(world, hub) == Delivered(dropped=3)
    assert (hub.stops, hub.people_tokens["astronomer"]) == ([], ["a1", "a2"])


def test_a_hub_that_is_away_is_asked_when_it_is_back_by_who_asks_first(world: World, hub: FakeHub) -> None:
    runs(world, hub)
    servers = suspends(world)
    hub.status = 503
    with hub.client() as client:
        asked = hub_calls.ask_at_once(world.database, client, servers, now=world.clock())
        assert (asked, asked.problem) == (Delivered(failed=1), "status 503")
        hub.status = 200
        hub.stops.clear()
        assert stop_leavers(world.database, client, now=world.clock()) == servers
    assert hub.stops == [("astronomer", "")]
    world.clock.forward(seconds=15)
    assert delivered(world, hub) == Delivered(sent=1), "the tokens; the stop was asked"
    with hub.client() as client:
        stop_leavers(world.database, client, now=world.clock())
    assert hub.stops == [("astronomer", "")] * 2, "a server that lives on is asked to stop again"


def test_a_leaver_s_stop_is_ordered_in_the_deciding_transaction(world: World, hub: FakeHub) -> None:
    for name in ("lee", "mia"):
        world.astronomer(name)
    world.team("field", "lee", "mia")
    admitted = world.launch("mia", account="field", hours=8, server_name="big")
    hub.runs("mia", admitted.hold_id, world.started(admitted.hold_id), "big")
    world.leaves("mia", "field")
    assert states(world) == [("stop-server", OutgoingState.WAITING)]
    assert delivered(world, hub) == Delivered(sent=1)
    assert hub.stops == [("mia", "big")]


def own_stop(world: World) -> list[ToStop]:
    with world.database.session_scope() as session:
        mine = {"hub_name": "astronomer", "owner": "astronomer", "server_name": ""}
        return [stops.stop_own(session, **mine, now=world.clock())]


def administrator_s_stop(world: World) -> list[ToStop]:
    administrator_id = world.administrator()
    with world.database.session_scope() as session:
        return [
            stops.stop_as_administrator(
                session, administrator_id=administrator_id, hub_name="astronomer", server_name="",
                note="The node goes.", now=world.clock(),
            )
        ]  # fmt: skip


def planned_hours(world: World) -> list[ToStop]:
    world.clock.forward(hours=9)
    with fake_hub() as nobody, nobody.client() as client:
        nobody.status = 503
        over = stops.stop_overrun(world.database, client, now=world.clock())
    assert over == stops.Overrun(1, "status 503")
    world.clock.forward(seconds=15)
    return [ToStop("astronomer", "")]


def used_up(world: World) -> list[ToStop]:
    world.correct("astronomer", -25)
    terms = world.policy.enforcement
    with fake_hub() as nobody, nobody.client() as client:
        nobody.status = 503
        enforcement.enforce(world.database, client, terms=terms, now=world.clock())
        world.clock.forward(minutes=10)
        enforced = enforcement.enforce(world.database, client, terms=terms, now=world.clock())
    assert enforced.trouble == "status 503"
    world.clock.forward(seconds=15)
    return [ToStop("astronomer", "")]


@pytest.mark.parametrize(
    ("decide", "reason"),
    [
        (own_stop, "own-hand"),
        (administrator_s_stop, "administrator"),
        (planned_hours, "planned-hours"),
        (used_up, "quota"),
    ],
)
def test_a_stop_outlives_who_decided_it_and_is_asked_once(
    world: World, hub: FakeHub, decide: Callable[[World], list[ToStop]], reason: str
) -> None:
    """Nobody asks the hub after the commit, as when the service dies there; the deliverer does."""
    hold_id = runs(world, hub)
    assert decide(world) == [ToStop("astronomer", "")]
    assert hub.stops == []
    assert states(world) == [("stop-server", OutgoingState.WAITING)]
    assert delivered(world, hub) == Delivered(sent=1)
    assert delivered(world, hub) == Delivered()
    assert hub.stops == [("astronomer", "")]
    world.stopped(hold_id, stopped_at=world.clock(), alive_at_stop=True)
    assert world.hold(hold_id).stop_reason == reason


def test_a_stop_that_was_undone_or_whose_server_ended_meanwhile_asks_nobody(
    world: World, hub: FakeHub
) -> None:
    hold_id = runs(world, hub)
    with pytest.raises(ZeroDivisionError), world.database.session_scope() as session:  # noqa: PT012
        stops.stop_own(session, hub_name="astronomer", owner="astronomer", server_name="", now=world.clock())
        raise ZeroDivisionError
    assert states(world) == []
    own_stop(world)
    own_stop(world)
    assert states(world) == [("stop-server", OutgoingState.WAITING)], "pressed twice, asked once"
    world.stopped(hold_id)
    again = world.launch(hours=1)
    hub.runs("astronomer", again.hold_id, world.started(again.hold_id))
    assert delivered(world, hub) == Delivered(dropped=1)
    assert hub.stops == [], "the name is another server's by now"


def test_a_killed_deliverer_s_call_is_made_by_the_next(world: World, hub: FakeHub) -> None:
    """Killed while the hub has been asked and has not answered yet."""
    world.clock.at = datetime.now(UTC)
    runs(world, hub)
    suspends(world)
    environment = service_environment(
        world.database.url.render_as_string(hide_password=False), hub.api_url, NEXUS_DELIVERY_LEASE_S="0.5"
    )
    running = deliver_command(environment)
    hub.while_stopping = running.kill
    said, _ = running.communicate(timeout=60)
    assert running.returncode == -signal.SIGKILL, said
    assert hub.stops == [("astronomer", "")]
    hub.while_stopping = None
    time.sleep(0.5)
    world.clock.at = datetime.now(UTC)
    assert delivered(world, hub) == Delivered(sent=2)
    assert hub.stops == [("astronomer", "")] * 2
    assert hub.people_tokens["astronomer"] == []
