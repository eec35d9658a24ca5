"""The driver for btrfs: a place is a subvolume, its limit the kernel's own.

Two ways of counting exist. *Simple quotas* (Linux 6.7) count an extent where it was first written; a
subvolume that a person makes inside a place (anybody who may write there can) falls under the place's limit
by itself. With the older *full* qgroups it does not: on a kernel without simple quotas `holds.nested` is
False, and anybody with a shell on the volume writes as much as the disk takes; over NFS nobody can make one.
The price of simple quotas: what a snapshot keeps counts against the place after its file is deleted, too.
"""

import fcntl
import os
import stat
import struct
import subprocess
import uuid
from pathlib import Path

from nexus_allocator.clients.files import handles, volumes
from nexus_allocator.clients.files.volumes import SNAPSHOTS, VolumeError
from nexus_allocator.domain.errors import NothingToRestore
from nexus_allocator.domain.places import (
    Holds,
    Owner,
    Place,
    PlaceKind,
    Usage,
    require_snapshot_name,
)

# From linux/btrfs.h: the numbers of ioctls carry the size of their argument.
IOC_SNAP_DESTROY, IOC_FS_INFO, IOC_QUOTA_CTL = 0x5000940F, 0x8400941F, 0xC0109428
ENABLE_SIMPLE = 4
TOP_INODE = 256  # of the top folder of every subvolume
NAME_BYTES = 4088
TIMEOUT_S = 600


