"""Snapshots: which are kept, yesterday's file brought back, a whole home and team folder on a real btrfs."""

import os
import sys
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pytest
from tests.support.purging import manifest
from tests.support.volumes import LIST, as_person, btrfs_volume

from nexus_allocator.clients.files.bringing_back import Brought, bring_back
from nexus_allocator.clients.files.btrfs import BtrfsVolume
from nexus_allocator.clients.files.directory import DirectoryVolume
from nexus_allocator.domain.errors import NothingToRestore
from nexus_allocator.domain.places import Owner, Place, PlaceKind
from nexus_allocator.domain.policy import Snapshots
from nexus_allocator.domain.snapshots import to_drop
from nexus_allocator.services import snapshots

HOME, STARS, SCRATCH = (Place(kind, "anna") for kind in PlaceKind)
ANNA = 20_001
NOON = datetime(2026, 11, 20, 12, tzinfo=UTC)
YESTERDAY = "2026-11-19"
TERMS = Snapshots(enabled=True, keep_days=7, keep_weeks=4)

needs_linux = pytest.mark.skipif(sys.platform != "linux", reason="files without a name, as Linux has them")


def test_each_day_is_kept_a_week_and_mondays_four() -> None:
    today = date(2026, 11, 20)
    names = [f"{today - timedelta(days=back)}" for back in range(60)]
    kept = sorted(set(names) - set(to_drop(names, keep_days=7, keep_weeks=4, today=today)))
    assert kept == [
        "2026-10-26", "2026-11-02", "2026-11-09", "2026-11-14", "2026-11-15", "2026-11-16", "2026-11-17",
        "2026-11-18", "2026-11-19", "2026-11-20",
    ]  # fmt: skip
    assert to_drop(["before-the-move", "2020-01-01"], keep_days=7, keep_weeks=4, today=today) == [
        "2020-01-01"
    ]


@pytest.fixture
def trees(tmp_path: Path) -> tuple[Path, Path]:
    """A place, and what stands for its snapshot of yesterday."""
    place, snapshot = tmp_path / "place", tmp_path / "snapshot"
    for top in (place, snapshot):
        (top / "notes").mkdir(parents=True)
    old = snapshot / "notes/thesis"
    old.write_bytes(b"yesterday")
    old.chmod(0o604)
    os.utime(old, ns=(1_700_000_000_123_456_789, 1_700_000_000_123_456_789))
    (snapshot / "notes/link").symlink_to("thesis")
    return place, snapshot


@needs_linux
def test_yesterdays_file_comes_back_as_it_was(trees: tuple[Path, Path]) -> None:
    place, snapshot = trees
    assert bring_back(place, snapshot, (b"notes", b"thesis"), called=YESTERDAY) == Brought(files=1)
    status = (place / "notes/thesis").stat()
    assert (status.st_mode & 0o777, status.st_mtime_ns) == (0o604, 1_700_000_000_123_456_789)
    assert not (place / "notes/link").is_symlink()
    assert bring_back(place, snapshot, (b"notes", b"thesis"), called=YESTERDAY) == Brought(as_they_were=1)


@needs_linux
def test_todays_file_is_never_written_over(trees: tuple[Path, Path]) -> None:
    place, snapshot = trees
    (place / "notes/thesis").write_bytes(b"today")
    assert bring_back(place, snapshot, (b"notes",), called=YESTERDAY) == Brought(files=2, beside=1)
    assert (place / "notes/thesis").read_bytes() == b"today"
    assert (place / "notes/thesis.of-2026-11-19").read_bytes() == b"yesterday"


@needs_linux
@pytest.mark.parametrize("path", [(b"nothing",), (b"notes", b"nothing"), (b"notes", b"thesis", b"below")])
def test_what_the_snapshot_has_not_cannot_come_back(
    trees: tuple[Path, Path], path: tuple[bytes, ...]
) -> None:
    with pytest.raises(NothingToRestore):
        bring_back(*trees, path, called=YESTERDAY)


