"""Snapshots as people see them, and yesterday's file brought back without anybody's help."""

import os
import random
from pathlib import Path

import pytest
from tests.support.allocator import World

from nexus_allocator.clients.files.directory import DirectoryVolume
from nexus_allocator.domain.errors import (
    BadName,
    NothingToRestore,
    SnapshotUnderWay,
    TeamRoleNeeded,
    UnknownPlace,
    UnknownTeam,
)
from nexus_allocator.domain.outbox import Channel
from nexus_allocator.domain.places import Owner, Place, PlaceKind
from nexus_allocator.domain.purges import Parts
from nexus_allocator.domain.snapshots import path_below
from nexus_allocator.services import delivery, places, snapshot_asks
from nexus_allocator.services.snapshot_asks import PlaceSnapshots
from nexus_allocator.services.snapshot_calls import SnapshotCarrier

HOME, TEAM = Place(PlaceKind.HOME, "astronomer"), Place(PlaceKind.TEAM, "stars")
SUNDAY, MONDAY = "2026-03-01", "2026-02-23"


class KeptVolume(DirectoryVolume):
    """A volume whose snapshots are folders beside it that the test fills; far ones take a while to come."""

    is_far = False

    def snapshots(self, place: Place) -> list[Path]:
        shelf = self.root.with_name("snapshots") / place.kind / place.name
        return sorted(shelf.iterdir()) if shelf.is_dir() else []

    def fetch(self, place: Place, name: str, path: Parts) -> Path:
        if self.is_far:
            raise SnapshotUnderWay(snapshot=name, place=str(place))
        return next(each for each in self.snapshots(place) if each.name == name)


class Kept:
    """A home and a team's folder with two snapshots each."""

    def __init__(self, folder: Path, world: World) -> None:
        self.world, self.folder = world, folder
        root = folder / "volume"
        root.mkdir()
        self.volume = KeptVolume(root)
        self.volume.prepare()
        with world.database.session_scope() as session:
            places.open_volume(
                session, "main", driver="directory", enforces=False, most_places=None, now=world.clock()
            )
        places.settle_all(world.database, policy=world.policy, now=world.clock())
        for place in (HOME, TEAM):
            self.volume.create(place, Owner(os.geteuid(), os.getegid(), 0o750))
            for day in (MONDAY, SUNDAY):
                note = folder / "snapshots" / place.kind / place.name / day / "notes/today.ipynb"
                note.parent.mkdir(parents=True)
                note.write_text(f"of {day}")
            self.is_seen(place)

    def is_seen(self, place: Place) -> None:
        with self.world.database.session_scope() as session:
            names = [each.name for each in self.volume.snapshots(place)]
            snapshot_asks.keep_seen(session, place, names, now=self.world.clock())

    def of(self, hub_name: str) -> dict[Place, PlaceSnapshots]:
        with self.world.database.reading_scope() as session:
            found = snapshot_asks.of_person(session, hub_name=hub_name, policy=self.world.policy)
        return {each.place: each for each in found}

    def asks(self, place: Place, path: str, *, day: str = SUNDAY, by: str = "astronomer") -> None:
        with self.world.database.session_scope() as session:
            snapshot_asks.ask(session, place, day, path, hub_name=by, now=self.world.clock())

    def works(self, *volumes: str) -> delivery.Delivered:
        carrier = SnapshotCarrier(dict.fromkeys(volumes, self.volume))
        rng = random.Random(1)  # noqa: S311 - spreads attempts, hides nothing
        return delivery.deliver(
            self.world.database, {Channel.SNAPSHOTS: carrier}, clock=self.world.clock, rng=rng
        )

    def told(self, hub_name: str = "astronomer") -> str:
        return self.world.told(hub_name)[0]


@pytest.fixture
def kept(tmp_path: Path, world: World) -> Kept:
    for name in ("astronomer", "teammate", "stranger"):
        world.astronomer(name)
    world.team("stars", "astronomer", "teammate")
    return Kept(tmp_path, world)


