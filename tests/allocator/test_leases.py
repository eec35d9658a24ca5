"""While the service is away the hub grants capped leases; once back it collects them as holds, each once."""

import json
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from tests.support.allocator import GRACE_MINUTES, TERMS, FakeHub, World

from nexus_allocator.domain.leases import LeaseRefused, Offer
from nexus_allocator.domain.states import HoldState, StopReason
from nexus_allocator.domain.stops import Evidence
from nexus_allocator.hub.offline import OfflineBook
from nexus_allocator.services import leases
from nexus_allocator.services.metering import run_round

SMALL = {"account": "astronomer", "size": "small", "image": "nexus", "hours": 1.0}


def told(world: World, hub_name: str = "astronomer") -> dict[str, Any]:
    """What the hub is told at the launch page, through JSON."""
    with world.database.reading_scope() as session:
        found = leases.offline_of(
            session, policy=world.policy, hub_name=hub_name, grace_minutes=GRACE_MINUTES, now=world.clock()
        )
    offer = found.offer.as_state() if found.offer else None
    answer: dict[str, Any] = json.loads(
        json.dumps({"offer": offer, "collected": list(map(str, found.collected))})
    )
    return answer


def book_of(world: World) -> OfflineBook:
    """The spawner's record of an astronomer who saw the launch page before the service went away."""
    world.astronomer()
    book = OfflineBook()
    book.heard(told(world))
    return book


def grant(world: World, book: OfflineBook, **changes: Any) -> Any:
    return book.grant({**SMALL, **changes}, [], server_name="", now=world.clock())


def collected(world: World, hub: FakeHub) -> int:
    with hub.client() as client:
        return leases.collect(world.database, client.every_server(), now=world.clock())


def test_an_offer_is_made_to_who_could_start_it_now(world: World) -> None:
    world.signed_in("newcomer")
    assert told(world, "newcomer")["offer"] is None
    world.astronomer()
    offer = Offer.from_state(told(world)["offer"])
    assert (offer.account, offer.size, offer.minutes, offer.total_minutes) == (
        "astronomer",
        "small",
        130,
        360,
    )
    assert offer.until == world.clock() + timedelta(days=7)
    assert offer.cap_micro() == 750_000, "six hours of a Small server"
    world.correct("astronomer", -24.5)
    assert told(world)["offer"] is None, "who can't pay for all of it is offered none"


@pytest.mark.parametrize(
    ("wish", "why"),
    [
        ({"account": "wide-field-demo"}, "only a Small server on your own account can be started"),
        ({"size": "medium"}, "only a Small server"),
        ({"hours": 2.25}, "for 0.25 to 2 h"),
        ({"hours": 0.2}, "for 0.25 to 2 h"),
        ({"hours": -1.0}, "for 0.25 to 2 h"),
    ],
)
def test_what_the_offer_does_not_cover_is_refused_and_counted(
    world: World, hub: FakeHub, wish: dict[str, Any], why: str
) -> None:
    book = book_of(world)
    with pytest.raises(LeaseRefused, match=why):
        grant(world, book, **wish)
    hub.has_stopped("astronomer")
    hub.servers["astronomer", ""]["state"] = {"offline": json.loads(json.dumps(book.as_state()))}
    assert (collected(world, hub), collected(world, hub)) == (1, 0)
    with world.database.reading_scope() as session:
        away = leases.while_away(session, now=world.clock())
    assert (away.leases, away.refusals) == (0, 1)
    assert why in str(away.rows[0].why)
    book.heard(told(world))
    assert book.refusals == []


def test_without_an_offer_or_after_its_end_nothing_can_be_started(world: World) -> None:
    with pytest.raises(LeaseRefused, match="nothing can be started"):
        OfflineBook().grant(SMALL, [], server_name="", now=world.clock())
    book = book_of(world)
    world.clock.forward(days=7)
    with pytest.raises(LeaseRefused, match="nothing can be started"):
        grant(world, book)