@needs_linux
def test_a_link_in_the_places_stead_leads_nothing_out_of_it(trees: tuple[Path, Path], tmp_path: Path) -> None:
    place, snapshot = trees
    outside = tmp_path / "outside"
    outside.mkdir()
    (place / "notes").rmdir()
    (place / "notes").symlink_to(outside)
    with pytest.raises(OSError, match="not a folder"):
        bring_back(place, snapshot, (b"notes", b"thesis"), called=YESTERDAY)
    assert list(outside.iterdir()) == []


@pytest.fixture
def volume() -> Iterator[BtrfsVolume]:
    with btrfs_volume() as mounted:
        made = BtrfsVolume(mounted)
        made.prepare()
        made.create(HOME, Owner(ANNA, ANNA, 0o750))
        made.create(STARS, Owner(0, ANNA, 0o3770))
        made.create(SCRATCH, Owner(ANNA, ANNA, 0o750))
        yield made


def filled(volume: BtrfsVolume, place: Place) -> Path:
    top = volume.path(place)
    for number in range(200):
        path = top / f"folder {number % 7}" / "deep" / f"{number}"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(os.urandom(1 + 37 * number))
        os.chown(path, ANNA, ANNA)
        os.chmod(path, 0o600 + number % 8)
    (top / "link").symlink_to("folder 1/deep/1")
    os.setxattr(top / "folder 1/deep/1", "user.colour", b"blue")
    for folder in (path for path in top.rglob("*") if path.is_dir() and path.name != ".nexus-quarantine"):
        os.chown(folder, ANNA, ANNA)
    return top


@pytest.mark.parametrize("place", [HOME, STARS], ids=["home", "team"])
def test_a_whole_place_that_was_lost_is_restored_from_yesterday(volume: BtrfsVolume, place: Place) -> None:
    top = filled(volume, place)
    before = manifest(top)
    done = list(snapshots.turn(volume, volume.root, TERMS, now=NOON))
    assert {each.place for each in done} == {HOME, STARS}
    # Its owner's slip: everything that they may remove is removed.
    for path in sorted(top.rglob("*"), reverse=True):
        if ".nexus-quarantine" not in path.parts:
            path.unlink() if path.is_symlink() or path.is_file() else path.rmdir()
    assert manifest(top) == {}
    assert snapshots.restore(volume, place, "2026-11-20", ()).files == 201
    assert manifest(top) == before


def test_the_space_that_snapshots_alone_keep_is_counted_and_goes_with_them(volume: BtrfsVolume) -> None:
    top = volume.path(HOME)
    (top / "large").write_bytes(os.urandom(8 << 20))
    list(snapshots.turn(volume, volume.root, TERMS, now=NOON))
    (top / "large").unlink()
    found = volume.usage(HOME)
    # Counted simply, what a snapshot keeps is still the place's own; else it is told apart.
    assert max(found.used_bytes, found.snapshot_bytes) >= 8 << 20
    assert [each.name for each in volume.snapshots(HOME)] == ["2026-11-20"]
    would = list(snapshots.turn(volume, volume.root, TERMS, now=NOON + timedelta(days=70), apply=False))
    assert [each.dropped for each in would] == [("2026-11-20",)] * 2
    assert [each.name for each in volume.snapshots(HOME)] == ["2026-11-20"]
    list(snapshots.turn(volume, volume.root, TERMS, now=NOON + timedelta(days=70)))
    assert [each.name for each in volume.snapshots(HOME)] == ["2027-01-29"]


def test_a_person_cannot_touch_a_snapshot(volume: BtrfsVolume) -> None:
    filled(volume, HOME)
    list(snapshots.turn(volume, volume.root, TERMS, now=NOON))
    kept = volume.snapshots(HOME)[0]
    assert as_person(ANNA, LIST, kept)["errno"] == "EACCES"


def test_a_volume_that_has_no_snapshots_takes_none_and_a_rule_that_is_off_neither(tmp_path: Path) -> None:
    plain = DirectoryVolume(tmp_path)
    plain.prepare()
    plain.create(HOME, Owner(os.geteuid(), os.getegid(), 0o750))
    assert list(snapshots.turn(plain, tmp_path, TERMS, now=NOON)) == []
    with pytest.raises(NothingToRestore):
        snapshots.restore(plain, HOME, "2026-11-20", ())
