"""The drivers of AWS and XFS without either: their file side on a local mount, their calls as made."""

import os
from collections.abc import Iterator
from pathlib import Path

import boto3
import pytest
from botocore.stub import Stubber
from tests.support.volumes import reachable_folder

from nexus_allocator.clients.files.efs import EfsVolume
from nexus_allocator.clients.files.openzfs import GIB, OpenZfsVolume
from nexus_allocator.clients.files.volumes import Volume, VolumeError
from nexus_allocator.clients.files.xfs import FIRST_PROJECT, XfsVolume
from nexus_allocator.domain.errors import NotHeldHere, UnknownPlace
from nexus_allocator.domain.places import QUARANTINE, Owner, Place, PlaceKind

HOME, OTHER = Place(PlaceKind.HOME, "anna"), Place(PlaceKind.HOME, "ben")
STARS = Place(PlaceKind.TEAM, "stars")
VOLUME = "fsvol-0123456789abcdef0"
ANNA, TEAM = 20_001, 50_001
needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root gives files to others")


@pytest.fixture
def root() -> Iterator[Path]:
    with reachable_folder() as folder:
        (folder / "volume").mkdir(mode=0o755)
        yield folder / "volume"


# Keeps limits as the kernel would, says what it was asked, and reports in KiB as xfs_quota does.
FAKE_XFS = """#!/bin/sh
echo "$*" >> "$FAKE_XFS_LOG"
case "$3" in
  report*) echo "#100000     1024          0       4096     00 [--------]"
           echo "#100001        0          0          0     00 [--------]" ;;
  *fails*) echo "xfs_quota: cannot set limits" >&2; exit 1 ;;
esac
"""


