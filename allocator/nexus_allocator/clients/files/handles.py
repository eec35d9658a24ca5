"""Folders by handle: each step below a root is opened by itself, follows no link, stays on its device.

A path is a tuple of names as the kernel has them, bytes, since not all are UTF-8. Whoever owns the tree may
rename, replace and link while this runs; what was opened stays what it was.
"""

import errno
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

Parts = tuple[bytes, ...]
FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
# What st_blocks counts in, whatever the file system's own blocks are.
BLOCK_BYTES = 512


class OutOfReach(OSError):  # noqa: N818 - says what it is
    """A part of the path is a link, a mount point or no folder: what was there was replaced or moved."""


@contextmanager
def opened(path: Path) -> Iterator[int]:
    """Yield a handle of the folder at ``path``, whose last part may not be a link."""
    handle = os.open(path, FOLDER)
    try:
        yield handle
    finally:
        os.close(handle)


def open_below(root: int, parts: Parts) -> int:
    """Return a handle of the folder ``parts`` below the handle ``root``; the caller closes it.

    Raises FileNotFoundError, or OutOfReach when the way leads through anything but folders of the
    root's own device. Names `..`, `.` and with a slash are refused, whoever wrote them.
    """
    device = os.fstat(root).st_dev
    at = os.dup(root)
    for name in parts:
        try:
            following = _step(at, name, device)
        finally:
            os.close(at)
        at = following
    return at


def _step(at: int, name: bytes, device: int) -> int:
    require_plain(name)
    try:
        following = os.open(name, FOLDER, dir_fd=at)
    except OSError as error:
        if error.errno in (errno.ENOTDIR, errno.ELOOP):
            raise OutOfReach(f"{name!r} is not a folder") from error
        raise
    if os.fstat(following).st_dev != device:
        os.close(following)
        raise OutOfReach(f"{name!r} is a mount point or a volume of its own")
    return following


def require_plain(name: bytes) -> None:
    """Raises OutOfReach for what is no name of an entry."""
    if name in (b"", b".", b"..") or b"/" in name or b"\0" in name:
        raise OutOfReach(f"{name!r} is not a name")


@dataclass(frozen=True)
class Found:
    """An entry as the walk saw it; ``folder`` is the path of the folder that it lies in."""

    folder: Parts
    name: bytes
    status: os.stat_result

    @property
    def path(self) -> Parts:
        return (*self.folder, self.name)


def walk(root: int, *, skip: frozenset[Parts] = frozenset()) -> Iterator[tuple[int, Parts, list[Found]]]:
    """Yield each folder below ``root``, itself first, as handle, path and entries, in the order of names.

    Links are entries and never followed; what lies on another device is an entry that is not entered, nor
    are the folders in ``skip``. Folders that vanish or can't be read meanwhile are passed over. The handle
    is good until the next step. Holds one handle, however deep the tree.
    """
    device = os.fstat(root).st_dev
    pending: list[Parts] = [()]
    while pending:
        parts = pending.pop()
        try:
            handle = open_below(root, parts)
        except OSError:
            continue
        try:
            entries = sorted(_entries(handle, parts), key=lambda found: found.name)
            yield handle, parts, entries
        finally:
            os.close(handle)
        inner = [each.path for each in entries if _enters(each, device) and each.path not in skip]
        pending.extend(reversed(inner))


def is_folder(found: Found) -> bool:
    return stat.S_ISDIR(found.status.st_mode)


def _enters(found: Found, device: int) -> bool:
    return stat.S_ISDIR(found.status.st_mode) and found.status.st_dev == device


def _entries(handle: int, parts: Parts) -> Iterator[Found]:
    with os.scandir(handle) as listing:
        for entry in listing:
            try:
                yield Found(parts, os.fsencode(entry.name), entry.stat(follow_symlinks=False))
            except FileNotFoundError:
                continue


def allocated_below(root: int) -> int:
    """Return the bytes that the tree takes on disk; a file with several names counts once."""
    total, seen = 0, set()
    for handle, _, entries in walk(root):
        total += os.fstat(handle).st_blocks * BLOCK_BYTES
        for found in entries:
            status = found.status
            if stat.S_ISDIR(status.st_mode):
                continue
            if status.st_nlink > 1:
                if status.st_ino in seen:
                    continue
                seen.add(status.st_ino)
            total += status.st_blocks * BLOCK_BYTES
    return total
