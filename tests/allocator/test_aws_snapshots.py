"""Snapshots as AWS takes them: calls as botocore's model has them, the file side on a local folder."""

import errno
import json
import os
import shutil
import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.stub import ANY, Stubber
from tests.support.volumes import reachable_folder

from nexus_allocator.carriers import volume_at
from nexus_allocator.clients.files.bringing_back import Brought, bring_back
from nexus_allocator.clients.files.efs import Backups, EfsVolume
from nexus_allocator.clients.files.openzfs import OpenZfsVolume
from nexus_allocator.clients.files.volumes import Volume, VolumeError
from nexus_allocator.config import Mount
from nexus_allocator.domain.errors import NothingToRestore, SnapshotUnderWay
from nexus_allocator.domain.places import QUARANTINE, Owner, Place, PlaceKind
from nexus_allocator.domain.policy import Snapshots
from nexus_allocator.services import snapshots

ANNA, BEN = Place(PlaceKind.HOME, "anna"), Place(PlaceKind.HOME, "ben")
VOLUME, SNAPSHOT = "fsvol-0123456789abcdef0", "fsvolsnap-0123456789abcdef0"
ARN = "arn:aws:elasticfilesystem:us-east-1:123456789012:file-system/fs-0123456789abcdef0"
POINT = "arn:aws:backup:us-east-1:123456789012:recovery-point:1"
ROLE = "arn:aws:iam::123456789012:role/backups"
NOON, DAY = datetime(2026, 11, 20, 12, tzinfo=UTC), "2026-11-20"
# A day is kept for a day, and no week: what was taken yesterday is dropped today.
TERMS = Snapshots(enabled=True, keep_days=1, keep_weeks=0)
THESIS = (b"notes", b"thesis")

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="files without a name, as Linux has them")


@pytest.fixture
def root() -> Iterator[Path]:
    with reachable_folder() as folder:
        (folder / "volume").mkdir(mode=0o755)
        yield folder / "volume"


@pytest.fixture
def fsx() -> Any:
    return boto3.client("fsx", region_name="us-east-1")


@pytest.fixture
def backup() -> Any:
    return boto3.client("backup", region_name="us-east-1")


@pytest.fixture
def zfs(root: Path, fsx: Any) -> OpenZfsVolume:
    volume = OpenZfsVolume(root, fsx, VOLUME)
    volume.prepare()
    furnish(volume)
    return volume


@pytest.fixture
def efs(root: Path, backup: Any) -> EfsVolume:
    volume = EfsVolume(root, Backups(backup, "nexus", ROLE, ARN))
    volume.prepare()
    furnish(volume)
    return volume


def furnish(volume: Volume) -> None:
    """Make two homes; Anna's has a thesis as it is today."""
    for place in (ANNA, BEN):
        volume.create(place, Owner(os.getuid(), os.getgid(), 0o750))
    (volume.path(ANNA) / "notes").mkdir()
    (volume.path(ANNA) / "notes/thesis").write_bytes(b"as it was")


def turned(volume: Volume, root: Path, *, days: int = 0) -> list[str | None]:
    """Do the day's turn and return what was taken for each place."""
    at = NOON + timedelta(days=days)
    done = list(snapshots.turn(volume, root, TERMS, now=at))
    assert [each.problem for each in done] == [None, None]
    return [each.taken for each in done]


def test_one_openzfs_snapshot_stands_for_all_places_and_gives_yesterdays_file_back(
    zfs: OpenZfsVolume, root: Path, fsx: Any
) -> None:
    with Stubber(fsx) as stub:
        wanted = {"Name": DAY, "VolumeId": VOLUME, "ClientRequestToken": ANY}
        stub.add_response("create_snapshot", {"Snapshot": {"SnapshotId": SNAPSHOT}}, wanted)
        assert turned(zfs, root) == [DAY, None]
        assert turned(zfs, root) == [None, None]
        stub.assert_no_pending_responses()
    assert [each.name for each in zfs.snapshots(BEN)] == [DAY]
    with pytest.raises(SnapshotUnderWay):
        snapshots.restore(zfs, ANNA, DAY, THESIS)
    # What FSx does by and by, on its side of the mount.
    shutil.copytree(root / "homes", root / ".zfs/snapshot" / DAY / "homes")
    (zfs.path(ANNA) / "notes/thesis").unlink()
    assert snapshots.restore(zfs, ANNA, DAY, THESIS) == Brought(files=1)
    assert (zfs.path(ANNA) / "notes/thesis").read_bytes() == b"as it was"
    with pytest.raises(NothingToRestore):
        snapshots.restore(zfs, ANNA, "2026-11-19", THESIS)


