"""The driver for FSx for OpenZFS: places are folders of one volume, their limits its user and group quotas.

A quota counts what a uid, or gid, owns anywhere on the volume: homes by uid, team folders by gid. So a
person's scratch must lie on another volume than their home. FSx takes whole GiB and at most 500 quotas a
volume: people are spread over volumes (`most_places`). Usage is scanned; snapshots are the volume's own.
"""

import hashlib
from pathlib import Path
from typing import Any, Protocol

from nexus_allocator.clients.files.handles import Parts
from nexus_allocator.clients.files.volumes import VolumeError
from nexus_allocator.clients.files.whole_snapshots import WholeSnapshots, asking_aws
from nexus_allocator.domain.errors import NothingToRestore, SnapshotUnderWay
from nexus_allocator.domain.places import Holds, Place, PlaceKind

MOST_QUOTAS, TOKEN_LETTERS = 500, 63
GIB = 1 << 30


class Fsx(Protocol):
    """What of boto3's client for FSx is used."""

    def describe_volumes(self, *, VolumeIds: list[str]) -> Any: ...  # noqa: N803 - AWS's names

    def update_volume(self, *, VolumeId: str, OpenZFSConfiguration: dict[str, Any]) -> Any: ...  # noqa: N803

    def create_snapshot(self, *, Name: str, VolumeId: str, ClientRequestToken: str) -> Any: ...  # noqa: N803

    def delete_snapshot(self, *, SnapshotId: str) -> Any: ...  # noqa: N803


class OpenZfsVolume(WholeSnapshots):
    """Places are folders below ``root``, where the volume ``volume_id`` is mounted."""

    driver = "openzfs"
    holds = Holds(limit=True, nested=True, freezing=False, snapshots=True)

    def __init__(self, root: Path, fsx: Fsx, volume_id: str) -> None:
        super().__init__(root)
        self.fsx, self.volume_id = fsx, volume_id

    def set_quota(self, place: Place, limit_bytes: int | None) -> None:
        """Set the quota of the place's owner; FSx takes the whole list of the volume's quotas anew."""
        kind, number = self._owner(place)
        quotas = {(each["Type"], each["Id"]): each for each in self._quotas()}
        quotas.pop((kind, number), None)
        if limit_bytes is not None:
            # Zero would be no limit to FSx: a place that may hold nothing gets the least.
            size = max(1, -(-limit_bytes // GIB))
            quotas[kind, number] = {"Type": kind, "Id": number, "StorageCapacityQuotaGiB": size}
        if len(quotas) > MOST_QUOTAS:
            raise VolumeError(f"{self.volume_id} has {MOST_QUOTAS} quotas already: open another volume")
        wanted = [quotas[key] for key in sorted(quotas)]
        with asking_aws("FSx sets no quota"):
            self.fsx.update_volume(
                VolumeId=self.volume_id, OpenZFSConfiguration={"UserAndGroupQuotas": wanted}
            )
        super().set_quota(place, limit_bytes)

    def take(self, name: str) -> dict[str, str]:
        # Asked again with the same token FSx answers as the first time.
        token = hashlib.sha256(f"{self.volume_id}/{name}".encode()).hexdigest()[:TOKEN_LETTERS]
        with asking_aws("FSx takes no snapshot"):
            made = self.fsx.create_snapshot(Name=name, VolumeId=self.volume_id, ClientRequestToken=token)
        return {"snapshot": made["Snapshot"]["SnapshotId"]}

    def drop(self, taken: dict[str, str]) -> None:
        with asking_aws("FSx drops no snapshot", gone_is_fine=True):
            self.fsx.delete_snapshot(SnapshotId=taken["snapshot"])

    def fetch(self, place: Place, name: str, path: Parts) -> Path:
        """A snapshot is a folder of the volume's, once FSx has made it."""
        with self.taken() as taken:
            if name not in taken:
                raise NothingToRestore()
        made = self.root / ".zfs" / "snapshot" / name
        if not made.is_dir():
            raise SnapshotUnderWay(snapshot=name, place=str(place))
        if not (made / place.kind / place.name).is_dir():
            raise NothingToRestore()
        return made / place.kind / place.name

    def _owner(self, place: Place) -> tuple[str, int]:
        status = self.path(place).stat()
        shared = place.kind is PlaceKind.TEAM or status.st_uid == 0
        return ("GROUP", status.st_gid) if shared else ("USER", status.st_uid)

    def _quotas(self) -> list[dict[str, Any]]:
        with asking_aws("FSx tells no quotas"):
            (found,) = self.fsx.describe_volumes(VolumeIds=[self.volume_id])["Volumes"]
        return list(found.get("OpenZFSConfiguration", {}).get("UserAndGroupQuotas", []))