@pytest.fixture
def asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A stand-in for xfs_quota on PATH: this kernel has no XFS, so the command lines are what is tested."""
    tool = tmp_path / "bin" / "xfs_quota"
    tool.parent.mkdir()
    tool.write_text(FAKE_XFS)
    tool.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tool.parent}:{os.environ['PATH']}")
    monkeypatch.setenv("FAKE_XFS_LOG", str(tmp_path / "asked"))
    return tmp_path / "asked"


def me() -> Owner:
    return Owner(os.getuid(), os.getgid(), 0o750)


def test_xfs_gives_each_place_a_project_of_its_own_and_limits_that(root: Path, asked: Path) -> None:
    volume = XfsVolume(root)
    volume.prepare()
    folder = volume.create(HOME, me())
    volume.create(OTHER, me())
    assert (folder / QUARANTINE).is_dir()
    volume.set_quota(HOME, 4 << 20)
    volume.set_quota(HOME, 0)
    volume.set_quota(OTHER, None)
    usage = volume.usage(HOME)
    assert (usage.used_bytes, usage.limit_bytes) == (1 << 20, 4 << 20)
    assert volume.usage(OTHER).limit_bytes is None
    made, other, limit, nothing, lifted, *_ = asked.read_text().splitlines()
    unfinished = root / ".nexus-volume" / "new-homes-anna"
    assert made == f"-x -c project -s -p {unfinished} {FIRST_PROJECT} {root}"
    assert f"new-homes-ben {FIRST_PROJECT + 1} " in other
    assert limit == f"-x -c limit -p bhard=4096k {FIRST_PROJECT} {root}"
    # XFS takes zero for no limit at all.
    assert nothing == f"-x -c limit -p bhard=1k {FIRST_PROJECT} {root}"
    assert lifted == f"-x -c limit -p bhard=0k {FIRST_PROJECT + 1} {root}"
    volume.remove(HOME)
    assert asked.read_text().splitlines()[-1] == f"-x -c limit -p bhard=0 {FIRST_PROJECT} {root}"
    with pytest.raises(UnknownPlace):
        volume.usage(HOME)


def test_a_projects_number_is_never_another_places(root: Path, asked: Path) -> None:
    volume = XfsVolume(root)
    volume.prepare()
    for place in (HOME, OTHER):
        volume.create(place, me())
    volume.remove(HOME)
    volume.create(STARS, me())
    assert f"new-teams-stars {FIRST_PROJECT + 2} " in asked.read_text()


def test_what_xfs_refuses_is_the_volumes_fault_not_the_places(root: Path, asked: Path) -> None:
    volume = XfsVolume(root)
    volume.prepare()
    with pytest.raises(VolumeError, match="cannot set limits"):
        volume.create(Place(PlaceKind.HOME, "fails"), me())
    volume.create(HOME, me())
    volume.create(OTHER, me())
    volume.create(STARS, me())
    with pytest.raises(VolumeError, match="tells nothing of teams/stars"):
        volume.usage(STARS)


def test_efs_remembers_limits_and_says_that_it_holds_none(root: Path) -> None:
    volume: Volume = EfsVolume(root)
    EfsVolume(root).prepare()
    volume.create(HOME, me())
    volume.set_quota(HOME, GIB)
    (volume.path(HOME) / "file").write_bytes(b"x" * 100_000)
    assert volume.usage(HOME).limit_bytes == GIB
    assert volume.usage(HOME).used_bytes >= 100_000
    assert not volume.holds.limit
    with pytest.raises(NotHeldHere, match="not_held_here"):
        volume.snapshot(HOME, "daily")


@needs_root
def test_a_place_that_a_pod_made_before_the_volume_did_becomes_its_owners(root: Path) -> None:
    volume = EfsVolume(root)
    volume.prepare()
    # As Kubernetes makes the folder of a sub-path that is not there.
    (root / "homes/anna").mkdir(mode=0o750)
    volume.create(HOME, Owner(ANNA, ANNA, 0o750))
    (root / "homes/ben").mkdir(mode=0o700)
    os.chown(root / "homes/ben", ANNA + 1, ANNA + 1)
    volume.create(OTHER, Owner(ANNA, ANNA, 0o750))
    owners = {path.name: (path.stat().st_uid, path.stat().st_gid) for path in (root / "homes").iterdir()}
    assert owners == {"anna": (ANNA, ANNA), "ben": (ANNA + 1, ANNA + 1)}


def quotas(*found: tuple[str, int, int]) -> list[dict[str, object]]:
    return [{"Type": kind, "Id": number, "StorageCapacityQuotaGiB": size} for kind, number, size in found]


def described(kept: list[dict[str, object]]) -> dict[str, object]:
    return {"Volumes": [{"VolumeId": VOLUME, "OpenZFSConfiguration": {"UserAndGroupQuotas": kept}}]}


@needs_root
def test_openzfs_sets_the_owners_quota_and_leaves_the_others(root: Path) -> None:
    fsx = boto3.client("fsx", region_name="us-east-1")
    volume = OpenZfsVolume(root, fsx, VOLUME)
    volume.prepare()
    volume.create(HOME, Owner(ANNA, ANNA, 0o750))
    volume.create(STARS, Owner(0, TEAM, 0o3770))
    before = quotas(("USER", 7, 50))
    with Stubber(fsx) as stub:
        for place, limit, kept, wanted in (
            # Whole GiB, rounded up: nobody gets less than they were given.
            (HOME, 10 * 10**9, before, quotas(("USER", 7, 50), ("USER", ANNA, 10))),
            (STARS, 2 * GIB, before, quotas(("GROUP", TEAM, 2), ("USER", 7, 50))),
            (HOME, 0, before, quotas(("USER", 7, 50), ("USER", ANNA, 1))),
            (HOME, None, quotas(("USER", ANNA, 10)), []),
        ):
            stub.add_response("describe_volumes", described(kept), {"VolumeIds": [VOLUME]})
            stub.add_response(
                "update_volume", {},
                {"VolumeId": VOLUME, "OpenZFSConfiguration": {"UserAndGroupQuotas": wanted}},
            )  # fmt: skip
            volume.set_quota(place, limit)
        stub.assert_no_pending_responses()
    assert volume.usage(STARS).limit_bytes == 2 * GIB


@needs_root
def test_openzfs_takes_no_more_than_500_quotas_a_volume(root: Path) -> None:
    fsx = boto3.client("fsx", region_name="us-east-1")
    volume = OpenZfsVolume(root, fsx, VOLUME)
    volume.prepare()
    volume.create(HOME, Owner(ANNA, ANNA, 0o750))
    with Stubber(fsx) as stub:
        full = quotas(*(("USER", number, 1) for number in range(500)))
        stub.add_response("describe_volumes", described(full), {"VolumeIds": [VOLUME]})
        with pytest.raises(VolumeError, match="open another volume"):
            volume.set_quota(HOME, GIB)
