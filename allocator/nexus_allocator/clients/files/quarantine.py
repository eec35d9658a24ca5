"""One file at a time into the quarantine of its own place, back out of it, or away.

Every act is a single rename, link or unlink by the handles of both folders, so that a crash leaves a file
whole in one place, at worst under both names, which the next run sees and mends. What waits is called by
its number in the plan: names and depths of people's trees play no part. Nothing that stands at a name is
ever written over.
"""

import errno
import os
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace

from nexus_allocator.clients.files import handles
from nexus_allocator.clients.files.handles import FOLDER, OutOfReach, Parts
from nexus_allocator.clients.files.plans import PlannedFile, Rights, identity_of, rights_of
from nexus_allocator.domain.errors import PlaceBusy
from nexus_allocator.domain.places import QUARANTINE
from nexus_allocator.domain.purges import Identity, Left

PRIVATE = 0o700
SHELF = 1000  # files per folder of the quarantine
NAME_BYTES = 255
# A name's file can't leave its mount (a bind mount in the tree), is itself mounted over, or is held by flags.
IN_THE_WAY = (errno.EXDEV, errno.EBUSY, errno.EPERM, errno.EACCES)

Step = Callable[[str], None]


def nothing(_step: str) -> None:
    """Tests stop the run at a step; nobody else does."""


@dataclass
class Quarantine:
    """The open handles of a place and of one plan's folder in its quarantine."""

    place: int
    shelves: int
    step: Step = nothing

    def __post_init__(self) -> None:
        self._shelf: tuple[int, int] | None = None

    def close(self) -> None:
        if self._shelf:
            os.close(self._shelf[1])
        os.close(self.shelves)

    def waiting(self, number: int) -> Identity | None:
        """Return what lies in quarantine under the number, None when nothing does."""
        try:
            status = os.stat(str(number), dir_fd=self._shelf_of(number), follow_symlinks=False)
        except FileNotFoundError:
            return None
        return identity_of(status)

    def take(self, file: PlannedFile, folder: int) -> Left | None:
        """Move the file from the folder's handle here if it is the planned one; return why not otherwise."""
        try:
            status = os.stat(file.name, dir_fd=folder, follow_symlinks=False)
        except FileNotFoundError:
            return Left.GONE
        if identity_of(status) != file.identity:
            return Left.CHANGED
        shelf, number = self._shelf_of(file.number), str(file.number)
        self.step("take")
        try:
            os.rename(file.name, number, src_dir_fd=folder, dst_dir_fd=shelf)
        except FileNotFoundError:
            return Left.GONE
        except OSError as error:
            if error.errno not in IN_THE_WAY:
                raise
            return Left.MOVED
        self.step("taken")
        return None

    def is_planned(self, file: PlannedFile) -> bool:
        """Say whether what was taken is what the plan lists; the taking itself sets only the change time."""
        found = self.waiting(file.number)
        return found is not None and replace(found, ctime_ns=file.identity.ctime_ns) == file.identity

    def give_back(self, file: PlannedFile, folder: int) -> bool:
        """Put the file back under its name, or beside it where that is taken; say whether it went."""
        shelf, number = self._shelf_of(file.number), str(file.number)
        beside = b".restored-%d" % file.number
        for name in (file.name, file.name[: NAME_BYTES - len(beside)] + beside):
            self.step("link")
            if self._link(number, shelf, name, folder):
                self.step("linked")
                os.unlink(number, dir_fd=shelf)
                self.step("unlinked")
                return True
        return False

    def erase(self, number: int) -> None:
        """Delete what waits under the number, for good; what is gone already is fine."""
        self.step("erase")
        try:
            os.unlink(str(number), dir_fd=self._shelf_of(number))
        except FileNotFoundError:
            return
        self.step("erased")

    def open(self, number: int, flags: int) -> int:
        """Return a handle of what waits under the number, which is no link."""
        return os.open(str(number), flags | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=self._shelf_of(number))

    def target(self, number: int) -> bytes:
        """Return where the link that waits under the number leads."""
        return os.fsencode(os.readlink(str(number), dir_fd=self._shelf_of(number)))

    def new_part(self, number: int) -> int:
        """Return a handle of an empty file beside the number's place; what a stopped run left there goes."""
        self._drop_part(number)
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        return os.open(_part(number), flags, PRIVATE, dir_fd=self._shelf_of(number))

    def link_part(self, number: int, target: bytes, *, uid: int, gid: int, times: tuple[int, int]) -> None:
        """Make a link beside the number's place."""
        self._drop_part(number)
        shelf = self._shelf_of(number)
        os.symlink(target, _part(number), dir_fd=shelf)
        if os.geteuid() == 0:
            os.chown(_part(number), uid, gid, dir_fd=shelf, follow_symlinks=False)
        os.utime(_part(number), ns=times, dir_fd=shelf, follow_symlinks=False)

    def finish_part(self, number: int) -> None:
        """Give what was written beside it the number's place."""
        shelf = self._shelf_of(number)
        os.rename(_part(number), str(number), src_dir_fd=shelf, dst_dir_fd=shelf)

    def leave(self, name: str, text: bytes, *, mode: int) -> None:
        """Leave a file of ours at the place's top; what has the name already stays as it is."""
        with os.fdopen(self.new_part(0), "wb") as part:
            part.write(text)
            os.fchmod(part.fileno(), mode)
        shelf = self._shelf_of(0)
        with suppress(FileExistsError):
            os.link(_part(0), name, src_dir_fd=shelf, dst_dir_fd=self.place, follow_symlinks=False)
        os.unlink(_part(0), dir_fd=shelf)

    def _parts_of(self, shelf: str) -> list[str]:
        handle = os.open(shelf, FOLDER, dir_fd=self.shelves)
        try:
            return [name for name in os.listdir(handle) if name.endswith(".part")]
        finally:
            os.close(handle)

    def _drop_part(self, number: int) -> None:
        with suppress(FileNotFoundError):
            os.unlink(_part(number), dir_fd=self._shelf_of(number))

    def sync(self) -> None:
        """Bring the place's renames to the disk."""
        os.fsync(self.shelves)

    def clear(self) -> None:
        """Remove the plan's own folder once nothing waits in it."""
        if self._shelf:
            os.close(self._shelf[1])
            self._shelf = None
        for name in os.listdir(self.shelves):
            # What could not be brought back whole may stand there, never a file that waits.
            for number in [int(each[: -len(".part")]) for each in self._parts_of(name)]:
                self._drop_part(number)
            if self._shelf:
                os.close(self._shelf[1])
                self._shelf = None
            os.rmdir(name, dir_fd=self.shelves)

    def _link(self, number: str, shelf: int, name: bytes, folder: int) -> bool:
        """Give the file its name again. A link, unlike a rename, fails over a name that is taken."""
        try:
            os.link(number, name, src_dir_fd=shelf, dst_dir_fd=folder, follow_symlinks=False)
        except FileExistsError:
            there = os.stat(name, dir_fd=folder, follow_symlinks=False)
            here = os.stat(number, dir_fd=shelf, follow_symlinks=False)
            # A run that was stopped had given it the name already.
            return (there.st_dev, there.st_ino) == (here.st_dev, here.st_ino)
        return True

    def _shelf_of(self, number: int) -> int:
        wanted = number // SHELF
        if self._shelf is None or self._shelf[0] != wanted:
            if self._shelf:
                os.close(self._shelf[1])
                self._shelf = None
            self._shelf = (wanted, own_folder(self.shelves, str(wanted)))
        return self._shelf[1]


