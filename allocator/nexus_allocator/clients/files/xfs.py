"""The driver for XFS: a place is a tree of a project id of its own, its limit the kernel's project quota.

What is made below inherits the id, so that nested folders count too; a write beyond the limit fails with
ENOSPC, as XFS has it for projects, not with EDQUOT. Needs a mount with `prjquota`, and root. There are no
snapshots, and a place can't be frozen.
"""

import re
import shutil
import subprocess
from pathlib import Path

from nexus_allocator.clients.files import volumes
from nexus_allocator.clients.files.directory import KEPT, DirectoryVolume
from nexus_allocator.clients.files.volumes import VolumeError
from nexus_allocator.domain.places import Holds, Owner, Place, Usage

# Below, projects may be somebody else's.
FIRST_PROJECT = 100_000
TIMEOUT_S = 600
KIB = 1024
# `report`: the id, then used, soft and hard limit in KiB.
LINE = re.compile(r"^#(\d+)\s+(\d+)\s+\d+\s+(\d+)\b", re.MULTILINE)


class XfsVolume(DirectoryVolume):
    """Places are folders below ``root``, the mount point of an XFS whose project quotas are ours."""

    driver = "xfs"
    holds = Holds(limit=True, nested=True, freezing=False, snapshots=False)

    def create(self, place: Place, owner: Owner) -> Path:
        folder = self.root / place.kind / place.name
        if not folder.is_dir():
            unfinished = self.root / KEPT / f"new-{place.kind}-{place.name}"
            shutil.rmtree(unfinished, ignore_errors=True)
            unfinished.mkdir(mode=volumes.PRIVATE)
            self._quota(f"project -s -p {unfinished} {self._project(place)}")
            volumes.hand_over(unfinished, owner)
            unfinished.rename(folder)
        return self.path(place)

    def set_quota(self, place: Place, limit_bytes: int | None) -> None:
        self.path(place)
        # Nothing is no limit to XFS: a place that may hold nothing gets the least.
        limit = 0 if limit_bytes is None else max(1, limit_bytes // KIB)
        self._quota(f"limit -p bhard={limit}k {self._project(place)}")

    def usage(self, place: Place) -> Usage:
        folder, project = self.path(place), self._project(place)
        said = self._quota(f"report -p -n -N -b -L {project} -U {project}")
        found = {int(number): (int(used), int(hard)) for number, used, hard in LINE.findall(said)}
        if project not in found:
            raise VolumeError(f"xfs_quota tells nothing of {place}: {said.strip()[:200]}")
        used, hard = found[project]
        return Usage(used * KIB, volumes.quarantined_bytes(folder), 0, hard * KIB or None)

    def remove(self, place: Place) -> None:
        self._quota(f"limit -p bhard=0 {self._project(place)}")
        super().remove(place)

    def _project(self, place: Place) -> int:
        """Return the place's project id, given once and never to another."""
        with self._kept("projects.json") as projects:
            number: int = projects.setdefault(str(place), FIRST_PROJECT + len(projects))
        return number

    def _quota(self, command: str) -> str:
        done = subprocess.run(  # noqa: S603 - a fixed program, and places' names hold letters, digits, hyphens
            ["xfs_quota", "-x", "-c", command, str(self.root)],  # noqa: S607 - where the system keeps it
            check=False, capture_output=True, text=True, errors="replace", timeout=TIMEOUT_S,
        )  # fmt: skip
        if done.returncode:
            raise VolumeError(f"xfs_quota {command.split(maxsplit=1)[0]}: {done.stderr.strip()}")
        return done.stdout
