"""Dask clusters on an account: admitted for their largest, charged by living workers, swept at the end."""

from dataclasses import replace
from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest
from tests.support.allocator import GRACE_MINUTES, TERMS, FakeHub, World

from nexus_allocator.domain.clusters import ClusterRates, ClusterShape
from nexus_allocator.domain.errors import DaskLimit, LaunchesHeld, PoolBrake, QuotaExceeded, UnknownAccount
from nexus_allocator.domain.policy import GIB
from nexus_allocator.domain.states import HoldState, StopReason
from nexus_allocator.services import clusters, enforcement, maintenance, pool
from nexus_allocator.services.audit import audit
from nexus_allocator.services.clusters import ClusterReport, ClusterState
from nexus_allocator.services.metering import run_round

# A scheduler of one core and 2 GiB, and four workers of two cores and 4 GiB.
SHAPE = ClusterShape(4, 2, 4 * GIB, 1, 2 * GIB)
SCHEDULER_MICRO, WORKER_MICRO = 62_500, 125_000
WHOLE_MICRO = SCHEDULER_MICRO + 4 * WORKER_MICRO


def team(world: World) -> None:
    world.astronomer()
    world.team("survey", "astronomer")


def launch(world: World, **changes: Any) -> clusters.ClusterAdmission:
    wish = clusters.ClusterLaunch("astronomer", "survey", 1.0, SHAPE)
    with world.database.session_scope() as session:
        return clusters.admit(
            session,
            replace(wish, **changes),
            policy=world.policy,
            grace_minutes=GRACE_MINUTES,
            now=world.clock(),
        )


def report(world: World, *reports: ClusterReport) -> list[UUID]:
    return clusters.report(world.database, reports, terms=TERMS, now=world.clock())


def live(hold_id: UUID, workers: int, state: ClusterState = ClusterState.RUNNING) -> ClusterReport:
    return ClusterReport(hold_id, "c1", state, workers)


