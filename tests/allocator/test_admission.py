"""Admission: what is held, what is refused and why."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from tests.support.allocator import START, World

from nexus_allocator.domain.credits import MICRO
from nexus_allocator.domain.errors import (
    AgreementRequired,
    AllocationExpired,
    AllocatorError,
    BadHours,
    GpuLimit,
    QuotaExceeded,
    ServerLimit,
    SizeNotAllowed,
    UnknownImage,
    UnknownSize,
)
from nexus_allocator.domain.policy import Size
from nexus_allocator.domain.states import HoldState, StopReason, TierSlug


def test_a_launch_sets_aside_its_hours_and_the_grace(world: World) -> None:
    world.astronomer()
    admitted = world.launch(hours=2)
    # 0.125 credits an hour for 2 h 10 min, rounded up to a whole micro-credit.
    assert world.hold(admitted.hold_id).amount_micro == 270_834
    assert admitted.until == START + timedelta(hours=2, minutes=10)
    assert world.figures("astronomer").available == 25 * MICRO - 270_834


def test_nothing_starts_before_the_agreement(world: World) -> None:
    world.signed_in("astronomer")
    with pytest.raises(AgreementRequired):
        world.launch()


@pytest.mark.parametrize(
    ("changes", "refusal"),
    [
        ({"size": "huge"}, UnknownSize),
        ({"size": "medium"}, SizeNotAllowed),
        ({"image": "evil"}, UnknownImage),
        ({"hours": 0}, BadHours),
        ({"hours": float("nan")}, BadHours),
    ],
)
def test_crafted_options_are_refused_and_hold_nothing(
    world: World, changes: dict[str, Any], refusal: type[AllocatorError]
) -> None:
    world.astronomer()
    with pytest.raises(refusal):
        world.launch(**changes)
    assert world.figures("astronomer").held == 0


def test_a_launch_that_does_not_fit_is_refused_with_figures_and_an_offer(world: World) -> None:
    world.astronomer()
    world.correct("astronomer", -24.7)
    with pytest.raises(QuotaExceeded) as caught:
        world.launch(hours=24)
    assert caught.value.facts == {
        "requested_micro": 3_020_834,
        "available_micro": 300_000,
        "fits": {"size": "small", "label": "Small", "hours": 2.0},
    }


def test_an_entry_account_runs_one_server(world: World) -> None:
    world.astronomer()
    world.launch()
    with pytest.raises(ServerLimit):
        world.launch(server_name="second")


def test_a_tier_s_gpus_are_not_used_twice_at_once(world: World) -> None:
    gpu = Size("gpu", "GPU", cpu=8, memory_gib=32, gpu=1)
    research = replace(world.policy.tiers[TierSlug.ENTRY], sizes=("small", "gpu"), gpus=1, live_servers=3)
    tiers = dict(world.policy.tiers) | {TierSlug.ENTRY: research}
    world.policy = replace(world.policy, sizes=dict(world.policy.sizes) | {"gpu": gpu}, tiers=tiers)
    world.astronomer()
    world.launch(size="gpu", hours=1)
    with pytest.raises(GpuLimit) as caught:
        world.launch(size="gpu", hours=1, server_name="second")
    assert caught.value.facts == {"account": "astronomer", "limit": 1, "live": 1, "wanted": 1}
    assert world.launch(server_name="without", hours=1).size.gpu == 0


def test_an_ended_allocation_starts_nothing(world: World) -> None:
    world.astronomer()
    world.team("survey", "astronomer")
    world.clock.forward(days=366)
    with pytest.raises(AllocationExpired):
        world.launch(account="survey")


def test_a_placed_hold_is_replaced_by_the_same_server_s_next_launch(world: World) -> None:
    world.astronomer()
    first = world.launch(hours=4)
    second = world.launch(hours=1)
    old = world.hold(first.hold_id)
    assert (old.state, old.posted_micro, old.stop_reason) == (HoldState.SETTLED, 0, StopReason.REPLACED)
    assert world.figures("astronomer").held == world.hold(second.hold_id).amount_micro


def test_a_launch_over_a_hold_thought_running_settles_what_was_witnessed(world: World) -> None:
    world.astronomer()
    first = world.launch()
    began = world.started(first.hold_id)
    world.clock.forward(hours=1)
    world.seen(first.hold_id, began)
    world.clock.forward(hours=5)
    world.launch()
    assert world.hold(first.hold_id).posted_micro == 125_000
    assert world.figures("astronomer").balance == 25 * MICRO - 125_000


def test_a_refused_relaunch_leaves_the_earlier_hold_as_it_was(world: World) -> None:
    world.astronomer()
    first = world.launch()
    with pytest.raises(SizeNotAllowed):
        world.launch(size="large")
    assert world.hold(first.hold_id).state == HoldState.PLACED


def test_a_new_rate_card_does_not_reprice_a_running_server(world: World) -> None:
    world.astronomer()
    admitted = world.launch(hours=2)
    began = world.started(admitted.hold_id)
    card = world.policy.rate_card
    world.policy = replace(
        world.policy, rate_card=replace(card, version=2, vcpu_hour_micro=10 * card.vcpu_hour_micro)
    )
    world.clock.forward(hours=1)
    world.seen(admitted.hold_id, began)
    assert world.hold(admitted.hold_id).usage_micro == 125_000
    world.stopped(admitted.hold_id, stopped_at=world.clock(), alive_at_stop=True)
    assert world.launch(hours=2).rate_micro_per_hour == 1_025_000


def test_of_launches_in_the_same_instant_only_what_fits_is_admitted(world: World) -> None:
    """Twenty at once, where the credits of a Special team pay for seven."""
    world.astronomer()
    world.team("burst", "astronomer", tier=TierSlug.SPECIAL)
    world.grant("burst", 7 * 0.270834)

    def attempt(number: int) -> bool:
        try:
            world.launch(account="burst", server_name=f"s{number}")
        except QuotaExceeded:
            return False
        return True

    with ThreadPoolExecutor(8) as pool:
        admitted = list(pool.map(attempt, range(20)))
    assert admitted.count(True) == 7
    assert world.figures("burst").available == 0


def test_the_same_server_launched_twice_at_once_leaves_one_hold(world: World) -> None:
    world.astronomer()
    with ThreadPoolExecutor(6) as pool:
        holds = list(pool.map(lambda _: world.launch().hold_id, range(6)))
    states = [world.hold(hold_id).state for hold_id in holds]
    assert states.count(HoldState.PLACED) == 1
    assert world.figures("astronomer").held == 270_834