class BtrfsVolume:
    """Places are subvolumes below ``root``, the mount point of a btrfs whose quotas are ours."""

    def __init__(self, root: Path) -> None:
        self.root = root

    @property
    def holds(self) -> Holds:
        return Holds(limit=True, nested=self._counts_simply(), freezing=True, snapshots=True)

    def prepare(self) -> None:
        """Switch quotas on and make the folders of places; done again, it changes nothing."""
        if self._mode() is None:
            self._enable_quotas()
        volumes.lay_out(self.root)
        for kind in PlaceKind:
            (self.root / SNAPSHOTS / kind).mkdir(mode=volumes.PRIVATE, parents=True, exist_ok=True)
        (self.root / SNAPSHOTS).chmod(volumes.PRIVATE)

    def path(self, place: Place) -> Path:
        return volumes.place_below(self.root, place)

    def create(self, place: Place, owner: Owner) -> Path:
        folder = self.root / place.kind / place.name
        if not folder.is_dir():
            # In root's own corner until it is whole, so that a crash leaves nothing half made in sight.
            unfinished = self.root / SNAPSHOTS / f"new-{place.kind}-{place.name}"
            if unfinished.is_dir():
                self._run("subvolume", "delete", unfinished)
            self._run("subvolume", "create", unfinished)
            group = _group(unfinished)
            self._run("qgroup", "create", group, self.root)
            self._run("qgroup", "assign", "--no-rescan", f"0/{_number(unfinished)}", group, self.root)
            volumes.hand_over(unfinished, owner)
            unfinished.rename(folder)
        return self.path(place)

    def set_quota(self, place: Place, limit_bytes: int | None) -> None:
        limit = "none" if limit_bytes is None else limit_bytes
        self._run("qgroup", "limit", limit, _group(self.path(place)), self.root)

    def usage(self, place: Place) -> Usage:
        folder = self.path(place)
        self._run("filesystem", "sync", self.root)
        groups = self._groups()
        used, _, limit = groups[_group(folder)]
        kept = [groups.get(f"0/{_number(each)}", (0, 0, None)) for each in self.snapshots(place)]
        return Usage(
            used, volumes.quarantined_bytes(folder), sum(exclusive for _, exclusive, _ in kept), limit
        )

    def freeze(self, place: Place) -> None:
        self._run("property", "set", "-t", "subvol", self.path(place), "ro", "true")

    def thaw(self, place: Place) -> None:
        self._run("property", "set", "-t", "subvol", self.path(place), "ro", "false")

    def snapshot(self, place: Place, name: str) -> Path:
        """What lies in subvolumes below the place is not in its snapshot: btrfs has no recursive ones."""
        source, shelf = self.path(place), self._shelf(place)
        shelf.mkdir(mode=volumes.PRIVATE, exist_ok=True)
        target = shelf / require_snapshot_name(name)
        if target.exists():
            raise FileExistsError(target)
        self._run("subvolume", "snapshot", "-r", source, target)
        return target

    def remove(self, place: Place) -> None:
        folder = self.path(place)
        volumes.require_no_mounts(folder, place)
        group = _group(folder)
        self.thaw(place)
        # Deleting takes some room first, which a full place does not have.
        self.set_quota(place, None)
        for snapshot in self.snapshots(place):
            self._run("subvolume", "delete", snapshot)
        self._shelf(place).rmdir() if self._shelf(place).is_dir() else None
        with handles.opened(folder) as handle:
            _destroy_nested(handle)
        self._run("subvolume", "delete", "--commit-after", folder)
        # Its number is not given again, so a group that the kernel still counts down may stay.
        self._run("qgroup", "destroy", group, self.root, may_fail=True)

    def _shelf(self, place: Place) -> Path:
        return self.root / SNAPSHOTS / place.kind / place.name

    def snapshots(self, place: Place) -> list[Path]:
        shelf = self._shelf(place)
        return sorted(shelf.iterdir()) if shelf.is_dir() else []

    def fetch(self, place: Place, name: str, path: handles.Parts) -> Path:
        """A snapshot is a folder that is there, all of it."""
        kept = self._shelf(place) / require_snapshot_name(name)
        if not kept.is_dir():
            raise NothingToRestore()
        return kept

    def drop_snapshot(self, place: Place, name: str) -> None:
        kept = self._shelf(place) / require_snapshot_name(name)
        if kept.is_dir():
            self._run("subvolume", "delete", kept)

    def _enable_quotas(self) -> None:
        argument = bytearray(struct.pack("QQ", ENABLE_SIMPLE, 0))
        try:
            with handles.opened(self.root) as root:
                fcntl.ioctl(root, IOC_QUOTA_CTL, argument)
        except OSError:
            self._run("quota", "enable", self.root)

    def _counts_simply(self) -> bool:
        return self._mode() == "squota"

    def _mode(self) -> str | None:
        """Return how the kernel counts: "squota", "qgroup"; None while quotas are off."""
        information = bytearray(1024)
        with handles.opened(self.root) as root:
            fcntl.ioctl(root, IOC_FS_INFO, information)
        name = uuid.UUID(bytes=bytes(information[16:32]))
        file = Path("/sys/fs/btrfs") / str(name) / "qgroups" / "mode"
        if not file.exists():
            return None
        mode = file.read_text().strip()
        return None if mode == "disabled" else mode

    def _groups(self) -> dict[str, tuple[int, int, int | None]]:
        """Return of each qgroup the bytes referenced and exclusive, and the limit."""
        found = {}
        for line in self._run("qgroup", "show", "-r", "--raw", self.root).splitlines():
            words = line.split()
            if len(words) >= 4 and "/" in words[0] and words[1].isdigit():
                limit = int(words[3]) if words[3].isdigit() else None
                found[words[0]] = (int(words[1]), int(words[2]), limit)
        return found

    def _run(self, *words: object, may_fail: bool = False) -> str:
        """Run btrfs and return what it prints. Raises VolumeError with what it complained of."""
        done = subprocess.run(  # noqa: S603 - a fixed program, and places' names hold letters, digits, hyphens
            ["btrfs", *map(str, words)],  # noqa: S607 - where the system keeps it
            check=False, capture_output=True, text=True, errors="replace", timeout=TIMEOUT_S,
        )  # fmt: skip
        if done.returncode and not may_fail:
            raise VolumeError(f"btrfs {words[0]} {words[1]}: {done.stderr.strip()}")
        return done.stdout


def _number(subvolume: Path) -> int:
    """Return the subvolume's number, by which the kernel counts for it."""
    done = subprocess.run(  # noqa: S603 - as above
        ["btrfs", "inspect-internal", "rootid", str(subvolume)],  # noqa: S607
        check=True, capture_output=True, text=True, timeout=TIMEOUT_S,
    )  # fmt: skip
    return int(done.stdout)


def _group(place: Path) -> str:
    """Return the place's own qgroup: it holds the place and, counted simply, what is made below it."""
    return f"1/{_number(place)}"


def _destroy_nested(folder: int) -> None:
    """Delete every subvolume below the handle, the innermost first, each by its folder's handle and its name.

    btrfs's own list is of no use: names in it are their maker's, line breaks and all.
    """
    device = os.fstat(folder).st_dev
    for handle, _, entries in handles.walk(folder):
        for found in entries:
            status = found.status
            if not stat.S_ISDIR(status.st_mode) or status.st_dev == device or status.st_ino != TOP_INODE:
                continue
            inner = os.open(found.name, handles.FOLDER, dir_fd=handle)
            try:
                _destroy_nested(inner)
            finally:
                os.close(inner)
            argument = bytearray(struct.pack(f"q{NAME_BYTES}s", 0, found.name))
            fcntl.ioctl(handle, IOC_SNAP_DESTROY, argument)
