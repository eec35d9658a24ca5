"""The meter: readings go on, and holds end on positive evidence only."""

from datetime import timedelta
from unittest import mock
from uuid import UUID

import pytest
from tests.support.allocator import START, TERMS, FakeHub, World

from nexus_allocator.domain.credits import MICRO
from nexus_allocator.domain.states import HoldState, StopReason, TierSlug
from nexus_allocator.services.meter_loop import MeterLoop
from nexus_allocator.services.metering import Round, run_round
from nexus_allocator.store import holds, meter


def round_of(world: World, hub: FakeHub) -> Round:
    with hub.client() as client:
        return run_round(world.database, client, terms=TERMS, clock=world.clock)


def running(world: World, hub: FakeHub, hours: float = 4) -> UUID:
    world.astronomer()
    admitted = world.launch(hours=hours)
    hub.runs("astronomer", admitted.hold_id, world.clock())
    return admitted.hold_id


def test_a_server_the_hub_shows_is_charged_for_its_whole_life_even_unannounced(
    world: World, hub: FakeHub
) -> None:
    hold_id = running(world, hub)
    world.clock.forward(hours=1)
    assert round_of(world, hub).witnessed == 1
    hold = world.hold(hold_id)
    assert (hold.state, hold.usage_micro) == (HoldState.RUNNING, 125_000)


def test_a_gap_of_the_meter_is_charged_when_the_same_process_is_found_alive(
    world: World, hub: FakeHub
) -> None:
    hold_id = running(world, hub)
    round_of(world, hub)
    world.clock.forward(hours=3)
    round_of(world, hub)
    assert world.hold(hold_id).usage_micro == 3 * 125_000


def test_a_server_that_is_gone_ends_and_pays_until_it_was_last_seen(world: World, hub: FakeHub) -> None:
    hold_id = running(world, hub)
    world.clock.forward(minutes=48)
    round_of(world, hub)
    world.clock.forward(minutes=48)
    hub.servers.clear()
    assert round_of(world, hub).ended == 1
    hold = world.hold(hold_id)
    assert (hold.state, hold.posted_micro, hold.stop_reason) == (
        HoldState.SETTLED,
        100_000,
        StopReason.UNKNOWN,
    )
    assert world.figures("astronomer").available == 25 * MICRO - 100_000


def test_what_the_hub_kept_of_the_stop_completes_the_charge(world: World, hub: FakeHub) -> None:
    hold_id = running(world, hub)
    world.clock.forward(minutes=48)
    round_of(world, hub)
    world.clock.forward(minutes=48)
    ended = START + timedelta(minutes=72)
    hub.has_stopped(
        "astronomer", hold_id=str(hold_id), stopped_at=ended.isoformat(), alive_at_stop=False, exit_signal=9
    )
    round_of(world, hub)
    hold = world.hold(hold_id)
    assert (hold.posted_micro, hold.stop_reason, hold.exit_signal) == (150_000, StopReason.SIGNAL, 9)


@pytest.mark.parametrize("status", [503, 500, 403])
def test_a_hub_that_is_unwell_ends_nothing_and_is_told(world: World, hub: FakeHub, status: int) -> None:
    hold_id = running(world, hub)
    round_of(world, hub)
    world.clock.forward(hours=1)
    hub.servers.clear()
    hub.status = status
    result = round_of(world, hub)
    assert (result.ended, result.trouble) == (0, f"status {status}")
    assert world.hold(hold_id).state == HoldState.RUNNING
    with world.database.reading_scope() as session:
        tick = meter.last_tick(session)
        assert tick is not None
        assert (tick.complete_at, tick.trouble) == (START, f"status {status}")


def test_a_hub_that_still_checks_a_server_ends_and_charges_nothing(world: World, hub: FakeHub) -> None:
    hold_id = running(world, hub)
    round_of(world, hub)
    world.clock.forward(hours=1)
    hub.checks("astronomer")
    assert round_of(world, hub).ended == 0
    hold = world.hold(hold_id)
    assert (hold.state, hold.usage_micro) == (HoldState.RUNNING, 0)


def test_servers_beyond_the_first_page_live_on(world: World, hub: FakeHub) -> None:
    world.signed_in("astronomer")
    world.accepts("astronomer")
    world.team("many", "astronomer", tier=TierSlug.SPECIAL)
    world.grant("many", 100)
    launched = {name: world.launch(account="many", server_name=name).hold_id for name in ("a", "b")}
    for number in range(120):
        hub.runs(f"filler{number}", UUID(int=number + 1), START)
    for name, hold_id in launched.items():
        hub.runs("astronomer", hold_id, START, name)
    world.clock.forward(hours=1)
    result = round_of(world, hub)
    assert (result.witnessed, result.ended, len(result.unaccounted)) == (2, 0, 120)


def test_a_server_whose_hold_has_ended_is_stopped_and_the_reason_kept(world: World, hub: FakeHub) -> None:
    world.astronomer()
    admitted = world.launch()
    world.clock.forward(minutes=1)
    assert round_of(world, hub).ended == 1, "it did not start in time"
    hub.runs("astronomer", admitted.hold_id, world.clock())
    world.clock.forward(minutes=1)
    assert (round_of(world, hub).unpaid, hub.stops) == (1, [("astronomer", "")])
    with world.database.reading_scope() as session:
        why = holds.latest_intent(session, admitted.hold_id, since=START)
    assert why is not None
    assert why.reason == StopReason.UNPAID
    hub.status = 503
    assert (round_of(world, hub).unpaid, world.hold(admitted.hold_id).usage_micro) == (0, 0)


