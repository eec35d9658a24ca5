"""The driver for any folder, as the embedded Nexus has it: usage is scanned, nothing is enforced.

A limit is remembered and told with the usage; whoever refuses launches over it must ask. A place is not
frozen against its owner, and there are no snapshots: `holds` says so, and the calls raise NotHeldHere.
"""

import fcntl
import json
import os
import shutil
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

from nexus_allocator.clients.files import handles, volumes
from nexus_allocator.clients.files.handles import Parts
from nexus_allocator.domain.errors import NotHeldHere, NothingToRestore
from nexus_allocator.domain.places import Holds, Owner, Place, Usage

KEPT = ".nexus-volume"


class DirectoryVolume:
    """Places are plain folders below ``root``."""

    driver = "directory"
    holds = Holds(limit=False, nested=False, freezing=False, snapshots=False)

    def __init__(self, root: Path) -> None:
        self.root = root

    def prepare(self) -> None:
        """Make what the driver needs on an empty folder; done again, it changes nothing."""
        volumes.lay_out(self.root)
        (self.root / KEPT).mkdir(mode=volumes.PRIVATE, exist_ok=True)

    def path(self, place: Place) -> Path:
        return volumes.place_below(self.root, place)

    def create(self, place: Place, owner: Owner) -> Path:
        folder = self.root / place.kind / place.name
        if not folder.is_dir():
            unfinished = self.root / KEPT / f"new-{place.kind}-{place.name}"
            # Left by a crash: it never was anybody's.
            shutil.rmtree(unfinished, ignore_errors=True)
            unfinished.mkdir(mode=volumes.PRIVATE)
            volumes.hand_over(unfinished, owner)
            unfinished.rename(folder)
        elif not folder.is_symlink():
            # As the embedded hub may have made it, without what is ours, or a pod, as root's.
            nobodys = (found := folder.stat()).st_uid == found.st_gid == 0
            (volumes.hand_over if nobodys else volumes.complete)(folder, owner)
        return self.path(place)

    def set_quota(self, place: Place, limit_bytes: int | None) -> None:
        self.path(place)
        with self._limits() as limits:
            limits.pop(str(place), None)
            if limit_bytes is not None:
                limits[str(place)] = limit_bytes

    def usage(self, place: Place) -> Usage:
        folder = self.path(place)
        with handles.opened(folder) as handle:
            used = handles.allocated_below(handle)
        with self._limits() as limits:
            limit = limits.get(str(place))
        return Usage(used, volumes.quarantined_bytes(folder), 0, limit)

    def freeze(self, place: Place) -> None:
        self._refuse(place, "be frozen")

    def thaw(self, place: Place) -> None:
        self._refuse(place, "be thawed")

    def snapshot(self, place: Place, name: str) -> Path:
        self._refuse(place, "take snapshots")
        raise AssertionError(name)

    def snapshots(self, place: Place) -> list[Path]:
        self.path(place)
        return []

    def fetch(self, place: Place, name: str, path: Parts) -> Path:
        self.path(place)
        raise NothingToRestore()

    def drop_snapshot(self, place: Place, name: str) -> None:
        self._refuse(place, "drop snapshots")
        raise AssertionError(name)

    def remove(self, place: Place) -> None:
        folder = self.path(place)
        volumes.require_no_mounts(folder, place)
        gone = self.root / KEPT / f"gone-{place.kind}-{place.name}"
        shutil.rmtree(gone, ignore_errors=True)
        # Away from its owner's hands first; rmtree then goes by handles and follows no link.
        folder.rename(gone)
        shutil.rmtree(gone)
        with self._limits() as limits:
            limits.pop(str(place), None)

    def _refuse(self, place: Place, act: str) -> None:
        self.path(place)
        raise NotHeldHere(driver=self.driver, act=act)

    def _limits(self) -> AbstractContextManager[dict[str, int]]:
        return self._kept("limits.json")

    @contextmanager
    def _kept(self, name: str) -> Iterator[dict[str, Any]]:
        """Yield what is kept under this name, and write it if it was changed; one process at a time."""
        file = self.root / KEPT / name
        with (self.root / KEPT / "lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            kept: dict[str, Any] = json.loads(file.read_text()) if file.exists() else {}
            before = dict(kept)
            yield kept
            if kept != before:
                part = file.with_suffix(".part")
                part.write_text(json.dumps(kept, indent=1))
                os.replace(part, file)