def test_a_person_sees_the_days_of_their_home_and_teams_and_how_long_each_is_kept(kept: Kept) -> None:
    found = kept.of("astronomer")
    assert set(found) == {HOME, TEAM}
    days = [(each.name, str(each.goes_on)) for each in found[HOME].snapshots]
    # Seven days, and a Monday's four weeks.
    assert days == [(SUNDAY, "2026-03-08"), (MONDAY, "2026-03-23")]
    assert found[TEAM].may_restore
    assert not kept.of("teammate")[TEAM].may_restore
    assert HOME not in kept.of("teammate")


def test_yesterdays_file_comes_back_as_asked_and_the_person_is_told(kept: Kept) -> None:
    kept.asks(HOME, "~/notes/today.ipynb")
    kept.asks(HOME, "/home/astronomer/notes/today.ipynb")
    back = kept.volume.path(HOME) / "notes/today.ipynb"
    assert not back.exists(), "nothing is touched in the request itself"
    assert kept.of("astronomer")[HOME].is_restoring
    assert kept.works("main").sent == 1, "asked twice, it is one"
    assert back.read_text() == f"of {SUNDAY}"
    assert not kept.of("astronomer")[HOME].is_restoring
    assert kept.told() == f"Of homes/astronomer as of {SUNDAY}: 1 file is back at notes/today.ipynb."
    kept.world.clock.forward(minutes=1)
    kept.asks(HOME, ".", day=MONDAY)
    kept.works("main")
    assert back.with_name(f"today.ipynb.of-{MONDAY}").read_text() == f"of {MONDAY}"
    assert f"NAME.of-{MONDAY} beside" in kept.told()


def test_who_leads_the_team_brings_its_files_back_and_others_do_not(kept: Kept) -> None:
    with pytest.raises(TeamRoleNeeded):
        kept.asks(TEAM, "notes", by="teammate")
    with pytest.raises(UnknownTeam):
        kept.asks(TEAM, "notes", by="stranger")
    with pytest.raises(UnknownPlace):
        kept.asks(HOME, "notes", by="stranger")
    kept.asks(TEAM, "/teams/stars/notes")
    kept.works("main")
    assert (kept.volume.path(TEAM) / "notes/today.ipynb").exists()


def test_what_is_not_there_is_told_and_not_tried_again(kept: Kept) -> None:
    kept.asks(HOME, "no/such/file")
    assert kept.works("main").sent == 1
    assert "nothing at no/such/file" in kept.told()
    with pytest.raises(NothingToRestore):
        kept.asks(HOME, "notes", day="2026-01-01")


def test_a_day_that_was_dropped_is_no_longer_offered(kept: Kept) -> None:
    shelf = kept.folder / "snapshots" / HOME.kind / HOME.name
    (shelf / SUNDAY).rename(shelf / "2026-03-02")
    kept.is_seen(HOME)
    assert [each.name for each in kept.of("astronomer")[HOME].snapshots] == ["2026-03-02", MONDAY]


def test_a_job_waits_for_who_has_the_volume(kept: Kept) -> None:
    kept.asks(HOME, "notes")
    assert kept.works("another").failed == 1
    kept.world.clock.forward(hours=1)
    assert kept.works("main").sent == 1


def test_a_snapshot_that_is_still_fetched_is_asked_for_again(kept: Kept) -> None:
    kept.volume.is_far = True
    kept.asks(HOME, "notes")
    assert kept.works("main").failed == 1
    kept.volume.is_far = False
    kept.world.clock.forward(hours=1)
    assert kept.works("main").sent == 1


@pytest.mark.parametrize("path", ["", " ", "../other", "a/../../b", "/etc/passwd", "/home/other/x", "a\0b"])
def test_a_path_leads_nowhere_but_below_the_place(path: str) -> None:
    with pytest.raises(BadName):
        path_below(path, HOME)
