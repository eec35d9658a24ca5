"""Scratch: taken with its cost known, for days that end, renewed or closed to writing."""

from collections.abc import Iterator
from datetime import timedelta

import pytest
from tests.allocator.test_places import delivered, opens, row
from tests.support.allocator import World
from tests.support.volumes import reachable_folder

from nexus_allocator.clients.files.directory import DirectoryVolume
from nexus_allocator.domain.credits import MICRO
from nexus_allocator.domain.errors import (
    AllocationExpired,
    BadAmount,
    BadDays,
    ScratchUnpaid,
    UnknownAccount,
)
from nexus_allocator.domain.places import Place, PlaceKind
from nexus_allocator.domain.quotas import GB
from nexus_allocator.services import scratch

MINE, OURS = Place(PlaceKind.SCRATCH, "astronomer"), Place(PlaceKind.SCRATCH, "stars")


@pytest.fixture
def volume() -> Iterator[DirectoryVolume]:
    with reachable_folder() as folder:
        root = folder / "volume"
        root.mkdir(mode=0o755)
        volume = DirectoryVolume(root)
        volume.prepare()
        yield volume


def takes(
    world: World, gb: float, days: int, *, account: str = "astronomer", by: str = "astronomer"
) -> scratch.Offer:
    wish = scratch.Wish(account, gb, days)
    with world.database.session_scope() as session:
        return scratch.take(session, wish, hub_name=by, policy=world.policy, now=world.clock())


def turned(world: World) -> int:
    return scratch.turn_all(world.database, policy=world.policy, now=world.clock())


def test_a_scratch_is_made_and_its_lease_is_told_of_and_ends(world: World, volume: DirectoryVolume) -> None:
    opens(world)
    world.astronomer()
    offer = takes(world, 50, 30)
    # 0.08 credits for a GB and 30 days.
    assert offer.cost_micro == 4 * MICRO
    delivered(world, volume)
    assert volume.usage(MINE).limit_bytes == 50 * GB
    assert turned(world) == 0
    world.clock.forward(days=23)
    assert (turned(world), turned(world)) == (1, 0)
    assert "scratch/astronomer ends on 2026-04-01, in 7 days" in world.told("astronomer")[0]
    world.clock.forward(days=6)
    assert (turned(world), turned(world)) == (1, 0)
    world.clock.forward(days=1)
    assert (turned(world), turned(world)) == (1, 0)
    assert "has ended" in world.told("astronomer")[0]
    delivered(world, volume)
    assert volume.usage(MINE).limit_bytes == 0
    world.clock.forward(days=1)
    renewed = takes(world, 40, 10)
    assert renewed.ends_at == world.clock() + timedelta(days=10)
    delivered(world, volume)
    assert volume.usage(MINE).limit_bytes == 40 * GB
    assert row(world, MINE).ended_at is None


def test_a_scratch_has_bounds_in_size_days_and_cost(world: World) -> None:
    world.astronomer()
    for gb, days, refusal in ((0, 1, BadAmount), (51, 1, BadAmount), (1, 0, BadDays), (1, 91, BadDays)):
        with pytest.raises(refusal):
            takes(world, gb, days)
    world.correct("astronomer", -22)
    with pytest.raises(ScratchUnpaid):
        takes(world, 50, 30)
    assert takes(world, 10, 30).cost_micro < 3 * MICRO
    world.ends("astronomer", world.clock())
    with pytest.raises(AllocationExpired):
        takes(world, 1, 1)


def test_a_teams_scratch_is_asked_for_by_who_leads_it(world: World) -> None:
    for name in ("astronomer", "teammate", "stranger"):
        world.astronomer(name)
    world.team("stars", "astronomer", "teammate")
    assert takes(world, 10_000, 10, account="stars").size_bytes == 10_000 * GB
    for name in ("teammate", "stranger"):
        with pytest.raises(UnknownAccount):
            takes(world, 1, 1, account="stars", by=name)
    assert row(world, OURS).ends_at == world.clock() + timedelta(days=10)


def test_a_launch_is_given_the_scratches_that_were_made_and_are_leased(
    world: World, volume: DirectoryVolume
) -> None:
    opens(world)
    for name in ("astronomer", "teammate", "stranger"):
        world.astronomer(name)
    world.team("stars", "astronomer", "teammate")

    def given(hub_name: str) -> list[str]:
        admitted = world.launch(hub_name, account=hub_name)
        world.stopped(admitted.hold_id)
        return admitted.scratch

    takes(world, 10, 1)
    takes(world, 10, 30, account="stars")
    # Ordered, but no folder yet: a pod would make it as root's.
    assert given("astronomer") == []
    delivered(world, volume)
    assert given("astronomer") == ["astronomer", "stars"]
    assert given("teammate") == ["stars"]
    assert given("stranger") == []
    volumes = world.launch("astronomer", account="astronomer").volumes
    assert volumes == dict.fromkeys(
        ["homes/astronomer", "scratch/astronomer", "scratch/stars", "teams/stars"], "main"
    )
    # Whether or not the daily turn has come by.
    world.clock.forward(days=1)
    assert given("astronomer") == ["stars"]
    takes(world, 10, 1)
    assert given("astronomer") == ["astronomer", "stars"]
