"""What every volume driver does, and how a place's folder is made and found on a mounted volume."""

import errno
import os
import stat
import struct
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Protocol

from nexus_allocator.clients.files import handles
from nexus_allocator.domain.errors import BadName, PlaceBusy, UnknownPlace
from nexus_allocator.domain.places import QUARANTINE, Holds, Owner, Place, PlaceKind, Usage

PRIVATE = 0o700
# Enough for the folders of a quarantine of millions of files.
ROOM_BYTES = 64 << 20
SNAPSHOTS = ".nexus-snapshots"
DEFAULT_ACL = "system.posix_acl_default"
# From linux/posix_acl_xattr.h: version 2, then tag, rights and id of owner, group and others. Others pass the
# place's own top by no way.
NO_ID = 2**32 - 1
SHARED = struct.pack("<I" + 3 * "HHI", 2, 0x01, 7, NO_ID, 0x04, 7, NO_ID, 0x20, 5, NO_ID)


class VolumeError(RuntimeError):
    """The volume itself failed, which is ours to mend; nothing is concluded about the place."""


class Volume(Protocol):
    """One mounted file system whose places are made, limited, measured and removed.

    Places that are not there raise UnknownPlace; what a driver can't do (see ``holds``) raises NotHeldHere.
    """

    @property
    def holds(self) -> Holds: ...

    def path(self, place: Place) -> Path:
        """Return where the place is. Raises UnknownPlace."""
        ...

    def create(self, place: Place, owner: Owner) -> Path:
        """Make the place, with its quarantine; one that is there already is left as it is."""
        ...

    def set_quota(self, place: Place, limit_bytes: int | None) -> None:
        """Set the hard limit, or lift it. One below what is used already refuses every further write."""
        ...

    def usage(self, place: Place) -> Usage: ...

    def freeze(self, place: Place) -> None:
        """Let nothing more be changed; what is open for writing already writes on until it is closed."""
        ...

    def thaw(self, place: Place) -> None: ...

    def snapshot(self, place: Place, name: str) -> Path:
        """Keep the place as it is now, read-only, out of its owner's reach, and return where."""
        ...

    def snapshots(self, place: Place) -> list[Path]:
        """Return the place's snapshots, in order: the last part of each path is its name."""
        ...

    def fetch(self, place: Place, name: str, path: handles.Parts) -> Path:
        """Return where the place is seen as a snapshot has it, with what it has at ``path`` at least.

        Raises NothingToRestore, and SnapshotUnderWay while that takes time: it is to be asked again.
        """
        ...

    def drop_snapshot(self, place: Place, name: str) -> None:
        """Remove one snapshot; one that is gone already is fine."""
        ...

    def remove(self, place: Place) -> None:
        """Remove the place with its quarantine and snapshots, for good. Raises PlaceBusy over a mount."""
        ...


def place_below(root: Path, place: Place) -> Path:
    """Return the place's folder. Raises UnknownPlace; a link in its stead is none."""
    folder = root / place.kind / place.name
    if folder.is_symlink() or not folder.is_dir():
        raise UnknownPlace(place=str(place))
    return folder


def places_on(root: Path) -> list[Place]:
    """Return the places on the volume; a folder whose name none may have is not one."""
    found = []
    for kind in PlaceKind:
        folder = root / kind
        for each in sorted(folder.iterdir()) if folder.is_dir() else ():
            with suppress(BadName):
                found.append(Place(kind, each.name))
    return found


def lay_out(root: Path) -> None:
    """Make the folders in which places are made, so that nobody but root makes or renames one there."""
    for kind in PlaceKind:
        (root / kind).mkdir(mode=0o755, exist_ok=True)


def hand_over(folder: Path, owner: Owner) -> None:
    """Give a new place its quarantine, root's alone, then its owner and mode."""
    complete(folder, owner)
    if os.geteuid() == 0:
        os.chown(folder, owner.uid, owner.gid)
    folder.chmod(owner.mode)


def complete(folder: Path, owner: Owner) -> None:
    """Give a place what it lacks of ours: its quarantine and, if it is shared, its members' rights."""
    with handles.opened(folder) as handle:
        with suppress(FileExistsError):
            os.mkdir(QUARANTINE, PRIVATE, dir_fd=handle)
        if owner.mode & stat.S_ISGID:
            _share(handle)


def _share(folder: int) -> None:
    """Let members write what others of them make below, whatever their umask says.

    A file system without ACLs (EFS) leaves that to the umask: there members read each other's files, and
    write them where their maker lets the group.
    """
    try:
        if DEFAULT_ACL not in os.listxattr(folder):
            os.setxattr(folder, DEFAULT_ACL, SHARED)
    except OSError as error:
        if error.errno not in (errno.EOPNOTSUPP, errno.ENOSYS):
            raise


@contextmanager
def with_room(volume: Volume, place: Place) -> Iterator[None]:
    """Raise the limit a little while the place's files are moved: a full one refuses even a folder.

    Who stops in between leaves it raised by that much, until the quota is set again.
    """
    limit = volume.usage(place).limit_bytes
    if limit is None:
        yield
        return
    volume.set_quota(place, limit + ROOM_BYTES)
    try:
        yield
    finally:
        volume.set_quota(place, limit)


def quarantined_bytes(folder: Path) -> int:
    """Return what lies in the place's quarantine; nothing where a link or no folder stands in its stead."""
    try:
        with handles.opened(folder / QUARANTINE) as quarantine:
            return handles.allocated_below(quarantine)
    except OSError:
        return 0


def require_no_mounts(folder: Path, place: Place) -> None:
    """Raises PlaceBusy where something is mounted in the folder: its files are not the place's."""
    inside = os.fsencode(folder.resolve()) + b"/"
    for line in Path("/proc/self/mountinfo").read_bytes().splitlines():
        # The kernel writes blanks and backslashes of the path as octal escapes.
        mounted = line.split()[4].decode("unicode_escape").encode("latin-1")
        if mounted.startswith(inside):
            raise PlaceBusy(place=str(place), problem="something is mounted in it")