def test_a_server_whose_hold_a_restored_database_lacks_is_stopped_once_it_was_seen_twice(
    world: World, hub: FakeHub
) -> None:
    world.astronomer()
    lost = UUID(int=7)
    hub.runs("astronomer", lost, world.clock())
    # Of whom this database knows nobody: it may be the wrong one.
    hub.runs("stranger", UUID(int=8), world.clock())
    assert (round_of(world, hub).unpaid, hub.stops) == (0, [])
    assert (round_of(world, hub).unpaid, hub.stops) == (1, [("astronomer", "")])


def test_what_runs_without_the_hubs_knowledge_is_ended_and_told(world: World, hub: FakeHub) -> None:
    hub.strays = [UUID(int=9)]
    assert round_of(world, hub).strays == [UUID(int=9)]
    with world.database.reading_scope() as session:
        tick = meter.last_tick(session)
    assert tick is not None
    assert tick.facts["strays"] == [str(UUID(int=9))]


def test_the_name_s_next_server_is_not_stopped_for_the_one_before(world: World, hub: FakeHub) -> None:
    world.astronomer()
    admitted = world.launch()
    world.clock.forward(minutes=1)
    round_of(world, hub)
    hub.runs("astronomer", admitted.hold_id, world.clock())
    world.clock.forward(minutes=1)
    with hub.client() as client:
        seen = client.active_servers()
        following = world.launch()
        hub.runs("astronomer", following.hold_id, world.clock())
        with mock.patch.object(client, "active_servers", return_value=seen):
            result = run_round(world.database, client, terms=TERMS, clock=world.clock)
    assert (len(result.unaccounted), result.unpaid, hub.stops) == (1, 0, [])


def test_a_hold_whose_server_never_appeared_is_given_back_after_its_patience(
    world: World, hub: FakeHub
) -> None:
    world.astronomer()
    admitted = world.launch()
    world.clock.forward(seconds=20)
    assert round_of(world, hub).ended == 0
    world.clock.forward(seconds=20)
    assert round_of(world, hub).ended == 1
    hold = world.hold(admitted.hold_id)
    assert (hold.state, hold.stop_reason, hold.posted_micro) == (
        HoldState.SETTLED, StopReason.NEVER_STARTED, 0,
    )  # fmt: skip


def test_a_slow_start_keeps_its_hold(world: World, hub: FakeHub) -> None:
    world.astronomer()
    admitted = world.launch()
    hub.starts("astronomer")
    world.clock.forward(minutes=15)
    assert round_of(world, hub).ended == 0
    assert world.hold(admitted.hold_id).state == HoldState.PLACED


def test_another_process_under_the_same_name_ends_the_earlier_hold(world: World, hub: FakeHub) -> None:
    hold_id = running(world, hub)
    round_of(world, hub)
    hub.runs("astronomer", UUID(int=7), START)
    world.clock.forward(minutes=10)
    assert round_of(world, hub).ended == 1
    assert world.hold(hold_id).state == HoldState.SETTLED


def test_a_server_past_its_planned_end_is_stopped_with_that_reason(world: World, hub: FakeHub) -> None:
    hold_id = running(world, hub, hours=1)
    world.clock.forward(minutes=69)
    assert round_of(world, hub).overrun == 0
    world.clock.forward(minutes=2)
    assert round_of(world, hub).overrun == 1
    assert hub.stops == [("astronomer", "")]
    world.stopped(hold_id, stopped_at=world.clock(), alive_at_stop=True)
    assert world.hold(hold_id).stop_reason == StopReason.PLANNED_HOURS


def test_a_round_may_be_repeated_to_no_effect(world: World, hub: FakeHub) -> None:
    hold_id = running(world, hub)
    world.clock.forward(hours=1)
    for _ in range(3):
        round_of(world, hub)
    assert world.hold(hold_id).posted_micro == 125_000


def test_of_two_replicas_one_meters_each_interval(world: World, hub: FakeHub) -> None:
    with hub.client() as client:
        first, second = (
            MeterLoop(world.database, client, terms=TERMS, policy=world.policy, clock=world.clock)
            for _ in range(2)
        )
        turns = []
        for _ in range(6):
            turns.append((first.turn(), second.turn()))
            world.clock.forward(seconds=30)
    assert turns == [(True, False), (False, False)] * 3


def test_a_lease_is_taken_over_within_an_interval_when_its_holder_dies(world: World, hub: FakeHub) -> None:
    with hub.client() as client:
        first, second = (
            MeterLoop(world.database, client, terms=TERMS, policy=world.policy, clock=world.clock)
            for _ in range(2)
        )
        assert first.turn()
        world.clock.forward(seconds=48)
        assert second.turn()


def test_the_thread_outlives_a_round_that_fails_and_ends_when_told(
    world: World, hub: FakeHub, caplog: pytest.LogCaptureFixture
) -> None:
    calls = []

    def clock() -> object:
        calls.append(None)
        if len(calls) == 1:
            raise RuntimeError("the database restarts")
        return world.clock()

    quick = type(TERMS)(timedelta(seconds=0.2), TERMS.posting_interval, TERMS.start_timeout)
    with hub.client() as client:
        loop = MeterLoop(world.database, client, terms=quick, policy=world.policy, clock=clock)  # type: ignore[arg-type]
        loop.start()
        for _ in range(200):
            if len(calls) > 3:
                break
            loop._ending.wait(0.05)
        loop.stop()
    assert "a round of the meter failed" in caplog.text
    with world.database.reading_scope() as session:
        assert meter.last_tick(session) is not None