def test_the_hold_is_for_the_cluster_at_its_largest(world: World) -> None:
    team(world)
    rates = ClusterRates.of(SHAPE, world.policy.rate_card)
    assert (rates.scheduler_micro, rates.worker_micro) == (SCHEDULER_MICRO, WORKER_MICRO)
    admitted = launch(world)
    assert admitted.amount_micro == -(-WHOLE_MICRO * 70 // 60)
    assert world.figures("survey").held == admitted.amount_micro
    assert admitted.until == world.clock() + timedelta(minutes=70)


def test_workers_are_charged_while_they_were_seen_at_both_ends_of_an_interval(world: World) -> None:
    team(world)
    hold_id = launch(world).hold_id
    assert report(world, live(hold_id, 0)) == []
    charged = 0
    for workers, seen_by_both in ((4, 0), (4, 4), (1, 1), (9, 1), (4, 4)):
        world.clock.forward(minutes=6)
        report(world, live(hold_id, workers))
        charged += (SCHEDULER_MICRO + seen_by_both * WORKER_MICRO) // 10
        assert world.hold(hold_id).usage_micro == pytest.approx(charged, abs=5), "the reading rounds down"
    report(world, live(hold_id, 0, ClusterState.STOPPED))
    hold = world.hold(hold_id)
    assert (hold.state, hold.stop_reason) == (HoldState.SETTLED, StopReason.OWN_HAND)
    assert world.figures("survey").balance == 5_000_000_000 - hold.usage_micro
    with world.database.reading_scope() as session:
        assert audit(session, meter_silence=timedelta(days=1), now=world.clock()).drifts == []


def test_what_outlives_its_hold_is_stopped_and_charged_no_further_than_seen(world: World) -> None:
    team(world)
    hold_id = launch(world).hold_id
    report(world, live(hold_id, 4))
    world.clock.forward(minutes=70)
    assert report(world, live(hold_id, 4)) == [hold_id]
    world.clock.forward(seconds=15)
    assert report(world, live(hold_id, 4)) == [hold_id], "until it is gone"
    report(world, live(hold_id, 0, ClusterState.STOPPED))
    hold = world.hold(hold_id)
    assert (hold.stop_reason, hold.stop_actor) == (StopReason.PLANNED_HOURS, "nexus")
    assert 0 <= hold.usage_micro - hold.amount_micro <= WHOLE_MICRO * 15 // 3600 + 1
    assert report(world, live(hold_id, 4)) == [hold_id], "whatever runs without an open hold"
    assert report(world, live(uuid4(), 1)) != []


def test_what_is_missing_from_the_whole_list_has_ended_and_what_never_came_gives_its_hold_back(
    world: World,
) -> None:
    team(world)
    ran, never = launch(world).hold_id, launch(world).hold_id
    report(world, live(ran, 1))
    world.clock.forward(seconds=20)
    report(world)
    assert world.hold(ran).stop_reason == StopReason.UNKNOWN
    assert world.hold(never).state == HoldState.PLACED, "it may still be on its way"
    world.clock.forward(seconds=20)
    report(world)
    assert (world.hold(never).stop_reason, world.hold(never).usage_micro) == (StopReason.NEVER_STARTED, 0)
    assert world.figures("survey").held == 0


def test_a_tier_s_dask_cores_and_the_balance_bound_it(world: World) -> None:
    team(world)
    with pytest.raises(DaskLimit) as refusal:
        launch(world, account="astronomer")
    assert refusal.value.facts == {"account": "astronomer", "limit": 0, "live": 0, "wanted": 8}
    # 502 of the team's 512 cores.
    launch(world, shape=replace(SHAPE, workers=251))
    with pytest.raises(DaskLimit):
        launch(world, shape=replace(SHAPE, workers=6))
    launch(world)
    with pytest.raises(UnknownAccount):
        launch(world, account="admin")
    world.correct("survey", -4_990)
    with pytest.raises(QuotaExceeded):
        launch(world, shape=replace(SHAPE, workers=1), hours=24.0)


def test_a_cluster_is_no_server_neither_for_the_hub_nor_for_the_limit_of_servers(
    world: World, hub: FakeHub
) -> None:
    team(world)
    tiers = dict(world.policy.tiers)
    world.policy = replace(
        world.policy, tiers={slug: replace(tier, live_servers=1) for slug, tier in tiers.items()}
    )
    hold_id = launch(world).hold_id
    report(world, live(hold_id, 1))
    world.launch(account="survey", size="small", hours=1)
    world.clock.forward(minutes=80)
    with hub.client() as client:
        run_round(world.database, client, terms=TERMS, clock=world.clock)
    assert world.hold(hold_id).state == HoldState.RUNNING, "the hub knows nothing of it"
    assert hub.stops == []


def test_a_used_up_account_s_clusters_are_stopped_by_their_gateway(world: World, hub: FakeHub) -> None:
    team(world)
    hold_id = launch(world, hours=24.0).hold_id
    report(world, live(hold_id, 4))
    world.correct("survey", -5_000)
    terms = world.policy.enforcement
    with hub.client() as client:
        for _ in range(2):
            enforcement.enforce(world.database, client, terms=terms, now=world.clock())
            world.clock.forward(minutes=10)
            enforcement.enforce(world.database, client, terms=terms, now=world.clock())
    assert hub.stops == []
    assert report(world, live(hold_id, 4)) == [hold_id]
    report(world, live(hold_id, 0, ClusterState.STOPPED))
    assert world.hold(hold_id).stop_reason == StopReason.QUOTA


def test_large_clusters_wait_for_the_brake_as_large_servers_do(world: World) -> None:
    team(world)
    world.policy = replace(world.policy, pool=replace(world.policy.pool, credits_micro=1))
    hold = world.launch(account="survey", size="small", hours=1)
    started = world.started(hold.hold_id)
    world.clock.forward(minutes=30)
    world.seen(hold.hold_id, started)
    pool.measure(world.database, world.policy.pool, now=world.clock())
    with pytest.raises(PoolBrake):
        launch(world)
    # Below a Medium server's 0.3 credits an hour.
    launch(world, shape=replace(SHAPE, workers=1))


def test_no_cluster_is_admitted_while_launches_are_held_for_maintenance(world: World) -> None:
    team(world)
    with world.database.session_scope() as session:
        maintenance.hold(session, message="The disks move.", until=None, actor="ops", now=world.clock())
    with pytest.raises(LaunchesHeld, match=r"The disks move\."):
        launch(world)
    with world.database.session_scope() as session:
        maintenance.lift(session, actor="ops", now=world.clock())
    launch(world)
