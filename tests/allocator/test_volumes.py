"""One contract for every volume driver that can run here; what it says it holds, the kernel is asked."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.support.volumes import FILL, LIST, NEST, as_person, btrfs_volume, reachable_folder

from nexus_allocator.clients.files.btrfs import BtrfsVolume
from nexus_allocator.clients.files.directory import DirectoryVolume
from nexus_allocator.clients.files.efs import EfsVolume
from nexus_allocator.clients.files.volumes import Volume, VolumeError
from nexus_allocator.domain.errors import BadName, NotHeldHere, PlaceBusy, UnknownPlace
from nexus_allocator.domain.places import QUARANTINE, Owner, Place, PlaceKind, Usage

ANNA, TEAM = 20_001, 50_001
HOME = Place(PlaceKind.HOME, "anna")
STARS = Place(PlaceKind.TEAM, "stars")
MIB = 1 << 20
LIMIT = 16 * MIB
# Metadata of the folder itself, and blocks reserved ahead of what is written.
SLACK = 3 * MIB

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root gives files to others")


@pytest.fixture(params=["directory", "btrfs", "efs"])
def volume(request: pytest.FixtureRequest) -> Iterator[Volume]:
    if request.param == "btrfs":
        with btrfs_volume() as mounted:
            yield prepared(BtrfsVolume(mounted))
        return
    with reachable_folder() as folder:
        root = folder / "volume"
        root.mkdir(mode=0o755)
        yield prepared(EfsVolume(root) if request.param == "efs" else DirectoryVolume(root))


def prepared(volume: BtrfsVolume | DirectoryVolume) -> Volume:
    volume.prepare()
    # A second start of the service finds all as it was.
    volume.prepare()
    return volume


def home(volume: Volume) -> Path:
    return volume.create(HOME, Owner(ANNA, ANNA, 0o750))


def fill(path: Path, *, at_most: int = 64 * MIB, gids: tuple[int, ...] = ()) -> tuple[int, object]:
    said = as_person(ANNA, FILL.replace("1 << 30", str(at_most)), path, gids=gids)
    written = said["written"]
    assert isinstance(written, int)
    return written, said["errno"]


@needs_root
def test_a_place_is_its_owners_and_its_quarantine_is_roots_alone(volume: Volume) -> None:
    folder = home(volume)
    status, quarantine = folder.stat(), (folder / QUARANTINE).stat()
    assert (status.st_uid, status.st_gid, status.st_mode & 0o7777) == (ANNA, ANNA, 0o750)
    assert (quarantine.st_uid, quarantine.st_mode & 0o7777) == (0, 0o700)
    assert fill(folder / "file", at_most=MIB) == (MIB, None)
    assert fill(folder / QUARANTINE / "file", at_most=MIB) == (0, "EACCES")


@needs_root
def test_what_a_member_writes_in_a_teams_folder_belongs_to_the_team(volume: Volume) -> None:
    folder = volume.create(STARS, Owner(0, TEAM, 0o3770))
    assert fill(folder / "file", at_most=MIB, gids=(ANNA, TEAM)) == (MIB, None)
    status = (folder / "file").stat()
    assert (status.st_uid, status.st_gid, status.st_mode & 0o777) == (ANNA, TEAM, 0o664)


# As servers write, with the umask that keeps homes private: a folder, and a file in it.
PRIVATELY = """
import json, os, sys
os.umask(0o027)
folder = sys.argv[1]
os.makedirs(folder, exist_ok=True)
with open(os.path.join(folder, "shared"), "a") as file:
    file.write("x")
