"""The life of a hold, and what reaches the ledger."""

from datetime import timedelta
from uuid import uuid4

import pytest
from tests.support.allocator import START, World

from nexus_allocator.domain.credits import MICRO
from nexus_allocator.domain.errors import NotAllowed, UnknownHold, UnknownServer
from nexus_allocator.domain.states import HoldState, StopReason
from nexus_allocator.services import stops

RATE = 125_000


def test_a_stop_charges_the_process_s_own_lifetime_and_gives_the_rest_back(world: World) -> None:
    world.astronomer()
    admitted = world.launch()
    world.started(admitted.hold_id)
    world.clock.forward(minutes=30)
    world.stopped(admitted.hold_id, stopped_at=world.clock(), alive_at_stop=True)
    figures = world.figures("astronomer")
    assert (figures.balance, figures.held) == (25 * MICRO - RATE // 2, 0)
    assert world.hold(admitted.hold_id).stop_reason == StopReason.OWN_HAND


def test_settling_again_changes_nothing(world: World) -> None:
    world.astronomer()
    admitted = world.launch()
    world.started(admitted.hold_id)
    world.clock.forward(minutes=30)
    for _ in range(3):
        world.stopped(admitted.hold_id, stopped_at=START + timedelta(minutes=30), alive_at_stop=True)
        world.clock.forward(minutes=5)
    assert world.figures("astronomer").balance == 25 * MICRO - RATE // 2


def test_a_hold_whose_server_never_started_costs_nothing(world: World) -> None:
    world.astronomer()
    admitted = world.launch()
    world.clock.forward(minutes=5)
    world.stopped(admitted.hold_id, stopped_at=world.clock(), alive_at_stop=False)
    hold = world.hold(admitted.hold_id)
    assert (hold.state, hold.posted_micro, hold.stop_reason) == (
        HoldState.SETTLED, 0, StopReason.NEVER_STARTED,
    )  # fmt: skip
    assert world.figures("astronomer").available == 25 * MICRO


def test_a_stop_tells_of_a_start_whose_news_was_lost(world: World) -> None:
    world.astronomer()
    admitted = world.launch()
    world.clock.forward(hours=1)
    world.stopped(
        admitted.hold_id, process_started_at=START + timedelta(minutes=30), stopped_at=world.clock(),
        alive_at_stop=True,
    )  # fmt: skip
    hold = world.hold(admitted.hold_id)
    assert (hold.posted_micro, hold.stop_reason) == (RATE // 2, StopReason.OWN_HAND)


def test_a_stop_tells_of_a_server_that_was_thought_never_to_have_started(world: World) -> None:
    world.astronomer()
    admitted = world.launch()
    world.clock.forward(hours=1)
    world.stopped(admitted.hold_id)
    assert world.hold(admitted.hold_id).stop_reason == StopReason.NEVER_STARTED
    for _ in range(2):
        world.stopped(
            admitted.hold_id, process_started_at=START, stopped_at=START + timedelta(minutes=30),
            exit_signal=9,
        )  # fmt: skip
    hold = world.hold(admitted.hold_id)
    assert (hold.posted_micro, hold.stop_reason) == (RATE // 2, StopReason.SIGNAL)


def test_an_end_nobody_saw_charges_only_witnessed_time(world: World) -> None:
    world.astronomer()
    admitted = world.launch()
    began = world.started(admitted.hold_id)
    world.clock.forward(minutes=12)
    world.seen(admitted.hold_id, began)
    world.clock.forward(hours=9)
    world.stopped(admitted.hold_id)
    assert world.figures("astronomer").balance == 25 * MICRO - RATE // 5
    assert world.hold(admitted.hold_id).stop_reason == StopReason.UNKNOWN


def test_evidence_that_comes_late_completes_time_and_reason(world: World) -> None:
    world.astronomer()
    admitted = world.launch()
    began = world.started(admitted.hold_id)
    world.clock.forward(minutes=12)
    world.seen(admitted.hold_id, began)
    world.clock.forward(minutes=3)
    world.stopped(admitted.hold_id)
    world.stopped(admitted.hold_id, stopped_at=START + timedelta(minutes=15), exit_signal=9)
    hold = world.hold(admitted.hold_id)
    assert (hold.posted_micro, hold.stop_reason, hold.exit_signal) == (RATE // 4, StopReason.SIGNAL, 9)


def test_usage_is_posted_at_most_hourly_and_the_reading_lives_on_the_hold(world: World) -> None:
    world.astronomer()
    admitted = world.launch(hours=4)
    began = world.started(admitted.hold_id)
    posted = []
    for _ in range(150):
        world.clock.forward(minutes=1)
        world.seen(admitted.hold_id, began)
        posted.append(world.hold(admitted.hold_id).posted_micro)
    assert sorted(set(posted)) == [0, RATE, 2 * RATE]
    figures = world.figures("astronomer")
    assert figures.unposted == RATE // 2
    assert figures.available == 25 * MICRO - world.hold(admitted.hold_id).amount_micro


def test_a_server_that_ended_before_it_was_last_thought_alive_gets_credits_back(world: World) -> None:
    world.astronomer()
    admitted = world.launch()
    began = world.started(admitted.hold_id)
    world.clock.forward(hours=1)
    world.seen(admitted.hold_id, began)
    world.stopped(admitted.hold_id, stopped_at=START + timedelta(minutes=30), exit_signal=11)
    assert world.figures("astronomer").balance == 25 * MICRO - RATE // 2


def test_an_overrun_keeps_its_whole_usage_from_being_spent_again(world: World) -> None:
    world.astronomer()
    admitted = world.launch(hours=0.25)
    began = world.started(admitted.hold_id)
    world.clock.forward(hours=3)
    world.seen(admitted.hold_id, began)
    assert world.figures("astronomer").available == 25 * MICRO - 3 * RATE


def test_news_of_a_settled_hold_starts_nothing_again(world: World) -> None:
    world.astronomer()
    admitted = world.launch()
    world.stopped(admitted.hold_id)
    world.started(admitted.hold_id)
    world.seen(admitted.hold_id, START)
    assert world.hold(admitted.hold_id).state == HoldState.SETTLED


def test_an_unknown_hold_is_refused(world: World) -> None:
    with pytest.raises(UnknownHold):
        world.stopped(uuid4())


def intend(world: World, reason: str, actor: str, note: str | None = None) -> None:
    with world.database.session_scope() as session:
        stops.record_intent(
            session, hub_name="astronomer", server_name="", reason=reason, actor=actor, note=note,
            now=world.clock(),
        )  # fmt: skip


def test_an_announced_stop_keeps_reason_actor_and_note(world: World) -> None:
    world.astronomer()
    admitted = world.launch()
    world.started(admitted.hold_id)
    world.clock.forward(minutes=30)
    intend(world, StopReason.IDLE, "culler")
    world.clock.forward(seconds=1)
    intend(world, StopReason.ADMINISTRATOR, "admin", "Maintenance at noon")
    world.stopped(admitted.hold_id, stopped_at=world.clock(), alive_at_stop=True)
    hold = world.hold(admitted.hold_id)
    assert (hold.stop_reason, hold.stop_actor) == (StopReason.ADMINISTRATOR, "admin")
    assert hold.stop_note == "Maintenance at noon"


def test_an_old_intent_does_not_explain_a_later_stop(world: World) -> None:
    world.astronomer()
    admitted = world.launch()
    world.started(admitted.hold_id)
    intend(world, StopReason.IDLE, "culler")
    world.clock.forward(hours=1)
    world.stopped(admitted.hold_id, stopped_at=world.clock(), alive_at_stop=False, exit_signal=9)
    assert world.hold(admitted.hold_id).stop_reason == StopReason.SIGNAL


def test_a_person_stops_only_their_own_server_and_an_administrator_any(world: World) -> None:
    world.astronomer()
    stranger = world.signed_in("stranger")
    administrator = world.administrator()
    world.launch()
    with pytest.raises(UnknownServer), world.database.session_scope() as session:
        stops.stop_own(session, hub_name="stranger", owner="astronomer", server_name="", now=START)
    with pytest.raises(NotAllowed), world.database.session_scope() as session:
        stops.stop_as_administrator(
            session, administrator_id=stranger, hub_name="astronomer", server_name="", note=None, now=START
        )
    with world.database.session_scope() as session:
        found = stops.stop_as_administrator(
            session, administrator_id=administrator, hub_name="astronomer", server_name="", note="because",
            now=START,
        )  # fmt: skip
    assert found == stops.ToStop("astronomer", "")


def test_keep_alive_lasts_at_most_until_the_planned_end(world: World) -> None:
    world.astronomer()
    admitted = world.launch(hours=1)
    with world.database.session_scope() as session:
        until = stops.keep_alive(
            session, hub_name="astronomer", server_name="", until=START + timedelta(days=3), now=START
        )
    assert until == admitted.until
    with world.database.reading_scope() as session:
        asked = {"hub_name": "astronomer", "server_name": ""}
        assert stops.kept_alive_until(session, **asked, now=START) == until
        assert stops.kept_alive_until(session, **asked, now=until) is None


def test_news_of_a_start_that_comes_late_or_again_charges_nothing_for_the_time_since(world: World) -> None:
    world.astronomer()
    admitted = world.launch()
    began = world.started(admitted.hold_id)
    world.clock.forward(minutes=40)
    world.started(admitted.hold_id, began)
    assert world.hold(admitted.hold_id).usage_micro == 0
    world.seen(admitted.hold_id, began)
    # Forty minutes of a Small server at 0.125 credits an hour.
    assert world.hold(admitted.hold_id).usage_micro == 83_333
