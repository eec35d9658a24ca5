"""Places: opened with their account, made and limited on a volume by the outbox, sized by the tier."""

import os
import random
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from tests.support.allocator import World
from tests.support.volumes import reachable_folder

from nexus_allocator.clients.files.directory import DirectoryVolume
from nexus_allocator.clients.files.volumes import Volume
from nexus_allocator.domain.errors import BadAmount, BadReason, UnknownPlace, UnknownVolume
from nexus_allocator.domain.outbox import Channel
from nexus_allocator.domain.places import QUARANTINE, Place, PlaceKind
from nexus_allocator.domain.quotas import GB, Filling, Limits
from nexus_allocator.domain.states import TierSlug
from nexus_allocator.services import place_calls, places
from nexus_allocator.services.delivery import Delivered, deliver
from nexus_allocator.store import places as rows
from nexus_allocator.store.accounts import by_slug, lock
from nexus_allocator.store.places_tables import PlaceRow

HOME, STARS = Place(PlaceKind.HOME, "astronomer"), Place(PlaceKind.TEAM, "stars")


@pytest.fixture
def volume() -> Iterator[DirectoryVolume]:
    with reachable_folder() as folder:
        root = folder / "volume"
        root.mkdir(mode=0o755)
        volume = DirectoryVolume(root)
        volume.prepare()
        yield volume


def opens(
    world: World,
    name: str = "main",
    *,
    most_places: int | None = None,
    driver: str = "directory",
    enforces: bool = False,
) -> None:
    with world.database.session_scope() as session:
        places.open_volume(
            session, name, driver=driver, enforces=enforces, most_places=most_places, now=world.clock()
        )


def delivered(world: World, volume: Volume, name: str = "main") -> Delivered:
    carriers = {Channel.FILES: place_calls.FilesCarrier({name: volume}, world.policy.storage)}
    rng = random.Random(1)  # noqa: S311 - spreads attempts, hides nothing
    return deliver(world.database, carriers, clock=world.clock, rng=rng)


def row(world: World, place: Place = HOME) -> PlaceRow:
    with world.database.reading_scope() as session:
        return places.called(session, place)


def tier(world: World, account: str, slug: TierSlug) -> None:
    """Let the account have another tier, as an award does."""
    with world.database.session_scope() as session:
        found = by_slug(session, account)
        assert found is not None
        lock(session, [found.allocation.id])[found.allocation.id].tier = slug
        places.awarded(session, found, policy=world.policy, now=world.clock())


def sized(world: World, place: Place, gb: float, reason: str = "a long run") -> None:
    with world.database.session_scope() as session:
        places.set_size(
            session, place, round(gb * GB), policy=world.policy, reason=reason, by="operator test",
            now=world.clock(),
        )  # fmt: skip


def settled(world: World) -> int:
    return places.settle_all(world.database, policy=world.policy, now=world.clock())


def test_a_home_and_a_teams_folder_are_made_on_the_volume_once_the_account_is_opened(
    world: World, volume: DirectoryVolume
) -> None:
    opens(world)
    world.astronomer()
    world.team("stars", "astronomer")
    assert delivered(world, volume).sent == 2
    assert (volume.path(HOME) / QUARANTINE).is_dir()
    assert volume.usage(HOME).limit_bytes == row(world).limit_bytes == row(world).applied_bytes == 10 * GB
    assert volume.usage(STARS).limit_bytes == 1000 * GB
    assert row(world).made_at == world.clock()
    assert delivered(world, volume) == Delivered()
    if os.geteuid() == 0:
        with world.database.reading_scope() as session:
            home, team = (rows.called(session, place) for place in (HOME, STARS))
            assert home is not None
            assert team is not None
            owners = [place_calls.owner_of(session, each) for each in (home, team)]
        for place, owner in zip((HOME, STARS), owners, strict=True):
            status = volume.path(place).stat()
            assert (status.st_uid, status.st_gid) == (owner.uid, owner.gid)
            assert status.st_mode & 0o7777 == owner.mode


