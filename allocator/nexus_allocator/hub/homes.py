"""The folders a server needs on one machine, made with the right owner before it starts."""

import os
import shutil
from dataclasses import dataclass
from pathlib import Path

from nexus_allocator.hub.service import Admission

# Uids of people begin at 20,000; a container may map none from 65,536 on.
READERS = 30_000
SPARE = "readers"
# In a team's folder, what the team's own server calls HOME: settings, caches, history of documents.
TEAM_HOME = ".nexus-server"


@dataclass(frozen=True)
class Folders:
    """Below the state directory; ``separate`` says whether each person has a uid of their own."""

    homes: Path
    teams: Path
    store: Path
    separate: bool

    def home(self, admission: Admission) -> Path:
        return self.homes / admission.home

    def working(self, admission: Admission) -> Path:
        """Return what the server calls HOME: the home, or a folder that goes with the server.

        The latter is a reader's, and that of who can write nothing more in their home.
        A team's own server has a folder in the team's.
        """
        if admission.team:
            return self.teams / admission.team / TEAM_HOME
        return self.spare(admission) if admission.read_only or admission.rescue else self.home(admission)

    def spare(self, admission: Admission) -> Path:
        """Return a folder that goes with the server."""
        return self.homes.parent / SPARE / admission.hold_id

    def scratch(self, admission: Admission) -> list[Path]:
        """Return the folders of the scratches that were admitted: those whose lease lasts."""
        folders = [self.homes.parent / "scratch" / name for name in admission.scratch]
        return [folder for folder in folders if folder.is_dir()]

    def uid(self, admission: Admission) -> int:
        """Return as whom the server runs: a reader is in the person's group, which may read and not write."""
        return admission.uid + READERS if admission.read_only else admission.uid

    def clear(self, hold_id: str) -> None:
        """Remove the folder that goes with a server."""
        shutil.rmtree(self.homes.parent / SPARE / hold_id, ignore_errors=True)

    def prepare(self, admission: Admission) -> None:
        """Make the person's home, their teams' folders and the charged account's part of the store.

        Existing folders are left alone. Everything below a home is made by its owner (see start_lab):
        what root writes there could be led elsewhere by a link.
        """
        if not admission.team:
            self._make(self.home(admission), admission.uid, admission.gid, 0o750)
        (self.homes.parent / SPARE).mkdir(exist_ok=True)
        self._make(self.spare(admission), self.uid(admission), admission.gid, 0o700)
        if admission.read_only:
            return
        gid_of = dict(zip(admission.teams, admission.supplemental_gids, strict=False))
        for team, gid in gid_of.items():
            # Setgid, so that what members put there stays the team's; sticky, so that only owners remove it.
            self._make(self.teams / team, 0, gid, 0o3770)
        owner = (
            (0, gid_of[admission.account]) if admission.account in gid_of else (admission.uid, admission.gid)
        )
        self._make(self.store / "accounts" / admission.account, *owner, 0o2770)

    def _make(self, folder: Path, uid: int, gid: int, mode: int) -> None:
        try:
            folder.mkdir()
        except FileExistsError:
            # As most often; the service makes places, too.
            return
        if self.separate:
            os.chown(folder, uid, gid)
            folder.chmod(mode)