def test_an_openzfs_snapshot_is_dropped_by_its_number_once_its_time_is_over(
    zfs: OpenZfsVolume, root: Path, fsx: Any
) -> None:
    with Stubber(fsx) as stub:
        for number in (1, 2):
            made = {"Snapshot": {"SnapshotId": f"{SNAPSHOT[:-1]}{number}"}}
            stub.add_response(
                "create_snapshot", made, {"Name": ANY, "VolumeId": VOLUME, "ClientRequestToken": ANY}
            )
            if number == 2:
                stub.add_response("delete_snapshot", {}, {"SnapshotId": f"{SNAPSHOT[:-1]}1"})
            turned(zfs, root, days=number)
        stub.assert_no_pending_responses()
    assert [each.name for each in zfs.snapshots(ANNA)] == ["2026-11-22"]


def test_what_aws_refuses_is_the_volumes_fault_and_tried_again(
    zfs: OpenZfsVolume, root: Path, fsx: Any
) -> None:
    with Stubber(fsx) as stub:
        stub.add_client_error("create_snapshot", "ServiceLimitExceeded", "Too many.")
        with pytest.raises(VolumeError, match="Too many"):
            zfs.snapshot(ANNA, DAY)
        assert zfs.snapshots(ANNA) == []
        stub.add_response("create_snapshot", {"Snapshot": {"SnapshotId": SNAPSHOT}})
        zfs.snapshot(ANNA, DAY)
        # Somebody dropped it by hand: then there is nothing left to do.
        stub.add_client_error("delete_snapshot", "SnapshotNotFound")
        zfs.drop_snapshot(ANNA, DAY)
    assert zfs.snapshots(ANNA) == []


def test_an_efs_has_snapshots_where_the_settings_name_a_vault(root: Path) -> None:
    assert volume_at(Mount(root, "efs", None, "nexus", ROLE, ARN)).holds.snapshots
    assert not volume_at(Mount(root, "efs", None, None, None, None)).holds.snapshots


def begins(stub: Stubber, name: str = DAY) -> None:
    begun = {"BackupJobId": f"job-{name}", "RecoveryPointArn": f"{POINT}-{name}"}
    stub.add_response("start_backup_job", begun, {
        "BackupVaultName": "nexus", "ResourceArn": ARN, "IamRoleArn": ROLE, "IdempotencyToken": name,
        "RecoveryPointTags": {"nexus-snapshot": name},
    })  # fmt: skip


def backed_up(stub: Stubber, state: str, name: str = DAY) -> None:
    stub.add_response("describe_backup_job", {"State": state}, {"BackupJobId": f"job-{name}"})


def test_efs_is_backed_up_once_a_day_and_an_old_backup_is_dropped(
    efs: EfsVolume, root: Path, backup: Any
) -> None:
    assert efs.holds.snapshots
    with Stubber(backup) as stub:
        begins(stub)
        assert turned(efs, root) == [DAY, None]
        backed_up(stub, "COMPLETED")
        begins(stub, "2026-11-21")
        wanted = {"BackupVaultName": "nexus", "RecoveryPointArn": f"{POINT}-{DAY}"}
        stub.add_response("delete_recovery_point", {}, wanted)
        assert turned(efs, root, days=1) == ["2026-11-21", None]
        stub.assert_no_pending_responses()
    assert [each.name for each in efs.snapshots(BEN)] == ["2026-11-21"]


def test_a_backup_that_came_to_nothing_is_no_snapshot(efs: EfsVolume, root: Path, backup: Any) -> None:
    with Stubber(backup) as stub:
        begins(stub)
        turned(efs, root)
        backed_up(stub, "FAILED")
        begins(stub, "2026-11-21")
        turned(efs, root, days=1)
        stub.assert_no_pending_responses()
    assert [each.name for each in efs.snapshots(ANNA)] == ["2026-11-21"]