def test_one_lease_at_a_time_and_so_many_hours_in_all(world: World) -> None:
    book = book_of(world)
    first = grant(world, book, hours=2.0)
    with pytest.raises(LeaseRefused, match="one at a time"):
        grant(world, book)
    with pytest.raises(LeaseRefused, match="one at a time"):
        OfflineBook(offer=book.offer).grant(SMALL, [first], server_name="other", now=world.clock())
    for _ in range(2):
        world.clock.forward(hours=1)
        book.has_ended(str(book.leases[-1].id), Evidence(), started=None, reason=None)
        grant(world, book, hours=1.5)
    world.clock.forward(hours=2)
    # 130 and twice 100 minutes of 360 are gone, whether they were used or not.
    with pytest.raises(LeaseRefused, match="6 h in all"):
        grant(world, book, hours=0.5)
    assert grant(world, book, hours=0.25).minutes == 25


def test_a_live_lease_becomes_a_hold_that_the_meter_goes_on_with(world: World, hub: FakeHub) -> None:
    book = book_of(world)
    lease = grant(world, book, hours=2.0)
    book.has_started(str(lease.id), world.clock())
    world.clock.forward(hours=1)
    hub.runs("astronomer", lease.id, lease.at)
    hub.servers["astronomer", ""]["state"]["offline"] = json.loads(json.dumps(book.as_state()))
    with hub.client() as client:
        result = run_round(world.database, client, terms=TERMS, clock=world.clock)
    assert (result.leases, result.witnessed, result.unaccounted) == (1, 1, [])
    hold = world.hold(lease.id)
    assert (hold.state, hold.usage_micro, hold.until) == (HoldState.RUNNING, 125_000, lease.until)
    assert world.figures("astronomer").available == 25_000_000 - lease.amount_micro
    world.stopped(lease.id, stopped_at=world.clock(), alive_at_stop=True)
    assert world.figures("astronomer").balance == 24_875_000


def test_an_ended_lease_is_charged_even_while_the_next_server_runs(world: World, hub: FakeHub) -> None:
    book = book_of(world)
    lease = grant(world, book, hours=2.0)
    ended = world.clock() + timedelta(hours=2)
    book.has_ended(
        str(lease.id),
        Evidence(stopped_at=ended, alive_at_stop=True),
        started=lease.at,
        reason="planned-hours",
    )
    world.clock.forward(hours=3)
    later = world.launch(hours=1)
    world.started(later.hold_id)
    hub.runs("astronomer", later.hold_id, world.clock())
    hub.servers["astronomer", ""]["state"]["offline"] = json.loads(json.dumps(book.as_state()))
    assert (collected(world, hub), collected(world, hub)) == (1, 0)
    hold = world.hold(lease.id)
    assert (hold.state, hold.usage_micro, hold.stop_reason) == (
        HoldState.SETTLED,
        250_000,
        StopReason.PLANNED_HOURS,
    )
    assert world.figures("astronomer").balance == 24_750_000
    assert world.hold(later.hold_id).state == HoldState.RUNNING
    book.heard(told(world))
    assert book.leases == []


def test_a_lease_in_place_of_an_admission_whose_answer_was_lost_frees_that_hold(
    world: World, hub: FakeHub
) -> None:
    book = book_of(world)
    lost = world.launch(hours=4)
    lease = grant(world, book)
    hub.runs("astronomer", lease.id, lease.at)
    hub.servers["astronomer", ""]["state"]["offline"] = json.loads(json.dumps(book.as_state()))
    assert collected(world, hub) == 1
    assert world.hold(lost.hold_id).stop_reason == StopReason.REPLACED
    assert world.figures("astronomer").held == lease.amount_micro


def test_a_lease_whose_end_nobody_saw_costs_nothing(world: World, hub: FakeHub) -> None:
    book = book_of(world)
    lease = grant(world, book)
    book.has_ended(str(lease.id), Evidence(alive_at_stop=False), started=lease.at, reason=None)
    hub.has_stopped("astronomer")
    hub.servers["astronomer", ""]["state"] = {"offline": json.loads(json.dumps(book.as_state()))}
    world.clock.forward(hours=2)
    collected(world, hub)
    assert (world.hold(lease.id).usage_micro, world.hold(lease.id).stop_reason) == (0, StopReason.UNKNOWN)


def test_a_lease_on_somebody_else_s_account_is_not_collected(world: World, hub: FakeHub) -> None:
    book = book_of(world)
    world.astronomer("other")
    lease = replace(grant(world, book), account="other")
    book.leases = [lease]
    hub.runs("astronomer", lease.id, lease.at)
    hub.servers["astronomer", ""]["state"]["offline"] = json.loads(json.dumps(book.as_state()))
    assert collected(world, hub) == 0
    assert world.figures("other").held == 0