def test_a_place_waits_for_a_volume_and_comes_onto_the_first_that_has_room(
    world: World, volume: DirectoryVolume
) -> None:
    for name in ("anna", "ben", "carl"):
        world.astronomer(name)
    assert delivered(world, volume) == Delivered()
    opens(world, "first", most_places=2)
    world.clock.forward(seconds=1)
    opens(world, "second", most_places=2)
    assert settled(world) == 3
    with world.database.reading_scope() as session:
        assert sorted(each.volume or "" for each in rows.every(session)) == ["first", "first", "second"]
    # A deliverer asks for what is mounted where it runs; the rest waits for another's.
    done = delivered(world, volume, "first")
    assert (done.sent, done.failed) == (2, 1)
    with world.database.session_scope() as session:
        places.close_volume(session, "second", by="operator test", now=world.clock())
        with pytest.raises(UnknownVolume):
            places.close_volume(session, "third", by="operator test", now=world.clock())
    world.astronomer("dora")
    assert row(world, Place(PlaceKind.HOME, "dora")).volume is None


def test_an_award_changes_the_size_and_a_size_set_by_hand_lasts_until_then(
    world: World, volume: DirectoryVolume
) -> None:
    opens(world)
    world.astronomer()
    delivered(world, volume)
    world.clock.forward(days=1)
    sized(world, HOME, 40)
    delivered(world, volume)
    assert volume.usage(HOME).limit_bytes == 40 * GB
    assert settled(world) == 0
    world.clock.forward(days=1)
    tier(world, "astronomer", TierSlug.RESEARCH)
    delivered(world, volume)
    assert volume.usage(HOME).limit_bytes == 100 * GB
    for size, reason, refusal in ((0, "why", BadAmount), (10**7, "why", BadAmount), (1, " ", BadReason)):
        with pytest.raises(refusal):
            sized(world, HOME, size, reason)
    with pytest.raises(UnknownPlace):
        sized(world, Place(PlaceKind.SCRATCH, "astronomer"), 1)


def test_a_tier_that_leaves_the_size_to_the_award_keeps_what_there_is(
    world: World, volume: DirectoryVolume
) -> None:
    opens(world)
    world.astronomer()
    world.clock.forward(days=1)
    tier(world, "astronomer", TierSlug.SPECIAL)
    assert row(world).hard_bytes == 10 * GB
    world.clock.forward(days=1)
    sized(world, HOME, 5000)
    assert row(world).hard_bytes == 5000 * GB


def test_settling_asks_again_for_what_was_not_seen_to_be_done(
    world: World, volume: DirectoryVolume, tmp_path: Path
) -> None:
    opens(world)
    world.astronomer()
    # A volume that is away: the root itself is gone.
    assert delivered(world, DirectoryVolume(tmp_path / "away")).failed == 1
    assert row(world).made_at is None
    world.clock.forward(days=2)
    assert places.settle_undone(world.database, policy=world.policy, now=world.clock()) == 1
    assert delivered(world, volume).sent == 2
    assert places.settle_undone(world.database, policy=world.policy, now=world.clock()) == 0
    assert settled(world) == 0


def test_a_folder_that_the_hub_made_first_gets_what_it_lacks(world: World, volume: DirectoryVolume) -> None:
    opens(world)
    world.astronomer()
    (volume.root / "homes" / "astronomer").mkdir()
    (volume.root / "homes" / "astronomer" / "notes").write_text("mine")
    assert delivered(world, volume).sent == 1
    assert (volume.path(HOME) / QUARANTINE).is_dir()
    assert (volume.path(HOME) / "notes").read_text() == "mine"


def test_the_soft_limit_may_be_passed_for_its_grace_and_the_hard_one_never(world: World) -> None:
    now = world.clock()
    limits = Limits(soft_bytes=90, hard_bytes=100, grace=timedelta(days=14))
    assert limits.after(90, now=now) is None
    assert limits.filling(100, now=now) is Filling.FULL
    over = Limits(90, 100, timedelta(days=14), over_since=limits.after(91, now=now))
    assert over.after(95, now=now + timedelta(days=3)) == now
    assert over.filling(95, now=now + timedelta(days=13)) is Filling.SOFT
    assert over.filling(95, now=now + timedelta(days=14)) is Filling.LOCKED
    assert over.enforced_bytes(now=now + timedelta(days=13)) == 100
    assert over.enforced_bytes(now=now + timedelta(days=14)) == 90
    assert over.filling(90, now=now + timedelta(days=14)) is Filling.FINE
    assert over.after(90, now=now + timedelta(days=14)) is None
