"""The driver for Amazon EFS: one file system, mounted as a whole here and by sub-path in people's servers.

EFS has no quotas of folders, no ACLs and no extended attributes. Usage is scanned and limits are remembered,
as in a plain folder: a lock-out (servers that start beside a full home) stands in for the kernel's refusal.
An access point with an enforced identity would replace a person's uid and groups, so none is used.
Snapshots are AWS Backup's recovery points of the whole file system. One can't be looked into: what is wanted
of it is fetched, minutes long, into a folder at the file system's top, one thing at a time.
"""

import json
import logging
import shutil
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from nexus_allocator.clients.files.handles import Parts
from nexus_allocator.clients.files.volumes import VolumeError
from nexus_allocator.clients.files.whole_snapshots import WholeSnapshots, asking_aws
from nexus_allocator.domain.errors import NotHeldHere, NothingToRestore, SnapshotUnderWay
from nexus_allocator.domain.places import Holds, Place

LOG = logging.getLogger(__name__)
TAG = "nexus-snapshot"
FETCHED = "aws-backup-restore_*"
DONE, UNDER_WAY = "COMPLETED", frozenset({"PENDING", "RUNNING"})
FAILED = frozenset({"FAILED", "ABORTED", "EXPIRED"})


@dataclass(frozen=True)
class Backups:
    """AWS Backup's client, and the vault, role and file system (an ARN) that it works with."""

    client: Any = field(repr=False)
    vault: str
    role_arn: str
    file_system_arn: str


class EfsVolume(WholeSnapshots):
    """Places are folders below ``root``, where the file system is mounted; no ``backups``, no snapshots."""

    driver = "efs"

    def __init__(self, root: Path, backups: Backups | None = None) -> None:
        super().__init__(root)
        self.backups = backups
        self.holds = Holds(limit=False, nested=False, freezing=False, snapshots=backups is not None)

    def take(self, name: str) -> dict[str, str]:
        backups = self._backups()
        with asking_aws("AWS Backup keeps no snapshot"):
            begun = backups.client.start_backup_job(
                BackupVaultName=backups.vault, ResourceArn=backups.file_system_arn,
                IamRoleArn=backups.role_arn, IdempotencyToken=name, RecoveryPointTags={TAG: name},
            )  # fmt: skip
        return {"job": begun["BackupJobId"], "point": begun["RecoveryPointArn"]}

    def drop(self, taken: dict[str, str]) -> None:
        backups = self._backups()
        with asking_aws("AWS Backup drops no snapshot", gone_is_fine=True):
            backups.client.delete_recovery_point(
                BackupVaultName=backups.vault, RecoveryPointArn=taken["point"]
            )

    def snapshot(self, place: Place, name: str) -> Path:
        """Begin the backup of the whole file system; those that failed since the last are forgotten."""
        self._forget_failed()
        return super().snapshot(place, name)

    def fetch(self, place: Place, name: str, path: Parts) -> Path:
        """Return where the place is seen as it was, once AWS Backup has brought what is wanted of it.

        Raises SnapshotUnderWay until then, so that it is asked again, and NothingToRestore.
        """
        with self.taken() as taken:
            found = taken.get(name)
        if found is None:
            raise NothingToRestore()
        wanted = {"snapshot": name, "place": str(place), "item": _item(place, path)}
        with self._kept("fetching.json") as fetching:
            done = self._fetched(fetching) if fetching else None
            if done is None or fetching["wanted"] != wanted:
                if done is not None:
                    shutil.rmtree(done)
                fetching.clear()
                fetching |= {"wanted": wanted, **self._begin(found["point"], wanted["item"])}
                done = None
        if done is None:
            raise SnapshotUnderWay(snapshot=name, place=str(place))
        folder = done / place.kind / place.name
        if not folder.is_dir():
            raise NothingToRestore()
        return folder

    def _begin(self, point: str, item: str) -> dict[str, Any]:
        backups = self._backups()
        before = sorted(each.name for each in self.root.glob(FETCHED))
        with asking_aws("AWS Backup fetches nothing"):
            told = backups.client.get_recovery_point_restore_metadata(
                BackupVaultName=backups.vault, RecoveryPointArn=point
            )
            metadata = told["RestoreMetadata"] | {
                "newFileSystem": "false",
                "itemsToRestore": json.dumps([item]),
            }
            begun = backups.client.start_restore_job(
                RecoveryPointArn=point, Metadata=metadata, IamRoleArn=backups.role_arn, ResourceType="EFS"
            )
        return {"job": begun["RestoreJobId"], "before": before}

    def _fetched(self, fetching: dict[str, Any]) -> Path | None:
        """Return the folder that the fetch before made, None where it failed. Raises SnapshotUnderWay."""
        backups = self._backups()
        with asking_aws("AWS Backup does not say how far it is"):
            job = backups.client.describe_restore_job(RestoreJobId=fetching["job"])
        if job["Status"] in UNDER_WAY:
            wanted = fetching["wanted"]
            raise SnapshotUnderWay(snapshot=wanted["snapshot"], place=wanted["place"])
        if job["Status"] != DONE:
            LOG.warning("a fetch from a backup ended as %s: %s", job["Status"], job.get("StatusMessage"))
            return None
        made = [each for each in self.root.glob(FETCHED) if each.name not in fetching["before"]]
        # Somebody else's restore, from AWS's console say, may have ended beside it.
        holding = [each for each in made if (each / fetching["wanted"]["place"]).is_dir()]
        if len(holding) > 1:
            raise VolumeError(f"which of {[each.name for each in holding]} is the Nexus's own?")
        return holding[0] if holding else None

    def _forget_failed(self) -> None:
        """Forget snapshots whose backup came to nothing; AWS says so only when asked."""
        backups = self._backups()
        with self.taken() as taken:
            for name, found in sorted(taken.items()):
                if "job" not in found:
                    continue
                with asking_aws("AWS Backup does not say how a backup went"):
                    state = backups.client.describe_backup_job(BackupJobId=found["job"])["State"]
                if state in FAILED:
                    LOG.warning("the snapshot %s came to nothing: %s", name, state)
                    del taken[name]
                elif state == DONE:
                    taken[name] = {"point": found["point"]}

    def _backups(self) -> Backups:
        if self.backups is None:
            raise NotHeldHere(driver=self.driver, act="take or fetch snapshots without a vault of AWS Backup")
        return self.backups


def _item(place: Place, path: Parts) -> str:
    """Return what is asked for of a backup: AWS knows no names but UTF-8, so all of it for others."""
    try:
        below = b"/".join(path).decode()
    except UnicodeDecodeError:
        below = ""
    return f"/{place}/{below}".rstrip("/")
