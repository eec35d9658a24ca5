"""The driver for FSx for OpenZFS: places are folders of one volume, their limits its user and group quotas.

A quota counts what a uid, or gid, owns anywhere on the volume: homes by uid, team folders by gid. So a
person's scratch must lie on another volume than their home. FSx takes whole GiB and at most 500 quotas a
volume: people are spread over volumes (`most_places`). Usage is scanned; snapshots are the volume's own.
"""

from pathlib import Path
from typing import Any, Protocol

from nexus_allocator.clients.files.directory import DirectoryVolume
from nexus_allocator.clients.files.volumes import VolumeError
from nexus_allocator.domain.places import Holds, Place, PlaceKind, require_snapshot_name

MOST_QUOTAS = 500
GIB = 1 << 30


class Fsx(Protocol):
    """What of boto3's client for FSx is used."""

    def describe_volumes(self, *, VolumeIds: list[str]) -> Any: ...  # noqa: N803 - AWS's names

    def update_volume(self, *, VolumeId: str, OpenZFSConfiguration: dict[str, Any]) -> Any: ...  # noqa: N803

    def create_snapshot(self, *, Name: str, VolumeId: str) -> Any: ...  # noqa: N803


class OpenZfsVolume(DirectoryVolume):
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
        self.fsx.update_volume(VolumeId=self.volume_id, OpenZFSConfiguration={"UserAndGroupQuotas": wanted})
        super().set_quota(place, limit_bytes)

    def snapshot(self, place: Place, name: str) -> Path:
        """Keep the whole volume as it is now; a place is seen in it once FSx has made it."""
        self.path(place)
        self.fsx.create_snapshot(Name=require_snapshot_name(name), VolumeId=self.volume_id)
        return self.root / ".zfs" / "snapshot" / name / place.kind / place.name

    def _owner(self, place: Place) -> tuple[str, int]:
        status = self.path(place).stat()
        shared = place.kind is PlaceKind.TEAM or status.st_uid == 0
        return ("GROUP", status.st_gid) if shared else ("USER", status.st_uid)

    def _quotas(self) -> list[dict[str, Any]]:
        (found,) = self.fsx.describe_volumes(VolumeIds=[self.volume_id])["Volumes"]
        return list(found.get("OpenZFSConfiguration", {}).get("UserAndGroupQuotas", []))