print(json.dumps({"uid": os.getuid()}))
"""


@needs_root
def test_members_write_what_others_made_below_a_teams_top_whatever_their_umask(volume: Volume) -> None:
    folder = volume.create(STARS, Owner(0, TEAM, 0o3770))
    for uid in (ANNA, ANNA + 1):
        as_person(uid, PRIVATELY, folder / "run", gids=(uid, TEAM))
    inner, file = (folder / "run").stat(), (folder / "run" / "shared").stat()
    assert (inner.st_uid, inner.st_gid, inner.st_mode & 0o7770) == (ANNA, TEAM, 0o2770)
    assert (file.st_uid, file.st_gid, file.st_mode & 0o770, file.st_size) == (ANNA, TEAM, 0o660, 2)
    assert as_person(ANNA + 2, LIST, folder, gids=(ANNA + 2,))["errno"] == "EACCES"


@needs_root
def test_creating_a_place_again_leaves_it_as_it_is(volume: Volume) -> None:
    folder = home(volume)
    fill(folder / "file", at_most=MIB)
    assert volume.create(HOME, Owner(1, 1, 0o700)) == folder
    assert (folder.stat().st_uid, (folder / "file").stat().st_size) == (ANNA, MIB)


@needs_root
def test_usage_tells_what_is_used_and_what_of_it_lies_in_quarantine(volume: Volume) -> None:
    folder = home(volume)
    volume.set_quota(HOME, LIMIT)
    fill(folder / "kept", at_most=4 * MIB)
    fill(folder / "old", at_most=2 * MIB)
    before = volume.usage(HOME)
    (folder / "old").rename(folder / QUARANTINE / "0")
    after = volume.usage(HOME)
    assert 6 * MIB <= before.used_bytes <= 6 * MIB + SLACK
    assert (before.quarantined_bytes // MIB, after.quarantined_bytes // MIB) == (0, 2)
    # A rename frees nothing; it only is no longer charged.
    assert abs(after.used_bytes - before.used_bytes) < MIB
    assert 4 * MIB <= after.charged_bytes <= 4 * MIB + SLACK
    assert (after.limit_bytes, after.percent) == (LIMIT, 100 * after.used_bytes // LIMIT)


@needs_root
def test_the_limit_refuses_with_edquot_where_the_driver_says_that_it_holds(volume: Volume) -> None:
    folder = home(volume)
    volume.set_quota(HOME, LIMIT)
    written, refused = fill(folder / "file", at_most=2 * LIMIT)
    if not volume.holds.limit:
        assert (written, refused) == (2 * LIMIT, None)
        assert volume.usage(HOME).percent == 200
        return
    assert refused == "EDQUOT"
    assert LIMIT - SLACK <= written <= LIMIT
    # An award changes: more room, at once.
    volume.set_quota(HOME, 2 * LIMIT)
    more, _ = fill(folder / "more", at_most=LIMIT // 2)
    assert more == LIMIT // 2
    volume.set_quota(HOME, None)
    assert volume.usage(HOME).limit_bytes is None


@needs_root
def test_a_limit_is_one_places_own(volume: Volume) -> None:
    folder = volume.create(STARS, Owner(0, TEAM, 0o3770))
    home(volume)
    volume.set_quota(HOME, MIB)
    assert fill(folder / "file", at_most=4 * MIB, gids=(ANNA, TEAM)) == (4 * MIB, None)


@needs_root
def test_a_frozen_place_takes_nothing_where_the_driver_says_that_it_freezes(volume: Volume) -> None:
    folder = home(volume)
    fill(folder / "file", at_most=MIB)
    if not volume.holds.freezing:
        with pytest.raises(NotHeldHere):
            volume.freeze(HOME)
        return
    with (folder / "file").open("ab", buffering=0) as already_open:
        volume.freeze(HOME)
        assert fill(folder / "new", at_most=MIB) == (0, "EROFS")
        assert fill(folder / "file", at_most=MIB) == (0, "EROFS")
        # What was open before goes on, as the interface says: servers are stopped first.
        assert already_open.write(b"more") == 4
    volume.thaw(HOME)
    assert fill(folder / "new", at_most=MIB) == (MIB, None)


@needs_root
def test_a_snapshot_keeps_what_is_deleted_later_and_its_owner_cannot_reach_it(volume: Volume) -> None:
    folder = home(volume)
    (folder / "file").write_bytes(b"yesterday")
    if not volume.holds.snapshots:
        with pytest.raises(NotHeldHere):
            volume.snapshot(HOME, "2026-11-20")
        return
    kept = volume.snapshot(HOME, "2026-11-20")
    (folder / "file").unlink()
    assert (kept / "file").read_bytes() == b"yesterday"
    assert fill(kept / "file", at_most=MIB)[1] == "EACCES"
    with pytest.raises(FileExistsError):
        volume.snapshot(HOME, "2026-11-20")
    with pytest.raises(BadName):
        volume.snapshot(HOME, "../2026")


@needs_root
def test_a_removed_place_is_gone_with_all_it_held_and_can_be_made_anew(volume: Volume) -> None:
    folder = home(volume)
    fill(folder / "file", at_most=MIB)
    volume.set_quota(HOME, LIMIT)
    outside = folder.parent / "outside"
    outside.mkdir()
    (outside / "file").write_text("somebody's")
    (folder / "link").symlink_to(outside)
    if volume.holds.snapshots:
        volume.snapshot(HOME, "one")
    volume.remove(HOME)
    with pytest.raises(UnknownPlace):
        volume.usage(HOME)
    assert (outside / "file").read_text() == "somebody's"
    assert list(home(volume).iterdir()) == [folder / QUARANTINE]
    assert volume.usage(HOME).limit_bytes is None


def test_places_that_are_not_there_are_unknown_and_links_are_no_places(volume: Volume) -> None:
    for ask in (volume.path, volume.usage, volume.remove, volume.freeze):
        with pytest.raises(UnknownPlace):
            ask(HOME)
    with pytest.raises(UnknownPlace):
        volume.set_quota(HOME, LIMIT)
    (volume.create(STARS, Owner(0, 0, 0o700)).parent.parent / "homes" / "anna").symlink_to("../teams/stars")
    with pytest.raises(UnknownPlace):
        volume.remove(HOME)
    assert volume.path(STARS).is_dir()


@pytest.mark.parametrize("name", ["..", "a/b", "", "-f", "A", "anna\n", "x" * 32])
def test_no_place_has_a_name_that_could_lead_elsewhere(name: str) -> None:
    with pytest.raises(BadName):
        Place(PlaceKind.HOME, name)


@needs_root
def test_a_place_with_something_mounted_in_it_is_not_removed(volume: Volume) -> None:
    folder = home(volume)
    (folder / "a b").mkdir()
    os.system(f"mount -t tmpfs tmpfs '{folder}/a b'")  # noqa: S605 - a path of the test's own
    try:
        with pytest.raises(PlaceBusy):
            volume.remove(HOME)
    finally:
        os.system(f"umount '{folder}/a b'")  # noqa: S605
    assert folder.is_dir()


@needs_root
def test_a_subvolume_made_by_a_person_does_not_get_around_the_limit() -> None:
    with btrfs_volume() as mounted:
        volume = prepared(BtrfsVolume(mounted))
        if not volume.holds.nested:
            pytest.skip("this kernel has no simple quotas: the driver says that nested subvolumes escape")
        folder = home(volume)
        volume.set_quota(HOME, LIMIT)
        assert as_person(ANNA, NEST, folder) == {"uid": ANNA}
        written, refused = fill(folder / "nested" / "file")
        assert refused == "EDQUOT"
        assert written <= LIMIT
        assert volume.usage(HOME).used_bytes >= written
        volume.remove(HOME)
        assert not folder.exists()


@needs_root
def test_what_btrfs_complains_of_is_our_fault_and_told(tmp_path: Path) -> None:
    with btrfs_volume() as mounted:
        volume = BtrfsVolume(mounted)
        volume.prepare()
        home(volume)
        (mounted / ".nexus-snapshots" / "homes" / "anna").write_text("in the way")
        with pytest.raises((VolumeError, OSError)):
            volume.snapshot(HOME, "one")


def test_a_limit_of_nothing_is_full_and_none_has_no_percentage() -> None:
    assert Usage(0, 0, 0, 0).percent == 100
    assert Usage(5, 0, 0, None).percent is None
    assert Usage(3, 5, 0, None).charged_bytes == 0