def _part(number: int) -> str:
    return f"{number}.part"


def top_inode(place: int) -> int:
    """Return the inode of the place's quarantine, which is made if it is not there."""
    top = own_folder(place, QUARANTINE)
    try:
        return os.fstat(top).st_ino
    finally:
        os.close(top)


def all_at(place: int) -> frozenset[Parts]:
    """Return what may be a quarantine at the place's top, renamed or not: no plan looks into it."""
    found = {(QUARANTINE.encode(),)}
    with os.scandir(place) as entries:
        for entry in entries:
            status = entry.stat(follow_symlinks=False)
            # As root only: for anybody else it could be any private folder.
            if os.geteuid() == 0 == status.st_uid and status.st_mode == stat.S_IFDIR | PRIVATE:
                found.add((os.fsencode(entry.name),))
    return frozenset(found)


@contextmanager
def opened(place: int, plan_id: str, *, inode: int, step: Step = nothing) -> Iterator[Quarantine]:
    """Yield the plan's folder in the quarantine whose inode is known since the plan was begun.

    The owner of a home may rename what is root's at its top, though neither empty nor enter nor move it
    deeper: so it is found by its inode. Raises PlaceBusy when it is not there.
    """
    top = _top(place, inode)
    try:
        found = Quarantine(place, own_folder(top, plan_id), step)
    finally:
        os.close(top)
    try:
        yield found
    finally:
        found.close()


def remove_empty(place: int, plan_id: str, *, inode: int) -> None:
    """Remove the plan's folder, in which nothing waits any more, from the quarantine."""
    top = _top(place, inode)
    try:
        os.rmdir(plan_id, dir_fd=top)
    except FileNotFoundError:
        pass
    finally:
        os.close(top)


def _top(place: int, inode: int) -> int:
    with os.scandir(place) as entries:
        name = next((entry.name for entry in entries if entry.inode() == inode), None)
    if name is None:
        raise PlaceBusy(place=QUARANTINE, problem="the quarantine is not where it was")
    return own_folder(place, name)


def own_folder(parent: int, name: str) -> int:
    """Return a handle of a folder that is ours alone, made if it is not there. Raises PlaceBusy."""
    with suppress(FileExistsError):
        os.mkdir(name, PRIVATE, dir_fd=parent)
    try:
        handle = os.open(name, FOLDER, dir_fd=parent)
    except OSError as error:
        raise PlaceBusy(place=name, problem="something stands in the quarantine's stead") from error
    status = os.fstat(handle)
    ours = status.st_uid == os.geteuid() and status.st_mode & 0o7777 == PRIVATE
    if not ours or status.st_dev != os.fstat(parent).st_dev:
        os.close(handle)
        raise PlaceBusy(place=name, problem="something stands in the quarantine's stead")
    return handle


def open_or_make(place: int, folder: Parts, rights: dict[Parts, Rights]) -> int:
    """Return a handle of the folder, made again with its old rights where parts of the way are gone.

    Raises OutOfReach where something else stands in the way.
    """
    for depth in range(1, len(folder) + 1):
        try:
            os.close(handles.open_below(place, folder[:depth]))
        except FileNotFoundError:
            _make_again(place, folder[:depth], rights.get(folder[:depth]))
    return handles.open_below(place, folder)


def _make_again(place: int, folder: Parts, old: Rights | None) -> None:
    parent = handles.open_below(place, folder[:-1])
    try:
        like = old or rights_of(os.fstat(parent))
        os.mkdir(folder[-1], PRIVATE, dir_fd=parent)
        made = os.open(folder[-1], FOLDER, dir_fd=parent)
    except FileExistsError as error:
        raise OutOfReach("made meanwhile by somebody else") from error
    finally:
        os.close(parent)
    try:
        if os.geteuid() == 0:
            os.fchown(made, like.uid, like.gid)
        os.fchmod(made, like.mode)
    finally:
        os.close(made)