def fetches(stub: Stubber, item: str, job: str) -> None:
    where = {"BackupVaultName": "nexus", "RecoveryPointArn": f"{POINT}-{DAY}"}
    told = {"file-system-id": "fs-0123456789abcdef0", "Encrypted": "true"}
    stub.add_response("get_recovery_point_restore_metadata", {"RestoreMetadata": told}, where)
    stub.add_response("start_restore_job", {"RestoreJobId": job}, {
        "RecoveryPointArn": f"{POINT}-{DAY}", "IamRoleArn": ROLE, "ResourceType": "EFS",
        "Metadata": told | {"newFileSystem": "false", "itemsToRestore": json.dumps([item])},
    })  # fmt: skip


def fetched(stub: Stubber, status: str, job: str) -> None:
    stub.add_response("describe_restore_job", {"Status": status}, {"RestoreJobId": job})


def test_what_is_wanted_of_a_backup_is_fetched_first_and_then_brought_back(
    efs: EfsVolume, root: Path, backup: Any
) -> None:
    theirs = root / "aws-backup-restore_2026-11-19T00-00-00/homes/anna"
    theirs.mkdir(parents=True)
    with Stubber(backup) as stub:
        begins(stub)
        turned(efs, root)
        fetches(stub, "/homes/anna/notes/thesis", "restore-1")
        for status in (None, "PENDING", "RUNNING"):
            if status is not None:
                fetched(stub, status, "restore-1")
            with pytest.raises(SnapshotUnderWay):
                snapshots.restore(efs, ANNA, DAY, THESIS)
        # What AWS Backup does, on its side of the mount.
        came = root / "aws-backup-restore_2026-11-20T12-30-00"
        shutil.copytree(root / "homes", came / "homes")
        (efs.path(ANNA) / "notes/thesis").write_bytes(b"as it is")
        fetched(stub, "COMPLETED", "restore-1")
        assert snapshots.restore(efs, ANNA, DAY, THESIS) == Brought(files=1, beside=1)
        assert (efs.path(ANNA) / f"notes/thesis.of-{DAY}").read_bytes() == b"as it was"
        # Something else is wanted: what was fetched before goes, and nobody else's.
        fetched(stub, "COMPLETED", "restore-1")
        fetches(stub, "/homes/ben", "restore-2")
        with pytest.raises(SnapshotUnderWay):
            snapshots.restore(efs, BEN, DAY, ())
        stub.assert_no_pending_responses()
    assert not came.exists()
    assert theirs.is_dir()


def test_a_fetch_that_failed_is_begun_again(efs: EfsVolume, root: Path, backup: Any) -> None:
    with Stubber(backup) as stub:
        begins(stub)
        turned(efs, root)
        for job in ("restore-1", "restore-2"):
            fetches(stub, "/homes/anna", job)
            with pytest.raises(SnapshotUnderWay):
                # A name that is not UTF-8 can't be asked for: all of the place is.
                snapshots.restore(efs, ANNA, DAY, (b"caf\xe9",))
            fetched(stub, "FAILED", job)
        fetches(stub, "/homes/anna", "restore-3")
        with pytest.raises(SnapshotUnderWay):
            snapshots.restore(efs, ANNA, DAY, (b"caf\xe9",))
        stub.assert_no_pending_responses()


def test_over_nfs_a_file_is_filled_in_the_quarantine_for_want_of_files_without_a_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place, before = tmp_path / "place", tmp_path / "before"
    (before / "notes").mkdir(parents=True)
    (before / "notes/thesis").write_bytes(b"as it was")
    place.mkdir()
    opens = os.open

    def over_nfs(path: Any, flags: int, *words: Any, **more: Any) -> int:
        if flags & os.O_TMPFILE == os.O_TMPFILE:
            raise OSError(errno.EOPNOTSUPP, "Operation not supported")
        return opens(path, flags, *words, **more)

    monkeypatch.setattr(os, "open", over_nfs)
    left = place / QUARANTINE / f"bringing-back-{os.getpid()}"
    left.parent.mkdir(mode=0o700)
    left.write_bytes(b"by a crash")
    assert bring_back(place, before, THESIS, called=DAY) == Brought(files=1)
    assert (place / "notes/thesis").read_bytes() == b"as it was"
    (place / "notes/thesis").write_bytes(b"as it is")
    assert bring_back(place, before, THESIS, called=DAY) == Brought(files=1, beside=1)
    assert (place / "notes/thesis").read_bytes() == b"as it is"
    assert bring_back(place, before, THESIS, called=DAY) == Brought(as_they_were=1)
    assert list(left.parent.iterdir()) == []
