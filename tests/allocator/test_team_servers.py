"""A team's own server: who starts it, who pays, what it may see, and when it has to end."""

import random
from datetime import timedelta

import pytest
from tests.support.allocator import TERMS, FakeHub, World

from nexus_allocator.domain.errors import AllocationExpired, TeamPays, UnknownAccount, UnknownPerson
from nexus_allocator.domain.outbox import Channel
from nexus_allocator.domain.states import HoldState, StopReason
from nexus_allocator.services import lab_reading, launches, stops, team_servers
from nexus_allocator.services.delivery import deliver
from nexus_allocator.services.hub_calls import HubCarrier
from nexus_allocator.services.metering import run_round


@pytest.fixture
def team(world: World) -> World:
    """Of `survey`, which ann leads and ben is in; zoe is not."""
    for name in ("ann", "ben", "zoe"):
        world.astronomer(name)
    world.team("survey", "ann", "ben")
    return world


def delivered(world: World, hub: FakeHub) -> list[tuple[str, str]]:
    with hub.client() as client:
        carriers = {Channel.HUB: HubCarrier(client)}
        deliver(world.database, carriers, clock=world.clock, rng=random.Random(1))  # noqa: S311 - spreads attempts
    return hub.stops


def test_it_runs_as_the_team_sees_the_team_s_folder_alone_and_is_paid_by_the_team(team: World) -> None:
    own = team.figures("ben")
    before = team.figures("survey")
    admitted = team.launch("survey", started_by="ben")
    assert (admitted.team, admitted.account, admitted.teams) == ("survey", "survey", ["survey"])
    assert (admitted.home, admitted.scratch, admitted.umask) == ("", [], "0007")
    assert admitted.uid == admitted.gid == admitted.supplemental_gids[0] >= 40_000
    assert set(admitted.volumes) <= {"teams/survey"}
    assert team.figures("ben") == own
    assert team.figures("survey").held - before.held == team.hold(admitted.hold_id).amount_micro


def test_who_is_not_in_the_team_may_not_start_it_and_nobody_else_pays(team: World) -> None:
    with pytest.raises(UnknownAccount):
        team.launch("survey", started_by="zoe")
    with pytest.raises(TeamPays):
        team.launch("survey", started_by="ben", account="ben")
    with pytest.raises(UnknownPerson):
        team.launch("no-team", started_by="ben")


def test_for_one_that_a_service_starts_the_lead_answers(team: World) -> None:
    hold = team.hold(team.launch("survey").hold_id)
    assert hold.person_id == team.hold(team.launch("ann").hold_id).person_id


def test_a_team_has_one_whoever_starts_it(team: World) -> None:
    first = team.launch("survey", started_by="ann")
    team.launch("survey", started_by="ben")
    assert (team.hold(first.hold_id).state, team.hold(first.hold_id).stop_reason) == (
        HoldState.SETTLED,
        StopReason.REPLACED,
    )


def test_it_ends_with_the_team_s_allocation(team: World) -> None:
    team.ends("survey", team.clock() + timedelta(hours=1))
    team.clock.forward(hours=2)
    with pytest.raises(AllocationExpired):
        team.launch("survey", started_by="ben")


def test_the_meter_finds_it_under_the_team_s_account_of_the_hub(team: World, hub: FakeHub) -> None:
    admitted = team.launch("survey", started_by="ben", hours=4)
    hub.runs("survey", admitted.hold_id, team.clock())
    with hub.client() as client:
        assert run_round(team.database, client, terms=TERMS, clock=team.clock).witnessed == 1
        team.clock.forward(hours=1)
        assert run_round(team.database, client, terms=TERMS, clock=team.clock).ended == 0
        hub.servers.clear()
        assert run_round(team.database, client, terms=TERMS, clock=team.clock).ended == 1
    hold = team.hold(admitted.hold_id)
    assert (hold.state, hold.posted_micro) == (HoldState.SETTLED, hold.rate_micro_per_hour)


def test_the_culler_names_it_as_the_hub_does_and_the_hub_is_asked_so(team: World, hub: FakeHub) -> None:
    admitted = team.launch("survey", started_by="ben")
    hub.runs("survey", admitted.hold_id, team.started(admitted.hold_id))
    with team.database.session_scope() as session:
        assert stops.kept_alive_until(session, hub_name="survey", server_name="", now=team.clock()) is None
        stops.stop(
            session, hub_name="survey", server_name="", reason=StopReason.IDLE, actor="idle-culler",
            now=team.clock(),
        )  # fmt: skip
    assert delivered(team, hub) == [("survey", "")]


def test_when_somebody_leaves_it_ends_within_ten_minutes(team: World, hub: FakeHub) -> None:
    admitted = team.launch("survey", started_by="ann")
    hub.runs("survey", admitted.hold_id, team.started(admitted.hold_id))
    team.leaves("ben", "survey")
    assert delivered(team, hub) == []
    team.clock.forward(minutes=10)
    assert delivered(team, hub) == [("survey", "")]
    team.stopped(admitted.hold_id, stopped_at=team.clock(), alive_at_stop=True)
    assert team.hold(admitted.hold_id).stop_reason == StopReason.MEMBER_GONE


def test_when_who_started_it_leaves_it_ends_at_once(team: World, hub: FakeHub) -> None:
    admitted = team.launch("survey", started_by="ben")
    hub.runs("survey", admitted.hold_id, team.started(admitted.hold_id))
    team.leaves("ben", "survey")
    assert delivered(team, hub) == [("survey", "")]


def test_who_stops_it_from_inside_is_somebody_of_the_team_and_not_who_started_it(
    team: World, hub: FakeHub
) -> None:
    admitted = team.launch("survey", started_by="ben")
    hub.runs("survey", admitted.hold_id, team.started(admitted.hold_id))
    with team.database.session_scope() as session:
        lab_reading.stop(session, admitted.hold_id, now=team.clock())
    assert delivered(team, hub) == [("survey", "")]
    team.stopped(admitted.hold_id, stopped_at=team.clock(), alive_at_stop=True)
    hold = team.hold(admitted.hold_id)
    assert (hold.stop_reason, hold.stop_actor) == (StopReason.TEAM_HAND, "survey")
    with team.database.reading_scope() as session:
        assert launches.last_stop(session, hold.person_id) is None, "it was no server of theirs"


def test_a_member_sees_who_started_it_and_others_are_told_of_no_such_account(team: World) -> None:
    with team.database.reading_scope() as session:
        assert team_servers.server_of(session, team="survey", hub_name="ann").size is None
    team.launch("survey", started_by="ben")
    with team.database.reading_scope() as session:
        found = team_servers.server_of(session, team="survey", hub_name="ann")
        assert (found.label, found.started_by, found.size) == ("Survey", "Ben", "small")
        with pytest.raises(UnknownAccount):
            team_servers.server_of(session, team="survey", hub_name="zoe")
