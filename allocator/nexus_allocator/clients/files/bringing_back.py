"""A file or a folder as it was in a snapshot, brought back into its place; nothing there is written over.

Each file is made without a name, filled, given its owner and rights, and only then linked to its name: the
place's owner, who may rename and replace all the while, never gets between.
"""

import errno
import os
import shutil
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import BinaryIO

from nexus_allocator.clients.files import handles
from nexus_allocator.clients.files.handles import Found, Parts
from nexus_allocator.clients.files.plans import Rights, rights_of
from nexus_allocator.clients.files.quarantine import all_at, open_or_make, own_folder
from nexus_allocator.domain.errors import NothingToRestore
from nexus_allocator.domain.places import QUARANTINE

CHUNK_BYTES = 1 << 20
NAME_BYTES = 255


@dataclass(frozen=True)
class Brought:
    """How many files came back, how many of them beside one that has their name, and how many were there."""

    files: int = 0
    beside: int = 0
    as_they_were: int = 0

    def __add__(self, other: "Brought") -> "Brought":
        return Brought(
            self.files + other.files, self.beside + other.beside, self.as_they_were + other.as_they_were
        )


def bring_back(place: Path, snapshot: Path, path: Parts, *, called: str) -> Brought:
    """Bring back what the snapshot has at ``path``, all of it for the empty one.

    What is unchanged since is left; what has another file at its name comes beside it, with what the snapshot
    is called added. Raises NothingToRestore where the snapshot has nothing there.
    """
    total, mark = Brought(), b".of-" + os.fsencode(called)
    with handles.opened(snapshot) as before, handles.opened(place) as now:
        rights: dict[Parts, Rights] = {}
        for source, folder, entries in _wanted(before, now, path, rights):
            target = open_or_make(now, folder, rights)
            try:
                for found in entries:
                    total += _one(source, target, found, mark=mark, place=now)
            finally:
                os.close(target)
    if total == Brought():
        raise NothingToRestore()
    return total


def _wanted(
    before: int, now: int, path: Parts, rights: dict[Parts, Rights]
) -> Iterator[tuple[int, Parts, list[Found]]]:
    """Yield folders of the snapshot, by handle, with the files of theirs that are wanted.

    Writes the rights of each folder on the way into ``rights``.
    """
    skip = all_at(now)
    for source, folder, entries in handles.walk(before, skip=skip):
        rights[folder] = rights_of(os.fstat(source))
        on_the_way = folder[: len(path)] == path[: len(folder)]
        if not on_the_way:
            continue
        files = [
            found for found in entries if not handles.is_folder(found) and found.path[: len(path)] == path
        ]
        if files or folder[: len(path)] == path:
            yield source, folder, files


def _one(source: int, target: int, found: Found, *, mark: bytes, place: int) -> Brought:
    mode = found.status.st_mode
    if not (stat.S_ISREG(mode) or stat.S_ISLNK(mode)):
        return Brought()
    there = _status(target, found.name)
    if there is not None and _same(there, found.status):
        return Brought(as_they_were=1)
    names = (found.name, found.name[: NAME_BYTES - len(mark)] + mark)
    put = _link_again if stat.S_ISLNK(mode) else partial(_copy, place=place)
    for beside, name in enumerate(names):
        if put(source, target, found, name):
            return Brought(files=1, beside=beside)
    return Brought(as_they_were=1)


def _copy(source: int, target: int, found: Found, name: bytes, *, place: int) -> bool:
    """Copy a file to a name that is free; say whether it was."""
    if _status(target, name) is not None:
        return False
    with (
        os.fdopen(os.open(found.name, os.O_RDONLY | os.O_NOFOLLOW, dir_fd=source), "rb") as old,
        _out_of_reach(target, place) as (new, give_name),
    ):
        shutil.copyfileobj(old, new, CHUNK_BYTES)
        new.flush()
        for attribute in _attributes(old.fileno()):
            os.setxattr(new.fileno(), attribute, os.getxattr(old.fileno(), attribute))
        if os.geteuid() == 0:
            os.fchown(new.fileno(), found.status.st_uid, found.status.st_gid)
        os.fchmod(new.fileno(), stat.S_IMODE(found.status.st_mode))
        os.utime(new.fileno(), ns=(found.status.st_atime_ns, found.status.st_mtime_ns))
        try:
            give_name(name)
        except FileExistsError:
            return False
    return True


@contextmanager
def _out_of_reach(folder: int, place: int) -> Iterator[tuple[BinaryIO, Callable[[bytes], None]]]:
    """Yield a new file that nobody else reaches, and what gives it a name in the folder.

    Where a file can't be without a name (NFS), it has one in the place's quarantine, which is root's alone.
    """
    try:
        unnamed = os.open(".", os.O_TMPFILE | os.O_WRONLY, 0o600, dir_fd=folder)
    except OSError as error:
        if error.errno != errno.EOPNOTSUPP:
            raise
    else:
        with os.fdopen(unnamed, "wb") as file:
            yield file, partial(os.link, f"/proc/self/fd/{unnamed}", dst_dir_fd=folder, follow_symlinks=True)
        return
    desk, name = own_folder(place, QUARANTINE), b"bringing-back-%d" % os.getpid()
    try:
        # Left by a crash of the same number's process; it may have got its name already, so it is not reused.
        with suppress(FileNotFoundError):
            os.unlink(name, dir_fd=desk)
        new = os.open(name, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_NOFOLLOW, 0o600, dir_fd=desk)
        try:
            with os.fdopen(new, "wb") as file:
                yield file, partial(os.link, name, src_dir_fd=desk, dst_dir_fd=folder, follow_symlinks=False)
        finally:
            os.unlink(name, dir_fd=desk)
    finally:
        os.close(desk)


def _attributes(file: int) -> list[str]:
    """Return the names of a file's extended attributes; EFS has none."""
    try:
        return os.listxattr(file)
    except OSError as error:
        if error.errno != errno.EOPNOTSUPP:
            raise
        return []


def _link_again(source: int, target: int, found: Found, name: bytes) -> bool:
    try:
        os.symlink(os.readlink(found.name, dir_fd=source), name, dir_fd=target)
    except FileExistsError:
        return False
    if os.geteuid() == 0:
        owner = found.status.st_uid, found.status.st_gid
        os.chown(name, *owner, dir_fd=target, follow_symlinks=False)
    times = (found.status.st_atime_ns, found.status.st_mtime_ns)
    os.utime(name, ns=times, dir_fd=target, follow_symlinks=False)
    return True


def _status(folder: int, name: bytes) -> os.stat_result | None:
    try:
        return os.stat(name, dir_fd=folder, follow_symlinks=False)
    except FileNotFoundError:
        return None


def _same(there: os.stat_result, before: os.stat_result) -> bool:
    return (there.st_size, there.st_mtime_ns, there.st_mode) == (
        before.st_size,
        before.st_mtime_ns,
        before.st_mode,
    )
